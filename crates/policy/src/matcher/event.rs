//! A described event.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::Syscall;
use crate::values::FileHash;
use crate::words::{CapabilitySet, FileType, Namespace};

/// A call of a hook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The process that calls.
    pub process: Process,
    /// The captured values, in the order of `Hook::values`. What is missing could not be read.
    pub values: Vec<Value>,
    /// The value returned; none: the return is not looked at.
    pub returned: Option<Value>,
    /// The content of the hook's file.
    pub content: Content,
}

/// The content of a hook's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// There is none: no file, a device, a folder.
    #[default]
    None,
    /// Its hash cannot be computed.
    Unhashed,
    /// It has this hash.
    Hash(FileHash),
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number: that of the thread group.
    pub pid: u32,
    /// Its number in its own PID namespace, when that is not the host's.
    pub namespace_pid: Option<u32>,
    /// Resolved path of its program; empty: it has none, as kernel threads.
    pub binary: String,
    /// Those of the programs that it ran before.
    pub earlier: Vec<String>,
    /// Its ancestors, the parent first.
    pub ancestors: Vec<Ancestor>,
    /// Its namespaces; what is missing is the host's.
    pub namespaces: BTreeMap<Namespace, NamespaceState>,
    /// Namespaces that changed since it began or last executed, and of which this policy was not told yet.
    pub namespace_changes: Vec<Namespace>,
    /// Its capabilities.
    pub capabilities: CapabilitySets,
    /// Capabilities that were gained or lost since it began or last executed, likewise.
    pub capability_changes: CapabilitySets,
    /// The container it runs in; none: a process of the host.
    pub container: Option<Container>,
}

impl Process {
    /// A namespace of it.
    #[must_use]
    pub fn namespace(&self, namespace: Namespace) -> NamespaceState {
        self.namespaces.get(&namespace).copied().unwrap_or(NamespaceState::Host)
    }
}

/// An ancestor of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub pid: u32,
    /// Its number in its own PID namespace, when that is not the host's.
    pub namespace_pid: Option<u32>,
    /// Resolved path of its program.
    pub binary: String,
    /// Those of the programs that it ran before.
    pub earlier: Vec<String>,
}

/// A namespace of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// That of the host, whose number is not told.
    Host,
    /// One with this inode number that is not the host's.
    Inode(u32),
}

/// Capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CapabilitySets {
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
}

impl CapabilitySets {
    /// One of the sets.
    #[must_use]
    pub fn get(self, set: CapabilitySet) -> u64 {
        match set {
            CapabilitySet::Effective => self.effective,
            CapabilitySet::Inheritable => self.inheritable,
            CapabilitySet::Permitted => self.permitted,
        }
    }
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Repository of its image.
    pub repo: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
}

/// A captured value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It could not be read.
    Failed,
    /// An integer.
    Integer(i128),
    /// A system call by name, in place of its number.
    Syscall(Syscall),
    /// Text without its NUL byte.
    Text(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A path with the mode of its file.
    Path {
        /// The path; empty: the file has none.
        path: Vec<u8>,
        /// Type and permissions, as in `stat`; 0: not known.
        mode: u32,
        /// The path that says which file it is, where that is another one: of a hard link the name by which a policy knows
        /// the file. Empty: `path` does.
        file: Vec<u8>,
    },
    /// A socket or packet.
    Socket(SocketValue),
    /// An address.
    Address {
        /// Its family.
        family: u16,
        /// The address, of internet families.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// The address of a local socket; an abstract name begins with `@`.
    LocalAddress(Vec<u8>),
    /// A set of capabilities, one bit each.
    Capabilities(u64),
    /// Something that no filter looks at.
    Other,
}

/// A socket or packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketValue {
    /// Address family.
    pub family: u16,
    /// Protocol.
    pub protocol: u16,
    /// TCP state; none: it has none, as packets.
    pub state: Option<u16>,
    /// Source address, of internet families.
    pub source: Option<IpAddr>,
    /// Destination address, of internet families.
    pub destination: Option<IpAddr>,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// The type of a file by its mode.
pub(super) fn file_type(mode: u32) -> Option<FileType> {
    match mode & 0o170_000 {
        0o140_000 => Some(FileType::Socket),
        0o120_000 => Some(FileType::Link),
        0o100_000 => Some(FileType::Regular),
        0o060_000 => Some(FileType::Block),
        0o040_000 => Some(FileType::Directory),
        0o020_000 => Some(FileType::Character),
        0o010_000 => Some(FileType::Fifo),
        _ => None,
    }
}

/// The mode of a type of file, without permissions.
pub(crate) fn mode_of(ty: FileType) -> u32 {
    match ty {
        FileType::Socket => 0o140_000,
        FileType::Link => 0o120_000,
        FileType::Regular => 0o100_000,
        FileType::Block => 0o060_000,
        FileType::Directory => 0o040_000,
        FileType::Character => 0o020_000,
        FileType::Fifo => 0o010_000,
    }
}
