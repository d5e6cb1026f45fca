//! Calls of hooked functions that have been entered and not returned from.
//!
//! An entry waits here for its return, so that both become one event. The table is bounded by number and bytes;
//! at a bound an old entry is given up, and its event says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use saker_api::event::{Argument, HookEvent, Timestamp};
use saker_api::tetragon::kprobe_argument::Arg;
use saker_api::tetragon::{KprobeArgument, KprobeError};

use crate::hash::Map;

/// Calls that wait.
const CALLS_MAX: usize = 16_384;
/// Bytes of their records.
const BYTES_MAX: usize = 16 << 20;

/// Which call: of which hook, and its number among those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    pub policy: u32,
    pub hook: u32,
    pub call: u64,
}

/// Why an entry is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjoined {
    /// Its process has ended, or its thread by an exec.
    ProcessExited,
    /// Too many calls were under way.
    TableFull,
    /// Its policy was removed.
    PolicyRemoved,
    /// Another entry had the same number.
    Superseded,
    /// The records ended.
    StreamEnd,
}

impl Unjoined {
    /// Number of causes.
    pub const COUNT: usize = 5;
    /// All causes.
    pub const ALL: [Self; Self::COUNT] =
        [Self::ProcessExited, Self::TableFull, Self::PolicyRemoved, Self::Superseded, Self::StreamEnd];

    /// Its name in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessExited => "process_exited",
            Self::TableFull => "table_full",
            Self::PolicyRemoved => "policy_removed",
            Self::Superseded => "superseded",
            Self::StreamEnd => "stream_end",
        }
    }
}

/// How the captured values of a hook become arguments.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// How many of the values are arguments; the others are data.
    pub arguments: usize,
    /// Labels of the values, in the order of records.
    pub labels: Vec<String>,
    /// Where each value stands in the policy; empty: in the order of records.
    pub positions: Vec<usize>,
    /// Without its return an entry is no event.
    pub conditional_return: bool,
}

/// What was captured so far.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// By place.
    values: Vec<Option<Argument>>,
    pub result: Option<Argument>,
}

/// An event that is not complete.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub key: CallKey,
    pub pid: u32,
    pub tid: u32,
    /// Of the entry.
    pub time: Timestamp,
    /// Length of the entry's record.
    pub bytes: usize,
    pub event: Box<HookEvent>,
    pub captured: Captured,
    pub shape: Arc<Shape>,
}

/// Calls under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// In the order of their entries.
    waiting: BTreeMap<u64, Box<Waiting>>,
    by_key: Map<CallKey, u64>,
    by_pid: BTreeSet<(u32, u64)>,
    /// Those that may have returned already, in the same order.
    conditional: BTreeSet<u64>,
    bytes: usize,
    next: u64,
}

impl Captured {
    pub fn set(&mut self, index: usize, argument: Argument) {
        if index >= self.values.len() {
            self.values.resize(index + 1, None);
        }
        self.values[index] = Some(argument);
    }
}

impl Waiting {
    /// The event, with its arguments where they belong. One that is missing keeps its place and says why.
    pub fn finish(self) -> Box<HookEvent> {
        let Self { mut event, captured, shape, .. } = self;
        let family = event.hook.family;
        let mut values = captured.values;
        // Of a return alone the values of the entry were never asked for; a mapped file is told by itself.
        if !event.entry_missing && event.loaded.is_none() {
            let all = shape.arguments.max(shape.labels.len()).max(shape.positions.len());
            let all = all.min(saker_abi::generated::SAKER_VALUES_MAX as usize);
            values.resize(values.len().max(all), None);
        }
        let mut placed = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let mut argument = match value {
                Some(argument) => argument,
                None if event.entry_missing => continue,
                None => missing(event.return_missing),
            };
            if let Some(label) = shape.labels.get(index) {
                argument.compatible.label.clone_from(label);
            }
            placed.push((shape.positions.get(index).copied().unwrap_or(index), argument));
        }
        placed.sort_by_key(|(position, _)| *position);
        for (position, argument) in placed {
            if position >= shape.arguments && family.has_data() {
                event.data.push(argument);
            } else {
                event.args.push(argument);
            }
        }
        if family.has_return() {
            event.result = captured.result;
        } else {
            event.args.extend(captured.result);
        }
        event
    }
}

/// In place of a value that did not come.
fn missing(return_missing: &str) -> Argument {
    let message = if return_missing.is_empty() {
        "not captured: the record had no room for it"
    } else {
        "not captured: it is read at the return of the call, which was not told"
    };
    let error = KprobeError { message: message.to_owned() };
    let compatible = KprobeArgument { arg: Some(Arg::ErrorArg(error)), label: String::new() };
    Argument { compatible, ..Argument::default() }
}

impl Calls {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn insert(&mut self, waiting: Waiting) {
        let number = self.next;
        self.next += 1;
        self.bytes += waiting.bytes;
        self.by_key.insert(waiting.key, number);
        self.by_pid.insert((waiting.pid, number));
        if waiting.shape.conditional_return {
            self.conditional.insert(number);
        }
        self.waiting.insert(number, Box::new(waiting));
    }

    /// The entry of a call that has returned.
    pub fn take(&mut self, key: CallKey) -> Option<Box<Waiting>> {
        let number = *self.by_key.get(&key)?;
        self.remove(number)
    }

    /// The entry to give up, when there is more than may wait: the oldest of those that may have returned already
    /// and been held back, else the oldest.
    pub fn beyond_bounds(&mut self) -> Option<Box<Waiting>> {
        if self.waiting.len() <= CALLS_MAX && self.bytes <= BYTES_MAX {
            return None;
        }
        let oldest = self.conditional.first().or_else(|| self.waiting.keys().next());
        self.remove(*oldest?)
    }

    /// The entries of a process, but for those of one thread; the oldest first.
    pub fn take_process(&mut self, pid: u32, but: Option<u32>) -> Vec<Waiting> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let other = |number: &u64| self.waiting.get(number).is_some_and(|waiting| Some(waiting.tid) != but);
        let numbers = self.by_pid.range((pid, 0)..=(pid, u64::MAX)).map(|(_, number)| *number);
        let numbers: Vec<u64> = numbers.filter(other).collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).map(|waiting| *waiting).collect()
    }

    /// The entries of a policy, the oldest first.
    pub fn take_policy(&mut self, policy: u32) -> Vec<Waiting> {
        let of_policy = self.waiting.iter().filter(|(_, waiting)| waiting.key.policy == policy);
        let numbers: Vec<u64> = of_policy.map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).map(|waiting| *waiting).collect()
    }

    /// All entries, the oldest first.
    pub fn take_all(&mut self) -> Vec<Waiting> {
        self.by_key.clear();
        self.by_pid.clear();
        self.conditional.clear();
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_values().map(|waiting| *waiting).collect()
    }

    fn remove(&mut self, number: u64) -> Option<Box<Waiting>> {
        let waiting = self.waiting.remove(&number)?;
        self.by_key.remove(&waiting.key);
        self.by_pid.remove(&(waiting.pid, number));
        self.conditional.remove(&number);
        self.bytes -= waiting.bytes;
        Some(waiting)
    }
}
