//! Events as an agent would tell them.

use std::sync::Arc;

use saker_api::event::{
    Argument, ArgumentValue, BinaryProperties, Caller, Credentials, Event, EventKind, ExecEvent, ExitEvent,
    Family, Frame, GapEvent, HookEvent, HookInfo, HookMore, Loaded, Namespace, Namespaces, Node, Object,
    ObjectKind, PrivilegesChanged, Process, ProcessExtra, ProcessView, Seldom, Timestamp, Visible,
};
use saker_api::tetragon;
use saker_api::tetragon::kprobe_argument::Arg;

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
        ancestors: Box::default(),
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

fn argument(arg: Arg) -> Argument {
    Argument::from(arg)
}

fn file(path: &str) -> Arg {
    let (path, permission) = (path.to_owned(), "-rw-r--r--".to_owned());
    Arg::FileArg(tetragon::KprobeFile { path, permission, ..Default::default() })
}

fn text(text: &str) -> Argument {
    argument(Arg::StringArg(text.to_owned()))
}

fn socket() -> Arg {
    Arg::SockArg(tetragon::KprobeSock {
        family: "AF_INET".to_owned(),
        r#type: "SOCK_STREAM".to_owned(),
        protocol: "IPPROTO_TCP".to_owned(),
        saddr: "10.0.0.5".to_owned(),
        daddr: "192.0.2.1".to_owned(),
        sport: 40_000,
        dport: 443,
        cookie: 18_446_612_682_070_000_000,
        state: "TCP_SYN_SENT".to_owned(),
        ..Default::default()
    })
}

/// A hook of a family, called by the only thread of its process.
fn hook_of(family: Family, function: &str, args: Vec<Argument>) -> HookEvent {
    let info = HookInfo { family, policy: "watch".to_owned(), ..HookInfo::default() };
    HookEvent {
        process: view(curl()),
        parent: Some(view(shell())),
        caller: Caller { tid: curl().pid, ..Caller::default() },
        hook: Arc::new(info),
        function: function.into(),
        args: args.into(),
        more: Seldom::default(),
        result: None,
        action: 1,
        return_action: 0,
        selector: Some(0),
        repeats: 0,
        cgroup_id: 0,
        entry_missing: false,
        socket_owner: false,
        workload_undecided: false,
    }
}

fn told(hook: HookEvent) -> Event {
    event(EventKind::Hook(hook))
}

pub fn kprobe() -> Event {
    let permission = vec![argument(file("/etc/passwd")), argument(Arg::IntArg(4))];
    let hook = hook_of(Family::Kprobe, "security_file_permission", permission);
    told(HookEvent { result: Some(argument(Arg::IntArg(0))), return_action: 1, ..hook })
}

/// With all that a policy can add, by a thread that has changed its credentials, and all of our own fields.
fn kprobe_everything() -> Event {
    let creds = Credentials { uid: 1000, euid: 0, cap_effective: 1 << 21, ..Credentials::default() };
    let at_exec = Credentials { uid: 1000, euid: 1000, ..Credentials::default() };
    let own = |inum| Namespace { inum, is_host: false };
    let process = Process {
        creds: Some(Box::new(at_exec)),
        namespaces: Some(Box::new(Namespaces { mnt: own(1), ..Namespaces::default() })),
        visible: EVERYTHING,
        ..curl()
    };
    let shadow = Object {
        kind: ObjectKind::File,
        path: "/etc/shadow".into(),
        cut: false,
        unreachable: false,
        mode: 0o100_644,
        inode: 77,
        device: (254, 1),
    };
    let opened = Argument { value: ArgumentValue::Object(shadow), label: Some("opened".into()) };
    let cut = Argument { value: ArgumentValue::Text("very long".into(), true), label: None };
    let hook = hook_of(Family::Kprobe, "security_file_open", vec![opened, cut]);
    let info = HookInfo {
        policy_namespace: "shop".to_owned(),
        message: "a \"secret\" file".to_owned(),
        tags: vec!["files".to_owned(), "T1003".to_owned()],
        ..(*hook.hook).clone()
    };
    let more = HookMore {
        data: vec![argument(Arg::SizeArg(u64::MAX))],
        return_missing: "process_exited",
        action_withheld: "monitor",
        return_action_withheld: "failed",
        ..HookMore::default()
    };
    told(HookEvent {
        process: view(process),
        caller: Caller {
            tid: 1007,
            creds: Some(Box::new(creds)),
            namespaces: Some(Box::new(Namespaces { mnt: own(2), ..Namespaces::default() })),
        },
        hook: Arc::new(info),
        action: 5,
        selector: Some(2),
        repeats: 9,
        cgroup_id: 4_294_967_297,
        socket_owner: true,
        workload_undecided: true,
        more: more.into(),
        ..hook
    })
}

/// One argument of each kind.
fn kprobe_values() -> Event {
    let cut = tetragon::KprobeTruncatedBytes { bytes_arg: "ab\0".into(), orig_size: 4096 };
    let path = tetragon::KprobePath {
        path: "/srv".to_owned(),
        flags: "unresolvedPathComponents".to_owned(),
        permission: "drwxr-xr-x".to_owned(),
        ..Default::default()
    };
    let program = tetragon::KprobeLinuxBinprm {
        path: "/bin/su".to_owned(),
        permission: "-rwsr-xr-x".to_owned(),
        flags: String::new(),
    };
    let packet = tetragon::KprobeSkb {
        len: 52,
        saddr: "::1".to_owned(),
        family: "AF_INET6".to_owned(),
        ..Default::default()
    };
    let creds = tetragon::ProcessCredentials { uid: Some(0), securebits: vec![1], ..Default::default() };
    let namespace = tetragon::UserNamespace { level: Some(0), uid: Some(0), ..Default::default() };
    let module =
        tetragon::KernelModule { name: "kvm".to_owned(), signature_ok: Some(false), tainted: vec![4096] };
    let loaded = tetragon::KprobeBpfAttr {
        prog_type: "BPF_PROG_TYPE_KPROBE".to_owned(),
        insn_cnt: 7,
        prog_name: "p".to_owned(),
    };
    let map = tetragon::KprobeBpfMap {
        map_type: "BPF_MAP_TYPE_HASH".to_owned(),
        key_size: 4,
        value_size: 8,
        max_entries: 9,
        map_name: "m".to_owned(),
    };
    let event = tetragon::KprobePerfEvent {
        kprobe_func: "f".to_owned(),
        r#type: "PERF_TYPE_TRACEPOINT".to_owned(),
        config: 1,
        probe_offset: 2,
    };
    let args = [
        Arg::IntArg(0),
        Arg::UintArg(u32::MAX),
        Arg::LongArg(i64::MIN),
        Arg::SizeArg(0),
        Arg::StringArg(String::new()),
        Arg::BytesArg("\u{0}\u{1}~".into()),
        Arg::BytesArg("".into()),
        Arg::TruncatedBytesArg(cut),
        Arg::PathArg(path),
        Arg::LinuxBinprmArg(program),
        socket(),
        Arg::SkbArg(packet),
        Arg::SockaddrArg(tetragon::KprobeSockaddr {
            family: "AF_INET".to_owned(),
            addr: "127.0.0.1".to_owned(),
            port: 53,
        }),
        Arg::SockaddrunArg(tetragon::KprobeSockaddrUn {
            family: "AF_UNIX".to_owned(),
            path: "@x".to_owned(),
        }),
        Arg::ProcessCredentialsArg(creds),
        Arg::UserNsArg(namespace),
        Arg::CapabilityArg(tetragon::KprobeCapability { value: Some(0), name: "CAP_CHOWN".to_owned() }),
        Arg::KernelCapTArg("000001ffffffffff".to_owned()),
        Arg::ModuleArg(module),
        Arg::BpfAttrArg(loaded),
        Arg::BpfMapArg(map),
        Arg::PerfEventArg(event),
        Arg::BpfCmdArg(5),
        Arg::SyscallId(tetragon::SyscallId { id: 59, abi: "x64".to_owned() }),
        Arg::ErrorArg(tetragon::KprobeError { message: "the value could not be read".to_owned() }),
    ];
    told(hook_of(Family::Kprobe, "commit_creds", args.into_iter().map(argument).collect()))
}

fn frame(address: u64, offset: u64, symbol: &str, module: &str) -> Frame {
    Frame { address, offset, symbol: symbol.into(), module: module.into() }
}

/// With the stacks of kernel and program; of some frames less is known than of others.
fn stacks_of(family: Family, function: &str) -> HookEvent {
    let more = HookMore {
        kernel_stack: vec![
            frame(0xffff_ffff_8110_2030, 0x30, "do_sys_openat2", ""),
            frame(0xffff_ffff_c012_3456, 0x456, "ext4_file_open", "ext4"),
            frame(0xffff_ffff_8000_0000, 0, "", ""),
        ],
        user_stack: vec![
            frame(0x7f00_0001_0010, 0x1_0010, "open64", "/usr/lib/libc.so.6"),
            frame(0x5555_0000_1000, 0x1000, "", "/opt/a program"),
            frame(0, 0, "", ""),
        ],
        ..HookMore::default()
    };
    HookEvent { more: more.into(), ..hook_of(family, function, Vec::new()) }
}

fn stacks() -> Event {
    told(stacks_of(Family::Kprobe, "security_file_open"))
}

/// Where the compatible form has no fields for stacks.
fn stacks_of_tracepoint() -> Event {
    let process = Process { visible: EVERYTHING, ..curl() };
    let mut hook = HookEvent { process: view(process), ..stacks_of(Family::Tracepoint, "") };
    hook.more.user_stack.clear();
    hook.more.stack_missing = "user";
    told(hook)
}

fn loader() -> Event {
    let loaded = Loaded { path: "/usr/lib/libssl.so.3".to_owned(), build_id: vec![0xde, 0xad, 0xbe, 0xef] };
    let more = HookMore { loaded: Some(loaded), ..HookMore::default() };
    told(HookEvent { more: more.into(), ..hook_of(Family::Loader, "", Vec::new()) })
}

fn of_place(family: Family, function: &str, place: [&str; 3], args: Vec<Argument>) -> Event {
    let hook = hook_of(family, function, args);
    let [path, subsystem, event] = place.map(str::to_owned);
    let info = HookInfo { path, subsystem, event, ..(*hook.hook).clone() };
    told(HookEvent { hook: Arc::new(info), ..hook })
}

fn tracepoint() -> Event {
    let args = vec![text("curl"), argument(Arg::IntArg(1001))];
    of_place(Family::Tracepoint, "", ["", "sched", "sched_process_exec"], args)
}

fn uprobe() -> Event {
    of_place(Family::Uprobe, "readline", ["/usr/bin/bash", "", ""], vec![text("ls -l")])
}

fn usdt() -> Event {
    of_place(Family::Usdt, "", ["/usr/lib/libc.so.6", "libc", "setjmp"], Vec::new())
}

fn lsm() -> Event {
    let hook = hook_of(Family::Lsm, "file_open", vec![argument(file("/etc/hostname"))]);
    let file_hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into();
    let more = HookMore { file_hash, ..HookMore::default() };
    told(HookEvent { action: 5, more: more.into(), ..hook })
}

/// Called by a process of which nothing is known but its PID.
fn hook_of_unknown() -> Event {
    let process = Process { pid: 77, flags: "unknown".into(), start_time: TIME, ..Process::default() };
    let hook = hook_of(Family::Lsm, "file_open", Vec::new());
    let caller = Caller { tid: 78, ..Caller::default() };
    let more = HookMore { file_hash_missing: "failed", ..HookMore::default() };
    told(HookEvent { process: view(process), parent: None, caller, more: more.into(), ..hook })
}

/// Functions whose compact lines have words of their own.
pub fn kprobes() -> Vec<Event> {
    let int = |value| argument(Arg::IntArg(value));
    let size = |value| argument(Arg::SizeArg(value));
    let open = || argument(file("/tmp/a b"));
    let program = tetragon::KprobeBpfAttr {
        prog_type: "BPF_PROG_TYPE_XDP".to_owned(),
        insn_cnt: 12,
        prog_name: "drop".to_owned(),
    };
    let event = tetragon::KprobePerfEvent {
        r#type: "PERF_TYPE_TRACEPOINT".to_owned(),
        kprobe_func: "f".to_owned(),
        ..Default::default()
    };
    let map = tetragon::KprobeBpfMap {
        map_type: "BPF_MAP_TYPE_HASH".to_owned(),
        map_name: "m".to_owned(),
        key_size: 4,
        value_size: 8,
        max_entries: 16,
    };
    let calls: Vec<(&str, Vec<Argument>)> = vec![
        ("__x64_sys_write", vec![open(), text("x"), size(12)]),
        ("__arm64_sys_read", vec![open(), text("x"), size(3)]),
        ("fd_install", vec![int(3), open()]),
        ("__x64_sys_openat", vec![int(-100), text("/etc/hosts"), int(0)]),
        ("__x64_sys_open", vec![int(0), text("/etc/hosts")]),
        ("__x64_sys_close", vec![open()]),
        ("__x64_sys_mount", vec![text("/dev/sda1"), text("/mnt")]),
        ("__x64_sys_setuid", vec![int(0)]),
        ("__x64_sys_clock_settime", vec![]),
        ("__x64_sys_pivot_root", vec![text("/a"), text("/b")]),
        ("proc_exec_connector", vec![]),
        ("__x64_sys_setns", vec![int(3), int(0x4000_0000)]),
        ("__x64_sys_setns", vec![int(3), int(0)]),
        ("tcp_connect", vec![argument(socket())]),
        ("tcp_close", vec![argument(socket())]),
        ("tcp_sendmsg", vec![argument(socket()), int(512)]),
        ("bpf_check", vec![argument(Arg::BpfAttrArg(program))]),
        ("security_perf_event_alloc", vec![argument(Arg::PerfEventArg(event))]),
        ("security_bpf_map_create", vec![argument(Arg::BpfMapArg(map))]),
        ("security_file_permission", vec![open(), int(2)]),
        ("security_file_permission", vec![open(), int(1)]),
        ("security_mmap_file", vec![open(), int(5)]),
        ("security_mmap_file", vec![]),
        ("security_path_truncate", vec![open()]),
        ("__x64_sys_ptrace", vec![]),
        ("tcp_connect", vec![]),
    ];
    let mut events: Vec<Event> =
        calls.into_iter().map(|(function, args)| told(hook_of(Family::Kprobe, function, args))).collect();
    for (id, abi) in [(59, "x64"), (11, "i386")] {
        let id = Arg::SyscallId(tetragon::SyscallId { id, abi: abi.to_owned() });
        events.push(of_place(Family::Tracepoint, "", ["", "raw_syscalls", "sys_enter"], vec![argument(id)]));
    }
    events
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
        ("hook_of_unknown", hook_of_unknown()),
        ("killed", killed()),
        ("kprobe", kprobe()),
        ("kprobe_everything", kprobe_everything()),
        ("kprobe_values", kprobe_values()),
        ("loader", loader()),
        ("lsm", lsm()),
        ("memfd", memfd()),
        ("script", script()),
        ("setuid", setuid()),
        ("stacks", stacks()),
        ("stacks_of_tracepoint", stacks_of_tracepoint()),
        ("tracepoint", tracepoint()),
        ("unknown", unknown()),
        ("unseen_exit", unseen_exit()),
        ("uprobe", uprobe()),
        ("usdt", usdt()),
    ]
}
