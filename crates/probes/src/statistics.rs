//! BPF statistics: how often programs run and how long that takes. The kernel counts it only while somebody asks, for it costs
//! two looks at the clock for each run of any program of the machine.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

/// As long as it lives the kernel counts the runs of all programs of the machine, and their time.
#[derive(Debug)]
pub struct Statistics {
    _on: OwnedFd,
}

impl Statistics {
    /// Has the kernel count, beside whoever has it count already.
    ///
    /// # Errors
    /// The kernel refuses: it takes CAP_SYS_ADMIN, and Linux 5.8.
    pub fn switch_on() -> io::Result<Self> {
        // SAFETY: it takes a number and gives one, and touches no memory.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has opened it for us, and nobody else knows of it.
        Ok(Self { _on: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}
