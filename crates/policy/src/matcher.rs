//! What a policy makes of a described event: the reference for the programs in the kernel.
//!
//! The order is that of the language. The policy's own workloads come first. Selectors are tried in order, the first
//! that matches decides. Within a selector the filters are tried in the order of its fields, and the first that fails
//! ends it. A value that could not be read matches nothing, negated or not.

mod event;
mod process;
mod value;
pub(crate) mod workload;

use std::fmt;

pub(crate) use event::mode_of;
pub use event::{
    Ancestor, CapabilitySets, Container, Content, Event, NamespaceState, Process, SocketValue, Value,
};

use crate::diagnostic::Span;
use crate::model::{
    Action, ActionKind, ArgumentFilter, FileHashFilter, Hook, Operand, Policy, Selector, Syscall,
};
use crate::words::WithoutHash;
use value::Operands;

/// The numbers of a system call, as the values of hooks have them (for `syscall64` with bit 31 for 32-bit ABIs).
pub type Numbers<'a> = &'a dyn Fn(&Syscall) -> Vec<u64>;

/// Decides for one policy.
#[derive(Clone, Copy)]
pub struct Matcher<'a> {
    policy: &'a Policy,
    numbers: Numbers<'a>,
}

/// A filter that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The field of the selector.
    pub field: &'static str,
    /// Position in the field's list.
    pub index: usize,
    /// Where the filter stands.
    pub span: Span,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// The value could not be read: no filter holds of it.
    Unreadable,
    /// The value is of a kind that the filter does not look at.
    OtherKind,
    /// The path is empty: no filter on text holds of it.
    EmptyPath,
    /// The socket has no internet addresses: no filter on addresses and ports holds of it.
    NoAddress,
    /// The process is in no PID namespace of its own.
    NoNamespacePid,
    /// The process is in the user namespace of the host.
    HostUserNamespace,
    /// There is no file with a content: nothing holds of its hash.
    NoContent,
    /// The hash of the file cannot be computed, and then the selector is to hold.
    Unhashed,
    /// The hash of the file cannot be computed, and then nothing is to be done.
    Untold,
}

impl Outcome {
    /// Whether the filter holds.
    #[must_use]
    pub fn holds(self) -> bool {
        matches!(self, Self::Holds | Self::Unhashed)
    }

    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "does not hold",
            Self::Unreadable => "does not hold: the value could not be read",
            Self::OtherKind => "does not hold: the value is of another kind",
            Self::EmptyPath => "does not hold: the path is empty",
            Self::NoAddress => "does not hold: the socket has no internet address",
            Self::NoNamespacePid => "does not hold: the process has no PID of its own namespace",
            Self::HostUserNamespace => "does not hold: the process is in the host's user namespace",
            Self::NoContent => "does not hold: there is no file with a content",
            Self::Unhashed => "holds: the hash of the file cannot be computed",
            Self::Untold => "nothing is done: the hash of the file cannot be computed",
        })
    }
}

/// A selector that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its position.
    pub selector: usize,
    /// Its filters up to the first that failed.
    pub clauses: Vec<Clause>,
    /// Whether all hold.
    pub matches: bool,
}

/// What comes of an event at its return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtReturn<'a> {
    /// The filters on the value returned, up to the first that failed.
    pub clauses: Vec<Clause>,
    /// Whether all hold.
    pub matches: bool,
    /// What is done.
    pub actions: Vec<&'a Action>,
}

/// What comes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether the policy is for the process at all.
    pub applies: bool,
    /// The selectors that were tried.
    pub tried: Vec<Tried>,
    /// The selector that matched.
    pub selector: Option<usize>,
    /// What is done at the call.
    pub actions: Vec<&'a Action>,
    /// The return, when it is looked at.
    pub at_return: Option<AtReturn<'a>>,
    /// Whether there is an event. Rate limits are not looked at.
    pub posts: bool,
}

impl<'a> Matcher<'a> {
    /// A matcher that knows system calls by name only.
    #[must_use]
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy, numbers: &|_| Vec::new() }
    }

    /// A matcher that knows the numbers of system calls.
    #[must_use]
    pub fn with_numbers(policy: &'a Policy, numbers: Numbers<'a>) -> Self {
        Self { policy, numbers }
    }

    /// What a hook of the policy makes of an event.
    #[must_use]
    pub fn decide(&self, hook: &'a Hook, event: &Event) -> Decision<'a> {
        let mut decision = Decision {
            applies: workload::applies(self.policy, &event.process),
            tried: Vec::new(),
            selector: None,
            actions: Vec::new(),
            at_return: None,
            posts: false,
        };
        if !decision.applies {
            return decision;
        }
        if hook.selectors.is_empty() {
            decision.posts = true;
            return decision;
        }
        for (index, selector) in hook.selectors.iter().enumerate() {
            let clauses = self.clauses(selector, event);
            let matches = clauses.iter().all(|clause| clause.outcome.holds());
            decision.tried.push(Tried { selector: index, clauses, matches });
            if matches {
                decision.selector = Some(index);
                self.act(&mut decision, selector, hook, event);
                break;
            }
        }
        if decision.selector.is_none() {
            self.tell_of_no_hash(&mut decision, hook);
        }
        decision
    }

    /// If no selector matches, but one would have if a hash that it asks for could be computed, that is told and nothing
    /// done.
    fn tell_of_no_hash(&self, decision: &mut Decision<'a>, hook: &'a Hook) {
        let lacks = |tried: &&Tried| tried.clauses.iter().any(|clause| clause.outcome == Outcome::Untold);
        let Some(tried) = decision.tried.iter().find(lacks) else { return };
        decision.selector = Some(tried.selector);
        let actions = hook.selectors.get(tried.selector).map(|selector| selector.actions.as_slice());
        decision.actions =
            actions.unwrap_or_default().iter().filter(|action| !action.kind.name().enforces()).collect();
        decision.posts = !decision.actions.iter().any(|action| matches!(action.kind, ActionKind::NoPost));
    }

    fn act(&self, decision: &mut Decision<'a>, selector: &'a Selector, hook: &'a Hook, event: &Event) {
        decision.actions = selector.actions.iter().collect();
        let silent =
            |actions: &[&Action]| actions.iter().any(|action| matches!(action.kind, ActionKind::NoPost));
        let replaced =
            decision.actions.iter().any(|action| matches!(action.kind, ActionKind::Override { .. }));
        decision.posts = !silent(&decision.actions);
        // A call that is overridden does not happen, so it does not return either.
        if hook.on_return.is_none() || event.returned.is_none() || replaced {
            return;
        }
        let clauses = until_failure(self.values("matchReturnArgs", &selector.return_arguments, event));
        let matches = clauses.iter().all(|clause| clause.outcome.holds());
        let actions: Vec<_> = if matches { selector.return_actions.iter().collect() } else { Vec::new() };
        decision.posts = decision.posts && matches && !silent(&actions);
        decision.at_return = Some(AtReturn { clauses, matches, actions });
    }

    /// The filters of a selector in their order, up to the first that fails.
    fn clauses(&self, selector: &Selector, event: &Event) -> Vec<Clause> {
        let process = &event.process;
        let arguments = self.values("matchArgs", &selector.arguments, event);
        let data = self.values("matchData", &selector.data, event);
        let hash = selector.file_hashes.iter().map(|filter| Clause {
            field: filter.field,
            index: 0,
            span: filter.span,
            outcome: file_hash(filter, &event.content),
        });
        until_failure(process::clauses(selector, process).chain(arguments).chain(data).chain(hash))
    }

    fn values(
        &self,
        field: &'static str,
        filters: &[ArgumentFilter],
        event: &Event,
    ) -> impl Iterator<Item = Clause> {
        filters.iter().enumerate().map(move |(index, filter)| {
            let outcome = self.value(filter, event);
            Clause { field, index, span: filter.span, outcome }
        })
    }

    fn value(&self, filter: &ArgumentFilter, event: &Event) -> Outcome {
        let missing = Value::Failed;
        let captured = |position: usize| event.values.get(position).unwrap_or(&missing);
        let operands = match &filter.operand {
            Operand::Value(position) => Operands::One(captured(*position)),
            Operand::Pair(old, new) => Operands::Two(captured(*old), captured(*new)),
            Operand::Expression => Operands::All(&event.values),
            Operand::Returned => Operands::One(event.returned.as_ref().unwrap_or(&missing)),
        };
        value::outcome(&filter.predicate, &operands, self.policy, self.numbers)
    }
}

fn file_hash(filter: &FileHashFilter, content: &Content) -> Outcome {
    match content {
        Content::None => Outcome::NoContent,
        Content::Unhashed if filter.without == WithoutHash::Act => Outcome::Unhashed,
        Content::Unhashed => Outcome::Untold,
        Content::Hash(hash) => {
            let listed = filter.values.iter().any(|value| value.value == *hash);
            Outcome::of(listed != filter.negated)
        }
    }
}

/// The clauses up to the first that does not hold, this one included.
fn until_failure(clauses: impl Iterator<Item = Clause>) -> Vec<Clause> {
    let mut tried = Vec::new();
    for clause in clauses {
        tried.push(clause);
        if !clause.outcome.holds() {
            break;
        }
    }
    tried
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
