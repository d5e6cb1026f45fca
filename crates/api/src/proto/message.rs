//! Events as types of the compatible interface.

use super::hook::hook_message;
use super::timestamp;
use crate::bits;
use crate::event::{
    BinaryProperties, Caller, Credentials, Event, EventKind, ExecEvent, ExitEvent, Namespace, Namespaces,
    Process, ProcessView,
};
use crate::signal;
use crate::tetragon::{self, get_events_response};

impl From<&Event> for tetragon::GetEventsResponse {
    fn from(event: &Event) -> Self {
        Self { event: Some(inner(event)), ..envelope(event) }
    }
}

/// The fields that do not depend on what happened.
pub(crate) fn envelope(event: &Event) -> tetragon::GetEventsResponse {
    tetragon::GetEventsResponse {
        event: None,
        node_name: event.node.name.clone(),
        time: timestamp(event.time),
        aggregation_info: None,
        cluster_name: event.node.cluster.clone(),
        node_labels: event.node.labels.iter().cloned().collect(),
    }
}

fn inner(event: &Event) -> get_events_response::Event {
    match &event.kind {
        EventKind::Exec(exec) => get_events_response::Event::ProcessExec(exec_message(exec)),
        EventKind::Exit(exit) => get_events_response::Event::ProcessExit(exit_message(event, exit)),
        EventKind::Hook(hook) => hook_message(hook),
        EventKind::Gap(gap) => get_events_response::Event::RateLimitInfo(tetragon::RateLimitInfo {
            number_of_dropped_process_events: gap.lost,
        }),
    }
}

fn exec_message(exec: &ExecEvent) -> tetragon::ProcessExec {
    let mut process = process_message(&exec.process);
    process.binary_properties = shown_properties(&exec.process.process);
    tetragon::ProcessExec {
        process: Some(process),
        parent: exec.parent.as_ref().map(process_message),
        ancestors: exec.ancestors.iter().map(process_message).collect(),
    }
}

fn exit_message(event: &Event, exit: &ExitEvent) -> tetragon::ProcessExit {
    tetragon::ProcessExit {
        process: Some(process_message(&exit.process)),
        parent: exit.parent.as_ref().map(process_message),
        signal: signal::name(exit.signal).to_owned(),
        status: exit.status,
        time: timestamp(event.time),
        ancestors: exit.ancestors.iter().map(process_message).collect(),
    }
}

pub(super) fn process_message(view: &ProcessView) -> tetragon::Process {
    tetragon::Process { refcnt: view.refcnt, ..constant_message(&view.process) }
}

/// The process of a hook's event, of which a thread called.
pub(super) fn caller_message(view: &ProcessView, caller: &Caller) -> tetragon::Process {
    let common = tetragon::Process { refcnt: view.refcnt, ..common_message(&view.process) };
    with_thread(common, thread_message(&view.process, Some(caller)))
}

/// What is the same in all events.
fn constant_message(process: &Process) -> tetragon::Process {
    with_thread(common_message(process), thread_message(process, None))
}

fn with_thread(common: tetragon::Process, thread: tetragon::Process) -> tetragon::Process {
    let tetragon::Process { cap, ns, tid, process_credentials, .. } = thread;
    tetragon::Process { cap, ns, tid, process_credentials, ..common }
}

/// What no event of a hook tells anew.
pub(super) fn common_message(process: &Process) -> tetragon::Process {
    let known = process.has_identity();
    tetragon::Process {
        exec_id: process.exec_id.to_string(),
        pid: Some(process.pid),
        uid: known.then_some(process.uid),
        cwd: process.cwd.to_string(),
        binary: process.binary.to_string(),
        arguments: process.arguments.to_string(),
        flags: process.flags.to_string(),
        start_time: timestamp(process.start_time),
        auid: known.then_some(process.auid),
        pod: process.pod.as_deref().map(|pod| pod_message(pod, process.extra.ns_pid)),
        docker: process.docker.to_string(),
        parent_exec_id: process.parent_exec_id.to_string(),
        user: process.user.as_ref().map(|name| tetragon::UserRecord { name: name.to_string() }),
        in_init_tree: process.in_init_tree,
        environment_variables: process
            .environment
            .iter()
            .map(|(key, value)| tetragon::EnvVar { key: key.to_string(), value: value.to_string() })
            .collect(),
        ..tetragon::Process::default()
    }
}

/// The pod of a process that has this number inside its container; 0: that of the host.
fn pod_message(pod: &tetragon::Pod, ns_pid: u32) -> tetragon::Pod {
    let mut pod = pod.clone();
    if let Some(container) = &mut pod.container {
        container.pid = Some(ns_pid).filter(|pid| *pid != 0);
    }
    pod
}

/// The other fields: as of the exec or, of a thread that called a hook, as far as its record tells them.
pub(super) fn thread_message(process: &Process, caller: Option<&Caller>) -> tetragon::Process {
    let creds = caller.and_then(|caller| caller.creds.as_deref()).or(process.creds.as_deref());
    let creds = creds.filter(|_| process.visible.credentials);
    let namespaces = caller.and_then(|caller| caller.namespaces.as_deref()).or(process.namespaces.as_deref());
    let namespaces = namespaces.filter(|_| process.visible.namespaces);
    let own_tid = process.has_identity().then_some(process.pid);
    tetragon::Process {
        cap: creds.map(capabilities),
        ns: namespaces.map(namespaces_message),
        tid: caller.map(|caller| caller.tid).or(own_tid),
        process_credentials: creds.map(credentials),
        ..tetragon::Process::default()
    }
}

/// The properties of the executed file, when they are shown.
pub(super) fn shown_properties(process: &Process) -> Option<tetragon::BinaryProperties> {
    process.binary_properties.as_deref().filter(|_| process.visible.credentials).map(binary_properties)
}

fn binary_properties(properties: &BinaryProperties) -> tetragon::BinaryProperties {
    tetragon::BinaryProperties {
        setuid: properties.setuid,
        setgid: properties.setgid,
        privileges_changed: properties
            .privileges_changed
            .iter()
            .map(|&change| tetragon::ProcessPrivilegesChanged::from(change).into())
            .collect(),
        file: properties.unlinked.as_ref().map(|(inode, links, path)| tetragon::FileProperties {
            inode: Some(tetragon::InodeProperties { number: *inode, links: Some(*links) }),
            path: path.to_string(),
        }),
    }
}

pub(super) fn capabilities(creds: &Credentials) -> tetragon::Capabilities {
    tetragon::Capabilities {
        permitted: bits::capabilities(creds.cap_permitted).collect(),
        effective: bits::capabilities(creds.cap_effective).collect(),
        inheritable: bits::capabilities(creds.cap_inheritable).collect(),
    }
}

pub(super) fn credentials(creds: &Credentials) -> tetragon::ProcessCredentials {
    tetragon::ProcessCredentials {
        uid: Some(creds.uid),
        gid: Some(creds.gid),
        euid: Some(creds.euid),
        egid: Some(creds.egid),
        suid: Some(creds.suid),
        sgid: Some(creds.sgid),
        fsuid: Some(creds.fsuid),
        fsgid: Some(creds.fsgid),
        securebits: bits::secure_bits(creds.securebits).collect(),
        caps: None,
        user_ns: None,
    }
}

fn namespaces_message(namespaces: &Namespaces) -> tetragon::Namespaces {
    let shown = |namespace: Namespace| {
        (namespace.inum != 0)
            .then_some(tetragon::Namespace { inum: namespace.inum, is_host: namespace.is_host })
    };
    tetragon::Namespaces {
        uts: shown(namespaces.uts),
        ipc: shown(namespaces.ipc),
        mnt: shown(namespaces.mnt),
        pid: shown(namespaces.pid),
        pid_for_children: shown(namespaces.pid_for_children),
        net: shown(namespaces.net),
        time: shown(namespaces.time),
        time_for_children: shown(namespaces.time_for_children),
        cgroup: shown(namespaces.cgroup),
        user: shown(namespaces.user),
    }
}
