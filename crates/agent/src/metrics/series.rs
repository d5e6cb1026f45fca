//! Sums by labels, within a bound.

use std::collections::BTreeMap;

/// Takes the place of all labels that there is no room for.
const OTHER: &str = "other";

/// Numbers by their labels. What there is no room for is counted together.
pub(super) struct Sums<const N: usize, T> {
    sums: BTreeMap<[String; N], T>,
    bound: usize,
    /// So many labels at the beginning come from closed sets and stay as they are.
    closed: usize,
}

impl<const N: usize, T: Copy + Default + std::ops::AddAssign> Sums<N, T> {
    /// At most so many, and one more for each of the closed labels.
    pub(super) fn new(bound: usize, closed: usize) -> Self {
        Self { sums: BTreeMap::new(), bound, closed }
    }

    /// Adds to what has these labels.
    pub(super) fn add(&mut self, labels: [&str; N], value: T) {
        let mut labels = labels.map(str::to_owned);
        if self.sums.len() >= self.bound && !self.sums.contains_key(&labels) {
            labels.iter_mut().skip(self.closed).for_each(|label| OTHER.clone_into(label));
        }
        *self.sums.entry(labels).or_default() += value;
    }

    /// All of them, in a fixed order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ([&str; N], T)> {
        self.sums.iter().map(|(labels, value)| (labels.each_ref().map(String::as_str), *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_together_and_nothing_is_lost() {
        let mut sums = Sums::new(2, 1);
        for (action, policy, count) in
            [("post", "a", 1), ("post", "b", 2), ("post", "c", 4), ("post", "a", 8)]
        {
            sums.add([action, policy], count);
        }
        sums.add(["signal", "d"], 16);
        let told: Vec<_> = sums.iter().collect();
        let wanted =
            [(["post", "a"], 9), (["post", "b"], 2), (["post", "other"], 4), (["signal", "other"], 16)];
        assert_eq!(told, wanted);
    }
}
