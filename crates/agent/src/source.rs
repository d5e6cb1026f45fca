//! Where records come from: the kernel, or a test.

use std::sync::Arc;
use std::time::Duration;

use saker_abi::{NamespaceInums, Stats};
use saker_engine::SnapshotTask;
use saker_probes::{Keep, Part, RecordBatch, Spared};

use crate::policies::Loader;
use crate::protection::Shield;
use crate::workloads::Workloads;

/// What one look at the stream of records found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Records handed over.
    pub records: usize,
    /// Nothing more was there.
    pub idle: bool,
    /// Records that are missing for good, for which there was no room while no agent ran.
    pub missing: u64,
}

/// The stream of records. Read by one thread.
pub trait RecordReader: Send {
    /// Waits at most `timeout` for records and puts them into `batch`, which is empty. How many there are at most
    /// is bounded by the reader.
    ///
    /// # Errors
    /// The stream is broken for good.
    fn read(&mut self, timeout: Duration, batch: &mut RecordBatch) -> anyhow::Result<ReadOutcome>;
}

/// What can be asked beside the stream. Asked by the thread that made it.
pub trait Sensors {
    /// All processes that are there.
    ///
    /// # Errors
    /// They cannot be listed.
    fn snapshot(&self) -> anyhow::Result<Vec<SnapshotTask>>;

    /// The counters of each CPU.
    ///
    /// # Errors
    /// They cannot be read.
    fn stats(&self) -> anyhow::Result<Vec<Stats>>;

    /// Kernel memory in bytes: of all programs together, and of each map.
    fn memory(&self) -> Vec<(String, u64)>;

    /// Ends the stream at its source: what happens from here on is not told. What was told can still be read.
    fn detach(&mut self);

    /// Times exec, fork and exit went unseen, at most, because the kernel ran none of their programs.
    fn missed(&self) -> [u64; 3];

    /// Where what is loaded stays when the agent ends, or what earlier agents left; `None`: neither.
    fn keep(&self) -> Option<Arc<Keep>> {
        None
    }

    /// Guards this process, its BPF objects and these parts against others.
    ///
    /// # Errors
    /// That is not possible in full here, for this reason: nothing is guarded.
    fn guard(&self, parts: Vec<Part>) -> anyhow::Result<Arc<dyn Shield>>;

    /// What loads policies beside these sensors, on a host with these namespaces, and says which workloads they ask for and
    /// whom they may hit.
    ///
    /// # Errors
    /// Nothing can be loaded here; each policy is refused with this reason then.
    fn loader(
        &self,
        host: NamespaceInums,
        workloads: Arc<Workloads>,
        spared: Spared,
    ) -> anyhow::Result<Box<dyn Loader>>;
}
