//! The kernel side's loader and reader: what this kernel offers ([`facts`]), the sensors ([`sensors`]), the
//! records that come out of them ([`reader`]) and the processes that are there ([`snapshot`]). For policies: the hooks
//! ([`hooks`]), what plans must know of the kernel ([`kernel`]) and what stands at an address ([`symbols`]).

pub mod enforcement;
pub mod error;
pub mod executable;
pub mod facts;
mod files;
pub mod groups;
pub mod guard;
pub mod hooks;
pub mod keep;
pub mod kernel;
pub mod mapped;
pub mod reader;
#[expect(unsafe_code, reason = "no library has a safe form of this system call")]
pub mod resident;
pub mod sensors;
pub mod snapshot;
mod socket_programs;
mod sockets;
#[expect(unsafe_code, reason = "the library has no safe form of this system call")]
pub mod statistics;
pub mod symbols;
pub mod tracefs;

mod capabilities;
#[expect(unsafe_code, reason = "the library has no safe form for the bytes of descriptions of types")]
mod described;
mod follow;
#[expect(unsafe_code, reason = "the library has no safe form for descriptions of types")]
mod lent;
#[expect(unsafe_code, reason = "the library's own function for messages is called for each that is left out")]
mod library_log;
#[expect(unsafe_code, reason = "the library has no safe form of its handlers of sections")]
mod loader;
mod mechanisms;
#[expect(unsafe_code, reason = "the library copies all that the kernel tells of a program")]
mod missed;
mod peer_probes;
#[expect(unsafe_code, reason = "no library has a safe form of this system call")]
mod perf;
mod preemption;
mod proc_task;
mod prune;
mod template;
mod types;

pub use enforcement::{Enforced, Enforcement};
pub use error::Error;
pub use executable::{Executable, ExecutableError};
pub use facts::KernelFacts;
pub use files::look_for_files;
pub use groups::{ContainerGroup, Groups, NewContainers};
pub use guard::{GUARD_HOOKS, Guard, GuardCount, GuardHook, Part};
pub use hooks::{
    Binaries, HookCounts, HookSpec, Hooks, LoadedHook, LoadedPolicy, PinnedPolicy, SelectorCounts, Spared,
    tells_places,
};
pub use keep::{EarlierReader, Keep, KeptPolicy};
pub use kernel::{RunningKernel, SavedKernel};
pub use peer_probes::peer_probes;
pub use reader::{ReadOutcome, Reader, RecordBatch};
pub use sensors::{Options, Sensors};
pub use snapshot::SnapshotTask;
pub use tracefs::Tracefs;

/// Skeleton of `bpf/process/process.bpf.c`.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod process_skel {
    include!(concat!(env!("OUT_DIR"), "/process.skel.rs"));
}

/// Skeleton of `bpf/policy/hook.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod hook_skel {
    include!(concat!(env!("OUT_DIR"), "/hook.skel.rs"));

    /// What is opened: all of it, or the one with nothing in its programs, while that is asked for.
    fn object_to_open(whole: &'static [u8]) -> &'static [u8] {
        static EMPTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hook.empty.bpf.o"));
        if crate::loader::opens_empty() { EMPTY } else { whole }
    }
}

/// Skeleton of `bpf/policy/build_id.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod build_id_skel {
    include!(concat!(env!("OUT_DIR"), "/build_id.skel.rs"));
}

/// Skeleton of `bpf/policy/follow.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod follow_skel {
    include!(concat!(env!("OUT_DIR"), "/follow.skel.rs"));
}

/// Skeleton of `bpf/policy/sockets.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod sockets_skel {
    include!(concat!(env!("OUT_DIR"), "/sockets.skel.rs"));
}

/// Skeleton of `bpf/policy/groups.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod groups_skel {
    include!(concat!(env!("OUT_DIR"), "/groups.skel.rs"));
}

/// Skeleton of `bpf/guard/guard.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod guard_skel {
    include!(concat!(env!("OUT_DIR"), "/guard.skel.rs"));
}

/// Skeleton of `bpf/probe/mechanisms.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod mechanisms_skel {
    include!(concat!(env!("OUT_DIR"), "/mechanisms.skel.rs"));
}

/// Skeleton of `bpf/probe/symbols.bpf.c`.
#[allow(missing_docs, unsafe_code, dead_code, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod symbols_skel {
    include!(concat!(env!("OUT_DIR"), "/symbols.skel.rs"));
}
