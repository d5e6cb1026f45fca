//! Events of a file or pipe of JSON lines, of a recording, or of a running agent for a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use saker_agent::logging::say;
use saker_api::json;
use saker_api::saker_v1::Event;
use saker_api::saker_v1::GetEventsRequest;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_engine::Engine;
use saker_engine::capture::Reader;

use crate::client::{self, MAX_MESSAGE, ServerArgs, refused};
use crate::output::Usage;

/// Bytes of the longest line that is read. Longer ones are no events.
const LINE_MOST: u64 = 16 << 20;
/// Lines that are no events and are told of one by one; the rest is counted.
const TOLD: u64 = 5;
/// What recordings begin with (`saker agent --record`).
const RECORDING: &[u8; 8] = b"SAKERCAP";

/// Where events come from.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// File of JSON lines or recording (`saker agent --record`) to read; `-` is standard input, as is none without --for
    pub file: Option<PathBuf>,
    /// Take the events of the running agent for this time, such as 30s or 5m; interrupt to end earlier
    #[arg(long = "for", value_name = "TIME", conflicts_with = "file", value_parser = saker_agent::config::duration)]
    pub time: Option<Duration>,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events.
    pub events: u64,
    /// Lines that are no events.
    pub bad: u64,
}

impl Taken {
    /// That all lines were events; asked when all is written that can be.
    ///
    /// # Errors
    /// Some were not.
    pub fn check(self) -> Result<()> {
        let Self { events, bad } = self;
        if bad > 0 {
            bail!("{bad} lines are no events, beside {events} that are: what is shown may lack something");
        }
        Ok(())
    }
}

impl SourceArgs {
    /// Hands over each event. A live stream is asked for by the request, which does not filter what is read.
    ///
    /// # Errors
    /// Nothing can be read, or the agent refuses.
    pub fn each(&self, request: GetEventsRequest, take: &mut dyn FnMut(&Event)) -> Result<Taken> {
        match (self.time, &self.file) {
            (Some(time), _) if time.is_zero() => {
                Err(Usage::of(anyhow::anyhow!("--for: the time is zero, try --for 30s")))
            }
            (Some(time), _) => self.live(time, request, take),
            (None, Some(path)) if path != Path::new("-") => {
                let name = path.display().to_string();
                let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
                read(&name, BufReader::with_capacity(256 * 1024, file), take)
            }
            (None, None) if io::IsTerminal::is_terminal(&io::stdin()) => Err(Usage::of(anyhow::anyhow!(
                "name a file of JSON lines, `-` for standard input, or --for TIME for the running agent"
            ))),
            (None, _) => read("standard input", BufReader::with_capacity(256 * 1024, io::stdin()), take),
        }
    }

    fn live(&self, time: Duration, request: GetEventsRequest, take: &mut dyn FnMut(&Event)) -> Result<Taken> {
        let mut taken = Taken::default();
        client::runtime()?.block_on(async {
            let channel = self.server.connect().await?;
            let mut client = SakerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            let mut stream = client.get_events(request).await.map_err(|status| refused(&status))?.into_inner();
            let end = tokio::time::sleep(time);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    () = &mut end => return Ok(()),
                    interrupted = tokio::signal::ctrl_c() => return interrupted.context("cannot wait for signals"),
                    next = stream.message() => match next.map_err(|status| refused(&status))? {
                        Some(event) => {
                            taken.events += 1;
                            take(&event);
                        }
                        None => {
                            say("saker: the agent ended before the time was over");
                            return Ok(());
                        }
                    },
                }
            }
        })?;
        Ok(taken)
    }
}

/// Hands over the events of lines or of a recording.
fn read(name: &str, mut from: impl BufRead, take: &mut dyn FnMut(&Event)) -> Result<Taken> {
    let cannot = || format!("cannot read {name}");
    if from.fill_buf().with_context(cannot)?.starts_with(RECORDING) {
        return recording(name, from, take);
    }
    let mut taken = Taken::default();
    let (mut line, mut number) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        let length = from.by_ref().take(LINE_MOST).read_until(b'\n', &mut line).with_context(cannot)?;
        if length == 0 {
            break;
        }
        number += 1;
        let whole = line.ends_with(b"\n") || (length as u64) < LINE_MOST;
        let parsed = if whole {
            let text = String::from_utf8_lossy(&line);
            if text.trim().is_empty() {
                continue;
            }
            json::parse_line(&text).map_err(|error| error.to_string())
        } else {
            skip_line(&mut from).with_context(cannot)?;
            Err(format!("it is longer than {LINE_MOST} bytes"))
        };
        match parsed {
            Ok(event) => {
                taken.events += 1;
                take(&event);
            }
            Err(error) => {
                taken.bad += 1;
                if taken.bad <= TOLD {
                    say(format_args!("saker: {name} line {number}: {error}"));
                }
            }
        }
    }
    Ok(taken)
}

/// Reads to the end of a line, and keeps nothing of it.
fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        let (used, ended) = match bytes.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        from.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// Hands over the events that a recording makes.
fn recording(name: &str, from: impl BufRead, take: &mut dyn FnMut(&Event)) -> Result<Taken> {
    let cannot = || format!("cannot replay {name}");
    let mut reader = Reader::new(from).with_context(cannot)?;
    let mut engine = Engine::new(reader.header().engine());
    let (mut events, mut line, mut taken) = (Vec::new(), Vec::new(), Taken::default());
    loop {
        let more = match reader.next().with_context(cannot)? {
            Some(input) => {
                engine.input(input, &mut events);
                true
            }
            None => {
                engine.finish(&mut events);
                false
            }
        };
        for event in events.drain(..) {
            line.clear();
            json::write_event(&event, &mut line);
            taken.events += 1;
            take(&json::parse_line(&String::from_utf8_lossy(&line)).with_context(cannot)?);
        }
        if !more {
            break;
        }
    }
    if reader.truncated() {
        say(format_args!("saker: warning: {name} is cut; what came later is missing"));
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_events_are_counted() {
        let line = r#"{"process_exec":{"process":{"pid":1}}}"#;
        let text = format!("{line}\n\nnonsense\n{line}");
        let mut pids = Vec::new();
        let taken = read("a test", text.as_bytes(), &mut |event| {
            let response = event.event.as_ref().unwrap();
            pids.push(crate::acts::subject(response).unwrap().process.unwrap().pid);
        });
        let taken = taken.unwrap();
        assert_eq!((taken, pids), (Taken { events: 2, bad: 1 }, vec![Some(1), Some(1)]));
        assert!(taken.check().unwrap_err().to_string().starts_with("1 lines are no events, beside 2"));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let line = r#"{"process_exec":{"process":{"pid":1}}}"#;
        let endless = io::repeat(b'x').take(LINE_MOST + 5);
        let rest = format!("\n{line}\n");
        let all = BufReader::new(endless.chain(rest.as_bytes()));
        assert_eq!(read("a test", all, &mut |_| {}).unwrap(), Taken { events: 1, bad: 1 });
    }
}
