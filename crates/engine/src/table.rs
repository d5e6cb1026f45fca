//! The process table: who lives, who descends from whom, and for how long that must be known.
//!
//! An entry stands for one identity of a process: from its creation or an exec to the next exec or its end.
//! It stays while the process lives, and after that while an entry that descends from it stays, so that
//! ancestry is complete for everything alive and nothing else is kept. Entries live in a vector with reused
//! places; a [`Slot`] carries the generation of its place, so that a link to an entry that was given up leads
//! nowhere instead of to a stranger.

use std::sync::Arc;

use saker_abi::{Identity, Key};
use saker_api::event::{Process, ProcessView};

use crate::counters::TableCounters;
use crate::hash::Map;

const NONE: u32 = u32::MAX;

/// Place of an entry, and which of its inhabitants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    index: u32,
    generation: u32,
}

/// What is known about a process.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It was created and has executed nothing. Most such processes execute something at once, so their form
    /// for events is made only when an event needs it.
    Forked(Box<Forked>),
    /// Its form for events.
    Shared(Arc<Process>),
}

impl State {
    /// Bytes behind the pointer, about.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Forked(_) => size_of::<Forked>(),
            Self::Shared(process) => process.heap_bytes(),
        }
    }
}

/// A process between its creation and its first exec.
#[derive(Clone, Debug)]
pub(crate) struct Forked {
    /// As of the fork.
    pub identity: Identity,
    /// Its creator, whose program it still runs.
    pub creator: Option<Arc<Process>>,
}

/// One identity of a process.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: Key,
    /// Creation of the process; the same for all its identities.
    pub start_boottime: u64,
    pub state: State,
    /// Taken over silently from a snapshot: a record that tells of it is expected.
    pub silent: bool,
    parent: Option<Slot>,
    alive: bool,
    /// Entries that link here.
    links: u32,
    /// Of these, processes alive.
    live_children: u32,
    previous: u32,
    next: u32,
}

impl Entry {
    /// References by the rule that events show: one while alive, one for each living child.
    pub fn refcnt(&self) -> u32 {
        u32::from(self.alive) + self.live_children
    }

    pub fn alive(&self) -> bool {
        self.alive
    }

    /// Its form for events, if it is made.
    #[inline]
    fn shared(&self) -> Option<ProcessView> {
        match &self.state {
            State::Shared(process) => {
                Some(ProcessView { process: Arc::clone(process), refcnt: self.refcnt() })
            }
            State::Forked(_) => None,
        }
    }
}

/// What a new entry starts with.
pub(crate) struct NewEntry {
    pub key: Key,
    pub start_boottime: u64,
    pub state: State,
    pub silent: bool,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    entry: Option<Entry>,
}

/// Entries in the order in which they would be given up.
#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
}

const EMPTY_QUEUE: Queue = Queue { head: NONE, tail: NONE };

#[derive(Debug)]
pub(crate) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    by_key: Map<Key, u32>,
    alive_by_pid: Map<u32, u32>,
    alive: Queue,
    ended: Queue,
    capacity: usize,
}

impl Table {
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_key: Map::default(),
            alive_by_pid: Map::default(),
            alive: EMPTY_QUEUE,
            ended: EMPTY_QUEUE,
            capacity: capacity.clamp(2, NONE as usize - 1),
        }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn alive_len(&self) -> usize {
        self.alive_by_pid.len()
    }

    pub fn find(&self, key: Key) -> Option<Slot> {
        self.by_key.get(&key).map(|index| self.slot(*index))
    }

    /// The present identity of a process that is alive.
    pub fn alive(&self, pid: u32) -> Option<Slot> {
        self.alive_by_pid.get(&pid).map(|index| self.slot(*index))
    }

    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        let place = self.places.get(slot.index as usize)?;
        if place.generation == slot.generation { place.entry.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        let place = self.places.get_mut(slot.index as usize)?;
        if place.generation == slot.generation { place.entry.as_mut() } else { None }
    }

    /// Parent of an entry, while it is known.
    pub fn parent_of(&self, slot: Slot) -> Option<(Slot, &Entry)> {
        let parent = self.get(slot)?.parent?;
        self.get(parent).map(|entry| (parent, entry))
    }

    /// The forms for events of an entry and its parent, as far as the one has a parent; `None`: not all of them are made.
    pub fn shared(&self, slot: Slot) -> Option<(ProcessView, Option<ProcessView>)> {
        let entry = self.get(slot)?;
        let parent = match entry.parent.and_then(|parent| self.get(parent)) {
            Some(parent) => Some(parent.shared()?),
            None => None,
        };
        Some((entry.shared()?, parent))
    }

    /// All living processes.
    pub fn iter_alive(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.alive_by_pid.values().filter_map(|index| {
            let slot = self.slot(*index);
            self.get(slot).map(|entry| (slot, entry))
        })
    }

    /// All entries: processes, alive or not, each with its earlier identities that are still needed.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter_map(|place| place.entry.as_ref())
    }

    /// Adds a living process. An entry with the same process id that is alive loses its place in the index and
    /// must be ended by the caller.
    pub fn insert(&mut self, new: NewEntry, counters: &mut TableCounters) -> Slot {
        if self.len() >= self.capacity {
            self.evict(counters);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            self.places.len() as u32 - 1
        });
        self.by_key.insert(new.key, index);
        self.alive_by_pid.insert(new.key.pid, index);
        self.places[index as usize].entry = Some(Entry {
            key: new.key,
            start_boottime: new.start_boottime,
            state: new.state,
            silent: new.silent,
            parent: None,
            alive: true,
            links: 0,
            live_children: 0,
            previous: NONE,
            next: NONE,
        });
        self.enqueue(index, true);
        self.slot(index)
    }

    /// Makes a living entry the present identity of its process.
    pub fn claim(&mut self, slot: Slot) {
        if let Some(pid) = self.get(slot).filter(|entry| entry.alive).map(|entry| entry.key.pid) {
            self.alive_by_pid.insert(pid, slot.index);
        }
    }

    /// Sets the parent of an entry that has none. Returns `false` if that would close a circle.
    pub fn link(&mut self, child: Slot, parent: Slot) -> bool {
        if child == parent || self.get(child).is_none_or(|entry| entry.parent.is_some()) {
            return false;
        }
        // A process is younger than its parent, so only an entry that has descendants can be above itself.
        if self.get(child).is_some_and(|entry| entry.links > 0) && self.descends(parent, child) {
            return false;
        }
        let Some(entry) = self.get_mut(parent) else { return false };
        entry.links += 1;
        entry.live_children += 1;
        if let Some(entry) = self.get_mut(child) {
            entry.parent = Some(parent);
        }
        true
    }

    fn descends(&self, from: Slot, ancestor: Slot) -> bool {
        let mut at = Some(from);
        while let Some(slot) = at {
            if slot == ancestor {
                return true;
            }
            at = self.get(slot).and_then(|entry| entry.parent);
        }
        false
    }

    /// The process, or this identity of it, has ended. The entry goes when nothing descends from it.
    pub fn end(&mut self, slot: Slot) {
        let Some(entry) = self.get_mut(slot) else { return };
        if !entry.alive {
            return;
        }
        entry.alive = false;
        let (pid, parent, links) = (entry.key.pid, entry.parent, entry.links);
        if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
            parent.live_children = parent.live_children.saturating_sub(1);
        }
        if self.alive_by_pid.get(&pid) == Some(&slot.index) {
            self.alive_by_pid.remove(&pid);
        }
        self.dequeue(slot.index, true);
        if links == 0 {
            self.remove(slot.index);
        } else {
            self.enqueue(slot.index, false);
        }
    }

    /// Removes an ended entry that is in no queue, and then each ancestor that only it kept.
    fn remove(&mut self, index: u32) {
        let mut at = index;
        while let Some(entry) = self.vacate(at) {
            let Some(parent) = entry.parent else { return };
            let Some(above) = self.get_mut(parent) else { return };
            above.links = above.links.saturating_sub(1);
            if above.alive || above.links > 0 {
                return;
            }
            self.dequeue(parent.index, false);
            at = parent.index;
        }
    }

    fn vacate(&mut self, index: u32) -> Option<Entry> {
        let place = self.places.get_mut(index as usize)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        if self.by_key.get(&entry.key) == Some(&index) {
            self.by_key.remove(&entry.key);
        }
        Some(entry)
    }

    /// Gives up one entry: the one whose end is longest ago, else the living one that was seen first.
    fn evict(&mut self, counters: &mut TableCounters) {
        if self.ended.head != NONE {
            let index = self.ended.head;
            counters.evicted_ended += 1;
            self.dequeue(index, false);
            self.remove(index);
        } else if self.alive.head != NONE {
            counters.evicted_alive += 1;
            let slot = self.slot(self.alive.head);
            self.end(slot);
            // With descendants it is retained by end(), but its place is what is needed.
            if self.get(slot).is_some() {
                self.dequeue(slot.index, false);
                self.remove(slot.index);
            }
        }
    }

    fn slot(&self, index: u32) -> Slot {
        Slot { index, generation: self.places[index as usize].generation }
    }

    fn enqueue(&mut self, index: u32, alive: bool) {
        let queue = if alive { &mut self.alive } else { &mut self.ended };
        let tail = queue.tail;
        queue.tail = index;
        if tail == NONE {
            queue.head = index;
        } else if let Some(entry) = &mut self.places[tail as usize].entry {
            entry.next = index;
        }
        if let Some(entry) = &mut self.places[index as usize].entry {
            entry.previous = tail;
            entry.next = NONE;
        }
    }

    fn dequeue(&mut self, index: u32, alive: bool) {
        let Some(entry) = &mut self.places[index as usize].entry else { return };
        let (previous, next) = (entry.previous, entry.next);
        (entry.previous, entry.next) = (NONE, NONE);
        let queue = if alive { &mut self.alive } else { &mut self.ended };
        if queue.head == index {
            queue.head = next;
        }
        if queue.tail == index {
            queue.tail = previous;
        }
        if previous != NONE
            && let Some(entry) = &mut self.places[previous as usize].entry
        {
            entry.next = next;
        }
        if next != NONE
            && let Some(entry) = &mut self.places[next as usize].entry
        {
            entry.previous = previous;
        }
    }

    /// Bytes that the table itself takes, without what its entries point to.
    pub fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_key.capacity() * (size_of::<(Key, u32)>() + 1)
            + self.alive_by_pid.capacity() * (size_of::<(u32, u32)>() + 1)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
