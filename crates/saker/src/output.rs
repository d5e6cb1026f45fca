//! What commands write, and how they end when nobody reads it.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::{Error, Result};
use clap::ValueEnum;
use saker_agent::config::Color;
use saker_api::compact::Compact;

/// A failure that the command has told of already: only the status is left to give.
#[derive(Debug)]
pub struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Told {}

/// The command has done and told what it should, and ends with this status, which says what it found.
#[derive(Debug)]
pub struct Ended(pub u8);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with status {}", self.0)
    }
}

impl std::error::Error for Ended {}

/// Form of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Data {
    /// For people.
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
}

/// Form of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON lines.
    Json,
    /// Lines for people.
    Compact,
    /// Columns for people.
    Table,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// The writer of compact lines.
    pub fn compact(self, timestamps: bool, stacks: bool) -> Compact {
        let color = match self {
            Self::Auto => Color::Auto,
            Self::Always => Color::Always,
            Self::Never => Color::Never,
        };
        Compact { colors: color.for_stdout(), timestamps, stacks }
    }
}

/// Writes a text to standard output.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a text for people or an object for programs.
pub fn print_either(form: Data, text: &str, object: &serde_json::Value) -> Result<()> {
    match form {
        Data::Table => print(text),
        Data::Json => print(&format!("{object}\n")),
    }
}

/// The reader of the output went away: the usual end of `saker events | head`.
pub fn is_closed(error: &Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// The error with its causes, without those that it says already.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A mistake of whoever gave the command.
#[derive(Debug)]
pub struct Usage(String);

impl Usage {
    /// The error, as a mistake in the command line.
    #[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
    pub fn of(error: Error) -> Error {
        Self(chain(&error)).into()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Rows as columns of equal width, two spaces between them.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let missing = width - cell.chars().count();
            line.extend(std::iter::repeat_n(' ', missing + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("disk on fire");
        let error = Error::new(inner).context("cannot write: disk on fire").context("export");
        assert_eq!(chain(&error), "export: cannot write: disk on fire");
    }

    #[test]
    fn closed_pipe_is_recognised_behind_context() {
        let error: Result<()> = Err(io::Error::from(ErrorKind::BrokenPipe)).context("writing");
        assert!(is_closed(&error.unwrap_err()));
        assert!(!is_closed(&anyhow::anyhow!("other")));
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(columns(&[row(["a", "b"]), row(["long", "c"])]), "a     b\nlong  c\n");
    }
}
