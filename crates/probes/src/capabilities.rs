//! Which capabilities this process has.

use std::io;

/// Capability numbers of `include/uapi/linux/capability.h` that loading and reading need.
const NEEDED: [(u8, &str); 4] =
    [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE"), (2, "CAP_DAC_READ_SEARCH")];
const SYS_ADMIN: u8 = 21;

/// Effective capabilities of the calling thread, one bit each. The kernel is asked itself: the proc file system may
/// be hidden, or that of another namespace.
///
/// # Errors
/// The kernel does not tell, as under a filter of system calls.
pub fn effective() -> io::Result<u64> {
    Ok(rustix::thread::capabilities(None)?.effective.bits())
}

/// Names of what is missing in `effective`. `CAP_SYS_ADMIN` stands in for BPF and PERFMON, as in the kernel.
#[must_use]
pub fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u8| effective >> bit & 1 == 1;
    let stands_in = |bit: u8| has(SYS_ADMIN) && matches!(bit, 38 | 39);
    NEEDED.iter().filter(|(bit, _)| !has(*bit) && !stands_in(*bit)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_stands_in_for_bpf_and_perfmon_only() {
        assert_eq!(missing(1 << SYS_ADMIN), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(missing(0).len(), 4);
        assert!(missing(u64::MAX).is_empty());
    }

    #[test]
    fn the_kernel_tells_what_proc_shows() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let shown = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
        assert_eq!(format!("{:016x}", effective().unwrap()), shown);
    }
}
