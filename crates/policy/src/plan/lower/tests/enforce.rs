//! Actions that interfere: what is put into plans, by which mechanism, and what is said of those that come too late.

use saker_abi::generated::{
    SAKER_ACTION_OVERRIDE, SAKER_ACTION_SIGKILL, SAKER_ACTION_SIGNAL, SAKER_PLAN_ENFORCES, SAKER_PLAN_NARROW,
    SAKER_SELECT_NAMED, SAKER_SELECT_OVERRIDE,
};

use super::fake::Fake;
use super::{assert_refused, hook, planned, without_trampoline};
use crate::plan::{Attach, Choices, Mechanisms, lower_with};
use crate::testing::{accepted, with_hook, with_spec};

const FILE_OPEN: &str = "security_file_open";
const PERMISSION: &str = "security_file_permission";

/// A hook of a function that decides, with this action.
fn deciding(action: &str) -> String {
    with_hook(&format!("selectors:\n- matchActions: [{{{action}}}]")).replace(FILE_OPEN, PERMISSION)
}

fn preemptible(lsm: bool) -> Fake {
    let mechanisms =
        Mechanisms { trampoline: true, lsm, kprobe: true, preemptible: true, lsm_left_out: false };
    Fake { mechanisms, ..Fake::default() }
}

#[test]
fn actions_stand_in_the_selector() {
    let of = |action: &str| {
        let plan = hook(&deciding(action), &Fake::default()).plan;
        assert_ne!(plan.flags & SAKER_PLAN_ENFORCES, 0, "{action}");
        plan.selector[0]
    };
    let killing = of("action: Sigkill");
    assert_eq!((killing.signal, u32::from(killing.action)), (9, SAKER_ACTION_SIGKILL));
    let signalling = of("action: Signal, argSig: 10");
    assert_eq!((signalling.signal, u32::from(signalling.action)), (10, SAKER_ACTION_SIGNAL));
    let refusing = of("action: Override, argError: -13");
    assert_eq!((refusing.error, u32::from(refusing.action)), (-13, SAKER_ACTION_OVERRIDE));
    assert_ne!(u32::from(refusing.flags) & SAKER_SELECT_OVERRIDE, 0);
    let both = of("action: Override, argError: -1}, {action: Sigkill");
    assert_eq!((both.error, both.signal, u32::from(both.action)), (-1, 9, SAKER_ACTION_SIGKILL));
    let telling = hook(&deciding("action: Post"), &Fake::default()).plan;
    assert_eq!(telling.flags & SAKER_PLAN_ENFORCES, 0);
}

#[test]
fn functions_with_other_arguments_than_their_lsm_hook_are_decided_themselves() {
    let text = deciding("action: Override, argError: -1").replace(PERMISSION, FILE_OPEN);
    let by_function = Attach::Decision { function: FILE_OPEN.into(), on_return: false };
    assert_eq!(hook(&text, &Fake::default()).attach, by_function);
}

#[test]
fn refusals_take_the_strongest_way() {
    let text = deciding("action: Override, argError: -1");
    let name = || PERMISSION.to_owned();
    assert_eq!(hook(&text, &Fake::default()).attach, Attach::Lsm("file_permission".into()));
    assert_eq!(hook(&text, &preemptible(true)).attach, Attach::Lsm("file_permission".into()));
    let by_function = Attach::Decision { function: name(), on_return: false };
    assert_eq!(hook(&text, &Fake::with(true, true, false)).attach, by_function);
    // The return of a function is seen there only.
    let returning = with_hook("return: true\nreturnArg: {index: 0, type: int}\nselectors:\n- matchActions: [{action: Override, argError: -1}]").replace(FILE_OPEN, PERMISSION);
    let by_function = Attach::Decision { function: name(), on_return: true };
    assert_eq!(hook(&returning, &Fake::default()).attach, by_function);
}

#[test]
fn what_would_let_some_calls_through_is_refused() {
    let text = deciding("action: Override, argError: -1");
    assert_refused(&text, &preemptible(false), &["left out when it is preempted", "boot with `bpf`"]);
    let returning = with_hook("return: true\nreturnArg: {index: 0, type: int}\nselectors:\n- matchActions: [{action: Override, argError: -1}]").replace(FILE_OPEN, PERMISSION);
    assert_refused(&returning, &preemptible(true), &["left out when it is preempted", "take `return` out"]);
    assert_refused(
        &text,
        &Fake::with(false, true, false),
        &["lets no program decide in place of security_file_permission"],
    );
    let full = without_trampoline(&text, &Fake::with(true, true, false), PERMISSION);
    assert!(full.is_err_and(|reason| reason.contains("lets no program decide")));
    assert_refused(&deciding("action: Override"), &Fake::default(), &["`Override` with 0 refuses nothing"]);
    assert_refused(
        &deciding("action: Override, argError: -5000"),
        &Fake::default(),
        &["-5000 cannot be returned"],
    );
    let two = deciding("action: Sigkill}, {action: Signal, argSig: 10");
    assert_refused(&two, &Fake::default(), &["the signals 9 and 10 cannot both be sent"]);
    let call = "kprobes: [{call: sys_openat, syscall: true, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]";
    assert_refused(
        &with_spec(call),
        &Fake::default(),
        &["lets no program override sys_openat: it was built without", "`file_open` under `lsmhooks`"],
    );
    let all = "lists: [{name: all, type: generated_syscalls}]\nkprobes: [{call: 'list:all', syscall: true, selectors: \
               [{matchActions: [{action: Override, argError: -1}]}]}]";
    assert_refused(&with_spec(all), &injecting(), &["all system calls together cannot be overridden"]);
}

#[test]
fn hooks_that_are_left_out_refuse_nothing() {
    let mechanisms = Mechanisms { lsm_left_out: true, ..preemptible(true).mechanisms };
    let kernel = Fake { mechanisms, ..Fake::default() };
    let words = ["is left out when it is preempted", "boot with `preempt=voluntary`"];
    assert_refused(&deciding("action: Override, argError: -1"), &kernel, &words);
    let hook =
        "lsmhooks: [{hook: file_open, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]";
    assert_refused(&with_spec(hook), &kernel, &words);
    // Whoever only tells loses nothing but what is counted.
    assert_eq!(super::planned(&with_spec("lsmhooks: [{hook: file_open}]"), &kernel).hooks.len(), 1);
}

/// A kernel with error injection, 64-bit programs only.
fn injecting() -> Fake {
    Fake { injects: true, ..Fake::default() }
}

fn overriding(call: &str) -> String {
    with_spec(&format!(
        "lists: [{{name: one, type: syscalls, values: [{call}]}}]\nkprobes: [{{call: 'list:one', syscall: true, args: [{{index: 0, type: int}}], selectors: [{{matchActions: \
         [{{action: Override, argError: -1}}]}}]}}]"
    ))
}

fn functions(text: &str, kernel: &Fake) -> Vec<(Attach, bool)> {
    let plan = planned(text, kernel);
    let narrow = |hook: &crate::plan::HookPlan| hook.plan.flags & SAKER_PLAN_NARROW != 0;
    plan.hooks.iter().map(|hook| (hook.attach.clone(), narrow(hook))).collect()
}

fn at(function: &str) -> Attach {
    Attach::Decision { function: function.into(), on_return: false }
}

#[test]
fn calls_are_refused_at_their_functions() {
    assert_eq!(functions(&overriding("sys_lseek"), &injecting()), [(at("__x64_sys_lseek"), false)]);
    // A name without an ABI means programs of 32 bits too, by whatever function they come.
    let both = Fake {
        narrow: true,
        functions: vec!["__ia32_compat_sys_lseek", "__ia32_sys_lseek", "__ia32_sys_llseek"],
        ..injecting()
    };
    let narrow = [(at("__ia32_compat_sys_lseek"), true), (at("__ia32_sys_lseek"), true)];
    assert_eq!(functions(&overriding("i386/sys_lseek"), &both), narrow);
    let mut all = vec![(at("__x64_sys_lseek"), false)];
    all.extend(narrow);
    assert_eq!(functions(&overriding("sys_lseek"), &both), all);
    assert_eq!(functions(&overriding("x64/sys_lseek"), &both), [(at("__x64_sys_lseek"), false)]);
}

#[test]
fn calls_that_some_could_still_make_are_not_refused() {
    let mechanisms = Mechanisms { preemptible: true, ..Fake::default().mechanisms };
    let preempted = Fake { mechanisms, ..injecting() };
    assert_refused(&overriding("sys_lseek"), &preempted, &["some calls would not be refused"]);
    let narrow = Fake { narrow: true, ..injecting() };
    assert_refused(
        &overriding("sys_lseek"),
        &narrow,
        &["which function serves sys_lseek to 32-bit programs"],
    );
    for call in ["connect", "socketpair"] {
        assert_refused(&overriding(&format!("i386/sys_{call}")), &narrow, &["by `socketcall` or `ipc`"]);
    }
    let bare = Fake { injects: true, ..Fake::with(false, true, true) };
    assert_refused(&overriding("sys_lseek"), &bare, &["it has no BPF trampolines"]);
}

/// Who is never hit otherwise can be hit by a selector that names it, and by no other.
#[test]
fn selectors_say_whether_they_name_processes() {
    let named = |filter: &str, action: &str| {
        let text = with_hook(&format!("selectors:\n- {filter}\n  matchActions: [{{action: {action}}}]"));
        u32::from(hook(&text, &Fake::default()).plan.selector[0].flags) & SAKER_SELECT_NAMED != 0
    };
    for filter in [
        "matchBinaries: [{operator: In, values: [/sbin/init]}]",
        "matchPIDs: [{operator: In, values: [1]}]",
        "matchPIDs: [{operator: NotIn, values: [7]}]\n  matchBinaries: [{operator: In, values: [/sbin/init]}]",
    ] {
        assert!(named(filter, "Sigkill"), "{filter}");
        assert!(!named(filter, "Post"), "{filter}: it does not act");
    }
    for filter in [
        "matchBinaries: [{operator: NotIn, values: [/bin/sh]}]",
        "matchBinaries: [{operator: Prefix, values: [/]}]",
        "matchBinaries: [{operator: In, values: [/sbin/init], followChildren: true}]",
        "matchPIDs: [{operator: NotIn, values: [7]}]",
        "matchPIDs: [{operator: In, values: [1], isNamespacePID: true}]",
        "matchPIDs: [{operator: In, values: [1], followForks: true}]",
        "matchCapabilities: [{type: Effective, operator: In, values: [CAP_SYS_ADMIN]}]",
    ] {
        assert!(!named(filter, "Sigkill"), "{filter}");
    }
}

#[test]
fn what_hits_everybody_is_told() {
    let told = |text: &str| {
        let plan = planned(text, &Fake::default());
        plan.warnings.iter().any(|one| one.message.contains("for every process that comes here"))
    };
    assert!(told(&deciding("action: Override, argError: -1")));
    let one = with_hook(
        "selectors:\n- matchPIDs: [{operator: In, values: [7]}]\n  matchActions: [{action: Override, argError: -1}]",
    );
    assert!(!told(&one));
    assert!(!told(&deciding("action: Post")));
}

#[test]
fn signals_that_come_too_late_are_told() {
    let late = "does not prevent the operation";
    for (text, hint) in [
        (deciding("action: Sigkill"), "add `Override`"),
        (
            with_spec(
                "kprobes: [{call: sys_openat, syscall: true, selectors: [{matchActions: [{action: Sigkill}]}]}]",
            ),
            "`file_open` under `lsmhooks`",
        ),
    ] {
        let plan = planned(&text, &Fake::default());
        let warning = plan.warnings.iter().find(|one| one.message.contains(late)).expect("a warning");
        assert!(warning.hint.as_ref().is_some_and(|told| told.contains(hint)), "{warning:?}");
        assert!(
            plan.hooks[0].note.contains(late) && plan.hooks[0].note.contains(hint),
            "{}",
            plan.hooks[0].note
        );
        let choices = Choices { require_prevention: true, ..Choices::default() };
        let refused = lower_with(&accepted(&text), &Fake::default(), &choices).err().unwrap_or_default();
        assert!(refused.iter().any(|one| one.message.contains("`require-prevention` is set")), "{refused:?}");
    }
    for text in [
        deciding("action: Sigkill}, {action: Override, argError: -1"),
        with_spec(
            "tracepoints: [{subsystem: sched, event: sched_process_exec, raw: true, selectors: [{matchActions: [{action: Sigkill}]}]}]",
        ),
    ] {
        let plan = planned(&text, &Fake::default());
        assert!(plan.warnings.iter().all(|one| !one.message.contains(late)), "{:?}", plan.warnings);
    }
}

/// What is done at the return of a call.
fn returning(call: &str, further: &str, action: &str) -> String {
    with_spec(&format!(
        "kprobes:\n- call: {call}\n  return: true\n  returnArg: {{index: 0, type: int}}\n{further}  selectors:\n  \
         - matchReturnActions: [{{{action}}}]"
    ))
}

#[test]
fn nothing_is_done_where_returns_go_unseen() {
    const KILL: &str = "action: Sigkill";
    let words = [
        "a kretprobe sees the returns of so many calls",
        "`matchReturnActions` would leave some calls alone",
    ];
    let call = "security_file_open\n  syscall: false";
    let trampoline = Attach::Trampoline { function: FILE_OPEN.into(), on_return: true };
    assert_eq!(hook(&returning(call, "", KILL), &Fake::default()).attach, trampoline);
    let registers = "  data: [{index: 0, type: uint64, source: pt_regs, resolve: rdi}]\n";
    assert_refused(&returning(call, registers, KILL), &Fake::default(), &words);
    assert_refused(
        &returning(call, "", "action: Signal, argSig: 10"),
        &Fake::with(false, true, true),
        &words,
    );
    let full = without_trampoline(&returning(call, "", KILL), &Fake::default(), FILE_OPEN);
    assert!(full.is_err_and(|told| told.contains(words[0]) && told.contains("security_file_open is full")));
    // Whoever only tells, or acts at the call, loses no more than what is counted.
    let kprobe = Attach::Kprobe { function: FILE_OPEN.into(), on_return: true };
    assert_eq!(hook(&returning(call, registers, "action: Post"), &Fake::default()).attach, kprobe);
    let early = returning(call, registers, KILL).replace("matchReturnActions", "matchActions");
    assert_eq!(hook(&early, &Fake::default()).attach, kprobe);
    // All system calls have another way, by which every return is seen.
    let openat = "sys_openat\n  syscall: true";
    let found = hook(&returning(openat, "", KILL), &Fake::with(false, true, true));
    assert_eq!(found.attach, Attach::Syscalls { on_return: true });
    assert!(found.note.contains(words[0]), "{}", found.note);
    let by_function = hook(&returning(openat, "", "action: Post"), &Fake::with(false, true, true));
    assert!(matches!(by_function.attach, Attach::Kprobe { .. }), "{:?}", by_function.attach);
    assert_refused(&returning(openat, registers, KILL), &Fake::default(), &words);
}
