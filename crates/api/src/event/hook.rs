//! Events of policies: what a hook saw.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::{Argument, Credentials, Namespaces, ProcessView};
use crate::tetragon::EventType;

/// Captured arguments. Most hooks have one or two, which take no memory of their own.
pub type Arguments = SmallVec<[Argument; 2]>;

/// A hook of a policy matched.
#[derive(Clone, Debug)]
pub struct HookEvent {
    /// The process whose thread called, as of its last exec or its creation.
    pub process: ProcessView,
    /// Who created it; `None`: unknown or none.
    pub parent: Option<ProcessView>,
    /// The thread, as of the event.
    pub caller: Caller,
    /// What is the same in all events of the hook.
    pub hook: Arc<HookInfo>,
    /// What was called: function, hook of the security modules, system call or symbol; empty: has no name.
    pub function: Arc<str>,
    /// Captured arguments, in the order of the policy.
    pub args: Arguments,
    /// What the call returned; kprobes only.
    pub result: Option<Argument>,
    /// `KprobeAction` at the entry.
    pub action: i32,
    /// `KprobeAction` at the return; 0: no return.
    pub return_action: i32,
    /// Selector that matched, from 0; `None`: the hook has none.
    pub selector: Option<u16>,
    /// Identical ones before this that a rate limit held back.
    pub repeats: u32,
    /// Control group at the time; 0: unknown.
    pub cgroup_id: u64,
    /// A return whose entry was not told or was lost.
    pub entry_missing: bool,
    /// The process owns a socket among the arguments; it is not the one that ran.
    pub socket_owner: bool,
    /// It was not known yet in which container the process is, so it may be none that the policy is for.
    pub workload_undecided: bool,
    /// What few events have.
    pub more: Seldom,
}

/// What few events of hooks have.
#[derive(Clone, Debug, Default)]
pub struct HookMore {
    /// From the grandparent upwards; empty unless asked for.
    pub ancestors: Vec<ProcessView>,
    /// Captured values of other sources (`data`); kprobes and uprobes only.
    pub data: Vec<Argument>,
    /// Callers in the kernel, the innermost first; empty unless asked for.
    pub kernel_stack: Vec<Frame>,
    /// Callers in the program, likewise.
    pub user_stack: Vec<Frame>,
    /// Stacks that were asked for and for which the record had no room; empty: none.
    pub stack_missing: &'static str,
    /// Hash of the hook's file by IMA, `algorithm:hex`; empty: not asked for, or missing.
    pub file_hash: String,
    /// Why a hash that was asked for is missing; empty: it is not.
    pub file_hash_missing: &'static str,
    /// The file that was mapped, of the loader's events.
    pub loaded: Option<Loaded>,
    /// Why an entry is told without its return; empty: it is not missing.
    pub return_missing: &'static str,
    /// Why the action was not carried out: `monitor`, `init`, `agent`, `owner`, `workload` or `failed`; empty: it was.
    pub action_withheld: &'static str,
    /// The same of the action at the return.
    pub return_action_withheld: &'static str,
    /// What its policy has the agent ask of the network; in no form of the event.
    pub requests: Vec<Request>,
}

/// [`HookMore`] of an event. It takes memory when something in it is first changed: most events are neither larger nor
/// dearer to make, move and drop for what they do not have.
#[derive(Clone, Debug, Default)]
pub struct Seldom(Option<Box<HookMore>>);

/// Of an event that has nothing of it.
static NOTHING_MORE: HookMore = HookMore {
    ancestors: Vec::new(),
    data: Vec::new(),
    kernel_stack: Vec::new(),
    user_stack: Vec::new(),
    stack_missing: "",
    file_hash: String::new(),
    file_hash_missing: "",
    loaded: None,
    return_missing: "",
    action_withheld: "",
    return_action_withheld: "",
    requests: Vec::new(),
};

impl Seldom {
    /// Nothing in it was ever changed.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl From<HookMore> for Seldom {
    fn from(more: HookMore) -> Self {
        Self(Some(Box::new(more)))
    }
}

impl Deref for Seldom {
    type Target = HookMore;

    #[inline]
    fn deref(&self) -> &HookMore {
        self.0.as_deref().unwrap_or(&NOTHING_MORE)
    }
}

impl DerefMut for Seldom {
    fn deref_mut(&mut self) -> &mut HookMore {
        self.0.get_or_insert_default()
    }
}

/// A request of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To fetch this address.
    Url(Arc<str>),
    /// To look this name up.
    Name(Arc<str>),
}

/// What all events of a hook share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookInfo {
    /// How it was reached.
    pub family: Family,
    /// Number of the policy in the agent; in no form of the event.
    pub policy_number: u32,
    /// `policy_name`.
    pub policy: String,
    /// Namespace of the policy; empty: none.
    pub policy_namespace: String,
    /// `subsys` of a tracepoint, `provider` of a USDT probe.
    pub subsystem: String,
    /// `event` of a tracepoint, `name` of a USDT probe.
    pub event: String,
    /// `path` of a program or library with a uprobe or USDT probe.
    pub path: String,
    /// `offset` of a uprobe that was not given by symbol.
    pub offset: u64,
    /// `ref_ctr_offset` of a uprobe.
    pub ref_ctr_offset: u64,
    /// `message`.
    pub message: String,
    /// `tags`.
    pub tags: Vec<String>,
    /// Encoded forms, filled on first use.
    pub encoded: EncodedHook,
}

/// Encoded forms of a [`HookInfo`], made on first use.
#[derive(Debug, Default)]
pub struct EncodedHook {
    /// Members of its JSON object that are the same in all events, each after a comma.
    pub json: OnceLock<Box<[u8]>>,
}

impl Clone for EncodedHook {
    /// A clone is about to be changed, so it starts without encoded forms.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for EncodedHook {
    /// They say nothing that the rest does not.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for EncodedHook {}

/// How a hook was reached; decides what its event is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `process_kprobe`: functions of the kernel and system calls.
    #[default]
    Kprobe,
    /// `process_tracepoint`.
    Tracepoint,
    /// `process_uprobe`.
    Uprobe,
    /// `process_usdt`.
    Usdt,
    /// `process_lsm`.
    Lsm,
    /// `process_loader`: files that are mapped to be executed.
    Loader,
}

/// The calling thread as of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Thread id in the host's PID namespace.
    pub tid: u32,
    /// Credentials then; `None`: those of the process are shown.
    pub creds: Option<Box<Credentials>>,
    /// Namespaces then; `None`: those of the process are shown.
    pub namespaces: Option<Box<Namespaces>>,
}

/// One caller of a stack, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes on; 0: not shown.
    pub address: u64,
    /// In the kernel: bytes behind the beginning of the function. In a program: offset in the file.
    pub offset: u64,
    /// Its function; empty: not known.
    pub symbol: Arc<str>,
    /// Module of the kernel, or file; empty: the kernel itself, or not known.
    pub module: Arc<str>,
}

/// A file that was mapped to be executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Its path, from the root of the process.
    pub path: String,
    /// What its linker named it by; empty: it has none, or it could not be read of this very file.
    pub build_id: Vec<u8>,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 6] =
        [Self::Kprobe, Self::Tracepoint, Self::Uprobe, Self::Usdt, Self::Lsm, Self::Loader];

    /// The compatible type of its events.
    #[must_use]
    pub const fn event_type(self) -> EventType {
        match self {
            Self::Kprobe => EventType::ProcessKprobe,
            Self::Tracepoint => EventType::ProcessTracepoint,
            Self::Uprobe => EventType::ProcessUprobe,
            Self::Usdt => EventType::ProcessUsdt,
            Self::Lsm => EventType::ProcessLsm,
            Self::Loader => EventType::ProcessLoader,
        }
    }

    /// Whether events have a field for values of other sources.
    #[must_use]
    pub const fn has_data(self) -> bool {
        matches!(self, Self::Kprobe | Self::Uprobe)
    }

    /// Whether the compatible events have fields for stacks; for the others they are ours.
    #[must_use]
    pub const fn has_stacks(self) -> bool {
        matches!(self, Self::Kprobe)
    }

    /// Whether events have a field for what a call returned.
    #[must_use]
    pub const fn has_return(self) -> bool {
        matches!(self, Self::Kprobe)
    }
}

impl HookEvent {
    /// Bytes that it takes beside its process, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values: usize = self.args.iter().chain(&self.result).map(Argument::bytes).sum();
        let more = self.more.0.as_deref().map_or(0, |more| {
            // Texts of frames are shared among events.
            let frames = (more.kernel_stack.len() + more.user_stack.len()) * size_of::<Frame>();
            size_of::<HookMore>() + frames + more.data.iter().map(Argument::bytes).sum::<usize>()
        });
        size_of::<Self>() + values + more
    }

    /// What it is called in lists of hooks: the function, `SUBSYSTEM/EVENT` or `PROVIDER:NAME`.
    #[must_use]
    pub fn hook_name(&self) -> String {
        let hook = &*self.hook;
        match hook.family {
            Family::Kprobe | Family::Lsm => self.function.to_string(),
            Family::Loader => "loader".to_owned(),
            Family::Tracepoint => format!("{}/{}", hook.subsystem, hook.event),
            Family::Uprobe => format!("{}:{}", hook.path, self.function),
            Family::Usdt => format!("{}:{}:{}", hook.path, hook.subsystem, hook.event),
        }
    }
}
