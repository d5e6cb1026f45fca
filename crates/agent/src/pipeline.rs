//! Reader thread, engine thread, and what runs between them.
//!
//! The reader copies records out of the ring buffer into batches and waits when the engine is behind; then the
//! ring buffer fills, and what does not fit there is counted by the kernel. The engine turns each batch into
//! events and offers them to all sinks; it never waits for one.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use saker_abi::Stats;
use saker_api::event::Event;
use saker_engine::hook::PolicyText;
use saker_engine::{Counters, Engine, Input as EngineInput, Remembered, SnapshotKind, SnapshotTask};
use saker_export::{Control, Spares};
use saker_probes::RecordBatch;
use tokio::sync::oneshot;

use crate::fanout::{Fanout, Publisher};
use crate::recording::Recorder;
use crate::requests::Requester;
use crate::source::RecordReader;

mod event_counts;
mod holding;
mod lookups;
mod publishing;

pub use event_counts::{EventCounts, EventTotals, Labels, PolicyHook, ProcessLabels};
pub use holding::{HeldCounts, HoldBounds, Holding};
pub use lookups::Lookups;

/// How long the reader waits for the first record.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Looks at the ring after which counters are passed on although it was never seen empty.
const SAMPLE_PATIENCE: u32 = 200;

/// Time between two looks at the memory of all processes in the table, for a full table takes some milliseconds; and after
/// which memory of events that is not in use is given back.
const WEIGH: Duration = Duration::from_secs(10);

/// Nice values: on a machine that is all busy, what floods the ring must not starve those who empty it.
const READER_NICE: i32 = -10;
const ENGINE_NICE: i32 = -5;

/// What is asked of the thread that owns the sensors.
#[derive(Debug)]
pub enum Request {
    /// Records are missing: a scan is needed.
    Resync,
    /// A gap waits for its causes.
    Sample,
    /// Somebody asks for the present counters.
    Look(oneshot::Sender<()>),
    /// The stream of records broke.
    Failed(String),
    /// The agent shall end.
    Stop(&'static str),
    /// An order to all sinks.
    Sinks(Control),
    /// Somebody asks for all that the process table holds.
    Processes(oneshot::Sender<Vec<Remembered>>),
    /// Files may have changed: the configuration and policies are to be read again.
    Reload,
}

enum Input {
    Records(RecordBatch),
    Other(EngineInput<'static>),
    /// Not an input of the engine: nothing follows from it.
    Processes(oneshot::Sender<Vec<Remembered>>),
}

/// What both threads tell about themselves.
#[derive(Debug, Default)]
pub struct Gauges {
    counters: Mutex<Counters>,
    event_totals: Mutex<EventTotals>,
    held: Mutex<HeldCounts>,
    table_bytes: AtomicUsize,
    process_bytes: AtomicUsize,
    /// Batches between reader and engine.
    queued: AtomicUsize,
    queued_max: AtomicUsize,
    /// Records that the reader took from the ring.
    pub read_records: AtomicU64,
    /// Bytes of them.
    pub read_bytes: AtomicU64,
    /// Records whose callers or files were not found out in time.
    pub late_lookups: AtomicU64,
    /// Events published.
    pub published: AtomicU64,
    /// Turns of the reader, one every half second at least unless the engine is behind.
    pub reader_turns: AtomicU64,
    /// Inputs that the engine began with.
    pub engine_turns: AtomicU64,
    /// The engine is at one of them, and does not wait for the next.
    pub engine_busy: AtomicBool,
    started: AtomicBool,
}

impl Gauges {
    /// The engine's counters, at most a moment old.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at what was counted of events, at most a moment old. The engine may wait meanwhile.
    pub fn with_event_totals<T>(&self, look: impl FnOnce(&mut EventTotals) -> T) -> T {
        look(&mut self.event_totals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What became of events of containers that were not known yet, at most a moment old.
    #[must_use]
    pub fn held(&self) -> HeldCounts {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the counters, in place of an engine.
    #[cfg(test)]
    pub(crate) fn set_counters(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// Bytes of the process table without the processes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the processes in it, about, as of the last seconds.
    #[must_use]
    pub fn process_bytes(&self) -> usize {
        self.process_bytes.load(Ordering::Relaxed)
    }

    /// Batches between reader and engine: now, and at most so far.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.queued.load(Ordering::Relaxed), self.queued_max.load(Ordering::Relaxed))
    }
}

/// The running threads.
pub struct Pipeline {
    input: Option<SyncSender<Input>>,
    policies: Option<Arc<PolicyInput>>,
    samples: Arc<Mutex<Option<Vec<Stats>>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    engine: Option<JoinHandle<()>>,
    /// What they tell about themselves.
    pub gauges: Arc<Gauges>,
    capacity: usize,
}

/// Where the engine is told of policies, by the thread that loads them.
pub struct PolicyInput(SyncSender<Input>);

impl PolicyInput {
    /// Tells the engine of a policy, before its hooks are attached. False: the engine has ended.
    #[must_use]
    pub fn policy_loaded(&self, policy: PolicyText) -> bool {
        self.0.send(Input::Other(EngineInput::PolicyLoaded(policy))).is_ok()
    }

    /// Tells the engine of the end of a policy, when no record of its hooks can come any more.
    pub fn policy_removed(&self, id: u32) {
        // An engine that has ended needs no telling.
        let _ = self.0.send(Input::Other(EngineInput::PolicyRemoved { id }));
    }
}

/// What the engine thread begins with.
pub struct EngineStart {
    /// The engine.
    pub engine: Engine,
    /// Processes that were there; `None`: they could not be listed.
    pub snapshot: Vec<SnapshotTask>,
    /// Saves what the engine is told.
    pub recorder: Option<Recorder>,
    /// Makes what policies ask of the network; `None`: nobody does.
    pub requester: Option<Requester>,
    /// Finds out what records leave open.
    pub lookups: Lookups,
    /// Has events wait until it is known whom they are of.
    pub holding: Holding,
    /// Counts events, and the bound of what it tells apart for each metric.
    pub counts: (EventCounts, usize),
}

impl Pipeline {
    /// Starts both threads. The engine waits for the function that `begin` sends, so that records can be read
    /// while the running processes are listed.
    ///
    /// # Errors
    /// The system has no threads for them.
    pub fn start(
        reader: Box<dyn RecordReader>,
        begin: Receiver<EngineStart>,
        fanout: &Arc<Fanout>,
        queue_records: usize,
        requests: Sender<Request>,
    ) -> std::io::Result<Self> {
        let capacity = queue_records.div_ceil(RecordBatch::RECORDS);
        let (input, inputs) = mpsc::sync_channel(capacity);
        let (recycle, recycled) = mpsc::sync_channel(capacity + 2);
        let gauges = Arc::new(Gauges::default());
        let samples = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let reading = Reading {
            reader,
            input: input.clone(),
            recycled,
            samples: Arc::clone(&samples),
            stop: Arc::clone(&stop),
            gauges: Arc::clone(&gauges),
            requests: requests.clone(),
            batch: RecordBatch::default(),
        };
        let reader = std::thread::Builder::new().name("saker-reader".into()).spawn(move || {
            prefer(READER_NICE);
            reading.run();
        })?;
        let thread_gauges = Arc::clone(&gauges);
        let publisher = fanout.publisher();
        let engine = std::thread::Builder::new().name("saker-engine".into()).spawn(move || {
            let Ok(start) = begin.recv() else { return };
            prefer(ENGINE_NICE);
            let (counts, bound) = start.counts;
            thread_gauges.with_event_totals(|totals| *totals = EventTotals::new(bound));
            let working = Working {
                engine: start.engine,
                recorder: start.recorder,
                requester: start.requester,
                lookups: start.lookups,
                holding: start.holding,
                inputs,
                recycle,
                publisher,
                gauges: thread_gauges,
                requests,
                events: Vec::new(),
                spares: Arc::default(),
                counts,
                told: Instant::now(),
                weighed: None,
                asked_resync: false,
                asked_sample: false,
            };
            working.run(start.snapshot);
        })?;
        Ok(Self {
            policies: Some(Arc::new(PolicyInput(input.clone()))),
            input: Some(input),
            samples,
            stop,
            reader: Some(reader),
            engine: Some(engine),
            gauges,
            capacity,
        })
    }

    /// Batches that fit between reader and engine.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Waits until the engine has taken up the running processes.
    #[must_use]
    pub fn wait_started(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.gauges.started.load(Ordering::Acquire) {
            if Instant::now() >= deadline || !self.is_alive() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Both threads run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        [&self.reader, &self.engine]
            .into_iter()
            .all(|thread| thread.as_ref().is_some_and(|t| !t.is_finished()))
    }

    /// Passes counters to the engine, once the ring has been seen empty after them.
    pub fn sample(&self, stats: Vec<Stats>) {
        *self.samples.lock().unwrap_or_else(PoisonError::into_inner) = Some(stats);
    }

    /// Passes a scan to the engine.
    pub fn snapshot(&self, tasks: Vec<SnapshotTask>) {
        if let Some(input) = &self.input {
            let kind = SnapshotKind::Resync;
            let _ = input.send(Input::Other(EngineInput::Snapshot { kind, tasks }));
        }
    }

    /// Tells the engine that records were lost where no sequence number shows it.
    pub fn lost(&self, stage: &'static str, lost: u64) {
        if let Some(input) = &self.input {
            let _ = input.send(Input::Other(EngineInput::Lost { stage, lost }));
        }
    }

    /// Passes a new distance of the clocks to the engine.
    pub fn clock(&self, boot_to_wall: u64) {
        if let Some(input) = &self.input {
            let _ = input.send(Input::Other(EngineInput::Clock { boot_to_wall }));
        }
    }

    /// Asks for all that the process table holds. Without room before the engine there is no answer.
    pub fn processes(&self, reply: oneshot::Sender<Vec<Remembered>>) {
        if let Some(input) = &self.input {
            let _ = input.try_send(Input::Processes(reply));
        }
    }

    /// Where the engine is told of policies. It ends with the pipeline, whoever still has it.
    #[must_use]
    pub fn policies(&self) -> Weak<PolicyInput> {
        self.policies.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    /// Reads what is in the ring, ends both threads. Returns whether they ended before the deadline.
    pub fn finish(&mut self, deadline: Instant) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.input = None;
        self.policies = None;
        let threads = [self.reader.take(), self.engine.take()];
        threads.into_iter().flatten().all(|thread| {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished() && thread.join().is_ok()
        })
    }
}

/// Sets the nice value of the calling thread; without the right to do so it stays as it is.
fn prefer(nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, nice, "the priority of a thread stays as it is");
    }
}

struct Reading {
    reader: Box<dyn RecordReader>,
    input: SyncSender<Input>,
    recycled: Receiver<RecordBatch>,
    samples: Arc<Mutex<Option<Vec<Stats>>>>,
    stop: Arc<AtomicBool>,
    gauges: Arc<Gauges>,
    requests: Sender<Request>,
    batch: RecordBatch,
}

/// The engine has ended.
struct EngineGone;

impl Reading {
    fn run(mut self) {
        let mut sample: Option<(Vec<Stats>, u32)> = None;
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            self.gauges.reader_turns.fetch_add(1, Ordering::Relaxed);
            let newer = self.samples.lock().unwrap_or_else(PoisonError::into_inner).take();
            sample = newer.map(|stats| (stats, 0)).or(sample);
            let timeout = if stopping { Duration::ZERO } else { READ_TIMEOUT };
            let outcome = match self.read(timeout) {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(EngineGone)) => return,
                Err(error) => {
                    let _ = self.requests.send(Request::Failed(format!("{error:#}")));
                    return;
                }
            };
            if let Some((stats, looks)) = sample.take() {
                if outcome.idle || looks >= SAMPLE_PATIENCE {
                    let sample = EngineInput::Sample { stats: stats.into(), drained: outcome.idle };
                    if self.send(Input::Other(sample)).is_err() {
                        return;
                    }
                } else {
                    sample = Some((stats, looks + 1));
                }
            }
            if stopping && outcome.records == 0 {
                return;
            }
        }
    }

    fn read(&mut self, timeout: Duration) -> anyhow::Result<Result<crate::source::ReadOutcome, EngineGone>> {
        let outcome = self.reader.read(timeout, &mut self.batch)?;
        if outcome.missing > 0 {
            let lost = EngineInput::Lost { stage: "earlier", lost: outcome.missing };
            if let Err(gone) = self.send(Input::Other(lost)) {
                return Ok(Err(gone));
            }
        }
        if self.batch.is_empty() {
            return Ok(Ok(outcome));
        }
        self.gauges.read_records.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
        self.gauges.read_bytes.fetch_add(self.batch.bytes() as u64, Ordering::Relaxed);
        let empty = self.recycled.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, empty);
        let queued = self.gauges.queued.fetch_add(1, Ordering::Relaxed) + 1;
        self.gauges.queued_max.fetch_max(queued, Ordering::Relaxed);
        Ok(self.send(Input::Records(full)).map(|()| outcome))
    }

    fn send(&self, input: Input) -> Result<(), EngineGone> {
        self.input.send(input).map_err(|_| EngineGone)
    }
}

struct Working {
    engine: Engine,
    recorder: Option<Recorder>,
    requester: Option<Requester>,
    lookups: Lookups,
    holding: Holding,
    inputs: Receiver<Input>,
    recycle: SyncSender<RecordBatch>,
    publisher: Publisher,
    gauges: Arc<Gauges>,
    requests: Sender<Request>,
    events: Vec<Arc<Event>>,
    /// Where events come back to that all sinks have done with.
    spares: Arc<Spares>,
    counts: EventCounts,
    told: Instant,
    /// When the processes were weighed last.
    weighed: Option<Instant>,
    asked_resync: bool,
    asked_sample: bool,
}

impl Working {
    /// How old the counters that others see may get under load.
    const TELL: Duration = Duration::from_millis(250);

    fn run(mut self, snapshot: Vec<SnapshotTask>) {
        self.take(Input::Other(EngineInput::Snapshot { kind: SnapshotKind::Start, tasks: snapshot }));
        self.tell();
        self.gauges.started.store(true, Ordering::Release);
        loop {
            match self.inputs.try_recv() {
                Ok(input) => self.take(input),
                Err(TryRecvError::Empty) => {
                    self.tell();
                    self.gauges.engine_busy.store(false, Ordering::Relaxed);
                    let pause = if self.holding.is_empty() { Duration::from_secs(60) } else { holding::LOOK };
                    match self.inputs.recv_timeout(pause) {
                        Ok(input) => self.take(input),
                        Err(RecvTimeoutError::Timeout) => self.publish(),
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        self.engine.finish(&mut self.events);
        self.holding.finish(&mut self.events);
        self.publish();
        if let Some(recorder) = &mut self.recorder {
            recorder.finish();
        }
        self.tell();
    }

    fn take(&mut self, input: Input) {
        self.gauges.engine_busy.store(true, Ordering::Relaxed);
        self.gauges.engine_turns.fetch_add(1, Ordering::Relaxed);
        match input {
            Input::Processes(reply) => {
                // Whoever asked may have lost patience.
                let _ = reply.send(self.engine.processes());
                return;
            }
            Input::Records(mut batch) => {
                self.gauges.queued.fetch_sub(1, Ordering::Relaxed);
                if self.engine.spares() < batch.len() {
                    self.engine.add_spares(&mut self.spares.take());
                }
                for record in batch.records() {
                    if let Some(findings) = self.lookups.of(record) {
                        self.give(EngineInput::Findings(findings));
                    }
                    self.give_record(record);
                }
                batch.clear();
                let _ = self.recycle.try_send(batch);
            }
            Input::Other(input) => {
                match input {
                    EngineInput::Snapshot { .. } => self.asked_resync = false,
                    EngineInput::Sample { .. } => self.asked_sample = false,
                    EngineInput::PolicyLoaded(ref policy) => {
                        self.lookups.prepare(policy);
                        self.holding.policy(policy);
                    }
                    EngineInput::PolicyRemoved { id } => self.holding.removed(id),
                    EngineInput::Clock { boot_to_wall } => self.lookups.boot_to_wall = boot_to_wall,
                    _ => {}
                }
                self.give(input);
            }
        }
        self.publish();
        self.ask();
        if self.told.elapsed() >= Self::TELL {
            self.tell();
        }
    }

    /// Tells the engine, and the recording first: what breaks the engine can then be looked at.
    fn give(&mut self, input: EngineInput<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&input);
        }
        self.engine.input(input, &mut self.events);
    }

    /// The same of a record, which is what comes most.
    fn give_record(&mut self, record: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&EngineInput::Record(record));
        }
        self.engine.record(record, &mut self.events);
    }

    fn ask(&mut self) {
        if self.engine.wants_resync() && !std::mem::replace(&mut self.asked_resync, true) {
            let _ = self.requests.send(Request::Resync);
        }
        if self.engine.wants_sample() && !std::mem::replace(&mut self.asked_sample, true) {
            let _ = self.requests.send(Request::Sample);
        }
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        self.tell_counts();
        *self.gauges.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
        *self.gauges.held.lock().unwrap_or_else(PoisonError::into_inner) = self.holding.counts();
        self.gauges.late_lookups.store(self.lookups.late(), Ordering::Relaxed);
        self.gauges.table_bytes.store(self.engine.table_bytes(), Ordering::Relaxed);
        if self.weighed.is_none_or(|at| at.elapsed() >= WEIGH) {
            self.weighed = Some(self.told);
            // Else what a flood left would stay, scattered over memory that could be given back to the system.
            self.engine.drop_spares();
            drop(self.spares.take());
            self.gauges.process_bytes.store(self.engine.process_bytes(), Ordering::Relaxed);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
    }
}

#[cfg(test)]
mod tests;
