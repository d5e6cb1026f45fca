//! From files, environment and flags to one value for each option.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::options::{self, OPTIONS};
use super::{Setting, Source, peer, yaml};

/// Longest configuration file.
const MAX_FILE: u64 = 1 << 20;
const PREFIX: &str = "SAKER_";
const PEER_PREFIX: &str = "TETRAGON_";

/// Where configuration is looked for; tests look elsewhere.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory before the fixed paths below `/usr` and `/etc`.
    pub root: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

impl Places {
    /// Those of this machine and process.
    #[must_use]
    pub fn system() -> Self {
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { root: "/".into(), environment: std::env::vars_os().filter_map(readable).collect() }
    }
}

/// Why a source of configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Cannot be read.
    #[error("cannot read configuration {}: {source}", path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could have written it.
    #[error("configuration {} is not safe: {what}; fix with `chown root {0}; chmod go-w {0}`", path.display(), what = what)]
    Insecure {
        /// File or directory.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Not YAML, or not a flat map.
    #[error("configuration {}, {what}", path.display())]
    Syntax {
        /// File.
        path: PathBuf,
        /// Line and reason.
        what: String,
    },
    /// No such option.
    #[error("{at}: there is no option `{name}`{hint}")]
    Unknown {
        /// Where it stands.
        at: String,
        /// Its name.
        name: String,
        /// The name that was meant, perhaps.
        hint: String,
    },
    /// An option of the peer that does not exist here.
    #[error(
        "{at}: `{name}` is known from Tetragon, but Saker does not have it yet, so `{value}` would have no effect; {hint}"
    )]
    NotYet {
        /// Where it stands.
        at: String,
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What to do.
        hint: String,
    },
    /// The option names a source itself.
    #[error("{at}: `{name}` can be set only by flag or environment")]
    Misplaced {
        /// Where it stands.
        at: String,
        /// Its name.
        name: String,
    },
}

pub(super) struct Resolver {
    values: BTreeMap<&'static str, Setting>,
    warnings: Vec<String>,
    errors: Vec<SourceError>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        let values = OPTIONS
            .iter()
            .map(|option| (option.name, Setting { text: option.default.into(), source: Source::Default }))
            .collect();
        Self { values, warnings: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn finish(self) -> (BTreeMap<&'static str, Setting>, Vec<String>, Vec<SourceError>) {
        (self.values, self.warnings, self.errors)
    }

    /// Reads all sources, weak ones first.
    pub(super) fn run(&mut self, places: &Places, flags: &[(String, String)]) {
        let named = |option: &str| {
            let flag = flags.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value);
            flag.or_else(|| places.environment.get(&variable(option))).filter(|value| !value.is_empty())
        };
        let below = |path: &str| places.root.join(path);
        self.drop_ins(&below("usr/lib/saker/saker.conf.d"), false);
        self.drop_ins(&below("usr/local/lib/saker/saker.conf.d"), false);
        match named("config") {
            Some(path) => self.file(Path::new(path), true),
            None => self.file(&below("etc/saker/saker.yaml"), false),
        }
        self.drop_ins(&below("etc/saker/saker.conf.d"), false);
        if let Some(path) = named("config-dir") {
            self.drop_ins(Path::new(path), true);
        }
        self.environment(&places.environment);
        for (name, value) in flags {
            self.set(name, value, Source::Flag);
        }
    }

    fn drop_ins(&mut self, directory: &Path, required: bool) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return,
            Err(source) => {
                self.errors.push(SourceError::Read { path: directory.to_owned(), source });
                return;
            }
        };
        let checked = fs::metadata(directory)
            .map_err(|source| SourceError::Read { path: directory.to_owned(), source })
            .and_then(|found| check_directory(directory, &found));
        if let Err(error) = checked {
            self.errors.push(error);
            return;
        }
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Mounted ConfigMaps keep their versions in names that begin with two dots.
            if name.starts_with('.') || path.is_dir() {
                continue;
            }
            match read_safely(&path) {
                Ok(text) => self.set_in_file(&name, text.trim(), Source::DropIn(path)),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn file(&mut self, path: &Path, required: bool) {
        let text = match read_safely(path) {
            Ok(text) => text,
            Err(SourceError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !required =>
            {
                return;
            }
            Err(error) => {
                self.errors.push(error);
                return;
            }
        };
        match yaml::parse(&text) {
            Ok(entries) => {
                for entry in entries {
                    let source = Source::File(path.to_owned(), entry.line);
                    self.set_in_file(&entry.key, &entry.value, source);
                }
            }
            Err(error) => {
                self.errors.push(SourceError::Syntax { path: path.to_owned(), what: error.to_string() });
            }
        }
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for option in OPTIONS {
            let name = variable(option.name);
            if let Some(value) = environment.get(&name) {
                self.set(option.name, value, Source::Environment(name));
            }
        }
        for (name, value) in environment {
            // A service named `saker` makes Kubernetes set such variables too, so a stranger is no error.
            if let Some(rest) = name.strip_prefix(PREFIX)
                && options::find(&option_name(rest)).is_none()
            {
                match peer::find(&option_name(rest)) {
                    Some(_) => self.set(&option_name(rest), value, Source::Environment(name.clone())),
                    None => {
                        self.warnings.push(format!("environment {name} names no option and has no effect"));
                    }
                }
            }
            if let Some(rest) = name.strip_prefix(PEER_PREFIX)
                && options::find(&option_name(rest)).is_some()
                && !environment.contains_key(&format!("{PREFIX}{rest}"))
            {
                self.warnings.push(format!("environment {name} is not read; set {PREFIX}{rest}"));
            }
        }
    }

    fn set_in_file(&mut self, name: &str, value: &str, source: Source) {
        if matches!(name, "config" | "config-dir") {
            self.errors.push(SourceError::Misplaced { at: source.to_string(), name: name.into() });
        } else {
            self.set(name, value, source);
        }
    }

    fn set(&mut self, name: &str, value: &str, source: Source) {
        if let Some(option) = options::find(name) {
            self.values.insert(option.name, Setting { text: value.trim().into(), source });
            return;
        }
        let at = source.to_string();
        match peer::find(name) {
            Some(option) if option.is_harmless(value) => {}
            Some(option) => self.errors.push(SourceError::NotYet {
                at,
                name: name.into(),
                value: value.trim().into(),
                hint: option.hint(),
            }),
            None => {
                let hint = nearest(name).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                self.errors.push(SourceError::Unknown { at, name: name.into(), hint });
            }
        }
    }
}

/// Name of the variable of an option.
pub(super) fn variable(option: &str) -> String {
    format!("{PREFIX}{}", option.to_ascii_uppercase().replace('-', "_"))
}

fn option_name(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

/// Refuses what others than root and the user that runs us can change.
pub(crate) fn check_owner(path: &Path, found: &fs::Metadata) -> Result<(), SourceError> {
    let insecure = |what: String| SourceError::Insecure { path: path.to_owned(), what };
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(insecure(format!("it belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(insecure(format!("mode {:04o} lets others write it", found.mode() & 0o7777)));
    }
    Ok(())
}

/// Refuses a directory that others can put files into, or exchange those that are there. The mode means nothing
/// on a mount that is read-only: those of Kubernetes ConfigMaps are, with mode 0777.
pub(crate) fn check_directory(path: &Path, found: &fs::Metadata) -> Result<(), SourceError> {
    let read_only = statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    if read_only { Ok(()) } else { check_owner(path, found) }
}

/// Reads a file that only root, or the user that runs us, can have written.
pub(super) fn read_safely(path: &Path) -> Result<String, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    check_owner(path, &metadata)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other("it is longer than 1 MiB")));
    }
    Ok(text)
}

/// The known name with the fewest edits, if they are few.
fn nearest(name: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|option| (distance(name, option.name), option.name))
        .min()
        .filter(|(edits, _)| *edits <= 3 && *edits < name.len())
        .map(|(_, near)| near)
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    // A name as long as a file would cost as much time.
    for (i, from) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in right.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
