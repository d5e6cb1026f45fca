//! The watched directory.
//!
//! It is looked through every second instead of being told of changes: that needs no watches, of which a machine has
//! few, works on every file system, and sees what a notification does not name, such as the exchange of the directory
//! behind a link that Kubernetes does for a ConfigMap.
//!
//! What changed is taken up when two looks in a row find the same, so that neither a file that is being written nor the
//! moment between the removal of an old file and the arrival of a new one is taken for what was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use saker_policy::MAX_BYTES;

use crate::config::{check_directory, check_owner};

/// Entries of the directory and those below it.
const MAX_ENTRIES: usize = 4096;
/// What names of policy files end in.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];
/// What names of tests of policies end in.
const TESTS: [&str; 2] = [".test.yaml", ".test.yml"];

/// What changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// New or changed files: their text, or why it cannot be had.
    pub(super) changed: Vec<(PathBuf, Result<String, String>)>,
    /// Files that are gone.
    pub(super) gone: Vec<PathBuf>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// What tells one state of a file from another; all zero: it cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// A directory of policy files, and what was found there.
pub(super) struct Directory {
    path: PathBuf,
    wanted: bool,
    /// It was there once.
    seen: bool,
    /// What was taken up.
    known: BTreeMap<PathBuf, Fingerprint>,
    /// What differed at the last look; `None`: it was not there.
    unsettled: BTreeMap<PathBuf, Option<Fingerprint>>,
    /// Files that are no policies by their name, which was told.
    ignored: BTreeSet<PathBuf>,
    told: String,
}

impl Directory {
    /// A directory; if `wanted`, its absence is a problem.
    pub(super) fn new(path: PathBuf, wanted: bool) -> Self {
        Self {
            path,
            wanted,
            seen: false,
            known: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            ignored: BTreeSet::new(),
            told: String::new(),
        }
    }

    /// Looks for changes. At once: without waiting for the next look to find the same.
    ///
    /// # Errors
    /// The directory cannot be looked through; nothing is known of its files then.
    pub(super) fn scan(&mut self, at_once: bool) -> Result<Changes, String> {
        let Some(found) = self.find()? else { return Ok(Changes::default()) };
        self.told.clear();
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let mut settled =
            |path: &Path, now: Option<Fingerprint>| at_once || unsettled.remove(path) == Some(now);
        let mut changes = Changes::default();
        for (path, &fingerprint) in &found {
            if self.known.get(path) == Some(&fingerprint) {
                continue;
            }
            if !settled(path, Some(fingerprint)) {
                self.unsettled.insert(path.clone(), Some(fingerprint));
                continue;
            }
            match self.text(path, fingerprint) {
                Some(text) => {
                    self.known.insert(path.clone(), fingerprint);
                    changes.changed.push((path.clone(), text));
                }
                // It changed while it was read.
                None => {
                    self.unsettled.insert(path.clone(), None);
                }
            }
        }
        let gone: Vec<_> = self.known.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
        for path in gone {
            if settled(&path, None) {
                self.known.remove(&path);
                changes.gone.push(path);
            } else {
                self.unsettled.insert(path, None);
            }
        }
        Ok(changes)
    }

    /// Has a file taken up again at the next look.
    pub(super) fn forget(&mut self, path: &Path) {
        self.known.remove(path);
    }

    /// Whether this problem has not been told yet.
    pub(super) fn is_news(&mut self, problem: &str) -> bool {
        let news = self.told != problem;
        problem.clone_into(&mut self.told);
        news
    }

    /// All policy files that are there; `None`: there need be no directory, and is none.
    fn find(&mut self) -> Result<Option<BTreeMap<PathBuf, Fingerprint>>, String> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.wanted && !self.seen => {
                return Ok(None);
            }
            _ => {}
        }
        let mut found = BTreeMap::new();
        let mut entries = 0;
        let folders = self.list(&self.path.clone(), &mut found, &mut entries)?;
        self.seen = true;
        for folder in folders {
            self.list(&folder, &mut found, &mut entries)?;
        }
        Ok(Some(found))
    }

    /// Puts the files of a directory into `found` and returns the directories in it.
    fn list(
        &mut self,
        directory: &Path,
        found: &mut BTreeMap<PathBuf, Fingerprint>,
        entries: &mut usize,
    ) -> Result<Vec<PathBuf>, String> {
        let failed = |what: &dyn std::fmt::Display| {
            let path = directory.display();
            format!("the policy directory {path} cannot be used, its policies stay as they are: {what}")
        };
        let metadata = fs::metadata(directory).map_err(|error| failed(&error))?;
        check_directory(directory, &metadata).map_err(|error| failed(&error))?;
        let mut folders = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            *entries += 1;
            if *entries > MAX_ENTRIES {
                return Err(failed(&format!("it has more than {MAX_ENTRIES} entries")));
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) => self.note(path, &name, Fingerprint::of(&metadata), found),
                // Removed just now, or a link into nowhere.
                Err(_) if fs::symlink_metadata(&path).is_err() => {}
                Err(_) => self.note(path, &name, Fingerprint::default(), found),
            }
        }
        folders.sort();
        Ok(folders)
    }

    fn note(
        &mut self,
        path: PathBuf,
        name: &str,
        fingerprint: Fingerprint,
        found: &mut BTreeMap<PathBuf, Fingerprint>,
    ) {
        if is_policy(name) {
            found.insert(path, fingerprint);
        } else if self.ignored.len() < MAX_ENTRIES && !self.ignored.contains(&path) {
            let test = TESTS.iter().any(|ending| name.ends_with(ending));
            if !test {
                let file = path.display();
                tracing::warn!(
                    "{file} is not taken for a policy: the name must end in {}",
                    ENDINGS.join(", ")
                );
            }
            self.ignored.insert(path);
        }
    }

    /// The text of a file in just this state, or why it cannot be had; `None`: it is in another state.
    fn text(&self, path: &Path, fingerprint: Fingerprint) -> Option<Result<String, String>> {
        let text = read(path);
        let now = fs::metadata(path).map_or(Fingerprint::default(), |found| Fingerprint::of(&found));
        (now == fingerprint).then_some(text)
    }
}

fn is_policy(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && !TESTS.iter().any(|ending| name.ends_with(ending))
}

/// The text of a policy file that only root, or the user that runs us, can have written.
///
/// # Errors
/// Why it cannot be had, in words.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    // A pipe must not keep the thread.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    check_owner(path, &metadata).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} is longer than {} MiB", path.display(), MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
