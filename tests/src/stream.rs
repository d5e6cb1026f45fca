//! The JSON file of an agent as it grows, of which only the test's own processes are kept.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::event::{Event, Kind};

/// Reader of one file.
#[derive(Debug)]
pub struct Stream {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
    lines: u64,
    ids: HashSet<String>,
    label: Option<String>,
    forgets: bool,
    /// Events of processes that descend from this test, and all gaps, in their order.
    pub events: Vec<Event>,
    /// Lines of all processes by kind: executions, ends, gaps, hooks, others.
    pub totals: [u64; 5],
}

impl Stream {
    /// Of this file, which need not be there yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            offset: 0,
            rest: Vec::new(),
            lines: 0,
            ids: HashSet::new(),
            label: None,
            forgets: false,
            events: Vec::new(),
            totals: [0; 5],
        }
    }

    /// Looks at the form of each line and keeps none: a storm's would fill the memory of an emulated machine.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { forgets: true, ..self }
    }

    /// Keeps also processes whose arguments begin with this word: where records are lost on purpose, those of
    /// their forebears may be among them.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        Self { label: Some(format!("{label} ")), ..self }
    }

    /// Goes on with another file, that of the next agent, which may not know whom a process comes from that it never
    /// saw begin.
    #[must_use]
    pub fn followed_by(self, path: &Path) -> Self {
        Self { ids: self.ids, events: self.events, ..Self::new(path) }
    }

    /// Reads what has been added.
    ///
    /// # Errors
    /// When a line is not an event.
    pub fn advance(&mut self) -> Result<()> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.offset))?;
        let added = file.read_to_end(&mut self.rest)?;
        self.offset += u64::try_from(added)?;
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let text = String::from_utf8(whole)
            .map_err(|_| anyhow::anyhow!("the export is not UTF-8 after line {}", self.lines))?;
        for line in text.lines() {
            self.lines += 1;
            let event =
                Event::parse(self.lines, line).with_context(|| format!("in {}", self.path.display()))?;
            self.totals[event.kind as usize] += 1;
            self.keep(event);
        }
        Ok(())
    }

    fn keep(&mut self, event: Event) {
        if self.forgets {
            return;
        }
        let me = u64::from(std::process::id());
        let ours = event.kind == Kind::Gap
            || self.label.as_ref().is_some_and(|label| event.text("process/arguments").starts_with(label))
            || event.lineage().any(|id| self.ids.contains(id))
            || event.number("parent/pid") == me;
        if ours {
            if !event.exec_id().is_empty() {
                self.ids.insert(event.exec_id().to_owned());
            }
            self.events.push(event);
        }
    }

    /// Lines read so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// That the file ends with a whole line.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_end(&mut self) -> Result<()> {
        self.advance()?;
        ensure!(self.rest.is_empty(), "the export ends with {} bytes of an unfinished line", self.rest.len());
        Ok(())
    }
}
