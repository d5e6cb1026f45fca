//! How often a sensor went unseen because the kernel ran none of its programs.
//!
//! The kernel counts for each program the runs it left out. Where several programs stand in for one sensor
//! (`bpf/lib/understudy.h`), an occurrence is missed only when all of them are left out for it, so within a
//! span of time at most as many were missed as the least of them counts.

use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::libbpf_sys;

use crate::sensors::SENSORS;

/// What the kernel counted of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Runs that it left out, because one was under way on the same CPU.
    pub(crate) left_out: u64,
    /// Runs while BPF statistics were on, see [`crate::statistics`].
    pub(crate) count: u64,
    /// What these took, in nanoseconds.
    pub(crate) time_ns: u64,
}

/// How often the kernel left a program out; `None`: it does not say.
pub(crate) fn left_out(program: BorrowedFd<'_>) -> Option<u64> {
    runs(program).map(|runs| runs.left_out)
}

/// What the kernel counted of a program; `None`: it does not say. It is asked for every second, and its description in
/// `/proc` costs the kernel ten times as much.
pub(crate) fn runs(program: BorrowedFd<'_>) -> Option<Runs> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    // SAFETY: `info` has `length` bytes, all of which are zero, so that the kernel is given no place of ours to write
    // anything else to; it writes at most so many, and any bytes are an information.
    let status = unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut length)
    };
    // Before Linux 5.12 the information ends earlier, and nothing was counted.
    (status == 0).then_some(Runs {
        left_out: info.recursion_misses,
        count: info.run_cnt,
        time_ns: info.run_time_ns,
    })
}

/// Counts of the programs when they were read last, and what followed from them so far.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    before: [Vec<u64>; SENSORS],
    total: [u64; SENSORS],
}

impl Missed {
    /// Takes new counts of each sensor's programs; returns the totals of what was missed, at most.
    pub(crate) fn take(&mut self, counts: [Vec<u64>; SENSORS]) -> [u64; SENSORS] {
        for ((now, before), total) in counts.iter().zip(&self.before).zip(&mut self.total) {
            let before = before.iter().copied().chain(std::iter::repeat(0));
            *total +=
                now.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).min().unwrap_or(0);
        }
        self.before = counts;
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_program_misses_what_it_counts() {
        let mut missed = Missed::default();
        assert_eq!(missed.take([vec![2], vec![0], vec![1]]), [2, 0, 1]);
        assert_eq!(missed.take([vec![2], vec![3], vec![5]]), [2, 3, 5]);
    }

    #[test]
    fn what_one_of_several_saw_was_seen() {
        let mut missed = Missed::default();
        assert_eq!(missed.take([vec![9, 0, 1], vec![], vec![4, 4]]), [0, 0, 4]);
        // Only what was left out since the last look counts: 1, 3 and 2 runs of the first sensor.
        assert_eq!(missed.take([vec![10, 3, 3], vec![], vec![4, 5]]), [1, 0, 4]);
    }
}
