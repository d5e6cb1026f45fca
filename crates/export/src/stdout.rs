//! Lines on standard output.

use std::io::{self, ErrorKind, Write};

use crate::{Sink, WriteError};

/// Writes lines to standard output, or any other stream. The end of its reader ends the sink.
#[derive(Debug)]
pub struct StdoutSink<W = io::Stdout> {
    stream: W,
}

impl StdoutSink {
    /// The process's standard output.
    #[must_use]
    pub fn new() -> Self {
        Self { stream: io::stdout() }
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
        Self { stream }
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
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
        outcome.map_err(|source| match source.kind() {
            ErrorKind::BrokenPipe => WriteError::Closed,
            _ => WriteError::Retry { what: "writing to standard output".into(), source },
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
}
