//! Processes that a scan of all tasks found: at the start, and after a loss.
//!
//! After a loss the scan runs beside the stream of records: what it found may be older or newer than the
//! records the engine has taken. So the engine holds the snapshot until the records up to its end have been
//! taken (or the ring is empty), and compares then. A process of the snapshot that no record told of and that
//! has not ended since is inserted and told as `reconstructed`. A process of the table that the snapshot does
//! not have ended unseen: it gets an exit event, marked likewise, because an auditor must be able to tell a
//! process that ended from one that still runs; how it ended is not known. A process whose exec was lost goes
//! on under the identity that the scan found.

use std::sync::Arc;

use saker_abi::{Body, Exec, Fixed, Identity, Key, Kind, ProcessFlags, Record, decode};
use saker_api::event::{Event, EventKind, ExecEvent, ProcessView, Timestamp};

use crate::counters::{Counters, Outcome};
use crate::engine::Engine;
use crate::hash::{Map, Set};
use crate::parts::Parts;
use crate::process::Relations;
use crate::table::{Entry, NewEntry, Slot, State};

/// How much later than its own time a record may stand in the ring.
const DISORDER: u64 = 50_000_000;
/// A process gets its time a moment before a scan can see it.
const BIRTH: u64 = 100_000_000;

/// A process that a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTask {
    /// Its record, of kind task.
    pub record: Vec<u8>,
    /// Its arguments, each ended by NUL.
    pub args: Vec<u8>,
    /// Its environment, likewise; empty when not asked for.
    pub envs: Vec<u8>,
}

/// Why a scan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Before the first record is taken.
    Start,
    /// After records were lost.
    Resync,
}

/// A snapshot that waits for the records up to its end.
#[derive(Debug)]
pub(crate) struct Pending {
    tasks: Vec<SnapshotTask>,
    from: u64,
    until: u64,
    /// Processes that ended meanwhile: id and time of the last identity.
    ended: Map<u32, u64>,
}

impl Pending {
    pub fn new(tasks: Vec<SnapshotTask>, counters: &mut Counters) -> Option<Box<Self>> {
        let times =
            || tasks.iter().filter_map(|task| decode(&task.record).ok()).map(|record| record.header().time);
        let (Some(from), Some(until)) = (times().min(), times().max()) else {
            counters.snapshots_refused += 1;
            return None;
        };
        Some(Box::new(Self { tasks, from, until, ended: Map::default() }))
    }

    pub fn is_due(&self, clock: u64) -> bool {
        clock >= self.until.saturating_add(DISORDER)
    }
}

/// A decoded task of a snapshot.
struct Task<'a> {
    exec: Fixed<'a, Exec>,
    record: Record<'a>,
    found: &'a SnapshotTask,
}

impl Engine {
    pub(crate) fn note_end(&mut self, key: Key) {
        if let Some(pending) = &mut self.pending {
            let newest = pending.ended.entry(key.pid).or_default();
            *newest = key.ktime.max(*newest);
        }
    }

    pub(crate) fn start(&mut self, tasks: &[SnapshotTask], out: &mut Vec<Arc<Event>>) {
        self.counters.snapshots += 1;
        let tasks = self.decoded(tasks);
        for task in in_order(&tasks) {
            self.scanned_until = self.scanned_until.max(task.exec.rec.time);
            let key = task.exec.rec.process;
            let live = ProcessFlags(task.exec.id.flags).has(ProcessFlags::LIVE);
            let outcome = if self.table.find(key).is_some() || self.table.alive(key.pid).is_some() {
                Outcome::Duplicate
            } else if live {
                self.insert_found(task, true, false, out);
                Outcome::Silent
            } else {
                self.insert_found(task, false, false, out);
                self.counters.events.exec_snapshot += 1;
                Outcome::Emitted
            };
            self.counters.outcome(Kind::Task as u8, outcome);
        }
    }

    pub(crate) fn apply_pending(&mut self, out: &mut Vec<Arc<Event>>) {
        let Some(pending) = self.pending.take() else { return };
        self.counters.snapshots += 1;
        let tasks = self.decoded(&pending.tasks);
        for task in in_order(&tasks) {
            let outcome = self.compare(task, &pending.ended, out);
            if outcome == Outcome::Emitted {
                self.counters.events.exec_reconstructed += 1;
            }
            self.counters.outcome(Kind::Task as u8, outcome);
        }
        self.end_missing(&tasks, pending.from, self.factory.wall(pending.until), out);
    }

    fn decoded<'a>(&mut self, tasks: &'a [SnapshotTask]) -> Vec<Task<'a>> {
        let mut decoded = Vec::with_capacity(tasks.len());
        for found in tasks {
            self.counters.bytes += found.record.len() as u64;
            match decode(&found.record) {
                Ok(record) => match &record.body {
                    Body::Task(exec) => decoded.push(Task { exec: exec.clone(), record, found }),
                    _ => self.counters.outcome(record.header().kind, Outcome::Unexpected),
                },
                Err(error) => self.counters.undecoded(error),
            }
        }
        decoded
    }

    /// Compares one task of a resync with the table.
    fn compare(&mut self, task: &Task<'_>, ended: &Map<u32, u64>, out: &mut Vec<Arc<Event>>) -> Outcome {
        let key = task.exec.rec.process;
        if ended.get(&key.pid).is_some_and(|ktime| *ktime >= key.ktime) {
            return Outcome::Ended;
        }
        if let Some(slot) = self.table.find(key) {
            let Some(entry) = self.table.get_mut(slot) else { return Outcome::Duplicate };
            if !entry.alive() {
                return Outcome::Ended;
            }
            if !std::mem::take(&mut entry.silent) {
                return Outcome::Duplicate;
            }
            // The record that was to tell of it was lost.
            self.emit_found(task, slot, out);
            return Outcome::Emitted;
        }
        let old = self.table.alive(key.pid);
        if let Some(old) = old {
            if self.table.get(old).is_some_and(|entry| entry.key.ktime > key.ktime) {
                return Outcome::Duplicate;
            }
            if !self.same_process(old, task.exec.id.start_boottime) {
                self.end_unseen(old, self.time_of(&task.exec.rec), out);
            }
        }
        self.insert_found(task, false, true, out);
        if let Some(old) = old {
            self.table.end(old);
        }
        Outcome::Emitted
    }

    fn insert_found(
        &mut self,
        task: &Task<'_>,
        silent: bool,
        reconstructed: bool,
        out: &mut Vec<Arc<Event>>,
    ) {
        let id = &task.exec.id;
        let parent = self.found_parent(id);
        let parent_process = parent.and_then(|slot| self.process_of(slot));
        let relations = Relations {
            parent: parent_process.as_deref(),
            previous: None,
            real_parent: self.reparented_to(id),
        };
        let parts = Parts::of(&task.record);
        let mut process =
            self.factory.found(&task.exec, &parts, &task.found.args, &task.found.envs, relations);
        process.extra.reconstructed = reconstructed;
        let new = NewEntry {
            key: task.exec.rec.process,
            start_boottime: id.start_boottime,
            state: State::Shared(Arc::new(process)),
            silent,
        };
        let slot = self.table.insert(new, &mut self.counters.table);
        self.link(slot, parent);
        if !silent {
            self.emit_found(task, slot, out);
        }
    }

    fn emit_found(&mut self, task: &Task<'_>, slot: Slot, out: &mut Vec<Arc<Event>>) {
        let parent = self.table.parent_of(slot).map(|(parent, _)| parent);
        let Some(process) = self.process_of(slot) else { return };
        let refcnt = self.table.get(slot).map_or(1, Entry::refcnt);
        let parent_view = self.parent_view(parent, task.exec.id.parent);
        let ancestors = if self.factory.config.ancestors.exec { self.ancestors(parent) } else { Vec::new() };
        let event = ExecEvent { process: ProcessView { process, refcnt }, parent: parent_view, ancestors };
        let time = self.time_of(&task.exec.rec);
        self.emit(time, EventKind::Exec(event), out);
    }

    /// A scan names the creator by its key as of then; the creator may have gone on to another program.
    fn found_parent(&self, id: &Identity) -> Option<Slot> {
        if id.parent.pid == 0 {
            return None;
        }
        self.table.find(id.parent).or_else(|| self.older_alive(id))
    }

    /// Ends the processes that were there before the scan and that it did not find.
    fn end_missing(&mut self, tasks: &[Task<'_>], from: u64, time: Timestamp, out: &mut Vec<Arc<Event>>) {
        let found: Set<u32> = tasks.iter().map(|task| task.exec.rec.process.pid).collect();
        let missing = self.table.iter_alive().filter(|(_, entry)| !found.contains(&entry.key.pid));
        let missing = missing.filter(|(_, entry)| entry.key.ktime < from);
        let mut missing: Vec<(Key, Slot)> = missing.map(|(slot, entry)| (entry.key, slot)).collect();
        missing.sort_by_key(|(key, _)| (key.ktime, key.pid));
        for (key, slot) in missing {
            if key.ktime.saturating_add(BIRTH) < from {
                self.end_unseen(slot, time, out);
            } else {
                // Too young to tell; the next scan will.
                self.resync = true;
            }
        }
    }
}

/// The tasks, each after its parent; otherwise in the order given.
fn in_order<'a, 'b>(tasks: &'b [Task<'a>]) -> Vec<&'b Task<'a>> {
    let by_pid: Map<u32, usize> =
        tasks.iter().enumerate().map(|(index, task)| (task.exec.rec.process.pid, index)).collect();
    let mut placed = vec![false; tasks.len()];
    let mut order = Vec::with_capacity(tasks.len());
    let mut above = Vec::new();
    for index in 0..tasks.len() {
        let mut at = Some(index);
        while let Some(next) = at.filter(|next| !placed[*next]) {
            placed[next] = true;
            above.push(next);
            at = by_pid.get(&tasks[next].exec.id.parent.pid).copied();
        }
        order.extend(above.drain(..).rev().map(|next| &tasks[next]));
    }
    order
}
