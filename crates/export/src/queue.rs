//! The bounded queue before each sink.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use saker_api::event::{Event, EventKind, GapEvent};
use saker_api::passage::Counts;

use crate::Batch;

/// Bounds of a queue. What a sink has taken and not yet finished counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes the events keep alive, estimated.
    pub bytes: usize,
}

/// A bounded queue from the engine to one sink.
///
/// Full: the newest events are refused and counted. Once anything was refused, everything is, until the queue
/// is at most half full again; then one gap event tells how many are missing at this place of the stream.
pub struct Queue {
    stage: &'static str,
    label: String,
    limits: Limits,
    state: Mutex<State>,
    filled: Condvar,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    counters: Counters,
    passage: Arc<Counts>,
}

#[derive(Default)]
struct State {
    slots: VecDeque<Slot>,
    /// Events and bytes in `slots` and in the hands of the sink.
    events: usize,
    bytes: usize,
    events_max: usize,
    taken: (usize, usize),
    lost: Option<Lost>,
    closed: bool,
    waiting: bool,
}

enum Slot {
    Events { batch: Arc<Batch>, range: Range<usize>, bytes: usize },
    Gap(Arc<Event>),
}

struct Lost {
    count: u64,
    newest: Arc<Event>,
}

#[derive(Default)]
struct Counters {
    offered: AtomicU64,
    dropped: AtomicU64,
    taken: AtomicU64,
    gaps: AtomicU64,
    passed: AtomicU64,
    filtered: AtomicU64,
    bytes_passed: AtomicU64,
}

/// What a queue has counted. `offered = taken + queued + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Events offered.
    pub offered: u64,
    /// Events refused because the queue was full, or closed.
    pub dropped: u64,
    /// Events the sink took.
    pub taken: u64,
    /// Gap events made.
    pub gaps: u64,
    /// Events taken that were passed on, and their bytes with those of gaps; told by sinks without a worker.
    pub passed: u64,
    /// Bytes of them.
    pub bytes_passed: u64,
    /// Events taken that filters kept out; likewise.
    pub filtered: u64,
    /// Events waiting.
    pub queued: u64,
    /// Most events that ever waited, with those in the hands of the sink.
    pub queued_max: u64,
    /// Bytes they keep alive, estimated, with those in the hands of the sink.
    pub bytes: u64,
}

/// Events that a sink took.
pub enum Taken {
    /// A part of a batch.
    Events(Arc<Batch>, Range<usize>),
    /// A gap of this queue.
    Gap(Arc<Event>),
}

impl Taken {
    /// The events, oldest first.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        match self {
            Self::Events(batch, range) => batch.events().get(range.clone()).unwrap_or(&[]),
            Self::Gap(event) => std::slice::from_ref(event),
        }
    }
}

/// Outcome of waiting for events.
pub enum Popped {
    /// Events.
    Taken(Taken),
    /// None came in time.
    Timeout,
    /// The queue is closed and empty.
    Closed,
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Queue {
    /// A queue for the sink of this name, which is the `stage` of its gap events.
    #[must_use]
    pub fn new(stage: &'static str, limits: Limits) -> Self {
        Self {
            stage,
            label: String::new(),
            limits,
            state: Mutex::default(),
            filled: Condvar::new(),
            wake: None,
            counters: Counters::default(),
            passage: Arc::default(),
        }
    }

    /// As [`Queue::new`], with a function that is called when the empty queue has got something, for sinks that
    /// are not threads.
    #[must_use]
    pub fn with_wake(stage: &'static str, limits: Limits, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { wake: Some(wake), ..Self::new(stage, limits) }
    }

    /// Names who reads from it, for people.
    #[must_use]
    pub fn labelled(self, label: String) -> Self {
        Self { label, ..self }
    }

    /// Shows what the passage behind it counts; for sinks without a worker.
    #[must_use]
    pub fn counting(self, passage: Arc<Counts>) -> Self {
        Self { passage, ..self }
    }

    /// What the passage behind it counts.
    #[must_use]
    pub fn passage(&self) -> &Counts {
        &self.passage
    }

    /// Who reads from it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Name of the sink.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        self.stage
    }

    /// Offers a batch; never waits. Returns how many of its events were refused.
    pub fn offer(&self, batch: &Arc<Batch>) -> usize {
        let total = batch.events().len();
        if total == 0 {
            return 0;
        }
        self.counters.offered.fetch_add(total as u64, Ordering::Relaxed);
        let mut state = self.lock();
        let was_empty = state.slots.is_empty() && state.lost.is_none();
        let accepted = if state.closed { 0 } else { state.accept(batch, self.limits, self.stage) };
        let refused = total - accepted;
        if refused > 0 && !state.closed {
            state.lose(refused as u64, batch.events().last());
        }
        let notify = state.waiting;
        drop(state);
        if refused > 0 {
            self.counters.dropped.fetch_add(refused as u64, Ordering::Relaxed);
        }
        if notify {
            self.filled.notify_one();
        }
        if was_empty && let Some(wake) = &self.wake {
            wake();
        }
        refused
    }

    /// Takes what is oldest; hands back what was taken before. Waits at most `timeout`.
    pub fn pop(&self, timeout: Duration) -> Popped {
        let mut state = self.lock();
        state.hand_back();
        if let Some(taken) = self.take(&mut state) {
            return Popped::Taken(taken);
        }
        let deadline = Instant::now() + timeout;
        loop {
            if state.closed {
                return Popped::Closed;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Popped::Timeout;
            };
            state.waiting = true;
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting = false;
            if let Some(taken) = self.take(&mut state) {
                return Popped::Taken(taken);
            }
        }
    }

    /// Takes what is oldest without waiting.
    pub fn try_pop(&self) -> Popped {
        self.pop(Duration::ZERO)
    }

    /// Counts an event that was taken and passed on with this many bytes. A gap of this queue adds its bytes only:
    /// unlike those of the engine it was never offered.
    pub fn note_passed(&self, event: &Event, bytes: usize) {
        self.counters.passed.fetch_add(u64::from(!self.is_own_gap(event)), Ordering::Relaxed);
        self.counters.bytes_passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts an event that was taken and that filters kept out.
    pub fn note_filtered(&self, event: &Event) {
        let own = self.is_own_gap(event);
        self.counters.filtered.fetch_add(u64::from(!own), Ordering::Relaxed);
    }

    fn is_own_gap(&self, event: &Event) -> bool {
        matches!(&event.kind, EventKind::Gap(gap) if gap.stage == self.stage)
    }

    /// Nothing waits in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.slots.is_empty() && state.lost.is_none()
    }

    /// Refuses everything from now on; what it holds can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        if let Some(wake) = &self.wake {
            wake();
        }
    }

    /// Closes the queue and drops what it holds, counted.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.hand_back();
        let left = state.events as u64;
        state.slots.clear();
        state.lost = None;
        (state.events, state.bytes) = (0, 0);
        drop(state);
        self.counters.dropped.fetch_add(left, Ordering::Relaxed);
        self.filled.notify_all();
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let state = self.lock();
        let (queued, bytes) = (state.events - state.taken.0, state.bytes);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueueStats {
            offered: load(&self.counters.offered),
            dropped: load(&self.counters.dropped),
            taken: load(&self.counters.taken),
            gaps: load(&self.counters.gaps),
            passed: load(&self.counters.passed),
            bytes_passed: load(&self.counters.bytes_passed),
            filtered: load(&self.counters.filtered),
            queued: queued as u64,
            queued_max: state.events_max as u64,
            bytes: bytes as u64,
        }
    }

    fn take(&self, state: &mut State) -> Option<Taken> {
        let slot = match state.slots.pop_front() {
            Some(slot) => slot,
            None => Slot::Gap(state.lost.take()?.into_gap(self.stage)),
        };
        Some(match slot {
            Slot::Events { batch, range, bytes } => {
                state.taken = (range.len(), bytes);
                self.counters.taken.fetch_add(range.len() as u64, Ordering::Relaxed);
                Taken::Events(batch, range)
            }
            Slot::Gap(event) => {
                self.counters.gaps.fetch_add(1, Ordering::Relaxed);
                Taken::Gap(event)
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic between lock and unlock, so poisoning tells nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues as much of the batch as fits and returns how much that was.
    fn accept(&mut self, batch: &Arc<Batch>, limits: Limits, stage: &'static str) -> usize {
        if self.lost.is_some() && (self.events > limits.events / 2 || self.bytes > limits.bytes / 2) {
            return 0;
        }
        // An event larger than the whole bound still passes an empty queue; else it could never pass.
        let alone = usize::from(self.events == 0);
        let room_events = limits.events.saturating_sub(self.events);
        let room_bytes = limits.bytes.saturating_sub(self.bytes);
        let accepted = batch.fitting(room_events, room_bytes).max(alone.min(batch.events().len()));
        if accepted == 0 {
            return 0;
        }
        if let Some(lost) = self.lost.take() {
            self.slots.push_back(Slot::Gap(lost.into_gap(stage)));
        }
        let bytes = batch.bytes_of(accepted);
        self.events += accepted;
        self.events_max = self.events_max.max(self.events);
        self.bytes += bytes;
        self.slots.push_back(Slot::Events { batch: Arc::clone(batch), range: 0..accepted, bytes });
        accepted
    }

    fn lose(&mut self, count: u64, newest: Option<&Arc<Event>>) {
        match (&mut self.lost, newest) {
            (Some(lost), Some(newest)) => {
                lost.count += count;
                lost.newest = Arc::clone(newest);
            }
            (none, Some(newest)) => *none = Some(Lost { count, newest: Arc::clone(newest) }),
            (_, None) => {}
        }
    }

    fn hand_back(&mut self) {
        let (events, bytes) = std::mem::take(&mut self.taken);
        self.events -= events;
        self.bytes -= bytes;
    }
}

impl Lost {
    fn into_gap(self, stage: &'static str) -> Arc<Event> {
        Arc::new(Event {
            time: self.newest.time,
            node: Arc::clone(&self.newest.node),
            kind: EventKind::Gap(GapEvent {
                lost: self.count,
                stage,
                causes: vec![("queue_full", self.count)],
                ..GapEvent::default()
            }),
        })
    }
}

#[cfg(test)]
mod tests;
