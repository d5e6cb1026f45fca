//! Enforcers: `NotifyEnforcer` has something done at the system calls and `security_*` functions that `enforcers` lists.
//!
//! A notification that is made at the entry of a listed call takes effect at that very call, so the hook that makes it does
//! what is asked, and none is ever pending. One that is made elsewhere in the thread would be kept until the thread comes to
//! a listed call again: within `openat` a hook of `security_file_open` is behind the entry of the call, so another open
//! than the one that was meant would be hit, or none. Such are refused. To return an error in place of the call the hook
//! runs at the function of the call, whatever it is written for.

use std::collections::HashSet;

use saker_abi::generated::{
    SAKER_ACTION_CLEANUP_ENFORCER, SAKER_ACTION_NOTIFY_ENFORCER, saker_selector_plan,
};

use super::selectors::byte;
use super::{Lowering, enforce};
use crate::diagnostic::{At, Problem, Spanned};
use crate::model::{
    Abi, ArgumentFilter, Enforcer, Functions, Hook, IntegerTest, ListContent, ListRef, Operand, Policy,
    Selector, Source, Syscall, Target, Test,
};
use crate::words::ArgType;

/// Field of the tracepoint of all system calls with their number.
const ID_FIELD: u32 = 4;

/// Calls that are meant.
struct Calls<'a> {
    named: HashSet<(&'a str, Option<Abi>)>,
    /// `security_*` functions.
    functions: HashSet<&'a str>,
    all: bool,
}

impl<'a> Calls<'a> {
    /// Those of an enforcer.
    fn of(policy: &'a Policy, enforcer: &'a Enforcer) -> Self {
        let functions = enforcer.functions.iter().map(|name| name.value.as_str()).collect();
        let mut calls = Self { named: HashSet::new(), functions, all: false };
        calls.add(enforcer.syscalls.iter().map(|call| &call.value));
        for list in enforcer.lists.iter().filter_map(|list| policy.list(*list)) {
            match &list.content {
                ListContent::Syscalls(named) => calls.add(named.iter().map(|call| &call.value)),
                ListContent::AllSyscalls => calls.all = true,
                ListContent::Functions(names) => {
                    calls.functions.extend(names.iter().map(|name| name.value.as_str()));
                }
                ListContent::Pattern(_) => {}
            }
        }
        calls
    }

    fn add(&mut self, calls: impl Iterator<Item = &'a Syscall>) {
        self.named.extend(calls.map(|call| (call.name.as_str(), call.abi)));
    }

    /// Whether a call is among them; without an ABI it is meant for all.
    fn has(&self, call: &Syscall) -> bool {
        let named = |abi| self.named.contains(&(call.name.as_str(), abi));
        self.all || named(None) || (call.abi.is_some() && named(call.abi))
    }

    /// Whether all calls of a list are.
    fn have(&self, policy: &Policy, list: ListRef) -> bool {
        match policy.list(list).map(|list| &list.content) {
            Some(ListContent::Syscalls(calls)) => calls.iter().all(|call| self.has(&call.value)),
            Some(ListContent::AllSyscalls) => self.all,
            _ => false,
        }
    }

    /// The same of functions.
    fn have_functions(&self, policy: &Policy, list: ListRef) -> bool {
        match policy.list(list).map(|list| &list.content) {
            Some(ListContent::Functions(names)) => {
                names.iter().all(|name| self.functions.contains(name.value.as_str()))
            }
            _ => false,
        }
    }
}

/// Puts `NotifyEnforcer` into the plan of a selector.
pub(super) fn notify(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    selector: &Selector,
    (error, signal): (i32, u32),
    plan: &mut saker_selector_plan,
    at: &At,
) {
    if let Err(problem) = takes_effect_here(cx, hook, selector) {
        cx.problem(at, problem);
    }
    if signal != 0 {
        enforce::signal(cx, signal, plan, at);
    }
    if error != 0 {
        enforce::refusal(cx, error, plan, at);
    }
    plan.action = byte(SAKER_ACTION_NOTIFY_ENFORCER);
}

/// Puts `CleanupEnforcerNotification` into the plan of a selector: there is nothing to be taken back.
pub(super) fn clean_up(cx: &mut Lowering<'_>, plan: &mut saker_selector_plan, at: &At) {
    let at = At { span: at.span, path: at.path.field("action") };
    if cx.policy.enforcer.is_none() {
        let message = "`CleanupEnforcerNotification` needs an enforcer";
        cx.report.error_hint(&at, message, "take the action out: nothing is notified");
        return;
    }
    let message = "no notification is ever pending: each takes effect at the call at which it is made";
    cx.report.warning(&at, message, "the action can be taken out");
    plan.action = byte(SAKER_ACTION_CLEANUP_ENFORCER);
}

/// Whether the calls that a selector matches are among those of the enforcer.
fn takes_effect_here(cx: &Lowering<'_>, hook: &Hook, selector: &Selector) -> Result<(), Problem> {
    let policy = cx.policy;
    let Some(enforcer) = &policy.enforcer else {
        return Err(Problem::new("`NotifyEnforcer` needs an enforcer"));
    };
    let calls = Calls::of(policy, enforcer);
    let of_call = |name: &str| crate::check::syscall(name).is_ok_and(|call| calls.has(&call));
    let good = match &hook.target {
        Target::Kprobe(call) if call.syscall => match &call.functions {
            Functions::Named(name) => of_call(&name.value),
            Functions::List(list) => calls.have(policy, list.value),
        },
        Target::Kprobe(call) => match &call.functions {
            Functions::Named(name) => calls.functions.contains(name.value.as_str()),
            Functions::List(list) => calls.have_functions(policy, list.value),
        },
        Target::Tracepoint { subsystem, event, raw: false } => match subsystem.value.as_str() {
            "syscalls" => {
                event.value.strip_prefix("sys_enter_").is_some_and(|name| of_call(&format!("sys_{name}")))
            }
            "raw_syscalls" if event.value == "sys_enter" => {
                calls.all || selector.arguments.iter().any(|filter| is_among(policy, hook, &calls, filter))
            }
            _ => false,
        },
        _ => false,
    };
    if good {
        return Ok(());
    }
    let hint = "hook these calls: list them under `kprobes` (`syscall: true`, for `security_*` functions `false`), or let the \
                number of `raw_syscalls/sys_enter` (index 4, type `syscall64`) be `InMap` of the enforcer's list; where \
                another place is to decide, refuse there by `Override`";
    let message = "a notification takes effect at the call at which it is made, and what is hooked here is not, or not only, \
                   the calls of `enforcers`";
    Err(Problem::hint(message, hint))
}

/// The calls that the selectors of a hook of all system calls name; none: a selector is for others as well, which is told.
pub(super) fn calls_of_selectors(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    at: &At,
) -> Option<Vec<Spanned<Syscall>>> {
    let policy = cx.policy;
    let mut found: Vec<Spanned<Syscall>> = Vec::new();
    for (index, selector) in hook.selectors.iter().enumerate() {
        let mut lists = selector.arguments.iter().filter_map(|filter| lists_of_number(hook, filter));
        let named = lists.next().and_then(|lists| {
            let mut calls = Vec::new();
            for list in lists {
                let ListContent::Syscalls(named) = &policy.list(*list)?.content else { return None };
                calls.extend(named.iter().cloned());
            }
            Some(calls)
        });
        let Some(named) = named else {
            let at = At { span: selector.span, path: at.path.field("selectors").index(index) };
            let message = "where one selector returns an error in place of the call, each must say for which calls it is";
            let hint = "let the number of the call (index 4, type `syscall64`) be `InMap` of a list of calls";
            cx.report.error_hint(&at, message, hint);
            return None;
        };
        for call in named {
            if found.iter().all(|other| other.value != call.value) {
                found.push(call);
            }
        }
    }
    Some(found)
}

/// Whether a condition has the number of the call be that of one of these.
fn is_among(policy: &Policy, hook: &Hook, calls: &Calls<'_>, filter: &ArgumentFilter) -> bool {
    lists_of_number(hook, filter)
        .is_some_and(|lists| !lists.is_empty() && lists.iter().all(|list| calls.have(policy, *list)))
}

/// The lists that a condition has the number of the call be in; none: it is about something else, or asks for more.
fn lists_of_number<'a>(hook: &Hook, filter: &'a ArgumentFilter) -> Option<&'a [ListRef]> {
    let Operand::Value(position) = filter.operand else { return None };
    let number = hook.values.get(position).is_some_and(|value| {
        value.source == Source::Argument(ID_FIELD)
            && value.ty == ArgType::Syscall64
            && value.resolve.is_empty()
    });
    let Test::Integer { test: IntegerTest::InSet { ranges, lists }, .. } = &filter.predicate.test else {
        return None;
    };
    (number && !filter.predicate.negated && ranges.is_empty()).then_some(lists)
}
