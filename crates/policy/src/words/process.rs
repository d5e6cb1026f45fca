//! Words about processes, workloads, lists and options.

use super::vocabulary;

vocabulary! {
    /// Kind of a policy.
    pub enum Kind {
        /// for the whole node, unless narrowed
        Cluster = "TracingPolicy",
        /// for the pods of one namespace
        Namespaced = "TracingPolicyNamespaced",
    }
}

vocabulary! {
    /// Membership.
    pub enum SetOperator {
        /// one of these
        In = "In",
        /// none of these
        NotIn = "NotIn",
    }
}

vocabulary! {
    /// What is done about a file whose hash cannot be computed.
    pub enum WithoutHash {
        /// the selector holds
        Act = "Act",
        /// no action that interferes is carried out, and the event says why
        Tell = "Tell",
    }
}

vocabulary! {
    /// A kind of namespace.
    pub enum Namespace {
        /// host and domain name
        Uts = "Uts",
        /// System V IPC and message queues
        Ipc = "Ipc",
        /// mounts
        Mnt = "Mnt",
        /// process numbers
        Pid = "Pid",
        /// process numbers of future children
        PidForChildren = "PidForChildren",
        /// network
        Net = "Net",
        /// clocks
        Time = "Time",
        /// clocks of future children
        TimeForChildren = "TimeForChildren",
        /// control groups
        Cgroup = "Cgroup",
        /// users
        User = "User",
    }
}

vocabulary! {
    /// A capability set of a process.
    pub enum CapabilitySet {
        /// what is in force
        Effective = "Effective",
        /// what is passed on
        Inheritable = "Inheritable",
        /// what may be taken
        Permitted = "Permitted",
    }
}

vocabulary! {
    /// Condition of a label selector.
    pub enum LabelOperator {
        /// the label has one of these values
        In = "In",
        /// the label has none of these values, or is absent
        NotIn = "NotIn",
        /// the label is there
        Exists = "Exists",
        /// the label is not there
        DoesNotExist = "DoesNotExist",
    }
}

vocabulary! {
    /// Kind of a list.
    pub enum ListType {
        /// names of kernel functions
        Functions = "",
        /// names of system calls
        Syscalls = "syscalls",
        /// every system call of the machine
        GeneratedSyscalls = "generated_syscalls",
        /// every traceable kernel function that fits `pattern`
        GeneratedFtrace = "generated_ftrace",
    }
}

vocabulary! {
    /// Option of a policy.
    pub enum OptionName {
        /// attach kprobes one by one: `true` or `false`
        DisableKprobeMulti = "disable-kprobe-multi",
        /// attach uprobes one by one: `true` or `false`
        DisableUprobeMulti = "disable-uprobe-multi",
        /// how calls are refused: `override-return` or `fmod-ret`, by enforcers; `cgroup`, by `Override` at
        /// `socket_connect`, `socket_bind` and `socket_sendmsg`
        OverrideMethod = "override-method",
        /// `enforce`, or `monitor` to only tell
        PolicyMode = "policy-mode",
        /// entries of the map in which strings of user memory are prepared
        SleepablePreloadSize = "sleepable-preload-size",
    }
}

vocabulary! {
    /// How calls are refused.
    pub enum OverrideMethod {
        /// by error injection
        OverrideReturn = "override-return",
        /// by a trampoline that replaces the result
        FmodRet = "fmod-ret",
        /// by programs of a control group, of operations of sockets
        Cgroup = "cgroup",
    }
}

vocabulary! {
    /// Whether a policy acts or only tells.
    pub enum Mode {
        /// act
        Enforce = "enforce",
        /// only tell
        Monitor = "monitor",
    }
}
