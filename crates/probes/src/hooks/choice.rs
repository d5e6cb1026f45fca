//! Which programs of the object a hook needs, and what they attach to.

use std::path::Path;

use libbpf_rs::ProgramAttachType;
use libbpf_rs::skel::OpenSkel;
use saker_policy::plan::Attach;

use super::attach::programs;
use super::needs::hashes;
use super::{HookSpec, group};
use crate::Error;
use crate::hook_skel::OpenHookSkel;
use crate::loader::{self, Section};

/// Number of `saker_mechanism` in `bpf/policy/context.h`.
pub(super) fn mechanism_number(attach: &Attach) -> u32 {
    match attach {
        Attach::Trampoline { .. }
        | Attach::Exit { .. }
        | Attach::Decision { .. }
        | Attach::Lsm(_)
        | Attach::Group { .. }
        | Attach::RawTracepoint(_) => 0,
        Attach::Kprobe { .. } | Attach::Kprobes { .. } => 1,
        Attach::Syscalls { .. } => 2,
        Attach::Tracepoint { .. } => 3,
        Attach::Uprobe { .. } => 4,
    }
}

/// Says 0 where the kernel has functions call nothing, whatever is attached to them (`ftrace_startup_enable` in
/// kernel/trace/ftrace.c).
pub(super) const CALLS_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";

/// Whether programs are called from where the kernel's functions begin.
pub(super) fn is_called_by_functions(attach: &Attach) -> bool {
    match attach {
        Attach::Trampoline { .. }
        | Attach::Exit { .. }
        | Attach::Decision { .. }
        | Attach::Lsm(_)
        | Attach::Kprobe { .. }
        | Attach::Kprobes { .. } => true,
        Attach::Group { .. }
        | Attach::RawTracepoint(_)
        | Attach::Syscalls { .. }
        | Attach::Tracepoint { .. }
        | Attach::Uprobe { .. } => false,
    }
}

/// Refuses what would be attached and never called.
pub(super) fn check_functions_call(attach: &Attach, enabled: &Path) -> Result<(), Error> {
    // A kernel without that file cannot leave them uncalled.
    match std::fs::read_to_string(enabled) {
        Ok(text) if text.trim() == "0" => Err(Error::Option(format!(
            "a hook by {} would never be called, for kernel.ftrace_enabled is 0: set it to 1 by `sysctl`",
            attach.mechanism()
        ))),
        _ => Ok(()),
    }
}

/// Has only the programs loaded that attach, and says what to.
pub(super) fn choose_programs(
    open: &mut OpenHookSkel<'_>,
    spec: &HookSpec,
    preemption: &[(i32, u32)],
    targets_known: bool,
) -> Result<(), libbpf_rs::Error> {
    let attach = &spec.attach;
    let wanted = programs(attach, hashes(&spec.plan));
    for mut program in open.open_object_mut().progs_mut() {
        let chosen = wanted.iter().find(|(name, _)| program.name() == *name);
        program.set_autoload(chosen.is_some());
        let Some((_, target)) = chosen else { continue };
        loader::forbid_preemption(&mut program, preemption)?;
        if attach.is_at_once() {
            program.set_attach_type(match attach {
                Attach::Kprobes { .. } => ProgramAttachType::KprobeMulti,
                _ => ProgramAttachType::TraceUprobeMulti,
            });
        }
        if let Some(target) = target.as_ref().filter(|_| !targets_known) {
            program.set_attach_target(0, Some(target.clone()))?;
        }
    }
    Ok(())
}

/// What the programs of an attachment attach to, as the kernel's description of types calls it.
pub(super) fn target(attach: &Attach) -> Option<String> {
    match attach {
        Attach::Trampoline { function, .. }
        | Attach::Exit { function }
        | Attach::Decision { function, .. } => Some(function.clone()),
        Attach::Lsm(hook) => Some(format!("bpf_lsm_{hook}")),
        Attach::RawTracepoint(event) => Some(format!("btf_trace_{event}")),
        Attach::Syscalls { .. }
        | Attach::Kprobe { .. }
        | Attach::Kprobes { .. }
        | Attach::Group { .. }
        | Attach::Tracepoint { .. }
        | Attach::Uprobe { .. } => None,
    }
}

/// Targets of the programs that see all system calls.
pub(super) const SYSCALLS: [&str; 2] = ["btf_trace_sys_enter", "btf_trace_sys_exit"];

/// The sections of the programs of an attachment, whose target is this.
pub(super) fn sections<'a>(attach: &Attach, target: &'a str) -> Vec<Section<'a>> {
    let probe = libbpf_rs::libbpf_sys::BPF_PROG_TYPE_KPROBE;
    match attach {
        Attach::Exit { .. } => vec![Section::exit(c"fexit", target)],
        Attach::Trampoline { .. } => vec![Section::entry(c"fentry", target), Section::exit(c"fexit", target)],
        Attach::Decision { .. } => {
            vec![Section::modify(c"fmod_ret", target), Section::exit(c"fexit", target)]
        }
        Attach::Lsm(_) => vec![Section::lsm(c"lsm", target), Section::sleepable_lsm(c"lsm.s", target)],
        Attach::Group { call, .. } => group::sections(*call),
        Attach::RawTracepoint(_) => vec![Section::tracepoint(c"tp_btf", target)],
        Attach::Syscalls { .. } => vec![
            Section::tracepoint(c"tp_btf/sys_enter", SYSCALLS[0]),
            Section::tracepoint(c"tp_btf/sys_exit", SYSCALLS[1]),
        ],
        Attach::Kprobe { .. } | Attach::Kprobes { .. } => {
            vec![Section::free(c"kprobe", probe), Section::free(c"kretprobe", probe)]
        }
        Attach::Uprobe { .. } => vec![Section::free(c"uprobe", probe), Section::free(c"uretprobe", probe)],
        Attach::Tracepoint { .. } => {
            vec![Section::free(c"tp", libbpf_rs::libbpf_sys::BPF_PROG_TYPE_TRACEPOINT)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_call_nothing_take_no_hook() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ftrace_enabled");
        let exit = Attach::Exit { function: "security_file_open".into() };
        assert!(check_functions_call(&exit, &file).is_ok(), "there is no such file");
        std::fs::write(&file, "1\n").expect("written");
        assert!(check_functions_call(&exit, &file).is_ok());
        std::fs::write(&file, "0\n").expect("written");
        let refused = check_functions_call(&exit, &file).expect_err("nothing would be called");
        assert!(refused.to_string().contains("kernel.ftrace_enabled"), "{refused}");
        assert!(is_called_by_functions(&exit) && !is_called_by_functions(&Attach::RawTracepoint("x".into())));
    }
}
