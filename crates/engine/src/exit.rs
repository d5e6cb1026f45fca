//! Exit records: the last thread of a process has ended. One event for each process, never two.

use std::sync::Arc;

use saker_abi::Exit;
use saker_api::event::{Event, EventKind, ExitEvent, ProcessView, Timestamp};

use crate::counters::Outcome;
use crate::engine::Engine;
use crate::process::credentials;
use crate::table::Slot;

/// Bit of a wait status: a core was dumped.
const CORE_DUMPED: u32 = 0x80;

impl Engine {
    pub(crate) fn exit(&mut self, exit: &Exit, out: &mut Vec<Arc<Event>>) -> Outcome {
        let (key, id) = (exit.rec.process, &exit.id);
        if !self.chunks.is_empty() {
            self.chunks.orphan(key, &mut self.counters.chunks);
        }
        let known = self.table.find(key);
        if known.is_some_and(|slot| self.table.get(slot).is_some_and(|entry| !entry.alive())) {
            return Outcome::Duplicate;
        }
        // It ended between the loading of the sensors and the first scan's coming to it: the stream of events
        // begins with the scan, and no end in it lacks its beginning. But not if the programs of an earlier agent told of
        // it, whose records come without numbers: that agent told the beginning.
        if known.is_none()
            && exit.rec.seq != 0
            && exit.rec.time <= self.scanned_until
            && self.table.alive(key.pid).is_none()
        {
            return Outcome::Earlier;
        }
        let creds = self.factory.config.visible.credentials.then(|| Box::new(credentials(&id.creds)));
        let reparented_to = self.reparented_to(id);
        let mut event = match known {
            Some(slot) => self.ended(slot),
            None => self.ended_unknown(exit, out),
        };
        if event.parent.is_none() {
            event.parent = self.parent_view(self.find_parent(id), id.parent);
        }
        event.signal = (exit.code & 0x7f) as u8;
        event.core_dumped = exit.code & CORE_DUMPED != 0;
        event.status = exit.code >> 8 & 0xff;
        event.tid = id.tid;
        event.creds = creds;
        event.reparented_to = reparented_to;
        self.note_end(key);
        self.calls_ended(key.pid, out);
        self.counters.events.exit += 1;
        let time = self.time_of(&exit.rec);
        self.emit(time, EventKind::Exit(event), out);
        Outcome::Emitted
    }

    /// Ends an entry and returns the event of it, as far as the table tells. References are those that remain.
    fn ended(&mut self, slot: Slot) -> ExitEvent {
        let parent = self.table.parent_of(slot).map(|(parent, _)| parent);
        let view = self.view(slot);
        let ancestors = if self.factory.config.ancestors.exit { self.ancestors(parent) } else { Vec::new() };
        let mut parent = parent.and_then(|parent| self.view(parent));
        if let Some(parent) = &mut parent {
            parent.refcnt = parent.refcnt.saturating_sub(1);
        }
        self.table.end(slot);
        let view = view.unwrap_or_else(|| ProcessView { process: Arc::default(), refcnt: 1 });
        let refcnt = view.refcnt.saturating_sub(1);
        exit_event(ProcessView { process: view.process, refcnt }, parent, ancestors)
    }

    /// The event of a process that the table does not know by this key: its exec was lost, or all of it.
    fn ended_unknown(&mut self, exit: &Exit, out: &mut Vec<Arc<Event>>) -> ExitEvent {
        let (key, id) = (exit.rec.process, &exit.id);
        self.counters.table.unknown_processes += 1;
        let process = Arc::new(self.factory.unseen(key, id));
        let process = ProcessView { process, refcnt: 0 };
        if let Some(old) = self.table.alive(key.pid) {
            if self.same_process(old, id.start_boottime) {
                let event = self.ended(old);
                if event.parent.is_some() {
                    return ExitEvent { process, ..event };
                }
            } else {
                self.end_unseen(old, self.time_of(&exit.rec), out);
            }
        }
        let parent = self.find_parent(id);
        let ancestors = if self.factory.config.ancestors.exit { self.ancestors(parent) } else { Vec::new() };
        let parent = parent.and_then(|parent| self.view(parent));
        exit_event(process, parent, ancestors)
    }

    /// Ends a process whose exit record was lost. Its event says so; how it ended is not known.
    pub(crate) fn end_unseen(&mut self, slot: Slot, time: Timestamp, out: &mut Vec<Arc<Event>>) {
        let Some(key) = self.table.get(slot).map(|entry| entry.key) else { return };
        let mut event = self.ended(slot);
        event.reconstructed = true;
        event.tid = key.pid;
        self.note_end(key);
        self.calls_ended(key.pid, out);
        self.counters.events.exit_reconstructed += 1;
        self.emit(time, EventKind::Exit(event), out);
    }
}

fn exit_event(process: ProcessView, parent: Option<ProcessView>, ancestors: Vec<ProcessView>) -> ExitEvent {
    ExitEvent {
        process,
        parent,
        ancestors: ancestors.into(),
        signal: 0,
        core_dumped: false,
        status: 0,
        tid: 0,
        creds: None,
        reparented_to: None,
        reconstructed: false,
    }
}
