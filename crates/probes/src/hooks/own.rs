//! Who this process is, for the kernel side, which spares it.

/// When this process began, in clock ticks since the boot, as `/proc` tells it; 0: not known.
pub(super) fn own_start() -> u64 {
    // Source: proc_pid_stat(5): the 22nd field; the second, in parentheses, may hold blanks.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    start.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// This process's number in the first PID namespace; 0: it is in another one.
pub(crate) fn own_id() -> u32 {
    // Source: PROC_PID_INIT_INO of include/linux/proc_ns.h.
    const FIRST: &str = "pid:[4026531836]";
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.as_os_str() == FIRST { std::process::id() } else { 0 }
}
