//! Events on disk until a destination has them: they survive a restart of the agent and an outage of a broker.
//!
//! A directory of segment files, each with records in their order; the name of a segment is the number of its first
//! record. What the destination has confirmed is noted in a file of its own, now and then: after a crash the last
//! confirmed records are sent again, under the same numbers.
//!
//! - Bounded in bytes: what does not fit is not taken, and the caller keeps it.
//! - A record that a crash cut short is cut off at the next start. A record that the disk changed ends its segment:
//!   what is behind it there is given up. Both are counted.
//! - A segment is deleted when all its records are confirmed.

mod position;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

pub use segment::{MAX_RECORD, RecordReader, Step};

/// Time between two notes of what was confirmed.
const NOTE_EVERY: Duration = Duration::from_secs(1);
const LOG_EVERY: Duration = Duration::from_secs(60);
const SEGMENT_MAX: u64 = 64 << 20;
/// Least size of a spool, in bytes.
pub const SPOOL_MIN: u64 = 1 << 20;

/// When what was written is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// After every write, before it counts as written.
    Always,
    /// Once a second, if something was written.
    #[default]
    Interval,
    /// When the system likes to: it survives a crash of the agent, not one of the machine.
    Never,
}

/// What a spool needs to know.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Its directory, which nobody else uses; made with mode 0700.
    pub dir: PathBuf,
    /// Bytes of all segments; at least [`SPOOL_MIN`].
    pub max_bytes: u64,
    /// When what was written is forced to the disk.
    pub sync: Sync,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// An operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// Operation.
        operation: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("{} is used by another agent or export; give each a directory of its own", path.display())]
    Used {
        /// The directory.
        path: PathBuf,
    },
}

/// What was found damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records that were there by their numbers and cannot be read.
    pub records: u64,
    /// Ends of segments that a crash cut within a record.
    pub torn: u64,
}

/// A segment, as far as it is known.
#[derive(Debug)]
struct Segment {
    first: u64,
    /// The number behind its last record.
    next: u64,
    bytes: u64,
}

/// Where the next record is read.
struct Cursor {
    first: u64,
    reader: RecordReader<BufReader<File>>,
}

/// Records on disk.
pub struct Spool {
    config: SpoolConfig,
    segments: VecDeque<Segment>,
    /// The file of the last segment, if it was opened for writing.
    open: Option<File>,
    /// Something was written that was not forced to the disk.
    dirty: bool,
    synced: Instant,
    /// Number of the next record to write, to read, and to be confirmed.
    next: u64,
    read: u64,
    confirmed: u64,
    cursor: Option<Cursor>,
    noted: (u64, Instant),
    id: u64,
    damage: Damage,
    record: Vec<u8>,
    /// When a failure was logged last.
    logged: Option<Instant>,
    _lock: File,
}

impl Spool {
    /// Opens the spool, or makes it.
    ///
    /// # Errors
    /// The directory cannot be used, or is used by another.
    pub fn open(config: SpoolConfig) -> Result<Self, SpoolError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { operation, path, source }
        };
        let dir = &config.dir;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make", dir))?;
        let lock_path = dir.join("lock");
        let lock = options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::Used { path: dir.clone() })?;
        let mut damage = Damage::default();
        let mut segments: VecDeque<Segment> = VecDeque::new();
        let numbers = numbers(dir).map_err(failed("list", dir))?;
        for (index, &first) in numbers.iter().enumerate() {
            let path = segment_path(dir, first);
            let found = segment::examine(&path, first).map_err(failed("read", &path))?;
            if let Some(before) = segments.back() {
                damage.records += first.saturating_sub(before.next);
            }
            if index + 1 == numbers.len() && found.bytes < found.length {
                damage.torn += 1;
                cut(&path, found.bytes).map_err(failed("cut", &path))?;
            }
            if found.next == first && index + 1 == numbers.len() {
                fs::remove_file(&path).map_err(failed("delete", &path))?;
            } else {
                segments.push_back(Segment { first, next: found.next, bytes: found.length.min(found.bytes) });
            }
        }
        let position = position::read(dir);
        let first = segments.front().map_or(1, |segment| segment.first);
        let noted = position.as_ref().map_or(first, |position| position.confirmed);
        // Without segments numbers go on where they were: a number stands for one record for ever. The name of an
        // empty segment is such a number too.
        let written =
            segments.back().map_or(first, |segment| segment.next).max(numbers.last().copied().unwrap_or(1));
        let confirmed = noted.max(first);
        let mut spool = Self {
            segments,
            open: None,
            dirty: false,
            synced: Instant::now(),
            next: written.max(confirmed),
            read: confirmed,
            confirmed,
            cursor: None,
            noted: (0, Instant::now()),
            id: position.map_or_else(random, |position| position.id),
            damage,
            record: Vec::new(),
            logged: None,
            _lock: lock,
            config,
        };
        spool.note().map_err(failed("write", &spool.config.dir))?;
        spool.delete_confirmed();
        Ok(spool)
    }

    /// Names the spool, for ever: together with the number of a record it names that.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What was found damaged since it was opened, and then.
    #[must_use]
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Records that are not confirmed, and the bytes of all segments.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        (self.next - self.confirmed, self.segments.iter().map(|segment| segment.bytes).sum())
    }

    /// Whether everything that was written was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.read >= self.next
    }

    /// Writes records, as many as fit, and returns how many: with [`Sync::Always`] they are on the disk then, unless the disk
    /// fails, which the log tells; the next call tries it again.
    ///
    /// # Errors
    /// The file system fails, and nothing of this call is there.
    pub fn append<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut taken = 0;
        let outcome = self.append_some(records, &mut taken);
        let outcome = outcome.and_then(|()| match self.config.sync {
            Sync::Always => self.sync(),
            Sync::Interval | Sync::Never => Ok(()),
        });
        match outcome {
            Err(error) if taken == 0 => Err(error),
            // What was written is there.
            Err(error) => {
                if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                    self.logged = Some(Instant::now());
                    tracing::error!(dir = %self.config.dir.display(), %error, "a spool cannot be written as it should");
                }
                Ok(taken)
            }
            Ok(()) => Ok(taken),
        }
    }

    fn append_some<'a>(
        &mut self,
        records: impl Iterator<Item = &'a [u8]>,
        taken: &mut usize,
    ) -> io::Result<()> {
        let bound = (self.config.max_bytes / 8).clamp(SPOOL_MIN / 8, SEGMENT_MAX);
        let mut used = self.waiting().1;
        let mut group = Vec::new();
        let mut count = 0;
        for record in records {
            let length = segment::length(record);
            let filled = self.segments.back().map_or(0, |segment| segment.bytes) + group.len() as u64;
            let fresh = self.open.is_none() || filled + length > bound;
            let needed = length + if fresh { segment::HEAD } else { 0 };
            if used + needed > self.config.max_bytes {
                break;
            }
            if fresh {
                *taken += self.write(&mut group, &mut count)?;
                self.begin()?;
            }
            segment::encode(self.next + count, record, &mut group);
            count += 1;
            used += needed;
        }
        *taken += self.write(&mut group, &mut count)?;
        Ok(())
    }

    /// Writes encoded records to the last segment.
    fn write(&mut self, group: &mut Vec<u8>, count: &mut u64) -> io::Result<usize> {
        if *count == 0 {
            return Ok(0);
        }
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(group) {
            // Half a group would be read as records that nobody counts.
            let _ = file.set_len(segment.bytes);
            let _ = file.seek(SeekFrom::Start(segment.bytes));
            self.open = None;
            return Err(error);
        }
        segment.bytes += group.len() as u64;
        segment.next += *count;
        self.next += *count;
        self.dirty = true;
        group.clear();
        Ok(std::mem::take(count) as usize)
    }

    /// Begins a segment.
    fn begin(&mut self) -> io::Result<()> {
        if self.config.sync != Sync::Never {
            self.sync()?;
        }
        let path = segment_path(&self.config.dir, self.next);
        let mut file = options().write(true).create(true).truncate(true).open(&path)?;
        file.write_all(&segment::head(self.next))?;
        self.segments.retain(|segment| segment.first != self.next);
        self.segments.push_back(Segment { first: self.next, next: self.next, bytes: segment::HEAD });
        self.open = Some(file);
        self.dirty = true;
        Ok(())
    }

    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty
            && let Some(file) = &self.open
        {
            file.sync_data()?;
            File::open(&self.config.dir)?.sync_all()?;
        }
        self.dirty = false;
        self.synced = Instant::now();
        Ok(())
    }

    /// What is due now and then: to be called a few times a second.
    ///
    /// # Errors
    /// The file system fails.
    pub fn tend(&mut self) -> io::Result<()> {
        if self.config.sync == Sync::Interval && self.dirty && self.synced.elapsed() >= NOTE_EVERY {
            self.sync()?;
        }
        if self.noted.0 != self.confirmed && self.noted.1.elapsed() >= NOTE_EVERY {
            self.note()?;
        }
        Ok(())
    }

    /// The next records with their numbers, at most so many with so many bytes together, but one in any case.
    ///
    /// # Errors
    /// The file system fails.
    pub fn read(&mut self, most: usize, bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let mut records = Vec::new();
        let mut sum = 0;
        while records.len() < most && sum < bytes && self.read < self.next {
            match self.step()? {
                Step::Record => {
                    sum += self.record.len();
                    records.push((self.read, Bytes::copy_from_slice(&self.record)));
                    self.read += 1;
                }
                Step::End | Step::Cut | Step::Damaged => self.skip(),
            }
        }
        Ok(records)
    }

    /// Reads the record of the number `read`.
    fn step(&mut self) -> io::Result<Step> {
        let number = self.read;
        let Some(segment) =
            self.segments.iter().find(|segment| segment.first <= number && number < segment.next)
        else {
            return Ok(Step::End);
        };
        let first = segment.first;
        if self.cursor.as_ref().is_none_or(|cursor| cursor.first != first) {
            let file = File::open(segment_path(&self.config.dir, first))?;
            let mut reader = RecordReader::new(BufReader::new(file));
            if reader.head()? != Some(first) {
                return Ok(Step::Damaged);
            }
            for before in first..number {
                match reader.next(before, &mut self.record)? {
                    Step::Record => {}
                    other => return Ok(other),
                }
            }
            self.cursor = Some(Cursor { first, reader });
        }
        match &mut self.cursor {
            Some(cursor) => cursor.reader.next(number, &mut self.record),
            None => Ok(Step::End),
        }
    }

    /// Goes on behind what cannot be read. What was missing at the start was counted then.
    fn skip(&mut self) {
        self.cursor = None;
        let number = self.read;
        let of = self.segments.iter().find(|segment| segment.first <= number && number < segment.next);
        if let Some(segment) = of {
            self.damage.records += segment.next - number;
            self.read = segment.next;
        } else {
            let later = self.segments.iter().map(|segment| segment.first).find(|&first| first > number);
            self.read = later.unwrap_or(self.next);
        }
    }

    /// Everything below this number is where it should be. Segments that nobody needs any more are deleted.
    pub fn confirm(&mut self, below: u64) {
        if below <= self.confirmed {
            return;
        }
        self.confirmed = below.min(self.read);
        self.delete_confirmed();
    }

    fn delete_confirmed(&mut self) {
        let in_use = usize::from(self.open.is_some());
        while self.segments.len() > in_use
            && self.segments.front().is_some_and(|segment| segment.next <= self.confirmed)
        {
            // The number must not be given to another record after a restart.
            if self.noted.0 != self.confirmed && self.note().is_err() {
                return;
            }
            let Some(segment) = self.segments.pop_front() else { return };
            if self.cursor.as_ref().is_some_and(|cursor| cursor.first == segment.first) {
                self.cursor = None;
            }
            let path = segment_path(&self.config.dir, segment.first);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "a spool's segment cannot be deleted");
            }
        }
    }

    /// Notes what was confirmed.
    fn note(&mut self) -> io::Result<()> {
        let position = position::Position { id: self.id, confirmed: self.confirmed };
        position::write(&self.config.dir, &position, self.config.sync != Sync::Never)?;
        self.noted = (self.confirmed, Instant::now());
        Ok(())
    }

    /// Notes everything, at the end.
    ///
    /// # Errors
    /// The file system fails.
    pub fn close(&mut self) -> io::Result<()> {
        if self.config.sync != Sync::Never {
            self.sync()?;
        }
        self.note()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = options().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.segment"))
}

/// Numbers in the names of segments, in their order.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment")?.parse::<u64>().ok());
        numbers.extend(number.filter(|&number| number > 0));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests;
