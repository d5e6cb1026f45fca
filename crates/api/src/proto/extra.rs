//! What only our interface tells, as its types.

use super::hook::hook_extra;
use super::message::{capabilities, credentials};
use crate::bits;
use crate::event::{Caller, Credentials, Event, EventKind, ExitEvent, GapEvent, Process, ProcessView};
use crate::{saker_v1, tetragon};

impl From<&Event> for saker_v1::Event {
    fn from(event: &Event) -> Self {
        Self { event: Some(event.into()), ..additions(event) }
    }
}

/// Everything of our message but the compatible event inside it.
fn additions(event: &Event) -> saker_v1::Event {
    let extra = |view: &ProcessView| process_extra(&view.process, None);
    let (process, parent, ancestors) = event.kind.processes();
    let caller = if let EventKind::Hook(hook) = &event.kind { Some(&hook.caller) } else { None };
    saker_v1::Event {
        process: process.map(|view| process_extra(&view.process, caller)),
        parent: parent.map(extra),
        ancestors: ancestors.iter().map(extra).collect(),
        ..without_processes(event)
    }
}

/// What our message adds that does not belong to a process.
pub(super) fn without_processes(event: &Event) -> saker_v1::Event {
    let (mut exit, mut gap, mut hook) = (None, None, None);
    match &event.kind {
        EventKind::Exec(_) => {}
        EventKind::Exit(event) => exit = Some(exit_extra(event)),
        EventKind::Gap(event) => gap = Some(gap_message(event)),
        EventKind::Hook(event) => hook = Some(hook_extra(event)),
    }
    saker_v1::Event { exit, gap, hook, ..saker_v1::Event::default() }
}

fn process_extra(process: &Process, caller: Option<&Caller>) -> saker_v1::ProcessExtra {
    let saker_v1::ProcessExtra { cap_bounding, cap_ambient, user_ns, .. } = thread_extra(process, caller);
    saker_v1::ProcessExtra { cap_bounding, cap_ambient, user_ns, ..common_extra(process) }
}

/// What no event of a hook tells anew.
pub(super) fn common_extra(process: &Process) -> saker_v1::ProcessExtra {
    let extra = &*process.extra;
    saker_v1::ProcessExtra {
        canonical_path: extra.canonical_path.to_string(),
        inode: extra.inode,
        device: extra.device_text(),
        interpreter: extra.interpreter.to_string(),
        script: extra.script.to_string(),
        tty: extra.tty.to_string(),
        session_id: extra.session_id,
        process_group: extra.process_group,
        audit_session: extra.audit_session_if_set(),
        ns_pid: extra.ns_pid,
        exec_tid: extra.exec_tid,
        cgroup_id: extra.cgroup_id,
        memfd: extra.memfd,
        deleted: extra.deleted,
        no_new_privs: extra.no_new_privs,
        argv: extra.argv.iter().map(ToString::to_string).collect(),
        arguments_length: extra.arguments_length,
        environment_length: extra.environment_length,
        reparented_to: extra.reparented_to.to_string(),
        previous_exec_id: extra.previous_exec_id.to_string(),
        command: extra.command.to_string(),
        reconstructed: extra.reconstructed,
        ..saker_v1::ProcessExtra::default()
    }
}

/// The other fields: as of the exec or, of a thread that called a hook, as far as its record tells them.
pub(super) fn thread_extra(process: &Process, caller: Option<&Caller>) -> saker_v1::ProcessExtra {
    let creds = caller.and_then(|caller| caller.creds.as_deref()).or(process.creds.as_deref());
    let creds = creds.filter(|_| process.visible.credentials);
    saker_v1::ProcessExtra {
        cap_bounding: creds.map(|creds| format!("{:016x}", creds.cap_bounding)).unwrap_or_default(),
        cap_ambient: creds
            .filter(|creds| creds.cap_ambient != 0)
            .map(|creds| format!("{:016x}", creds.cap_ambient))
            .unwrap_or_default(),
        user_ns: creds.and_then(user_namespace),
        ..saker_v1::ProcessExtra::default()
    }
}

fn exit_extra(exit: &ExitEvent) -> saker_v1::ExitExtra {
    let visible = exit.process.process.visible;
    saker_v1::ExitExtra {
        core_dumped: exit.core_dumped,
        tid: exit.tid,
        credentials_at_exit: exit.creds.as_deref().filter(|_| visible.credentials).map(|creds| {
            tetragon::ProcessCredentials {
                caps: Some(capabilities(creds)),
                user_ns: user_namespace(creds),
                ..credentials(creds)
            }
        }),
        reparented_to: exit.reparented_to.as_deref().unwrap_or_default().to_owned(),
        reconstructed: exit.reconstructed,
    }
}

/// The user namespace, unless it is the host's.
fn user_namespace(creds: &Credentials) -> Option<tetragon::UserNamespace> {
    (creds.userns_level != 0).then(|| tetragon::UserNamespace {
        level: Some(bits::user_namespace_level(creds)),
        uid: Some(creds.userns_uid),
        gid: Some(creds.userns_gid),
        ns: None,
    })
}

fn gap_message(gap: &GapEvent) -> saker_v1::Gap {
    saker_v1::Gap {
        lost: gap.lost,
        cpu: gap.cpu,
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        stage: gap.stage.to_owned(),
        causes: gap.merged_causes().map(|(cause, count)| (cause.to_owned(), count)).collect(),
    }
}
