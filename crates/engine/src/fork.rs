//! Fork records: a process was created. No event of its own, but all that follows stands on it.

use std::sync::Arc;

use saker_abi::{Fork, Key};
use saker_api::event::Event;

use crate::counters::Outcome;
use crate::engine::Engine;
use crate::table::{Forked, NewEntry, Slot, State};

impl Engine {
    pub(crate) fn fork(&mut self, fork: &Fork, out: &mut Vec<Arc<Event>>) -> Outcome {
        let (key, id) = (fork.rec.process, &fork.id);
        let known = self.table.find(key);
        if known.is_some_and(|slot| self.table.get(slot).is_some_and(|entry| !entry.silent)) {
            return Outcome::Duplicate;
        }
        if known.is_none() && self.superseded(key, id.start_boottime, out) {
            return Outcome::Duplicate;
        }
        let parent = self.find_parent(id);
        let creator = parent.and_then(|slot| self.process_of(slot));
        let state = State::Forked(Box::new(Forked { identity: *id, creator }));
        if let Some(slot) = known {
            if let Some(entry) = self.table.get_mut(slot) {
                (entry.state, entry.silent) = (state, false);
            }
            return Outcome::Tracked;
        }
        let start_boottime = id.start_boottime;
        let new = NewEntry { key, start_boottime, state, silent: false };
        let slot = self.table.insert(new, &mut self.counters.table);
        self.link(slot, parent);
        Outcome::Tracked
    }

    /// Looks at who has the process id of a process that is new. Another process must have ended unseen. The
    /// same process is told of already when it has gone on since; returns `true` then.
    fn superseded(&mut self, key: Key, start_boottime: u64, out: &mut Vec<Arc<Event>>) -> bool {
        let Some(slot) = self.table.alive(key.pid) else { return false };
        if !self.same_process(slot, start_boottime) {
            self.end_unseen(slot, self.factory.wall(self.clock), out);
            return false;
        }
        // A silent entry is what the process will be after records that are still to come.
        self.table.get(slot).is_some_and(|entry| !entry.silent)
    }

    pub(crate) fn link(&mut self, child: Slot, parent: Option<Slot>) {
        if let Some(parent) = parent
            && !self.table.link(child, parent)
        {
            self.counters.table.circles += 1;
        }
    }
}
