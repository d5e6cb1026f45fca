//! How often a sensor went unseen because the kernel ran none of its programs.
//!
//! The kernel counts for each program the runs it left out. Where several programs stand in for one sensor
//! (`bpf/lib/understudy.h`), an occurrence is missed only when all of them are left out for it, so within a
//! span of time at most as many were missed as the least of them counts.

use crate::sensors::SENSORS;

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
