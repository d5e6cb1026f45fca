//! Plans: what a checked policy becomes for one kernel.
//!
//! A plan is pure data: how to attach each hook, what its program is told in read-only data (`saker_plan`), and the
//! entries of the sets it refers to. It is made from a checked policy and what a [`Kernel`] says of itself; loading it
//! is another crate's.

mod choices;
pub mod cost;
mod group;
mod lower;
mod pattern;

pub use choices::Choices;
pub use group::{SocketCall, SocketPrograms};
pub use lower::{lower, lower_with};
pub use pattern::{Packed, Pattern, pack};

use saker_abi::generated::{
    SAKER_OP_BINARY, SAKER_OP_FOLLOWED, SAKER_OP_PARENT_BINARY, SAKER_OP_PARENT_FOLLOWED, SAKER_SHORT_MAX,
    saker_clause, saker_column, saker_network_key, saker_number_key, saker_piece, saker_plan,
    saker_prefix_key, saker_text_key,
};

use crate::diagnostic::{Diagnostic, Span};
use crate::matcher::{Container, workload};
use crate::model::LabelSelector;
use crate::values::HashAlgorithm;

/// How a hook is attached. Functions are named as the kernel names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Entry of a function, by a trampoline; with its return if asked for.
    Trampoline {
        /// The function.
        function: String,
        /// Also its return.
        on_return: bool,
    },
    /// Return of a function, by a trampoline, where the entry is looked at too: for functions that leave their arguments
    /// as they are. The plan has `SAKER_PLAN_AT_EXIT`.
    Exit {
        /// The function.
        function: String,
    },
    /// Entry of a function that decides about an operation, by a program that may decide in its place (`fmod_ret`); with
    /// its return if asked for.
    Decision {
        /// The function: `security_…`, or that of a system call.
        function: String,
        /// Also its return, where it was called.
        on_return: bool,
    },
    /// Entry of a function, by a kprobe; with its return if asked for.
    Kprobe {
        /// The function.
        function: String,
        /// Also its return.
        on_return: bool,
    },
    /// Entries of several functions by one program, by kprobes; with their returns if asked for. It is told at which it
    /// runs, for which its plan has `SAKER_PLAN_COOKIE`.
    Kprobes {
        /// The functions, each with what records tell in `saker_hook.function`.
        functions: Vec<(String, u64)>,
        /// Also their returns.
        on_return: bool,
        /// All in one step (kprobe.multi); otherwise one by one.
        at_once: bool,
    },
    /// A hook of the security modules, without `bpf_lsm_`.
    Lsm(String),
    /// Calls of sockets, by programs of a control group for IPv4 and for IPv6, which may decide in their place.
    Group {
        /// Which calls.
        call: SocketCall,
        /// The directory of the control group.
        group: String,
    },
    /// A BTF raw tracepoint.
    RawTracepoint(String),
    /// System calls, by the raw tracepoints of all; the plan says which.
    Syscalls {
        /// Also their returns.
        on_return: bool,
    },
    /// A tracepoint by its record, as [`crate::tracepoint::Format`] describes it.
    Tracepoint {
        /// Subsystem.
        subsystem: String,
        /// Event.
        event: String,
    },
    /// Places in a program or library, which need not be functions; with their returns if asked for.
    Uprobe {
        /// The file, as the agent finds it.
        path: String,
        /// What it was when the places were looked up. They would be anywhere in another file.
        file: FileMark,
        /// Where in it; at least one.
        places: Vec<UserPlace>,
        /// Also their returns; the places are functions then.
        on_return: bool,
        /// All in one step (uprobe.multi); otherwise one by one.
        at_once: bool,
    },
}

/// What tells a file from another, and from what it was before it was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileMark {
    /// Device, as `stat` has it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub changed: i128,
}

/// A place in a program or library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserPlace {
    /// Where its instruction stands in the file, in bytes.
    pub offset: u64,
    /// Where its semaphore stands in the file, in bytes: a counter that the kernel keeps above zero while the place is
    /// probed. 0: none.
    pub semaphore: u64,
    /// What records tell in `saker_hook.function`. For plans with `SAKER_PLAN_COOKIE`, which need Linux 5.15; without
    /// it the number in the plan is told.
    pub function: u64,
}

impl Attach {
    /// Its name in status and explanations.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Trampoline { on_return: false, .. } => "fentry",
            Self::Trampoline { on_return: true, .. } => "fentry and fexit",
            Self::Exit { .. } => "fexit",
            Self::Decision { on_return: false, .. } => "fmod_ret",
            Self::Decision { on_return: true, .. } => "fmod_ret and fexit",
            Self::Kprobe { on_return: false, .. }
            | Self::Kprobes { on_return: false, at_once: false, .. } => "kprobe",
            Self::Kprobe { on_return: true, .. } | Self::Kprobes { on_return: true, at_once: false, .. } => {
                "kprobe and kretprobe"
            }
            Self::Kprobes { on_return: false, .. } => "kprobe.multi",
            Self::Kprobes { on_return: true, .. } => "kprobe.multi and kretprobe.multi",
            Self::Lsm(_) => "lsm",
            Self::Group { call: SocketCall::Connect, .. } => "cgroup connect4 and connect6",
            Self::Group { call: SocketCall::Bind, .. } => "cgroup bind4 and bind6",
            Self::Group { call: SocketCall::Send, .. } => "cgroup sendmsg4 and sendmsg6",
            Self::RawTracepoint(_) => "raw tracepoint",
            Self::Syscalls { .. } => "raw system call tracepoints",
            Self::Tracepoint { .. } => "tracepoint",
            Self::Uprobe { on_return: false, at_once: false, .. } => "uprobe",
            Self::Uprobe { on_return: true, at_once: false, .. } => "uprobe and uretprobe",
            Self::Uprobe { on_return: false, .. } => "uprobe.multi",
            Self::Uprobe { on_return: true, .. } => "uprobe.multi and uretprobe.multi",
        }
    }

    /// Whether it is attached to several places in one step.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        matches!(self, Self::Kprobes { at_once: true, .. } | Self::Uprobe { at_once: true, .. })
    }

    /// The same, attached to one place after the other.
    #[must_use]
    pub fn one_by_one(&self) -> Self {
        let mut attach = self.clone();
        if let Self::Kprobes { at_once, .. } | Self::Uprobe { at_once, .. } = &mut attach {
            *at_once = false;
        }
        attach
    }
}

/// Entries of the sets that the plans of a policy refer to.
#[derive(Clone, Default)]
pub struct Sets {
    /// Numbers.
    pub numbers: Vec<saker_number_key>,
    /// Texts and suffixes.
    pub texts: Vec<saker_text_key>,
    /// Prefixes.
    pub prefixes: Vec<saker_prefix_key>,
    /// Networks.
    pub networks: Vec<saker_network_key>,
    /// Texts too long for one key, piece by piece.
    pub pieces: Vec<(saker_text_key, saker_piece)>,
    /// Columns of patterns, by their number.
    pub columns: Vec<saker_column>,
    /// Files by what they are.
    pub files: Vec<NamedFiles>,
}

/// A set of files, each by a path that leads to it when the plan is loaded, and to another one when it is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedFiles {
    /// Number of the set.
    pub set: u32,
    /// Absolute paths.
    pub paths: Vec<Vec<u8>>,
}

/// One filter on binaries, or on what a process comes from, which is one bit of what is known of processes. Paths are of
/// any length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BinaryTest {
    /// The path is one of these.
    Equal(Vec<Vec<u8>>),
    /// It begins with one of these.
    Prefix(Vec<Vec<u8>>),
    /// It ends with one of these.
    Postfix(Vec<Vec<u8>>),
    /// It fits one of these.
    Pattern(Vec<Pattern>),
    /// The number of the process is one of these.
    Pids(Vec<u32>),
    /// The number that it has in its own PID namespace, when that is not the first, is one of these.
    NamespacePids(Vec<u32>),
    /// This is so of the process, was when it ran another program, or is so of one that it descends from. Not within
    /// another of its kind.
    Followed(Box<BinaryTest>),
}

impl BinaryTest {
    /// Bytes of a path that the kernel side looks up; longer ones are patterns for it.
    pub const LOOKED_UP: usize = SAKER_SHORT_MAX as usize;

    /// The test itself, whether it is followed or not.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::Followed(test) => test,
            test => test,
        }
    }

    /// Its texts; of patterns and numbers there are none.
    #[must_use]
    pub fn texts(&self) -> &[Vec<u8>] {
        match self.inner() {
            Self::Equal(texts) | Self::Prefix(texts) | Self::Postfix(texts) => texts,
            Self::Pattern(_) | Self::Pids(_) | Self::NamespacePids(_) | Self::Followed(_) => &[],
        }
    }

    /// Its texts that the kernel side looks up.
    pub fn looked_up(&self) -> impl Iterator<Item = &[u8]> {
        self.texts().iter().map(Vec::as_slice).filter(|text| text.len() <= Self::LOOKED_UP)
    }

    /// What the kernel side has as patterns: they say the same as the texts that are not looked up.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let of: fn(&[u8]) -> Pattern = match self.inner() {
            Self::Equal(_) => Pattern::whole,
            Self::Prefix(_) => Pattern::beginning,
            Self::Postfix(_) => Pattern::ending,
            Self::Pattern(patterns) => return patterns.clone(),
            Self::Pids(_) | Self::NamespacePids(_) | Self::Followed(_) => return Vec::new(),
        };
        self.texts().iter().filter(|text| text.len() > Self::LOOKED_UP).map(|text| of(text)).collect()
    }
}

/// One filter on workloads, which is one bit of what is known of a container, or of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadTest {
    /// Only pods of this namespace.
    pub namespace: Option<String>,
    /// Pods; none does not restrict.
    pub pods: Option<LabelSelector>,
    /// Containers, by the labels `name` and `repo`; none does not restrict. Without both, no container is meant.
    pub containers: Option<LabelSelector>,
    /// Processes outside of containers.
    pub host: bool,
}

impl WorkloadTest {
    /// Whether it can be told only of containers whose pod is known.
    #[must_use]
    pub fn asks_for_names(&self) -> bool {
        self.namespace.is_some() || self.pods.is_some() || self.containers.is_some()
    }

    /// Whether processes of this container fulfil it; of none, those of the host.
    #[must_use]
    pub fn holds(&self, container: Option<&Container>) -> bool {
        let namespace = |scope: &String| container.is_some_and(|own| own.namespace == *scope);
        self.namespace.as_ref().is_none_or(namespace)
            && workload::selects(self.pods.as_ref(), self.containers.as_ref(), self.host, container)
    }
}

/// What an event tells of its hook, beside what the record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookText {
    /// Function, LSM hook without `bpf_lsm_`, system call with the prefix of the architecture, or symbol of a uprobe.
    pub function: String,
    /// Of a tracepoint; of a declared probe its provider.
    pub subsystem: String,
    /// Of a tracepoint; of a declared probe its name.
    pub event: String,
    /// Text for people.
    pub message: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Labels of the captured values, in the order of records; empty: none.
    pub labels: Vec<String>,
    /// How many of the captured values are arguments; the others are data.
    pub arguments: usize,
    /// Where each captured value, in the order of records, stands among the arguments and then the data of the policy;
    /// empty: in the same order. What is read at the return comes last in records.
    pub positions: Vec<usize>,
    /// Program or library of a uprobe or declared probe, as the policy names it.
    pub path: String,
    /// Offset in the file of a uprobe that was not given by symbol.
    pub offset: u64,
    /// Offset in the file of a uprobe's semaphore; 0: none.
    pub ref_ctr_offset: u64,
    /// Names by what `saker_hook.function` says (an address or the number of a system call), for hooks of several.
    pub functions: Vec<(u64, String)>,
    /// Its events may tell callers, for whose names much is read: better before the first.
    pub stacks: bool,
    /// The return of a call may be left out on purpose: filters, rate limits or `NoPost` apply to it. Then an
    /// entry without its return is no event, and only counted.
    pub conditional_return: bool,
    /// What the agent asks of the network when an event is told.
    pub requests: Vec<SelectorRequest>,
}

/// What the agent asks of the network when a selector matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorRequest {
    /// The selector, from 0.
    pub selector: u16,
    /// For what matched at the return.
    pub at_return: bool,
    /// What is asked.
    pub request: Request,
}

/// A request that is made of the network, and whose answer nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To fetch this address, as [`crate::values::parse_url`] reads it.
    Url(String),
    /// To look this name up, as [`crate::values::parse_name`] gives it.
    Name(String),
}

/// A hook to load.
#[derive(Clone)]
pub struct HookPlan {
    /// Where it stands in the policy.
    pub span: Span,
    /// Its field, such as `spec.kprobes[0]`.
    pub path: String,
    /// How to attach it.
    pub attach: Attach,
    /// What it does. `policy` and `hook` are set when it is loaded.
    pub plan: Box<saker_plan>,
    /// For events.
    pub text: HookText,
    /// Functions of a list that this kernel does not have, and that may be missing.
    pub missing: Vec<String>,
    /// Why it is not attached in the way that would be taken first; empty: it is.
    pub note: String,
}

impl HookPlan {
    /// What is hooked, in status and explanations: a function, the first of several, or a tracepoint.
    #[must_use]
    pub fn target(&self) -> String {
        let text = &self.text;
        match (text.function.as_str(), text.functions.as_slice()) {
            ("", [(_, first), rest @ ..]) if !rest.is_empty() => format!("{first} and {} more", rest.len()),
            ("", [(_, only)]) => only.clone(),
            ("", []) if !text.subsystem.is_empty() => format!("{}/{}", text.subsystem, text.event),
            ("", []) => text.event.clone(),
            (function, _) => function.to_owned(),
        }
    }
}

/// Whether a clause asks for the bit of a [`BinaryTest`].
#[must_use]
pub fn asks_for_bit(clause: &saker_clause) -> bool {
    let ops = [SAKER_OP_BINARY, SAKER_OP_FOLLOWED, SAKER_OP_PARENT_BINARY, SAKER_OP_PARENT_FOLLOWED];
    ops.contains(&u32::from(clause.op))
}

/// A policy made for a kernel.
#[derive(Clone, Default)]
pub struct PolicyPlan {
    /// Hooks, in the order of the policy.
    pub hooks: Vec<HookPlan>,
    /// Sets of all its hooks.
    pub sets: Sets,
    /// Filters on binaries and on what processes come from. A clause that [`asks_for_bit`] names one by position in its
    /// `first`; the loader gives each its bit and puts that in instead.
    pub binaries: Vec<BinaryTest>,
    /// Filters on workloads. Bits of `saker_plan.workload`, and the `first` of clauses with `SAKER_OP_WORKLOAD`, name
    /// them by position; the loader puts in what bit each has.
    pub workloads: Vec<WorkloadTest>,
    /// What the user should know.
    pub warnings: Vec<Diagnostic>,
}

/// How a value's type is written in the kernel's description of its types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// An integer or enumeration, in bytes.
    Integer {
        /// Bytes.
        size: u32,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A pointer to a structure or union of this name; empty: to something else.
    Pointer(String),
    /// A structure or union by value.
    Structure(String),
    /// Nothing, or something else. At the end of a path: an array.
    Other,
}

/// Arguments and result of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Arguments in order; names may be empty.
    pub arguments: Vec<(String, TypeKind)>,
    /// What it returns.
    pub result: TypeKind,
    /// The verifier lets programs of trampolines read all arguments. It refuses pointers to pointers, to functions, and
    /// to structures of which the description of types has but the name.
    pub readable: bool,
}

/// Where a path through structures leads.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// From the address of the structure: add, load, add, load, … A structure or array is left as its address: the last
    /// step loads nothing.
    pub steps: Vec<saker_abi::generated::saker_step>,
    /// What stands there.
    pub kind: TypeKind,
}

/// Ways of hooking that a kernel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// fentry and fexit.
    pub trampoline: bool,
    /// LSM programs that take effect.
    pub lsm: bool,
    /// kprobe and kretprobe.
    pub kprobe: bool,
    /// A program of a trampoline can lose its CPU while it runs, and is left out for whoever has it meanwhile; so it
    /// must not be what an operation is refused by.
    pub preemptible: bool,
    /// Programs of LSM hooks are left out likewise, as from Linux 5.12 to 6.1 without later corrections.
    pub lsm_left_out: bool,
}

/// What a kernel says of itself. Implemented for the running one, and by tests.
pub trait Kernel {
    /// `uname -r`.
    fn release(&self) -> &str;
    /// Ways of hooking.
    fn mechanisms(&self) -> Mechanisms;
    /// Whether a program that is attached to several places is told at which it runs (Linux 5.15).
    fn tells_places(&self) -> bool {
        false
    }
    /// Whether a program can be attached to several functions in one step (kprobe.multi, Linux 5.18).
    fn hooks_functions_at_once(&self) -> bool {
        false
    }
    /// Whether that can be done with their returns too, so that calls are told from each other.
    fn hooks_returns_at_once(&self) -> bool {
        false
    }
    /// Why the kernel takes no kprobe at a function that it has, as it does at some that are kept from tracing; none: it
    /// takes one.
    fn refuses_kprobe(&self, function: &str) -> Option<String> {
        let _ = function;
        None
    }
    /// Whether a program can be attached to several places of a file in one step (uprobe.multi, Linux 6.6).
    fn hooks_places_at_once(&self) -> bool {
        false
    }
    /// Whether files can be hashed at this hook of the security modules; `Err` says why not.
    ///
    /// # Errors
    /// The reason, in words.
    fn hashes_files(&self, hook: &str) -> Result<(), String> {
        let _ = hook;
        Err("it is not known whether this kernel hashes files".to_owned())
    }
    /// The algorithm by which IMA hashes files.
    ///
    /// # Errors
    /// It is not known; the reason in words.
    fn hash_algorithm(&self) -> Result<HashAlgorithm, String> {
        Err("it is not known by which algorithm this kernel hashes files".to_owned())
    }
    /// Whether programs at this hook of the security modules may read its file; `Err` says why not.
    ///
    /// # Errors
    /// The reason, in words.
    fn reads_files(&self, hook: &str) -> Result<(), String> {
        Err(format!("it is not known whether programs at {hook} may read files"))
    }
    /// Whether programs at uprobes may change registers, and the probed program goes on with them (Linux 6.18).
    ///
    /// # Errors
    /// They may not; the reason in words.
    fn changes_registers(&self) -> Result<(), String> {
        Err("it is not known whether it does".to_owned())
    }
    /// Whether programs may give a result in place of system calls, at the functions that serve them.
    ///
    /// # Errors
    /// They may not; the reason in words.
    fn overrides_calls(&self) -> Result<(), String> {
        Err("it is not known whether it was built with error injection".to_owned())
    }
    /// Whether programs at uprobes may write into the memory of the probed program.
    ///
    /// # Errors
    /// They may not; the reason in words.
    fn writes_memory(&self) -> Result<(), String> {
        Err("it is not known whether it does".to_owned())
    }
    /// Whether several functions have this name, so that it does not say which is meant.
    fn is_ambiguous(&self, name: &str) -> bool {
        let _ = name;
        false
    }
    /// A function that can be hooked.
    fn function(&self, name: &str) -> Option<Signature>;
    /// Whether there is a function of this name, also one whose arguments are not described.
    fn symbol(&self, name: &str) -> bool {
        self.function(name).is_some()
    }
    /// A tracepoint by the name of its event, with the arguments a raw one sees.
    fn tracepoint(&self, event: &str) -> Option<Signature>;
    /// The record of a tracepoint.
    ///
    /// # Errors
    /// There is no such tracepoint, or its record is not known; in words.
    fn format(&self, subsystem: &str, event: &str) -> Result<crate::tracepoint::Format, String> {
        Err(format!("the fields of {subsystem}/{event} are not known"))
    }
    /// A program or library.
    ///
    /// # Errors
    /// The file is not there or cannot be probed; in words.
    fn program(&self, path: &str) -> Result<Box<dyn crate::programs::Program>, String> {
        Err(format!("{path} cannot be looked at"))
    }
    /// A hook of the security modules, without `bpf_lsm_`.
    fn lsm_hook(&self, name: &str) -> Option<Signature>;
    /// The path of member names (each with an optional index) from a structure.
    ///
    /// # Errors
    /// What is not there, in words.
    fn resolve(&self, structure: &str, path: &[crate::values::Step]) -> Result<Resolved, String>;
    /// The same from a structure of a kernel module.
    ///
    /// # Errors
    /// What is not there, in words.
    fn resolve_in(
        &self,
        module: &str,
        structure: &str,
        path: &[crate::values::Step],
    ) -> Result<Resolved, String> {
        let _ = (structure, path);
        Err(format!("the types of the module {module} are not known"))
    }
    /// The same from a structure of a program, whose types are described in a file.
    ///
    /// # Errors
    /// What is not there, in words.
    fn resolve_of_program(
        &self,
        file: &str,
        structure: &str,
        path: &[crate::values::Step],
    ) -> Result<Resolved, String> {
        let _ = (structure, path);
        Err(format!("the types described in {file} are not known"))
    }
    /// Number of a system call of the machine's own ABI, by its name without prefix.
    fn syscall(&self, name: &str) -> Option<u32>;
    /// The number that a system call has for 32-bit programs; none: there is none, or the kernel runs no such programs.
    fn narrow_syscall(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }
    /// All system calls of 32-bit programs, with their numbers; none: it runs no such programs.
    fn narrow_syscalls(&self) -> Vec<(String, u32)> {
        Vec::new()
    }
    /// All system calls of the machine's own ABI: name without prefix, and number.
    fn syscalls(&self) -> Vec<(String, u32)>;
    /// Prefix of the functions of system calls, e.g. `__x64_sys_`.
    fn syscall_prefix(&self) -> &str;
    /// Functions whose names are most like this one.
    fn nearest(&self, name: &str) -> Vec<String>;
    /// Functions that fit a regular expression.
    fn matching(&self, pattern: &str) -> Vec<String>;
    /// What programs of a control group may do about addresses of sockets; `Err` says why there are none.
    ///
    /// # Errors
    /// The reason, in words.
    fn socket_programs(&self) -> Result<SocketPrograms, String> {
        Err("it is not known whether this kernel has programs of control groups".to_owned())
    }
    /// Whether the containers of processes can be told by their control groups.
    ///
    /// # Errors
    /// They cannot; in words.
    fn control_groups(&self) -> Result<(), String> {
        Ok(())
    }
    /// Inode numbers of the namespaces of the host's first process, in the order of `saker_namespaces`.
    fn host_namespaces(&self) -> saker_abi::NamespaceInums;
}
