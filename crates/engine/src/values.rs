//! Captured values as the arguments of events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use saker_abi::generated::{
    SAKER_PATH_UNREACHABLE, saker_bpf_program, saker_cred, saker_module, saker_skb, saker_sock,
    saker_sockaddr,
};
use saker_abi::{CapabilitySet, Content, Creds, ObjectKind as Kind, Status, Value, device};
use saker_api::event::{
    Argument, ArgumentValue, EncodedSocket, Name, Object, ObjectKind, Socket, SocketKind,
};
use saker_api::tetragon::kprobe_argument::Arg;
use saker_api::tetragon::{self, BpfProgramType};
use saker_policy::names::{CAPABILITIES, FAMILIES, Names, PROTOCOLS, TCP_STATES};

use crate::contents::Rests;
use crate::seen::Seen;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Types of sockets (`linux/net.h`), from 1.
const SOCKET_TYPES: [&str; 6] =
    ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET", "SOCK_DCCP"];
/// Its number is apart from the others.
const SOCK_PACKET: u16 = 10;

/// Types of performance events (`linux/perf_event.h`).
const PERF_TYPES: [&str; 6] = [
    "PERF_TYPE_HARDWARE",
    "PERF_TYPE_SOFTWARE",
    "PERF_TYPE_TRACEPOINT",
    "PERF_TYPE_HW_CACHE",
    "PERF_TYPE_RAW",
    "PERF_TYPE_BREAKPOINT",
];

/// Types of BPF maps (`linux/bpf.h`).
const MAP_TYPES: [&str; 34] = [
    "BPF_MAP_TYPE_UNSPEC",
    "BPF_MAP_TYPE_HASH",
    "BPF_MAP_TYPE_ARRAY",
    "BPF_MAP_TYPE_PROG_ARRAY",
    "BPF_MAP_TYPE_PERF_EVENT_ARRAY",
    "BPF_MAP_TYPE_PERCPU_HASH",
    "BPF_MAP_TYPE_PERCPU_ARRAY",
    "BPF_MAP_TYPE_STACK_TRACE",
    "BPF_MAP_TYPE_CGROUP_ARRAY",
    "BPF_MAP_TYPE_LRU_HASH",
    "BPF_MAP_TYPE_LRU_PERCPU_HASH",
    "BPF_MAP_TYPE_LPM_TRIE",
    "BPF_MAP_TYPE_ARRAY_OF_MAPS",
    "BPF_MAP_TYPE_HASH_OF_MAPS",
    "BPF_MAP_TYPE_DEVMAP",
    "BPF_MAP_TYPE_SOCKMAP",
    "BPF_MAP_TYPE_CPUMAP",
    "BPF_MAP_TYPE_XSKMAP",
    "BPF_MAP_TYPE_SOCKHASH",
    "BPF_MAP_TYPE_CGROUP_STORAGE",
    "BPF_MAP_TYPE_REUSEPORT_SOCKARRAY",
    "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE",
    "BPF_MAP_TYPE_QUEUE",
    "BPF_MAP_TYPE_STACK",
    "BPF_MAP_TYPE_SK_STORAGE",
    "BPF_MAP_TYPE_DEVMAP_HASH",
    "BPF_MAP_TYPE_STRUCT_OPS",
    "BPF_MAP_TYPE_RINGBUF",
    "BPF_MAP_TYPE_INODE_STORAGE",
    "BPF_MAP_TYPE_TASK_STORAGE",
    "BPF_MAP_TYPE_BLOOM_FILTER",
    "BPF_MAP_TYPE_USER_RINGBUF",
    "BPF_MAP_TYPE_CGRP_STORAGE",
    "BPF_MAP_TYPE_ARENA",
];

/// The argument of a captured value, with what went ahead of its record. One that could not be read or makes no sense
/// says so.
#[inline]
pub(crate) fn argument(value: &Value<'_>, rests: &Rests, seen: &mut Seen) -> Argument {
    match value.int() {
        Some(number) => Argument { value: ArgumentValue::Int(number), label: None },
        None => other_argument(value, rests, seen),
    }
}

/// The same of what is no number, or a long one.
fn other_argument(value: &Value<'_>, rests: &Rests, seen: &mut Seen) -> Argument {
    let value = match value.content() {
        Ok(Content::Buffer(size, bytes)) => {
            other(buffer(size, [bytes, rests.behind(value.tag, bytes.len())].concat()))
        }
        Ok(content) => content_value(&content, value.status, seen),
        Err(mismatch) => other(error(mismatch.to_string())),
    };
    Argument { value, label: None }
}

fn error(message: String) -> Arg {
    Arg::ErrorArg(tetragon::KprobeError { message })
}

fn other(arg: Arg) -> ArgumentValue {
    ArgumentValue::Other(Box::new(arg))
}

/// What comes often; it costs no more than the memory that its text takes.
fn content_value(content: &Content<'_>, status: Status, seen: &mut Seen) -> ArgumentValue {
    match *content {
        Content::Int(value) => ArgumentValue::Int(value),
        Content::Uint(value) => ArgumentValue::Uint(value),
        Content::Long(value) => ArgumentValue::Long(value),
        Content::Size(value) => ArgumentValue::Size(value),
        Content::Text(bytes) => {
            ArgumentValue::Text(text(bytes).into_boxed_str(), status == Status::Truncated)
        }
        Content::Object(kind, ref object, path) => ArgumentValue::Object(Object {
            kind: match kind {
                Kind::File => ObjectKind::File,
                Kind::Path => ObjectKind::Path,
                Kind::Binprm => ObjectKind::Binprm,
            },
            path: seen.path(object.ino, path),
            cut: status == Status::Truncated,
            unreachable: object.flags & SAKER_PATH_UNREACHABLE != 0,
            mode: object.mode,
            inode: object.ino,
            device: device(object.dev),
        }),
        Content::Sock(ref sock) => ArgumentValue::Socket(socket(sock, seen)),
        _ => other(arg(content)),
    }
}

/// A buffer of so many bytes, of which these are known.
fn buffer(size: u64, bytes: Vec<u8>) -> Arg {
    if size > bytes.len() as u64 {
        Arg::TruncatedBytesArg(tetragon::KprobeTruncatedBytes { bytes_arg: bytes.into(), orig_size: size })
    } else {
        Arg::BytesArg(bytes.into())
    }
}

fn arg(content: &Content<'_>) -> Arg {
    match *content {
        Content::Failed => error("the value could not be read".to_owned()),
        Content::Buffer(size, bytes) => buffer(size, bytes.to_vec()),
        Content::Skb(skb) => Arg::SkbArg(skb_arg(&skb)),
        Content::Sockaddr(address) => Arg::SockaddrArg(tetragon::KprobeSockaddr {
            family: FAMILIES.name(address.family),
            addr: ip_text(address.family, address.addr),
            port: address.port.into(),
        }),
        Content::SockaddrUn(address, path) => Arg::SockaddrunArg(local_address(&address, path)),
        Content::Cred(cred) => Arg::ProcessCredentialsArg(credentials(&cred)),
        Content::UserNamespace(namespace) => {
            Arg::UserNsArg(user_namespace(namespace.level, namespace.uid, namespace.gid, namespace.inum))
        }
        Content::Capability(number) => {
            let name = usize::try_from(number).ok().and_then(|number| CAPABILITIES.get(number));
            let name = name.map_or_else(|| number.to_string(), |name| format!("CAP_{name}"));
            Arg::CapabilityArg(tetragon::KprobeCapability { value: Some(number), name })
        }
        Content::Capabilities(set, bits) => {
            let digits = format!("{bits:016x}");
            match set {
                CapabilitySet::Any => Arg::KernelCapTArg(digits),
                CapabilitySet::Inheritable => Arg::CapInheritableArg(digits),
                CapabilitySet::Permitted => Arg::CapPermittedArg(digits),
                CapabilitySet::Effective => Arg::CapEffectiveArg(digits),
            }
        }
        _ => kernel_arg(content),
    }
}

/// Objects of the kernel's own.
fn kernel_arg(content: &Content<'_>) -> Arg {
    match *content {
        Content::Module(found, name) => Arg::ModuleArg(module(&found, name, None)),
        Content::LoadInfo(found, name) => Arg::ModuleArg(module(&found, name, Some(found.signature_ok != 0))),
        Content::BpfAttr(program, name) => {
            let (prog_type, insn_cnt, prog_name) = program_parts(program, name);
            Arg::BpfAttrArg(tetragon::KprobeBpfAttr { prog_type, insn_cnt, prog_name })
        }
        Content::BpfProgram(program, name) => {
            let (prog_type, insn_cnt, prog_name) = program_parts(program, name);
            Arg::BpfProgArg(tetragon::KprobeBpfProg { prog_type, insn_cnt, prog_name })
        }
        Content::BpfMap(map, name) => Arg::BpfMapArg(tetragon::KprobeBpfMap {
            map_type: named(&MAP_TYPES, map.type_),
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_name: text(name),
        }),
        Content::PerfEvent(event, function) => Arg::PerfEventArg(tetragon::KprobePerfEvent {
            kprobe_func: text(function),
            r#type: named(&PERF_TYPES, event.type_),
            config: event.config,
            probe_offset: event.probe_offset,
        }),
        Content::Syscall(number) => Arg::SyscallId(syscall(number)),
        Content::BpfCommand(command) => Arg::BpfCmdArg(command),
        _ => error("the value has no form in events".to_owned()),
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The name with this number, or the number.
fn named(names: &[&str], number: u32) -> String {
    let name = usize::try_from(number).ok().and_then(|index| names.get(index));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// An address, IPv4 in the first four bytes; `None`: its family has no such addresses.
fn ip(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(bytes))),
        _ => None,
    }
}

fn ip_text(family: u16, bytes: [u8; 16]) -> String {
    // The words that the compatible interface has for it.
    ip(family, bytes).map_or_else(|| "invalid IP".to_owned(), |ip| ip.to_string())
}

/// The names of a table with their prefix, made when the first is asked for.
struct FullNames {
    table: &'static Names,
    made: OnceLock<Box<[Option<Box<str>>]>>,
}

impl FullNames {
    const fn of(table: &'static Names) -> Self {
        Self { table, made: OnceLock::new() }
    }

    /// The name of a number, or the number.
    fn name(&'static self, number: u16) -> Name {
        let made = self.made.get_or_init(|| {
            let known = |number: u16| self.table.names.iter().any(|(_, other)| *other == number);
            let name = |number| known(number).then(|| self.table.name(number).into_boxed_str());
            (0..=self.table.max).map(name).collect()
        });
        match made.get(usize::from(number)) {
            Some(Some(name)) => Name::Known(name),
            _ => Name::Unknown(number),
        }
    }
}

static FULL_FAMILIES: FullNames = FullNames::of(&FAMILIES);
static FULL_PROTOCOLS: FullNames = FullNames::of(&PROTOCOLS);
static FULL_STATES: FullNames = FullNames::of(&TCP_STATES);

fn socket(sock: &saker_sock, seen: &mut Seen) -> Socket {
    Socket {
        common: seen.socket_kind(sock, socket_kind),
        source: ip(sock.family, sock.saddr),
        destination: ip(sock.family, sock.daddr),
        source_port: sock.sport,
        destination_port: sock.dport,
        cookie: sock.cookie,
    }
}

fn socket_kind(sock: &saker_sock) -> SocketKind {
    let kind = match sock.type_ {
        SOCK_PACKET => Some("SOCK_PACKET"),
        number => number.checked_sub(1).and_then(|index| SOCKET_TYPES.get(usize::from(index)).copied()),
    };
    SocketKind {
        family: FULL_FAMILIES.name(sock.family),
        kind: kind.map_or(Name::Unknown(sock.type_), Name::Known),
        protocol: FULL_PROTOCOLS.name(sock.protocol),
        state: FULL_STATES.name(sock.state.into()),
        mark: sock.mark,
        priority: sock.priority,
        encoded: EncodedSocket::default(),
    }
}

fn skb_arg(skb: &saker_skb) -> tetragon::KprobeSkb {
    tetragon::KprobeSkb {
        hash: skb.hash,
        len: skb.len,
        priority: skb.priority,
        mark: skb.mark,
        saddr: ip_text(skb.family, skb.saddr),
        daddr: ip_text(skb.family, skb.daddr),
        sport: skb.sport.into(),
        dport: skb.dport.into(),
        proto: skb.protocol.into(),
        sec_path_len: skb.sec_path_len,
        sec_path_olen: skb.sec_path_olen,
        protocol: PROTOCOLS.name(skb.protocol),
        family: FAMILIES.name(skb.family),
    }
}

/// An abstract name begins with a NUL, which is shown as `@`.
fn local_address(address: &saker_sockaddr, path: &[u8]) -> tetragon::KprobeSockaddrUn {
    let known = matches!(address.family, AF_UNIX | AF_INET | AF_INET6);
    let family = if known { FAMILIES.name(address.family) } else { String::new() };
    let path = match path.strip_prefix(b"\0") {
        Some(name) if !name.is_empty() => format!("@{}", String::from_utf8_lossy(name)),
        _ => text(path),
    };
    tetragon::KprobeSockaddrUn { family, path }
}

/// Numbers of the bits that are set.
fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |bit| set >> bit & 1 == 1)
}

fn credentials(cred: &saker_cred) -> tetragon::ProcessCredentials {
    let creds: &Creds = &cred.creds;
    let list = |set| bits(set).map(u32::cast_signed).collect();
    tetragon::ProcessCredentials {
        uid: Some(creds.uid),
        gid: Some(creds.gid),
        euid: Some(creds.euid),
        egid: Some(creds.egid),
        suid: Some(creds.suid),
        sgid: Some(creds.sgid),
        fsuid: Some(creds.fsuid),
        fsgid: Some(creds.fsgid),
        securebits: bits(creds.securebits.into()).map(|bit| (1u32 << bit).cast_signed()).collect(),
        caps: Some(tetragon::Capabilities {
            permitted: list(creds.cap_permitted),
            effective: list(creds.cap_effective),
            inheritable: list(creds.cap_inheritable),
        }),
        user_ns: Some(user_namespace(
            creds.userns_level,
            creds.userns_uid,
            creds.userns_gid,
            cred.userns_inum,
        )),
    }
}

fn user_namespace(level: u32, uid: u32, gid: u32, inum: u32) -> tetragon::UserNamespace {
    tetragon::UserNamespace {
        level: Some(i32::try_from(level).unwrap_or(i32::MAX)),
        uid: Some(uid),
        gid: Some(gid),
        ns: Some(tetragon::Namespace { inum, is_host: level == 0 }),
    }
}

fn module(module: &saker_module, name: &[u8], signature_ok: Option<bool>) -> tetragon::KernelModule {
    // The message has the bits themselves as its numbers.
    let taints = bits(module.taints & 0x7fff_ffff).map(|bit| (1u32 << bit).cast_signed());
    tetragon::KernelModule { name: text(name), signature_ok, tainted: taints.collect() }
}

fn program_parts(program: saker_bpf_program, name: &[u8]) -> (String, u32, String) {
    let known = i32::try_from(program.type_).ok().and_then(|number| BpfProgramType::try_from(number).ok());
    let kind = known.map_or_else(|| program.type_.to_string(), |kind| kind.as_str_name().to_owned());
    (kind, program.instructions, text(name))
}

/// Bit 31 marks calls of the 32-bit ABI.
fn syscall(number: u64) -> tetragon::SyscallId {
    const NARROW: u64 = 1 << 31;
    let abi = match (cfg!(target_arch = "aarch64"), number & NARROW != 0) {
        (false, false) => "x64",
        (false, true) => "i386",
        (true, false) => "arm64",
        (true, true) => "arm32",
    };
    tetragon::SyscallId { id: (number & (NARROW - 1)) as u32, abi: abi.to_owned() }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
