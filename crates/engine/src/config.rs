//! What an engine is told when it is made.

use std::fmt;
use std::sync::Arc;

use saker_abi::NamespaceInums;
use saker_api::event::{Family, Node, Visible};
use saker_api::redaction::Redaction;

/// Names of users, given by whoever may read the host's user database.
pub trait UserNames: Send {
    /// Name of a user of the host; `None`: it has none.
    fn name(&mut self, uid: u32) -> Option<Box<str>>;
}

/// Pods of containers, given by whoever asks the container runtime.
pub trait PodNames: Send {
    /// The pod of the container whose id begins with these 31 characters; `None`: it is not known, or of no pod.
    fn pod(&mut self, container: &str) -> Option<Arc<saker_api::tetragon::Pod>>;
}

/// What an engine is told when it is made.
pub struct EngineConfig {
    /// Node that the events come from.
    pub node: Arc<Node>,
    /// Optional fields that are shown; what is not shown is not kept either.
    pub visible: Visible,
    /// Whether frames of stacks show their addresses.
    pub stack_addresses: bool,
    /// Which events carry ancestors.
    pub ancestors: Ancestors,
    /// Entries of the process table, living and retained for their descendants.
    ///
    /// At the bound a new process takes the place of the one whose exit is longest ago, and if all are alive,
    /// of the one that was seen first. Both are counted; descendants then show their parent as `unknown`.
    pub capacity: usize,
    /// Bytes of long values that wait for their exec record. At the bound the oldest are given up and counted,
    /// and their events say that arguments are cut.
    pub pending_bytes: usize,
    /// Wall clock minus CLOCK_BOOTTIME, in nanoseconds.
    pub boot_to_wall: u64,
    /// Namespaces of the host's first process.
    pub host_namespaces: NamespaceInums,
    /// What is kept of environments.
    pub environment: Environment,
    /// What is hidden of arguments and environments.
    pub redaction: Redaction,
    /// Where the kernel's sequence numbers start.
    pub sequence: SequenceBase,
    /// Names of users; `None`: `user` stays empty.
    pub users: Option<Box<dyn UserNames>>,
    /// Pods of containers; `None`: processes show none.
    pub pods: Option<Box<dyn PodNames>>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            node: Arc::default(),
            visible: Visible::default(),
            stack_addresses: false,
            ancestors: Ancestors::default(),
            capacity: 65_536,
            pending_bytes: 8 << 20,
            boot_to_wall: 0,
            host_namespaces: NamespaceInums::default(),
            environment: Environment::default(),
            redaction: Redaction::default(),
            sequence: SequenceBase::One,
            users: None,
            pods: None,
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("node", &self.node.name)
            .field("visible", &self.visible)
            .field("ancestors", &self.ancestors)
            .field("capacity", &self.capacity)
            .field("pending_bytes", &self.pending_bytes)
            .finish_non_exhaustive()
    }
}

/// Which events carry the ancestors of their process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of event")]
pub struct Ancestors {
    /// `process_exec`.
    pub exec: bool,
    /// `process_exit`.
    pub exit: bool,
    /// `process_kprobe`.
    pub kprobe: bool,
    /// `process_tracepoint`.
    pub tracepoint: bool,
    /// `process_uprobe`.
    pub uprobe: bool,
    /// `process_usdt`.
    pub usdt: bool,
    /// `process_lsm`.
    pub lsm: bool,
    /// `process_loader`.
    pub loader: bool,
}

impl Ancestors {
    /// All of them, or none.
    #[must_use]
    pub const fn all(shown: bool) -> Self {
        Self {
            exec: shown,
            exit: shown,
            kprobe: shown,
            tracepoint: shown,
            uprobe: shown,
            usdt: shown,
            lsm: shown,
            loader: shown,
        }
    }

    /// Whether events of hooks carry them.
    pub(crate) const fn of_hooks(self, family: Family) -> bool {
        match family {
            Family::Kprobe => self.kprobe,
            Family::Tracepoint => self.tracepoint,
            Family::Uprobe => self.uprobe,
            Family::Usdt => self.usdt,
            Family::Lsm => self.lsm,
            Family::Loader => self.loader,
        }
    }
}

/// What is kept of environments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Whether variables are shown at all.
    pub enabled: bool,
    /// Names that are shown; empty: all.
    pub names: Vec<String>,
}

impl Environment {
    pub(crate) fn shows(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|shown| shown == name)
    }
}

/// Where the kernel's sequence numbers start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SequenceBase {
    /// The counters were made for this agent: the first record of each CPU is number 1.
    #[default]
    One,
    /// The counters were taken over: the first record or sample of each CPU sets its base.
    Unknown,
}
