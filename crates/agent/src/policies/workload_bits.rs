//! Which bit of what is known of a container, or of the host, stands for which filter on workloads.
//!
//! There are 63 for all policies together; filters that ask for the same share one.

use std::collections::BTreeMap;

use saker_abi::generated::SAKER_WORKLOADS_MAX;
use saker_policy::plan::WorkloadTest;

/// Bits there are.
const BITS: u8 = SAKER_WORKLOADS_MAX as u8;

/// Why the filters of a policy cannot all have a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "all {BITS} bits for filters on workloads (podSelector, containerSelector, hostSelector, matchWorkloads and \
     namespaces of policies) are taken by the policies that are loaded; delete or disable one of them: equal filters \
     share a bit"
)]
pub(super) struct NoneLeft;

/// The bits in use.
#[derive(Default)]
pub(super) struct WorkloadBits {
    slots: BTreeMap<u8, (WorkloadTest, usize)>,
    stale: bool,
}

impl WorkloadBits {
    /// Gives each of these filters its bit, in their order: all of them, or none.
    pub(super) fn take(&mut self, tests: &[WorkloadTest]) -> Result<Vec<u8>, NoneLeft> {
        let mut taken = Vec::with_capacity(tests.len());
        for test in tests {
            let known = self.slots.iter_mut().find(|(_, (other, _))| other == test);
            if let Some((bit, (_, users))) = known {
                *users += 1;
                taken.push(*bit);
            } else if let Some(free) = (0..BITS).find(|bit| !self.slots.contains_key(bit)) {
                self.slots.insert(free, (test.clone(), 1));
                self.stale = true;
                taken.push(free);
            } else {
                self.release(&taken);
                return Err(NoneLeft);
            }
        }
        Ok(taken)
    }

    /// Gives bits back, one for each filter they were taken for.
    pub(super) fn release(&mut self, bits: &[u8]) {
        for bit in bits {
            let Some((_, users)) = self.slots.get_mut(bit) else { continue };
            *users -= 1;
            if *users == 0 {
                self.slots.remove(bit);
                self.stale = true;
            }
        }
    }

    /// Whether the kernel has something else than [`WorkloadBits::filters`].
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Notes that the kernel has them.
    pub(super) fn told(&mut self) {
        self.stale = false;
    }

    /// The filters, each with its bit.
    pub(super) fn filters(&self) -> Vec<(u8, WorkloadTest)> {
        self.slots.iter().map(|(bit, (test, _))| (*bit, test.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_namespace(name: &str) -> WorkloadTest {
        let pods = Some(saker_policy::model::LabelSelector::default());
        WorkloadTest { namespace: Some(name.to_owned()), pods, containers: None, host: false }
    }

    #[test]
    fn equal_filters_share_a_bit_until_the_last_goes() {
        let mut bits = WorkloadBits::default();
        let first = bits.take(&[of_namespace("a"), of_namespace("b")]).unwrap();
        let second = bits.take(&[of_namespace("b")]).unwrap();
        assert_eq!((first.as_slice(), second.as_slice()), ([0, 1].as_slice(), [1].as_slice()));
        assert!(bits.is_stale());
        bits.told();
        bits.release(&first);
        assert!(bits.is_stale());
        assert_eq!(bits.filters(), [(1, of_namespace("b"))]);
        bits.told();
        bits.release(&second);
        assert!(bits.is_stale() && bits.filters().is_empty());
    }

    #[test]
    fn more_filters_than_bits_are_refused_as_a_whole() {
        let mut bits = WorkloadBits::default();
        let many: Vec<_> = (0..=BITS).map(|number| of_namespace(&number.to_string())).collect();
        assert_eq!(bits.take(&many), Err(NoneLeft));
        assert!(bits.filters().is_empty());
        assert_eq!(bits.take(&many[1..]).unwrap().len(), usize::from(BITS));
        assert_eq!(bits.take(&many[..1]), Err(NoneLeft));
    }
}
