//! Places to hook for random policies, with what can be captured there.

/// A place to hook with the types of what can be captured there.
pub(crate) struct Place {
    /// Its section and the fields that name it.
    pub(crate) section: &'static str,
    pub(crate) fields: &'static str,
    /// Index, type, and what else the argument needs.
    pub(crate) args: &'static [(u32, &'static str, &'static str)],
    /// Type of the result; empty: a result is not told.
    pub(crate) result: &'static str,
}

const FILE: (u32, &str, &str) = (0, "file", "");

pub(crate) const PLACES: &[Place] = &[
    Place {
        section: "kprobes",
        fields: "call: security_file_permission\n  syscall: false",
        args: &[
            FILE,
            (1, "int", ""),
            (0, "uint16", "resolve: f_inode.i_mode"),
            (0, "string", "resolve: f_path.dentry.d_name.name"),
        ],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_mmap_file\n  syscall: false",
        args: &[FILE, (1, "uint64", ""), (2, "uint64", "")],
        result: "int",
    },
    Place {
        section: "fentries",
        fields: "call: security_inode_unlink\n  syscall: false",
        args: &[(1, "dentry", ""), (0, "uint64", "resolve: i_ino")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: tcp_connect\n  syscall: false",
        args: &[(0, "sock", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_socket_connect\n  syscall: false",
        args: &[(0, "socket", ""), (1, "sockaddr", ""), (2, "int", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: ip_output\n  syscall: false",
        args: &[(2, "skb", ""), (1, "sock", "")],
        result: "",
    },
    Place {
        section: "kprobes",
        fields: "call: cap_capable\n  syscall: false",
        args: &[(0, "cred", ""), (1, "user_namespace", ""), (2, "capability", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: commit_creds\n  syscall: false",
        args: &[
            (0, "cred", ""),
            (0, "cap_effective", "resolve: cap_effective"),
            (0, "cap_permitted", "resolve: cap_permitted"),
        ],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_openat\n  syscall: true",
        args: &[(0, "fd", ""), (1, "string", ""), (2, "int", ""), (3, "uint32", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_write\n  syscall: true",
        args: &[(0, "fd", ""), (1, "char_buf", "sizeArgIndex: 3"), (2, "size_t", ""), (0, "int", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_read\n  syscall: true",
        args: &[(1, "char_buf", "sizeArgIndex: 3, returnCopy: true"), (2, "size_t", ""), (0, "uint64", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_connect\n  syscall: true",
        args: &[(1, "sockaddr", ""), (0, "fd", ""), (2, "int", "")],
        result: "int",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: file_open",
        args: &[FILE, (0, "uint32", "resolve: f_flags")],
        result: "",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: bprm_check_security",
        args: &[(0, "linux_binprm", ""), (0, "int", "resolve: argc")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: raw_syscalls\n  event: sys_enter",
        args: &[(4, "syscall64", "")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: sched\n  event: sched_process_exec\n  raw: true",
        args: &[(0, "string", "resolve: comm"), (0, "int", "resolve: pid"), (2, "linux_binprm", "")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: net\n  event: net_dev_queue",
        args: &[(5, "uint32", ""), (4, "uint64", ""), (6, "data_loc", "")],
        result: "",
    },
    Place {
        section: "uprobes",
        fields: "path: /proc/self/exe\n  symbols: [main]",
        args: &[(0, "int", ""), (1, "uint64", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sk_alloc\n  syscall: false",
        args: &[(1, "int", "")],
        result: "sock",
    },
    Place {
        section: "fentries",
        fields: "call: security_socket_sendmsg\n  syscall: false",
        args: &[(0, "socket", ""), (2, "int", ""), (0, "uint16", "resolve: sk.__sk_common.skc_family")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_socket_bind\n  syscall: false",
        args: &[(0, "socket", ""), (1, "sockaddr_un", ""), (2, "int", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_capset\n  syscall: false",
        args: &[
            (2, "cap_effective", ""),
            (3, "cap_inheritable", ""),
            (4, "cap_permitted", ""),
            (2, "kernel_cap_t", ""),
        ],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_path_truncate\n  syscall: false",
        args: &[(0, "path", ""), (0, "string", "resolve: dentry.d_name.name")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: tty_write\n  syscall: false",
        args: &[(0, "kiocb", ""), (1, "iov_iter", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: do_filp_open\n  syscall: false",
        args: &[(1, "filename", ""), (0, "int", "")],
        result: "",
    },
    Place {
        section: "kprobes",
        fields: "call: dev_hard_start_xmit\n  syscall: false",
        args: &[(1, "net_device", ""), (0, "skb", "")],
        result: "",
    },
    Place {
        section: "kprobes",
        fields: "call: security_perf_event_alloc\n  syscall: false",
        args: &[(0, "perf_event", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_bpf_map\n  syscall: false",
        args: &[(0, "bpf_map", ""), (1, "uint32", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: bpf_check\n  syscall: false",
        args: &[(1, "bpf_attr", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_bpf_prog\n  syscall: false",
        args: &[(0, "bpf_prog", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_lseek\n  syscall: true",
        args: &[
            (0, "uint8", ""),
            (1, "int64", ""),
            (2, "int8", ""),
            (2, "int16", ""),
            (1, "uint64", ""),
            (0, "uint32", ""),
        ],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_writev\n  syscall: true",
        args: &[(0, "fd", ""), (1, "char_iovec", "sizeArgIndex: 3"), (2, "uint32", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_sendto\n  syscall: true",
        args: &[
            (4, "sockaddr_un", ""),
            (4, "sockaddr", ""),
            (1, "char_buf", "sizeArgIndex: 3"),
            (2, "size_t", ""),
        ],
        result: "int",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: socket_connect",
        args: &[(0, "socket", ""), (1, "sockaddr", ""), (2, "int", "")],
        result: "",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: task_kill",
        args: &[(0, "int", "resolve: pid"), (2, "int", ""), (3, "cred", "")],
        result: "",
    },
];
