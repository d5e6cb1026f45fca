//! The terminal while it shows nothing but tables: its other screen, and keys as they are pressed.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::output;

/// What the terminal is told at the beginning and at the end.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Time between two looks whether a key was pressed: nobody notices it, and no thread has to wait for one.
const LOOK: Duration = Duration::from_millis(50);

/// The terminal's other screen, which is left when this is dropped.
pub(super) struct Fullscreen {
    keys: Option<Keys>,
}

impl Fullscreen {
    /// Changes to the other screen. Keys are read if standard input is a terminal too. To be called within a runtime.
    ///
    /// # Errors
    /// The terminal does not take it.
    pub(super) fn begin() -> Result<Self> {
        let keys = io::stdin().is_terminal().then(Keys::begin).transpose()?;
        // From here on whatever fails leaves it again.
        let screen = Self { keys };
        output::print(&format!("{ENTER}waiting for the first interval; q ends this\n"))?;
        Ok(screen)
    }

    /// Lines that fit on it, each to be cut to so many columns.
    pub(super) fn size() -> (usize, usize) {
        terminal_size::terminal_size().map_or((80, 24), |(w, h)| (w.0.into(), h.0.into()))
    }

    /// Shows these lines in place of what was there.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&self, text: &str) -> Result<()> {
        let (columns, lines) = Self::size();
        let mut all = String::from("\x1b[H");
        for line in text.lines().take(lines.saturating_sub(1)) {
            all.extend(line.chars().take(columns));
            all.push_str("\x1b[K\r\n");
        }
        all.push_str("\x1b[J");
        output::print(&all)
    }

    /// Waits until somebody presses the key that ends it.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub(super) async fn ended(&self) -> Result<()> {
        match &self.keys {
            Some(keys) => keys.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Stops, as the key for it wants, with the terminal as it was before; goes on when it is continued.
    ///
    /// # Errors
    /// The terminal does not take it.
    pub(super) fn pause(&self) -> Result<()> {
        self.leave();
        kill_process(rustix::process::getpid(), Signal::STOP).context("cannot stop")?;
        if let Some(keys) = &self.keys {
            keys.apply()?;
        }
        output::print(ENTER)
    }

    fn leave(&self) {
        // Whoever closed the terminal does not miss it.
        let _ = output::print(LEAVE);
        if let Some(keys) = &self.keys {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &keys.before);
        }
    }
}

impl Drop for Fullscreen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Standard input, which gives each key as it is pressed and shows none.
struct Keys {
    /// The terminal's settings when this began.
    before: Termios,
}

impl Keys {
    fn begin() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot ask the terminal for its settings")?;
        let keys = Self { before };
        keys.apply()?;
        Ok(keys)
    }

    fn apply(&self) -> Result<()> {
        let mut settings = self.before.clone();
        settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // Reading does not wait, so that the terminal need not be made one that nobody waits for, which others would see.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &settings)
            .context("cannot change the settings of the terminal")
    }

    async fn ended(&self) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut keys = [0; 64];
            let count =
                rustix::io::read(io::stdin(), &mut keys).context("cannot read keys of the terminal")?;
            if keys[..count].iter().any(|key| matches!(key, b'q' | b'Q')) {
                return Ok(());
            }
        }
    }
}
