//! Everything the engine is told, in a file, so that `saker replay` can tell it to another one.
//!
//! The file is a capture of the engine ([`saker_engine::capture`]), whose header holds what the engine was
//! configured with; so the replay gives the same events.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use saker_engine::capture::Writer;
use saker_engine::{CaptureHeader, Input};

const BUFFER: usize = 64 * 1024;
/// Permission bits: recordings hold command lines.
const MODE: u32 = 0o600;

/// What a recording has come to, for whoever asks.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The file.
    pub path: PathBuf,
    offered: AtomicU64,
    written: AtomicU64,
    bytes: AtomicU64,
    last_written: AtomicU64,
    error: Mutex<String>,
}

impl Recorded {
    /// Inputs of the engine so far: records, snapshots, counters.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    /// Of these, the ones that are in the recording.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Bytes handed to the system.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When something was written last, seconds since 1970; 0: never.
    #[must_use]
    pub fn last_written(&self) -> u64 {
        self.last_written.load(Ordering::Relaxed)
    }

    /// Why it ended early; empty: it did not.
    #[must_use]
    pub fn error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A file that counts what it took.
#[derive(Debug)]
struct Counted<W> {
    to: W,
    recorded: Arc<Recorded>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.recorded.bytes.fetch_add(count as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.recorded.last_written.store(now.as_secs(), Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes a recording. The first error ends it; the agent goes on without, and its status says so.
#[derive(Debug)]
pub struct Recorder<W: Write = File> {
    writer: Option<Writer<BufWriter<Counted<W>>>>,
    recorded: Arc<Recorded>,
}

impl Recorder {
    /// Begins a file, readable only for its owner, also if it was there before.
    ///
    /// # Errors
    /// The file cannot be created or written, or is none that a recording can stand in.
    pub fn create(path: &Path, header: &CaptureHeader) -> io::Result<Self> {
        // Opening a pipe without a reader would wait for one; what is there is cut only when it is known to be a
        // file and to be readable for nobody else.
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(MODE);
        let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            // The engine must never wait for a reader.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if metadata.permissions().mode() & 0o7777 != MODE {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        file.set_len(0)?;
        Self::to(file, path, header)
    }
}

impl<W: Write> Recorder<W> {
    fn to(file: W, path: &Path, header: &CaptureHeader) -> io::Result<Self> {
        let recorded = Arc::new(Recorded { path: path.to_owned(), ..Recorded::default() });
        let file = Counted { to: file, recorded: Arc::clone(&recorded) };
        let mut writer = Writer::new(BufWriter::with_capacity(BUFFER, file), header)?;
        writer.flush()?;
        Ok(Self { writer: Some(writer), recorded })
    }

    /// What it has come to.
    #[must_use]
    pub fn recorded(&self) -> &Arc<Recorded> {
        &self.recorded
    }

    /// One input of the engine.
    pub fn write(&mut self, input: &Input<'_>) {
        self.recorded.offered.fetch_add(1, Ordering::Relaxed);
        let Some(writer) = &mut self.writer else { return };
        match writer.write(input) {
            Ok(()) => {
                self.recorded.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.stop(&error),
        }
    }

    /// Hands what was written to the system.
    pub fn flush(&mut self) {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::flush) {
            self.stop(&error);
        }
    }

    /// Marks the end, so that a reader knows that nothing is missing there.
    pub fn finish(&mut self) {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::finish) {
            self.stop(&error);
        }
        self.writer = None;
    }

    fn stop(&mut self, error: &io::Error) {
        tracing::error!(path = %self.recorded.path.display(), %error, "recording ended: it cannot be written");
        *self.recorded.error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
        // Dropping the buffer would try to write its content once more, behind a hole.
        if let Some(writer) = self.writer.take() {
            drop(writer.into_inner().into_parts());
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Takes some bytes and then has no more room.
    pub(crate) struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A recording at `/r` on a disk of this size.
    pub(crate) fn small(bytes: usize) -> Recorder<Small> {
        Recorder::to(Small(bytes), Path::new("/r"), &CaptureHeader::default()).unwrap()
    }
}
