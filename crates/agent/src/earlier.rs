//! What earlier agents' programs told: it comes before what this agent's own tell.
//!
//! An agent that leaves its programs in force leaves a ring that fills. The next one reads what waits there, and what
//! still comes until it is its turn, and then its own ring. A process that one of those records tells of must not be told
//! as one that was found, so the first list of processes is compared with them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::mem::offset_of;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use saker_abi::generated::{saker_exec, saker_identity, saker_record};
use saker_abi::{Body, Key, ProcessFlags, decode};
use saker_engine::SnapshotTask;
use saker_probes::{EarlierReader, Keep, Reader, RecordBatch, Sensors};

use crate::source::{ReadOutcome, RecordReader};

/// Time for which a ring is read after its programs were detached: calls that they were in must end.
const GRACE: Duration = Duration::from_secs(1);
/// Time between two looks at rings that nobody says are filled.
const LOOK: Duration = Duration::from_millis(10);
/// Where the number of a record stands.
const NUMBER: usize = offset_of!(saker_record, seq);

type Batches = Arc<Mutex<VecDeque<RecordBatch>>>;

/// The rings of earlier agents, as long as they are read, and this agent's own.
pub(crate) struct Rings {
    own: Reader,
    earlier: Arc<Mutex<Vec<Earlier>>>,
    waiting: Batches,
    keep: Option<Arc<Keep>>,
    /// It has been seen that it is this agent's turn.
    has_turn: bool,
    /// Records of earlier agents' programs that are missing and not told to be.
    missing: u64,
}

/// One of them.
struct Earlier {
    ring: EarlierReader,
    /// The last number of each CPU, so that what is missing between two is known.
    numbers: BTreeMap<u32, u64>,
    missing: u64,
    /// When it was first seen that its programs are detached.
    detached: Option<Instant>,
}

impl Earlier {
    /// Takes what is there without waiting. The numbers of records are not those of this agent's, so they are taken out.
    fn read(&mut self, batch: &mut RecordBatch) -> Result<usize> {
        let mut found = RecordBatch::default();
        self.ring.reader.read(Duration::ZERO, &mut found)?;
        for record in found.records() {
            let mut record = record.to_vec();
            if let Ok(decoded) = decode(&record) {
                let (cpu, number) = (decoded.header().cpu, decoded.header().seq);
                if let Some(last) = self.numbers.insert(cpu, number) {
                    self.missing += number.saturating_sub(last + 1);
                }
            }
            if let Some(number) = record.get_mut(NUMBER..NUMBER + size_of::<u64>()) {
                number.fill(0);
            }
            batch.push(&record);
        }
        Ok(found.len())
    }

    /// Records that were made and had no room, when all that had was read. Nothing is known of a CPU of which there was none.
    fn missing(&self) -> u64 {
        let last = self.ring.last_numbers();
        let behind = self
            .numbers
            .iter()
            .map(|(cpu, number)| last.get(*cpu as usize).map_or(0, |last| last.saturating_sub(*number)));
        self.missing + behind.sum::<u64>()
    }
}

/// What waits when this agent begins.
pub(crate) struct Waiting {
    earlier: Arc<Mutex<Vec<Earlier>>>,
    waiting: Batches,
}

impl Waiting {
    /// Reads all that waits. Processes among `tasks` that it tells of are marked so; the others are those that earlier
    /// agents told of, and are told as found.
    pub(crate) fn gather(self, tasks: &mut [SnapshotTask]) -> Result<()> {
        let mut told: HashSet<Key> = HashSet::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = 0;
        for one in self.earlier.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            // A ring that is filled all the time must not keep the agent from its start.
            let deadline = Instant::now() + GRACE;
            loop {
                let mut batch = RecordBatch::default();
                if one.read(&mut batch)? == 0 {
                    break;
                }
                for record in batch.records() {
                    if let Ok(Body::Exec(exec)) = decode(record).map(|record| record.body) {
                        told.insert(exec.rec.process);
                    }
                }
                records += batch.len();
                waiting.push_back(batch);
                // What comes after is read in its turn.
                if Instant::now() >= deadline {
                    break;
                }
            }
        }
        tracing::info!(records, "read what the programs of the last agent told");
        for task in tasks {
            mark(task, &told);
        }
        Ok(())
    }
}

/// Sets or clears the bit that says that records tell of a process.
fn mark(task: &mut SnapshotTask, told: &HashSet<Key>) {
    const FLAGS: usize = offset_of!(saker_exec, id) + offset_of!(saker_identity, flags);
    let Ok(key) = decode(&task.record).map(|record| record.header().process) else { return };
    let Some(flags) = task.record.get_mut(FLAGS..).and_then(<[u8]>::first_chunk_mut::<4>) else { return };
    let bits = u32::from_ne_bytes(*flags);
    let bits = if told.contains(&key) { bits | ProcessFlags::LIVE.0 } else { bits & !ProcessFlags::LIVE.0 };
    *flags = bits.to_ne_bytes();
}

impl Rings {
    /// The rings beside these sensors, and what waits in them if there was an agent before.
    pub(crate) fn of(sensors: &Sensors) -> Result<(Self, Option<Waiting>)> {
        let keep = sensors.keep().cloned();
        let readers = keep.as_ref().map(|keep| keep.readers()).transpose()?.unwrap_or_default();
        let earlier = readers.into_iter().map(|ring| Earlier {
            ring,
            numbers: BTreeMap::new(),
            missing: 0,
            detached: None,
        });
        let earlier: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(earlier.collect()));
        let waiting = Batches::default();
        let is_empty = earlier.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let first = Waiting { earlier: Arc::clone(&earlier), waiting: Arc::clone(&waiting) };
        let has_turn = keep.is_none();
        let rings = Self { own: sensors.reader()?, has_turn, keep, earlier, waiting, missing: 0 };
        Ok((rings, (!is_empty).then_some(first)))
    }

    /// Reads a ring of earlier agents; how many records there were.
    fn read_earlier(&mut self, batch: &mut RecordBatch) -> Result<usize> {
        let Some(keep) = &self.keep else { return Ok(0) };
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        for one in earlier.iter_mut() {
            if !keep.is_earlier(one.ring.generation) {
                one.detached.get_or_insert_with(Instant::now);
            }
            let records = one.read(batch)?;
            if records > 0 {
                return Ok(records);
            }
        }
        let mut found = 0;
        earlier.retain(|one| {
            let stays = one.detached.is_none_or(|since| since.elapsed() < GRACE);
            let missing = if stays { 0 } else { one.missing() };
            if missing > 0 {
                tracing::warn!(
                    records = missing,
                    "there was no room for all that was to be told while no agent ran; see rb-size-total"
                );
            }
            found += missing;
            stays
        });
        self.missing += found;
        Ok(0)
    }
}

impl RecordReader for Rings {
    fn read(&mut self, timeout: Duration, batch: &mut RecordBatch) -> Result<ReadOutcome> {
        if let Some(keep) = self.keep.clone() {
            let nothing = ReadOutcome { idle: true, ..ReadOutcome::default() };
            if keep.is_leaving() {
                // What is there is for the next agent.
                return Ok(nothing);
            }
            if !keep.is_told() {
                std::thread::sleep(timeout.min(LOOK));
                return Ok(nothing);
            }
            if let Some(first) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                let records = first.len();
                *batch = first;
                return Ok(ReadOutcome { records, ..ReadOutcome::default() });
            }
            // Asked first: what earlier programs told before it was this agent's turn comes before its own.
            let has_turn = self.has_turn || keep.has_turn();
            let records = self.read_earlier(batch)?;
            if records > 0 {
                return Ok(ReadOutcome { records, ..ReadOutcome::default() });
            }
            self.has_turn = has_turn;
            if !has_turn {
                std::thread::sleep(timeout.min(LOOK));
                return Ok(nothing);
            }
            if !self.earlier.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                let outcome = self.own.read(timeout.min(LOOK), batch)?;
                let missing = std::mem::take(&mut self.missing);
                return Ok(ReadOutcome { records: outcome.records, idle: outcome.idle, missing });
            }
        }
        let outcome = self.own.read(timeout, batch)?;
        let missing = std::mem::take(&mut self.missing);
        Ok(ReadOutcome { records: outcome.records, idle: outcome.idle, missing })
    }
}
