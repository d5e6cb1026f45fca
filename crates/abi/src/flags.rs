//! The numbers of the headers as types that do not mix.

use crate::generated as raw;

/// Kinds of records this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A program was executed.
    Exec = raw::SAKER_KIND_EXEC as u8,
    /// A process was created.
    Fork = raw::SAKER_KIND_FORK as u8,
    /// The last thread of a process ended.
    Exit = raw::SAKER_KIND_EXIT as u8,
    /// A process found by the task iterator.
    Task = raw::SAKER_KIND_TASK as u8,
    /// Part of a value too long for its exec record.
    Data = raw::SAKER_KIND_DATA as u8,
    /// A hook of a policy matched.
    Hook = raw::SAKER_KIND_HOOK as u8,
}

impl Kind {
    /// All known kinds.
    pub const ALL: [Self; 6] = [Self::Exec, Self::Fork, Self::Exit, Self::Task, Self::Data, Self::Hook];

    /// The kind with this number.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw as raw::saker_kind {
            raw::SAKER_KIND_EXEC => Some(Self::Exec),
            raw::SAKER_KIND_FORK => Some(Self::Fork),
            raw::SAKER_KIND_EXIT => Some(Self::Exit),
            raw::SAKER_KIND_TASK => Some(Self::Task),
            raw::SAKER_KIND_DATA => Some(Self::Data),
            raw::SAKER_KIND_HOOK => Some(Self::Hook),
            _ => None,
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::Task => "task",
            Self::Data => "data",
            Self::Hook => "hook",
        }
    }
}

/// Why the kernel side could not deliver a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The reader is behind.
    RingFull = raw::SAKER_LOSS_RING_FULL as isize,
    /// No buffer to build the record in.
    NoScratch = raw::SAKER_LOSS_NO_SCRATCH as isize,
    /// The record did not fit its bound.
    TooLong = raw::SAKER_LOSS_TOO_LONG as isize,
    /// What room was left in the ring is kept for records of processes.
    Reserved = raw::SAKER_LOSS_RESERVED as isize,
}

impl Loss {
    /// All known causes.
    pub const ALL: [Self; 4] = [Self::RingFull, Self::NoScratch, Self::TooLong, Self::Reserved];

    /// Name of the cause with this index in [`crate::Stats`], in metrics and gap events.
    #[must_use]
    pub const fn name_of(index: usize) -> &'static str {
        match index {
            0 => "ring_full",
            1 => "no_scratch",
            2 => "too_long",
            3 => "reserved",
            _ => "other",
        }
    }
}

/// Where a helper failed in the kernel without the record being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(pub usize);

impl Place {
    /// Places that have a name.
    pub const COUNT: usize = raw::SAKER_PLACE_FOLLOW as usize + 1;

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; Place::COUNT] = [
            "storage_fork",
            "storage_exec",
            "storage_task",
            "leaderless",
            "filename",
            "args",
            "envs",
            "exe",
            "cwd",
            "cgroup",
            "tty",
            "interp",
            "data",
            "follow",
        ];
        if self.0 < Self::COUNT { NAMES[self.0] } else { "other" }
    }

    /// The kernel's helper that fails there; `path walk`: several, see `bpf/lib/path.h`.
    #[must_use]
    pub const fn helper(self) -> &'static str {
        const HELPERS: [&str; Place::COUNT] = [
            "bpf_task_storage_get or bpf_map_update_elem",
            "bpf_task_storage_get or bpf_map_update_elem",
            "bpf_task_storage_get or bpf_map_update_elem",
            "bpf_map_update_elem",
            "bpf_probe_read_kernel_str",
            "bpf_probe_read_user",
            "bpf_probe_read_user",
            "path walk",
            "path walk",
            "bpf_probe_read_kernel_str",
            "bpf_probe_read_kernel_str",
            "bpf_probe_read_kernel_str",
            "bpf_ringbuf_output",
            "bpf_map_update_elem",
        ];
        if self.0 < Self::COUNT { HELPERS[self.0] } else { "other" }
    }
}

/// What a value of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u16);

#[expect(missing_docs, reason = "documented at enum saker_tag in bpf/abi/record.h")]
impl Tag {
    pub const FILENAME: Self = Self(raw::SAKER_TAG_FILENAME as u16);
    pub const EXE: Self = Self(raw::SAKER_TAG_EXE as u16);
    pub const CWD: Self = Self(raw::SAKER_TAG_CWD as u16);
    pub const ARGS: Self = Self(raw::SAKER_TAG_ARGS as u16);
    pub const ENVS: Self = Self(raw::SAKER_TAG_ENVS as u16);
    pub const INTERP: Self = Self(raw::SAKER_TAG_INTERP as u16);
    pub const CGROUP: Self = Self(raw::SAKER_TAG_CGROUP as u16);
    pub const TTY: Self = Self(raw::SAKER_TAG_TTY as u16);
    pub const RESULT: Self = Self(raw::SAKER_TAG_RESULT as u16);
    pub const KERNEL_STACK: Self = Self(raw::SAKER_TAG_KERNEL_STACK as u16);
    pub const USER_STACK: Self = Self(raw::SAKER_TAG_USER_STACK as u16);
    pub const HASH: Self = Self(raw::SAKER_TAG_HASH as u16);

    /// The tag of a hook's captured value, by its place among them.
    #[must_use]
    pub const fn captured(index: u16) -> Self {
        Self((raw::SAKER_TAG_VALUE as u16).saturating_add(index))
    }

    /// The place of a captured value; `None`: the tag of something else, or beyond what a hook captures.
    #[must_use]
    pub const fn index(self) -> Option<usize> {
        match self.0.checked_sub(raw::SAKER_TAG_VALUE as u16) {
            Some(index) if index < raw::SAKER_VALUES_MAX as u16 => Some(index as usize),
            _ => None,
        }
    }
}

/// How well a value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Whole.
    Ok = raw::SAKER_STATUS_OK as u8,
    /// The beginning; of path components the leaf's side.
    Truncated = raw::SAKER_STATUS_TRUNCATED as u8,
    /// Not readable.
    Failed = raw::SAKER_STATUS_FAILED as u8,
    /// Went ahead in data records.
    Chunked = raw::SAKER_STATUS_CHUNKED as u8,
}

impl Status {
    /// The status with this number; one that is not known counts as failed, because what its bytes mean is
    /// not known either.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw as raw::saker_status {
            raw::SAKER_STATUS_OK => Self::Ok,
            raw::SAKER_STATUS_TRUNCATED => Self::Truncated,
            raw::SAKER_STATUS_CHUNKED => Self::Chunked,
            _ => Self::Failed,
        }
    }
}

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$flag_doc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self($value as $repr);)*

            /// Whether all bits of `other` are set.
            #[must_use]
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Both sets of bits.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

bits! {
    /// Bits of [`crate::Identity::flags`].
    ProcessFlags: u32 {
        /// Descends from the first process of a container's PID namespace.
        IN_INIT_TREE = raw::SAKER_PROC_IN_INIT_TREE;
        /// A thread of the kernel.
        KERNEL_THREAD = raw::SAKER_PROC_KERNEL_THREAD;
        /// The flag of the same name is set.
        NO_NEW_PRIVS = raw::SAKER_PROC_NO_NEW_PRIVS;
        /// The parent had no record of its own; its key is derived.
        PARENT_MISSED = raw::SAKER_PROC_PARENT_MISSED;
        /// Nor had this process itself before its exec.
        PREVIOUS_MISSED = raw::SAKER_PROC_PREVIOUS_MISSED;
        /// Task records: a live sensor has reported this process already.
        LIVE = raw::SAKER_PROC_LIVE;
        /// Exec records: first exec since the process was created.
        FORKED = raw::SAKER_PROC_FORKED;
        /// The kernel keeps no login uid.
        NO_AUDIT = raw::SAKER_PROC_NO_AUDIT;
    }
}

bits! {
    /// Bits of [`crate::File::flags`].
    FileFlags: u32 {
        /// Made by memfd_create.
        MEMFD = raw::SAKER_FILE_MEMFD;
        /// No name left.
        UNLINKED = raw::SAKER_FILE_UNLINKED;
        /// Its mount ignores set-user-ID and set-group-ID bits.
        NOSUID = raw::SAKER_FILE_NOSUID;
    }
}

bits! {
    /// Bits of [`crate::Value::flags`] of path components.
    PathFlags: u8 {
        /// Outside the root of the process.
        UNREACHABLE = raw::SAKER_PATH_UNREACHABLE;
        /// Deleted, or never had a name.
        UNLINKED = raw::SAKER_PATH_UNLINKED;
    }
}

bits! {
    /// Bits of [`crate::Hook::flags`].
    HookFlags: u32 {
        /// The return of a call.
        RETURN = raw::SAKER_HOOK_RETURN;
        /// An entry whose return will be told too.
        WAITS = raw::SAKER_HOOK_WAITS;
        /// The process had no record; its key is derived.
        UNKNOWN = raw::SAKER_HOOK_UNKNOWN;
        /// Credentials and namespaces are filled.
        IDENTITY = raw::SAKER_HOOK_IDENTITY;
        /// The kernel's stack was asked for.
        KERNEL_STACK = raw::SAKER_HOOK_KERNEL_STACK;
        /// The program's stack was asked for.
        USER_STACK = raw::SAKER_HOOK_USER_STACK;
        /// The process is the owner of a socket among the values, as of when that was remembered.
        OWNER = raw::SAKER_HOOK_OWNER;
        /// It was not known yet in which container the process is.
        UNDECIDED = raw::SAKER_HOOK_UNDECIDED;
        /// With the hash of a file, which has a record of its own.
        HASH = raw::SAKER_HOOK_HASH;
        /// A call with its return in one record.
        CALL = raw::SAKER_HOOK_CALL;
    }
}
