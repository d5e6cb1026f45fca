//! Events of policies as types of both interfaces.

use super::message::{caller_message, process_message};
use crate::event::{Argument, Family, Frame, HookEvent};
use crate::tetragon::get_events_response::Event as Kind;
use crate::{saker_v1, tetragon};

pub(super) fn hook_message(event: &HookEvent) -> Kind {
    let hook = &*event.hook;
    let process = Some(caller_message(&event.process, &event.caller));
    let parent = event.parent.as_ref().map(process_message);
    let ancestors = event.more.ancestors.iter().map(process_message).collect();
    let function = event.function.to_string();
    let args = compatible(&event.args);
    let (policy_name, message) = (hook.policy.clone(), hook.message.clone());
    let (tags, action) = (hook.tags.clone(), event.action);
    let (subsystem, name, path) = (hook.subsystem.clone(), hook.event.clone(), hook.path.clone());
    match hook.family {
        Family::Kprobe => Kind::ProcessKprobe(tetragon::ProcessKprobe {
            process,
            parent,
            function_name: function,
            args,
            r#return: event.result.as_ref().map(Argument::compatible),
            action,
            kernel_stack_trace: frames(&event.more.kernel_stack),
            policy_name,
            return_action: event.return_action,
            message,
            tags,
            user_stack_trace: frames(&event.more.user_stack),
            ancestors,
            data: compatible(&event.more.data),
        }),
        Family::Tracepoint => Kind::ProcessTracepoint(tetragon::ProcessTracepoint {
            process,
            parent,
            subsys: subsystem,
            event: name,
            args,
            policy_name,
            action,
            message,
            tags,
            ancestors,
        }),
        Family::Uprobe => Kind::ProcessUprobe(tetragon::ProcessUprobe {
            process,
            parent,
            path,
            symbol: function,
            policy_name,
            message,
            args,
            tags,
            ancestors,
            offset: hook.offset,
            ref_ctr_offset: hook.ref_ctr_offset,
            action,
            data: compatible(&event.more.data),
        }),
        Family::Usdt => Kind::ProcessUsdt(tetragon::ProcessUsdt {
            process,
            parent,
            path,
            provider: subsystem,
            name,
            policy_name,
            message,
            args,
            tags,
            ancestors,
            action,
            flags: String::new(),
        }),
        Family::Lsm => Kind::ProcessLsm(tetragon::ProcessLsm {
            process,
            parent,
            function_name: function,
            policy_name,
            message,
            args,
            action,
            tags,
            ancestors,
            ima_hash: event.more.file_hash.to_string(),
        }),
        Family::Loader => {
            let loaded = event.more.loaded.as_ref();
            Kind::ProcessLoader(tetragon::ProcessLoader {
                process,
                path: loaded.map(|loaded| loaded.path.clone()).unwrap_or_default(),
                buildid: loaded.map(|loaded| loaded.build_id.clone().into()).unwrap_or_default(),
                parent,
                ancestors,
            })
        }
    }
}

/// Frames in their compatible form.
pub(super) fn frames(frames: &[Frame]) -> Vec<tetragon::StackTraceEntry> {
    frames.iter().map(frame).collect()
}

/// A frame in its compatible form.
pub(super) fn frame(frame: &Frame) -> tetragon::StackTraceEntry {
    tetragon::StackTraceEntry {
        address: frame.address,
        offset: frame.offset,
        symbol: frame.symbol.to_string(),
        module: frame.module.to_string(),
    }
}

fn compatible(arguments: &[Argument]) -> Vec<tetragon::KprobeArgument> {
    arguments.iter().map(Argument::compatible).collect()
}

pub(super) fn hook_extra(event: &HookEvent) -> saker_v1::HookExtra {
    let extras = |arguments: &[Argument]| arguments.iter().map(Argument::extra).collect();
    let family = event.hook.family;
    let ours = |stack: &[Frame]| if family.has_stacks() { Vec::new() } else { frames(stack) };
    saker_v1::HookExtra {
        selector: event.selector.map(u32::from),
        repeats: event.repeats,
        cgroup_id: event.cgroup_id,
        return_missing: event.more.return_missing.to_owned(),
        entry_missing: event.entry_missing,
        socket_owner: event.socket_owner,
        action_withheld: event.more.action_withheld.to_owned(),
        return_action_withheld: event.more.return_action_withheld.to_owned(),
        workload_undecided: event.workload_undecided,
        policy_namespace: event.hook.policy_namespace.clone(),
        args: extras(&event.args),
        data: if family.has_data() { extras(&event.more.data) } else { Vec::new() },
        r#return: event.result.as_ref().filter(|_| family.has_return()).map(Argument::extra),
        kernel_stack: ours(&event.more.kernel_stack),
        user_stack: ours(&event.more.user_stack),
        stack_missing: event.more.stack_missing.to_owned(),
        ima_hash_missing: event.more.file_hash_missing.to_owned(),
    }
}
