//! Functions that judge an operation and leave everything as it is: of these a call and its return are looked at once,
//! when it returns.

use saker_abi::generated::{
    SAKER_ACTION_NO_POST, SAKER_ACTION_POST, SAKER_PLAN_AT_EXIT, SAKER_PLAN_BY_HASH, SAKER_PLAN_COOKIE,
    SAKER_PLAN_ENFORCES, SAKER_PLAN_HASH, SAKER_PLAN_RETURN, SAKER_PLAN_SOCKETS, SAKER_PLAN_SYSCALL,
    SAKER_PLAN_TRACKS, SAKER_PLAN_WRITES, SAKER_SELECT_NAMED, SAKER_SELECT_NO_POST, saker_plan,
    saker_selector_plan,
};

use crate::plan::Attach;

/// Checks of the security modules that change nothing of what their arguments lead to, without `security_`. Not among
/// them are those that prepare, fill in or label something. Source: the declarations in include/linux/lsm_hook_defs.h.
const JUDGES: [&str; 70] = [
    "bpf",
    "bpf_map",
    "bpf_prog",
    "capable",
    "create_user_ns",
    "file_fcntl",
    "file_ioctl",
    "file_ioctl_compat",
    "file_lock",
    "file_mprotect",
    "file_open",
    "file_permission",
    "file_post_open",
    "file_receive",
    "file_truncate",
    "inode_create",
    "inode_follow_link",
    "inode_getattr",
    "inode_getxattr",
    "inode_link",
    "inode_listxattr",
    "inode_mkdir",
    "inode_mknod",
    "inode_permission",
    "inode_readlink",
    "inode_removexattr",
    "inode_rename",
    "inode_rmdir",
    "inode_setattr",
    "inode_setxattr",
    "inode_symlink",
    "inode_unlink",
    "ipc_permission",
    "kernel_load_data",
    "kernel_module_request",
    "kernel_read_file",
    "key_permission",
    "locked_down",
    "mmap_addr",
    "mmap_file",
    "move_mount",
    "path_chmod",
    "path_chown",
    "path_chroot",
    "path_link",
    "path_mkdir",
    "path_mknod",
    "path_notify",
    "path_rename",
    "path_rmdir",
    "path_symlink",
    "path_truncate",
    "path_unlink",
    "perf_event_open",
    "ptrace_access_check",
    "ptrace_traceme",
    "sb_mount",
    "sb_pivotroot",
    "sb_statfs",
    "sb_umount",
    "settime64",
    "shm_shmat",
    "syslog",
    "task_getpgid",
    "task_kill",
    "task_setioprio",
    "task_setnice",
    "task_setpgid",
    "task_setrlimit",
    "task_setscheduler",
];

/// What a plan must not have: actions belong to the entry; the owner of a socket and a hash are looked for at the entry
/// and have records of their own.
const APART: u32 = SAKER_PLAN_ENFORCES
    | SAKER_PLAN_SOCKETS
    | SAKER_PLAN_TRACKS
    | SAKER_PLAN_HASH
    | SAKER_PLAN_BY_HASH
    | SAKER_PLAN_WRITES
    | SAKER_PLAN_COOKIE
    | SAKER_PLAN_SYSCALL;

fn judges(function: &str) -> bool {
    function.strip_prefix("security_").is_some_and(|name| JUDGES.contains(&name))
}

/// Whether a selector does nothing that tells entry and return apart: no stack, which would be another, and no limit of
/// what is told, which counts by the entry's values.
fn is_plain(selector: &saker_selector_plan) -> bool {
    let flags = SAKER_SELECT_NO_POST | SAKER_SELECT_NAMED;
    selector.window == 0 && u32::from(selector.flags) & !flags == 0
}

fn only_told(selector: &saker_selector_plan) -> bool {
    [SAKER_ACTION_POST, SAKER_ACTION_NO_POST].contains(&u32::from(selector.action))
}

/// Has calls looked at once, when they return, where a program at the entry would see and do nothing else.
pub(super) fn look_once(attach: Attach, plan: &mut saker_plan) -> Attach {
    let Attach::Trampoline { function, on_return: true } = attach else { return attach };
    let entries = plan.selector.get(..usize::from(plan.selectors)).unwrap_or_default();
    let returns = plan.return_selector.get(..usize::from(plan.return_selectors)).unwrap_or_default();
    let fits = judges(&function)
        && plan.flags & SAKER_PLAN_RETURN != 0
        && plan.flags & APART == 0
        && plan.whole == 0
        && entries.iter().chain(returns).all(is_plain)
        && returns.iter().all(only_told);
    if !fits {
        return Attach::Trampoline { function, on_return: true };
    }
    plan.flags |= SAKER_PLAN_AT_EXIT;
    Attach::Exit { function }
}
