//! Enforcers: a notification is done at the call at which it is made, or refused.

use saker_abi::generated::{
    SAKER_ACTION_CLEANUP_ENFORCER, SAKER_ACTION_NOTIFY_ENFORCER, SAKER_FAMILY_TRACEPOINT,
    SAKER_PLAN_ENFORCES, SAKER_SELECT_OVERRIDE,
};

use super::fake::Fake;
use super::{assert_refused, hook};
use crate::plan::Attach;
use crate::testing::with_spec;

const LISTS: &str = "lists:\n- {name: some, type: syscalls, values: [sys_openat, sys_lseek]}\n\
                     - {name: more, type: syscalls, values: [sys_openat, sys_lseek, sys_unlink]}\n\
                     - {name: deciding, values: [security_file_open, security_path_link]}\n\
                     - {name: wider, values: [security_file_open, security_path_link, security_file_permission]}\n";

fn notifying(enforced: &str, hook: &str, filter: &str, fields: &str) -> String {
    with_spec(&format!(
        "{LISTS}enforcers: [{{calls: [{enforced}]}}]\n{hook}\n  selectors:\n  - {{{filter}matchActions: \
         [{{action: NotifyEnforcer, {fields}}}]}}"
    ))
}

/// The hook of all system calls, whose number is a captured value.
const ALL: &str =
    "tracepoints:\n- subsystem: raw_syscalls\n  event: sys_enter\n  args: [{index: 4, type: syscall64}]";

fn in_list(list: &str) -> String {
    format!("matchArgs: [{{index: 0, operator: InMap, values: ['list:{list}']}}], ")
}

#[test]
fn a_signal_is_sent_at_the_call() {
    for (enforced, target, filter) in [
        ("'list:some'", ALL, in_list("some")),
        ("'list:more'", ALL, in_list("some")),
        ("sys_openat", "kprobes:\n- call: sys_openat\n  syscall: true", String::new()),
        ("'list:more'", "kprobes:\n- call: 'list:some'\n  syscall: true", String::new()),
    ] {
        let text = notifying(enforced, target, &filter, "argSig: 9");
        let plan = super::planned(&text, &Fake::default());
        for hook in &plan.hooks {
            let selector = hook.plan.selector[0];
            assert_eq!(
                (selector.signal, u32::from(selector.action)),
                (9, SAKER_ACTION_NOTIFY_ENFORCER),
                "{text}"
            );
            assert_ne!(hook.plan.flags & SAKER_PLAN_ENFORCES, 0);
            assert!(hook.note.contains("`NotifyEnforcer` does not prevent the operation"), "{}", hook.note);
        }
    }
}

#[test]
fn what_would_take_effect_elsewhere_is_refused() {
    let negated = in_list("some").replace("InMap", "NotInMap");
    for (enforced, target, filter) in [
        ("'list:some'", ALL, in_list("more")),
        ("'list:some'", ALL, String::new()),
        ("'list:some'", ALL, negated),
        ("sys_lseek", "kprobes:\n- call: sys_openat\n  syscall: true", String::new()),
        ("'i386/sys_openat'", "kprobes:\n- call: sys_openat\n  syscall: true", String::new()),
        // Elsewhere in the thread, before the call returns.
        ("sys_openat", "kprobes:\n- call: security_file_open\n  syscall: false", String::new()),
        ("sys_openat", "kprobes:\n- call: vfs_unlink\n  syscall: false", String::new()),
        ("sys_openat", "tracepoints:\n- subsystem: sched\n  event: sched_process_exec", String::new()),
        ("sys_openat", "tracepoints:\n- subsystem: syscalls\n  event: sys_exit_openat", String::new()),
        ("sys_openat", "tracepoints:\n- subsystem: raw_syscalls\n  event: sys_exit", String::new()),
        ("security_file_permission", "kprobes:\n- call: security_file_open\n  syscall: false", String::new()),
        ("'list:deciding'", "kprobes:\n- call: 'list:wider'\n  syscall: false", String::new()),
        ("security_file_open", "kprobes:\n- call: sys_openat\n  syscall: true", String::new()),
    ] {
        let text = notifying(enforced, target, &filter, "argSig: 9");
        assert_refused(&text, &Fake::default(), &["takes effect at the call at which it is made"]);
    }
    let text = notifying("'list:some'", ALL, &in_list("some"), "argError: -1, argSig: 9");
    assert_refused(&text, &Fake::default(), &["lets no program override sys_openat"]);
}

#[test]
fn an_error_is_returned_at_the_call() {
    let kernel = Fake { injects: true, ..Fake::default() };
    let text = notifying("'list:some'", ALL, &in_list("some"), "argError: -1, argSig: 9");
    let plan = super::planned(&text, &kernel);
    let at: Vec<_> = plan.hooks.iter().map(|hook| hook.attach.clone()).collect();
    let decision = |name: &str| Attach::Decision { function: name.into(), on_return: false };
    assert_eq!(at, [decision("__x64_sys_openat"), decision("__x64_sys_lseek")]);
    for hook in &plan.hooks {
        let selector = hook.plan.selector[0];
        assert_eq!((selector.error, selector.signal), (-1, 9));
        assert_eq!(u32::from(selector.action), SAKER_ACTION_NOTIFY_ENFORCER);
        assert_ne!(u32::from(selector.flags) & SAKER_SELECT_OVERRIDE, 0);
        // The number of the call stands in its registers.
        assert_eq!((hook.plan.arguments, hook.plan.family), (1, SAKER_FAMILY_TRACEPOINT as u8));
        assert!(hook.note.is_empty(), "{}", hook.note);
    }
    let call = notifying("sys_openat", "kprobes:\n- call: sys_openat\n  syscall: true", "", "argError: -1");
    assert_eq!(hook(&call, &kernel).attach, decision("__x64_sys_openat"));
    let (head, selector) = text.split_once("- {matchArgs").expect("a selector");
    let indent = head.lines().last().expect("a line");
    let others =
        format!("{head}- matchPIDs: [{{operator: In, values: [1]}}]\n{indent}- {{matchArgs{selector}");
    assert_refused(&others, &kernel, &["each must say for which calls it is"]);
}

#[test]
fn functions_that_decide_are_listed_too() {
    let permission = "kprobes:\n- call: security_file_permission\n  syscall: false";
    let text = notifying("security_file_permission", permission, "", "argError: -1, argSig: 9");
    let found = hook(&text, &Fake::default());
    // Refused by what `Override` would be refused by.
    assert_eq!(found.attach, Attach::Lsm("file_permission".into()));
    let selector = found.plan.selector[0];
    assert_eq!(
        (selector.error, selector.signal, u32::from(selector.action)),
        (-1, 9, SAKER_ACTION_NOTIFY_ENFORCER)
    );
    assert_ne!(u32::from(selector.flags) & SAKER_SELECT_OVERRIDE, 0);
    assert_refused(&text, &Fake::with(false, true, false), &["lets no program decide in place of"]);
    let list = "kprobes:\n- call: 'list:deciding'\n  syscall: false";
    for enforced in ["'list:wider'", "'list:deciding'", "security_file_open, security_path_link"] {
        let plan = super::planned(&notifying(enforced, list, "", "argSig: 9"), &Fake::default());
        assert_eq!(plan.hooks.len(), 2);
        assert!(plan.hooks.iter().all(|hook| hook.plan.selector[0].signal == 9), "{enforced}");
    }
}

#[test]
fn nothing_is_left_to_be_taken_back() {
    let text = notifying("sys_openat", "kprobes:\n- call: sys_openat\n  syscall: true", "", "argSig: 9")
        .replace("NotifyEnforcer, argSig: 9", "CleanupEnforcerNotification");
    let plan = hook(&text, &Fake::default()).plan;
    assert_eq!(u32::from(plan.selector[0].action), SAKER_ACTION_CLEANUP_ENFORCER);
    assert_eq!(plan.flags & SAKER_PLAN_ENFORCES, 0);
}
