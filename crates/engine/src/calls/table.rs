//! The table of calls that wait for their return.
//!
//! It is bounded by number and bytes; at a bound an old entry is given up, and its event says so. An entry comes and goes
//! with every call of a hook, so its place is used again and its orders are lists through the places: neither takes
//! memory of its own for an entry.

use super::{CallKey, Waiting};
use crate::hash::Map;

/// Calls that wait.
const CALLS_MAX: usize = 16_384;
/// Bytes of their records.
const BYTES_MAX: usize = 16 << 20;
/// Places that are kept when nothing waits.
const PLACES_KEPT: usize = 256;

/// Processes without a call under way whose lists are kept: most call again.
const PROCESSES_KEPT: usize = 1_024;

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
    /// Those of each process, in the same order; an empty list is one that was used before.
    processes: Map<u32, Ends>,
    bytes: usize,
}

#[derive(Debug, Default)]
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

impl Default for Link {
    fn default() -> Self {
        Self { before: NONE, after: NONE }
    }
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

    /// Adds an entry. Returns the one with the same key that waits, in whose place it is.
    pub fn insert(&mut self, waiting: Waiting) -> Option<Waiting> {
        self.bytes += waiting.bytes;
        let (key, pid, conditional) = (waiting.key, waiting.pid, waiting.shape.conditional_return);
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        // Its links are set when it is appended to the lists.
        self.places[at as usize].waiting = Some(waiting);
        let older = self.by_key.insert(key, at).and_then(|older| self.unlist(older));
        append(&mut self.places, &mut self.all, List::All, at);
        if self.processes.len() >= PROCESSES_KEPT + 2 * self.by_key.len() {
            self.processes.retain(|_, ends| ends.first != NONE);
        }
        append(&mut self.places, self.processes.entry(pid).or_default(), List::Process, at);
        if conditional {
            append(&mut self.places, &mut self.conditional, List::Conditional, at);
        }
        older
    }

    /// The entry of a call that has returned.
    pub fn take(&mut self, key: CallKey) -> Option<Waiting> {
        let at = self.by_key.remove(&key)?;
        self.unlist(at)
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
        let Some(&Ends { first, .. }) = self.processes.get(&pid) else { return Vec::new() };
        let taken = self.take_of(first, List::Process, |waiting| Some(waiting.tid) != but);
        if self.processes.get(&pid).is_some_and(|ends| ends.first == NONE) {
            self.processes.remove(&pid);
        }
        taken
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
        let key = self.places.get(at as usize)?.waiting.as_ref()?.key;
        self.by_key.remove(&key);
        self.unlist(at)
    }

    /// Empties a place whose key has been removed.
    fn unlist(&mut self, at: u32) -> Option<Waiting> {
        let waiting = self.places.get_mut(at as usize)?.waiting.take()?;
        unlink(&mut self.places, &mut self.all, List::All, at);
        if waiting.shape.conditional_return {
            unlink(&mut self.places, &mut self.conditional, List::Conditional, at);
        }
        if let Some(process) = self.processes.get_mut(&waiting.pid) {
            unlink(&mut self.places, process, List::Process, at);
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
