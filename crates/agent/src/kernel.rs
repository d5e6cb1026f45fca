//! The running kernel as a source of records.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use saker_abi::{NamespaceInums, Stats};
use saker_engine::SnapshotTask;
use saker_probes::{Guard, Keep, KernelFacts, Options, Part, Spared};

use crate::config::Settings;
use crate::earlier::{Rings, Waiting};
use crate::policies::Loader;
use crate::policies::kernel::KernelLoader;
use crate::protection::Shield;
use crate::source::{RecordReader, Sensors};
use crate::workloads::Workloads;

struct Kernel {
    sensors: saker_probes::Sensors,
    environment: bool,
    /// Control group for programs that decide about sockets; none: the root of all.
    socket_group: Option<PathBuf>,
    /// What earlier agents' programs told before this one listed the processes; taken by the first list.
    waiting: RefCell<Option<Waiting>>,
}

/// Loads and attaches the sensors; from here on records gather in the ring buffer.
///
/// # Errors
/// What is missing, and what to do.
pub fn load(settings: &Settings) -> Result<(Box<dyn Sensors>, Box<dyn RecordReader>)> {
    let facts = KernelFacts::for_sensors()?;
    let environment = settings.events.environment.is_some();
    let options = Options {
        ring_bytes: settings.kernel.ring_bytes,
        hash_entries: settings.kernel.entries,
        environment,
        procfs: settings.procfs.clone(),
        ..Options::default()
    };
    let keep = Keep::open(&settings.bpf_dir, settings.keep).context("what stays beyond an agent's end")?;
    let sensors = saker_probes::Sensors::load_beside(&options, &facts, keep)?;
    let (rings, waiting) = Rings::of(&sensors)?;
    let socket_group = settings.socket_group.clone();
    let kernel = Kernel { sensors, environment, socket_group, waiting: RefCell::new(waiting) };
    Ok((Box::new(kernel), Box::new(rings)))
}

/// What the kernel offers, by the names of Tetragon's probes as far as they are known, then by ours. Nothing is known when it
/// cannot be asked.
#[must_use]
pub fn features() -> Vec<(String, bool)> {
    let facts = KernelFacts::discover().unwrap_or_default();
    let mut probes = saker_probes::peer_probes(&facts);
    for feature in facts.features {
        if !probes.iter().any(|(name, _)| *name == feature.name) {
            probes.push((feature.name, feature.enabled));
        }
    }
    probes.into_iter().map(|(name, enabled)| (name.to_owned(), enabled)).collect()
}

impl Sensors for Kernel {
    fn snapshot(&self) -> Result<Vec<SnapshotTask>> {
        let tasks = self.sensors.snapshot(self.environment)?;
        let task = |task: saker_probes::SnapshotTask| SnapshotTask {
            record: task.record,
            args: task.argv,
            envs: task.environ,
        };
        let mut tasks: Vec<_> = tasks.into_iter().map(task).collect();
        if let Some(waiting) = self.waiting.take() {
            waiting.gather(&mut tasks)?;
        }
        Ok(tasks)
    }

    fn stats(&self) -> Result<Vec<Stats>> {
        Ok(self.sensors.stats()?)
    }

    fn memory(&self) -> Vec<(String, u64)> {
        self.sensors.memory()
    }

    fn detach(&mut self) {
        self.sensors.detach();
    }

    fn missed(&self) -> [u64; 3] {
        self.sensors.missed()
    }

    fn keep(&self) -> Option<Arc<Keep>> {
        self.sensors.keep().cloned()
    }

    fn guard(&self, parts: Vec<Part>) -> Result<Arc<dyn Shield>> {
        Ok(Arc::new(Guard::begin(&self.sensors, parts)?))
    }

    fn loader(
        &self,
        host: NamespaceInums,
        workloads: Arc<Workloads>,
        spared: Spared,
    ) -> Result<Box<dyn Loader>> {
        let loader = KernelLoader::beside(&self.sensors, host, workloads, spared).inspect_err(|_| {
            // Nobody will know the texts: what waits is read without them.
            if let Some(keep) = self.sensors.keep() {
                keep.set_told();
            }
        });
        Ok(Box::new(loader?.with_socket_group(self.socket_group.clone())))
    }
}
