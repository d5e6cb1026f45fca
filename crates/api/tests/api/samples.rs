//! Events as an agent would tell them.

use std::sync::Arc;

use saker_api::event::{
    BinaryProperties, Credentials, Event, EventKind, ExecEvent, ExitEvent, GapEvent, Namespace, Namespaces,
    Node, PrivilegesChanged, Process, ProcessExtra, ProcessView, Timestamp, Visible,
};

/// 2026-11-23T08:30:00.123456789Z
pub const TIME: Timestamp = Timestamp(1_795_422_600_123_456_789);

const EVERYTHING: Visible = Visible { credentials: true, namespaces: true, extras: true };
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

fn event(kind: EventKind) -> Event {
    let node = Node { name: "kestrel".to_owned(), ..Node::default() };
    Event { time: TIME, node: Arc::new(node), kind }
}

pub fn view(process: Process) -> ProcessView {
    ProcessView { process: Arc::new(process), refcnt: 1 }
}

/// A shell, parent of most.
pub fn shell() -> Process {
    Process {
        exec_id: "a2VzdHJlbDo5MDAwMDAwMDAwOjkwMA==".into(),
        pid: 900,
        uid: 1000,
        auid: 1000,
        cwd: "/home/ada".into(),
        binary: "/usr/bin/bash".into(),
        flags: "procFS".into(),
        start_time: Timestamp(1_795_422_000_000_000_000),
        parent_exec_id: "a2VzdHJlbDoxOjA=".into(),
        ..Process::default()
    }
}

/// What the shell runs.
pub fn curl() -> Process {
    Process {
        exec_id: "a2VzdHJlbDoxMjM0NTY3ODkwMTI6MTAwMQ==".into(),
        pid: 1001,
        uid: 1000,
        auid: 1000,
        cwd: "/home/ada".into(),
        binary: "/usr/bin/curl".into(),
        arguments: "-s https://example.org/ \"a b\"".into(),
        flags: "execve clone".into(),
        start_time: Timestamp(1_795_422_600_123_000_000),
        parent_exec_id: shell().exec_id,
        ..Process::default()
    }
}

fn exec_of(process: Process, parent: Option<Process>) -> Event {
    event(EventKind::Exec(ExecEvent {
        process: view(process),
        parent: parent.map(view),
        ancestors: Vec::new(),
    }))
}

fn exit_of(process: Process) -> ExitEvent {
    ExitEvent {
        tid: process.pid,
        process: view(process),
        parent: Some(view(shell())),
        ancestors: Vec::new(),
        signal: 0,
        core_dumped: false,
        status: 0,
        creds: None,
        reparented_to: None,
        reconstructed: false,
    }
}

pub fn exec() -> Event {
    exec_of(curl(), Some(shell()))
}

pub fn exit() -> Event {
    event(EventKind::Exit(ExitEvent { status: 6, ..exit_of(curl()) }))
}

fn killed() -> Event {
    let process = Process { visible: EVERYTHING, ..curl() };
    let creds = Credentials { uid: 1000, euid: 1000, cap_effective: 1 << 10, ..Credentials::default() };
    event(EventKind::Exit(ExitEvent {
        signal: 11,
        core_dumped: true,
        tid: 1007,
        creds: Some(Box::new(creds)),
        reparented_to: Some("a2VzdHJlbDoyOjE=".into()),
        ..exit_of(process)
    }))
}

/// A fork without exec shows its parent's program.
fn clone_exit() -> Event {
    event(EventKind::Exit(exit_of(Process { flags: "clone".into(), in_init_tree: Some(false), ..shell() })))
}

fn script() -> Event {
    let extra = ProcessExtra {
        canonical_path: "/usr/bin/dash".into(),
        inode: 131_079,
        device: (254, 1),
        interpreter: "/bin/sh".into(),
        script: "/home/ada/deploy.sh".into(),
        tty: "pts/3".into(),
        session_id: 900,
        process_group: 1001,
        audit_session: 4,
        cgroup_id: 4_294_967_297,
        argv: vec!["./deploy.sh".into(), "two words".into(), "".into(), "line\nbreak \u{fffd}".into()],
        command: "deploy.sh".into(),
        ..ProcessExtra::default()
    };
    let visible = Visible { extras: true, ..Visible::default() };
    let arguments = "\"two words\"  \"line\nbreak \u{fffd}\"".into();
    exec_of(
        Process {
            binary: "/home/ada/deploy.sh".into(),
            arguments,
            extra: Box::new(extra),
            visible,
            ..curl()
        },
        Some(shell()),
    )
}

fn setuid() -> Event {
    let creds = Credentials {
        uid: 1000,
        gid: 1000,
        egid: 1000,
        sgid: 1000,
        fsgid: 1000,
        securebits: 0x11,
        cap_permitted: ALL_CAPABILITIES,
        cap_effective: ALL_CAPABILITIES,
        cap_bounding: ALL_CAPABILITIES,
        ..Credentials::default()
    };
    let properties = BinaryProperties {
        setuid: Some(0),
        privileges_changed: vec![PrivilegesChanged::FileSetuid],
        ..BinaryProperties::default()
    };
    let process = Process {
        binary: "/usr/bin/sudo".into(),
        uid: 0,
        user: Some("root".into()),
        creds: Some(Box::new(creds)),
        binary_properties: Some(Box::new(properties)),
        visible: Visible { credentials: true, ..Visible::default() },
        ..curl()
    };
    exec_of(process, Some(shell()))
}

fn memfd() -> Event {
    let properties = BinaryProperties {
        unlinked: Some((1_033, 0, "/memfd:payload".into())),
        ..BinaryProperties::default()
    };
    let extra = ProcessExtra {
        canonical_path: "/memfd:payload".into(),
        inode: 1_033,
        device: (0, 1),
        memfd: true,
        deleted: true,
        no_new_privs: true,
        ..ProcessExtra::default()
    };
    let process = Process {
        binary: "/proc/self/fd/3".into(),
        binary_properties: Some(Box::new(properties)),
        extra: Box::new(extra),
        visible: EVERYTHING,
        ..curl()
    };
    exec_of(process, Some(shell()))
}

fn container() -> Event {
    let own = |inum| Namespace { inum, is_host: false };
    let host = |inum| Namespace { inum, is_host: true };
    let namespaces = Namespaces {
        uts: own(4_026_532_501),
        ipc: own(4_026_532_502),
        mnt: own(4_026_532_503),
        pid: own(4_026_532_504),
        pid_for_children: own(4_026_532_504),
        net: own(4_026_532_505),
        cgroup: own(4_026_532_506),
        user: host(4_026_531_837),
        ..Namespaces::default()
    };
    let process = Process {
        docker: "0123456789abcdef0123456789abcde".into(),
        in_init_tree: Some(true),
        flags: "execve rootcwd clone inInitTree".into(),
        namespaces: Some(Box::new(namespaces)),
        environment: vec![("PATH".into(), "/bin".into()), ("EMPTY".into(), "".into())],
        visible: Visible { namespaces: true, ..Visible::default() },
        ..curl()
    };
    exec_of(process, None)
}

fn ancestors() -> Event {
    let init = Process { exec_id: "a2VzdHJlbDoyOjE=".into(), pid: 1, binary: "/sbin/init".into(), ..shell() };
    let sshd = Process {
        exec_id: "a2VzdHJlbDozOjUwMA==".into(),
        pid: 500,
        binary: "/usr/sbin/sshd".into(),
        ..shell()
    };
    event(EventKind::Exec(ExecEvent {
        process: view(curl()),
        parent: Some(view(shell())),
        ancestors: vec![view(sshd), ProcessView { refcnt: 17, ..view(init) }],
    }))
}

/// Its exit record was lost.
fn unseen_exit() -> Event {
    let visible = Visible { extras: true, ..Visible::default() };
    let exit = exit_of(Process { visible, ..curl() });
    event(EventKind::Exit(ExitEvent { reconstructed: true, ..exit }))
}

/// Nothing is known of it but its PID.
fn unknown() -> Event {
    let process = Process { pid: 77, flags: "unknown".into(), start_time: TIME, ..Process::default() };
    event(EventKind::Exit(ExitEvent { parent: None, ..exit_of(process) }))
}

pub fn gap() -> Event {
    event(EventKind::Gap(GapEvent {
        lost: 12,
        cpu: Some(0),
        first_seq: 100,
        last_seq: 111,
        stage: "kernel",
        causes: vec![("ring_full", 11), ("too_long", 1)],
    }))
}

fn cluster() -> Event {
    let node = Node {
        name: "kestrel".to_owned(),
        cluster: "aviary".to_owned(),
        labels: vec![("zone".to_owned(), "north \"1\"".to_owned())],
    };
    Event { node: Arc::new(node), ..exec() }
}

/// All samples by the name of their file.
pub fn all() -> Vec<(&'static str, Event)> {
    vec![
        ("ancestors", ancestors()),
        ("clone_exit", clone_exit()),
        ("cluster", cluster()),
        ("container", container()),
        ("exec", exec()),
        ("exit", exit()),
        ("gap", gap()),
        ("killed", killed()),
        ("memfd", memfd()),
        ("script", script()),
        ("setuid", setuid()),
        ("unknown", unknown()),
        ("unseen_exit", unseen_exit()),
    ]
}
