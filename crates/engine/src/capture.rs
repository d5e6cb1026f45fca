//! Captures: what an engine was given, in a file, to be given to another one later.
//!
//! ```text
//! "SAKERCAP" │ u32 length │ header │ entry │ entry │ ...
//! entry:  u8 kind │ u8 zero │ u16 zero │ u32 length │ bytes
//! ```
//!
//! Numbers are little-endian, but for those inside kernel records, which stay as they came. A snapshot is one
//! entry for each task and an entry that ends it. The last entry says that the writer ended in good order; where
//! it is missing, as after a crash or on a full disk, the whole entries before the cut are read, and
//! [`Reader::truncated`] tells. Entries of unknown kinds are those of a newer writer and are left out.
//!
//! This is what `saker agent --record` writes and `saker replay` reads.

mod findings;
mod policy;
mod reader;
mod setup;
mod writer;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use saker_abi::{NamespaceInums, Stats};
use saker_api::event::{Event, Node};
use thiserror::Error;

use crate::config::{EngineConfig, SequenceBase};
use crate::engine::Engine;
use crate::findings::Findings;
use crate::hook::PolicyText;
use crate::snapshot::{SnapshotKind, SnapshotTask};

pub use reader::Reader;
pub use setup::Setup;
pub use writer::Writer;

/// The texts of a policy as a capture has them.
#[must_use]
pub fn policy_bytes(text: &PolicyText) -> Vec<u8> {
    policy::to_bytes(text)
}

/// The other way; `None`: the bytes are no policy.
#[must_use]
pub fn policy_of(bytes: &[u8]) -> Option<PolicyText> {
    policy::from_bytes(bytes)
}

pub(crate) const MAGIC: [u8; 8] = *b"SAKERCAP";
pub(crate) const VERSION: u16 = 1;
/// Longest header: it may name 65,536 users.
pub(crate) const HEADER_MAX: u32 = 4 * 1024 * 1024;
/// Longest entry: a sample of all CPUs that the kernel supports.
pub(crate) const ENTRY_MAX: u32 = 8 * 1024 * 1024;
/// Bytes of the tasks of one snapshot.
pub(crate) const SNAPSHOT_MAX: usize = 256 * 1024 * 1024;

pub(crate) const ENTRY_RECORD: u8 = 1;
pub(crate) const ENTRY_TASK: u8 = 2;
pub(crate) const ENTRY_SNAPSHOT: u8 = 3;
pub(crate) const ENTRY_SAMPLE: u8 = 4;
pub(crate) const ENTRY_LOST: u8 = 5;
pub(crate) const ENTRY_CLOCK: u8 = 6;
pub(crate) const ENTRY_END: u8 = 7;
pub(crate) const ENTRY_POLICY_LOADED: u8 = 8;
pub(crate) const ENTRY_POLICY_REMOVED: u8 = 9;
pub(crate) const ENTRY_FINDINGS: u8 = 10;
/// The last kind that this version knows.
pub(crate) const ENTRY_LAST: u8 = ENTRY_FINDINGS;

/// Stages that may tell of a loss.
const STAGES: [&str; 5] = ["reader", "decoder", "queue", "sensor", "earlier"];

/// The sequence numbers of the capture do not start at 1.
const FEATURE_SEQUENCE_UNKNOWN: u64 = 1;
/// Environments were read in the kernel.
const FEATURE_ENVIRONMENT: u64 = 2;

/// What an engine is given.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Bytes of a record.
    Record(&'a [u8]),
    /// Processes that a scan found.
    Snapshot {
        /// Why it was made.
        kind: SnapshotKind,
        /// What it found.
        tasks: Vec<SnapshotTask>,
    },
    /// The kernel's counters, one for each CPU.
    Sample {
        /// The counters.
        stats: Cow<'a, [Stats]>,
        /// The ring has been read until it was empty since.
        drained: bool,
    },
    /// Records lost by a later stage.
    Lost {
        /// Where.
        stage: &'static str,
        /// How many.
        lost: u64,
    },
    /// A new distance of the wall clock from CLOCK_BOOTTIME.
    Clock {
        /// In nanoseconds.
        boot_to_wall: u64,
    },
    /// What was looked up for the record that comes next.
    Findings(Findings),
    /// A policy whose hooks are about to be attached.
    PolicyLoaded(PolicyText),
    /// A policy whose hooks have been detached; records of them may still come.
    PolicyRemoved {
        /// Its number.
        id: u32,
    },
}

/// What a capture says of where it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureHeader {
    /// Wall clock minus CLOCK_BOOTTIME at its start, in nanoseconds.
    pub boot_to_wall: u64,
    /// Namespaces of the host's first process.
    pub host_namespaces: NamespaceInums,
    /// Where the sequence numbers start.
    pub sequence: SequenceBase,
    /// Environments were read in the kernel.
    pub environment: bool,
    /// Name of the node.
    pub node: String,
    /// Release of its kernel.
    pub kernel: String,
    /// What its engine was configured with; `None`: it was not made by an agent.
    pub setup: Option<Setup>,
}

/// Why a capture cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file could not be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It does not begin like a capture.
    #[error("it is no recording: it does not begin with SAKERCAP; make one with `saker agent --record FILE`")]
    Magic,
    /// Another version of the format.
    #[error(
        "the recording has format version {0}, this program reads version {VERSION}: replay it with the version \
         that made it"
    )]
    Version(u16),
    /// The header is cut or out of bounds.
    #[error("the recording's header is damaged")]
    Header,
    /// An entry is longer than any may be.
    #[error("entry {entry} of the recording says it has {len} bytes, at most {ENTRY_MAX} are possible")]
    TooLong {
        /// Which, from 0.
        entry: u64,
        /// Its length.
        len: u32,
    },
    /// An entry that makes no sense.
    #[error("entry {entry} of the recording, of kind {kind}, is damaged")]
    Damaged {
        /// Which, from 0.
        entry: u64,
        /// Its kind.
        kind: u8,
    },
}

impl CaptureHeader {
    /// `config` with what the capture knows better. A name of the node that is set there stays.
    #[must_use]
    pub fn configure(&self, mut config: EngineConfig) -> EngineConfig {
        config.boot_to_wall = self.boot_to_wall;
        config.host_namespaces = self.host_namespaces;
        config.sequence = self.sequence;
        if config.node.name.is_empty() {
            let Node { cluster, labels, .. } = (*config.node).clone();
            config.node = Arc::new(Node { name: self.node.clone(), cluster, labels });
        }
        config
    }

    /// The configuration of the engine that it was made beside, as far as the capture knows it.
    #[must_use]
    pub fn engine(&self) -> EngineConfig {
        let Some(setup) = &self.setup else { return self.configure(EngineConfig::default()) };
        self.configure(EngineConfig {
            node: Arc::new(Node { cluster: setup.cluster.clone(), ..Node::default() }),
            visible: setup.visible,
            stack_addresses: setup.stack_addresses,
            ancestors: setup.ancestors,
            capacity: setup.processes,
            environment: setup.environment.clone(),
            users: setup.users(),
            ..EngineConfig::default()
        })
    }

    fn features(&self) -> u64 {
        let unknown = if self.sequence == SequenceBase::Unknown { FEATURE_SEQUENCE_UNKNOWN } else { 0 };
        let environment = if self.environment { FEATURE_ENVIRONMENT } else { 0 };
        unknown | environment
    }

    fn set_features(&mut self, features: u64) {
        let unknown = features & FEATURE_SEQUENCE_UNKNOWN != 0;
        self.sequence = if unknown { SequenceBase::Unknown } else { SequenceBase::One };
        self.environment = features & FEATURE_ENVIRONMENT != 0;
    }
}

impl Engine {
    /// Takes any input.
    pub fn input(&mut self, input: Input<'_>, out: &mut Vec<Arc<Event>>) {
        match input {
            Input::Record(bytes) => self.record(bytes, out),
            Input::Snapshot { kind, tasks } => self.snapshot(tasks, kind, out),
            Input::Sample { stats, drained } => self.sample(&stats, drained, out),
            Input::Lost { stage, lost } => self.lost(stage, lost, out),
            Input::Clock { boot_to_wall } => self.set_boot_to_wall(boot_to_wall),
            Input::Findings(findings) => self.findings = Some(Box::new(findings)),
            Input::PolicyLoaded(text) => self.policy_loaded(text, out),
            Input::PolicyRemoved { id } => self.policy_removed(id, out),
        }
    }
}

/// The stage of this name, or one that says only that there was one.
fn stage_of(name: &[u8]) -> &'static str {
    STAGES.into_iter().find(|stage| stage.as_bytes() == name).unwrap_or("other")
}

#[cfg(test)]
#[path = "capture/capture_tests.rs"]
mod tests;
