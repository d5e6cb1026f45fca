//! The life of an agent: start, work, end.
//!
//! Start: lock the run directory, open sinks and sockets, attach the sensors (records gather in the ring), list
//! the running processes, give them to the engine, then the records, load the policies of files. Only when all that
//! is done does the agent say that it is ready. End: detach all, stop reading, let everything that was read reach the sinks, within a deadline.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use saker_export::Queue;
use tokio::sync::watch;
use zerocopy::IntoBytes;

use crate::config::{Config, Settings};
use crate::fanout::Fanout;
use crate::host;
use crate::pipeline::{Pipeline, Request};
use crate::reload::{Reloader, Reloading};
use crate::requests::Requester;
use crate::rundir::RunDir;
use crate::server::{Certificates, Listeners};
use crate::signals;
use crate::sinks;
use crate::source::{RecordReader, Sensors};
use crate::state::{KernelSample, Parts, State};
use crate::workloads::Workloads;
use crate::{logging, notify, resources};

mod beside;
mod pulse;
mod start;

use beside::Beside;
use pulse::Pulse;
pub(crate) use start::node_name;
use start::{
    Followed, Started, follow_pods, format_address, give_up_rights, listen, runtime, service, start_pipeline,
    start_policies, start_protection,
};

/// Time that the end may take.
const END: Duration = Duration::from_secs(5);
/// Time between two looks at the kernel's counters.
const TICK: Duration = Duration::from_secs(1);
/// Least time between two scans after losses.
const RESYNC_PAUSE: Duration = Duration::from_secs(2);
const LOAD_PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks at what the allocator holds free, and after one that gave back next to nothing of it.
const TRIM_PAUSE: Duration = Duration::from_secs(60);
const TRIM_LATER: Duration = Duration::from_secs(900);
/// Bytes that it may hold.
const TRIM_LEAST: u64 = 16 << 20;
const MEMORY_PAUSE: Duration = Duration::from_secs(30);
/// Change of the wall clock that is passed on.
const CLOCK_STEP: u64 = 1_000_000;
/// Time for which the agent waits for the policies of files before it says that it is ready.
const POLICIES: Duration = Duration::from_secs(60);
/// Time that detaching them may take.
const POLICIES_END: Duration = Duration::from_secs(2);
/// Time between two looks whether the configuration has been read again.
const RELOAD_LOOK: Duration = Duration::from_millis(50);
/// Time that this may take at the end: two exchanges of exports, if one goes back.
const RELOAD_END: Duration = Duration::from_secs(9);
/// Sensors and their stream.
pub type Source = (Box<dyn Sensors>, Box<dyn RecordReader>);

/// Runs an agent until it is told to end. `load` attaches the sensors.
///
/// # Errors
/// What hindered its start, or ended its work.
pub fn run(config: &Config, load: impl FnOnce(&Settings) -> Result<Source>) -> Result<()> {
    let started = (SystemTime::now(), Instant::now());
    let settings = config.settings()?;
    logging::start(&settings.log_level, settings.log_format);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = crate::VERSION, options = ?config.changed(), "starting");
    if !settings.keep_capabilities {
        give_up_rights();
    }
    // Not among the fields of the message: those are only made where it is told.
    let files = resources::raise_files();
    tracing::debug!(files, "limit of open files");
    let runtime = runtime()?;
    let (requests, requested) = mpsc::channel();
    signals::watch(&runtime, &requests, settings.console)?;

    let mut run_dir = RunDir::claim(&settings.run_dir)?;
    let access = (settings.server.socket_mode, settings.server.socket_group.as_str());
    let unix = settings.server.socket.as_deref().map(|path| run_dir.listen(path, access)).transpose()?;
    let tcp =
        settings.server.tcp.as_ref().map(|(host, port)| listen(&format_address(host, *port))).transpose()?;
    let certificates =
        settings.server.tls.clone().map(Certificates::load).transpose().context("server-tls")?;
    let listeners = Listeners { unix, tcp, certificates: certificates.map(Arc::new) };
    let metrics = settings.metrics.as_deref().map(listen).transpose()?;
    let health = settings.health.as_deref().map(listen).transpose()?;
    notify::status("Starting");

    let fanout = Arc::new(Fanout::default());
    let sinks = sinks::start(&settings, &fanout, &requests)?;
    let requester = Requester::start(settings.requests.clone(), runtime.handle());
    let source = load(&settings).context("the sensors cannot be started")?;
    let workloads = Arc::new(Workloads::new(settings.names_pods()).kept(source.0.keep()));
    let followed =
        settings.cri.as_ref().map(|cri| follow_pods(cri, &settings, &workloads, &runtime)).transpose()?;
    let (table, pods, hooks) = match followed {
        Some(Followed { table, health, hooks }) => (Some(table), Some(health), Some(hooks)),
        None => (None, None, None),
    };
    let Started { pipeline, sensors, recorded, host } =
        start_pipeline(&settings, source, &fanout, &requests, &requester, (&workloads, table.clone()))?;
    let policies = start_policies(&settings, sensors.as_ref(), host, &pipeline, &workloads)?;
    if let Some(table) = &table {
        policies.enforcement().name_pods(Arc::clone(table));
    }
    let protection = start_protection(config, &settings, sensors.as_ref(), &pipeline)?;
    let state = Arc::new(State::new(Parts {
        node: node_name(&settings),
        gauges: Arc::clone(&pipeline.gauges),
        input_capacity: pipeline.capacity(),
        fanout: Arc::clone(&fanout),
        sinks,
        recorded,
        processes: settings.kernel.processes,
        client_queue: settings.server.queue,
        series: settings.event_metrics.series,
        policies,
        protection,
        requester: Some(requester),
        pods,
        pod_table: table,
        workloads: Some(workloads),
        hooks,
        requests,
        started,
    }));
    let service = service(config, &settings, &state, &fanout);
    let (stop_server, stopping) = watch::channel(false);
    let server = runtime.spawn(service.clone().serve(listeners, stopping.clone()));
    let beside = Beside { metrics, health, interval: settings.health_interval };
    beside.serve(&runtime, &state, stopping);
    let reloader = Reloader::new(config.clone(), service, Arc::clone(&state));
    let mut agent = Agent::new(pipeline, sensors, state, requested, Arc::new(move || reloader.run()));
    agent.look(true);
    let mut ready = false;
    let outcome = match agent.await_policies(settings.policies.file.as_deref()) {
        Ok(Flow::Go) => {
            ready = true;
            agent.state.set_ready();
            // It costs nothing but memory if that fails.
            match saker_probes::resident::give_back() {
                Ok(bytes) => tracing::debug!(bytes, "pages that the start needed are given back"),
                Err(error) => tracing::debug!("pages that the start needed stay: {error}"),
            }
            run_dir.announce(&settings)?;
            tracing::info!(startup = ?started.1.elapsed(), "ready");
            notify::ready();
            agent.work()
        }
        Ok(Flow::End) => Ok(()),
        Err(error) => Err(error),
    };
    notify::stopping();
    agent.state.vitals.set_stopping();
    agent.end(&fanout, ready);
    let _ = stop_server.send(true);
    let served = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(500), server).await });
    if let Ok(Ok(Err(error))) = served {
        tracing::error!("the gRPC server failed: {error:#}");
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    drop(run_dir);
    outcome
}

/// What was done when.
#[derive(Default)]
struct Last {
    look: Option<Instant>,
    load: Option<Instant>,
    memory: Option<Instant>,
    resync: Option<Instant>,
    resync_wanted: bool,
    trim: Option<Instant>,
    trimmed_in_vain: bool,
    boot_to_wall: u64,
}

fn is_due(last: Option<Instant>, pause: Duration) -> bool {
    last.is_none_or(|at| at.elapsed() >= pause)
}

struct Agent {
    pipeline: Pipeline,
    sensors: Box<dyn Sensors>,
    state: Arc<State>,
    requested: Receiver<Request>,
    last: Last,
    reloading: Reloading,
    pulse: Pulse,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    End,
}

impl Agent {
    fn new(
        pipeline: Pipeline,
        sensors: Box<dyn Sensors>,
        state: Arc<State>,
        requested: Receiver<Request>,
        reload: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        let reloading = Reloading::new(reload, Arc::clone(&state));
        Self { pipeline, sensors, state, requested, last: Last::default(), reloading, pulse: Pulse::begin() }
    }

    /// Works until the end is asked for (`Ok`) or forced by a failure.
    fn work(&mut self) -> Result<()> {
        while self.step(self.patience())? == Flow::Go {}
        Ok(())
    }

    /// Works until the policies of the files have been tried, or that takes too long. What a directory holds and cannot
    /// be loaded is kept in the list with its reason; a file that the configuration names must be in force.
    fn await_policies(&mut self, file: Option<&Path>) -> Result<Flow> {
        let deadline = Instant::now() + POLICIES;
        while !self.state.policies.is_started() {
            if self.step(self.patience().min(Duration::from_millis(10)))? == Flow::End {
                return Ok(Flow::End);
            }
            if Instant::now() >= deadline {
                tracing::warn!(
                    "the policies of the files are not all loaded yet; going on without waiting for them"
                );
                break;
            }
        }
        if let (Some(file), Some(reason)) = (file, self.state.policies.unmet()) {
            bail!(
                "--tracing-policy {}: {reason}\nFor an agent that runs without it, put the file into --tracing-policy-dir",
                file.display()
            );
        }
        Ok(Flow::Go)
    }

    /// Does what is asked for and due, after waiting at most so long for the former.
    fn step(&mut self, patience: Duration) -> Result<Flow> {
        match self.requested.recv_timeout(patience) {
            Ok(Request::Stop(why)) => {
                tracing::info!(why, "stopping");
                return Ok(Flow::End);
            }
            Ok(Request::Failed(what)) => bail!("records can no longer be read: {what}"),
            Ok(Request::Resync) => self.last.resync_wanted = true,
            Ok(Request::Sample) => self.look(true),
            Ok(Request::Look(done)) => {
                self.look(false);
                // Whoever asked may have lost patience.
                let _ = done.send(());
            }
            Ok(Request::Sinks(order)) => {
                tracing::info!(?order, "signal for the export file");
                self.state.sinks.all().iter().for_each(|sink| sink.worker.control(order));
            }
            Ok(Request::Processes(reply)) => self.pipeline.processes(reply),
            Ok(Request::Reload) => self.reloading.ask(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Flow::End),
        }
        self.pulse.beat(&self.state);
        if !self.pipeline.is_alive() {
            bail!("a thread of the pipeline ended unexpectedly");
        }
        if !self.state.policies.is_alive() {
            bail!("the thread of the policies ended unexpectedly");
        }
        if !self.reloading.tend() {
            bail!("the thread that reads the configuration again ended unexpectedly");
        }
        if let Some(sink) = self.state.sinks.all().iter().find(|sink| sink.worker.is_dead()) {
            bail!("the thread that writes to the sink {} {} ended unexpectedly", sink.name, sink.target);
        }
        if is_due(self.last.look, TICK) {
            self.look(false);
            self.state.protection.tend();
        }
        self.trim();
        if self.last.resync_wanted && is_due(self.last.resync, RESYNC_PAUSE) {
            self.resync();
        }
        Ok(Flow::Go)
    }

    fn patience(&self) -> Duration {
        let due = |last: Option<Instant>, pause: Duration| {
            last.map_or(Duration::ZERO, |at| pause.saturating_sub(at.elapsed()))
        };
        let mut look = due(self.last.look, TICK).min(self.pulse.pause());
        if self.reloading.is_busy() {
            look = look.min(RELOAD_LOOK);
        }
        if self.last.resync_wanted { look.min(due(self.last.resync, RESYNC_PAUSE)) } else { look }
    }

    /// Gives memory back that a flood or clients which are gone have left, if it is time to look for that.
    fn trim(&mut self) {
        let pause = if self.last.trimmed_in_vain { TRIM_LATER } else { TRIM_PAUSE };
        if !is_due(self.last.trim, pause) {
            return;
        }
        self.last.trim = Some(Instant::now());
        let given = saker_probes::resident::trim(TRIM_LEAST);
        self.last.trimmed_in_vain = matches!(given, Ok(Some(bytes)) if bytes < TRIM_LEAST / 4);
        match given {
            Ok(None) => {}
            Ok(Some(bytes)) => tracing::debug!(bytes, "free memory is given back"),
            Err(error) => tracing::debug!("free memory is not given back: {error}"),
        }
    }

    /// Reads the kernel's counters; passes them on when they changed, or when asked to.
    fn look(&mut self, wanted: bool) {
        self.last.look = Some(Instant::now());
        if is_due(self.last.load, LOAD_PAUSE) {
            self.last.load = Some(Instant::now());
            self.state.note_load();
        }
        let boot_to_wall = host::boot_to_wall();
        if boot_to_wall.abs_diff(self.last.boot_to_wall) > CLOCK_STEP {
            let first = std::mem::replace(&mut self.last.boot_to_wall, boot_to_wall) == 0;
            if !first {
                self.pipeline.clock(boot_to_wall);
            }
        }
        let mut sample = self.state.kernel();
        if is_due(self.last.memory, MEMORY_PAUSE) {
            self.last.memory = Some(Instant::now());
            sample.memory = self.sensors.memory();
        }
        let before = std::mem::take(&mut sample.stats);
        match self.sensors.stats() {
            Ok(stats) => {
                if wanted || stats.as_bytes() != before.as_bytes() {
                    self.pipeline.sample(stats.clone());
                }
                let missed = self.sensors.missed();
                let news: u64 = missed.iter().sum::<u64>().saturating_sub(sample.missed.iter().sum());
                if news > 0 {
                    self.pipeline.lost("sensor", news);
                }
                self.state.set_kernel(KernelSample { stats, missed, ..sample });
            }
            Err(error) => {
                tracing::warn!("the kernel's counters cannot be read: {error:#}");
                self.state.set_kernel(KernelSample { stats: before, ..sample });
            }
        }
    }

    fn resync(&mut self) {
        self.last.resync = Some(Instant::now());
        self.last.resync_wanted = false;
        match self.sensors.snapshot() {
            Ok(tasks) => {
                tracing::info!(
                    processes = tasks.len(),
                    "records were lost; the process table is compared anew"
                );
                self.pipeline.snapshot(tasks);
            }
            Err(error) => {
                tracing::warn!("the running processes cannot be listed: {error:#}");
                self.last.resync_wanted = true;
            }
        }
    }

    /// Lets what was read reach the sinks. Of an agent that was `ready`, what is to stay stays: then what is in the ring
    /// is for the next one.
    fn end(&mut self, fanout: &Arc<Fanout>, ready: bool) {
        let stays = self.sensors.keep().is_some_and(|keep| ready && keep.leave());
        if stays {
            tracing::info!("sensors and policies stay in force");
        } else {
            // In a storm the ring would never be empty.
            self.sensors.detach();
        }
        // So that no sink comes or goes any more.
        if !self.reloading.finish(Instant::now() + RELOAD_END) {
            tracing::warn!("the configuration was still being read again at the end");
        }
        let deadline = Instant::now() + END;
        if !self.state.policies.stop(Instant::now() + POLICIES_END) {
            tracing::warn!(
                "a policy was still being loaded at the end; the kernel detaches it with the agent"
            );
        }
        if !self.pipeline.finish(deadline) {
            tracing::warn!("not all records could be handled before the end");
        }
        for queue in fanout.all() {
            queue.close();
        }
        let sinks = self.state.sinks.all();
        let working = || sinks.iter().filter(|sink| !sink.worker.is_finished());
        while Instant::now() < deadline && working().next().is_some() {
            std::thread::sleep(Duration::from_millis(2));
        }
        // All at once, so that those that hang take their time together.
        working().for_each(|sink| sink.worker.give_up());
        for sink in sinks.iter() {
            if !sink.worker.finish(deadline) {
                let dropped = sink.worker.queue().stats().dropped + sink.worker.stats().given_up;
                tracing::warn!(sink = sink.name, dropped, "not all events could be written before the end");
            }
        }
        // Clients take what is left for them as fast as they can; the rest ends with the connection.
        let busy = |queue: &Queue| !queue.is_empty() || queue.passage().now().waiting > 0;
        while Instant::now() < deadline
            && fanout.of_stage(crate::server::STAGE).iter().any(|queue| busy(queue))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let events = self.state.gauges.published.load(std::sync::atomic::Ordering::Relaxed);
        tracing::info!(events, uptime = ?self.state.uptime(), "stopped");
    }
}

#[cfg(test)]
mod tests;
