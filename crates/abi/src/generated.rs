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
pub type __u8 = ::core::ffi::c_uchar;
pub type __u16 = ::core::ffi::c_ushort;
pub type __u32 = ::core::ffi::c_uint;
pub type __u64 = ::core::ffi::c_ulonglong;
pub const SAKER_KIND_NONE: saker_kind = 0;
pub const SAKER_KIND_EXEC: saker_kind = 1;
pub const SAKER_KIND_FORK: saker_kind = 2;
pub const SAKER_KIND_EXIT: saker_kind = 3;
pub const SAKER_KIND_TASK: saker_kind = 4;
pub const SAKER_KIND_DATA: saker_kind = 5;
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
    pub zero: __u32,
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
    pub match_bits: __u64,
    pub exe: saker_file,
    pub ns_pid: __u32,
    pub flags: __u32,
    pub exited: __u32,
    pub auid: __u32,
    pub leaderless: __u32,
    pub zero: __u32,
    pub told_exec: __u64,
}
pub const SAKER_LOSS_RING_FULL: saker_loss = 0;
pub const SAKER_LOSS_NO_SCRATCH: saker_loss = 1;
pub const SAKER_LOSS_TOO_LONG: saker_loss = 2;
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
