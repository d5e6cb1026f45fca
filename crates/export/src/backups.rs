//! Rotated files: their names, their number, their age and their compression.
//!
//! Names follow the scheme that log shippers already know: `events.log` becomes
//! `events-2026-01-31T23-59-59.123.log` (UTC), then `….log.gz` when compressed.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::FileConfig;

const STAMP_LENGTH: usize = "2026-01-31T23-59-59.123".len();
const UNFINISHED: &str = ".gz.tmp";

/// Keeps the rotated files in order, on a thread of its own so that compression delays nobody.
#[derive(Debug)]
pub(crate) struct Backups {
    wake: SyncSender<()>,
    max: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Backups {
    /// Starts the thread; `None` (logged): the system has no thread for it, files just accumulate.
    pub(crate) fn start(config: &FileConfig) -> Option<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let max = Arc::new(AtomicUsize::new(config.max_backups));
        let keeper = Keeper {
            path: config.path.clone(),
            max: Arc::clone(&max),
            max_age: config.max_age,
            compress: config.compress,
        };
        let spawned =
            std::thread::Builder::new().name("saker-backups".into()).spawn(move || keeper.run(&woken));
        spawned
            .inspect_err(|error| tracing::warn!(%error, "rotated files will not be compressed or deleted"))
            .ok()
            .map(|thread| Self { wake, max, thread })
    }

    /// Asks for a round. One that is already asked for is enough.
    pub(crate) fn tidy(&self) {
        let _ = self.wake.try_send(());
    }

    /// Rotated files to keep from the next round on; 0: all.
    pub(crate) fn keep(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Waits for the rounds asked for.
    pub(crate) fn finish(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

struct Keeper {
    path: PathBuf,
    max: Arc<AtomicUsize>,
    max_age: Option<Duration>,
    compress: bool,
}

impl Keeper {
    fn run(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            if let Err(error) = self.tidy(SystemTime::now()) {
                tracing::warn!(path = %self.path.display(), %error, "rotated files could not be kept in order");
            }
        }
    }

    fn tidy(&self, now: SystemTime) -> io::Result<()> {
        let (mut backups, unfinished) = list(&self.path)?;
        for path in unfinished {
            fs::remove_file(path)?;
        }
        // Newest first.
        backups.sort_by(|left, right| right.stamp.cmp(&left.stamp));
        let oldest = self.max_age.and_then(|age| now.checked_sub(age)).map(stamp);
        let (max, mut kept) = (self.max.load(Ordering::Relaxed), 0);
        for backup in &backups {
            let too_old = oldest.as_ref().is_some_and(|oldest| backup.stamp < *oldest);
            if too_old || (max > 0 && kept >= max) {
                fs::remove_file(&backup.path)?;
                continue;
            }
            kept += 1;
            if self.compress && !backup.compressed {
                compress(&backup.path)?;
            }
        }
        Ok(())
    }
}

/// Renames the file to the name of a backup made now, or one later than the newest before: rotations within one
/// millisecond and clocks that step back must not change the order of backups. Returns the time in the name.
pub(crate) fn move_away(path: &Path, newest: Option<SystemTime>) -> io::Result<SystemTime> {
    let mut time = SystemTime::now();
    if let Some(newest) = newest {
        time = time.max(newest + Duration::from_millis(1));
    }
    loop {
        let backup = backup_path(path, &stamp(time));
        if !backup.exists() && !with_suffix(&backup, ".gz").exists() {
            fs::rename(path, &backup)?;
            return Ok(time);
        }
        time += Duration::from_millis(1);
    }
}

struct Backup {
    path: PathBuf,
    stamp: String,
    compressed: bool,
}

/// Backups of this file, and what an interrupted compression left.
fn list(path: &Path) -> io::Result<(Vec<Backup>, Vec<PathBuf>)> {
    let directory = directory_of(path);
    let (mut backups, mut unfinished) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        let Some(name) = found.file_name().and_then(OsStr::to_str) else { continue };
        if let Some(finished) = name.strip_suffix(UNFINISHED) {
            if parse_stamp(path, finished).is_some() {
                unfinished.push(found);
            }
            continue;
        }
        let plain = name.strip_suffix(".gz");
        if let Some(stamp) = parse_stamp(path, plain.unwrap_or(name)) {
            backups.push(Backup { stamp, compressed: plain.is_some(), path: found });
        }
    }
    Ok((backups, unfinished))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Stem and extension with its dot.
fn name_parts(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map_or(String::new(), |ext| format!(".{}", ext.to_string_lossy()));
    (stem, extension)
}

fn backup_path(path: &Path, stamp: &str) -> PathBuf {
    let (stem, extension) = name_parts(path);
    directory_of(path).join(format!("{stem}-{stamp}{extension}"))
}

/// The time stamp in a backup's name, if it is one of this file.
fn parse_stamp(path: &Path, name: &str) -> Option<String> {
    let (stem, extension) = name_parts(path);
    let middle = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 | 13 | 16 => byte == b'-',
        10 => byte == b'T',
        19 => byte == b'.',
        _ => byte.is_ascii_digit(),
    };
    (middle.len() == STAMP_LENGTH && middle.bytes().enumerate().all(shape)).then(|| middle.to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Compresses beside the original and replaces it only when all is written.
fn compress(path: &Path) -> io::Result<()> {
    let unfinished = with_suffix(path, UNFINISHED);
    let result = write_compressed(path, &unfinished);
    if let Err(error) = result {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    fs::rename(&unfinished, with_suffix(path, ".gz"))?;
    fs::remove_file(path)
}

fn write_compressed(from: &Path, to: &Path) -> io::Result<()> {
    let mut plain = File::open(from)?;
    let mode = plain.metadata()?.permissions().mode() & 0o7777;
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(to)?;
    let mut encoder = GzEncoder::new(target, Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?.sync_all()
}

/// `2026-01-31T23-59-59.123`, UTC.
fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{millis:03}")
}

/// Year, month and day of a day since 1970, by counting in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_calendar_time() {
        let at = |seconds: u64, millis: u32| stamp(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00-00-00.000");
        assert_eq!(at(951_782_399, 7), "2000-02-28T23-59-59.007");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00-00-00.000");
        assert_eq!(at(1_772_323_200, 0), "2026-03-01T00-00-00.000");
        assert_eq!(at(4_102_444_799, 999), "2099-12-31T23-59-59.999");
    }

    #[test]
    fn only_own_backups_are_recognised() {
        let path = Path::new("/logs/events.log");
        assert_eq!(
            backup_path(path, "2026-01-31T23-59-59.123"),
            Path::new("/logs/events-2026-01-31T23-59-59.123.log")
        );
        let known = |name| parse_stamp(path, name).is_some();
        assert!(known("events-2026-01-31T23-59-59.123.log"));
        for foreign in [
            "events.log",
            "events-old.log",
            "events-2026-01-31T23-59-59.123.txt",
            "other-2026-01-31T23-59-59.123.log",
            "events-2026-01-31 23-59-59.123.log",
        ] {
            assert!(!known(foreign), "{foreign}");
        }
    }

    #[test]
    fn name_without_extension_or_directory() {
        assert_eq!(backup_path(Path::new("events"), "S"), Path::new("./events-S"));
    }
}
