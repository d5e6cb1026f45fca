//! Which programs of the object a hook needs, and what they attach to.

use libbpf_rs::ProgramAttachType;
use libbpf_rs::skel::OpenSkel;
use saker_policy::plan::Attach;

use super::attach::programs;
use super::needs::hashes;
use super::{HookSpec, group};
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
