//! Events that travel together.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use saker_api::event::{Event, EventKind, GapEvent, Process};
use saker_api::passage::Form;

/// Events of one turn of the engine, shared by all sinks: handing a batch to a sink costs one reference.
#[derive(Debug, Default)]
pub struct Batch {
    events: Vec<Arc<Event>>,
    /// Sum of sizes up to and including each event, so that a part of a batch can be accounted at once.
    sizes: Vec<usize>,
    encoded: OnceLock<Box<[Encoded]>>,
    spares: Option<Arc<Spares>>,
}

/// Events that all sinks have done with, on their way back to whoever makes events. They tell nothing any more and hold
/// nothing but their memory.
#[derive(Debug, Default)]
pub struct Spares(Mutex<Vec<Arc<Event>>>);

impl Spares {
    /// Most that are kept: what a busy machine tells in some hundredths of a second.
    pub const MAX: usize = 1024;

    /// Hands all over, in place of none.
    pub fn take(&self) -> Vec<Arc<Event>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give(&self, mut events: Vec<Arc<Event>>) {
        events.truncate(Self::MAX);
        // What they hold goes here, outside the lock; an event that somebody has still is not spare.
        events.retain_mut(|event| match Arc::get_mut(event) {
            Some(event) => {
                event.kind = EventKind::Gap(GapEvent::default());
                true
            }
            None => false,
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            *kept = events;
            return;
        }
        events.truncate(Self::MAX.saturating_sub(kept.len()));
        kept.append(&mut events);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(spares) = &self.spares {
            spares.give(std::mem::take(&mut self.events));
        }
    }
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
        Self { events, sizes, encoded: OnceLock::new(), spares: None }
    }

    /// The same, whose events become spare when everybody has done with them.
    #[must_use]
    pub fn with_spares(mut self, spares: &Arc<Spares>) -> Self {
        self.spares = Some(Arc::clone(spares));
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Arc<Event> {
        let gap = GapEvent { lost: 7, ..GapEvent::default() };
        Arc::new(Event { time: Default::default(), node: Arc::default(), kind: EventKind::Gap(gap) })
    }

    #[test]
    fn events_come_back_when_everybody_has_done_with_them() {
        let spares = Arc::new(Spares::default());
        let held = event();
        let batch = Arc::new(Batch::new(vec![event(), Arc::clone(&held)]).with_spares(&spares));
        let other = Arc::clone(&batch);
        drop(batch);
        assert!(spares.take().is_empty());
        drop(other);
        let came = spares.take();
        assert_eq!((came.len(), spares.take().len()), (1, 0));
        // They are empty; what somebody has is as it was.
        let lost = |event: &Event| matches!(&event.kind, EventKind::Gap(gap) if gap.lost == 7);
        assert!(!lost(&came[0]) && lost(&held));
    }

    #[test]
    fn spare_events_are_bounded() {
        let spares = Arc::new(Spares::default());
        let batch = |count| Batch::new((0..count).map(|_| event()).collect()).with_spares(&spares);
        for count in [3, Spares::MAX, 2] {
            drop(batch(count));
        }
        assert_eq!(spares.take().len(), Spares::MAX);
        drop(batch(Spares::MAX + 5));
        assert_eq!(spares.take().len(), Spares::MAX);
    }
}
