//! Random events: every optional part there or not, strings of every kind.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use saker_api::event::{
    Argument, ArgumentValue, BinaryProperties, Caller, Credentials, EncodedHook, EncodedSocket, Event,
    EventKind, ExecEvent, ExitEvent, Family, Frame, GapEvent, HookEvent, HookInfo, HookMore, Loaded, Name,
    Namespace, Namespaces, Node, Object, ObjectKind, PrivilegesChanged, Process, ProcessExtra, ProcessView,
    Seldom, Socket, SocketKind, Timestamp, Visible,
};
use saker_api::tetragon;
use saker_api::tetragon::kprobe_argument::Arg;

/// Strings that hurt: empty, quotes, control characters, terminal escapes, other scripts, what is left of
/// invalid UTF-8.
pub fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        "[a-z/._-]{1,12}",
        "[ -~]{0,20}",
        "[\\x00-\\x1f\\x7f\"\\\\]{1,8}",
        "[\u{80}-\u{a0}\u{c2}\u{2028}\u{2029}\u{fffd}\u{202e}]{1,8}",
        any::<String>(),
        vec(any::<u8>(), 0..16).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
    .boxed()
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn boxed() -> impl Strategy<Value = Box<str>> {
    text().prop_map(String::into_boxed_str)
}

fn small_or_any() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX), 0..1000u32, any::<u32>()]
}

fn wide() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0..1000u64, any::<u64>()]
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(0),
        any::<u64>(),
        (0..4_000_000_000u64).prop_map(|seconds| seconds * 1_000_000_000),
        any::<u64>().prop_map(|time| time / 1_000_000 * 1_000_000),
        any::<u64>().prop_map(|time| time / 1_000 * 1_000),
    ]
    .prop_map(Timestamp)
}

prop_compose! {
    fn credentials()(ids in vec(small_or_any(), 9), namespace in vec(small_or_any(), 3), caps in vec(wide(), 5))
        -> Credentials {
        Credentials {
            uid: ids[0], gid: ids[1], euid: ids[2], egid: ids[3], suid: ids[4], sgid: ids[5], fsuid: ids[6],
            fsgid: ids[7], securebits: ids[8], userns_level: namespace[0], userns_uid: namespace[1],
            userns_gid: namespace[2], cap_inheritable: caps[0], cap_permitted: caps[1], cap_effective: caps[2],
            cap_bounding: caps[3], cap_ambient: caps[4],
        }
    }
}

prop_compose! {
    fn namespaces()(all in vec((small_or_any(), any::<bool>()), 10)) -> Namespaces {
        let one = |index: usize| Namespace { inum: all[index].0, is_host: all[index].1 };
        Namespaces {
            uts: one(0), ipc: one(1), mnt: one(2), pid: one(3), pid_for_children: one(4), net: one(5),
            time: one(6), time_for_children: one(7), cgroup: one(8), user: one(9),
        }
    }
}

prop_compose! {
    fn properties()(
        setuid in option::of(small_or_any()),
        setgid in option::of(small_or_any()),
        changed in vec(prop_oneof![
            Just(PrivilegesChanged::FileCapabilities),
            Just(PrivilegesChanged::FileSetuid),
            Just(PrivilegesChanged::FileSetgid),
        ], 0..3),
        unlinked in option::of((wide(), small_or_any(), boxed())),
    ) -> BinaryProperties {
        BinaryProperties { setuid, setgid, privileges_changed: changed, unlinked }
    }
}

prop_compose! {
    fn extra()(
        paths in vec(boxed(), 4), shared in vec(shared(), 3), command in boxed(), argv in vec(boxed(), 0..4),
        numbers in vec(small_or_any(), 7), wides in vec(wide(), 4), flags in vec(any::<bool>(), 4),
    ) -> ProcessExtra {
        ProcessExtra {
            canonical_path: shared[0].clone(), inode: wides[0], device: (numbers[0], numbers[1]),
            interpreter: paths[0].clone(), script: paths[1].clone(), tty: paths[2].clone(),
            session_id: numbers[2], process_group: numbers[3], audit_session: numbers[4], ns_pid: numbers[5],
            exec_tid: numbers[6], cgroup_id: wides[1], memfd: flags[0], deleted: flags[1],
            no_new_privs: flags[2], argv, arguments_length: wides[2], environment_length: wides[3],
            reparented_to: shared[1].clone(), previous_exec_id: shared[2].clone(), command: command.into(),
            reconstructed: flags[3],
        }
    }
}

fn flags() -> impl Strategy<Value = Box<str>> {
    prop_oneof![Just("execve clone".into()), Just("unknown".into()), Just("clone unknown".into()), boxed()]
}

prop_compose! {
    fn pod()(
        texts in vec(text(), 8), labels in vec((text(), text()), 0..3), start in option::of(time()),
        container in any::<bool>(),
    ) -> Arc<tetragon::Pod> {
        let [namespace, name, uid, workload, id, container_name, image, image_id] =
            texts.try_into().unwrap_or_default();
        let start_time = start.map(|time| prost_types::Timestamp {
            seconds: (time.0 / 1_000_000_000).cast_signed(),
            nanos: (time.0 % 1_000_000_000) as i32,
        });
        let image = Some(tetragon::Image { id: image_id, name: image });
        let inside =
            tetragon::Container { id, name: container_name, image, start_time, ..tetragon::Container::default() };
        Arc::new(tetragon::Pod {
            namespace, name, uid, workload, container: container.then_some(inside),
            pod_labels: labels.into_iter().collect(), ..tetragon::Pod::default()
        })
    }
}

prop_compose! {
    fn process()(
        shared in vec(shared(), 4), numbers in vec(small_or_any(), 3), arguments in boxed(), flags in flags(),
        start_time in time(), docker in boxed(), creds in option::of(credentials().boxed()),
        namespaces in option::of(namespaces().boxed()), properties in option::of(properties().boxed()),
        user in option::of(boxed()), in_init_tree in any::<Option<bool>>(),
        (environment, extra, visible) in (vec((boxed(), boxed()), 0..3), extra().boxed(), any::<[bool; 3]>()),
        pod in option::of(pod().boxed()),
    ) -> Process {
        Process {
            exec_id: shared[0].clone(), pid: numbers[0], uid: numbers[1], auid: numbers[2],
            cwd: shared[1].clone(), binary: shared[2].clone(), arguments, flags: flags.into(), start_time,
            parent_exec_id: shared[3].clone(), docker, pod, creds: creds.map(Box::new),
            namespaces: namespaces.map(Box::new), binary_properties: properties.map(Box::new), user,
            in_init_tree, environment, extra: Box::new(extra),
            visible: Visible { credentials: visible[0], namespaces: visible[1], extras: visible[2] },
            ..Process::default()
        }
    }
}

fn view() -> BoxedStrategy<ProcessView> {
    (process(), small_or_any())
        .prop_map(|(process, refcnt)| ProcessView { process: Arc::new(process), refcnt })
        .boxed()
}

prop_compose! {
    fn exec()(process in view(), parent in option::of(view()), ancestors in vec(view(), 0..3)) -> EventKind {
        EventKind::Exec(ExecEvent { process, parent, ancestors })
    }
}

prop_compose! {
    fn exit()(
        process in view(), parent in option::of(view()), ancestors in vec(view(), 0..3), signal in any::<u8>(),
        flags in any::<[bool; 2]>(), status in small_or_any(), tid in small_or_any(),
        creds in option::of(credentials().boxed()), reparented_to in option::of(shared()),
    ) -> EventKind {
        EventKind::Exit(ExitEvent {
            process, parent, ancestors: ancestors.into(), signal, core_dumped: flags[0], status, tid, creds: creds.map(Box::new),
            reparented_to, reconstructed: flags[1],
        })
    }
}

fn bytes() -> impl Strategy<Value = bytes::Bytes> {
    vec(any::<u8>(), 0..9).prop_map(bytes::Bytes::from)
}

/// Values of every kind that an argument can have.
fn arg() -> BoxedStrategy<Arg> {
    let simple = prop_oneof![
        text().prop_map(Arg::StringArg),
        any::<i32>().prop_map(Arg::IntArg),
        small_or_any().prop_map(Arg::UintArg),
        any::<i64>().prop_map(Arg::LongArg),
        wide().prop_map(Arg::SizeArg),
        bytes().prop_map(Arg::BytesArg),
        (bytes(), wide()).prop_map(|(bytes_arg, orig_size)| {
            Arg::TruncatedBytesArg(tetragon::KprobeTruncatedBytes { bytes_arg, orig_size })
        }),
        text().prop_map(Arg::KernelCapTArg),
        text().prop_map(Arg::CapInheritableArg),
        text().prop_map(Arg::CapPermittedArg),
        text().prop_map(Arg::CapEffectiveArg),
        prop_oneof![0..40i32, any::<i32>()].prop_map(Arg::BpfCmdArg),
        (small_or_any(), text()).prop_map(|(id, abi)| Arg::SyscallId(tetragon::SyscallId { id, abi })),
        text().prop_map(|message| Arg::ErrorArg(tetragon::KprobeError { message })),
        (any::<i32>(), text()).prop_map(|(value, name)| {
            Arg::CapabilityArg(tetragon::KprobeCapability { value: Some(value), name })
        }),
    ];
    prop_oneof![3 => simple, 3 => structured()].boxed()
}

fn structured() -> impl Strategy<Value = Arg> {
    (vec(text(), 5), vec(small_or_any(), 8), wide(), any::<Option<bool>>(), 0..20usize).prop_map(
        |(t, n, wide, flag, kind)| {
            let text = |index: usize| t[index].clone();
            let (mount, path, flags, permission) = (text(0), text(1), text(2), text(3));
            let list = vec![n[0].cast_signed(), 1, 4096];
            match kind {
                0 => Arg::PathArg(tetragon::KprobePath { mount, path, flags, permission }),
                1 => Arg::FileArg(tetragon::KprobeFile { mount, path, flags, permission }),
                2 => Arg::LinuxBinprmArg(tetragon::KprobeLinuxBinprm { path, flags, permission }),
                3 => Arg::SockArg(tetragon::KprobeSock {
                    family: text(0),
                    r#type: text(1),
                    protocol: text(2),
                    mark: n[0],
                    priority: n[1],
                    saddr: text(3),
                    daddr: text(4),
                    sport: n[2],
                    dport: n[3],
                    cookie: wide,
                    state: text(1),
                }),
                4 => Arg::SkbArg(tetragon::KprobeSkb {
                    hash: n[0],
                    len: n[1],
                    priority: n[2],
                    mark: n[3],
                    saddr: text(0),
                    daddr: text(1),
                    sport: n[4],
                    dport: n[5],
                    proto: n[6],
                    sec_path_len: n[7],
                    sec_path_olen: n[0],
                    protocol: text(2),
                    family: text(3),
                }),
                5 => {
                    Arg::SockaddrArg(tetragon::KprobeSockaddr { family: text(0), addr: text(1), port: n[0] })
                }
                6 => Arg::SockaddrunArg(tetragon::KprobeSockaddrUn { family: text(0), path: text(1) }),
                7 => Arg::CredArg(tetragon::KprobeCred { permitted: list, ..Default::default() }),
                8 => Arg::ProcessCredentialsArg(tetragon::ProcessCredentials {
                    uid: Some(n[0]),
                    securebits: list.clone(),
                    caps: Some(tetragon::Capabilities { effective: list, ..Default::default() }),
                    ..Default::default()
                }),
                9 => Arg::UserNsArg(tetragon::UserNamespace {
                    level: Some(n[0].cast_signed()),
                    uid: Some(n[1]),
                    gid: None,
                    ns: Some(tetragon::Namespace { inum: n[2], is_host: flag == Some(true) }),
                }),
                10 => Arg::ModuleArg(tetragon::KernelModule {
                    name: text(0),
                    signature_ok: flag,
                    tainted: list,
                }),
                11 => Arg::BpfAttrArg(tetragon::KprobeBpfAttr {
                    prog_type: text(0),
                    insn_cnt: n[0],
                    prog_name: text(1),
                }),
                12 => Arg::BpfProgArg(tetragon::KprobeBpfProg {
                    prog_type: text(0),
                    insn_cnt: n[0],
                    prog_name: text(1),
                }),
                13 => Arg::BpfMapArg(tetragon::KprobeBpfMap {
                    map_type: text(0),
                    key_size: n[0],
                    value_size: n[1],
                    max_entries: n[2],
                    map_name: text(1),
                }),
                14 => Arg::PerfEventArg(tetragon::KprobePerfEvent {
                    kprobe_func: text(0),
                    r#type: text(1),
                    config: wide,
                    probe_offset: u64::from(n[0]),
                }),
                15 => Arg::NetDevArg(tetragon::KprobeNetDev { name: text(0) }),
                _ => Arg::UserNamespaceArg(tetragon::KprobeUserNamespace {
                    owner: Some(n[0]),
                    ..Default::default()
                }),
            }
        },
    )
}

prop_compose! {
    fn object()(
        kind in prop::sample::select(vec![ObjectKind::File, ObjectKind::Path, ObjectKind::Binprm]),
        path in boxed(), flags in any::<[bool; 2]>(), mode in any::<u32>(), inode in wide(),
        device in (0..3u32, small_or_any()),
    ) -> Object {
        Object { kind, path: path.into(), cut: flags[0], unreachable: flags[1], mode, inode, device }
    }
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![Just(Name::Known("")), Just(Name::Known("AF_INET6")), any::<u16>().prop_map(Name::Unknown)]
}

prop_compose! {
    fn socket()(
        names in vec(name(), 4), numbers in vec(small_or_any(), 2), ports in any::<[u16; 2]>(), cookie in wide(),
        addresses in vec(option::of(any::<std::net::IpAddr>()), 2),
    ) -> Socket {
        let common = SocketKind {
            family: names[0], kind: names[1], protocol: names[2], state: names[3], mark: numbers[0],
            priority: numbers[1], encoded: EncodedSocket::default(),
        };
        Socket {
            common: Arc::new(common), source: addresses[0], destination: addresses[1], source_port: ports[0],
            destination_port: ports[1], cookie,
        }
    }
}

/// What is captured often has a form of its own; anything may also come in its compatible form.
fn value() -> impl Strategy<Value = ArgumentValue> {
    prop_oneof![
        1 => Just(ArgumentValue::None),
        1 => any::<i32>().prop_map(ArgumentValue::Int),
        1 => small_or_any().prop_map(ArgumentValue::Uint),
        1 => any::<i64>().prop_map(ArgumentValue::Long),
        1 => wide().prop_map(ArgumentValue::Size),
        2 => (boxed(), any::<bool>()).prop_map(|(text, cut)| ArgumentValue::Text(text, cut)),
        3 => object().prop_map(ArgumentValue::Object),
        3 => socket().prop_map(ArgumentValue::Socket),
        12 => arg().prop_map(|arg| ArgumentValue::Other(Box::new(arg))),
    ]
}

prop_compose! {
    fn argument()(value in value(), label in option::of(text())) -> Argument {
        Argument { value, label: label.map(Into::into) }
    }
}

/// Functions whose compact lines have words of their own, among others.
fn function() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        prop::sample::select(vec![
            "__x64_sys_write",
            "__arm64_sys_read",
            "fd_install",
            "__x64_sys_openat",
            "sys_open",
            "sys_close",
            "sys_mount",
            "sys_setuid",
            "sys_clock_settime",
            "sys_pivot_root",
            "proc_exec_connector",
            "sys_setns",
            "tcp_connect",
            "tcp_close",
            "tcp_sendmsg",
            "bpf_check",
            "security_perf_event_alloc",
            "security_bpf_map_create",
            "security_file_permission",
            "security_mmap_file",
            "security_path_truncate",
        ])
        .prop_map(str::to_owned),
    ]
}

prop_compose! {
    fn hook_info()(
        family in prop::sample::select(Family::ALL.to_vec()), texts in vec(text(), 6), numbers in vec(wide(), 2),
        tags in vec(text(), 0..3), raw in any::<bool>(),
    ) -> HookInfo {
        let [policy, policy_namespace, mut subsystem, mut event, path, message] =
            texts.try_into().unwrap_or_default();
        if raw {
            (subsystem, event) = ("raw_syscalls".to_owned(), "sys_enter".to_owned());
        }
        HookInfo {
            family, policy_number: 0, policy, policy_namespace, subsystem, event, path, offset: numbers[0],
            ref_ctr_offset: numbers[1], message, tags, encoded: EncodedHook::default(),
        }
    }
}

prop_compose! {
    fn frame()(numbers in vec(wide(), 2), symbol in text(), module in text()) -> Frame {
        Frame { address: numbers[0], offset: numbers[1], symbol: symbol.into(), module: module.into() }
    }
}

prop_compose! {
    fn loaded()(path in text(), build_id in vec(any::<u8>(), 0..24)) -> Loaded {
        Loaded { path, build_id }
    }
}

prop_compose! {
    fn hook()(
        process in view(), parent in option::of(view()), ancestors in vec(view(), 0..3), tid in small_or_any(),
        creds in option::of(credentials().boxed()), namespaces in option::of(namespaces().boxed()),
        info in hook_info(), function in function(),
        (args, data, result) in
            (vec(argument().boxed(), 0..4), vec(argument().boxed(), 0..2), option::of(argument().boxed())),
        actions in vec(prop_oneof![0..17i32, any::<i32>()], 2), selector in any::<Option<u16>>(),
        (repeats, cgroup_id, entry_missing, socket_owner, few) in
            (small_or_any(), wide(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.7)),
        return_missing in prop_oneof![Just(""), Just("process_exited")],
        action_withheld in prop_oneof![Just(""), Just("monitor")],
        (stacks, stack_missing) in (vec(vec(frame(), 0..3), 2), prop_oneof![Just(""), Just("kernel")]),
        loaded in loaded(),
        (hash, file_hash_missing) in
            (prop_oneof![Just(""), Just("sha256:00ff")], prop_oneof![Just(""), Just("failed")]),
    ) -> EventKind {
        let file_hash = hash.into();
        let [kernel_stack, user_stack] = stacks.try_into().unwrap_or_default();
        let loaded = (info.family == Family::Loader).then_some(loaded);
        // What is mapped is always told.
        let few = few || loaded.is_some();
        // An event of the loader tells the file instead.
        let args = if loaded.is_some() { Vec::new() } else { args };
        let caller = Caller { tid, creds: creds.map(Box::new), namespaces: namespaces.map(Box::new) };
        let more = HookMore {
            ancestors, data, kernel_stack, user_stack, stack_missing, file_hash, file_hash_missing, loaded,
            return_missing, action_withheld, return_action_withheld: "", requests: Vec::new(),
        };
        EventKind::Hook(HookEvent {
            process, parent, caller, hook: Arc::new(info), function: function.into(), args: args.into(), result,
            action: actions[0], return_action: actions[1], selector, repeats, cgroup_id, entry_missing,
            socket_owner, workload_undecided: entry_missing,
            more: if few { more.into() } else { Seldom::default() },
        })
    }
}

prop_compose! {
    fn gap()(
        numbers in vec(wide(), 3), cpu in option::of(small_or_any()),
        stage in prop_oneof![Just(""), Just("kernel"), Just("decoder")],
        causes in vec((prop_oneof![Just("ring_full"), Just("too_long"), Just("a \"b\"")], wide()), 0..4),
    ) -> EventKind {
        EventKind::Gap(GapEvent {
            lost: numbers[0], cpu, first_seq: numbers[1], last_seq: numbers[2], stage, causes,
        })
    }
}

prop_compose! {
    fn node()(name in text(), cluster in text(), labels in proptest::collection::btree_map(text(), text(), 0..3))
        -> Node {
        Node { name, cluster, labels: labels.into_iter().collect() }
    }
}

prop_compose! {
    /// Any event.
    pub fn event()(
        time in time(), node in node(),
        kind in prop_oneof![3 => exec().boxed(), 3 => exit().boxed(), 5 => hook().boxed(), 1 => gap()],
    )
        -> Event {
        Event { time, node: Arc::new(node), kind }
    }
}
