//! A file of lines with rotation.
//!
//! Promises, each with a test:
//! - The file holds whole lines only. A write that the system cut short (full disk, file-size limit) is cut back
//!   to the last whole line; what is missing is written later.
//! - A half line that a crash left at the end of an existing file is removed when it looks like ours (begins
//!   with `{`), because half an object is no use to anybody; any other text is closed with a newline.
//! - Somebody moved or deleted the file: the next write goes to a new file of the old name.
//! - A rotation that fails loses nothing: writing goes on in the present file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::backups::{self, Backups};
use crate::sink::is_gone;
use crate::{Control, OpenError, Rotation, Sink, WriteError};

/// How often a failing rotation is tried again.
const ROTATION_RETRY: Duration = Duration::from_secs(10);
/// How often a lasting failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What a file sink needs to know.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// Bytes after which it is rotated; 0: no limit.
    pub max_size: u64,
    /// Rotated files that are kept; 0: all.
    pub max_backups: usize,
    /// Age at which rotated files are deleted.
    pub max_age: Option<Duration>,
    /// Time after which a file with content is rotated.
    pub interval: Option<Duration>,
    /// Compress rotated files with gzip.
    pub compress: bool,
    /// Permission bits of the file.
    pub mode: u32,
}

/// Appends lines to a file and rotates it.
#[derive(Debug)]
pub struct FileSink {
    config: FileConfig,
    open: Option<Open>,
    backups: Option<Backups>,
    /// Time in the name of the newest backup.
    newest: Option<SystemTime>,
    rotation_failed: Option<Instant>,
    rotations: u64,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    since: Instant,
    device: u64,
    inode: u64,
    /// Terminals, pipes and devices are written to and never moved, cut or counted.
    regular: bool,
}

impl FileSink {
    /// Opens the file, so that a bad path is known at start.
    ///
    /// # Errors
    /// The file can not be created, read or written.
    pub fn open(config: FileConfig) -> Result<Self, OpenError> {
        let open = Open::at(&config.path, config.mode)?;
        let backups = open.regular.then(|| Backups::start(&config)).flatten();
        let sink = Self {
            config,
            open: Some(open),
            backups,
            newest: None,
            rotation_failed: None,
            rotations: 0,
            logged: None,
        };
        if let Some(backups) = &sink.backups {
            backups.tidy();
        }
        Ok(sink)
    }

    /// The open file, after a look whether it still has its name.
    fn current(&mut self) -> Result<&mut Open, WriteError> {
        if self.open.as_ref().is_some_and(|open| open.regular && !open.is_at(&self.config.path)) {
            tracing::info!(path = %self.config.path.display(), "export file was moved or deleted; opening it anew");
            self.open = None;
        }
        if self.open.is_none() {
            let opened = Open::at(&self.config.path, self.config.mode).map_err(|error| match error {
                OpenError::Io { operation, path, source } => {
                    WriteError::Retry { what: format!("{operation} {}", path.display()), source }
                }
                OpenError::NoReader { path } => {
                    let what = format!("opening the pipe {}, which nobody reads,", path.display());
                    WriteError::Retry { what, source: Errno::NXIO.into() }
                }
                OpenError::Directory { path } => {
                    let what = format!("opening {}", path.display());
                    WriteError::Retry { what, source: ErrorKind::IsADirectory.into() }
                }
            })?;
            self.open = Some(opened);
        }
        self.open.as_mut().ok_or_else(|| WriteError::Retry {
            what: format!("opening {}", self.config.path.display()),
            source: ErrorKind::NotFound.into(),
        })
    }

    /// Moves the present file to a backup. Without success writing goes on in the present file.
    fn rotate(&mut self) {
        let Some(open) = self.open.as_ref().filter(|open| open.regular && open.size > 0) else { return };
        if !open.is_at(&self.config.path) {
            self.open = None;
            return;
        }
        match backups::move_away(&self.config.path, self.newest) {
            Ok(time) => {
                self.newest = Some(time);
                self.rotations += 1;
                self.open = None;
                self.rotation_failed = None;
                if let Some(backups) = &self.backups {
                    backups.tidy();
                }
            }
            Err(error) => {
                self.rotation_failed = Some(Instant::now());
                self.warn("rotation failed; writing on in the present file", &error);
            }
        }
    }

    fn may_rotate(&self) -> bool {
        self.rotation_failed.is_none_or(|at| at.elapsed() >= ROTATION_RETRY)
    }

    fn rotate_if_due(&mut self) {
        let due = match (&self.open, self.config.interval) {
            (Some(open), Some(interval)) => open.size > 0 && open.since.elapsed() >= interval,
            _ => false,
        };
        if due && self.may_rotate() {
            self.rotate();
        }
    }

    /// How many bytes of whole lines go into the present file, which is open then; rotates when not even one line fits.
    fn portion(&mut self, lines: &[u8]) -> Result<usize, WriteError> {
        let max = self.config.max_size;
        let may_rotate = self.may_rotate();
        let open = self.current()?;
        if max == 0 || !open.regular || !may_rotate || open.size + lines.len() as u64 <= max {
            return Ok(lines.len());
        }
        let room = usize::try_from(max.saturating_sub(open.size)).unwrap_or(usize::MAX);
        let fits = whole_lines(&lines[..room.min(lines.len())]);
        if fits > 0 {
            return Ok(fits);
        }
        if open.size > 0 {
            self.rotate();
            self.current()?;
            // Also when the rotation failed: then the file grows, which loses nothing.
            return Ok(first_line(lines));
        }
        Ok(first_line(lines))
    }

    fn warn(&mut self, what: &str, error: &io::Error) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(path = %self.config.path.display(), %error, "{what}");
        }
    }
}

impl Sink for FileSink {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        self.rotate_if_due();
        let mut done = 0;
        let outcome = loop {
            if done == lines.len() {
                break Ok(());
            }
            let length = match self.portion(&lines[done..]) {
                Ok(length) => length,
                Err(error) => break Err(error),
            };
            // Just now it was open, and at its place.
            let Some(open) = self.open.as_mut() else {
                let what = format!("opening {}", self.config.path.display());
                break Err(WriteError::Retry { what, source: ErrorKind::NotFound.into() });
            };
            let (whole, result) = open.append(&lines[done..done + length]);
            done += whole;
            if let Err((source, mended)) = result {
                if !open.regular && is_gone(&source) {
                    break Err(WriteError::Closed);
                }
                if !mended {
                    // Opening it again mends its end.
                    self.open = None;
                }
                let what = format!("writing to {}", self.config.path.display());
                break Err(WriteError::Retry { what, source });
            }
        };
        lines.drain(..done);
        outcome
    }

    fn idle(&mut self) {
        self.rotate_if_due();
        if let Err(error) = self.current() {
            let source = io::Error::other(error);
            self.warn("export file can not be opened", &source);
        }
    }

    fn control(&mut self, order: Control) {
        match order {
            Control::Reopen => self.open = None,
            Control::Rotate => self.rotate(),
            Control::Rules(Rotation { max_size, max_backups, interval }) => {
                self.config.max_size = max_size;
                self.config.max_backups = max_backups;
                self.config.interval = interval;
                if let Some(backups) = &self.backups {
                    backups.keep(max_backups);
                    backups.tidy();
                }
            }
        }
        self.idle();
    }

    fn rotations(&self) -> u64 {
        self.rotations
    }

    fn close(&mut self) {
        self.open = None;
        if let Some(backups) = self.backups.take() {
            backups.finish();
        }
    }
}

impl Open {
    fn at(path: &Path, mode: u32) -> Result<Self, OpenError> {
        let failed = |operation| move |source| OpenError::Io { operation, path: path.to_owned(), source };
        let found = fs::metadata(path).ok().map(|metadata| metadata.file_type());
        if found.is_some_and(|kind| kind.is_dir()) {
            return Err(OpenError::Directory { path: path.to_owned() });
        }
        let special = found.is_some_and(|kind| {
            kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket()
        });
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(!special).mode(mode);
        // Opening a pipe that has no reader would wait for one, deaf to every request to end.
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let mut file = options.open(path).map_err(|source| {
            let unread = found.is_some_and(|kind| kind.is_fifo());
            if unread && Errno::from_io_error(&source) == Some(Errno::NXIO) {
                OpenError::NoReader { path: path.to_owned() }
            } else {
                failed("open")(source)
            }
        })?;
        // From here on a slow reader makes the worker wait and its queue count.
        let flags = fcntl_getfl(&file).map_err(|errno| failed("inspect")(errno.into()))?;
        fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(|errno| failed("set up")(errno.into()))?;
        let metadata = file.metadata().map_err(failed("inspect"))?;
        let regular = metadata.is_file();
        let mut size = 0;
        if regular {
            if metadata.mode() & 0o7777 != mode {
                file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set permissions of"))?;
            }
            size = mend(&mut file, metadata.len()).map_err(failed("mend the last line of"))?;
        }
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok(Self { file, size, since: Instant::now(), device, inode, regular })
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode)
    }

    /// Writes whole lines. Returns how many bytes of whole lines stand in the file, and on error whether the file
    /// ends with a whole line.
    fn append(&mut self, lines: &[u8]) -> (usize, Result<(), (io::Error, bool)>) {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return self.cut_back(lines, written, ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.cut_back(lines, written, error),
            }
        }
        self.size += written as u64;
        (written, Ok(()))
    }

    fn cut_back(
        &mut self,
        lines: &[u8],
        written: usize,
        error: io::Error,
    ) -> (usize, Result<(), (io::Error, bool)>) {
        let whole = whole_lines(&lines[..written]);
        let surplus = (written - whole) as u64;
        self.size += whole as u64;
        if surplus == 0 || !self.regular {
            return (whole, Err((error, true)));
        }
        // The length is asked for because others may have cut the file (copytruncate of log rotation).
        let mended = self.file.metadata().and_then(|metadata| {
            let length = metadata.len().saturating_sub(surplus);
            self.file.set_len(length).map(|()| length)
        });
        if let Ok(length) = mended {
            self.size = length;
        }
        (whole, Err((error, mended.is_ok())))
    }
}

/// Makes the file end with a whole line and returns its length.
fn mend(file: &mut File, length: u64) -> io::Result<u64> {
    const WINDOW: u64 = 64 * 1024;
    let mut end = length;
    let mut buffer = Vec::new();
    // Searches backwards for the newline before the half line; stops at once when there is none to mend.
    let start = loop {
        let begin = end.saturating_sub(WINDOW);
        file.seek(SeekFrom::Start(begin))?;
        buffer.clear();
        Read::by_ref(file).take(end - begin).read_to_end(&mut buffer)?;
        if let Some(newline) = buffer.iter().rposition(|&byte| byte == b'\n') {
            break begin + newline as u64 + 1;
        }
        if begin == 0 {
            break 0;
        }
        end = begin;
    };
    if start == length {
        return Ok(length);
    }
    let mut first = [0];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut first)?;
    if first == *b"{" {
        tracing::warn!(bytes = length - start, "removed a half line at the end of the export file");
        file.set_len(start)?;
        return Ok(start);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

/// Length of the part that ends with the last newline.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1)
}

fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |newline| newline + 1)
}

#[cfg(test)]
mod tests;
