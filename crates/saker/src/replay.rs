//! `saker replay`.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use saker_agent::logging::say;
use saker_api::event::Event;
use saker_api::json;
use saker_engine::capture::Reader;
use saker_engine::{Ancestors, Engine};

use crate::output::{Form, When};

/// Bytes that are written at once.
const CHUNK: usize = 64 * 1024;

/// Arguments of `saker replay`.
#[derive(Args)]
pub struct ReplayArgs {
    /// The recording
    file: PathBuf,
    /// Form of the events
    #[arg(short, long, value_enum, default_value_t = Form::Json)]
    output: Form,
    /// Colours of compact lines
    #[arg(long, value_enum, default_value_t = When::Auto)]
    color: When,
    /// Begin compact lines with the time of the event
    #[arg(long)]
    timestamps: bool,
    /// Show credentials, although the recording agent did not
    #[arg(long)]
    enable_process_cred: bool,
    /// Show namespaces, although the recording agent did not
    #[arg(long)]
    enable_process_ns: bool,
    /// Show ancestors, although the recording agent did not
    #[arg(long)]
    enable_ancestors: bool,
    /// Show the addresses of callers in stacks, although the recording agent did not
    #[arg(long)]
    expose_stack_addresses: bool,
    /// Print to standard error what the engine counted
    #[arg(long)]
    stats: bool,
}

/// Replays a recording through the engine.
pub fn run(args: &ReplayArgs) -> Result<()> {
    let cannot = || format!("cannot replay {}", args.file.display());
    let file = File::open(&args.file).with_context(cannot)?;
    let mut reader = Reader::new(BufReader::with_capacity(256 * 1024, file)).with_context(cannot)?;
    let mut config = reader.header().engine();
    config.visible.credentials |= args.enable_process_cred;
    config.visible.namespaces |= args.enable_process_ns;
    config.stack_addresses |= args.expose_stack_addresses;
    if args.enable_ancestors {
        config.ancestors = Ancestors::all(true);
    }
    let mut engine = Engine::new(config);
    let mut printer = Printer { encoder: encoder(args), out: io::stdout().lock(), lines: Vec::new() };
    let mut events = Vec::new();
    // What was read before a damaged place counts as much as before a missing end.
    let outcome = loop {
        match reader.next() {
            Ok(Some(input)) => engine.input(input, &mut events),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        printer.print(&mut events, CHUNK)?;
    };
    engine.finish(&mut events);
    printer.print(&mut events, 0)?;
    if args.stats {
        say(format_args!("{:#?}", engine.counters()));
        let (entries, truncated, unknown) = (reader.entries(), reader.truncated(), reader.unknown());
        say(format_args!("entries: {entries}\nend missing: {truncated}\nunknown entries: {unknown}"));
    }
    outcome.with_context(cannot)?;
    let file = args.file.display();
    if reader.truncated() {
        say(format_args!(
            "saker: warning: {file} is cut after {} entries: its agent was killed, or could not write on, or still \
             runs; what came later is missing",
            reader.entries()
        ));
    }
    if reader.unknown() > 0 {
        say(format_args!(
            "saker: warning: {} entries of {file} are of a newer version and were left out",
            reader.unknown()
        ));
    }
    Ok(())
}

/// Writes events in chunks.
struct Printer<W> {
    encoder: Encoder,
    out: W,
    lines: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// Takes events, and writes when there are `least` bytes of lines.
    fn print(&mut self, events: &mut Vec<Arc<Event>>, least: usize) -> io::Result<()> {
        for event in events.drain(..) {
            (self.encoder)(&event, &mut self.lines);
        }
        if self.lines.len() >= least && !self.lines.is_empty() {
            self.out.write_all(&self.lines)?;
            self.out.flush()?;
            self.lines.clear();
        }
        Ok(())
    }
}

/// Appends the form of an event.
type Encoder = Box<dyn FnMut(&Event, &mut Vec<u8>)>;

fn encoder(args: &ReplayArgs) -> Encoder {
    if args.output == Form::Json {
        return Box::new(json::write_event);
    }
    let compact = args.color.compact(args.timestamps, true);
    let mut line = String::new();
    Box::new(move |event, lines| {
        line.clear();
        compact.write_event(event, &mut line);
        lines.extend_from_slice(line.as_bytes());
    })
}
