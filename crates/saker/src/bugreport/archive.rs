//! A compressed archive that is written part by part, with a list of them at its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::redact;

/// Bytes of a part, and of all of them.
pub const PART: usize = 8_000_000;
const ALL: usize = 64_000_000;

/// The archive.
pub struct Archive {
    tar: tar::Builder<GzEncoder<File>>,
    folder: String,
    manifest: Vec<Value>,
    bytes: usize,
    missing: usize,
    /// Bytes of a part, and of all of them.
    bounds: (usize, usize),
}

impl Archive {
    /// Begins one; an older file is not touched.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, folder: &str) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self {
            tar,
            folder: folder.to_owned(),
            manifest: Vec::new(),
            bytes: 0,
            missing: 0,
            bounds: (PART, ALL),
        })
    }

    /// The same archive with other bounds.
    #[cfg(test)]
    pub fn with_bounds(self, part: usize, all: usize) -> Self {
        Self { bounds: (part, all), ..self }
    }

    /// Takes a part, without secrets and at most up to its bound; or tells why there is none. Of what is too long the
    /// end stays: it is the newest.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn part(&mut self, name: &str, source: &str, content: Result<Vec<u8>>) -> io::Result<()> {
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                self.missing += 1;
                let reason = redact::text(&crate::output::chain(&error));
                self.manifest.push(json!({ "name": name, "source": source, "missing": reason }));
                return Ok(());
            }
        };
        let room = self.bounds.0.min(self.bounds.1.saturating_sub(self.bytes));
        let whole = content.len();
        let kept = content.get(whole.saturating_sub(room)..).unwrap_or_default();
        let text = redact::text(&String::from_utf8_lossy(kept));
        self.bytes += text.len();
        self.write(name, text.as_bytes())?;
        let mut entry = json!({ "name": name, "source": source, "bytes": text.len() });
        if kept.len() < whole {
            entry["cut_from_bytes"] = json!(whole);
        }
        self.manifest.push(entry);
        Ok(())
    }

    /// Parts that could not be taken.
    pub fn missing(&self) -> usize {
        self.missing
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, format!("{}/{name}", self.folder), content)
    }

    /// Writes the list and ends the archive; its length in bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        let manifest = json!({ "version": saker_agent::VERSION, "parts": self.manifest });
        self.write("manifest.json", format!("{manifest:#}\n").as_bytes())?;
        let mut file = self.tar.into_inner()?.finish()?;
        file.flush()?;
        Ok(file.metadata()?.len())
    }
}
