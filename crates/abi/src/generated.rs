//! Generated from bpf/abi by `cargo xtask bindings`; do not edit.

pub const SAKER_ABI_VERSION: u32 = 1;
pub const SAKER_RECORD_MAX: u32 = 32768;
pub const SAKER_PATH_UNREACHABLE: u32 = 1;
pub const SAKER_PATH_UNLINKED: u32 = 2;
pub const SAKER_FILENAME_MAX: u32 = 4096;
pub const SAKER_PATH_MAX: u32 = 7168;
pub const SAKER_INLINE_MAX: u32 = 2048;
pub const SAKER_CHUNK_MAX: u32 = 8192;
pub const SAKER_CHUNKS_MAX: u32 = 16;
pub const SAKER_ARGS_MAX: u32 = 131072;
pub const SAKER_NAME_MAX: u32 = 128;
pub const SAKER_FILE_MEMFD: u32 = 1;
pub const SAKER_FILE_UNLINKED: u32 = 2;
pub const SAKER_FILE_NOSUID: u32 = 4;
pub const SAKER_PROC_IN_INIT_TREE: u32 = 1;
pub const SAKER_PROC_KERNEL_THREAD: u32 = 2;
pub const SAKER_PROC_NO_NEW_PRIVS: u32 = 4;
pub const SAKER_PROC_PARENT_MISSED: u32 = 8;
pub const SAKER_PROC_PREVIOUS_MISSED: u32 = 16;
pub const SAKER_PROC_LIVE: u32 = 32;
pub const SAKER_PROC_FORKED: u32 = 64;
pub const SAKER_PROC_NO_AUDIT: u32 = 128;
pub const SAKER_VALUES_MAX: u32 = 12;
pub const SAKER_STRING_MAX: u32 = 4096;
pub const SAKER_BUFFER_MAX: u32 = 4096;
pub const SAKER_WHOLE_MAX: u32 = 327360;
pub const SAKER_FRAMES_MAX: u32 = 127;
pub const SAKER_SELECTOR_NONE: u32 = 65535;
pub const SAKER_HOOK_RETURN: u32 = 1;
pub const SAKER_HOOK_WAITS: u32 = 2;
pub const SAKER_HOOK_UNKNOWN: u32 = 4;
pub const SAKER_HOOK_IDENTITY: u32 = 32;
pub const SAKER_HOOK_KERNEL_STACK: u32 = 64;
pub const SAKER_HOOK_USER_STACK: u32 = 128;
pub const SAKER_HOOK_OWNER: u32 = 256;
pub const SAKER_HOOK_UNDECIDED: u32 = 512;
pub const SAKER_HOOK_HASH: u32 = 1024;
pub const SAKER_HOOK_CALL: u32 = 2048;
pub const SAKER_HOOK_WITHHELD_SHIFT: u32 = 16;
pub const SAKER_HASH_MAX: u32 = 64;
pub const SAKER_HASH_BUILD_ID: u32 = 254;
pub const SAKER_SYSCALL_NARROW: u32 = 2147483648;
pub const SAKER_SELECTORS_MAX: u32 = 64;
pub const SAKER_CLAUSES_MAX: u32 = 512;
pub const SAKER_STAGES_MAX: u32 = 13;
pub const SAKER_POOL_MAX: u32 = 2048;
pub const SAKER_STEPS_MAX: u32 = 11;
pub const SAKER_SYSCALLS_MAX: u32 = 1024;
pub const SAKER_SHORT_MAX: u32 = 248;
pub const SAKER_LONG_MAX: u32 = 4096;
pub const SAKER_COLUMNS_MAX: u32 = 256;
pub const SAKER_BEGINNINGS_MAX: u32 = 32;
pub const SAKER_BEGINNING_PART: u32 = 16;
pub const SAKER_WRITES_MAX: u32 = 64;
pub const SAKER_WRITTEN_MAX: u32 = 16;
pub const SAKER_FILES_NAMED_MAX: u32 = 16384;
pub const SAKER_FILES_MAX: u32 = 65536;
pub const SAKER_LOAD_LOCATED: u32 = 256;
pub const SAKER_LOAD_RELATIVE: u32 = 257;
pub const SAKER_STEP_SIZE: u32 = 10;
pub const SAKER_STEP_INDEX: u32 = 9;
pub const SAKER_REGISTER_NONE: u32 = 255;
pub const SAKER_SIZE_NONE: u32 = 255;
pub const SAKER_SIZE_CONTEXT: u32 = 254;
pub const SAKER_SIZE_REGISTER: u32 = 253;
pub const SAKER_WIDTH_SIGNED: u32 = 128;
pub const SAKER_EXPRESSION_MAX: u32 = 256;
pub const SAKER_STACK_MAX: u32 = 64;
pub const SAKER_CLAUSE_NEGATED: u32 = 1;
pub const SAKER_CLAUSE_SIGNED: u32 = 2;
pub const SAKER_CLAUSE_LONG: u32 = 4;
pub const SAKER_SELECT_NO_POST: u32 = 1;
pub const SAKER_SELECT_OVERRIDE: u32 = 2;
pub const SAKER_SELECT_NAMED: u32 = 4;
pub const SAKER_SELECT_PER_PROCESS: u32 = 8;
pub const SAKER_SELECT_GLOBAL: u32 = 16;
pub const SAKER_SELECT_KERNEL_STACK: u32 = 32;
pub const SAKER_SELECT_USER_STACK: u32 = 64;
pub const SAKER_SELECT_HASH: u32 = 128;
pub const SAKER_ALSO_WRITES: u32 = 1;
pub const SAKER_PLAN_RETURN: u32 = 1;
pub const SAKER_PLAN_SYSCALL: u32 = 2;
pub const SAKER_PLAN_IDENTITY: u32 = 4;
pub const SAKER_PLAN_ENFORCES: u32 = 8;
pub const SAKER_PLAN_ALL_CALLS: u32 = 16;
pub const SAKER_PLAN_BINARIES: u32 = 32;
pub const SAKER_PLAN_COOKIE: u32 = 64;
pub const SAKER_PLAN_FOLLOW: u32 = 128;
pub const SAKER_PLAN_PARENT: u32 = 256;
pub const SAKER_PLAN_SOCKETS: u32 = 8192;
pub const SAKER_PLAN_TRACKS: u32 = 16384;
pub const SAKER_PLAN_WORKLOADS: u32 = 32768;
pub const SAKER_PLAN_NARROW: u32 = 65536;
pub const SAKER_PLAN_HASH: u32 = 131072;
pub const SAKER_PLAN_WRITES: u32 = 1048576;
pub const SAKER_PLAN_BY_HASH: u32 = 4194304;
pub const SAKER_PLAN_AT_EXIT: u32 = 8388608;
pub const SAKER_PART_PATHS: u32 = 1;
pub const SAKER_PART_BINARIES: u32 = 2;
pub const SAKER_PART_PATTERNS: u32 = 4;
pub const SAKER_PART_LONG: u32 = 8;
pub const SAKER_PART_REGISTERS: u32 = 16;
pub const SAKER_PLACE_KNOWN: u32 = 32768;
pub const SAKER_COLUMN_FOLLOWS: u32 = 1;
pub const SAKER_COLUMN_LEADS: u32 = 2;
pub const SAKER_SELECTOR_SHARDS_MAX: u32 = 8;
pub const SAKER_ENFORCED_GROUPS_MAX: u32 = 4096;
pub const SAKER_WORKLOADS_MAX: u32 = 63;
pub const SAKER_WORKLOAD_ANY: i32 = -1;
pub const SAKER_ABOVE_SLOTS: u32 = 8;
pub const SAKER_GUARD_POLICY: u32 = 4294967295;
pub const SAKER_GUARD_FILE: u32 = 1;
pub const SAKER_GUARD_BELOW: u32 = 2;
pub const SAKER_GUARD_NAME: u32 = 4;
pub const SAKER_GUARD_INNER: u32 = 8;
pub const SAKER_GUARD_MOUNT: u32 = 16;
pub const SAKER_GUARD_INODES_MAX: u32 = 4096;
pub const SAKER_GUARD_OBJECTS_MAX: u32 = 65536;
pub type __u8 = ::core::ffi::c_uchar;
pub type __u16 = ::core::ffi::c_ushort;
pub type __s16 = ::core::ffi::c_short;
pub type __u32 = ::core::ffi::c_uint;
pub type __u64 = ::core::ffi::c_ulonglong;
pub const SAKER_KIND_NONE: saker_kind = 0;
pub const SAKER_KIND_EXEC: saker_kind = 1;
pub const SAKER_KIND_FORK: saker_kind = 2;
pub const SAKER_KIND_EXIT: saker_kind = 3;
pub const SAKER_KIND_TASK: saker_kind = 4;
pub const SAKER_KIND_DATA: saker_kind = 5;
pub const SAKER_KIND_HOOK: saker_kind = 6;
pub const SAKER_KIND_MAX: saker_kind = 8;
pub type saker_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_key {
    pub ktime: __u64,
    pub pid: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_record {
    pub version: __u16,
    pub kind: __u8,
    pub lane: __u8,
    pub head_len: __u16,
    pub flags: __u16,
    pub len: __u32,
    pub cpu: __u32,
    pub time: __u64,
    pub seq: __u64,
    pub process: saker_key,
    pub policy: __u32,
    pub hook: __u32,
}
pub const SAKER_TAG_NONE: saker_tag = 0;
pub const SAKER_TAG_FILENAME: saker_tag = 1;
pub const SAKER_TAG_EXE: saker_tag = 2;
pub const SAKER_TAG_CWD: saker_tag = 3;
pub const SAKER_TAG_ARGS: saker_tag = 4;
pub const SAKER_TAG_ENVS: saker_tag = 5;
pub const SAKER_TAG_INTERP: saker_tag = 6;
pub const SAKER_TAG_CGROUP: saker_tag = 7;
pub const SAKER_TAG_TTY: saker_tag = 8;
pub const SAKER_TAG_RESULT: saker_tag = 10;
pub const SAKER_TAG_KERNEL_STACK: saker_tag = 11;
pub const SAKER_TAG_USER_STACK: saker_tag = 12;
pub const SAKER_TAG_HASH: saker_tag = 13;
pub const SAKER_TAG_VALUE: saker_tag = 256;
pub type saker_tag = ::core::ffi::c_uint;
pub const SAKER_STATUS_OK: saker_status = 0;
pub const SAKER_STATUS_TRUNCATED: saker_status = 1;
pub const SAKER_STATUS_FAILED: saker_status = 2;
pub const SAKER_STATUS_CHUNKED: saker_status = 3;
pub type saker_status = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_tlv {
    pub tag: __u16,
    pub status: __u8,
    pub flags: __u8,
    pub len: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_data {
    pub rec: saker_record,
    pub index: __u32,
    pub call: __u32,
    pub offset: __u64,
    pub total: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_creds {
    pub uid: __u32,
    pub gid: __u32,
    pub euid: __u32,
    pub egid: __u32,
    pub suid: __u32,
    pub sgid: __u32,
    pub fsuid: __u32,
    pub fsgid: __u32,
    pub securebits: __u32,
    pub userns_level: __u32,
    pub userns_uid: __u32,
    pub userns_gid: __u32,
    pub cap_inheritable: __u64,
    pub cap_permitted: __u64,
    pub cap_effective: __u64,
    pub cap_bounding: __u64,
    pub cap_ambient: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_namespaces {
    pub uts: __u32,
    pub ipc: __u32,
    pub mnt: __u32,
    pub pid: __u32,
    pub pid_for_children: __u32,
    pub net: __u32,
    pub time: __u32,
    pub time_for_children: __u32,
    pub cgroup: __u32,
    pub user: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_file {
    pub ino: __u64,
    pub dev: __u32,
    pub nlink: __u32,
    pub mode: __u32,
    pub uid: __u32,
    pub gid: __u32,
    pub flags: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_identity {
    pub parent: saker_key,
    pub real_parent: saker_key,
    pub start_boottime: __u64,
    pub cgroup_id: __u64,
    pub tid: __u32,
    pub ns_pid: __u32,
    pub auid: __u32,
    pub audit_session: __u32,
    pub sid: __u32,
    pub pgid: __u32,
    pub tty: __u32,
    pub flags: __u32,
    pub comm: [::core::ffi::c_char; 16usize],
    pub creds: saker_creds,
    pub ns: saker_namespaces,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_exec {
    pub rec: saker_record,
    pub id: saker_identity,
    pub previous: saker_key,
    pub exe: saker_file,
    pub args_len: __u32,
    pub envs_len: __u32,
    pub args_chunks: __u32,
    pub envs_chunks: __u32,
    pub argc: __u32,
    pub secureexec: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_fork {
    pub rec: saker_record,
    pub id: saker_identity,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_exit {
    pub rec: saker_record,
    pub id: saker_identity,
    pub code: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_process {
    pub key: saker_key,
    pub parent: saker_key,
    pub cgroup_id: __u64,
    pub match_bits: [__u64; 2usize],
    pub exe: saker_file,
    pub ns_pid: __u32,
    pub flags: __u32,
    pub exited: __u32,
    pub auid: __u32,
    pub leaderless: __u32,
    pub zero: __u32,
    pub told_exec: __u64,
    pub match_generation: [__u32; 2usize],
    pub exec_id: __u64,
}
pub const SAKER_FAMILY_KPROBE: saker_family = 1;
pub const SAKER_FAMILY_TRACEPOINT: saker_family = 2;
pub const SAKER_FAMILY_UPROBE: saker_family = 3;
pub const SAKER_FAMILY_USDT: saker_family = 4;
pub const SAKER_FAMILY_LSM: saker_family = 5;
pub const SAKER_FAMILY_LOADER: saker_family = 6;
pub type saker_family = ::core::ffi::c_uint;
pub const SAKER_ACTION_POST: saker_action = 0;
pub const SAKER_ACTION_SIGKILL: saker_action = 2;
pub const SAKER_ACTION_OVERRIDE: saker_action = 4;
pub const SAKER_ACTION_GET_URL: saker_action = 6;
pub const SAKER_ACTION_DNS_LOOKUP: saker_action = 7;
pub const SAKER_ACTION_NO_POST: saker_action = 8;
pub const SAKER_ACTION_SIGNAL: saker_action = 9;
pub const SAKER_ACTION_TRACK_SOCK: saker_action = 10;
pub const SAKER_ACTION_UNTRACK_SOCK: saker_action = 11;
pub const SAKER_ACTION_NOTIFY_ENFORCER: saker_action = 12;
pub const SAKER_ACTION_CLEANUP_ENFORCER: saker_action = 13;
pub const SAKER_ACTION_SET: saker_action = 14;
pub type saker_action = ::core::ffi::c_uint;
pub const SAKER_WITHHELD_NONE: saker_withheld = 0;
pub const SAKER_WITHHELD_MONITOR: saker_withheld = 1;
pub const SAKER_WITHHELD_INIT: saker_withheld = 2;
pub const SAKER_WITHHELD_AGENT: saker_withheld = 3;
pub const SAKER_WITHHELD_OWNER: saker_withheld = 4;
pub const SAKER_WITHHELD_FAILED: saker_withheld = 5;
pub const SAKER_WITHHELD_WORKLOAD: saker_withheld = 6;
pub const SAKER_WITHHELD_SWITCH: saker_withheld = 7;
pub const SAKER_WITHHELD_UNHASHED: saker_withheld = 8;
pub type saker_withheld = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_hook {
    pub rec: saker_record,
    pub call: __u64,
    pub cgroup_id: __u64,
    pub function: __u64,
    pub tid: __u32,
    pub selector: __u16,
    pub action: __u8,
    pub family: __u8,
    pub flags: __u32,
    pub repeats: __u32,
    pub creds: saker_creds,
    pub ns: saker_namespaces,
}
pub const SAKER_TYPE_NONE: saker_type = 0;
pub const SAKER_TYPE_INT: saker_type = 1;
pub const SAKER_TYPE_CHAR_BUF: saker_type = 2;
pub const SAKER_TYPE_CHAR_IOVEC: saker_type = 3;
pub const SAKER_TYPE_SIZE: saker_type = 4;
pub const SAKER_TYPE_SKB: saker_type = 5;
pub const SAKER_TYPE_STRING: saker_type = 6;
pub const SAKER_TYPE_SOCK: saker_type = 7;
pub const SAKER_TYPE_CRED: saker_type = 8;
pub const SAKER_TYPE_S64: saker_type = 10;
pub const SAKER_TYPE_U64: saker_type = 11;
pub const SAKER_TYPE_S32: saker_type = 12;
pub const SAKER_TYPE_U32: saker_type = 13;
pub const SAKER_TYPE_FILENAME: saker_type = 14;
pub const SAKER_TYPE_PATH: saker_type = 15;
pub const SAKER_TYPE_FILE: saker_type = 16;
pub const SAKER_TYPE_FD: saker_type = 17;
pub const SAKER_TYPE_CONST_BUF: saker_type = 18;
pub const SAKER_TYPE_BPF_ATTR: saker_type = 19;
pub const SAKER_TYPE_PERF_EVENT: saker_type = 20;
pub const SAKER_TYPE_BPF_MAP: saker_type = 21;
pub const SAKER_TYPE_USER_NAMESPACE: saker_type = 22;
pub const SAKER_TYPE_CAPABILITY: saker_type = 23;
pub const SAKER_TYPE_KIOCB: saker_type = 24;
pub const SAKER_TYPE_IOV_ITER: saker_type = 25;
pub const SAKER_TYPE_LOAD_INFO: saker_type = 26;
pub const SAKER_TYPE_MODULE: saker_type = 27;
pub const SAKER_TYPE_SYSCALL64: saker_type = 28;
pub const SAKER_TYPE_S16: saker_type = 29;
pub const SAKER_TYPE_U16: saker_type = 30;
pub const SAKER_TYPE_S8: saker_type = 31;
pub const SAKER_TYPE_U8: saker_type = 32;
pub const SAKER_TYPE_KERNEL_CAP: saker_type = 33;
pub const SAKER_TYPE_CAP_INHERITABLE: saker_type = 34;
pub const SAKER_TYPE_CAP_PERMITTED: saker_type = 35;
pub const SAKER_TYPE_CAP_EFFECTIVE: saker_type = 36;
pub const SAKER_TYPE_LINUX_BINPRM: saker_type = 37;
pub const SAKER_TYPE_DATA_LOC: saker_type = 38;
pub const SAKER_TYPE_NET_DEVICE: saker_type = 39;
pub const SAKER_TYPE_SOCKADDR: saker_type = 40;
pub const SAKER_TYPE_SOCKET: saker_type = 41;
pub const SAKER_TYPE_DENTRY: saker_type = 42;
pub const SAKER_TYPE_BPF_PROG: saker_type = 43;
pub const SAKER_TYPE_SOCKADDR_UN: saker_type = 44;
pub const SAKER_TYPE_BPF_CMD: saker_type = 45;
pub type saker_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_number {
    pub value: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_buffer {
    pub size: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_object {
    pub ino: __u64,
    pub dev: __u32,
    pub mode: __u32,
    pub flags: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_sock {
    pub cookie: __u64,
    pub saddr: [__u8; 16usize],
    pub daddr: [__u8; 16usize],
    pub mark: __u32,
    pub priority: __u32,
    pub family: __u16,
    pub type_: __u16,
    pub protocol: __u16,
    pub sport: __u16,
    pub dport: __u16,
    pub state: __u8,
    pub zero: [__u8; 5usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_skb {
    pub saddr: [__u8; 16usize],
    pub daddr: [__u8; 16usize],
    pub hash: __u32,
    pub len: __u32,
    pub priority: __u32,
    pub mark: __u32,
    pub sec_path_len: __u32,
    pub sec_path_olen: __u32,
    pub sport: __u16,
    pub dport: __u16,
    pub protocol: __u16,
    pub family: __u16,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_sockaddr {
    pub addr: [__u8; 16usize],
    pub family: __u16,
    pub port: __u16,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_cred {
    pub creds: saker_creds,
    pub userns_inum: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_user_namespace {
    pub level: __u32,
    pub uid: __u32,
    pub gid: __u32,
    pub inum: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_module {
    pub taints: __u64,
    pub signature_ok: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_bpf_program {
    pub type_: __u32,
    pub instructions: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_bpf_map {
    pub type_: __u32,
    pub key_size: __u32,
    pub value_size: __u32,
    pub max_entries: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_perf_event {
    pub config: __u64,
    pub probe_offset: __u64,
    pub type_: __u32,
    pub zero: __u32,
}
pub const SAKER_SOURCE_ARGUMENT: saker_source = 0;
pub const SAKER_SOURCE_TASK: saker_source = 1;
pub const SAKER_SOURCE_RETURN: saker_source = 2;
pub const SAKER_SOURCE_CONTEXT: saker_source = 3;
pub const SAKER_SOURCE_REGISTER: saker_source = 4;
pub const SAKER_SOURCE_INDEXED: saker_source = 5;
pub const SAKER_SOURCE_CONSTANT: saker_source = 6;
pub type saker_source = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_step {
    pub offset: __u32,
    pub load: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_value_plan {
    pub type_: __u8,
    pub source: __u8,
    pub index: __u8,
    pub size_index: __u8,
    pub steps: __u8,
    pub width: __u8,
    pub max: __u16,
    pub step: [saker_step; 11usize],
}
pub const SAKER_OP_NONE: saker_op = 0;
pub const SAKER_OP_PID: saker_op = 1;
pub const SAKER_OP_NS_PID: saker_op = 2;
pub const SAKER_OP_BINARY: saker_op = 3;
pub const SAKER_OP_NAMESPACE: saker_op = 4;
pub const SAKER_OP_CAPABILITY: saker_op = 5;
pub const SAKER_OP_USER_NAMESPACE: saker_op = 6;
pub const SAKER_OP_FOLLOWED: saker_op = 7;
pub const SAKER_OP_IN_PID_NAMESPACE: saker_op = 8;
pub const SAKER_OP_PARENT_BINARY: saker_op = 9;
pub const SAKER_OP_PARENT_FOLLOWED: saker_op = 10;
pub const SAKER_OP_NAMESPACE_CHANGE: saker_op = 11;
pub const SAKER_OP_CAPABILITY_CHANGE: saker_op = 12;
pub const SAKER_OP_WORKLOAD: saker_op = 13;
pub const SAKER_OP_EQUAL: saker_op = 16;
pub const SAKER_OP_GREATER: saker_op = 17;
pub const SAKER_OP_LESS: saker_op = 18;
pub const SAKER_OP_MASK: saker_op = 19;
pub const SAKER_OP_RANGE: saker_op = 20;
pub const SAKER_OP_NUMBER_SET: saker_op = 21;
pub const SAKER_OP_TEXT_EQUAL: saker_op = 22;
pub const SAKER_OP_TEXT_PREFIX: saker_op = 23;
pub const SAKER_OP_TEXT_POSTFIX: saker_op = 24;
pub const SAKER_OP_FILE_TYPE: saker_op = 25;
pub const SAKER_OP_SOURCE: saker_op = 26;
pub const SAKER_OP_DESTINATION: saker_op = 27;
pub const SAKER_OP_SOURCE_PORT: saker_op = 28;
pub const SAKER_OP_DESTINATION_PORT: saker_op = 29;
pub const SAKER_OP_PROTOCOL: saker_op = 30;
pub const SAKER_OP_FAMILY: saker_op = 31;
pub const SAKER_OP_STATE: saker_op = 32;
pub const SAKER_OP_GAINED: saker_op = 33;
pub const SAKER_OP_TEXT_PATTERN: saker_op = 34;
pub const SAKER_OP_EXPRESSION: saker_op = 35;
pub const SAKER_OP_SAME_FILE: saker_op = 36;
pub type saker_op = ::core::ffi::c_uint;
pub const SAKER_STEP_LITERAL: saker_expression_step = 0;
pub const SAKER_STEP_VALUE: saker_expression_step = 1;
pub const SAKER_STEP_WRAP: saker_expression_step = 2;
pub const SAKER_STEP_TURN: saker_expression_step = 3;
pub const SAKER_STEP_NOT: saker_expression_step = 4;
pub const SAKER_STEP_ADD: saker_expression_step = 5;
pub const SAKER_STEP_SUBTRACT: saker_expression_step = 6;
pub const SAKER_STEP_AND: saker_expression_step = 7;
pub const SAKER_STEP_OR: saker_expression_step = 8;
pub const SAKER_STEP_XOR: saker_expression_step = 9;
pub const SAKER_STEP_EQUAL: saker_expression_step = 10;
pub const SAKER_STEP_LESS: saker_expression_step = 11;
pub const SAKER_STEP_BOTH: saker_expression_step = 12;
pub const SAKER_STEP_EITHER: saker_expression_step = 13;
pub type saker_expression_step = ::core::ffi::c_uint;
pub const SAKER_NUMBER_S32: saker_number_type = 0;
pub const SAKER_NUMBER_U32: saker_number_type = 1;
pub const SAKER_NUMBER_S64: saker_number_type = 2;
pub const SAKER_NUMBER_U64: saker_number_type = 3;
pub type saker_number_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_clause {
    pub op: __u8,
    pub value: __u8,
    pub flags: __u8,
    pub first: __u8,
    pub pool: __u16,
    pub count: __u16,
    pub set: __u32,
    pub selector: __u16,
    pub beginning: __u8,
    pub beginnings: __u8,
    pub number: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_stage {
    pub value: __u8,
    pub beginnings: __u8,
    pub files: __u8,
    pub zero: __u8,
    pub clause: __u16,
    pub count: __u16,
    pub selectors: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_selector_plan {
    pub process: __u16,
    pub process_count: __u16,
    pub action: __u8,
    pub flags: __u8,
    pub entry: __u16,
    pub window: __u64,
    pub track: __u16,
    pub untrack: __u16,
    pub error: __s16,
    pub signal: __u8,
    pub also: __u8,
}
pub const SAKER_WRITE_REGISTER: saker_write_kind = 1;
pub const SAKER_WRITE_LOADED: saker_write_kind = 2;
pub const SAKER_WRITE_MEMORY: saker_write_kind = 3;
pub type saker_write_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_write {
    pub selector: __u16,
    pub kind: __u8,
    pub width: __u8,
    pub target: __u8,
    pub base: __u8,
    pub base_width: __u8,
    pub index: __u8,
    pub factor: __u8,
    pub slot: __u8,
    pub zero: [__u8; 6usize],
    pub offset: __u64,
    pub number: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_beginning {
    pub word: [__u64; 6usize],
    pub mask: [__u64; 6usize],
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_plan {
    pub policy: __u32,
    pub hook: __u32,
    pub flags: __u32,
    pub family: __u8,
    pub values: __u8,
    pub entry_values: __u8,
    pub arguments: __u8,
    pub selectors: __u16,
    pub return_selectors: __u16,
    pub stages: __u16,
    pub return_stages: __u16,
    pub function: __u64,
    pub value: [saker_value_plan; 12usize],
    pub result: saker_value_plan,
    pub selector: [saker_selector_plan; 64usize],
    pub return_selector: [saker_selector_plan; 64usize],
    pub stage: [saker_stage; 13usize],
    pub return_stage: [saker_stage; 13usize],
    pub clause: [saker_clause; 512usize],
    pub pool: [__u64; 2048usize],
    pub syscall: [__u64; 16usize],
    pub track: __u16,
    pub untrack: __u16,
    pub plain: __u16,
    pub typed: __u16,
    pub beginning: [saker_beginning; 32usize],
    pub workload: __u64,
    pub whole: __u16,
    pub zero: [__u16; 3usize],
    pub narrow: [__u64; 16usize],
    pub write: [saker_write; 64usize],
    pub writes: __u16,
    pub place: __u16,
    pub hash_set: __u32,
    pub hash_in: __u64,
    pub hash_not_in: __u64,
    pub hash_lenient: __u64,
    pub hash_told: __u64,
    pub hash_algorithm: __u32,
    pub zero2: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_number_key {
    pub set: __u32,
    pub zero: __u32,
    pub number: __u64,
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_text_key {
    pub set: __u32,
    pub len: __u32,
    pub text: [__u8; 248usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_piece {
    pub next: __u32,
    pub ends: __u32,
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_prefix_key {
    pub bits: __u32,
    pub set: __u32,
    pub text: [__u8; 248usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_network_key {
    pub bits: __u32,
    pub set: __u32,
    pub address: [__u8; 16usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_file_key {
    pub set: __u32,
    pub device: __u32,
    pub inode: __u64,
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_column {
    pub mask: [__u64; 256usize],
    pub stay: [__u64; 2usize],
    pub skip: __u64,
    pub start: __u64,
    pub accept: __u64,
    pub flags: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_binary_column {
    pub column: saker_column,
    pub bits: [__u64; 64usize],
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_binary_sets {
    pub generation: __u32,
    pub lengths: __u32,
    pub length: [__u32; 62usize],
    pub columns: __u32,
    pub zero: __u32,
    pub followed: __u64,
    pub since: [__u32; 64usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_follow_key {
    pub own: __u32,
    pub pid: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_lineage {
    pub start: __u64,
    pub bits: __u64,
    pub inherited: __u64,
    pub generation: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_hook_stats {
    pub calls: __u64,
    pub matched: __u64,
    pub posted: __u64,
    pub limited: __u64,
    pub lost: __u64,
    pub unpaired: __u64,
    pub memory: __u64,
    pub waiting: __u64,
    pub signalled: __u64,
    pub overridden: __u64,
    pub monitored_signal: __u64,
    pub monitored_override: __u64,
    pub spared: __u64,
    pub failed: __u64,
    pub undecided: __u64,
    pub unposted: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_selector_stats {
    pub matched: __u64,
    pub posted: __u64,
    pub unposted: __u64,
    pub signalled: __u64,
    pub overridden: __u64,
    pub monitored_signal: __u64,
    pub monitored_override: __u64,
    pub withheld: __u64,
}
pub const SAKER_MODE_ENFORCE: saker_mode = 0;
pub const SAKER_MODE_MONITOR: saker_mode = 1;
pub type saker_mode = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_enforced {
    pub denied: __u64,
    pub signalled: __u64,
    pub withheld: __u64,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_group {
    pub container: __u64,
    pub bits: __u64,
}
#[repr(C)]
#[derive(
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_group_made {
    pub group: __u64,
    pub name: [__u8; 256usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_known {
    pub task: __u64,
    pub start_boottime: __u64,
    pub exec_id: __u64,
    pub bits: __u64,
    pub generation: __u32,
    pub taken: __u32,
    pub zero: [__u64; 11usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_mount {
    pub mnt: __u64,
    pub root_dentry: __u64,
    pub root_mnt: __u64,
    pub renames: __u32,
    pub mounts: __u32,
    pub word: [__u64; 6usize],
    pub components: __u32,
    pub zero: __u32,
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_above {
    pub dentry: __u64,
    pub mnt: __u64,
    pub root_dentry: __u64,
    pub root_mnt: __u64,
    pub taken: __u32,
    pub slot: __u32,
    pub hangs: [__u64; 3usize],
    pub step: [__u64; 6usize],
    pub walk_dentry: __u64,
    pub walk_mnt: __u64,
    pub mount: [saker_mount; 8usize],
}
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_sequences {
    pub renames: __u64,
    pub mounts: __u64,
}
pub const SAKER_LOSS_RING_FULL: saker_loss = 0;
pub const SAKER_LOSS_NO_SCRATCH: saker_loss = 1;
pub const SAKER_LOSS_TOO_LONG: saker_loss = 2;
pub const SAKER_LOSS_RESERVED: saker_loss = 3;
pub const SAKER_LOSS_MAX: saker_loss = 4;
pub type saker_loss = ::core::ffi::c_uint;
pub const SAKER_PLACE_STORAGE_FORK: saker_place = 0;
pub const SAKER_PLACE_STORAGE_EXEC: saker_place = 1;
pub const SAKER_PLACE_STORAGE_TASK: saker_place = 2;
pub const SAKER_PLACE_LEADERLESS: saker_place = 3;
pub const SAKER_PLACE_FILENAME: saker_place = 4;
pub const SAKER_PLACE_ARGS: saker_place = 5;
pub const SAKER_PLACE_ENVS: saker_place = 6;
pub const SAKER_PLACE_EXE: saker_place = 7;
pub const SAKER_PLACE_CWD: saker_place = 8;
pub const SAKER_PLACE_CGROUP: saker_place = 9;
pub const SAKER_PLACE_TTY: saker_place = 10;
pub const SAKER_PLACE_INTERP: saker_place = 11;
pub const SAKER_PLACE_DATA: saker_place = 12;
pub const SAKER_PLACE_FOLLOW: saker_place = 13;
pub const SAKER_PLACE_MAX: saker_place = 16;
pub type saker_place = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_stats {
    pub seq: __u64,
    pub sent: [__u64; 8usize],
    pub sent_bytes: __u64,
    pub lost: [[__u64; 8usize]; 4usize],
    pub failed: [__u64; 16usize],
    pub failed_errno: [__u32; 16usize],
}
pub const SAKER_GUARD_TASK_KILL: saker_guard_hook = 0;
pub const SAKER_GUARD_FILE_SEND_SIGIOTASK: saker_guard_hook = 1;
pub const SAKER_GUARD_PTRACE_ACCESS_CHECK: saker_guard_hook = 2;
pub const SAKER_GUARD_TASK_SETRLIMIT: saker_guard_hook = 3;
pub const SAKER_GUARD_TASK_SETSCHEDULER: saker_guard_hook = 4;
pub const SAKER_GUARD_TASK_SETNICE: saker_guard_hook = 5;
pub const SAKER_GUARD_TASK_SETIOPRIO: saker_guard_hook = 6;
pub const SAKER_GUARD_FILE_OPEN: saker_guard_hook = 7;
pub const SAKER_GUARD_INODE_CREATE: saker_guard_hook = 8;
pub const SAKER_GUARD_INODE_MKDIR: saker_guard_hook = 9;
pub const SAKER_GUARD_INODE_MKNOD: saker_guard_hook = 10;
pub const SAKER_GUARD_INODE_SYMLINK: saker_guard_hook = 11;
pub const SAKER_GUARD_INODE_LINK: saker_guard_hook = 12;
pub const SAKER_GUARD_INODE_UNLINK: saker_guard_hook = 13;
pub const SAKER_GUARD_INODE_RMDIR: saker_guard_hook = 14;
pub const SAKER_GUARD_INODE_RENAME: saker_guard_hook = 15;
pub const SAKER_GUARD_INODE_SETATTR: saker_guard_hook = 16;
pub const SAKER_GUARD_INODE_PERMISSION: saker_guard_hook = 17;
pub const SAKER_GUARD_SB_UMOUNT: saker_guard_hook = 18;
pub const SAKER_GUARD_BPF: saker_guard_hook = 19;
pub const SAKER_GUARD_BPF_MAP: saker_guard_hook = 20;
pub const SAKER_GUARD_BPF_PROG: saker_guard_hook = 21;
pub const SAKER_GUARD_HOOKS: saker_guard_hook = 22;
pub type saker_guard_hook = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_guard_count {
    pub refused: __u64,
    pub lost: __u64,
}
pub const SAKER_GUARD_MAP: saker_guard_kind = 1;
pub const SAKER_GUARD_PROG: saker_guard_kind = 2;
pub const SAKER_GUARD_LINK: saker_guard_kind = 3;
pub type saker_guard_kind = ::core::ffi::c_uint;
#[repr(C)]
#[derive(
    Default,
    Copy,
    Clone,
    Debug,
    zerocopy :: FromBytes,
    zerocopy :: IntoBytes,
    zerocopy :: KnownLayout,
    zerocopy :: Immutable,
)]
pub struct saker_guard_object {
    pub kind: __u32,
    pub id: __u32,
}
