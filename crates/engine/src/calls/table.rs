//! The table of calls that wait for their return.
//!
//! It is bounded by number and bytes; at a bound an old entry is given up, and its event says so. An entry comes and goes
//! with every call of a hook, so its place is used again and its orders are lists through the places: neither takes
//! memory of its own for an entry.

use std::collections::hash_map::Entry;

use super::{CallKey, Waiting};
use crate::hash::Map;

/// Calls that wait.
const CALLS_MAX: usize = 16_384;
/// Bytes of their records.
const BYTES_MAX: usize = 16 << 20;
/// Places that are kept when nothing waits.
const PLACES_KEPT: usize = 256;

/// No place.
const NONE: u32 = u32::MAX;

/// Calls under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    places: Vec<Place>,
    /// Places without an entry.
    free: Vec<u32>,
    by_key: Map<CallKey, u32>,
    /// All, in the order of their entries.
    all: Ends,
    /// Those that may have returned already, in the same order.
    conditional: Ends,
    /// Those of each process, in the same order.
    processes: Map<u32, Ends>,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    waiting: Option<Waiting>,
    links: [Link; LISTS],
}

/// A list through the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    All,
    Conditional,
    Process,
}

const LISTS: usize = 3;

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The oldest and the newest of a list.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Calls {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an entry, whose key none has that waits.
    pub fn insert(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        let (key, pid, conditional) = (waiting.key, waiting.pid, waiting.shape.conditional_return);
        let place = Place { waiting: Some(waiting), links: [Link { before: NONE, after: NONE }; LISTS] };
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at as usize] = place;
                at
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.by_key.insert(key, at);
        append(&mut self.places, &mut self.all, List::All, at);
        append(&mut self.places, self.processes.entry(pid).or_default(), List::Process, at);
        if conditional {
            append(&mut self.places, &mut self.conditional, List::Conditional, at);
        }
    }

    /// The entry of a call that has returned.
    pub fn take(&mut self, key: CallKey) -> Option<Waiting> {
        let at = *self.by_key.get(&key)?;
        self.remove(at)
    }

    /// The entry to give up, when there is more than may wait: the oldest of those that may have returned already
    /// and been held back, else the oldest.
    pub fn beyond_bounds(&mut self) -> Option<Waiting> {
        if self.len() <= CALLS_MAX && self.bytes <= BYTES_MAX {
            return None;
        }
        let oldest = if self.conditional.first == NONE { self.all.first } else { self.conditional.first };
        self.remove(oldest)
    }

    /// The entries of a process, but for those of one thread; the oldest first.
    pub fn take_process(&mut self, pid: u32, but: Option<u32>) -> Vec<Waiting> {
        let first = self.processes.get(&pid).map_or(NONE, |ends| ends.first);
        self.take_of(first, List::Process, |waiting| Some(waiting.tid) != but)
    }

    /// The entries of a policy, the oldest first.
    pub fn take_policy(&mut self, policy: u32) -> Vec<Waiting> {
        self.take_of(self.all.first, List::All, |waiting| waiting.key.policy == policy)
    }

    /// All entries, the oldest first.
    pub fn take_all(&mut self) -> Vec<Waiting> {
        self.take_of(self.all.first, List::All, |_| true)
    }

    /// The entries of a list from a place on that are asked for.
    fn take_of(&mut self, mut at: u32, list: List, wanted: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut taken = Vec::new();
        while let Some(place) = self.places.get(at as usize) {
            let after = place.links[list as usize].after;
            if place.waiting.as_ref().is_some_and(&wanted) {
                taken.extend(self.remove(at));
            }
            at = after;
        }
        taken
    }

    fn remove(&mut self, at: u32) -> Option<Waiting> {
        let waiting = self.places.get_mut(at as usize)?.waiting.take()?;
        self.by_key.remove(&waiting.key);
        unlink(&mut self.places, &mut self.all, List::All, at);
        if waiting.shape.conditional_return {
            unlink(&mut self.places, &mut self.conditional, List::Conditional, at);
        }
        if let Entry::Occupied(mut process) = self.processes.entry(waiting.pid) {
            unlink(&mut self.places, process.get_mut(), List::Process, at);
            if process.get().first == NONE {
                process.remove();
            }
        }
        self.bytes -= waiting.bytes;
        self.free.push(at);
        if self.by_key.is_empty() && self.places.len() > PLACES_KEPT {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        Some(waiting)
    }
}

fn append(places: &mut [Place], ends: &mut Ends, list: List, at: u32) {
    let before = std::mem::replace(&mut ends.last, at);
    places[at as usize].links[list as usize] = Link { before, after: NONE };
    match places.get_mut(before as usize) {
        Some(before) => before.links[list as usize].after = at,
        None => ends.first = at,
    }
}

fn unlink(places: &mut [Place], ends: &mut Ends, list: List, at: u32) {
    let Link { before, after } = places[at as usize].links[list as usize];
    match places.get_mut(before as usize) {
        Some(before) => before.links[list as usize].after = after,
        None => ends.first = after,
    }
    match places.get_mut(after as usize) {
        Some(after) => after.links[list as usize].before = before,
        None => ends.last = before,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
