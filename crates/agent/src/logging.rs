//! The agent's own messages, on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use crate::config::LogFormat;

/// Sends messages to standard error. Only the first call has an effect.
pub fn start(level: &str, format: LogFormat) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let result = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal() && !plain).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // A second agent in one process, in tests, logs to where the first does.
    drop(result);
}
