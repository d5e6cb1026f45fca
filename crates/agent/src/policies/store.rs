//! Policies of calls on disk, so that they come back: one file each, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use saker_policy::MAX_BYTES;
use saker_policy::words::Mode;
use serde_json::{Value, json};

use super::Key;
use crate::config::{check_directory, check_owner};

/// What names of files end in.
const ENDING: &str = ".json";
/// What the name of a file ends in that is being written.
const UNFINISHED: &str = ".new";
/// Characters of a file's name; the file system takes 255 bytes.
const NAME_MAX: usize = 200;
/// Files that are read.
const FILES_MAX: usize = 4096;

/// A directory of policies.
pub(super) struct Store {
    dir: PathBuf,
}

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its text as it was given.
    pub(super) text: String,
    /// Whom it belongs to.
    pub(super) domain: String,
    /// It is attached.
    pub(super) enabled: bool,
    /// The mode that was asked for; none: what its text says.
    pub(super) mode: Option<Mode>,
}

impl Store {
    /// Opens a directory, which is created with mode 0700.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        check_directory(&dir, &fs::metadata(&dir)?).map_err(io::Error::other)?;
        Ok(Self { dir })
    }

    fn path(&self, key: &Key) -> PathBuf {
        let mut name = String::new();
        for part in [&key.name, &key.namespace, &key.domain] {
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                    name.push(char::from(byte));
                } else {
                    name.push_str(&format!("%{byte:02x}"));
                }
            }
            name.push(':');
        }
        name.pop();
        if name.len() > NAME_MAX {
            // What is cut off tells it from others that begin likewise.
            let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            name.truncate(NAME_MAX);
            name.push_str(&format!("~{sum:016x}"));
        }
        self.dir.join(name + ENDING)
    }

    /// Keeps a policy in the place of what there is of its key.
    pub(super) fn save(&self, key: &Key, stored: &Stored) -> io::Result<()> {
        let value = json!({
            "yaml": stored.text,
            "domain": stored.domain,
            "enabled": stored.enabled,
            "mode": stored.mode.map(Mode::name),
        });
        let path = self.path(key);
        let unfinished = path.with_extension(UNFINISHED.trim_start_matches('.'));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(value.to_string().as_bytes()).and_then(|()| file.sync_all());
        let done = written.and_then(|()| fs::rename(&unfinished, &path)).and_then(|()| self.sync());
        if done.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        done
    }

    /// Forgets a policy, if it is there.
    pub(super) fn remove(&self, key: &Key) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// All that is kept, each with its file, or why it cannot be read. What was being written when an agent ended is
    /// removed: nobody was told that it is kept.
    pub(super) fn all(&self) -> io::Result<Vec<(PathBuf, Result<Stored, String>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)?.take(FILES_MAX) {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(UNFINISHED) {
                let _ = fs::remove_file(&path);
            } else if name.ends_with(ENDING) {
                let stored = read(&path);
                found.push((path, stored));
            }
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Stored, String> {
    // The text may grow by what JSON escapes.
    let most = 6 * MAX_BYTES as u64 + 4096;
    let mut bytes = Vec::new();
    // Without waiting for who would write into a pipe of that name.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = file.map_err(|error| format!("it cannot be read: {error}"))?;
    let found = file.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    check_owner(path, &found).map_err(|error| error.to_string())?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is no JSON: {error}"))?;
    let text = value["yaml"].as_str().ok_or("it has no text `yaml`")?.to_owned();
    let enabled = value["enabled"].as_bool().ok_or("it does not say whether it is `enabled`")?;
    let domain = value["domain"].as_str().unwrap_or_default().to_owned();
    let mode = match &value["mode"] {
        Value::Null => None,
        Value::String(name) => {
            let known = [Mode::Enforce, Mode::Monitor].into_iter().find(|mode| mode.name() == name);
            Some(known.ok_or_else(|| format!("its `mode` is {name:?}, not enforce or monitor"))?)
        }
        other => return Err(format!("its `mode` is {other}, not enforce or monitor")),
    };
    Ok(Stored { text, domain, enabled, mode })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(name: &str) -> Key {
        Key { domain: "grpc".into(), namespace: "a/b".into(), name: name.into() }
    }

    fn stored(mode: Option<Mode>, enabled: bool) -> Stored {
        Stored { text: "kind: \"x\"\n".into(), domain: "grpc".into(), enabled, mode }
    }

    #[test]
    fn what_is_saved_comes_back_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("policies")).unwrap();
        let long = "n".repeat(300);
        for (name, one) in [
            ("p", stored(None, true)),
            ("q", stored(Some(Mode::Monitor), false)),
            (&long, stored(None, true)),
        ] {
            store.save(&key(name), &stored(Some(Mode::Enforce), true)).unwrap();
            store.save(&key(name), &one).unwrap();
            let all = store.all().unwrap();
            let (path, found) = &all[0];
            assert_eq!((all.len(), found), (1, &Ok(one)));
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            store.remove(&key(name)).unwrap();
            store.remove(&key(name)).unwrap();
            assert_eq!(store.all().unwrap(), []);
        }
        assert_ne!(store.path(&key(&long)), store.path(&key(&(long.clone() + "n"))));
    }

    #[test]
    fn broken_files_are_told_and_unfinished_ones_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_owned()).unwrap();
        for (name, text, reason) in [
            ("a.json", "", "no JSON"),
            ("b.json", "{}", "yaml"),
            ("c.json", r#"{"yaml": "x"}"#, "enabled"),
            ("d.json", r#"{"yaml": "x", "enabled": true, "mode": "x"}"#, "mode"),
            ("e.json", r#"{"yaml": "x", "enabled": true, "mode": 1}"#, "mode"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
            let all = store.all().unwrap();
            let message = all.last().unwrap().1.as_ref().unwrap_err();
            assert!(message.contains(reason), "{name}: {message}");
        }
        fs::write(dir.path().join("f.new"), "{").unwrap();
        assert_eq!(store.all().unwrap().len(), 5);
        assert!(!dir.path().join("f.new").exists());
    }
}
