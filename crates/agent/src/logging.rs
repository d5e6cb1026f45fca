//! The agent's own messages, on standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;

use crate::config::LogFormat;

/// Standard error as far as anybody takes it: a message that cannot be written, because the disk is full or the reader
/// gone, must not be the end of what the message is about.
#[derive(Debug)]
struct Forgiving<W>(W);

impl<W: Write> Write for Forgiving<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Writes a line to standard error; what `eprintln` does, which panics when it cannot be written.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(Forgiving(io::stderr()), "{line}");
}

/// Sends messages to standard error. Only the first call has an effect.
pub fn start(level: &str, format: LogFormat) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Forgiving(io::stderr()))
        // It would tell of failures by `eprintln`.
        .log_internal_errors(false)
        .with_target(false);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let result = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal() && !plain).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // A second agent in one process, in tests, logs to where the first does.
    drop(result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_no_error() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut stream = Forgiving(full);
        assert_eq!(stream.write(b"message\n").unwrap(), 8);
        stream.flush().unwrap();
    }
}
