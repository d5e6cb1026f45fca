//! Types of values: their numbers in records, and the structures that they are read from.

use saker_abi::generated::{
    SAKER_TYPE_BPF_ATTR, SAKER_TYPE_BPF_CMD, SAKER_TYPE_BPF_MAP, SAKER_TYPE_BPF_PROG,
    SAKER_TYPE_CAP_EFFECTIVE, SAKER_TYPE_CAP_INHERITABLE, SAKER_TYPE_CAP_PERMITTED, SAKER_TYPE_CAPABILITY,
    SAKER_TYPE_CHAR_BUF, SAKER_TYPE_CHAR_IOVEC, SAKER_TYPE_CONST_BUF, SAKER_TYPE_CRED, SAKER_TYPE_DATA_LOC,
    SAKER_TYPE_DENTRY, SAKER_TYPE_FD, SAKER_TYPE_FILE, SAKER_TYPE_FILENAME, SAKER_TYPE_INT,
    SAKER_TYPE_IOV_ITER, SAKER_TYPE_KERNEL_CAP, SAKER_TYPE_KIOCB, SAKER_TYPE_LINUX_BINPRM,
    SAKER_TYPE_LOAD_INFO, SAKER_TYPE_MODULE, SAKER_TYPE_NET_DEVICE, SAKER_TYPE_NONE, SAKER_TYPE_PATH,
    SAKER_TYPE_PERF_EVENT, SAKER_TYPE_S8, SAKER_TYPE_S16, SAKER_TYPE_S64, SAKER_TYPE_SIZE, SAKER_TYPE_SKB,
    SAKER_TYPE_SOCK, SAKER_TYPE_SOCKADDR, SAKER_TYPE_SOCKADDR_UN, SAKER_TYPE_SOCKET, SAKER_TYPE_STRING,
    SAKER_TYPE_SYSCALL64, SAKER_TYPE_U8, SAKER_TYPE_U16, SAKER_TYPE_U32, SAKER_TYPE_U64,
    SAKER_TYPE_USER_NAMESPACE,
};

use crate::words::ArgType;

/// The number of a type in records; none: it is not read.
pub(super) fn type_number(ty: ArgType) -> Option<u32> {
    Some(match ty {
        ArgType::Nop => SAKER_TYPE_NONE,
        ArgType::I8 => SAKER_TYPE_S8,
        ArgType::U8 => SAKER_TYPE_U8,
        ArgType::I16 => SAKER_TYPE_S16,
        ArgType::U16 => SAKER_TYPE_U16,
        ArgType::I32 => SAKER_TYPE_INT,
        ArgType::U32 => SAKER_TYPE_U32,
        ArgType::I64 => SAKER_TYPE_S64,
        ArgType::U64 => SAKER_TYPE_U64,
        ArgType::Size => SAKER_TYPE_SIZE,
        ArgType::String => SAKER_TYPE_STRING,
        ArgType::CharBuf => SAKER_TYPE_CHAR_BUF,
        ArgType::NetDevice => SAKER_TYPE_NET_DEVICE,
        ArgType::Filename => SAKER_TYPE_FILENAME,
        ArgType::Fd => SAKER_TYPE_FD,
        ArgType::File => SAKER_TYPE_FILE,
        ArgType::Path => SAKER_TYPE_PATH,
        ArgType::Dentry => SAKER_TYPE_DENTRY,
        ArgType::LinuxBinprm => SAKER_TYPE_LINUX_BINPRM,
        ArgType::Kiocb => SAKER_TYPE_KIOCB,
        ArgType::Sock => SAKER_TYPE_SOCK,
        ArgType::Socket => SAKER_TYPE_SOCKET,
        ArgType::Skb => SAKER_TYPE_SKB,
        ArgType::Sockaddr => SAKER_TYPE_SOCKADDR,
        ArgType::SockaddrUn => SAKER_TYPE_SOCKADDR_UN,
        ArgType::Cred => SAKER_TYPE_CRED,
        ArgType::UserNamespace => SAKER_TYPE_USER_NAMESPACE,
        ArgType::Capability => SAKER_TYPE_CAPABILITY,
        ArgType::KernelCap => SAKER_TYPE_KERNEL_CAP,
        ArgType::CapInheritable => SAKER_TYPE_CAP_INHERITABLE,
        ArgType::CapPermitted => SAKER_TYPE_CAP_PERMITTED,
        ArgType::CapEffective => SAKER_TYPE_CAP_EFFECTIVE,
        ArgType::LoadInfo => SAKER_TYPE_LOAD_INFO,
        ArgType::Module => SAKER_TYPE_MODULE,
        ArgType::BpfAttr => SAKER_TYPE_BPF_ATTR,
        ArgType::BpfProg => SAKER_TYPE_BPF_PROG,
        ArgType::BpfMap => SAKER_TYPE_BPF_MAP,
        ArgType::BpfCmd => SAKER_TYPE_BPF_CMD,
        ArgType::Syscall64 => SAKER_TYPE_SYSCALL64,
        ArgType::ConstBuf => SAKER_TYPE_CONST_BUF,
        ArgType::DataLoc => SAKER_TYPE_DATA_LOC,
        ArgType::CharIovec => SAKER_TYPE_CHAR_IOVEC,
        ArgType::IovIter => SAKER_TYPE_IOV_ITER,
        ArgType::PerfEvent => SAKER_TYPE_PERF_EVENT,
        ArgType::Auto => return None,
    })
}

/// Structures whose address a value of this type is; none: it is no structure.
pub(super) fn structures(ty: ArgType) -> Option<&'static [&'static str]> {
    Some(match ty {
        ArgType::NetDevice => &["net_device"],
        ArgType::Filename => &["filename"],
        ArgType::File => &["file"],
        ArgType::Path => &["path"],
        ArgType::Dentry => &["dentry"],
        ArgType::LinuxBinprm => &["linux_binprm"],
        ArgType::Kiocb => &["kiocb"],
        ArgType::Sock => {
            &["sock", "sock_common", "inet_sock", "inet_connection_sock", "tcp_sock", "udp_sock"]
        }
        ArgType::Socket => &["socket"],
        ArgType::Skb => &["sk_buff"],
        ArgType::Sockaddr | ArgType::SockaddrUn => &[
            "sockaddr",
            "sockaddr_unsized",
            "sockaddr_in",
            "sockaddr_in6",
            "sockaddr_un",
            "__kernel_sockaddr_storage",
        ],
        ArgType::Cred => &["cred"],
        ArgType::UserNamespace => &["user_namespace"],
        ArgType::KernelCap | ArgType::CapInheritable | ArgType::CapPermitted | ArgType::CapEffective => {
            &["kernel_cap_t", "kernel_cap_struct"]
        }
        ArgType::LoadInfo => &["load_info"],
        ArgType::Module => &["module"],
        ArgType::BpfAttr => &["bpf_attr"],
        ArgType::BpfProg => &["bpf_prog"],
        ArgType::BpfMap => &["bpf_map"],
        ArgType::CharIovec => &["iovec", "kvec"],
        ArgType::IovIter => &["iov_iter"],
        ArgType::PerfEvent => &["perf_event"],
        _ => return None,
    })
}
