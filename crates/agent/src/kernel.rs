//! The running kernel as a source of records.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use saker_abi::{NamespaceInums, Stats};
use saker_engine::SnapshotTask;
use saker_probes::{KernelFacts, Options, Reader, RecordBatch, Spared};

use crate::config::Settings;
use crate::policies::Loader;
use crate::policies::kernel::KernelLoader;
use crate::source::{ReadOutcome, RecordReader, Sensors};
use crate::workloads::Workloads;

struct Kernel {
    sensors: saker_probes::Sensors,
    environment: bool,
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
    let sensors = saker_probes::Sensors::load(&options, &facts)?;
    let reader = sensors.reader()?;
    Ok((Box::new(Kernel { sensors, environment }), Box::new(Ring(reader))))
}

/// What the kernel offers, by name. Nothing is known when it cannot be asked.
#[must_use]
pub fn features() -> Vec<(String, bool)> {
    let facts = KernelFacts::discover().unwrap_or_default();
    facts.features.into_iter().map(|feature| (feature.name.to_owned(), feature.enabled)).collect()
}

impl Sensors for Kernel {
    fn snapshot(&self) -> Result<Vec<SnapshotTask>> {
        let tasks = self.sensors.snapshot(self.environment)?;
        let task = |task: saker_probes::SnapshotTask| SnapshotTask {
            record: task.record,
            args: task.argv,
            envs: task.environ,
        };
        Ok(tasks.into_iter().map(task).collect())
    }

    fn stats(&self) -> Result<Vec<Stats>> {
        Ok(self.sensors.stats()?)
    }

    fn memory(&self) -> u64 {
        self.sensors.memory()
    }

    fn detach(&mut self) {
        self.sensors.detach();
    }

    fn missed(&self) -> [u64; 3] {
        self.sensors.missed()
    }

    fn loader(
        &self,
        host: NamespaceInums,
        workloads: Arc<Workloads>,
        spared: Spared,
    ) -> Result<Box<dyn Loader>> {
        Ok(Box::new(KernelLoader::beside(&self.sensors, host, workloads, spared)?))
    }
}

struct Ring(Reader);

impl RecordReader for Ring {
    fn read(&mut self, timeout: Duration, batch: &mut RecordBatch) -> Result<ReadOutcome> {
        let outcome = self.0.read(timeout, batch)?;
        Ok(ReadOutcome { records: outcome.records, idle: outcome.idle })
    }
}
