//! Runs an engine from a capture, without a kernel.

use std::io::Read;
use std::sync::Arc;

use saker_api::event::Event;

use crate::capture::{CaptureError, CaptureHeader, Reader};
use crate::config::EngineConfig;
use crate::counters::Counters;
use crate::engine::Engine;

/// Events that are passed on together.
const BATCH: usize = 256;

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Totals of the engine.
    pub counters: Counters,
    /// Entries of the capture.
    pub entries: u64,
    /// The capture's end is missing.
    pub truncated: bool,
}

/// Gives a capture to a new engine and its events to `sink`, in batches.
///
/// `configure` makes the engine's configuration; [`CaptureHeader::configure`] adds what the capture knows.
///
/// # Errors
/// When the capture cannot be read. What it held up to there has been passed on.
pub fn replay<R: Read>(
    from: R,
    configure: impl FnOnce(&CaptureHeader) -> EngineConfig,
    mut sink: impl FnMut(&[Arc<Event>]),
) -> Result<Replayed, CaptureError> {
    let mut reader = Reader::new(from)?;
    let mut engine = Engine::new(configure(reader.header()));
    let mut events = Vec::with_capacity(BATCH);
    let ended = loop {
        match reader.next() {
            Ok(Some(input)) => engine.input(input, &mut events),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if events.len() >= BATCH {
            sink(&events);
            events.clear();
        }
    };
    engine.finish(&mut events);
    sink(&events);
    ended?;
    Ok(Replayed { counters: engine.counters(), entries: reader.entries(), truncated: reader.truncated() })
}
