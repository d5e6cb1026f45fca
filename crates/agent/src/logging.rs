//! The agent's own messages, on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, filter, fmt, reload};

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
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(Forgiving(io::stderr()), "{line}");
}

/// How the level is changed; there once logging has begun.
static HANDLE: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();
/// The level in force.
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::INFO);

/// Sends messages to standard error. Only the first call has an effect.
pub fn start(level: &str, format: LogFormat) {
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let messages = fmt::layer()
        .with_writer(|| Forgiving(io::stderr()))
        // It would tell of failures by `eprintln`.
        .log_internal_errors(false)
        .with_target(false);
    // The Kafka client tells each connection and failure, without bounds; the latter come back to us, who tell them.
    let own = filter::filter_fn(|metadata| !metadata.target().starts_with("rskafka"));
    let registry = tracing_subscriber::registry().with(filter).with(own);
    let result = match format {
        LogFormat::Text => registry.with(messages.with_ansi(io::stderr().is_terminal() && !plain)).try_init(),
        LogFormat::Json => registry.with(messages.json().flatten_event(true).with_ansi(false)).try_init(),
    };
    // A second agent in one process, in tests, logs to where the first does.
    if result.is_ok() {
        let _ = HANDLE.set(handle);
    }
    set_level(parse(level));
}

fn parse(level: &str) -> LevelFilter {
    level.parse().unwrap_or(LevelFilter::INFO)
}

/// The least level of messages now.
#[must_use]
pub fn level() -> LevelFilter {
    *LEVEL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the least level of messages, for all of the process.
pub fn set_level(level: LevelFilter) {
    let mut known = LEVEL.lock().unwrap_or_else(PoisonError::into_inner);
    *known = level;
    if let Some(Err(error)) = HANDLE.get().map(|handle| handle.reload(level)) {
        tracing::warn!(%error, "the log level cannot be changed");
    }
}

/// The same by its name, as of the option log-level.
pub fn set_level_named(level: &str) {
    set_level(parse(level));
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
