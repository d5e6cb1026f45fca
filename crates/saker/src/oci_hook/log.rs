//! The hook's own log: nobody reads what a hook prints when all went well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use saker_agent::logging::say;

use super::older;

/// Bytes after which it is begun anew.
const MAX: u64 = 4 << 20;

/// Where lines go, if anywhere.
pub(super) struct Log(Option<PathBuf>);

impl Log {
    pub(super) fn to(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Appends a line. That it cannot is told; the container does not depend on it.
    pub(super) fn line(&self, level: &str, text: &str) {
        let Some(path) = &self.0 else { return };
        let time = prost_types::Timestamp::from(SystemTime::now());
        // One write: hooks of other containers write too.
        let line = format!("{time} {level} {}\n", text.replace(char::is_control, " "));
        if let Err(error) = open(path, MAX).and_then(|mut file| file.write_all(line.as_bytes())) {
            say(format_args!("saker: cannot write the hook's log {}: {error}", path.display()));
        }
    }
}

/// Opens the log; one of this length is moved first.
pub(super) fn open(path: &Path, max: u64) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() >= max) {
        fs::rename(path, older(path))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
