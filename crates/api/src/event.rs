//! What the engine tells and every sink receives: an event with the processes it concerns.
//!
//! The compatible protobuf messages are one form of these types and the JSON line is another; both are
//! written by [`crate::json`] and [`crate::proto`]. A [`Process`] never changes once it is shared, so its
//! encoded forms are made at most once and copied into each event by bytes.

mod argument;
mod hook;
mod shown;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use argument::{Argument, ArgumentValue, EncodedSocket, Name, Object, ObjectKind, Socket, SocketKind};
pub(crate) use argument::{NO_ADDRESS, PATH_CUT};
pub use hook::{
    Arguments, Caller, EncodedHook, Family, Frame, HookEvent, HookInfo, HookMore, Loaded, Request, Seldom,
};

/// Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// Something that happened, complete in itself.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it happened in the kernel.
    pub time: Timestamp,
    /// Node it happened on; the same string for all events of an agent.
    pub node: Arc<Node>,
    /// What happened.
    pub kind: EventKind,
}

/// Fields that every event of an agent carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `node_name`.
    pub name: String,
    /// `cluster_name`; empty: left out.
    pub cluster: String,
    /// `node_labels`.
    pub labels: Vec<(String, String)>,
}

/// The kinds of events. The compatible kinds carry the number of their protobuf field.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "most events are the largest: one piece of memory for each and not two"
)]
pub enum EventKind {
    /// `process_exec` (1). Also a process that was there before the agent (flag `procFS`) or that was found
    /// again after a loss (flag `reconstructed` in [`ProcessExtra::reconstructed`]).
    Exec(ExecEvent),
    /// `process_exit` (5).
    Exit(ExitEvent),
    /// `process_kprobe` (9), `process_tracepoint` (10), `process_loader` (11), `process_uprobe` (12),
    /// `process_lsm` (28) or `process_usdt` (29).
    Hook(HookEvent),
    /// `gap`: records that did not reach the agent. Ours; not part of the compatible service.
    Gap(GapEvent),
}

/// A process as an event shows it.
#[derive(Clone, Debug)]
pub struct ProcessView {
    /// Its identity.
    pub process: Arc<Process>,
    /// References held in the process table at the time: one while alive and one for each live child.
    pub refcnt: u32,
}

/// A program was executed.
#[derive(Clone, Debug)]
pub struct ExecEvent {
    /// The process as of its exec.
    pub process: ProcessView,
    /// Who created it; `None`: unknown or none.
    pub parent: Option<ProcessView>,
    /// From the grandparent upwards; empty unless asked for.
    pub ancestors: Vec<ProcessView>,
}

/// A process ended.
#[derive(Clone, Debug)]
pub struct ExitEvent {
    /// The process as of its last exec (or creation).
    pub process: ProcessView,
    /// Who created it.
    pub parent: Option<ProcessView>,
    /// From the grandparent upwards; empty unless asked for.
    pub ancestors: Box<[ProcessView]>,
    /// Signal that killed it (1 to 64); 0: none.
    pub signal: u8,
    /// A core was dumped.
    pub core_dumped: bool,
    /// Exit status (0 to 255).
    pub status: u32,
    /// Thread whose end was the end of the process.
    pub tid: u32,
    /// Credentials when it ended; `None`: the record had none.
    pub creds: Option<Box<Credentials>>,
    /// Whom it was re-parented to, if its parent had ended before it.
    pub reparented_to: Option<Arc<str>>,
    /// Its end was not seen: records were lost, and a later scan no longer found it. Signal, status and
    /// credentials are unknown then.
    pub reconstructed: bool,
}

/// Records that were produced in the kernel and never decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GapEvent {
    /// Records lost.
    pub lost: u64,
    /// CPU whose sequence has the gap; `None`: a loss of a later stage.
    pub cpu: Option<u32>,
    /// First sequence number missing on this CPU.
    pub first_seq: u64,
    /// Last sequence number missing on this CPU.
    pub last_seq: u64,
    /// Where: `sensor` (the kernel did not run it: the number is the most that may be missing), `kernel`, `reader`,
    /// `decoder`, or the name of a sink.
    pub stage: &'static str,
    /// Why, as far as the counters tell: cause and number, e.g. `("ring_full", 12)`.
    pub causes: Vec<(&'static str, u64)>,
}

/// Which optional fields of a process are shown. Fixed for an agent, so that encoded forms can be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// `cap` and `process_credentials` (`--enable-process-cred`), and `binary_properties` of exec events.
    pub credentials: bool,
    /// `ns` (`--enable-process-ns`).
    pub namespaces: bool,
    /// Our own names beside the compatible ones.
    pub extras: bool,
}

/// Identity of a process from one exec (or its creation) to the next.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// `exec_id`: base64 of `NODE:KTIME:PID`.
    pub exec_id: Arc<str>,
    /// Thread-group id in the host's PID namespace.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Login user id; 4294967295: unset.
    pub auid: u32,
    /// Working directory at the exec.
    pub cwd: Arc<str>,
    /// The executed path, absolute: as given, joined with the working directory when relative.
    pub binary: Arc<str>,
    /// `argv[1..]`, joined as the compatible form wants it.
    pub arguments: Box<str>,
    /// Names of flags, space-separated.
    pub flags: Arc<str>,
    /// Time of the exec or of the creation.
    pub start_time: Timestamp,
    /// `exec_id` of the parent; empty: none.
    pub parent_exec_id: Arc<str>,
    /// First 31 characters of the container id; empty: no container.
    pub docker: Box<str>,
    /// The pod of the container, with the container in it; `None`: not known, or none.
    pub pod: Option<Arc<crate::tetragon::Pod>>,
    /// Credentials as of the exec or creation; `None`: not known.
    pub creds: Option<Box<Credentials>>,
    /// Namespaces; `None`: not known.
    pub namespaces: Option<Box<Namespaces>>,
    /// Shown on exec events only.
    pub binary_properties: Option<Box<BinaryProperties>>,
    /// `user.name`.
    pub user: Option<Box<str>>,
    /// Descends from the first process of its container. `None`: not known.
    pub in_init_tree: Option<bool>,
    /// Name and value, filtered and in order; empty unless asked for.
    pub environment: Vec<(Box<str>, Box<str>)>,
    /// What only Saker tells.
    pub extra: Box<ProcessExtra>,
    /// Which of these fields are shown.
    pub visible: Visible,
    /// Encoded forms, filled by [`crate::json`] and [`crate::proto`] on first use.
    pub encoded: Encoded,
}

/// Fields of a process beyond the compatible ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessExtra {
    /// `canonical_path`: the file that is executed, as the kernel resolved it; for a script its interpreter.
    pub canonical_path: Arc<str>,
    /// `inode` of that file; 0: unknown.
    pub inode: u64,
    /// `device` of that file, (major, minor).
    pub device: (u32, u32),
    /// `interpreter`: what the script's first line names; empty: not a script.
    pub interpreter: Box<str>,
    /// `script`: path of the script, absolute; empty: not a script.
    pub script: Box<str>,
    /// `tty`: name of the controlling terminal, e.g. `pts/3`; empty: none.
    pub tty: Box<str>,
    /// `session_id`: PID of the session leader; 0: unknown.
    pub session_id: u32,
    /// `process_group`: PID of the process group's leader; 0: unknown.
    pub process_group: u32,
    /// `audit_session`: login session of the audit subsystem; 4294967295: unset.
    pub audit_session: u32,
    /// `ns_pid`: its PID in its own PID namespace; 0: it is in the host's.
    pub ns_pid: u32,
    /// `exec_tid`: thread that called execve when it was not the leader; 0: the leader, or no exec.
    pub exec_tid: u32,
    /// `cgroup_id`: id of its control group (version 2); 0: unknown.
    pub cgroup_id: u64,
    /// `memfd`: runs from anonymous memory made by memfd_create.
    pub memfd: bool,
    /// `deleted`: runs from a file without a name.
    pub deleted: bool,
    /// `no_new_privs`: the flag of the same name is set.
    pub no_new_privs: bool,
    /// `argv`: the exact arguments, `argv[0]` included, each lossily decoded; filled only when the joined form
    /// is ambiguous (an argument holds a space, a quote, a control character, invalid UTF-8, or is empty).
    pub argv: Vec<Box<str>>,
    /// `arguments_length`: bytes of the whole argument vector when it was cut; 0: complete.
    pub arguments_length: u64,
    /// `environment_length`: likewise of the environment.
    pub environment_length: u64,
    /// `reparented_to`: `exec_id` of the present parent when the creator has ended; empty: the creator.
    pub reparented_to: Arc<str>,
    /// `previous_exec_id`: the same process before this exec; empty: none, or it was created only now.
    pub previous_exec_id: Arc<str>,
    /// `command`: the kernel's name of the task (`comm`).
    pub command: Arc<str>,
    /// `reconstructed`: found by a scan after records were lost.
    pub reconstructed: bool,
}

/// Credentials of a task, ids of the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's standard names")]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    pub fsuid: u32,
    pub fsgid: u32,
    pub securebits: u32,
    pub userns_level: u32,
    pub userns_uid: u32,
    pub userns_gid: u32,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
}

/// One namespace of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Inode number; 0: this kernel has no such namespace.
    pub inum: u32,
    /// The same as that of the host's first process.
    pub is_host: bool,
}

/// Namespaces of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's standard names")]
pub struct Namespaces {
    pub uts: Namespace,
    pub ipc: Namespace,
    pub mnt: Namespace,
    pub pid: Namespace,
    pub pid_for_children: Namespace,
    pub net: Namespace,
    pub time: Namespace,
    pub time_for_children: Namespace,
    pub cgroup: Namespace,
    pub user: Namespace,
}

/// Why privileges rose at an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegesChanged {
    /// `PRIVILEGES_RAISED_EXEC_FILE_CAP`
    FileCapabilities = 1,
    /// `PRIVILEGES_RAISED_EXEC_FILE_SETUID`
    FileSetuid = 2,
    /// `PRIVILEGES_RAISED_EXEC_FILE_SETGID`
    FileSetgid = 3,
}

/// What the executed file brought with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BinaryProperties {
    /// Effective user id gained from a set-user-ID file.
    pub setuid: Option<u32>,
    /// Effective group id gained from a set-group-ID file.
    pub setgid: Option<u32>,
    /// Why privileges rose.
    pub privileges_changed: Vec<PrivilegesChanged>,
    /// Present when the file has no name left: inode number, links, path.
    pub unlinked: Option<(u64, u32, Box<str>)>,
}

/// Encoded forms of a [`Process`], made on first use.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Its JSON object without the closing brace, so that what differs by event can be appended.
    pub json: OnceLock<JsonForm>,
    /// Fields of its protobuf message that do not differ by event; those that a hook tells anew last.
    pub proto: OnceLock<ProtoForm>,
    /// The protobuf message of its [`ProcessExtra`], likewise; made only for receivers of our own interface.
    pub extra: OnceLock<ProtoForm>,
}

/// The JSON of a process, and where in it stands what an event of a hook replaces.
#[derive(Clone, Debug, Default)]
pub struct JsonForm {
    /// The text.
    pub text: Box<[u8]>,
    /// The thread, with its key; empty: not told.
    pub tid: Range<usize>,
    /// Capabilities and credentials.
    pub creds: Range<usize>,
    /// Namespaces.
    pub namespaces: Range<usize>,
    /// What only Saker tells of the credentials.
    pub more_creds: Range<usize>,
}

/// The protobuf bytes of a process, and where those begin that an event of a hook replaces.
#[derive(Clone, Debug, Default)]
pub struct ProtoForm {
    /// The bytes.
    pub bytes: Box<[u8]>,
    /// Fields from here on depend on the thread.
    pub of_thread: usize,
}

impl Clone for Encoded {
    /// A clone is about to be changed, so it starts without encoded forms.
    fn clone(&self) -> Self {
        Self::default()
    }
}
