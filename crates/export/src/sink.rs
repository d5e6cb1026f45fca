//! What a worker asks of a sink.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Time between attempts of a sink that has no idea of its own.
const RETRY: Duration = Duration::from_millis(250);

/// A destination of whole lines, or of whatever the encoder beside it makes of an event.
pub trait Sink: Send {
    /// Writes lines from the front of `lines` and removes what it wrote; what remains is whole lines too. What
    /// can never arrive is removed as well and counted in [`Sink::losses`].
    ///
    /// # Errors
    /// [`WriteError::Retry`]: something remains and may be tried again. [`WriteError::Closed`]: nobody will ever
    /// read again.
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError>;

    /// How many events these bytes hold.
    fn count(&self, lines: &[u8]) -> u64 {
        lines.iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    /// Events removed by [`Sink::write`] that did not arrive, since the beginning.
    fn losses(&self) -> Losses {
        Losses::default()
    }

    /// How long to wait after so many failed attempts in a row, from 1.
    fn pause(&self, failures: u32) -> Duration {
        let _ = failures;
        RETRY
    }

    /// Called when there is nothing to write, a few times a second.
    fn idle(&mut self) {}

    /// Carries out an order from outside.
    fn control(&mut self, order: Control) {
        let _ = order;
    }

    /// Times the present file was moved to a backup and another begun.
    fn rotations(&self) -> u64 {
        0
    }

    /// Called once at the end, after the last write.
    fn close(&mut self) {}
}

/// Why a sink gave up an event that it had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The destination answered that it does not want it.
    Refused,
    /// It is longer than the way there allows.
    TooLong,
    /// The network told afterwards that nobody was there.
    Unreachable,
    /// The disk spool could not be read back: records that a crash or the disk damaged.
    SpoolDamaged,
}

impl Loss {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Refused, Self::TooLong, Self::Unreachable, Self::SpoolDamaged];

    /// Its name in metrics and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TooLong => "too_long",
            Self::Unreachable => "unreachable",
            Self::SpoolDamaged => "spool_damaged",
        }
    }
}

/// Events given up, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// Counts events.
    pub fn add(&mut self, loss: Loss, events: u64) {
        self.0[loss as usize] += events;
    }

    /// How many for this cause.
    #[must_use]
    pub fn of(&self, loss: Loss) -> u64 {
        self.0[loss as usize]
    }

    /// How many for any cause.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// When a file is rotated, and how many of the rotated files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which the file is rotated; 0: no limit.
    pub max_size: u64,
    /// Rotated files that are kept; 0: all.
    pub max_backups: usize,
    /// Time after which a file with content is rotated.
    pub interval: Option<Duration>,
}

/// Orders to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Rotate by other rules from now on.
    Rules(Rotation),
    /// Open the file anew: somebody moved it.
    Reopen,
    /// Move the present file to a backup and begin another.
    Rotate,
}

/// Why lines were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It may go better later.
    #[error("{what} failed; retrying")]
    Retry {
        /// Operation and object.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The reading end is closed.
    #[error("the reading end is closed")]
    Closed,
}

/// Whether an error of a stream means that nobody will ever read it again: the reader of a pipe or the peer of a
/// socket is gone, or the terminal hung up.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::PIPE, Errno::IO, Errno::NXIO, Errno::NOTCONN, Errno::CONNRESET];
    Errno::from_io_error(error)
        .map_or(error.kind() == io::ErrorKind::BrokenPipe, |errno| gone.contains(&errno))
}

/// Why a sink could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An operation on the file failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// Operation.
        operation: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A named pipe that nobody reads; waiting for a reader could take for ever.
    #[error(
        "nobody reads the pipe {}; start its reader first, or give the path of a file",
        path.display()
    )]
    NoReader {
        /// Object.
        path: PathBuf,
    },
    /// The path names something that lines cannot be appended to.
    #[error("{} is a directory; give the path of a file", path.display())]
    Directory {
        /// Object.
        path: PathBuf,
    },
}
