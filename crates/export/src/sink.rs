//! What a worker asks of a sink.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A destination of whole lines.
pub trait Sink: Send {
    /// Writes lines from the front of `lines` and removes what it wrote; what remains is whole lines too.
    ///
    /// # Errors
    /// [`WriteError::Retry`]: something remains and may be tried again. [`WriteError::Closed`]: nobody will ever
    /// read again.
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError>;

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
