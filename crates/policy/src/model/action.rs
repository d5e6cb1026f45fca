//! Actions.

use std::time::Duration;

use crate::diagnostic::Span;
use crate::words::{ActionName, RateScope};

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Where it stands.
    pub span: Span,
    /// What to do.
    pub kind: ActionKind,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Tell of it.
    Post(Post),
    /// Do not tell.
    NoPost,
    /// Kill the process.
    Sigkill,
    /// Send this signal.
    Signal(u32),
    /// Return this instead of calling.
    Override {
        /// The value to return.
        error: i32,
        /// Registers to set; uprobes.
        registers: Vec<RegisterValue>,
        /// Where to go on; uprobes.
        jump: Option<Jump>,
    },
    /// Fetch this.
    GetUrl(String),
    /// Look this name up.
    DnsLookup(String),
    /// Remember the socket at this position of the captured values.
    TrackSock(usize),
    /// Forget it.
    UntrackSock(usize),
    /// Have the enforcer act.
    NotifyEnforcer {
        /// Value to return; 0: call.
        error: i32,
        /// Signal to send; 0: none.
        signal: u32,
    },
    /// Take back what the enforcer was told.
    CleanupEnforcerNotification,
    /// Write a value into an argument of a USDT.
    Set {
        /// Position in `args`.
        argument: u32,
        /// The value.
        value: u32,
    },
}

impl ActionKind {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> ActionName {
        match self {
            Self::Post(_) => ActionName::Post,
            Self::NoPost => ActionName::NoPost,
            Self::Sigkill => ActionName::Sigkill,
            Self::Signal(_) => ActionName::Signal,
            Self::Override { .. } => ActionName::Override,
            Self::GetUrl(_) => ActionName::GetUrl,
            Self::DnsLookup(_) => ActionName::DnsLookup,
            Self::TrackSock(_) => ActionName::TrackSock,
            Self::UntrackSock(_) => ActionName::UntrackSock,
            Self::NotifyEnforcer { .. } => ActionName::NotifyEnforcer,
            Self::CleanupEnforcerNotification => ActionName::CleanupEnforcerNotification,
            Self::Set { .. } => ActionName::Set,
        }
    }
}

/// How to tell of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// Equal events are told once in this time.
    pub rate_limit: Option<RateLimit>,
    /// With the kernel's stack.
    pub kernel_stack: bool,
    /// With the program's stack.
    pub user_stack: bool,
    /// With the hash of the file by IMA.
    pub ima_hash: bool,
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time.
    pub window: Duration,
    /// What shares the limit.
    pub scope: RateScope,
}

/// Where a program goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jump {
    /// At a symbol.
    Symbol(String),
    /// At a virtual address.
    Address(u64),
    /// At so many bytes from here.
    Offset(i64),
}

/// A register and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterValue {
    /// The register to set.
    pub register: String,
    /// Its value.
    pub value: RegisterSource,
}

/// A value for a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterSource {
    /// A number.
    Constant(i128),
    /// Another register, with something added.
    Register {
        /// The register.
        register: String,
        /// What is added.
        offset: i64,
    },
    /// What stands in memory where another register points, with something added to the address.
    Memory {
        /// The register.
        register: String,
        /// What is added.
        offset: i64,
    },
}
