//! Parts of long buffers that hooks captured, kept until the record they belong to comes, which is the next of its CPU.

use std::collections::VecDeque;

use saker_abi::generated::SAKER_WHOLE_MAX;
use saker_abi::{Data, Hook, Key, Tag};

use crate::counters::ChunkCounters;
use crate::hash::Map;

/// Nanoseconds after which a record that has not come was lost.
const PATIENCE: u64 = 5_000_000_000;

/// Which call of which hook. Of the number of a call there is but the lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Of {
    process: Key,
    policy: u32,
    hook: u32,
    call: u32,
}

/// What a value has beyond the bytes in its record.
#[derive(Debug)]
struct Rest {
    tag: Tag,
    /// Where in the value the bytes begin.
    start: u64,
    bytes: Vec<u8>,
    parts: u32,
}

/// The rests of the values of a record.
#[derive(Debug, Default)]
pub(crate) struct Rests(Vec<Rest>);

impl Rests {
    /// What follows the first `told` bytes of a value; empty: nothing that came.
    pub fn behind(&self, tag: Tag, told: usize) -> &[u8] {
        let found = self.0.iter().find(|rest| rest.tag == tag && rest.start == told as u64);
        found.map_or(&[], |rest| &rest.bytes)
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|rest| rest.bytes.len()).sum()
    }

    fn parts(&self) -> u64 {
        self.0.iter().map(|rest| u64::from(rest.parts)).sum()
    }
}

/// All parts that wait. Their bytes are bounded; at the bound those that have waited longest are given up.
#[derive(Debug)]
pub(crate) struct Contents {
    pending: Map<Of, Rests>,
    /// Calls in the order of their first part, with its time; may name calls that are gone.
    order: VecDeque<(Of, u64)>,
    bytes: usize,
    bound: usize,
}

impl Contents {
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
        let captured = tag == Tag::RESULT || tag.index().is_some();
        if !captured || data.offset.saturating_add(bytes.len() as u64) > u64::from(SAKER_WHOLE_MAX) {
            return false;
        }
        let header = &data.rec;
        let of = Of { process: header.process, policy: header.policy, hook: header.hook, call: data.call };
        self.forget_late(header.time, counters);
        let waiting = self.pending.get(&of).and_then(|rests| rests.0.iter().find(|rest| rest.tag == tag));
        if waiting.is_some() && data.index == 0 {
            // Of a call that was lost, with the same half of a number.
            self.orphan(of, counters);
        } else if !waiting.map_or(data.index == 0, |rest| {
            data.index == rest.parts && data.offset == rest.start + rest.bytes.len() as u64
        }) {
            return false;
        }
        while self.bytes + bytes.len() > self.bound {
            if !self.evict(of, counters) {
                return false;
            }
        }
        let order = &mut self.order;
        let rests = self.pending.entry(of).or_insert_with(|| {
            order.push_back((of, header.time));
            Rests::default()
        });
        match rests.0.iter_mut().find(|rest| rest.tag == tag) {
            Some(rest) => {
                rest.bytes.extend_from_slice(bytes);
                rest.parts += 1;
            }
            None => rests.0.push(Rest { tag, start: data.offset, bytes: bytes.to_vec(), parts: 1 }),
        }
        self.bytes += bytes.len();
        counters.waiting += 1;
        true
    }

    /// What came ahead of a record.
    pub fn take(&mut self, hook: &Hook, counters: &mut ChunkCounters) -> Option<Rests> {
        let header = &hook.rec;
        // The half that data records have room for.
        let call = (hook.call & u64::from(u32::MAX)) as u32;
        let of = Of { process: header.process, policy: header.policy, hook: header.hook, call };
        let rests = self.remove(of, counters)?;
        counters.joined += rests.parts();
        Some(rests)
    }

    /// Gives up those whose record must have come by now.
    fn forget_late(&mut self, now: u64, counters: &mut ChunkCounters) {
        while let Some((of, time)) = self.order.front().copied()
            && time.saturating_add(PATIENCE) < now
        {
            self.order.pop_front();
            self.orphan(of, counters);
        }
    }

    fn orphan(&mut self, of: Of, counters: &mut ChunkCounters) {
        if let Some(rests) = self.remove(of, counters) {
            counters.orphaned += rests.parts();
        }
    }

    /// Gives up the oldest that are not of the call `keep`.
    fn evict(&mut self, keep: Of, counters: &mut ChunkCounters) -> bool {
        let oldest = self.order.iter().find(|(of, _)| *of != keep && self.pending.contains_key(of));
        let Some((oldest, _)) = oldest.copied() else { return false };
        if let Some(rests) = self.remove(oldest, counters) {
            counters.evicted += rests.parts();
        }
        true
    }

    fn remove(&mut self, of: Of, counters: &mut ChunkCounters) -> Option<Rests> {
        let rests = self.pending.remove(&of)?;
        self.bytes -= rests.bytes();
        counters.waiting -= rests.parts();
        if self.pending.is_empty() {
            self.order.clear();
        } else if self.order.len() > 2 * self.pending.len() + 64 {
            let pending = &self.pending;
            self.order.retain(|(of, _)| pending.contains_key(of));
        }
        Some(rests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(call: u32, index: u32, offset: u64, time: u64) -> Data {
        let mut data = Data { index, offset, call, ..Data::default() };
        (data.rec.policy, data.rec.hook, data.rec.time) = (7, 1, time);
        data
    }

    fn hook(call: u64) -> Hook {
        let mut hook = Hook { call, ..Hook::default() };
        (hook.rec.policy, hook.rec.hook) = (7, 1);
        hook
    }

    fn captured(index: u16) -> Tag {
        Tag::captured(index)
    }

    #[test]
    fn parts_are_joined_in_order_behind_what_the_record_holds() {
        let (mut contents, mut counters) = (Contents::new(100), ChunkCounters::default());
        assert!(contents.store(&part(1, 0, 10, 0), captured(2), b"abc", &mut counters));
        assert!(!contents.store(&part(1, 2, 16, 0), captured(2), b"ghi", &mut counters), "a hole");
        assert!(!contents.store(&part(2, 1, 13, 0), captured(2), b"def", &mut counters), "no beginning");
        assert!(!contents.store(&part(1, 0, 0, 0), Tag::ARGS, b"x", &mut counters), "not a hook's");
        assert!(contents.store(&part(1, 0, 5, 0), Tag::RESULT, b"R", &mut counters));
        assert!(contents.store(&part(1, 1, 13, 0), captured(2), b"def", &mut counters));
        assert!(contents.take(&hook(2), &mut counters).is_none());
        let rests = contents.take(&hook(1 | 9 << 32), &mut counters).unwrap();
        assert_eq!((rests.behind(captured(2), 10), rests.behind(captured(2), 9)), (&b"abcdef"[..], &b""[..]));
        assert_eq!((rests.behind(Tag::RESULT, 5), rests.bytes()), (&b"R"[..], 7));
        assert_eq!((counters.joined, counters.waiting, contents.bytes()), (3, 0, 0));
    }

    #[test]
    fn what_no_record_came_for_is_given_up() {
        let (mut contents, mut counters) = (Contents::new(10), ChunkCounters::default());
        assert!(contents.store(&part(1, 0, 0, 0), captured(0), b"1234", &mut counters));
        assert!(contents.store(&part(1, 0, 0, 1), captured(0), b"5678", &mut counters), "a new call");
        assert_eq!((counters.orphaned, counters.waiting), (1, 1));
        assert!(contents.store(&part(2, 0, 0, 2), captured(0), b"1234", &mut counters));
        assert!(contents.store(&part(3, 0, 0, 3), captured(0), b"1234", &mut counters), "1 goes");
        assert_eq!((counters.evicted, contents.bytes()), (1, 8));
        assert!(!contents.store(&part(4, 0, 0, 3), captured(0), &[0; 11], &mut counters), "never fits");
        assert!(contents.store(&part(5, 0, 0, PATIENCE + 9), captured(0), b"1", &mut counters));
        assert_eq!((counters.waiting, contents.bytes()), (1, 1), "2 and 3 came too late, or went");
        assert_eq!(counters.orphaned + counters.evicted, 4);
        assert!(
            !contents.store(&part(6, 0, 327_360, 0), captured(0), b"1", &mut counters),
            "beyond the bound"
        );
    }
}
