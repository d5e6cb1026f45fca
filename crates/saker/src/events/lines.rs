//! Events of a file or a pipe of JSON lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, fstat};
use saker_agent::logging::say;
use saker_api::filter::{Offered, Subscription};
use saker_api::json;
use saker_api::saker_v1::GetEventsRequest;

use super::request::Times;
use super::{EventsArgs, Printer};
use crate::output::Usage;

/// Time between two looks at the end of a file.
const LOOK: Duration = Duration::from_millis(200);

/// Where lines come from.
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// What to read; `None`: an agent is to be asked.
pub fn input(args: &EventsArgs) -> Result<Option<Input>> {
    match &args.file {
        Some(path) if path == Path::new("-") => return Ok(Some(Input::Stdin)),
        Some(path) => return Ok(Some(Input::File(path.clone()))),
        None if args.server.server_address.is_some() => return Ok(None),
        None => {}
    }
    // Services and cron jobs have /dev/null, which is neither.
    let kind = fstat(io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let piped = matches!(kind, Ok(FileType::Fifo | FileType::RegularFile));
    Ok(piped.then_some(Input::Stdin))
}

/// Prints the events of the lines that pass the filters.
pub fn run(
    args: &EventsArgs,
    input: Input,
    (request, times): (&GetEventsRequest, Times),
    printer: &mut Printer,
) -> Result<()> {
    let subscription = Subscription::compile_own(request.clone(), &Offered::everything());
    let subscription = subscription.map_err(|error| Usage::of(error.into()))?;
    let mut reader = Lines::open(input, args.follow)?;
    let (mut line, mut number, mut bad) = (Vec::new(), 0_u64, 0_u64);
    while reader.next(&mut line, printer)? {
        number += 1;
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        let event = match json::parse_line(&text) {
            Ok(event) => event,
            Err(error) => {
                bad += 1;
                say(format_args!("saker: {} line {number}: {error}", reader.name));
                continue;
            }
        };
        if !times.hold(&event) || !subscription.filters.passes_received(&event) {
            continue;
        }
        if !printer.print(&subscription.fields.apply_event(&event))? {
            return Ok(());
        }
    }
    printer.flush()?;
    if bad > 0 {
        bail!("{bad} of {number} lines of {} are no events", reader.name);
    }
    Ok(())
}

struct Lines {
    name: String,
    path: Option<PathBuf>,
    reader: Box<dyn BufRead>,
    inode: u64,
    follow: bool,
}

impl Lines {
    fn open(input: Input, follow: bool) -> Result<Self> {
        match input {
            Input::Stdin => Ok(Self {
                name: "standard input".into(),
                path: None,
                reader: Box::new(io::stdin().lock()),
                inode: 0,
                follow: false,
            }),
            Input::File(path) => {
                let name = path.display().to_string();
                let file = File::open(&path).with_context(|| format!("cannot read {name}"))?;
                let inode = file.metadata().map_or(0, |metadata| metadata.ino());
                Ok(Self { name, path: Some(path), reader: Box::new(BufReader::new(file)), inode, follow })
            }
        }
    }

    /// The next line, without its newline; `false`: there is none and there will be none.
    fn next(&mut self, line: &mut Vec<u8>, printer: &mut Printer) -> Result<bool> {
        line.clear();
        loop {
            self.reader.read_until(b'\n', line).with_context(|| format!("cannot read {}", self.name))?;
            if line.ends_with(b"\n") {
                line.pop();
                return Ok(true);
            }
            if !self.follow {
                return Ok(!line.is_empty());
            }
            printer.flush()?;
            std::thread::sleep(LOOK);
            self.reopen_if_rotated(line)?;
        }
    }

    /// After a rotation the file of this name is another one.
    fn reopen_if_rotated(&mut self, line: &mut Vec<u8>) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let Ok(file) = File::open(path) else { return Ok(()) };
        let inode = file.metadata().map_or(self.inode, |metadata| metadata.ino());
        if inode != self.inode {
            // What was written between the last look and the rotation.
            let more =
                self.reader.read_until(b'\n', line).with_context(|| format!("cannot read {}", self.name))?;
            if more == 0 {
                self.inode = inode;
                self.reader = Box::new(BufReader::new(file));
                line.clear();
            }
        }
        Ok(())
    }
}
