//! `saker replay`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use saker_agent::recording::Replay;
use saker_api::event::Event;
use saker_api::json;
use saker_engine::Engine;

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
    /// Print to standard error what the engine counted
    #[arg(long)]
    stats: bool,
}

/// Replays a recording through the engine.
pub fn run(args: &ReplayArgs) -> Result<()> {
    let mut replay = Replay::open(&args.file)?;
    let mut setup = replay.setup().clone();
    setup.visible.credentials |= args.enable_process_cred;
    setup.visible.namespaces |= args.enable_process_ns;
    setup.ancestors.exec |= args.enable_ancestors;
    setup.ancestors.exit |= args.enable_ancestors;
    let mut engine = Engine::new(setup.engine());
    let mut encoder = encoder(args);
    let mut out = io::stdout().lock();
    let (mut events, mut lines) = (Vec::new(), Vec::with_capacity(2 * CHUNK));
    loop {
        let more = replay.step(&mut engine, &mut events)?;
        for event in events.drain(..) {
            encoder(&event, &mut lines);
        }
        if lines.len() >= CHUNK || !more {
            out.write_all(&lines)?;
            lines.clear();
        }
        if !more {
            break;
        }
    }
    out.flush()?;
    if args.stats {
        eprintln!("{:#?}", engine.counters());
    }
    Ok(())
}

/// Appends the form of an event.
type Encoder = Box<dyn FnMut(&Event, &mut Vec<u8>)>;

fn encoder(args: &ReplayArgs) -> Encoder {
    if args.output == Form::Json {
        return Box::new(json::write_event);
    }
    let compact = args.color.compact(args.timestamps);
    let mut line = String::new();
    Box::new(move |event, lines| {
        line.clear();
        compact.write_event(event, &mut line);
        lines.extend_from_slice(line.as_bytes());
    })
}
