//! Actions that interfere: signals, and results in place of calls.

use saker_abi::generated::{
    SAKER_PLAN_ENFORCES, SAKER_SELECT_NAMED, SAKER_SELECT_OVERRIDE, saker_plan, saker_selector_plan,
};

use super::targets::{Reads, Site};
use super::{Lowering, group};
use crate::diagnostic::{At, Problem};
use crate::model::{ActionKind, Functions, Hook, PathTest, Selector, Target};
use crate::plan::{Attach, Signature, SocketCall, TypeKind};

/// The signal that nobody can refuse.
pub(super) const SIGKILL: u32 = 9;
/// What a program of an LSM hook may return at least. Source: `MAX_ERRNO` of include/linux/err.h.
const ERRNO_MAX: i32 = 4095;

/// LSM hooks that decide about what a system call asks for. Of calls with several ways only those that all of them take.
const DECIDED_BY: [(&str, &str); 39] = [
    ("accept", "socket_accept"),
    ("accept4", "socket_accept"),
    ("bind", "socket_bind"),
    ("bpf", "bpf"),
    ("chmod", "path_chmod"),
    ("chown", "path_chown"),
    ("chroot", "path_chroot"),
    ("connect", "socket_connect"),
    ("creat", "file_open"),
    ("execve", "bprm_check_security"),
    ("execveat", "bprm_check_security"),
    ("fchmod", "path_chmod"),
    ("fchmodat", "path_chmod"),
    ("fchown", "path_chown"),
    ("finit_module", "kernel_read_file"),
    ("init_module", "kernel_load_data"),
    ("ioctl", "file_ioctl"),
    ("kill", "task_kill"),
    ("link", "path_link"),
    ("linkat", "path_link"),
    ("listen", "socket_listen"),
    ("mkdir", "path_mkdir"),
    ("mkdirat", "path_mkdir"),
    ("mknodat", "path_mknod"),
    ("mmap", "mmap_file"),
    ("mount", "sb_mount"),
    ("mprotect", "file_mprotect"),
    ("open", "file_open"),
    ("openat", "file_open"),
    ("openat2", "file_open"),
    ("pivot_root", "sb_pivotroot"),
    ("ptrace", "ptrace_access_check"),
    ("rename", "path_rename"),
    ("renameat2", "path_rename"),
    ("sendto", "socket_sendmsg"),
    ("symlinkat", "path_symlink"),
    ("tgkill", "task_kill"),
    ("truncate", "path_truncate"),
    ("unlinkat", "path_unlink"),
];

/// Puts a signal into a selector's plan.
pub(super) fn signal(cx: &mut Lowering<'_>, signal: u32, plan: &mut saker_selector_plan, at: &At) {
    let number = u8::try_from(signal).unwrap_or_default();
    if plan.signal != 0 && plan.signal != number {
        let message = format!("the signals {} and {number} cannot both be sent", plan.signal);
        cx.report.error_hint(at, message, "keep one; none is needed beside `Sigkill`");
    }
    plan.signal = number;
    plan.action = super::selectors::byte(if signal == SIGKILL {
        saker_abi::generated::SAKER_ACTION_SIGKILL
    } else {
        saker_abi::generated::SAKER_ACTION_SIGNAL
    });
}

/// Puts a result in place of the call into a selector's plan.
pub(super) fn refusal(cx: &mut Lowering<'_>, error: i32, plan: &mut saker_selector_plan, at: &At) {
    let at = At { span: at.span, path: at.path.field("argError") };
    match i16::try_from(error) {
        Ok(0) => {
            let hint = "write `argError: -1` for EPERM, or another negative errno";
            cx.report.error_hint(&at, "`Override` with 0 refuses nothing", hint);
        }
        Ok(number) if (-ERRNO_MAX..=ERRNO_MAX).contains(&error) => plan.error = number,
        _ => {
            let hint = "-4095 to -1 are numbers of errors";
            cx.report.error_hint(&at, format!("{error} cannot be returned by a function that decides"), hint);
        }
    }
    plan.flags |= super::selectors::byte(SAKER_SELECT_OVERRIDE);
    plan.action = super::selectors::byte(saker_abi::generated::SAKER_ACTION_OVERRIDE);
}

/// Says in a plan that it acts, if it does.
pub(super) fn mark(plan: &mut saker_plan) {
    if plan.selector.iter().chain(&plan.return_selector).any(acts) {
        plan.flags |= SAKER_PLAN_ENFORCES;
    }
}

fn acts(plan: &saker_selector_plan) -> bool {
    plan.signal != 0 || plan.also != 0 || u32::from(plan.flags) & SAKER_SELECT_OVERRIDE != 0
}

/// Says in the plan of a selector that acts whether it names programs or processes one by one: only such a selector can be
/// meant for the first process of the machine, or for the agent.
pub(super) fn name(selector: &Selector, plan: &mut saker_selector_plan) {
    let mut programs = selector.binaries.iter();
    let mut pids = selector.pids.iter();
    let program =
        programs.any(|one| !one.negated && !one.follow_children && matches!(one.test, PathTest::Equal(_)));
    if acts(plan) && (program || pids.any(|one| !one.negated && !one.in_namespace && !one.follow_forks)) {
        plan.flags |= super::selectors::byte(SAKER_SELECT_NAMED);
    }
}

/// Whether a selector of a hook gives a result in place of the call.
pub(super) fn overrides(hook: &Hook) -> bool {
    let mut actions = hook.selectors.iter().flat_map(|selector| &selector.actions);
    actions.any(|action| refuses(&action.kind))
}

/// Whether an action gives a result in place of the call.
pub(super) fn refuses(action: &ActionKind) -> bool {
    matches!(action, ActionKind::Override { .. } | ActionKind::NotifyEnforcer { error: 1.. | ..=-1, .. })
}

/// What decides in place of a function, by the strongest way that this kernel has, or by the one that is asked for.
pub(super) fn decision(cx: &Lowering<'_>, hook: &Hook, name: &str, on_return: bool) -> Result<Site, Problem> {
    let call = name.strip_prefix("security_").and_then(SocketCall::of_lsm_hook);
    if group::is_asked_for(cx) {
        let signature = cx.kernel.function(name);
        return group::site(cx, hook, call, name, signature, "as the policy asks for it");
    }
    let problem = match stronger(cx, name, on_return) {
        Ok(site) => return Ok(site),
        Err(problem) => problem,
    };
    match (call, cx.kernel.function(name)) {
        (Some(_), signature @ Some(_)) => group::site(cx, hook, call, name, signature, &problem.message),
        _ => Err(problem),
    }
}

/// What decides in place of an LSM hook where programs of LSM hooks take no effect, or are not to be taken; none: nothing
/// could, or nothing has to.
pub(super) fn instead_of_lsm(cx: &Lowering<'_>, hook: &Hook, name: &str) -> Option<Result<Site, Problem>> {
    let signature = cx.kernel.lsm_hook(name);
    let call = SocketCall::of_lsm_hook(name);
    if group::is_asked_for(cx) {
        return Some(group::site(cx, hook, call, name, signature, "as the policy asks for it"));
    }
    if cx.kernel.mechanisms().lsm {
        return None;
    }
    let function = format!("security_{name}");
    let same = cx.kernel.function(&function).filter(|own| same_arguments(Some(own), signature.as_ref()));
    let reason = match same.map(|_| stronger(cx, &function, false)) {
        Some(Ok(site)) => return Some(Ok(Site { function: name.to_owned(), ..site })),
        Some(Err(problem)) => problem.message,
        None => format!("LSM programs take no effect on this kernel ({})", cx.kernel.release()),
    };
    call.map(|_| group::site(cx, hook, call, name, signature, &reason))
}

fn same_arguments(one: Option<&Signature>, other: Option<&Signature>) -> bool {
    let kinds = |of: &Signature| of.arguments.iter().map(|(_, kind)| kind.clone()).collect::<Vec<_>>();
    one.map(kinds) == other.map(kinds)
}

/// What sees every call of a function, and decides in its place.
fn stronger(cx: &Lowering<'_>, name: &str, on_return: bool) -> Result<Site, Problem> {
    let mechanisms = cx.kernel.mechanisms();
    let release = cx.kernel.release();
    let Some(hook) = name.strip_prefix("security_") else {
        let message = format!(
            "{name} cannot be overridden: the kernel lets programs decide for security_* functions only"
        );
        return Err(Problem::hint(message, denying(name)));
    };
    let Some(signature) = cx.kernel.function(name) else {
        return Err(Problem::new(format!(
            "this kernel ({release}) does not describe {name}, so it cannot be overridden"
        )));
    };
    if !decides(&signature) {
        return Err(Problem::new(format!(
            "{name} does not decide about anything: it has no result that could refuse it"
        )));
    }
    let same = |lsm: &Signature| same_arguments(Some(lsm), Some(&signature));
    let whole = mechanisms.lsm && !mechanisms.lsm_left_out;
    let lsm = cx.kernel.lsm_hook(hook).filter(|lsm| whole && !on_return && same(lsm));
    // No call is left out at an LSM hook; a program of a trampoline is left out while another task has it preempted.
    if let Some(lsm) = lsm {
        let words = lsm.arguments.len();
        let attach = Attach::Lsm(hook.to_owned());
        let mut site = Site::new(attach, name.to_owned(), Reads::Function(Some(lsm)), words);
        site.note = format!("decides at the LSM hook {hook}, where no call is left out");
        return Ok(site);
    }
    if mechanisms.trampoline && !mechanisms.preemptible && !cx.choices.no_trampoline.contains_key(name) {
        let words = signature.arguments.len();
        let attach = Attach::Decision { function: name.to_owned(), on_return };
        return Ok(Site::new(attach, name.to_owned(), Reads::Function(Some(signature)), words));
    }
    let (message, hint) = if mechanisms.trampoline && mechanisms.preemptible {
        (
            format!(
                "on this kernel ({release}) a program at {name} is left out when it is preempted, so that some calls \
                     would not be refused"
            ),
            if mechanisms.lsm_left_out {
                "boot with `preempt=voluntary`, or a kernel from Linux 6.2 on"
            } else if on_return && mechanisms.lsm {
                "take `return` out: then it decides at the LSM hook, where none is left out"
            } else {
                "boot with `bpf` in `lsm=`: then it decides at the LSM hook, where none is left out"
            },
        )
    } else {
        (
            format!("this kernel ({release}) lets no program decide in place of {name}"),
            "boot a kernel with BPF trampolines, or with LSM programs and `bpf` in `lsm=`",
        )
    };
    Err(Problem::hint(message, hint))
}

/// Whether a function has a result that says whether something may be done.
fn decides(signature: &Signature) -> bool {
    matches!(signature.result, TypeKind::Integer { size: 4, signed: true })
}

/// Where the operation of a function or system call can be refused.
pub(super) fn denying(name: &str) -> String {
    let call = name.rsplit("sys_").next().unwrap_or(name);
    match DECIDED_BY.iter().find(|(known, _)| *known == call) {
        Some((_, hook)) => {
            format!("`{hook}` under `lsmhooks` decides about it: write the hook there, with `Override`")
        }
        None => "look for the LSM hook that decides about it, and write it under `lsmhooks` with `Override`"
            .to_owned(),
    }
}

/// Checks that an LSM hook can refuse, if it is to.
pub(super) fn check_lsm(cx: &mut Lowering<'_>, hook: &Hook, signature: &Signature, at: &At) {
    if overrides(hook) && !decides(signature) {
        let message = "this LSM hook does not decide about anything: it has no result that could refuse it";
        cx.report.error_hint(at, message, "take `Override` out, or hook what comes before it");
    }
}

/// Checks that no call is left out at LSM hooks, where this one is to refuse.
pub(super) fn check_left_out(cx: &mut Lowering<'_>, hook: &Hook, at: &At) {
    if overrides(hook) && cx.kernel.mechanisms().lsm_left_out {
        let message = format!(
            "on this kernel ({}) a program at an LSM hook is left out when it is preempted, so that some calls would not \
             be refused",
            cx.kernel.release()
        );
        cx.report.error_hint(at, message, "boot with `preempt=voluntary`, or a kernel from Linux 6.2 on");
    }
}

/// Tells of selectors that hit every process that calls.
pub(super) fn unbounded(cx: &mut Lowering<'_>, hook: &Hook, at: &At) {
    for (index, selector) in hook.selectors.iter().enumerate() {
        let acts = selector.actions.iter().find(|action| action.kind.name().enforces());
        let Some(action) = acts.filter(|_| selector.has_no_filters()) else { continue };
        let at = At { span: selector.span, path: at.path.field("selectors").index(index) };
        let name = action.kind.name().name();
        let message =
            format!("`{name}` is for every process that comes here: the selector has no conditions");
        cx.report.warning(&at, message, "add conditions, or try it with the mode `monitor` first");
    }
}

/// Tells of actions that come when the operation can no longer be prevented. What is said goes into the status too.
pub(super) fn late(cx: &mut Lowering<'_>, hook: &Hook, at: &At) -> String {
    let mut told = String::new();
    for (index, selector) in hook.selectors.iter().enumerate() {
        let refused = selector.actions.iter().any(|action| refuses(&action.kind));
        let early = selector.actions.iter().filter(|_| !refused && !before(&hook.target));
        let returns = selector.return_actions.iter();
        for (field, action) in
            early.map(|one| ("matchActions", one)).chain(returns.map(|one| ("matchReturnActions", one)))
        {
            let signals = matches!(
                action.kind,
                ActionKind::Sigkill | ActionKind::Signal(_) | ActionKind::NotifyEnforcer { .. }
            );
            if !signals {
                continue;
            }
            let path = at.path.field("selectors").index(index).field(field);
            let at = At { span: action.span, path };
            let name = action.kind.name().name();
            let message = format!(
                "`{name}` does not prevent the operation: the process gets the signal when the kernel is \
                                   done with it"
            );
            let hint = preventing(&hook.target);
            if cx.choices.require_prevention {
                cx.report.error_hint(
                    &at,
                    format!("{message}, and `require-prevention` is set"),
                    hint.clone(),
                );
            } else {
                cx.report.warning(&at, message.clone(), hint.clone());
            }
            if told.is_empty() {
                told = format!("{message}; {hint}");
            }
        }
    }
    told
}

/// Whether a hook acts at the return of a call.
pub(super) fn acts_on_return(hook: &Hook) -> bool {
    let mut actions = hook.selectors.iter().flat_map(|selector| &selector.return_actions);
    hook.on_return.is_some() && actions.any(|action| action.kind.name().enforces())
}

/// Why nothing can be done for sure at the return of what a site hooks; none: it can. A kretprobe has places for so many
/// calls under way, and sees nothing of the return of further ones: calls that sleep in the function take them all.
/// Source: kernel/kprobes.c (`register_kretprobe`, `pre_handler_kretprobe`), kernel/trace/fprobe.c (`fprobe_init_rethook`).
pub(super) fn misses_returns(site: &Site) -> Option<String> {
    let by_kretprobe = matches!(
        site.attach,
        Attach::Kprobe { on_return: true, .. } | Attach::Kprobes { on_return: true, .. }
    );
    by_kretprobe.then(|| {
        format!(
            "a kretprobe sees the returns of so many calls of {} at once only (one for each CPU, on preemptible kernels \
             twice as many and at least ten)",
            site.function
        )
    })
}

/// Checks that all returns are seen, where something is done at them.
pub(super) fn check_returns(cx: &mut Lowering<'_>, hook: &Hook, sites: &[Site], at: &At) {
    if !acts_on_return(hook) {
        return;
    }
    for (site, reason) in sites.iter().filter_map(|site| Some((site, misses_returns(site)?))) {
        let because = if site.note.is_empty() { String::new() } else { format!("; {}", site.note) };
        let message = format!("{reason}, so that `matchReturnActions` would leave some calls alone{because}");
        let hint = "put the action under `matchActions`; or take `source: pt_regs` out, or hook a function that trampolines are made \
                    for: their programs see every return";
        cx.report.error_hint(at, message, hint);
    }
}

/// Whether a signal takes effect before what the hook tells of: programs get signals before they go on.
fn before(target: &Target) -> bool {
    match target {
        Target::Uprobe(_) | Target::Usdt(_) => true,
        // The new program has not begun.
        Target::Tracepoint { event, .. } => event.value == "sched_process_exec",
        Target::Lsm(name) => name.value == "bprm_committed_creds" || name.value == "bprm_committing_creds",
        Target::Kprobe(_) | Target::Fentry(_) => false,
    }
}

/// What prevents the operation that a hook tells of.
pub(super) fn preventing(target: &Target) -> String {
    match target {
        Target::Lsm(_) => "add `Override` with `argError: -1`, which refuses it".to_owned(),
        Target::Kprobe(call) => match &call.functions {
            Functions::Named(name) if name.value.starts_with("security_") => {
                "add `Override` with `argError: -1`, which refuses it".to_owned()
            }
            Functions::Named(name) => denying(&name.value),
            Functions::List(_) => denying(""),
        },
        Target::Tracepoint { event, .. } => denying(event.value.trim_start_matches("sys_enter_")),
        _ => denying(""),
    }
}
