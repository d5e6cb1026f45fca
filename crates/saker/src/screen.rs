//! Colours, width and pager of what is written for people.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use saker_agent::config::Color;

use crate::output::{self, When};

/// How to write for people.
#[derive(Args, Clone, Copy, Debug)]
pub struct ScreenArgs {
    /// Colours; auto: when standard output is a terminal and NO_COLOR is not set
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// Columns of a line, longer ones are cut; 0: never cut [default: those of the terminal, 0 elsewhere]
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<u16>,
    /// Write long output to the terminal, not through a pager. The pager is SAKER_PAGER, PAGER or less; an empty one is none
    #[arg(long, action = ArgAction::SetTrue)]
    pub no_pager: bool,
}

/// What a text is coloured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines and times.
    Dim,
    /// A program.
    Binary,
    /// What was looked for.
    Wanted,
    /// What a process did.
    Act,
    /// What failed or was prevented.
    Alert,
    /// The name of a policy.
    Policy,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Dim => "\x1b[2m",
            Self::Binary => "\x1b[35m",
            Self::Wanted => "\x1b[1;32m",
            Self::Act => "\x1b[36m",
            Self::Alert => "\x1b[31m",
            Self::Policy => "\x1b[33m",
        }
    }
}

/// Where lines are written.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    colors: bool,
    /// Columns; 0: without end.
    width: usize,
}

impl ScreenArgs {
    /// What is there.
    pub fn screen(self) -> Screen {
        let color = match self.color {
            When::Auto => Color::Auto,
            When::Always => Color::Always,
            When::Never => Color::Never,
        };
        let terminal = || {
            let there = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
            there.map_or(0, |(width, _)| width.0)
        };
        Screen { colors: color.for_stdout(), width: self.width.unwrap_or_else(terminal).into() }
    }

    /// Writes a text, through a pager when it is longer than the terminal.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn show(self, text: &str) -> Result<()> {
        match self.pager(text) {
            Some(pager) => page(&pager, text),
            None => output::print(text),
        }
    }

    /// The pager to use; none: it fits, is not wanted, or nobody is there to turn pages.
    fn pager(self, text: &str) -> Option<String> {
        let rows = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten()?.1.0;
        if self.no_pager || !io::stdin().is_terminal() || text.lines().count() < usize::from(rows) {
            return None;
        }
        let given = |name: &str| std::env::var(name).ok();
        let pager = given("SAKER_PAGER").or_else(|| given("PAGER")).unwrap_or_else(|| "less".to_owned());
        (!pager.trim().is_empty() && pager.trim() != "cat").then_some(pager)
    }
}

/// Hands a text to a pager; without one it is written.
fn page(pager: &str, text: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    for (name, value) in [("LESS", "FRX"), ("LESSSECURE", "1")] {
        // Secure: who may only look at an agent's events as root gets no shell by it.
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let mut child = command.spawn().with_context(|| format!("cannot run the pager `{pager}`"))?;
    let written = child.stdin.take().map_or(Ok(()), |mut to| to.write_all(text.as_bytes()));
    let status = child.wait().context("cannot wait for the pager")?;
    // 126 and 127: the shell could not run it.
    if matches!(status.code(), Some(126 | 127)) {
        return output::print(text);
    }
    match written {
        // Left before the end.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to the pager"),
    }
}

impl Screen {
    /// A screen of these properties; `width` 0: without end.
    #[cfg(test)]
    pub fn of(colors: bool, width: usize) -> Self {
        Self { colors, width }
    }

    /// An empty line to be filled.
    pub fn line(self) -> Line {
        Line { screen: self, text: String::new(), columns: 0, cut: false }
    }

    /// The text with what makes it look so.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colors { format!("{}{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }
}

/// A line that ends where the screen does.
pub struct Line {
    screen: Screen,
    text: String,
    columns: usize,
    cut: bool,
}

impl Line {
    /// Appends a text, which must hold nothing that commands a terminal.
    pub fn add(&mut self, style: Option<Style>, text: &str) -> &mut Self {
        if self.cut || text.is_empty() {
            return self;
        }
        let length = text.chars().count();
        let room = if self.screen.width == 0 { usize::MAX } else { self.screen.width - self.columns };
        let shown: String = if length <= room {
            text.to_owned()
        } else {
            self.cut = true;
            text.chars().take(room.saturating_sub(1)).chain((room > 0).then_some('…')).collect()
        };
        self.columns += shown.chars().count();
        self.text.push_str(&match style {
            Some(style) => self.screen.paint(style, &shown),
            None => shown,
        });
        self
    }

    /// Appends a text that is cut so that this many columns are left, but not to fewer than `least`.
    pub fn fit(&mut self, text: &str, kept: usize, least: usize) -> &mut Self {
        self.fit_styled(None, text, kept, least)
    }

    /// The same of a text in a style.
    pub fn fit_styled(&mut self, style: Option<Style>, text: &str, kept: usize, least: usize) -> &mut Self {
        let length = text.chars().count();
        let room = match self.screen.width {
            0 => usize::MAX,
            width => width.saturating_sub(self.columns + kept).max(least),
        };
        if length <= room {
            return self.add(style, text);
        }
        let short: String = text.chars().take(room.saturating_sub(1)).chain(['…']).collect();
        self.add(style, &short)
    }

    /// The line with its newline.
    pub fn end(mut self) -> String {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_the_screen_does() {
        let mut line = Screen::of(false, 6).line();
        line.add(None, "grüße").add(Some(Style::Act), " dich").add(None, "nie");
        assert_eq!(line.end(), "grüße…\n");
        let mut line = Screen::of(false, 5).line();
        line.add(None, "grüße");
        assert_eq!(line.end(), "grüße\n");
        let mut line = Screen::of(true, 0).line();
        line.add(Some(Style::Alert), "no").add(None, " end");
        assert_eq!(line.end(), "\x1b[31mno\x1b[0m end\n");
    }
}
