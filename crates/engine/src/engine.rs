//! The engine: one record in, the events it means out.

use std::sync::Arc;

use saker_abi::{Body, DecodeError, Header, Identity, ProcessFlags, Record, Stats, decode};
use saker_api::event::{Event, EventKind, GapEvent, Timestamp};

use crate::calls::Calls;
use crate::chunks::Chunks;
use crate::config::EngineConfig;
use crate::contents::Contents;
use crate::counters::{Counters, Outcome};
use crate::findings::Findings;
use crate::policies::Policies;
use crate::process::Factory;
use crate::seen::Seen;
use crate::sequence::Sequences;
use crate::snapshot::{Pending, SnapshotKind, SnapshotTask};
use crate::spares::Spares;
use crate::table::{Slot, Table};

/// Turns records into events. Single-threaded; all its memory is bounded by its configuration.
#[derive(Debug)]
pub struct Engine {
    pub(crate) factory: Factory,
    pub(crate) table: Table,
    pub(crate) chunks: Chunks,
    pub(crate) contents: Contents,
    pub(crate) policies: Policies,
    pub(crate) calls: Calls,
    pub(crate) seen: Seen,
    pub(crate) spares: Spares,
    pub(crate) sequences: Sequences,
    pub(crate) counters: Counters,
    /// Kernel time of the newest record.
    pub(crate) clock: u64,
    pub(crate) pending: Option<Box<Pending>>,
    /// Time of the last process that the first scan found, CLOCK_BOOTTIME; 0: no scan yet.
    pub(crate) scanned_until: u64,
    pub(crate) resync: bool,
    /// For the record that comes next.
    pub(crate) findings: Option<Box<Findings>>,
    gaps: Vec<GapEvent>,
}

impl Engine {
    /// An engine that knows no process yet.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            table: Table::new(config.capacity),
            chunks: Chunks::new(config.pending_bytes),
            contents: Contents::new(config.pending_bytes),
            policies: Policies::default(),
            calls: Calls::default(),
            seen: Seen::default(),
            spares: Spares::default(),
            sequences: Sequences::new(config.sequence),
            factory: Factory::new(config),
            counters: Counters::default(),
            clock: 0,
            pending: None,
            scanned_until: 0,
            resync: false,
            findings: None,
            gaps: Vec::new(),
        }
    }

    /// Takes one record and appends what it means to `out`.
    pub fn record(&mut self, bytes: &[u8], out: &mut Vec<Arc<Event>>) {
        self.counters.bytes += bytes.len() as u64;
        let findings = self.findings.take();
        let record = match decode(bytes) {
            Ok(record) => record,
            Err(error) => return self.undecodable(error),
        };
        let &Header { kind, seq, cpu, time, .. } = record.header();
        if seq != 0 && self.sequences.arrived(cpu, seq, &mut self.counters.losses) {
            self.resync = true;
        }
        self.clock = self.clock.max(time);
        let outcome = match &record.body {
            Body::Exec(exec) => self.exec(exec, &record, out),
            Body::Fork(fork) => self.fork(fork, out),
            Body::Exit(exit) => self.exit(exit, out),
            Body::Data(_) => self.data(&record),
            Body::Hook(hook) => self.hook(hook, &record, findings, out),
            Body::Task(_) | Body::Unknown(_) => Outcome::Unexpected,
        };
        self.counters.outcome(kind, outcome);
        if self.sequences.overdue() {
            self.tell_gaps(&[], out);
        }
        if self.pending.as_ref().is_some_and(|pending| pending.is_due(self.clock)) {
            self.apply_pending(out);
        }
        self.forget_policies(out);
    }

    fn undecodable(&mut self, error: DecodeError) {
        self.counters.undecoded(error);
        self.sequences.undecodable();
    }

    fn data(&mut self, record: &Record<'_>) -> Outcome {
        let (Body::Data(data), Some(value)) = (&record.body, record.values().next()) else {
            return Outcome::Refused;
        };
        let counters = &mut self.counters.chunks;
        let stored = if data.rec.policy == 0 {
            self.chunks.store(data, value.tag, value.bytes, counters)
        } else {
            self.contents.store(data, value.tag, value.bytes, counters)
        };
        if stored { Outcome::Stored } else { Outcome::Refused }
    }

    /// Takes the processes that a scan found. `Start` comes before all records; they are told at once, as
    /// processes that were there. `Resync` comes after a loss: it is applied when the records up to the time of
    /// the scan have been taken, so that what they tell is not told twice.
    pub fn snapshot(&mut self, tasks: Vec<SnapshotTask>, kind: SnapshotKind, out: &mut Vec<Arc<Event>>) {
        self.apply_pending(out);
        match kind {
            SnapshotKind::Start => self.start(&tasks, out),
            SnapshotKind::Resync => {
                self.pending = Pending::new(tasks, &mut self.counters);
                self.resync = self.resync && self.pending.is_none();
                if self.pending.as_ref().is_some_and(|pending| pending.is_due(self.clock)) {
                    self.apply_pending(out);
                }
            }
        }
    }

    /// Takes the kernel's counters, one for each CPU, and tells the gaps that wait for them.
    ///
    /// `drained`: since the counters were read, the ring has been read until it was empty. Then what was lost
    /// at the end of the sequences shows too.
    pub fn sample(&mut self, stats: &[Stats], drained: bool, out: &mut Vec<Arc<Event>>) {
        let mut gaps = std::mem::take(&mut self.gaps);
        if self.sequences.sample(stats, drained, &mut self.counters.losses, &mut gaps) {
            self.resync = true;
        }
        self.emit_gaps(&mut gaps, out);
        if drained {
            self.apply_pending(out);
        }
    }

    /// A later stage lost `lost` records, so the table needs a new snapshot.
    pub fn lost(&mut self, stage: &'static str, lost: u64, out: &mut Vec<Arc<Event>>) {
        if lost == 0 {
            return;
        }
        self.counters.losses.later_stages += lost;
        self.resync = true;
        let gap = GapEvent { lost, stage, ..GapEvent::default() };
        self.counters.events.gap += 1;
        let time = self.factory.wall(self.clock);
        self.emit(time, EventKind::Gap(gap), out);
    }

    /// Takes a new distance of the wall clock from CLOCK_BOOTTIME, after the wall clock was set.
    pub fn set_boot_to_wall(&mut self, nanoseconds: u64) {
        self.factory.config.boot_to_wall = nanoseconds;
    }

    /// Whether records were lost since the last snapshot, so that a new one is needed.
    #[must_use]
    pub const fn wants_resync(&self) -> bool {
        self.resync
    }

    /// Whether a gap waits for [`Engine::sample`] to tell its causes.
    #[must_use]
    pub fn wants_sample(&self) -> bool {
        self.sequences.waits()
    }

    /// Ends the input: applies and tells what still waits.
    pub fn finish(&mut self, out: &mut Vec<Arc<Event>>) {
        self.tell_gaps(&[], out);
        self.apply_pending(out);
        self.finish_calls(out);
    }

    /// Totals, and the present state of the table.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.table.entries = self.table.len() as u64;
        counters.table.alive = self.table.alive_len() as u64;
        counters.calls.waiting = self.calls.len() as u64;
        counters.calls.waiting_bytes = self.calls.bytes() as u64;
        counters.policies = self.policies.len() as u64;
        counters.chunks_bound = 2 * self.factory.config.pending_bytes as u64;
        counters.chunks.waiting_bytes = (self.chunks.bytes() + self.contents.bytes()) as u64;
        counters
    }

    /// Bytes that the process table takes, without the processes themselves.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table.heap_bytes()
    }

    /// Bytes of the processes that the table holds, about, with their encoded forms. It goes through all of them.
    #[must_use]
    pub fn process_bytes(&self) -> usize {
        self.table.iter().map(|entry| entry.state.heap_bytes()).sum()
    }

    fn tell_gaps(&mut self, stats: &[Stats], out: &mut Vec<Arc<Event>>) {
        let mut gaps = std::mem::take(&mut self.gaps);
        self.sequences.tell(stats, &mut gaps);
        self.emit_gaps(&mut gaps, out);
    }

    fn emit_gaps(&mut self, gaps: &mut Vec<GapEvent>, out: &mut Vec<Arc<Event>>) {
        let time = self.factory.wall(self.clock);
        for gap in gaps.drain(..) {
            self.counters.events.gap += 1;
            self.emit(time, EventKind::Gap(gap), out);
        }
        self.gaps = std::mem::take(gaps);
    }

    pub(crate) fn emit(&mut self, time: Timestamp, kind: EventKind, out: &mut Vec<Arc<Event>>) {
        out.push(self.spares.event(time, &self.factory.config.node, kind));
    }

    /// Takes events that everybody has done with: their memory is that of the next ones.
    pub fn add_spares(&mut self, events: &mut Vec<Arc<Event>>) {
        self.spares.add(events);
    }

    /// Gives their memory back.
    pub fn drop_spares(&mut self) {
        self.spares = Spares::default();
    }

    /// How many of them there are.
    #[must_use]
    pub fn spares(&self) -> usize {
        self.spares.len()
    }

    /// Entry of the creator that a record names. A derived key may have another time than the table has; then
    /// whoever has that process id is meant, if it was there when the child was created.
    pub(crate) fn find_parent(&self, id: &Identity) -> Option<Slot> {
        if id.parent.pid == 0 {
            return None;
        }
        self.table.find(id.parent).or_else(|| {
            let derived = ProcessFlags(id.flags).has(ProcessFlags::PARENT_MISSED);
            if derived { self.older_alive(id) } else { None }
        })
    }

    /// The living process with the id of the creator, unless it is younger than the child.
    pub(crate) fn older_alive(&self, id: &Identity) -> Option<Slot> {
        let slot = self.table.alive(id.parent.pid)?;
        self.table.get(slot).filter(|entry| entry.start_boottime <= id.start_boottime).map(|_| slot)
    }

    /// Whether two records tell of one process: it keeps the time of its creation over every exec.
    pub(crate) fn same_process(&self, slot: Slot, start_boottime: u64) -> bool {
        self.table.get(slot).is_some_and(|entry| entry.start_boottime == start_boottime)
    }

    pub(crate) fn time_of(&self, header: &Header) -> Timestamp {
        self.factory.wall(header.time)
    }
}
