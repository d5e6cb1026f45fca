//! A checked policy: everything resolved, numbers as numbers, each part with its place in the text.
//!
//! This is what kernel plans are made from, and what the matcher and the explanation read.

mod action;
mod filter;
mod hook;
mod selector;

pub use action::{Action, ActionKind, Jump, Post, RateLimit, RegisterSource, RegisterValue};
pub use filter::{ArgumentFilter, IntegerTest, Operand, Predicate, Side, Test, TextTest};
pub use hook::{
    Argument, Call, Digest, DigestAlgorithm, Functions, Hook, Place, Places, Return, Source, Symbol, Target,
    Uprobe, Usdt,
};
pub use selector::{
    BinaryFilter, CapabilityFilter, FileHashFilter, LabelCondition, LabelSelector, NamespaceChangeFilter,
    NamespaceFilter, NamespaceValue, PathTest, PidFilter, Selector, WorkloadFilter,
};

use crate::diagnostic::{Span, Spanned};
use crate::words::{Kind, Mode, OverrideMethod};

/// A checked policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Where its document begins.
    pub span: Span,
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: Spanned<String>,
    /// Namespace, as written; without one a namespaced policy is in `default`.
    pub namespace: Option<Spanned<String>>,
    /// Which processes it is for, before any selector.
    pub workloads: Option<WorkloadFilter>,
    /// Which nodes it is for.
    pub nodes: Option<LabelSelector>,
    /// Lists that hooks and values refer to by position.
    pub lists: Vec<List>,
    /// Options.
    pub options: Options,
    /// Hooks of all families, in the order kprobes, fentries, tracepoints, uprobes, usdts, LSM hooks.
    pub hooks: Vec<Hook>,
    /// Whether mapped executable files are told of, and where that is asked for.
    pub loader: Option<Span>,
    /// Calls at which `NotifyEnforcer` takes effect.
    pub enforcer: Option<Enforcer>,
}

impl Policy {
    /// The namespace a namespaced policy is for; none for the other kind.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        let named = || self.namespace.as_ref().map_or("default", |name| name.value.as_str());
        (self.kind == Kind::Namespaced).then(named)
    }

    /// The list of a reference.
    #[must_use]
    pub fn list(&self, list: ListRef) -> Option<&List> {
        self.lists.get(list.0)
    }

    /// Whether any action, at a call or at a return, interferes with processes.
    #[must_use]
    pub fn enforces(&self) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        selectors.any(|selector| {
            let mut actions = selector.actions.iter().chain(&selector.return_actions);
            actions.any(|action| action.kind.name().enforces())
        })
    }
}

/// Options of a policy; what is not set is left to the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Attach kprobes one by one.
    pub disable_kprobe_multi: bool,
    /// Attach uprobes one by one.
    pub disable_uprobe_multi: bool,
    /// How calls are refused.
    pub override_method: Option<OverrideMethod>,
    /// Act or only tell.
    pub mode: Option<Mode>,
    /// Entries of the map of prepared strings.
    pub sleepable_preload_size: Option<u32>,
}

/// Position of a list in `Policy::lists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListRef(pub usize);

/// A list of functions or system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Where it stands.
    pub span: Span,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: ListContent,
    /// The functions are not to be looked for.
    pub validated: bool,
}

/// What a list holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListContent {
    /// Kernel functions.
    Functions(Vec<Spanned<String>>),
    /// System calls.
    Syscalls(Vec<Spanned<Syscall>>),
    /// All system calls of the machine.
    AllSyscalls,
    /// Traceable functions that fit a regular expression, which was checked.
    Pattern(String),
}

/// A system call by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// The ABI that was named.
    pub abi: Option<Abi>,
    /// Name without `sys_`.
    pub name: String,
}

/// How a program calls the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Abi {
    X64,
    I386,
    Arm64,
    Arm32,
}

impl Abi {
    /// Whether it is a 32-bit ABI, whose numbers carry bit 31 in `syscall64` values.
    #[must_use]
    pub fn is_compat(self) -> bool {
        matches!(self, Self::I386 | Self::Arm32)
    }
}

/// Where `NotifyEnforcer` takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcer {
    /// Where it stands.
    pub span: Span,
    /// System calls.
    pub syscalls: Vec<Spanned<Syscall>>,
    /// `security_*` functions.
    pub functions: Vec<Spanned<String>>,
    /// Lists of either.
    pub lists: Vec<ListRef>,
}
