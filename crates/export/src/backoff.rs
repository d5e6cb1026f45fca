//! How long to wait between attempts to reach a destination.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
const CAP: Duration = Duration::from_secs(30);

/// The wait after so many failed attempts in a row, from 1: it doubles up to a cap. Up to half of it is left out at
/// random, so that the agents of many nodes do not come back to a destination all at once.
pub(crate) fn pause(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(CAP);
    // Made anew, it has other keys.
    let random = RandomState::new().hash_one(0) % 1024;
    doubled.mul_f64(0.5 + random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_differ() {
        for (failures, most) in [(0, 250), (1, 250), (2, 500), (3, 1000), (8, 30_000), (u32::MAX, 30_000)] {
            let most = Duration::from_millis(most);
            for _ in 0..50 {
                let pause = pause(failures);
                assert!(pause >= most / 2 && pause <= most, "{failures}: {pause:?}");
            }
        }
        let all: std::collections::HashSet<_> = (0..50).map(|_| pause(9)).collect();
        assert!(all.len() > 5);
    }
}
