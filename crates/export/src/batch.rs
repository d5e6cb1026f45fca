//! Events that travel together.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use saker_api::event::{Event, EventKind, Process};
use saker_api::passage::Form;

/// Events of one turn of the engine, shared by all sinks: handing a batch to a sink costs one reference.
#[derive(Debug, Default)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    /// Sum of sizes up to and including each event, so that a part of a batch can be accounted at once.
    sizes: Vec<usize>,
    encoded: OnceLock<Box<[Encoded]>>,
}

#[derive(Debug, Default)]
struct Encoded {
    compatible: OnceLock<Bytes>,
    own: OnceLock<Bytes>,
}

impl Batch {
    /// Takes the events of one turn.
    #[must_use]
    pub fn new(events: Vec<Arc<Event>>) -> Self {
        let (mut sum, mut last) = (0, None);
        let mut sizes = Vec::with_capacity(events.len());
        for event in &events {
            sum += size_of_event(event, &mut last);
            sizes.push(sum);
        }
        Self { events, sizes, encoded: OnceLock::new() }
    }

    /// The events, oldest first.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// The bytes of an event in a form; made once for all who ask, by the first of them. Without such an event:
    /// no bytes.
    pub fn encoded(&self, index: usize, form: Form, encode: impl FnOnce(&Event) -> Bytes) -> Bytes {
        let Some(event) = self.events.get(index) else { return Bytes::new() };
        let all = self.encoded.get_or_init(|| self.events.iter().map(|_| Encoded::default()).collect());
        let Some(encoded) = all.get(index) else { return encode(event) };
        let cell = match form {
            Form::Compatible => &encoded.compatible,
            Form::Own => &encoded.own,
        };
        cell.get_or_init(|| encode(event)).clone()
    }

    /// Bytes that the first `count` events hold, about.
    #[must_use]
    pub fn bytes_of(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.sizes.get(last)).copied().unwrap_or(0)
    }

    /// How many of the first events fit both bounds.
    #[must_use]
    pub fn fitting(&self, events: usize, bytes: usize) -> usize {
        self.sizes.partition_point(|&sum| sum <= bytes).min(events)
    }
}

/// An estimate of the memory an event keeps alive. Processes are shared between events, so it is an upper one.
/// `last`: the process of an event before, with its size.
fn size_of_event<'a>(event: &'a Event, last: &mut Option<(&'a Process, usize)>) -> usize {
    const BASE: usize = size_of::<Event>() + size_of::<Process>();
    match &event.kind {
        EventKind::Exec(exec) => BASE + size_of_process(&exec.process.process),
        EventKind::Exit(exit) => BASE + size_of_process(&exit.process.process),
        EventKind::Hook(hook) => {
            let process = &*hook.process.process;
            let size = match *last {
                Some((known, size)) if std::ptr::eq(known, process) => size,
                _ => last.insert((process, size_of_process(process))).1,
            };
            BASE + size + hook.bytes()
        }
        _ => BASE,
    }
}

fn size_of_process(process: &Process) -> usize {
    let environment: usize = process.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    process.arguments.len() + process.binary.len() + process.cwd.len() + environment
}
