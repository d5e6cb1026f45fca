//! How a hook of system calls sees callers of 32 bits, whose calls have numbers and functions of their own.

use crate::model::{Functions, Hook, ListContent, Policy, Syscall, Target};

const BOTH: &str = "Callers of 32 bits: seen, by the calls that are named for them.";
const ONLY: &str = "Only callers of 32 bits.";
const NOT: &str = "Callers of 32 bits: not seen.";
const ALL: &str = "Callers of 32 bits: seen like all others.";

/// A sentence about a hook of system calls; none: it is of something else.
pub(super) fn callers(policy: &Policy, hook: &Hook) -> Option<String> {
    let call = match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => call,
        Target::Tracepoint { subsystem, event, raw } => {
            return tracepoint(&subsystem.value, &event.value, *raw);
        }
        _ => return None,
    };
    let told = match &call.functions {
        Functions::Named(name) if call.syscall => of_calls(&[crate::check::syscall(&name.value).ok()?]),
        Functions::Named(_) => return None,
        Functions::List(list) => match &policy.list(list.value)?.content {
            ListContent::Syscalls(calls) => {
                of_calls(&calls.iter().map(|call| call.value.clone()).collect::<Vec<_>>())
            }
            ListContent::AllSyscalls => ALL.to_owned(),
            ListContent::Functions(_) | ListContent::Pattern(_) => return None,
        },
    };
    Some(told)
}

fn of_calls(calls: &[Syscall]) -> String {
    let is_narrow = |call: &Syscall| call.abi.is_some_and(crate::model::Abi::is_compat);
    let (narrow, wide): (Vec<&Syscall>, Vec<&Syscall>) = calls.iter().partition(|call| is_narrow(call));
    if wide.is_empty() {
        return ONLY.to_owned();
    }
    // Which of those that name no kind of caller have no other that does.
    let alone = wide.iter().filter(|call| call.abi.is_none());
    let alone: Vec<&str> = alone
        .map(|call| call.name.as_str())
        .filter(|name| !narrow.iter().any(|call| call.name == *name))
        .collect();
    let Some(first) = alone.first() else {
        return if narrow.is_empty() { NOT.to_owned() } else { BOTH.to_owned() };
    };
    let which = match alone.len() {
        1 => format!("of `{first}`"),
        more => format!("of `{first}` and {} more", more - 1),
    };
    format!(
        "Callers of 32 bits: {which} seen where the raw tracepoints of system calls serve the hook, not where functions of \
         the kernel do; its status says which. For both, name `sys_{first}` and `i386/sys_{first}` in a list."
    )
}

fn tracepoint(subsystem: &str, event: &str, raw: bool) -> Option<String> {
    match subsystem {
        "raw_syscalls" => Some(ALL.to_owned()),
        "syscalls" if !raw => Some(NOT.to_owned()),
        _ if raw && (event == "sys_enter" || event == "sys_exit") => Some(ALL.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accepted, with_spec};

    fn told(spec: &str) -> Option<String> {
        let policy = accepted(&with_spec(spec));
        callers(&policy, &policy.hooks[0])
    }

    #[test]
    fn each_way_of_naming_calls_says_who_is_seen() {
        let named = |name: &str| told(&format!("kprobes: [{{call: {name}, syscall: true}}]"));
        let status = named("sys_openat").expect("it is a system call");
        assert!(status.contains("of `openat` seen where the raw tracepoints"), "{status}");
        assert!(status.contains("`i386/sys_openat` in a list"), "{status}");
        assert_eq!(named("__x64_sys_openat").as_deref(), Some(NOT));
        assert_eq!(named("__ia32_sys_openat").as_deref(), Some(ONLY));
        assert_eq!(told("kprobes: [{call: tcp_connect, syscall: false}]"), None);

        let list = |values: &str| {
            told(&format!(
                "lists: [{{name: l, type: syscalls, values: [{values}]}}]\nkprobes: [{{call: 'list:l', syscall: true}}]"
            ))
        };
        assert_eq!(list("sys_openat, i386/sys_openat, i386/sys_open").as_deref(), Some(BOTH));
        assert_eq!(list("i386/sys_open").as_deref(), Some(ONLY));
        let some = list("sys_openat, sys_dup, sys_close, i386/sys_dup").expect("they are system calls");
        assert!(some.contains("of `openat` and 1 more seen where"), "{some}");
    }

    #[test]
    fn tracepoints_of_system_calls_too() {
        let of = |subsystem: &str, event: &str, raw: bool| {
            told(&format!("tracepoints: [{{subsystem: {subsystem}, event: {event}, raw: {raw}}}]"))
        };
        assert_eq!(of("syscalls", "sys_enter_openat", false).as_deref(), Some(NOT));
        assert_eq!(of("raw_syscalls", "sys_enter", false).as_deref(), Some(ALL));
        assert_eq!(of("sched", "sched_process_exec", false), None);
    }
}
