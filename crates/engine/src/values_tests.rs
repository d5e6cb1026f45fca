//! Tests of arguments: each type has its field, and what cannot be read says so.

use proptest::prelude::*;
use saker_abi::generated::{self as abi, saker_number, saker_object};
use saker_abi::{Hook, Tag, build, decode};
use saker_api::saker_v1::ArgumentExtra;
use zerocopy::{Immutable, IntoBytes};

use super::*;

/// The argument of a value as a record has it.
fn of<T: IntoBytes + Immutable>(type_: u32, head: &T, bytes: &[u8]) -> Argument {
    let record = build::hook(Hook::default()).captured(Tag::captured(0), type_, head, bytes).finish();
    let record = decode(&record).unwrap();
    argument(&record.values().next().unwrap(), &Rests::default(), &mut Seen::default())
}

fn arg_of<T: IntoBytes + Immutable>(type_: u32, head: &T, bytes: &[u8]) -> Arg {
    of(type_, head, bytes).value.arg().unwrap()
}

fn number(value: i64) -> saker_number {
    saker_number { value: value.cast_unsigned() }
}

#[test]
fn numbers_have_the_field_of_their_width() {
    let cases = [
        (abi::SAKER_TYPE_INT, -1, Arg::IntArg(-1)),
        (abi::SAKER_TYPE_S8, -128, Arg::IntArg(-128)),
        (abi::SAKER_TYPE_U32, 0xffff_ffff, Arg::UintArg(u32::MAX)),
        (abi::SAKER_TYPE_U16, 0, Arg::UintArg(0)),
        (abi::SAKER_TYPE_S64, i64::MIN, Arg::LongArg(i64::MIN)),
        (abi::SAKER_TYPE_U64, -1, Arg::SizeArg(u64::MAX)),
        (abi::SAKER_TYPE_SIZE, 5, Arg::SizeArg(5)),
        (abi::SAKER_TYPE_BPF_CMD, 5, Arg::BpfCmdArg(5)),
        (abi::SAKER_TYPE_KERNEL_CAP, 0x1ff, Arg::KernelCapTArg("00000000000001ff".into())),
        (abi::SAKER_TYPE_CAP_EFFECTIVE, -1, Arg::CapEffectiveArg("ffffffffffffffff".into())),
    ];
    for (type_, value, expected) in cases {
        assert_eq!(arg_of(type_, &number(value), b""), expected, "type {type_}");
    }
    let capability = |value, name: &str| {
        Arg::CapabilityArg(tetragon::KprobeCapability { value: Some(value), name: name.into() })
    };
    assert_eq!(arg_of(abi::SAKER_TYPE_CAPABILITY, &number(21), b""), capability(21, "CAP_SYS_ADMIN"));
    assert_eq!(arg_of(abi::SAKER_TYPE_CAPABILITY, &number(99), b""), capability(99, "99"));
    let Arg::SyscallId(id) = arg_of(abi::SAKER_TYPE_SYSCALL64, &number(1 << 31 | 5), b"") else {
        panic!("not a system call")
    };
    assert_eq!((id.id, ["i386", "arm32"].contains(&id.abi.as_str())), (5, true));
}

#[test]
fn files_have_path_permissions_and_what_tells_them_apart() {
    let file = saker_object { ino: 9, dev: 8 << 20 | 1, mode: 0o104_755, flags: 1, zero: 0 };
    let of_file = of(abi::SAKER_TYPE_FILE, &file, b"/usr/bin/sudo");
    let Some(Arg::FileArg(shown)) = &of_file.value.arg() else { panic!("{of_file:?}") };
    assert_eq!((&*shown.path, &*shown.permission, &*shown.flags), ("/usr/bin/sudo", "-rwsr-xr-x", ""));
    let extra = ArgumentExtra { inode: 9, device: "8:1".into(), unreachable: true, truncated: false };
    assert_eq!(of_file.extra(), extra);
    let pipe = saker_object { mode: 0o010_600, ..saker_object::default() };
    let Arg::FileArg(shown) = arg_of(abi::SAKER_TYPE_FD, &pipe, b"") else { panic!("not a file") };
    assert_eq!((&*shown.path, &*shown.permission), ("/", "prw-------"));
    for (type_, field) in [(abi::SAKER_TYPE_DENTRY, "Path"), (abi::SAKER_TYPE_LINUX_BINPRM, "LinuxBinprm")] {
        let shown = format!("{:?}", arg_of(type_, &file, b"/x"));
        assert!(shown.starts_with(field), "{shown}");
    }
}

#[test]
fn cut_values_say_so() {
    let whole = abi::saker_buffer { size: 3 };
    let cut = abi::saker_buffer { size: 4 };
    for ty in [abi::SAKER_TYPE_CHAR_BUF, abi::SAKER_TYPE_CHAR_IOVEC, abi::SAKER_TYPE_IOV_ITER] {
        assert_eq!(arg_of(ty, &whole, b"abc"), Arg::BytesArg("abc".into()));
        let expected = tetragon::KprobeTruncatedBytes { bytes_arg: "abc".into(), orig_size: 4 };
        assert_eq!(arg_of(ty, &cut, b"abc"), Arg::TruncatedBytesArg(expected));
    }
    let text = Value {
        tag: Tag::captured(0),
        status: Status::Truncated,
        flags: abi::SAKER_TYPE_STRING as u8,
        bytes: b"ab\xff",
    };
    let shown = argument(&text, &Rests::default(), &mut Seen::default());
    assert_eq!(shown.value.arg(), Some(Arg::StringArg("ab\u{fffd}".into())));
    assert!(shown.extra().truncated);
    let file = saker_object::default().as_bytes().to_vec();
    let path = Value { flags: abi::SAKER_TYPE_FILE as u8, bytes: &file, ..text };
    let Some(Arg::FileArg(file)) = argument(&path, &Rests::default(), &mut Seen::default()).value.arg()
    else {
        panic!("not a file")
    };
    assert_eq!(file.flags, "unresolvedPathComponents");
}

#[test]
fn sockets_and_addresses_are_named() {
    let mut sock =
        saker_sock { family: 2, type_: 1, protocol: 6, state: 1, sport: 22, ..saker_sock::default() };
    sock.saddr[..4].copy_from_slice(&[10, 0, 0, 1]);
    let Arg::SockArg(shown) = arg_of(abi::SAKER_TYPE_SOCKET, &sock, b"") else { panic!("not a socket") };
    let names = [&shown.family, &shown.r#type, &shown.protocol, &shown.state, &shown.saddr, &shown.daddr];
    assert_eq!(names, ["AF_INET", "SOCK_STREAM", "IPPROTO_TCP", "TCP_ESTABLISHED", "10.0.0.1", "0.0.0.0"]);
    let unix = saker_sock { family: 1, type_: 10, state: 77, ..saker_sock::default() };
    let Arg::SockArg(shown) = arg_of(abi::SAKER_TYPE_SOCK, &unix, b"") else { panic!("not a socket") };
    assert_eq!(
        [&shown.family, &shown.r#type, &shown.saddr, &shown.state],
        ["AF_UNIX", "SOCK_PACKET", "invalid IP", "77"]
    );

    let mut skb = saker_skb { family: 10, protocol: 17, len: 5, ..saker_skb::default() };
    skb.saddr[15] = 1;
    let Arg::SkbArg(shown) = arg_of(abi::SAKER_TYPE_SKB, &skb, b"") else { panic!("not a packet") };
    assert_eq!(
        (&*shown.saddr, &*shown.daddr, shown.proto, &*shown.protocol),
        ("::1", "::", 17, "IPPROTO_UDP")
    );

    let local = saker_sockaddr { family: 1, ..saker_sockaddr::default() };
    for (path, expected) in [(&b"\0name"[..], "@name"), (b"/run/x", "/run/x"), (b"", "")] {
        let Arg::SockaddrunArg(shown) = arg_of(abi::SAKER_TYPE_SOCKADDR_UN, &local, path) else {
            panic!("not a local address")
        };
        assert_eq!((&*shown.family, &*shown.path), ("AF_UNIX", expected));
    }
    let other = saker_sockaddr { family: 16, ..saker_sockaddr::default() };
    let Arg::SockaddrunArg(shown) = arg_of(abi::SAKER_TYPE_SOCKADDR_UN, &other, b"") else {
        panic!("not a local address")
    };
    assert_eq!(shown.family, "");
}

#[test]
fn objects_of_the_kernel_have_their_fields() {
    let mut cred = saker_cred::default();
    (cred.creds.euid, cred.creds.securebits, cred.creds.cap_effective) = (7, 0b101, 1 << 40 | 1);
    (cred.creds.userns_level, cred.userns_inum) = (1, 99);
    let Arg::ProcessCredentialsArg(shown) = arg_of(abi::SAKER_TYPE_CRED, &cred, b"") else {
        panic!("no creds")
    };
    assert_eq!(
        (shown.euid, &shown.securebits[..], &shown.caps.unwrap().effective[..]),
        (Some(7), &[1, 4][..], &[0, 40][..])
    );
    let namespace = shown.user_ns.unwrap().ns.unwrap();
    assert_eq!((namespace.inum, namespace.is_host), (99, false));

    let found = saker_module { taints: 1 << 12 | 1 << 63, signature_ok: 0, zero: 0 };
    let module = |signature_ok| {
        Arg::ModuleArg(tetragon::KernelModule { name: "kvm".into(), signature_ok, tainted: vec![4096] })
    };
    assert_eq!(arg_of(abi::SAKER_TYPE_MODULE, &found, b"kvm"), module(None));
    assert_eq!(arg_of(abi::SAKER_TYPE_LOAD_INFO, &found, b"kvm"), module(Some(false)));

    let program = saker_bpf_program { type_: 2, instructions: 30 };
    let Arg::BpfAttrArg(shown) = arg_of(abi::SAKER_TYPE_BPF_ATTR, &program, b"probe") else {
        panic!("no attr")
    };
    assert_eq!((&*shown.prog_type, shown.insn_cnt, &*shown.prog_name), ("BPF_PROG_TYPE_KPROBE", 30, "probe"));
    let unknown = saker_bpf_program { type_: 999, instructions: 0 };
    let Arg::BpfProgArg(shown) = arg_of(abi::SAKER_TYPE_BPF_PROG, &unknown, b"") else {
        panic!("no program")
    };
    assert_eq!(shown.prog_type, "999");
    let map = abi::saker_bpf_map { type_: 27, key_size: 1, value_size: 2, max_entries: 3 };
    let Arg::BpfMapArg(shown) = arg_of(abi::SAKER_TYPE_BPF_MAP, &map, b"ring") else { panic!("no map") };
    assert_eq!((&*shown.map_type, &*shown.map_name), ("BPF_MAP_TYPE_RINGBUF", "ring"));
    let event = abi::saker_perf_event { type_: 1, config: 2, ..abi::saker_perf_event::default() };
    let Arg::PerfEventArg(shown) = arg_of(abi::SAKER_TYPE_PERF_EVENT, &event, b"f") else {
        panic!("no event")
    };
    assert_eq!((&*shown.r#type, &*shown.kprobe_func, shown.config), ("PERF_TYPE_SOFTWARE", "f", 2));
}

#[test]
fn what_cannot_be_read_says_so() {
    let failed =
        Value { tag: Tag::RESULT, status: Status::Failed, flags: abi::SAKER_TYPE_INT as u8, bytes: b"" };
    let message =
        |value: &Value<'_>| match argument(value, &Rests::default(), &mut Seen::default()).value.arg() {
            Some(Arg::ErrorArg(error)) => error.message,
            other => panic!("{other:?}"),
        };
    assert_eq!(message(&failed), "the value could not be read");
    assert!(message(&Value { status: Status::Ok, ..failed }).contains("0 bytes, at least 8"));
    assert!(message(&Value { status: Status::Ok, flags: 200, ..failed }).contains("type 200"));
}

proptest! {
    #[test]
    fn any_value_is_an_argument(
        type_ in 0u8..50, status in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..128),
    ) {
        let status = Status::from_raw(status);
        let value = Value { tag: Tag::captured(0), status, flags: type_, bytes: &bytes };
        let argument = argument(&value, &Rests::default(), &mut Seen::default());
        prop_assert!(argument.value.arg().is_some());
        let failed = matches!(argument.value.arg(), Some(Arg::ErrorArg(_)));
        prop_assert_eq!(failed, !matches!(value.content(), Ok(content) if !matches!(content, Content::Failed)));
    }
}
