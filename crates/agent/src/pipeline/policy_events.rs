//! Counts events of policies by policy and hook.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use saker_api::event::{Event, EventKind, HookEvent, HookInfo};

/// Pairs of policy and hook that are counted apart.
pub(super) const PAIRS_MAX: usize = 10_000;
/// Hooks that are counted before their names are looked at.
const RECENT_MAX: usize = 1_024;

/// Counts by policy and hook.
pub type Totals = BTreeMap<(String, String), u64>;

/// Counts since the last time they were added to the totals. Events of a hook share its texts, so that counting one
/// compares no names.
#[derive(Debug, Default)]
pub(super) struct PolicyEvents {
    recent: HashMap<(usize, usize), Count, BuildHasherDefault<Addresses>>,
}

/// A hash of addresses, which nobody outside chooses.
#[derive(Default)]
struct Addresses(u64);

impl Hasher for Addresses {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize((*byte).into()));
    }

    fn write_usize(&mut self, address: usize) {
        let product = u128::from(self.0.rotate_left(5) ^ address as u64) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

#[derive(Debug)]
struct Count {
    /// One of its events' parts: while they are held here, nothing else has their addresses.
    hook: Arc<HookInfo>,
    function: Arc<str>,
    name: String,
    events: u64,
}

impl PolicyEvents {
    /// Counts events; `true`: it is time to add them to the totals.
    pub fn count(&mut self, events: &[Arc<Event>]) -> bool {
        for event in events {
            if let EventKind::Hook(hook) = &event.kind {
                self.count_one(hook);
            }
        }
        self.recent.len() > RECENT_MAX
    }

    fn count_one(&mut self, event: &HookEvent) {
        let key = (Arc::as_ptr(&event.hook).addr(), event.function.as_ptr().addr());
        let count = self.recent.entry(key).or_insert_with(|| Count {
            hook: Arc::clone(&event.hook),
            function: Arc::clone(&event.function),
            name: event.hook_name(),
            events: 0,
        });
        debug_assert_eq!(count.function, event.function);
        count.events += 1;
    }

    /// Adds what was counted to the totals.
    pub fn add_to(&mut self, totals: &mut Totals) {
        for (_, count) in self.recent.drain() {
            let mut pair = (count.hook.policy.clone(), count.name);
            if totals.len() >= PAIRS_MAX && !totals.contains_key(&pair) {
                pair = ("other".to_owned(), "other".to_owned());
            }
            *totals.entry(pair).or_default() += count.events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn events_are_counted_by_policy_and_hook_within_bounds() {
        let mut counts = PolicyEvents::default();
        let mut totals = Totals::default();
        let same = testing::hook("files", "openat");
        let events = [&same, &same, &testing::hook("files", "openat"), &testing::hook("files", "read")];
        assert!(!counts.count(&events.map(Arc::clone)));
        assert!(!counts.count(&[testing::exec(1)]));
        counts.add_to(&mut totals);
        counts.add_to(&mut totals);
        let pair = |policy: &str, hook: &str| (policy.to_owned(), hook.to_owned());
        assert_eq!(totals, [(pair("files", "openat"), 3), (pair("files", "read"), 1)].into());

        let many: Vec<_> = (0..PAIRS_MAX + 5).map(|n| testing::hook("many", &format!("f{n}"))).collect();
        assert!(counts.count(&many), "that many are too many to keep");
        counts.add_to(&mut totals);
        assert_eq!(totals.len(), PAIRS_MAX + 1);
        assert_eq!(totals[&pair("other", "other")], 7);
        assert_eq!(totals.values().sum::<u64>(), 4 + many.len() as u64);
    }
}
