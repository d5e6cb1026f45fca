//! What the agent knows about itself, for status, metrics and the log.

mod memory;
mod problems;
mod sink_list;

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saker_abi::{Kind, Loss, Place, Stats};
use saker_api::passage::LiveFilters;
use saker_api::saker_v1;
use saker_engine::Remembered;
use saker_export::{Control, Delivery, Loss as SinkLoss, Rotation, Worker};
use tokio::sync::oneshot;

use crate::config::exports::ExportDef;
use crate::fanout::Fanout;
use crate::pipeline::{Gauges, Request};
use crate::pods::{Health, HookCounts, Hooks, PodTable};
use crate::policies::Policies;
use crate::protection::Protection;
use crate::recording::Recorded;
use crate::reload::Reloads;
use crate::requests::Requester;
use crate::resources::{self, Usage};
use crate::server::{self, Served};
use crate::vitals::Vitals;
use crate::workloads::Workloads;
pub(crate) use sink_list::REMOVED;
pub use sink_list::SinkList;

/// Time that reading the kernel's counters may take.
const REFRESH: Duration = Duration::from_millis(300);

/// Time that telling the process table may take.
const TABLE: Duration = Duration::from_secs(10);

/// Kind and name of the recording among the sinks.
pub(crate) const RECORDING: &str = "recording";

/// A sink with a worker thread.
pub struct SinkHandle {
    /// What it is called: of an export that files declare, its name; else its kind.
    pub name: &'static str,
    /// `file`, `stdout`, `syslog`, ...
    pub kind: &'static str,
    /// A file's path, an address.
    pub target: String,
    /// Its worker.
    pub worker: Worker,
    /// What becomes of what the worker wrote, if that is a spool.
    pub delivery: Option<Delivery>,
    /// When its file is rotated; `None`: it is no file.
    pub rotation: Option<Mutex<Rotation>>,
    /// Its filters; `None`: they cannot be exchanged.
    pub filters: Option<Arc<LiveFilters>>,
    /// As what it was declared; `None`: options ask for it.
    pub(crate) export: Option<ExportDef>,
}

impl SinkHandle {
    /// When its file is rotated.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation.as_ref().map(|rules| *rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has its file rotated by changed rules from now on. Returns them; `None`: it is no file.
    pub fn change_rotation(&self, change: impl FnOnce(&mut Rotation)) -> Option<Rotation> {
        let mut rules = self.rotation.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rules);
        // Under the lock, so that the sink gets what was set last.
        self.worker.control(Control::Rules(*rules));
        Some(*rules)
    }
}

/// What was read from the kernel side last.
#[derive(Clone, Debug, Default)]
pub struct KernelSample {
    /// Counters of each CPU.
    pub stats: Vec<Stats>,
    /// Bytes of programs together, and of each map.
    pub memory: Vec<(String, u64)>,
    /// Times exec, fork and exit went unseen, at most, because the kernel ran none of their programs.
    pub missed: [u64; 3],
}

/// Names of the sensors and their hooks.
pub(crate) const SENSORS: [(&str, &str); 3] =
    [("exec", "sched_process_exec"), ("fork", "sched_process_fork"), ("exit", "sched_process_exit")];

/// A moment of the last minute.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    cpu: Duration,
    events: u64,
}

/// The agent, as seen by those who only look.
pub struct State {
    /// Name of the node.
    pub node: String,
    started: (SystemTime, Instant),
    ready: OnceLock<SystemTime>,
    /// The pipeline's gauges.
    pub gauges: Arc<Gauges>,
    /// Batches that fit between reader and engine.
    pub input_capacity: usize,
    /// All queues.
    pub fanout: Arc<Fanout>,
    /// Sinks with worker threads.
    pub sinks: SinkList,
    /// The recording, if one is made.
    pub recorded: Option<Arc<Recorded>>,
    /// Bound of the process table.
    pub processes: usize,
    /// Events that may wait for one client.
    pub client_queue: usize,
    /// Bound of the series of a metric.
    pub series: usize,
    /// The policies.
    pub policies: Arc<Policies>,
    /// The agent's protection of itself.
    pub protection: Arc<Protection>,
    /// Makes what policies ask of the network; `None`: nobody does.
    pub requester: Option<Requester>,
    /// How following containers goes; `None`: nobody does.
    pub(crate) pods: Option<Arc<Health>>,
    /// Pods of containers; `None`: nobody follows them.
    pub(crate) pod_table: Option<Arc<PodTable>>,
    /// Which filters containers fulfil; `None`: nobody asks.
    pub(crate) workloads: Option<Arc<Workloads>>,
    /// Where hooks of the container runtime are told; `None`: nobody follows containers.
    pub(crate) hooks: Option<Hooks>,
    /// What became of them.
    pub(crate) hooked: HookCounts,
    /// Whether the agent lives and works.
    pub vitals: Vitals,
    /// What the servers did.
    pub served: Served,
    /// What became of attempts to read the configuration again.
    pub reloads: Reloads,
    requests: Mutex<Sender<Request>>,
    kernel: Mutex<KernelSample>,
    moments: Mutex<VecDeque<Moment>>,
}

/// Parts of [`State`] that are given at its making.
pub struct Parts {
    /// Name of the node.
    pub node: String,
    /// The pipeline's gauges.
    pub gauges: Arc<Gauges>,
    /// Batches that fit between reader and engine.
    pub input_capacity: usize,
    /// All queues.
    pub fanout: Arc<Fanout>,
    /// Sinks with worker threads.
    pub sinks: Vec<SinkHandle>,
    /// The recording, if one is made.
    pub recorded: Option<Arc<Recorded>>,
    /// Bound of the process table.
    pub processes: usize,
    /// Events that may wait for one client.
    pub client_queue: usize,
    /// Bound of the series of a metric.
    pub series: usize,
    /// The policies.
    pub policies: Arc<Policies>,
    /// The agent's protection of itself.
    pub protection: Arc<Protection>,
    /// Makes what policies ask of the network; `None`: nobody does.
    pub requester: Option<Requester>,
    /// How following containers goes; `None`: nobody does.
    pub(crate) pods: Option<Arc<Health>>,
    /// Pods of containers; `None`: nobody follows them.
    pub(crate) pod_table: Option<Arc<PodTable>>,
    /// Which filters containers fulfil; `None`: nobody asks.
    pub(crate) workloads: Option<Arc<Workloads>>,
    /// Where hooks of the container runtime are told; `None`: nobody follows containers.
    pub(crate) hooks: Option<Hooks>,
    /// To the thread that owns the sensors.
    pub requests: Sender<Request>,
    /// When the agent started.
    pub started: (SystemTime, Instant),
}

impl State {
    /// Begins to look.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            node: parts.node,
            started: parts.started,
            ready: OnceLock::new(),
            gauges: parts.gauges,
            input_capacity: parts.input_capacity,
            fanout: parts.fanout,
            sinks: SinkList::new(parts.sinks),
            recorded: parts.recorded,
            processes: parts.processes,
            client_queue: parts.client_queue,
            series: parts.series,
            policies: parts.policies,
            protection: parts.protection,
            requester: parts.requester,
            pods: parts.pods,
            pod_table: parts.pod_table,
            workloads: parts.workloads,
            hooks: parts.hooks,
            hooked: HookCounts::default(),
            vitals: Vitals::default(),
            served: Served::default(),
            reloads: Reloads::default(),
            requests: Mutex::new(parts.requests),
            kernel: Mutex::default(),
            moments: Mutex::default(),
        }
    }

    /// Notes that everything runs.
    pub fn set_ready(&self) {
        let _ = self.ready.set(SystemTime::now());
        self.vitals.set_ready();
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.1.elapsed()
    }

    /// When the agent started.
    #[must_use]
    pub fn start_time(&self) -> SystemTime {
        self.started.0
    }

    /// Notes what the kernel side told.
    pub fn set_kernel(&self, sample: KernelSample) {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) = sample;
    }

    /// What the kernel side told last.
    #[must_use]
    pub fn kernel(&self) -> KernelSample {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the kernel's counters read, so that they are not older than what the engine counted. Without an answer
    /// in time those of the last second have to do.
    pub async fn refresh(&self) {
        let (done, looked) = oneshot::channel();
        let sent = self.requests.lock().unwrap_or_else(PoisonError::into_inner).send(Request::Look(done));
        let looked = async {
            if sent.is_ok() {
                let _ = tokio::time::timeout(REFRESH, looked).await;
            }
        };
        tokio::join!(looked, self.policies.refresh());
    }

    /// Everything in the process table; `None`: the engine has no time for that now.
    pub async fn processes(&self) -> Option<Vec<Remembered>> {
        let (reply, told) = oneshot::channel();
        let request = Request::Processes(reply);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).send(request).ok()?;
        tokio::time::timeout(TABLE, told).await.ok()?.ok()
    }

    /// Notes CPU time and events, for the load of the last minute. Called every few seconds.
    pub fn note_load(&self) {
        let now = Moment { at: Instant::now(), cpu: resources::cpu_time(), events: self.published() };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        while moments.front().is_some_and(|old| old.at.elapsed() > Duration::from_secs(65)) {
            moments.pop_front();
        }
        moments.push_back(now);
    }

    fn published(&self) -> u64 {
        self.gauges.published.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Share of one CPU, and events a second, over the last minute.
    fn minute(&self) -> (f64, f64) {
        let oldest = self.moments.lock().unwrap_or_else(PoisonError::into_inner).front().copied();
        let Some(oldest) = oldest else { return (0.0, 0.0) };
        let seconds = oldest.at.elapsed().as_secs_f64().max(0.001);
        let cpu = resources::cpu_time().saturating_sub(oldest.cpu).as_secs_f64();
        (cpu / seconds, (self.published() - oldest.events) as f64 / seconds)
    }

    /// Everything, as the service tells it.
    #[must_use]
    pub fn status(&self) -> saker_v1::GetStatusResponse {
        let counters = self.gauges.counters();
        let kernel = self.kernel();
        let usage = resources::usage();
        let events = &counters.events;
        let mut status = saker_v1::GetStatusResponse {
            version: crate::VERSION.into(),
            node_name: self.node.clone(),
            kernel_release: crate::host::kernel_release(),
            pid: std::process::id(),
            start_time: Some(self.started.0.into()),
            ready_time: self.ready.get().map(|&time| time.into()),
            uptime_ns: u64::try_from(self.uptime().as_nanos()).unwrap_or(u64::MAX),
            sensors: sensors(&kernel),
            records: records(&kernel.stats, &counters.received),
            gaps: events.gap,
            gap_records: counters.losses.records + counters.losses.later_stages,
            queues: self.queues(),
            sinks: self.sinks(),
            processes: Some(saker_v1::ProcessTable {
                size: counters.table.entries,
                capacity: self.processes as u64,
                ended: counters.table.entries.saturating_sub(counters.table.alive),
                evictions: counters.table.evicted_ended + counters.table.evicted_alive,
                evictions_alive: counters.table.evicted_alive,
                misses: counters.table.unknown_parents + counters.table.unknown_processes,
                resyncs: counters.snapshots.saturating_sub(1),
                reconstructed: events.exec_reconstructed,
                ended_unseen: events.exit_reconstructed,
            }),
            resources: Some(self.resources(&usage, &kernel)),
            helper_failures: helper_failures(&kernel.stats),
            policies: self.policies.views().iter().map(server::own_policy).collect(),
            enforcement: Some(server::enforcement(self.policies.enforcement())),
            self_protection: self.protection.is_there().then(|| server::protection(&self.protection)),
            ..saker_v1::GetStatusResponse::default()
        };
        let exec = events.exec + events.exec_snapshot + events.exec_reconstructed;
        let exit = events.exit + events.exit_reconstructed;
        for (kind, count) in [("process_exec", exec), ("process_exit", exit), ("gap", events.gap)] {
            status.events.insert(kind.into(), count);
        }
        if counters.undecodable_total() > 0 {
            status.stage_drops.push(drops("decoder", "undecodable", counters.undecodable_total()));
        }
        let sinks = self.sinks.all();
        for sink in &status.sinks {
            let own = sinks.iter().find(|own| own.name == sink.name && sink.kind != server::STAGE);
            match own {
                Some(own) => status.stage_drops.extend(drops_of(own)),
                None if sink.dropped > 0 => {
                    let cause = if sink.kind == RECORDING { "ended_early" } else { "queue_full" };
                    status.stage_drops.push(drops(&sink.name, cause, sink.dropped));
                }
                None => {}
            }
        }
        let removed = self.sinks.removed().into_iter();
        status.stage_drops.extend(removed.map(|(cause, count)| drops(REMOVED, cause, count)));
        let gone = self.fanout.dropped_by_gone();
        if gone > 0 {
            status.stage_drops.push(drops(server::STAGE, "queue_full_of_gone_clients", gone));
        }
        status.problems = problems::of(&status, &counters);
        status.problems.extend(self.policies.problems());
        let pods = self.pods.as_ref().map(|health| health.problem());
        status.problems.extend(pods.filter(|problem| !problem.is_empty()));
        status.problems.extend(self.reloads.problem());
        let certificates = self.served.certificates().map(|certificates| certificates.problem());
        status.problems.extend(certificates.filter(|problem| !problem.is_empty()));
        let lost = self.workloads.as_ref().map_or(0, |workloads| workloads.lost());
        if lost > 0 {
            status.problems.push(format!(
                "the kernel's table had no room for {lost} control groups; policies for workloads tell of calls in them with a \
                 mark"
            ));
        }
        status
    }

    fn resources(&self, usage: &Usage, kernel: &KernelSample) -> saker_v1::Resources {
        let (load, rate) = self.minute();
        let cpu = resources::cpu_time().as_secs_f64();
        saker_v1::Resources {
            memory_rss_bytes: usage.resident,
            memory_peak_bytes: usage.resident_peak,
            kernel_memory_bytes: self.kernel_memory(kernel),
            cpu_seconds: cpu,
            cpu_user_seconds: usage.user_seconds,
            cpu_system_seconds: usage.system_seconds,
            cpu_load_1m: load,
            cpu_load: cpu / self.uptime().as_secs_f64().max(0.001),
            events_per_second_1m: rate,
            threads: usage.threads,
            open_files: usage.open_files,
            memory: self.memory(),
            kernel_memory: self.kernel_objects(kernel),
        }
    }

    /// Bytes of programs and maps in the kernel, those of policies included.
    pub(crate) fn kernel_memory(&self, kernel: &KernelSample) -> u64 {
        self.kernel_objects(kernel).iter().map(|part| part.bytes).sum()
    }

    fn queues(&self) -> Vec<saker_v1::Queue> {
        let (length, high_water) = self.gauges.queued();
        let mut queues = vec![saker_v1::Queue {
            name: "engine".into(),
            length: length as u64,
            capacity: self.input_capacity as u64,
            high_water: high_water as u64,
            unit: "batches".into(),
        }];
        for queue in self.fanout.all() {
            queues.push(saker_v1::Queue {
                name: queue.stage().into(),
                length: queue.stats().queued,
                capacity: queue.limits().events as u64,
                high_water: queue.stats().queued_max,
                unit: "events".into(),
            });
        }
        queues
    }

    fn sinks(&self) -> Vec<saker_v1::Sink> {
        let mut sinks: Vec<_> = self.sinks.all().iter().map(|one| sink(one)).collect();
        sinks.extend(self.recorded.as_deref().map(recording));
        for queue in self.fanout.of_stage(server::STAGE) {
            let (stats, passage) = (queue.stats(), queue.passage().now());
            sinks.push(saker_v1::Sink {
                name: server::STAGE.into(),
                kind: server::STAGE.into(),
                target: queue.label().into(),
                events: stats.offered,
                written: stats.passed,
                bytes: stats.bytes_passed,
                filtered: stats.filtered + passage.limited,
                limited: passage.limited,
                folded: passage.folded,
                waiting: passage.waiting,
                unfolded: passage.unfolded,
                dropped: stats.dropped,
                ..saker_v1::Sink::default()
            });
        }
        sinks
    }
}

/// A sink with a worker thread.
fn sink(sink: &SinkHandle) -> saker_v1::Sink {
    let (queue, worker) = (sink.worker.queue().stats(), sink.worker.stats());
    let mut told = saker_v1::Sink {
        name: sink.name.into(),
        kind: sink.kind.into(),
        target: sink.target.clone(),
        events: queue.offered,
        written: worker.written.saturating_sub(queue.gaps),
        bytes: worker.bytes,
        dropped: drop_causes(sink).iter().map(|(_, count)| count).sum(),
        filtered: worker.filtered + worker.limited,
        limited: worker.limited,
        folded: worker.folded,
        waiting: worker.waiting,
        unfolded: worker.unfolded,
        errors: worker.retries,
        rotations: worker.rotations,
        last_error: sink.worker.last_error(),
        last_event_time: time(worker.last_written),
        ..saker_v1::Sink::default()
    };
    if let Some(stats) = sink.delivery.as_ref().map(Delivery::stats) {
        told.written = stats.delivered;
        told.bytes = stats.bytes;
        told.errors += stats.retries;
        told.last_event_time = time(stats.last_delivered);
        told.spooled_events = stats.waiting;
        told.spooled_bytes = stats.waiting_bytes;
        told.spool_capacity_bytes = stats.capacity;
        if told.last_error.is_empty() {
            told.last_error = stats.error;
        }
    }
    told
}

/// The recording as a sink, whose events are the inputs of the engine.
fn recording(recorded: &Recorded) -> saker_v1::Sink {
    let (error, written) = (recorded.error(), recorded.written());
    let offered = recorded.offered();
    saker_v1::Sink {
        name: RECORDING.into(),
        kind: RECORDING.into(),
        target: recorded.path.display().to_string(),
        events: offered,
        written,
        bytes: recorded.bytes(),
        // Until it ends early, what is not written is about to be.
        dropped: if error.is_empty() { 0 } else { offered.saturating_sub(written) },
        errors: u64::from(!error.is_empty()),
        last_error: error,
        last_event_time: time(recorded.last_written()),
        ..saker_v1::Sink::default()
    }
}

/// A moment in seconds since 1970; 0: none.
fn time(seconds: u64) -> Option<prost_types::Timestamp> {
    (seconds > 0).then(|| prost_types::Timestamp { seconds: seconds.cast_signed(), nanos: 0 })
}

/// Events that a sink did not get, by cause.
pub(crate) fn drop_causes(sink: &SinkHandle) -> Vec<(&'static str, u64)> {
    let (queue, worker) = (sink.worker.queue().stats(), sink.worker.stats());
    let later = sink.delivery.as_ref().map(|delivery| delivery.stats().losses).unwrap_or_default();
    let mut causes = vec![("queue_full", queue.dropped), ("given_up", worker.given_up)];
    let lost = |loss| worker.losses.of(loss) + later.of(loss);
    causes.extend(SinkLoss::ALL.iter().map(|&loss| (loss.name(), lost(loss))));
    causes
}

fn drops_of(sink: &SinkHandle) -> impl Iterator<Item = saker_v1::StageDrops> {
    let causes = drop_causes(sink).into_iter().filter(|(_, count)| *count > 0);
    causes.map(|(cause, count)| drops(sink.name, cause, count))
}

fn drops(stage: &str, cause: &str, dropped: u64) -> saker_v1::StageDrops {
    saker_v1::StageDrops { stage: stage.into(), cause: cause.into(), dropped }
}

fn sensors(kernel: &KernelSample) -> Vec<saker_v1::SensorState> {
    // Each run ends with a record, sent or lost; but the sensor of exits runs for each thread and tells the last.
    let made = |kind: Kind| {
        let of_cpu = |cpu: &Stats| {
            let lost: u64 = cpu.lost.iter().map(|kinds| kinds[kind as usize]).sum();
            cpu.sent[kind as usize] + lost
        };
        kernel.stats.iter().map(of_cpu).sum()
    };
    let kinds = [Kind::Exec, Kind::Fork, Kind::Exit];
    SENSORS
        .iter()
        .zip(kinds)
        .zip(kernel.missed)
        .map(|(((name, hook), kind), missed)| saker_v1::SensorState {
            name: (*name).into(),
            hook: (*hook).into(),
            mechanism: "raw_tracepoint_btf".into(),
            runs: made(kind),
            missed,
        })
        .collect()
}

fn records(stats: &[Stats], received: &[u64]) -> Vec<saker_v1::RecordCount> {
    let count = |kind: Kind| {
        let index = kind as usize;
        let mut record = saker_v1::RecordCount {
            kind: kind.name().into(),
            produced: stats.iter().map(|cpu| cpu.sent[index]).sum(),
            received: received.get(index).copied().unwrap_or(0),
            ..saker_v1::RecordCount::default()
        };
        for cause in 0..saker_abi::LOSS_MAX as usize {
            let lost: u64 = stats.iter().map(|cpu| cpu.lost[cause][index]).sum();
            if lost > 0 {
                record.produced += lost;
                *record.lost.entry(Loss::name_of(cause).into()).or_default() += lost;
            }
        }
        record
    };
    Kind::ALL.into_iter().filter(|&kind| kind != Kind::Task).map(count).collect()
}

fn helper_failures(stats: &[Stats]) -> Vec<saker_v1::HelperFailure> {
    let failure = |place: usize| {
        let count: u64 = stats.iter().map(|cpu| cpu.failed[place]).sum();
        let errno = stats.iter().map(|cpu| cpu.failed_errno[place]).find(|&errno| errno != 0);
        (count > 0).then(|| saker_v1::HelperFailure {
            place: Place(place).name().into(),
            helper: Place(place).helper().into(),
            errno: errno.map_or(String::new(), |errno| errno.to_string()),
            count,
        })
    };
    (0..saker_abi::PLACE_MAX as usize).filter_map(failure).collect()
}

#[cfg(test)]
mod tests;
