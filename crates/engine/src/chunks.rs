//! Parts of long argument vectors and environments, kept until the exec record they belong to comes.

use std::collections::VecDeque;

use saker_abi::{Data, Key, Tag};

use crate::counters::ChunkCounters;
use crate::hash::Map;

/// One value, as far as its parts came in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Parts they were joined from.
    pub parts: u32,
}

#[derive(Debug, Default)]
struct Pending {
    args: Joined,
    envs: Joined,
}

impl Pending {
    fn parts(&self) -> u64 {
        u64::from(self.args.parts) + u64::from(self.envs.parts)
    }

    fn bytes(&self) -> usize {
        self.args.bytes.len() + self.envs.bytes.len()
    }
}

/// All parts that wait. Their bytes are bounded; at the bound the values that have waited longest are given up.
#[derive(Debug)]
pub(crate) struct Chunks {
    pending: Map<Key, Pending>,
    /// Keys in the order of their first part; may name keys that are gone.
    order: VecDeque<Key>,
    bytes: usize,
    bound: usize,
}

impl Chunks {
    pub fn new(bound: usize) -> Self {
        Self { pending: Map::default(), order: VecDeque::new(), bytes: 0, bound }
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a part; `false`: it is not the next one of its value, or it cannot fit.
    pub fn store(&mut self, data: &Data, tag: Tag, bytes: &[u8], counters: &mut ChunkCounters) -> bool {
        if bytes.len() > self.bound || (tag != Tag::ARGS && tag != Tag::ENVS) {
            return false;
        }
        let key = data.rec.process;
        let next = |pending: &Pending| {
            let value = if tag == Tag::ARGS { &pending.args } else { &pending.envs };
            data.index == value.parts && data.offset == value.bytes.len() as u64
        };
        if !self.pending.get(&key).map_or(data.index == 0 && data.offset == 0, next) {
            return false;
        }
        while self.bytes + bytes.len() > self.bound {
            if !self.evict(key, counters) {
                return false;
            }
        }
        let order = &mut self.order;
        let pending = self.pending.entry(key).or_insert_with(|| {
            order.push_back(key);
            Pending::default()
        });
        let value = if tag == Tag::ARGS { &mut pending.args } else { &mut pending.envs };
        value.bytes.extend_from_slice(bytes);
        value.parts += 1;
        self.bytes += bytes.len();
        counters.waiting += 1;
        true
    }

    /// Gives up the oldest value that is not of the process `keep`.
    fn evict(&mut self, keep: Key, counters: &mut ChunkCounters) -> bool {
        let mut kept = false;
        while let Some(key) = self.order.pop_front() {
            if key == keep {
                kept = true;
                continue;
            }
            if let Some(pending) = self.remove(key, counters) {
                counters.evicted += pending.parts();
                if kept {
                    self.order.push_front(keep);
                }
                return true;
            }
        }
        if kept {
            self.order.push_front(keep);
        }
        false
    }

    /// The values of a process: arguments and environment.
    pub fn take(&mut self, key: Key, counters: &mut ChunkCounters) -> Option<(Joined, Joined)> {
        let pending = self.remove(key, counters)?;
        counters.joined += pending.parts();
        Some((pending.args, pending.envs))
    }

    /// The process ended, so no exec record will come.
    pub fn orphan(&mut self, key: Key, counters: &mut ChunkCounters) {
        if let Some(pending) = self.remove(key, counters) {
            counters.orphaned += pending.parts();
        }
    }

    fn remove(&mut self, key: Key, counters: &mut ChunkCounters) -> Option<Pending> {
        let pending = self.pending.remove(&key)?;
        self.bytes -= pending.bytes();
        counters.waiting -= pending.parts();
        if self.pending.is_empty() {
            self.order.clear();
        } else if self.order.len() > 2 * self.pending.len() + 64 {
            let pending = &self.pending;
            self.order.retain(|key| pending.contains_key(key));
        }
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(pid: u32, index: u32, offset: u64) -> Data {
        let mut data = Data { index, offset, ..Data::default() };
        data.rec.process = Key::new(pid, 1);
        data
    }

    #[test]
    fn parts_are_joined_in_order_only() {
        let (mut chunks, mut counters) = (Chunks::new(100), ChunkCounters::default());
        assert!(chunks.store(&part(1, 0, 0), Tag::ARGS, b"abc", &mut counters));
        assert!(!chunks.store(&part(1, 2, 6), Tag::ARGS, b"ghi", &mut counters), "a hole");
        assert!(!chunks.store(&part(2, 1, 3), Tag::ARGS, b"def", &mut counters), "no beginning");
        assert!(chunks.store(&part(1, 0, 0), Tag::ENVS, b"X=1", &mut counters));
        assert!(chunks.store(&part(1, 1, 3), Tag::ARGS, b"def", &mut counters));
        let (args, envs) = chunks.take(Key::new(1, 1), &mut counters).unwrap();
        assert_eq!((&args.bytes[..], args.parts, &envs.bytes[..]), (&b"abcdef"[..], 2, &b"X=1"[..]));
        assert_eq!((counters.joined, counters.waiting, chunks.bytes()), (3, 0, 0));
    }

    #[test]
    fn the_oldest_values_go_at_the_bound() {
        let (mut chunks, mut counters) = (Chunks::new(10), ChunkCounters::default());
        for pid in 1..=3 {
            assert!(chunks.store(&part(pid, 0, 0), Tag::ARGS, b"1234", &mut counters));
        }
        assert_eq!((counters.evicted, chunks.bytes()), (1, 8));
        assert!(chunks.take(Key::new(1, 1), &mut counters).is_none());
        assert!(chunks.store(&part(2, 1, 4), Tag::ARGS, b"123456", &mut counters), "evicts 3, keeps 2");
        assert!(
            !chunks.store(&part(2, 2, 10), Tag::ARGS, b"x", &mut counters),
            "nothing else left to give up"
        );
        assert_eq!(counters.evicted, 2);
        chunks.orphan(Key::new(2, 1), &mut counters);
        assert!(chunks.is_empty() && chunks.order.is_empty());
        assert_eq!((counters.orphaned, counters.waiting), (2, 0));
    }
}
