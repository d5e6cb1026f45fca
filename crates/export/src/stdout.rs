//! Lines on standard output.

use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, fstat};

use crate::sink::is_gone;
use crate::{Sink, WriteError};

/// Whoever writes to standard output: lines of several exports must not end up in one another.
static TURN: Mutex<()> = Mutex::new(());

/// Writes lines to standard output, or any other stream. The end of its reader ends the sink.
#[derive(Debug)]
pub struct StdoutSink<W = io::Stdout> {
    stream: W,
    /// A file on a disk that fails has not lost its reader; the disk may recover.
    regular: bool,
    /// Others write to it too.
    shared: bool,
}

impl StdoutSink {
    /// The process's standard output.
    #[must_use]
    pub fn new() -> Self {
        let stream = io::stdout();
        let stat = fstat(&stream);
        let regular = stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Self { stream, regular, shared: true }
    }
}

impl Default for StdoutSink {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write + Send> StdoutSink<W> {
    /// Any stream.
    pub fn to(stream: W) -> Self {
        Self { stream, regular: false, shared: false }
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        let _turn = self.shared.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let mut written = 0;
        let outcome = loop {
            match self.stream.write(&lines[written..]) {
                Ok(0) if written < lines.len() => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == lines.len() {
                break self.stream.flush();
            }
        };
        // A stream cannot be cut back, so the rest of a line begun is written when it can be.
        lines.drain(..written);
        outcome.map_err(|source| {
            if !self.regular && is_gone(&source) {
                WriteError::Closed
            } else {
                WriteError::Retry { what: "writing to standard output".into(), source }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_pipe_ends_the_sink() {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::to(writer);
        let mut lines = b"one\n".to_vec();
        sink.write(&mut lines).unwrap();
        assert!(lines.is_empty());
        drop(reader);
        lines.extend(b"two\n");
        assert!(matches!(sink.write(&mut lines), Err(WriteError::Closed)));
    }

    /// A stream that fails with one error for ever.
    struct Failing(rustix::io::Errno);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_terminals_and_peers_end_the_sink_and_a_full_disk_does_not() {
        use rustix::io::Errno;
        let outcome = |errno| StdoutSink::to(Failing(errno)).write(&mut b"one\n".to_vec());
        for errno in [Errno::IO, Errno::NXIO, Errno::NOTCONN, Errno::CONNRESET, Errno::PIPE] {
            assert!(matches!(outcome(errno), Err(WriteError::Closed)), "{errno}");
        }
        for errno in [Errno::NOSPC, Errno::AGAIN] {
            assert!(matches!(outcome(errno), Err(WriteError::Retry { .. })), "{errno}");
        }
        let mut file = StdoutSink { stream: Failing(Errno::IO), regular: true, shared: false };
        assert!(matches!(file.write(&mut b"one\n".to_vec()), Err(WriteError::Retry { .. })));
    }
}
