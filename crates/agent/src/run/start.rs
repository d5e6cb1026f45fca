//! What a start is made of, part by part.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use saker_abi::NamespaceInums;
use saker_engine::capture::Setup;
use saker_engine::{CaptureHeader, Engine, SequenceBase, SnapshotTask};
use saker_policy::plan::Choices;
use tokio::runtime::Runtime;

use super::Source;
use crate::config::{Config, Cri, Settings};
use crate::fanout::Fanout;
use crate::host::{self, PasswdFile};
use crate::pipeline::{EngineStart, EventCounts, Holding, Lookups, Pipeline, Request};
use crate::pods::{self, Health, Hooks, PodTable, Pods};
use crate::policies::Policies;
use crate::protection::{self, Protection};
use crate::recording::{Recorded, Recorder};
use crate::requests::Requester;
use crate::server::{Service, ServiceConfig};
use crate::source::Sensors;
use crate::state::State;
use crate::workloads::Workloads;
use crate::{kernel, reload, rights};

/// Time that listing the processes of a start may take.
pub(super) const START: Duration = Duration::from_secs(60);

pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("saker-server")
        .enable_all()
        .build()
        .context("cannot start the threads of the servers")
}

pub(super) fn format_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn listen(address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true).with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener)
}

/// Name of this node in events.
pub(crate) fn node_name(settings: &Settings) -> String {
    if settings.node_name.is_empty() { host::node_name() } else { settings.node_name.clone() }
}

/// Gives up what the agent does not need, before there are other threads.
pub(super) fn give_up_rights() {
    match rights::reduce() {
        Ok(kept) => {
            tracing::info!(kept = kept.kept.join(" "), "capabilities that are not needed are given up");
            if !kept.missing.is_empty() {
                tracing::warn!(
                    missing = kept.missing.join(" "),
                    "the agent was started without capabilities that some of its features need"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "capabilities that are not needed cannot be given up"),
    }
}

/// What is given, and what every node has.
fn node_labels(settings: &Settings) -> BTreeMap<String, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let own = [
        ("kubernetes.io/hostname", node_name(settings)),
        ("kubernetes.io/os", std::env::consts::OS.to_owned()),
        ("kubernetes.io/arch", arch.to_owned()),
    ];
    let mut labels: BTreeMap<String, String> =
        own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    labels.extend(settings.node_labels.clone());
    labels
}

fn header(settings: &Settings, snapshot: &[SnapshotTask]) -> CaptureHeader {
    let events = &settings.events;
    CaptureHeader {
        node: node_name(settings),
        kernel: host::kernel_release(),
        boot_to_wall: host::boot_to_wall(),
        host_namespaces: host::host_namespaces(snapshot),
        sequence: SequenceBase::One,
        environment: events.environment.is_some(),
        setup: Some(Setup {
            cluster: settings.cluster_name.clone(),
            visible: saker_api::event::Visible {
                credentials: events.credentials,
                namespaces: events.namespaces,
                extras: events.extras,
            },
            stack_addresses: events.stack_addresses,
            ancestors: events.ancestors.of_engine(),
            processes: settings.kernel.processes,
            environment: saker_engine::Environment {
                enabled: events.environment.is_some(),
                names: events.environment.clone().unwrap_or_default(),
            },
            users: if events.user_names { PasswdFile::of_host(&settings.procfs).all() } else { Vec::new() },
        }),
    }
}

/// What [`start_pipeline`] started.
pub(super) struct Started {
    pub(super) pipeline: Pipeline,
    pub(super) sensors: Box<dyn Sensors>,
    pub(super) recorded: Option<Arc<Recorded>>,
    /// Namespaces of the host's first process.
    pub(super) host: NamespaceInums,
}

pub(super) fn start_pipeline(
    settings: &Settings,
    source: Source,
    fanout: &Arc<Fanout>,
    requests: &Sender<Request>,
    requester: &Requester,
    (workloads, pods): (&Arc<Workloads>, Option<Arc<PodTable>>),
) -> Result<Started> {
    let (sensors, reader) = source;
    let (begin, beginning) = mpsc::channel();
    let queue = settings.kernel.queue_records;
    let pipeline = Pipeline::start(reader, beginning, fanout, queue, requests.clone())
        .context("cannot start the threads of the pipeline")?;
    let snapshot = sensors.snapshot().context("cannot list the running processes")?;
    let header = header(settings, &snapshot);
    let host = header.host_namespaces;
    let recorder = settings.record.as_deref().map(|path| {
        let failed = || format!("--record: cannot record to {}", path.display());
        Recorder::create(path, &header).with_context(failed)
    });
    let recorder = recorder.transpose()?;
    let recorded = recorder.as_ref().map(|recorder| Arc::clone(recorder.recorded()));
    let mut engine = header.engine();
    engine.redaction = settings.events.redaction.clone();
    if settings.events.user_names {
        engine.users = Some(Box::new(PasswdFile::of_host(&settings.procfs)));
    }
    engine.pods = pods.map(|table| Box::new(Pods(table)) as _);
    let lookups = Lookups::new(&settings.procfs, header.boot_to_wall);
    let engine = Engine::new(engine);
    let containers = settings.cri.is_some().then(|| Box::new(Arc::clone(workloads)) as _);
    let holding = Holding::new(containers, settings.undecided);
    let requester = Some(requester.clone());
    let counts = (EventCounts::new(settings.event_metrics.labels), settings.event_metrics.series);
    let start = EngineStart { engine, snapshot, recorder, requester, lookups, holding, counts };
    begin.send(start).map_err(|_| anyhow!("the engine ended before it began"))?;
    if !pipeline.wait_started(START) {
        bail!("the engine did not take up the running processes within {} s", START.as_secs());
    }
    Ok(Started { pipeline, sensors, recorded, host })
}

/// What follows the containers of this node.
pub(super) struct Followed {
    pub(super) table: Arc<PodTable>,
    pub(super) health: Arc<Health>,
    pub(super) hooks: Hooks,
}

/// Starts to follow the containers of this node.
pub(super) fn follow_pods(
    cri: &Cri,
    settings: &Settings,
    workloads: &Arc<Workloads>,
    runtime: &Runtime,
) -> Result<Followed> {
    let (table, health) = (Arc::<PodTable>::default(), Arc::<Health>::default());
    let (workloads, own) = (Arc::clone(workloads), (Arc::clone(&table), Arc::clone(&health)));
    let hooks = pods::follow(cri, &settings.procfs, workloads, own.0, own.1, runtime.handle())
        .context("cannot start the thread that follows containers")?;
    Ok(Followed { table, health, hooks })
}

/// Guards the agent, if that is wanted.
pub(super) fn start_protection(
    config: &Config,
    settings: &Settings,
    sensors: &dyn Sensors,
    pipeline: &Pipeline,
) -> Result<Arc<Protection>> {
    if !settings.protection {
        return Ok(Arc::default());
    }
    // Before the first attempt.
    let told = pipeline.policies().upgrade().is_some_and(|input| input.policy_loaded(protection::text()));
    ensure!(told, "the engine ended before it began");
    let keep = sensors.keep().filter(|keep| keep.pins());
    let parts = protection::parts(config, settings, keep.as_ref().map(|keep| keep.root()));
    let shield = sensors.guard(parts).context("the agent cannot protect itself")?;
    tracing::info!("self-protection: attempts of others to end or change the agent are refused and told");
    Ok(Arc::new(Protection::by(shield)))
}

/// Starts to load the policies of the files.
pub(super) fn start_policies(
    settings: &Settings,
    sensors: &dyn Sensors,
    host: NamespaceInums,
    pipeline: &Pipeline,
    workloads: &Arc<Workloads>,
) -> Result<Arc<Policies>> {
    let loader = sensors.loader(host, Arc::clone(workloads), settings.spared);
    let loader = loader.map_err(|error| format!("{error:#}"));
    let choices = Choices {
        kprobes_one_by_one: settings.kprobes_one_by_one,
        require_prevention: settings.require_prevention,
        names_pods: settings.names_pods(),
        node_labels: node_labels(settings),
        ..Choices::default()
    };
    let policies = Policies::start(loader, Box::new(pipeline.policies()), settings.policies.clone(), choices);
    policies.map(Arc::new).context("cannot start the thread of the policies")
}

pub(super) fn service(
    config: &Config,
    settings: &Settings,
    state: &Arc<State>,
    fanout: &Arc<Fanout>,
) -> Service {
    Service::new(ServiceConfig {
        state: Arc::clone(state),
        fanout: Arc::clone(fanout),
        offered: settings.events.offered(true),
        server: &settings.server,
        probes: kernel::features,
        options: reload::told(config),
    })
}
