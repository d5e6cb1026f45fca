//! The thread that empties a queue into a sink.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use saker_api::event::Event;
use saker_api::passage::{Counts, Passage, Told, Verdict};

use crate::{Control, Losses, Popped, Queue, Sink, WriteError};

/// Bytes of lines that are written at once under load.
const CHUNK: usize = 64 * 1024;
/// How long a worker sleeps with nothing to do before it looks after its sink.
const IDLE: Duration = Duration::from_millis(500);
/// Longest sleep between two looks at orders and the end, while a failed write waits to be tried again.
const NAP: Duration = Duration::from_millis(50);
/// How long an ended worker is waited for that sleeps.
const PATIENCE: Duration = Duration::from_millis(500);
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Appends the form of what a sink writes: one line with its newline.
pub type Encoder = Box<dyn FnMut(&Told<'_>, &mut Vec<u8>) + Send>;

/// What a worker needs beside its queue and sink.
pub struct WorkerConfig {
    /// Form of the lines.
    pub encoder: Encoder,
    /// Which events, how folded and how many.
    pub passage: Passage,
    /// How events are gathered before they are written.
    pub batching: Batching,
    /// Called when nobody will read any more.
    pub on_closed: Box<dyn FnOnce() + Send>,
}

/// How events are gathered before they are written: until there are so many, so large, or so old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Events.
    pub events: u64,
    /// Bytes of their encoded form.
    pub bytes: usize,
    /// Longest wait of the first of them; zero: nothing waits for others that are not there yet.
    pub linger: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { events: u64::MAX, bytes: CHUNK, linger: Duration::ZERO }
    }
}

/// What a worker has counted. Of the events taken from the queue each is written, filtered, limited, folded, waiting,
/// lost or given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Lines of events that the sink has written.
    pub written: u64,
    /// Bytes of all lines written.
    pub bytes: u64,
    /// Events that filters kept out.
    pub filtered: u64,
    /// Events that the rate limit kept out.
    pub limited: u64,
    /// Events that became part of another one.
    pub folded: u64,
    /// Events that wait for the end of their window.
    pub waiting: u64,
    /// Events that were told one by one because too many waited.
    pub unfolded: u64,
    /// Events encoded and never written: the end came first.
    pub given_up: u64,
    /// Events that the sink took and that will never arrive.
    pub losses: Losses,
    /// Failed attempts to write.
    pub retries: u64,
    /// Times the sink moved its file to a backup.
    pub rotations: u64,
    /// The last attempt failed.
    pub failing: bool,
    /// When something was written last, seconds since 1970; 0: never.
    pub last_written: u64,
}

#[derive(Default)]
struct Shared {
    written: AtomicU64,
    bytes: AtomicU64,
    filtered: AtomicU64,
    given_up: AtomicU64,
    retries: AtomicU64,
    last_written: AtomicU64,
    rotations: AtomicU64,
    /// It ended as it should.
    ended: AtomicBool,
    failing: AtomicBool,
    give_up: AtomicBool,
    error: Mutex<String>,
    losses: Mutex<Losses>,
}

/// A running worker.
pub struct Worker {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    orders: Mutex<Sender<Control>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn spawn(queue: Arc<Queue>, sink: Box<dyn Sink>, config: WorkerConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (orders, ordered) = mpsc::channel();
        let WorkerConfig { encoder, passage, batching, on_closed } = config;
        let counts = passage.counts();
        let task = Task {
            queue: Arc::clone(&queue),
            shared: Arc::clone(&shared),
            sink,
            ordered,
            encoder,
            passage,
            batching,
            lines: Vec::with_capacity(CHUNK),
            pending: 0,
            since: None,
            failures: 0,
            logged: None,
        };
        let name = format!("saker-{}", queue.stage());
        let thread = std::thread::Builder::new().name(name).spawn(move || task.run(on_closed))?;
        Ok(Self { queue, shared, counts, orders: Mutex::new(orders), thread: Mutex::new(Some(thread)) })
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Passes an order to the sink; it is carried out within half a second.
    pub fn control(&self, order: Control) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker that has ended needs no orders.
        let _ = orders.send(order);
    }

    /// What it has counted so far.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.counts.now();
        WorkerStats {
            written: load(&self.shared.written),
            bytes: load(&self.shared.bytes),
            filtered: load(&self.shared.filtered),
            limited: counts.limited,
            folded: counts.folded,
            waiting: counts.waiting,
            unfolded: counts.unfolded,
            given_up: load(&self.shared.given_up),
            losses: *self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner),
            retries: load(&self.shared.retries),
            rotations: load(&self.shared.rotations),
            failing: self.shared.failing.load(Ordering::Relaxed),
            last_written: load(&self.shared.last_written),
        }
    }

    /// Whether its thread is gone although nobody ended it: a defect, after which nothing is written any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(JoinHandle::is_finished) && !self.shared.ended.load(Ordering::Acquire)
    }

    /// Why the last attempt to write failed; empty: it did not.
    #[must_use]
    pub fn last_error(&self) -> String {
        if !self.shared.failing.load(Ordering::Relaxed) {
            return String::new();
        }
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Has it drop what it holds, counted, as soon as it notices.
    pub fn give_up(&self) {
        self.shared.give_up.store(true, Ordering::Relaxed);
        self.queue.abandon();
    }

    /// Lets it write what is queued and ends it. What is not written at the deadline is dropped and counted.
    /// Returns whether everything was written.
    pub fn finish(&self, deadline: Instant) -> bool {
        self.queue.close();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return true;
        };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            return thread.join().is_ok() && self.stats().given_up == 0;
        }
        // The thread may hang in a write that never returns; it is left to the end of the process.
        self.give_up();
        // Once for all workers that were told to give up together.
        let patience = deadline + PATIENCE;
        while !thread.is_finished() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

struct Task {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    sink: Box<dyn Sink>,
    ordered: Receiver<Control>,
    encoder: Encoder,
    passage: Passage,
    batching: Batching,
    lines: Vec<u8>,
    /// Events in `lines`.
    pending: u64,
    /// When the first of them came.
    since: Option<Instant>,
    /// Failed attempts in a row.
    failures: u32,
    logged: Option<Instant>,
}

/// The end of a worker.
struct Ended;

impl Task {
    fn run(mut self, on_closed: Box<dyn FnOnce() + Send>) {
        let mut on_closed = Some(on_closed);
        loop {
            self.obey();
            let outcome = match self.queue.pop(self.time_left()) {
                Popped::Taken(taken) => self.encode(taken.events()),
                Popped::Timeout => {
                    self.sink.idle();
                    self.note_rotations();
                    self.encode_waiting().and_then(|()| if self.is_due() { self.drain() } else { Ok(()) })
                }
                Popped::Closed => {
                    self.passage.finish();
                    let _ = self.encode_waiting().and_then(|()| self.drain());
                    break;
                }
            };
            if outcome.is_err() {
                if let Some(on_closed) = on_closed.take() {
                    on_closed();
                }
                self.queue.abandon();
                break;
            }
        }
        self.sink.close();
        self.shared.ended.store(true, Ordering::Release);
    }

    /// How long it may sleep.
    fn time_left(&self) -> Duration {
        let age = self.since.map(|since| since.elapsed());
        age.map_or(IDLE, |age| self.batching.linger.saturating_sub(age).min(IDLE))
    }

    /// What is gathered has waited long enough.
    fn is_due(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() >= self.batching.linger)
    }

    fn obey(&mut self) {
        while let Ok(order) = self.ordered.try_recv() {
            let _ = self.drain_once();
            self.sink.control(order);
            self.note_rotations();
        }
    }

    fn note_rotations(&self) {
        self.shared.rotations.store(self.sink.rotations(), Ordering::Relaxed);
    }

    fn encode(&mut self, events: &[Arc<Event>]) -> Result<(), Ended> {
        for event in events {
            // What was due before this event comes before it.
            self.encode_waiting()?;
            match self.passage.take(event, self.passage.clock()) {
                Verdict::Tell => self.tell(&event.into())?,
                Verdict::Filtered => {
                    self.shared.filtered.fetch_add(1, Ordering::Relaxed);
                }
                Verdict::Limited | Verdict::Kept => {}
            }
        }
        self.encode_waiting()?;
        // Nothing more to add to what is there: it need not wait, unless others are to be waited for.
        if self.queue.is_empty() && self.is_due() { self.drain() } else { Ok(()) }
    }

    fn encode_waiting(&mut self) -> Result<(), Ended> {
        // It is asked before and behind each event.
        if !self.passage.may_wait() {
            return Ok(());
        }
        while let Some(ready) = self.passage.next(self.passage.clock()) {
            self.tell(&ready.told())?;
        }
        Ok(())
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), Ended> {
        (self.encoder)(told, &mut self.lines);
        self.pending += u64::from(told.is_event());
        if told.is_event() && !self.batching.linger.is_zero() && self.since.is_none() {
            self.since = Some(Instant::now());
        }
        if self.lines.len() >= self.batching.bytes || self.pending >= self.batching.events {
            return self.drain();
        }
        Ok(())
    }

    /// Writes all lines, however long it takes, unless the end is near.
    fn drain(&mut self) -> Result<(), Ended> {
        while !self.lines.is_empty() {
            match self.drain_once() {
                Ok(()) => {}
                Err(error @ WriteError::Closed) => {
                    self.note_failure(&error);
                    self.give_up();
                    return Err(Ended);
                }
                Err(error @ WriteError::Retry { .. }) => {
                    self.note_failure(&error);
                    if self.shared.give_up.load(Ordering::Relaxed) {
                        self.give_up();
                        return Err(Ended);
                    }
                    self.nap(Instant::now() + self.sink.pause(self.failures));
                }
            }
        }
        Ok(())
    }

    /// Sleeps until then, or until the end is near; carries out orders.
    fn nap(&mut self, until: Instant) {
        while !self.shared.give_up.load(Ordering::Relaxed) {
            while let Ok(order) = self.ordered.try_recv() {
                self.sink.control(order);
                self.note_rotations();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    fn drain_once(&mut self) -> Result<(), WriteError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let before = self.lines.len();
        let result = self.sink.write(&mut self.lines);
        self.note_rotations();
        let written = before - self.lines.len();
        self.shared.bytes.fetch_add(written as u64, Ordering::Relaxed);
        let left = if self.lines.is_empty() { 0 } else { self.pending.min(self.sink.count(&self.lines)) };
        let lost = self.note_losses();
        self.shared.written.fetch_add((self.pending - left).saturating_sub(lost), Ordering::Relaxed);
        self.pending = left;
        if self.lines.is_empty() {
            self.since = None;
        }
        if written > 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.shared.last_written.store(now.as_secs(), Ordering::Relaxed);
        }
        if result.is_ok() {
            self.failures = 0;
            if self.shared.failing.swap(false, Ordering::Relaxed) {
                tracing::info!(sink = self.queue.stage(), "writing works again");
            }
        }
        result
    }

    /// Events that the sink gave up since the last look.
    fn note_losses(&self) -> u64 {
        let now = self.sink.losses();
        let mut noted = self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *noted, now);
        now.total().saturating_sub(before.total())
    }

    fn note_failure(&mut self, error: &WriteError) {
        self.shared.retries.fetch_add(1, Ordering::Relaxed);
        self.failures = self.failures.saturating_add(1);
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let separator = if cause.is_empty() { "" } else { ": " };
        *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) =
            format!("{error}{separator}{cause}");
        let first = !self.shared.failing.swap(true, Ordering::Relaxed);
        if first || self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(sink = self.queue.stage(), cause, "{error}");
        }
    }

    fn give_up(&mut self) {
        self.shared.given_up.fetch_add(self.pending, Ordering::Relaxed);
        self.lines.clear();
        self.pending = 0;
        self.since = None;
    }
}

#[cfg(test)]
mod tests;
