//! Types of captured values, and which operators can look at them.

use super::vocabulary;

vocabulary! {
    /// Type of a captured value.
    pub enum ArgType {
        /// taken from the format of the tracepoint; only there
        Auto = "auto",
        /// signed, 8 bits
        I8 = "int8" / "sint8",
        /// unsigned, 8 bits
        U8 = "uint8",
        /// signed, 16 bits
        I16 = "int16" / "sint16",
        /// unsigned, 16 bits
        U16 = "uint16",
        /// signed, 32 bits
        I32 = "int" / "int32" / "sint32",
        /// unsigned, 32 bits
        U32 = "uint32",
        /// signed, 64 bits
        I64 = "int64" / "sint64" / "long",
        /// unsigned, 64 bits
        U64 = "uint64" / "ulong",
        /// a size, unsigned, 64 bits
        Size = "size_t",
        /// text that ends with a NUL byte
        String = "string",
        /// bytes whose number another argument gives
        CharBuf = "char_buf",
        /// bytes of a vector, the first part
        CharIovec = "char_iovec",
        /// bytes of an iterator, the first part
        IovIter = "iov_iter",
        /// a fixed array of a tracepoint; found by `auto`, not written
        ConstBuf = "const_buf",
        /// text of a tracepoint
        DataLoc = "data_loc",
        /// name of a network device
        NetDevice = "net_device",
        /// path as the caller gave it (`struct filename`)
        Filename = "filename",
        /// number of an open file, shown as its path
        Fd = "fd",
        /// an open file
        File = "file",
        /// a path
        Path = "path",
        /// a directory entry, shown as its path: whole where the function has the directory (`struct path`) too, else within
        /// its file system
        Dentry = "dentry",
        /// the program that is being executed
        LinuxBinprm = "linux_binprm",
        /// an I/O request, shown as its file
        Kiocb = "kiocb",
        /// a socket of the network layer
        Sock = "sock",
        /// a socket as programs see it
        Socket = "socket",
        /// a network packet
        Skb = "skb",
        /// an address of any family
        Sockaddr = "sockaddr",
        /// the address of a local socket
        SockaddrUn = "sockaddr_un",
        /// credentials
        Cred = "cred",
        /// a user namespace
        UserNamespace = "user_namespace",
        /// the number of a capability
        Capability = "capability",
        /// a set of capabilities
        KernelCap = "kernel_cap_t",
        /// an inheritable set of capabilities
        CapInheritable = "cap_inheritable",
        /// a permitted set of capabilities
        CapPermitted = "cap_permitted",
        /// an effective set of capabilities
        CapEffective = "cap_effective",
        /// a kernel module that is being loaded
        LoadInfo = "load_info",
        /// a kernel module
        Module = "module",
        /// parameters of a `bpf` call
        BpfAttr = "bpf_attr",
        /// a BPF program
        BpfProg = "bpf_prog",
        /// a BPF map
        BpfMap = "bpf_map",
        /// command of a `bpf` call
        BpfCmd = "bpf_cmd",
        /// a performance event
        PerfEvent = "perf_event",
        /// number of a system call with the mark of its ABI; only in tracepoints
        Syscall64 = "syscall64",
        /// a placeholder; nothing is read
        Nop = "nop",
    }
}

/// What operators see in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// An integer of so many bits.
    Integer {
        /// Whether it has a sign.
        signed: bool,
        /// 8, 16, 32 or 64.
        bits: u32,
    },
    /// A set of capabilities.
    Capabilities,
    /// Text or bytes.
    Text,
    /// A path, with the type of the file.
    Path,
    /// A socket; with a state or without.
    Socket {
        /// Whether the TCP state is known.
        state: bool,
    },
    /// One address.
    Address,
    /// Address of a local socket.
    LocalAddress,
    /// Known only when the policy is loaded.
    Unknown,
    /// Nothing that a filter could look at.
    None,
}

impl ArgType {
    /// What operators see in a value of this type.
    #[must_use]
    pub fn group(self) -> Group {
        let integer = |signed, bits| Group::Integer { signed, bits };
        match self {
            Self::Auto => Group::Unknown,
            Self::I8 => integer(true, 8),
            Self::U8 => integer(false, 8),
            Self::I16 => integer(true, 16),
            Self::U16 => integer(false, 16),
            Self::I32 | Self::BpfCmd => integer(true, 32),
            Self::U32 => integer(false, 32),
            Self::I64 => integer(true, 64),
            Self::U64 | Self::Size | Self::Syscall64 => integer(false, 64),
            Self::String | Self::CharBuf | Self::DataLoc | Self::NetDevice => Group::Text,
            Self::Fd | Self::Dentry | Self::LinuxBinprm | Self::File | Self::Path => Group::Path,
            Self::Sock | Self::Socket => Group::Socket { state: true },
            Self::Skb => Group::Socket { state: false },
            Self::Sockaddr => Group::Address,
            Self::SockaddrUn => Group::LocalAddress,
            Self::KernelCap | Self::CapInheritable | Self::CapPermitted | Self::CapEffective => {
                Group::Capabilities
            }
            _ => Group::None,
        }
    }
}

impl Group {
    /// The name of the group in the reference.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Capabilities => "capability set",
            Self::Text => "text",
            Self::Path => "path, file type",
            Self::Socket { state: true } => "socket, state",
            Self::Socket { state: false } => "socket",
            Self::Address => "address",
            Self::LocalAddress => "local address",
            Self::Unknown => "as found when loaded",
            Self::None => "none",
        }
    }
}

vocabulary! {
    /// Where a value of `data` comes from.
    pub enum SourceName {
        /// the arguments of the hook
        Argument = "",
        /// the task that runs, a `task_struct`
        CurrentTask = "current_task",
        /// a register of the processor
        Registers = "pt_regs",
    }
}
