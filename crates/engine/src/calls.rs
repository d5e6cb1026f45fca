//! Calls of hooked functions that have been entered and not returned from.
//!
//! An entry waits for its return, so that both become one event ([`Calls`]).

use std::sync::Arc;

use saker_api::event::{Argument, ArgumentValue, Arguments, Event, EventKind, HookEvent, Node, Timestamp};
use saker_api::tetragon::KprobeError;
use saker_api::tetragon::kprobe_argument::Arg;
use saker_policy::plan::HookText;

use crate::spares::Spares;

mod table;

pub(crate) use table::Calls;

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
    /// How many values there are, as far as the policy says.
    pub values: usize,
    /// Labels of the values, in the order of records; `None`: it has none.
    pub labels: Vec<Option<Arc<str>>>,
    /// One of them has a label.
    pub labelled: bool,
    /// Where each value stands in the policy; empty: in the order of records.
    pub positions: Vec<usize>,
    /// Without its return an entry is no event.
    pub conditional_return: bool,
    /// The agent is asked to make requests of the network for some of its calls.
    pub requests: bool,
}

/// An event of a hook that is not complete. It lies where it will be told from, so that it is not moved there.
#[derive(Debug)]
pub(crate) struct Untold(Arc<Event>);

impl Untold {
    #[inline]
    pub fn new(time: Timestamp, node: &Arc<Node>, hook: HookEvent, spares: &mut Spares) -> Self {
        Self(spares.event(time, node, EventKind::Hook(hook)))
    }

    /// What is known of it so far. `None` would be said of an event that others have, and none has it yet.
    pub fn hook(&mut self) -> Option<&mut HookEvent> {
        match Arc::get_mut(&mut self.0).map(|event| &mut event.kind) {
            Some(EventKind::Hook(hook)) => Some(hook),
            _ => None,
        }
    }

    /// The event, to be told.
    pub fn into_event(self) -> Arc<Event> {
        self.0
    }
}

/// A call of which more will come.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub key: CallKey,
    pub pid: u32,
    pub tid: u32,
    /// Length of the entry's record.
    pub bytes: usize,
    /// What it waits for is the hash of its file, not a return.
    pub hash: bool,
    /// With what was captured so far, in the order of the record; what did not come has no value.
    pub event: Untold,
    pub shape: Arc<Shape>,
}

/// Puts a captured value in its place.
#[inline]
pub(crate) fn set(values: &mut Arguments, index: usize, argument: Argument) {
    // Mostly they come one after the other.
    if index == values.len() {
        values.push(argument);
        return;
    }
    if index > values.len() {
        values.resize_with(index + 1, Argument::default);
    }
    values[index] = argument;
}

impl Shape {
    /// The shape of a hook's values.
    pub fn of(text: &HookText) -> Self {
        let label = |label: &String| (!label.is_empty()).then(|| label.as_str().into());
        let mut labels: Vec<_> = text.labels.iter().map(label).collect();
        let mut positions = text.positions.clone();
        // Mostly they stand in the order of records, and then need not be looked at.
        if positions.iter().copied().eq(0..positions.len()) {
            labels.resize(labels.len().max(positions.len()), None);
            positions = Vec::new();
        }
        let all = text.arguments.max(labels.len()).max(positions.len());
        Self {
            arguments: text.arguments,
            values: all.min(saker_abi::generated::SAKER_VALUES_MAX as usize),
            labelled: labels.iter().any(Option::is_some),
            labels,
            positions,
            conditional_return: text.conditional_return,
            requests: !text.requests.is_empty(),
        }
    }
}

/// Completes an event of which nothing more will come: its arguments are put where they belong. One that is missing keeps
/// its place and says why.
pub(crate) fn finish(event: &mut HookEvent, shape: &Shape) {
    let family = event.hook.family;
    // Of a return alone the values of the entry were never asked for; a mapped file is told by itself.
    if event.args.len() < shape.values && !event.entry_missing && event.more.loaded.is_none() {
        event.args.resize_with(shape.values, Argument::default);
    }
    if shape.labelled {
        for (value, label) in event.args.iter_mut().zip(&shape.labels) {
            value.label.clone_from(label);
        }
    }
    if !event.entry_missing {
        for value in event.args.iter_mut().filter(|value| did_not_come(value)) {
            *value = missing(event.more.return_missing, value.label.take());
        }
    }
    if shape.positions.is_empty() && !event.entry_missing {
        if event.args.len() > shape.arguments && family.has_data() {
            event.more.data = event.args.drain(shape.arguments..).collect();
        }
    } else {
        place(event, shape);
    }
    if !family.has_return()
        && let Some(result) = event.result.take()
    {
        event.args.push(result);
    }
}

/// Puts values where the policy has them, which is not the order of the record.
fn place(event: &mut HookEvent, shape: &Shape) {
    let values = std::mem::take(&mut event.args);
    let came = values.into_iter().enumerate().filter(|(_, value)| !did_not_come(value));
    let position = |index: usize| shape.positions.get(index).copied().unwrap_or(index);
    let mut placed: Vec<_> = came.map(|(index, argument)| (position(index), argument)).collect();
    placed.sort_by_key(|(position, _)| *position);
    for (position, argument) in placed {
        if position >= shape.arguments && event.hook.family.has_data() {
            event.more.data.push(argument);
        } else {
            event.args.push(argument);
        }
    }
}

/// Whether a place has no value.
fn did_not_come(argument: &Argument) -> bool {
    matches!(argument.value, ArgumentValue::None)
}

/// In place of a value that did not come.
fn missing(return_missing: &str, label: Option<Arc<str>>) -> Argument {
    let message = if return_missing.is_empty() {
        "not captured: the record had no room for it"
    } else {
        "not captured: it is read at the return of the call, which was not told"
    };
    let error = KprobeError { message: message.to_owned() };
    Argument { label, ..Argument::from(Arg::ErrorArg(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_kept_only_where_they_say_something() {
        let text = |positions: Vec<usize>| HookText {
            arguments: 2,
            labels: vec!["a".into(), String::new()],
            positions,
            ..HookText::default()
        };
        let plain = Shape::of(&text(vec![0, 1, 2]));
        assert!(plain.positions.is_empty());
        assert_eq!((plain.values, plain.labels), (3, vec![Some("a".into()), None, None]));
        let mixed = Shape::of(&text(vec![1, 0, 2]));
        assert_eq!((mixed.values, mixed.positions, mixed.labels.len()), (3, vec![1, 0, 2], 2));
        assert_eq!(Shape::of(&text(Vec::new())).values, 2);
    }
}
