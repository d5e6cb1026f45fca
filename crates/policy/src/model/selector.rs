//! Selectors and their filters on processes and workloads.

use super::{Action, ArgumentFilter};
use crate::diagnostic::{Span, Spanned};
use crate::values::{FileHash, Glob};
use crate::words::{CapabilitySet, Namespace, WithoutHash};

/// A selector: all filters must hold, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// Where it stands.
    pub span: Span,
    /// Name; empty: none.
    pub label: String,
    /// Workloads.
    pub workloads: Option<WorkloadFilter>,
    /// Program of the process.
    pub binaries: Vec<BinaryFilter>,
    /// Program of its parent.
    pub parent_binaries: Vec<BinaryFilter>,
    /// Number of the process.
    pub pids: Vec<PidFilter>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceFilter>,
    /// Its capabilities.
    pub capabilities: Vec<CapabilityFilter>,
    /// Namespaces that changed.
    pub namespace_changes: Vec<NamespaceChangeFilter>,
    /// Capabilities that changed.
    pub capability_changes: Vec<CapabilityFilter>,
    /// Captured arguments.
    pub arguments: Vec<ArgumentFilter>,
    /// Captured data.
    pub data: Vec<ArgumentFilter>,
    /// Hash or build id of the hook's file.
    pub file_hashes: Option<FileHashFilter>,
    /// What to do at the call; none: post.
    pub actions: Vec<Action>,
    /// The value returned.
    pub return_arguments: Vec<ArgumentFilter>,
    /// What to do at the return; none: post.
    pub return_actions: Vec<Action>,
}

impl Selector {
    /// Whether every call matches.
    #[must_use]
    pub fn has_no_filters(&self) -> bool {
        self.workloads.is_none()
            && self.binaries.is_empty()
            && self.parent_binaries.is_empty()
            && self.pids.is_empty()
            && self.namespaces.is_empty()
            && self.capabilities.is_empty()
            && self.namespace_changes.is_empty()
            && self.capability_changes.is_empty()
            && self.arguments.is_empty()
            && self.data.is_empty()
            && self.file_hashes.is_none()
    }
}

/// Which workloads. What is none does not restrict; if no pod or container is asked for, containers are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Where it stands.
    pub span: Span,
    /// Pods.
    pub pods: Option<LabelSelector>,
    /// Containers, by the labels `name` and `repo`.
    pub containers: Option<LabelSelector>,
    /// Processes outside of containers.
    pub host: bool,
}

/// Conditions on labels; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The conditions; none selects everything.
    pub conditions: Vec<LabelCondition>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelCondition {
    /// The label has one of these values.
    In {
        /// The label.
        key: String,
        /// The values.
        values: Vec<String>,
    },
    /// The label has none of these values, or is absent.
    NotIn {
        /// The label.
        key: String,
        /// The values.
        values: Vec<String>,
    },
    /// The label is there.
    Exists(String),
    /// The label is not there.
    Missing(String),
}

/// A condition on the path of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryFilter {
    /// Where it stands.
    pub span: Span,
    /// No value may fit, instead of one.
    pub negated: bool,
    /// The values.
    pub test: PathTest,
    /// Also descendants of such a process.
    pub follow_children: bool,
}

/// A comparison of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTest {
    /// Equal to one of these.
    Equal(Vec<Spanned<String>>),
    /// Begins with one of these.
    Prefix(Vec<Spanned<String>>),
    /// Ends with one of these.
    Postfix(Vec<Spanned<String>>),
    /// Fits one of these.
    Glob(Vec<Spanned<Glob>>),
}

/// A condition on the number of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidFilter {
    /// Where it stands.
    pub span: Span,
    /// No number may be equal, instead of one.
    pub negated: bool,
    /// The numbers.
    pub values: Vec<u32>,
    /// As seen in the PID namespace of the process.
    pub in_namespace: bool,
    /// Also descendants of such a process.
    pub follow_forks: bool,
}

/// A condition on a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFilter {
    /// Where it stands.
    pub span: Span,
    /// Which kind.
    pub namespace: Namespace,
    /// It must be none, instead of one.
    pub negated: bool,
    /// Which ones.
    pub values: Vec<NamespaceValue>,
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceValue {
    /// That of the host.
    Host,
    /// That with this inode number.
    Inode(u32),
}

/// A condition on changes of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChangeFilter {
    /// Where it stands.
    pub span: Span,
    /// A kind that is not named must have changed, instead of one that is.
    pub negated: bool,
    /// The kinds.
    pub namespaces: Vec<Namespace>,
}

/// A condition on a capability set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityFilter {
    /// Where it stands.
    pub span: Span,
    /// Which set.
    pub set: CapabilitySet,
    /// None, instead of one; of changes one that is not named.
    pub negated: bool,
    /// Only processes outside of the host's user namespace.
    pub namespaced: bool,
    /// The capabilities, one bit each.
    pub capabilities: u64,
}

/// A condition on the hash or build id of a hook's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashFilter {
    /// Where it stands.
    pub span: Span,
    /// Its field: `matchFileHashes` or `matchBuildIds`.
    pub field: &'static str,
    /// It must be none, instead of one.
    pub negated: bool,
    /// The hashes.
    pub values: Vec<Spanned<FileHash>>,
    /// What is done about a file whose hash cannot be computed.
    pub without: WithoutHash,
}
