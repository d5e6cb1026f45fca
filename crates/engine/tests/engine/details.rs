//! Fields of a process: what each comes from, and what is said when it cannot be read.

use saker_abi::{CHUNK_MAX, Data, Exec, FileFlags, Key, PathFlags, ProcessFlags, Status, Tag, build};
use saker_api::event::Process;
use saker_engine::workload::{LS, Program, Subject};
use saker_engine::{EngineConfig, Environment, UserNames};

use crate::host::{Host, as_exec, config};

type Values<'a> = &'a [(Tag, Status, u8, &'a [u8])];

/// The process of an exec record with these values and nothing else.
fn executed(host: &mut Host, change: impl FnOnce(&mut Exec), values: Values<'_>) -> Process {
    let mut exec = Exec::default();
    exec.rec.process = Key::new(50, 5_000);
    exec.id.tid = 50;
    change(&mut exec);
    let mut builder = build::exec(exec);
    for (tag, status, flags, bytes) in values {
        builder = builder.value(*tag, *status, *flags, bytes);
    }
    host.give(&builder.finish());
    (*as_exec(&host.take_one()).process.process).clone()
}

fn simple(values: Values<'_>) -> Process {
    executed(&mut Host::new(), |_| {}, values)
}

const OK: Status = Status::Ok;
const CWD: (Tag, Status, u8, &[u8]) = (Tag::CWD, OK, 0, b"tmp\0");

#[test]
fn flags_tell_what_could_not_be_read() {
    let name = (Tag::FILENAME, OK, 0, &b"/x"[..]);
    let long = [b"/", &[b'a'; 300][..]].concat();
    let cases: [(Values<'_>, &str); 12] = [
        (&[name, CWD], "execve"),
        (&[name, (Tag::CWD, OK, 0, b"")], "execve rootcwd"),
        (&[name], "execve nocwd"),
        (&[name, (Tag::CWD, Status::Failed, 0, b"")], "execve errorCWD"),
        (&[name, (Tag::CWD, Status::Truncated, 0, b"b\0")], "execve errorPathResolutionCwd"),
        (&[(Tag::FILENAME, Status::Failed, 0, b""), CWD], "execve errorFilename"),
        (&[(Tag::FILENAME, OK, 0, &long), CWD], "execve dataFilename"),
        (&[name, CWD, (Tag::ARGS, Status::Failed, 0, b"")], "execve errorArgs"),
        (&[name, CWD, (Tag::ARGS, Status::Truncated, 0, b"a\0b")], "execve truncArgs"),
        (&[name, CWD, (Tag::ENVS, Status::Failed, 0, b"")], "execve errorEnvs"),
        (&[name, CWD, (Tag::CGROUP, Status::Failed, 0, b"")], "execve errorCgroupName errorCgroupID"),
        (&[name, CWD, (Tag::ARGS, Status::Chunked, 0, b"")], "execve dataArgs"),
    ];
    for (values, flags) in cases {
        assert_eq!(&*simple(values).flags, flags);
    }
    let flags = ProcessFlags::FORKED.with(ProcessFlags::IN_INIT_TREE).with(ProcessFlags::PARENT_MISSED);
    let process = executed(&mut Host::new(), |exec| exec.id.flags = flags.0, &[name, CWD]);
    assert_eq!((&*process.flags, process.in_init_tree), ("execve miss clone inInitTree", Some(true)));
}

#[test]
fn the_executed_path_is_made_absolute() {
    let cases: [(&[u8], &[u8], &str); 6] = [
        (b"/bin/ls", b"tmp\0", "/bin/ls"),
        (b"ls", b"b\0a\0", "/a/b/ls"),
        (b"././ls", b"a\0", "/a/ls"),
        (b"../ls", b"a\0", "/a/../ls"),
        (b"ls", b"", "/ls"),
        (b"/dev/fd/3", b"a\0", "/dev/fd/3"),
    ];
    for (filename, cwd, binary) in cases {
        assert_eq!(&*simple(&[(Tag::FILENAME, OK, 0, filename), (Tag::CWD, OK, 0, cwd)]).binary, binary);
    }
    let process = simple(&[CWD, (Tag::EXE, OK, 0, b"sh\0bin\0")]);
    assert_eq!(
        (&*process.binary, &*process.extra.canonical_path),
        ("/bin/sh", "/bin/sh"),
        "by the file itself"
    );
}

#[test]
fn paths_outside_the_root_and_cut_ones_are_marked() {
    let process = simple(&[(Tag::FILENAME, OK, 0, b"x"), (Tag::CWD, OK, PathFlags::UNREACHABLE.0, b"b\0")]);
    assert_eq!((&*process.cwd, &*process.binary), ("(unreachable)/b", "(unreachable)/b/x"));
    let process = simple(&[(Tag::EXE, Status::Truncated, 0, b"b\0a\0")]);
    assert_eq!(&*process.extra.canonical_path, "a/b", "no whole path begins without a slash");
}

#[test]
fn anonymous_and_deleted_files_are_told() {
    let change = |exec: &mut Exec| {
        exec.exe.flags = FileFlags::MEMFD.with(FileFlags::UNLINKED).0;
        exec.exe.ino = 9;
    };
    let flags = PathFlags::UNLINKED.with(PathFlags::UNREACHABLE).0;
    let values: Values<'_> =
        &[(Tag::FILENAME, OK, 0, b"/dev/fd/3"), (Tag::EXE, OK, flags, b"memfd:x\0"), CWD];
    let process = executed(&mut Host::new(), change, values);
    assert_eq!((&*process.binary, &*process.extra.canonical_path), ("/dev/fd/3", "/memfd:x"));
    assert!(process.extra.memfd && process.extra.deleted);
    assert_eq!(process.binary_properties.unwrap().unlinked, Some((9, 0, "/memfd:x".into())));
}

#[test]
fn a_script_is_told_with_its_interpreter() {
    let values: Values<'_> = &[
        (Tag::FILENAME, OK, 0, b"run.sh\0"),
        (Tag::INTERP, OK, 0, b"/bin/sh"),
        (Tag::EXE, OK, 0, b"dash\0bin\0usr\0"),
        (Tag::CWD, OK, 0, b"tmp\0"),
        (Tag::ARGS, OK, 0, b"/bin/sh\0./run.sh\0x\0"),
    ];
    let process = simple(values);
    assert_eq!((&*process.binary, &*process.arguments), ("/tmp/run.sh", "./run.sh x"));
    let extra = &process.extra;
    assert_eq!(
        (&*extra.interpreter, &*extra.script, &*extra.canonical_path),
        ("/bin/sh", "/tmp/run.sh", "/usr/bin/dash")
    );
    assert!(extra.argv.is_empty(), "argv[0] is the interpreter, as it must be");
    let same = simple(&[(Tag::FILENAME, OK, 0, b"/bin/ls"), (Tag::INTERP, OK, 0, b"/bin/ls"), CWD]);
    assert_eq!((&*same.extra.interpreter, &*same.extra.script), ("", ""));
}

#[test]
fn an_exec_from_another_thread_is_told() {
    let process = executed(&mut Host::new(), |exec| exec.id.tid = 55, &[CWD]);
    assert_eq!((process.pid, process.extra.exec_tid), (50, 55));
    assert_eq!(simple(&[CWD]).extra.exec_tid, 0);
}

/// Gives long arguments in data records, but for those with an index in `lost`.
fn chunked(host: &mut Host, args: &[u8], total: usize, lost: &[u32]) -> Process {
    let mut chunks = 0;
    for (index, bytes) in args.chunks(CHUNK_MAX as usize).enumerate() {
        let index = index as u32;
        chunks += 1;
        let mut data =
            Data { index, offset: u64::from(index * CHUNK_MAX), total: total as u64, ..Data::default() };
        data.rec.process = Key::new(50, 5_000);
        if !lost.contains(&index) {
            host.give(&build::data(data).ok(Tag::ARGS, bytes).finish());
        }
    }
    let change = |exec: &mut Exec| (exec.args_len, exec.args_chunks) = (total as u32, chunks);
    executed(host, change, &[(Tag::FILENAME, OK, 0, b"/bin/echo"), (Tag::ARGS, Status::Chunked, 0, b""), CWD])
}

#[test]
fn long_arguments_are_joined() {
    let args = [b"echo\0".as_slice(), &[b'x'; 30_000], b"\0last\0"].concat();
    let mut host = Host::new();
    let process = chunked(&mut host, &args, args.len(), &[]);
    assert_eq!((&*process.flags, process.arguments.len()), ("execve dataArgs", 30_005));
    assert!(process.arguments.ends_with("x last"));
    assert_eq!(process.extra.arguments_length, 0);
    let chunks = host.engine.counters().chunks;
    assert_eq!((chunks.joined, chunks.waiting), (4, 0));
}

#[test]
fn arguments_that_came_in_part_say_so() {
    let args = [b"echo\0".as_slice(), &[b'x'; 30_000], b"\0last\0"].concat();
    for (lost, shown) in [(&[1u32][..], 8192 - 5), (&[0], 0), (&[3], 3 * 8192 - 5)] {
        let mut host = Host::new();
        let process = chunked(&mut host, &args, args.len(), lost);
        assert_eq!(
            (&*process.flags, process.arguments.len()),
            ("execve truncArgs dataArgs", shown),
            "{lost:?}"
        );
        assert_eq!(process.extra.arguments_length, args.len() as u64);
        assert_eq!(host.engine.counters().imbalance(), None);
    }
    let process = chunked(&mut Host::new(), &args, 200_000, &[]);
    assert_eq!((&*process.flags, process.extra.arguments_length), ("execve truncArgs dataArgs", 200_000));
}

#[test]
fn parts_without_their_exec_go_with_the_process() {
    let (mut host, init) = Host::booted();
    let child = host.fork(&init);
    let mut data = Data::default();
    data.rec.process = child.key;
    host.give(&build::data(data).ok(Tag::ARGS, b"lost\0").finish());
    assert_eq!(host.engine.counters().chunks.waiting, 1);
    host.exit(&child, 0);
    let chunks = host.engine.counters().chunks;
    assert_eq!((chunks.waiting, chunks.waiting_bytes, chunks.orphaned), (0, 0, 1));
    assert_eq!(host.engine.counters().imbalance(), None);
}

#[test]
fn what_is_not_shown_is_not_kept() {
    let visible = saker_api::event::Visible::default();
    let mut host = Host::with(EngineConfig { visible, ..config() });
    let process = executed(&mut host, |_| {}, &[CWD, (Tag::ENVS, OK, 0, b"A=1\0")]);
    assert!(process.creds.is_none() && process.namespaces.is_none() && process.environment.is_empty());
}

#[test]
fn environments_are_shown_when_asked_for() {
    let environment = Environment { enabled: true, names: vec!["HOME".into()] };
    let mut host = Host::with(EngineConfig { environment, ..config() });
    let process = executed(&mut host, |_| {}, &[CWD, (Tag::ENVS, OK, 0, b"PATH=/bin\0HOME=/root\0")]);
    assert_eq!(process.environment, [("HOME".into(), "/root".into())]);
}

#[test]
fn namespaces_are_compared_with_the_hosts() {
    let mut config = config();
    config.host_namespaces.net = 7;
    let mut host = Host::with(config);
    let process = executed(&mut host, |exec| (exec.id.ns.net, exec.id.ns.pid) = (7, 8), &[CWD]);
    let ns = process.namespaces.unwrap();
    assert_eq!(((ns.net.inum, ns.net.is_host), (ns.pid.inum, ns.pid.is_host)), ((7, true), (8, false)));
    assert!(!ns.time.is_host, "a kernel without such a namespace");
}

struct Root;

impl UserNames for Root {
    fn name(&mut self, uid: u32) -> Option<Box<str>> {
        (uid == 0).then(|| "root".into())
    }
}

#[test]
fn users_are_named_on_the_host_only() {
    let mut config = config();
    config.users = Some(Box::new(Root));
    config.host_namespaces.mnt = 3;
    let mut host = Host::with(config);
    let mut user = |mnt, uid, cgroup: &[u8]| {
        host.engine = saker_engine::Engine::new(EngineConfig {
            users: Some(Box::new(Root)),
            host_namespaces: saker_abi::NamespaceInums { mnt: 3, ..Default::default() },
            ..crate::host::config()
        });
        let change = |exec: &mut Exec| (exec.id.ns.mnt, exec.id.creds.euid) = (mnt, uid);
        executed(&mut host, change, &[CWD, (Tag::CGROUP, OK, 0, cgroup)]).user
    };
    assert_eq!(user(3, 0, b"x"), Some("root".into()));
    assert_eq!(user(3, 5, b"x"), None);
    assert_eq!(user(4, 0, b"x"), None);
    assert_eq!(user(3, 0, &[b'a'; 64]), None, "a container");
}

#[test]
fn containers_are_known_by_their_control_group() {
    let (mut host, init) = Host::booted();
    let id = "4ef4e5cb9b1a7e1d6d1d8e3f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";
    let mut shim = host.fork(&init);
    host.exec(&mut shim, &LS);
    let name = format!("docker-{id}.scope");
    let change = |exec: &mut Exec| exec.id.cgroup_id = 900;
    let process = executed(&mut host, change, &[CWD, (Tag::CGROUP, OK, 0, name.as_bytes())]);
    assert_eq!(&*process.docker, &id[..31]);
    // Created by a process outside, directly into the container's group.
    host.world.identity.cgroup_id = 900;
    let inside = host.fork(&shim);
    assert_eq!(&*host.exit(&inside, 0).process.process.docker, &id[..31]);
    host.world.identity.cgroup_id = 901;
    let outside = host.fork(&shim);
    assert_eq!(&*host.exit(&outside, 0).process.process.docker, "");
}

#[test]
fn without_audit_the_login_is_unset() {
    let process = executed(&mut Host::new(), |exec| exec.id.flags = ProcessFlags::NO_AUDIT.0, &[CWD]);
    assert_eq!((process.auid, process.extra.audit_session), (u32::MAX, u32::MAX));
}

#[test]
fn invalid_text_is_replaced_the_same_way_everywhere() {
    let values: Values<'_> = &[
        (Tag::FILENAME, OK, 0, b"/b\xffn"),
        (Tag::EXE, OK, 0, b"b\xffn\0"),
        (Tag::CWD, OK, 0, b"\xfe\0"),
        (Tag::ARGS, OK, 0, b"b\xffn\0\xf0\x9f\0"),
        (Tag::TTY, OK, 0, b"pts/\xff"),
    ];
    let process = simple(values);
    assert_eq!(
        (&*process.binary, &*process.cwd, &*process.arguments),
        ("/b\u{fffd}n", "/\u{fffd}", "\u{fffd}")
    );
    assert_eq!((&*process.extra.canonical_path, &*process.extra.tty), ("/b\u{fffd}n", "pts/\u{fffd}"));
}

#[test]
fn unreadable_records_are_counted_and_change_nothing() {
    let (mut host, init) = Host::booted();
    let mut subject: Subject = host.fork(&init);
    let program = Program { args: &["ls"], ..LS };
    let record = host.world.exec(&mut subject, &program);
    for len in 0..record.len() {
        host.give(&record[..len]);
    }
    assert!(host.events.is_empty());
    assert_eq!(host.engine.counters().undecodable_total(), record.len() as u64);
    host.give(&record);
    assert_eq!(host.take_short().len(), 1);
}

/// One container is known.
struct OnePod(String);

impl saker_engine::PodNames for OnePod {
    fn pod(&mut self, container: &str) -> Option<std::sync::Arc<saker_api::tetragon::Pod>> {
        let pod = saker_api::tetragon::Pod { name: "web-1".into(), ..saker_api::tetragon::Pod::default() };
        (container == self.0).then(|| std::sync::Arc::new(pod))
    }
}

#[test]
fn processes_in_containers_have_their_pod() {
    let id = "4ef4e5cb9b1a7e1d6d1d8e3f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";
    let pod = |cgroup: &[u8]| {
        let mut host = Host::with(EngineConfig { pods: Some(Box::new(OnePod(id[..31].into()))), ..config() });
        let process = executed(&mut host, |_| {}, &[CWD, (Tag::CGROUP, OK, 0, cgroup)]);
        process.pod.as_ref().map(|pod| pod.name.clone())
    };
    assert_eq!(pod(format!("cri-containerd-{id}.scope").as_bytes()).as_deref(), Some("web-1"));
    assert_eq!(pod(&[b'b'; 64]), None, "a container that nobody knows");
    assert_eq!(pod(b"ssh.service"), None);
}
