//! Exec records: a process runs another program, and has another identity from then on.

use std::sync::Arc;

use saker_abi::{Exec, ProcessFlags, Record};
use saker_api::event::{Event, EventKind, ExecEvent, Process, ProcessView};

use crate::counters::Outcome;
use crate::engine::Engine;
use crate::parts::Parts;
use crate::process::Relations;
use crate::table::{Entry, NewEntry, Slot, State};

impl Engine {
    pub(crate) fn exec(&mut self, exec: &Exec, record: &Record<'_>, out: &mut Vec<Arc<Event>>) -> Outcome {
        let key = exec.rec.process;
        let known = self.table.find(key);
        if known.is_some_and(|slot| self.table.get(slot).is_some_and(|entry| !entry.silent)) {
            return Outcome::Duplicate;
        }
        let long =
            if self.chunks.is_empty() { None } else { self.chunks.take(key, &mut self.counters.chunks) };
        let old = self.previous_identity(exec, known, out);
        let parent = old
            .and_then(|slot| self.table.parent_of(slot).map(|(parent, _)| parent))
            .or_else(|| self.find_parent(&exec.id));
        let parent_process = parent.and_then(|slot| self.process_of(slot));
        let relations = Relations {
            parent: parent_process.as_deref(),
            previous: old.and_then(|slot| self.told_identity(slot, exec)),
            real_parent: self.reparented_to(&exec.id),
        };
        let process = Arc::new(self.factory.executed(exec, &Parts::of(record), long.as_ref(), relations));
        let slot = self.take_over(exec, known, old, parent, Arc::clone(&process));

        let refcnt = self.table.get(slot).map_or(1, Entry::refcnt);
        self.calls_ended_by_exec(key.pid, exec.id.tid, out);
        let parent_view = self.parent_view(parent, exec.id.parent);
        let ancestors = if self.factory.config.ancestors.exec { self.ancestors(parent) } else { Vec::new() };
        let event = ExecEvent { process: ProcessView { process, refcnt }, parent: parent_view, ancestors };
        self.counters.events.exec += 1;
        let time = self.time_of(&exec.rec);
        self.emit(time, EventKind::Exec(event), out);
        Outcome::Emitted
    }

    /// The entry that this exec ends. Another process with the same id must have ended unseen.
    fn previous_identity(
        &mut self,
        exec: &Exec,
        known: Option<Slot>,
        out: &mut Vec<Arc<Event>>,
    ) -> Option<Slot> {
        let alive = |slot: &Slot| self.table.get(*slot).is_some_and(Entry::alive);
        let old = self.table.find(exec.previous).filter(alive);
        let old =
            old.or_else(|| self.table.alive(exec.rec.process.pid)).filter(|slot| Some(*slot) != known)?;
        if self.same_process(old, exec.id.start_boottime) {
            return Some(old);
        }
        self.end_unseen(old, self.time_of(&exec.rec), out);
        None
    }

    /// Id of the identity before this exec, when something else told of it: it ran a program of its own, or has
    /// children.
    fn told_identity(&mut self, slot: Slot, exec: &Exec) -> Option<Arc<str>> {
        let forked = ProcessFlags(exec.id.flags).has(ProcessFlags::FORKED);
        let entry = self.table.get(slot)?;
        match &entry.state {
            State::Shared(process) => Some(Arc::clone(&process.exec_id)),
            State::Forked(_) if forked => None,
            State::Forked(_) => Some(self.factory.exec_id(entry.key)),
        }
    }

    /// Puts the new identity into the table in place of the old one.
    fn take_over(
        &mut self,
        exec: &Exec,
        known: Option<Slot>,
        old: Option<Slot>,
        parent: Option<Slot>,
        process: Arc<Process>,
    ) -> Slot {
        let state = State::Shared(process);
        let slot = if let Some(slot) = known {
            if let Some(entry) = self.table.get_mut(slot) {
                (entry.state, entry.silent) = (state, false);
            }
            slot
        } else {
            let id = &exec.id;
            let new =
                NewEntry { key: exec.rec.process, start_boottime: id.start_boottime, state, silent: false };
            let slot = self.table.insert(new, &mut self.counters.table);
            self.link(slot, parent);
            slot
        };
        if let Some(old) = old {
            self.table.end(old);
            self.table.claim(slot);
        }
        slot
    }
}
