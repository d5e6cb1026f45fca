//! What came in, what went out, and what became of the difference.
//!
//! Each record has exactly one [`Outcome`], so for each kind `received` is the sum of its outcomes, and the
//! events are the sum of the outcomes `Emitted` and what the engine reconstructed. [`Counters::imbalance`]
//! checks both.

use saker_abi::{DecodeError, Kind};

use crate::calls::Unjoined;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// It became an event.
    Emitted,
    /// It completed the event of a call whose entry had come before.
    Joined,
    /// It changed the process table without an event: a fork.
    Tracked,
    /// Kept for a record that is to come: a part of a long value, the entry of a call for its return.
    Stored,
    /// A part of a long value that came out of order or beyond the bounds.
    Refused,
    /// The engine knew it already.
    Duplicate,
    /// A process found by a scan that a live record told of, or will.
    Silent,
    /// A process found by a scan that has ended since.
    Ended,
    /// The end of a process that ended before the first scan came to it: nobody was told of its life.
    Earlier,
    /// Of a policy that is not known: none was loaded under this number, or it was removed long ago.
    UnknownPolicy,
    /// Not expected from this source, or of an unknown kind.
    Unexpected,
}

impl Outcome {
    /// Number of outcomes.
    pub const COUNT: usize = 11;
    /// All outcomes.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Emitted,
        Self::Joined,
        Self::Tracked,
        Self::Stored,
        Self::Refused,
        Self::Duplicate,
        Self::Silent,
        Self::Ended,
        Self::Earlier,
        Self::UnknownPolicy,
        Self::Unexpected,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emitted => "emitted",
            Self::Joined => "joined",
            Self::Tracked => "tracked",
            Self::Stored => "stored",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
            Self::Silent => "silent",
            Self::Ended => "ended",
            Self::Earlier => "earlier",
            Self::UnknownPolicy => "unknown_policy",
            Self::Unexpected => "unexpected",
        }
    }
}

/// Slots of tables indexed by kind; slot 0 counts the unknown ones.
pub const KINDS: usize = saker_abi::KIND_MAX as usize;

/// Name of a slot of tables indexed by kind.
#[must_use]
pub fn kind_name(index: usize) -> &'static str {
    u8::try_from(index).ok().and_then(Kind::from_raw).map_or("unknown", Kind::name)
}

/// Totals since the engine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that were decoded, by kind.
    pub received: [u64; KINDS],
    /// Bytes given to the engine.
    pub bytes: u64,
    /// What became of the decoded records, by kind and [`Outcome`].
    pub outcomes: [[u64; Outcome::COUNT]; KINDS],
    /// Byte strings that were no records, by cause.
    pub undecodable: Undecodable,
    /// Events that left the engine.
    pub events: Events,
    /// Losses that were noticed.
    pub losses: Losses,
    /// The process table.
    pub table: TableCounters,
    /// Long values.
    pub chunks: ChunkCounters,
    /// Bound of the bytes of their parts that wait, those for arguments and those for contents together.
    pub chunks_bound: u64,
    /// Snapshots that were applied.
    pub snapshots: u64,
    /// Snapshots without any usable task, which are not believed.
    pub snapshots_refused: u64,
    /// Ancestor lists that were cut at their bound.
    pub ancestors_cut: u64,
    /// Records of hooks, by [`Family`](saker_api::event::Family).
    pub hook_records: [u64; FAMILIES],
    /// Calls of hooked functions.
    pub calls: CallCounters,
    /// Policies known now, removed ones among them.
    pub policies: u64,
    /// Policies that there was no room for.
    pub policies_refused: u64,
}

/// Slots of tables indexed by [`Family`](saker_api::event::Family).
pub const FAMILIES: usize = saker_api::event::Family::ALL.len();

/// Calls of hooked functions whose return is told too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounters {
    /// Entries that their return completed.
    pub joined: u64,
    /// Entries told without their return, by [`Unjoined`].
    pub unjoined: [u64; Unjoined::COUNT],
    /// Entries that are no events without their return, by [`Unjoined`].
    pub untold: [u64; Unjoined::COUNT],
    /// Returns told without their entry.
    pub without_entry: u64,
    /// Entries waiting now.
    pub waiting: u64,
    /// Bytes of their records.
    pub waiting_bytes: u64,
}

/// Byte strings that were no records, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecodable {
    /// Too short for a header.
    pub short: u64,
    /// Of another format version.
    pub version: u64,
    /// Length out of bounds.
    pub length: u64,
    /// Fixed part that does not fit its kind.
    pub head: u64,
    /// Value beyond the end.
    pub value: u64,
}

/// Events that left the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// `process_exec` from exec records.
    pub exec: u64,
    /// `process_exec` of processes that were there at the start.
    pub exec_snapshot: u64,
    /// `process_exec` of processes found again after a loss.
    pub exec_reconstructed: u64,
    /// `process_exit` from exit records.
    pub exit: u64,
    /// `process_exit` of processes whose end was not seen.
    pub exit_reconstructed: u64,
    /// `gap`.
    pub gap: u64,
    /// Events of policies, by [`Family`](saker_api::event::Family).
    pub hooks: [u64; FAMILIES],
}

impl Events {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let execs = self.exec + self.exec_snapshot + self.exec_reconstructed;
        execs + self.exit + self.exit_reconstructed + self.gap + self.hooks.iter().sum::<u64>()
    }
}

/// Losses that were noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records missing in the kernel's sequences.
    pub records: u64,
    /// Records that came after their number had been told missing.
    pub late: u64,
    /// Records that a later stage told it lost.
    pub later_stages: u64,
}

/// The process table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounters {
    /// Entries now.
    pub entries: u64,
    /// Of these, processes that are alive.
    pub alive: u64,
    /// Ended processes given up for a new one while descendants still needed them.
    pub evicted_ended: u64,
    /// Living processes given up for a new one.
    pub evicted_alive: u64,
    /// Records about a process that the table did not know.
    pub unknown_processes: u64,
    /// Processes whose parent the table did not know.
    pub unknown_parents: u64,
    /// Links to a parent that were refused because they would have closed a circle.
    pub circles: u64,
}

/// Long values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCounters {
    /// Parts that reached their record.
    pub joined: u64,
    /// Parts given up at the bound.
    pub evicted: u64,
    /// Parts whose process ended without their exec record, and those of a hook whose record did not come.
    pub orphaned: u64,
    /// Parts waiting now.
    pub waiting: u64,
    /// Bytes waiting now.
    pub waiting_bytes: u64,
}

impl Counters {
    pub(crate) fn undecoded(&mut self, error: DecodeError) {
        let counter = match error {
            DecodeError::Short(_) => &mut self.undecodable.short,
            DecodeError::Version(_) => &mut self.undecodable.version,
            DecodeError::Length { .. } => &mut self.undecodable.length,
            DecodeError::Head { .. } => &mut self.undecodable.head,
            DecodeError::Value(_) => &mut self.undecodable.value,
        };
        *counter += 1;
    }

    pub(crate) fn outcome(&mut self, kind: u8, outcome: Outcome) {
        let kind = usize::from(kind);
        let kind = if kind < KINDS { kind } else { 0 };
        self.received[kind] += 1;
        self.outcomes[kind][outcome as usize] += 1;
    }

    /// Records of one kind with one outcome.
    #[must_use]
    pub const fn count(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.outcomes[kind as usize][outcome as usize]
    }

    /// Byte strings that were no records.
    #[must_use]
    pub const fn undecodable_total(&self) -> u64 {
        let u = &self.undecodable;
        u.short + u.version + u.length + u.head + u.value
    }

    /// What does not add up, in words; `None`: everything does.
    #[must_use]
    pub fn imbalance(&self) -> Option<String> {
        let emitted = |kind| self.count(kind, Outcome::Emitted);
        for (kind, outcomes) in self.outcomes.iter().enumerate() {
            let sum: u64 = outcomes.iter().sum();
            if sum != self.received[kind] {
                let name = kind_name(kind);
                return Some(format!("{name}: {} received, {sum} accounted for", self.received[kind]));
            }
        }
        let chunks = &self.chunks;
        let told = chunks.joined + chunks.evicted + chunks.orphaned + chunks.waiting;
        let calls = &self.calls;
        let unjoined: u64 = calls.unjoined.iter().sum();
        let ended = calls.joined + unjoined + calls.untold.iter().sum::<u64>() + calls.waiting;
        let joined = self.count(Kind::Hook, Outcome::Joined);
        let pairs = [
            ("exec events", self.events.exec, emitted(Kind::Exec)),
            ("exit events", self.events.exit, emitted(Kind::Exit)),
            ("task events", self.events.exec_snapshot + self.events.exec_reconstructed, emitted(Kind::Task)),
            ("hook events", self.events.hooks.iter().sum(), emitted(Kind::Hook) + joined + unjoined),
            ("joined calls", calls.joined, joined),
            ("entered calls", ended, self.count(Kind::Hook, Outcome::Stored)),
            ("stored chunks", told, self.count(Kind::Data, Outcome::Stored)),
        ];
        pairs
            .into_iter()
            .find(|(_, left, right)| left != right)
            .map(|(what, left, right)| format!("{what}: {left} counted, {right} expected"))
    }
}
