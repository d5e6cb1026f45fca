//! Folds equal events of a window into one with a number.
//!
//! Two events are equal when nothing but their times and the reference counts of their processes differs: the same
//! thread of the same process, hook, function, arguments, result, stacks and so on. The first one stands for all. Only
//! events of policies that do nothing but tell are folded: never an exec, exit or gap, nor an event whose policy acted
//! or would have acted, nor one that stands for others already (`repeats`).
//!
//! A window begins with the first event that waits and ends after its time for all that wait. An event that is not
//! folded comes after those of its process that waited, so that the order within a process is kept.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;

use crate::event::{Argument, ArgumentValue, Event, EventKind, HookEvent, HookMore};
use crate::tetragon::{self, KprobeAction, KprobeArgument};

/// Memory that events which wait may hold.
const MAX_BYTES: usize = 32 << 20;
/// Longest window.
const MAX_WINDOW: Duration = Duration::from_secs(3_600);
/// Most events that may be allowed to wait.
const MAX_WAITING: u64 = 1 << 20;
/// Window and events unless others are asked for.
const WINDOW: Duration = Duration::from_secs(15);
const WAITING: usize = 10_000;

/// How equal events are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    window: Duration,
    waiting: usize,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self { window: WINDOW, waiting: WAITING }
    }
}

impl Aggregation {
    /// A window, and how many different events may wait for its end; beyond that, and beyond 32 MiB, they pass
    /// unfolded. Zero stands for the default of 15 s and of 10,000.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(window: Duration, waiting: u64) -> Result<Self, &'static str> {
        if window > MAX_WINDOW {
            return Err("the window may have one hour at most");
        }
        if waiting > MAX_WAITING {
            return Err("1048576 events may wait at most");
        }
        let default = Self::default();
        Ok(Self {
            window: if window.is_zero() { default.window } else { window },
            waiting: if waiting == 0 { default.waiting } else { usize::try_from(waiting).unwrap_or(WAITING) },
        })
    }

    /// As a client asks for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_options(options: &tetragon::AggregationOptions) -> Result<Self, &'static str> {
        let window = options.window_size.unwrap_or_default();
        let window = Duration::try_from(window).map_err(|_| "the window must not be negative")?;
        Self::new(window, options.channel_buffer_size)
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// It is not one to be folded, and nothing waits that must come before it.
    Not,
    /// It waits.
    Kept,
    /// It became part of one that waits.
    Added,
    /// It would wait, but too many do.
    Full,
}

#[derive(Debug)]
pub(super) struct Fold {
    config: Aggregation,
    waiting: HashMap<u64, Waiting>,
    /// Which wait of a process, by its PID.
    of_process: HashMap<u32, Vec<u64>>,
    /// What is to be told, oldest first.
    ripe: VecDeque<(Arc<Event>, u64)>,
    end: Option<Instant>,
    bytes: usize,
    serial: u64,
}

#[derive(Debug)]
struct Waiting {
    event: Arc<Event>,
    count: u64,
    serial: u64,
    bytes: usize,
}

impl Fold {
    pub(super) fn new(config: Aggregation) -> Self {
        Self {
            config,
            waiting: HashMap::new(),
            of_process: HashMap::new(),
            ripe: VecDeque::new(),
            end: None,
            bytes: 0,
            serial: 0,
        }
    }

    /// Events that wait, and those that are about to be told.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.ripe.len()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.end
    }

    pub(super) fn take(&mut self, event: &Arc<Event>, now: Instant) -> Folded {
        let Some(hook) = foldable(event) else { return self.after_its_process(event) };
        let (hash, pid) = (hash(hook), hook.process.process.pid);
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            if foldable(&waiting.event).is_some_and(|other| same(other, hook)) {
                waiting.count += 1;
                return Folded::Added;
            }
            // Another one of the same hash: rare enough to be told by itself.
            return self.after_its_process(event);
        }
        let bytes = size_of::<Event>() + hook.bytes();
        if self.waiting.len() >= self.config.waiting || self.bytes + bytes > MAX_BYTES {
            return Folded::Full;
        }
        self.end.get_or_insert(now + self.config.window);
        self.serial += 1;
        self.bytes += bytes;
        self.of_process.entry(pid).or_default().push(hash);
        let waiting = Waiting { event: Arc::clone(event), count: 1, serial: self.serial, bytes };
        self.waiting.insert(hash, waiting);
        Folded::Kept
    }

    /// Lets an event follow those of its process.
    fn after_its_process(&mut self, event: &Arc<Event>) -> Folded {
        let pid = event.kind.processes().0.map(|view| view.process.pid);
        let Some(before) = pid.and_then(|pid| self.of_process.remove(&pid)) else { return Folded::Not };
        let before = before.iter().filter_map(|hash| self.waiting.remove(hash)).collect();
        self.ripen(before);
        self.ripe.push_back((Arc::clone(event), 1));
        Folded::Kept
    }

    fn ripen(&mut self, mut waiting: Vec<Waiting>) {
        waiting.sort_unstable_by_key(|waiting| waiting.serial);
        self.bytes -= waiting.iter().map(|waiting| waiting.bytes).sum::<usize>();
        self.ripe.extend(waiting.into_iter().map(|waiting| (waiting.event, waiting.count)));
        if self.waiting.is_empty() {
            self.end = None;
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<(Arc<Event>, u64)> {
        if self.ripe.is_empty() && self.end.is_some_and(|end| end <= now) {
            self.finish();
        }
        self.ripe.pop_front()
    }

    /// Ends the window.
    pub(super) fn finish(&mut self) {
        self.of_process.clear();
        let all = self.waiting.drain().map(|(_, waiting)| waiting).collect();
        self.ripen(all);
    }
}

/// The event, if it is one that may stand for others.
fn foldable(event: &Event) -> Option<&HookEvent> {
    const TELLS: [i32; 2] = [KprobeAction::Unknown as i32, KprobeAction::Post as i32];
    let EventKind::Hook(hook) = &event.kind else { return None };
    let only_tells = TELLS.contains(&hook.action)
        && TELLS.contains(&hook.return_action)
        && hook.more.action_withheld.is_empty()
        && hook.more.return_action_withheld.is_empty()
        && hook.more.requests.is_empty();
    (only_tells && hook.repeats == 0).then_some(hook)
}

/// Whether nothing differs but time and reference counts.
fn same(one: &HookEvent, other: &HookEvent) -> bool {
    // Named one by one, so that a new field has to be thought of here.
    let HookEvent {
        process,
        parent,
        caller,
        hook,
        function,
        args,
        result,
        action,
        return_action,
        selector,
        repeats,
        cgroup_id,
        entry_missing,
        socket_owner,
        workload_undecided,
        more,
    } = one;
    let shared = |one: &Arc<_>, other: &Arc<_>| Arc::ptr_eq(one, other);
    let parents = match (parent, &other.parent) {
        (Some(one), Some(other)) => shared(&one.process, &other.process),
        (None, None) => true,
        _ => false,
    };
    // A process has one identity in memory; another object tells other things of it.
    shared(&process.process, &other.process.process)
        && parents
        && *caller == other.caller
        && (Arc::ptr_eq(hook, &other.hook) || *hook == other.hook)
        && *function == other.function
        && *args == other.args
        && *result == other.result
        && (*action, *return_action, *selector, *repeats)
            == (other.action, other.return_action, other.selector, other.repeats)
        && *cgroup_id == other.cgroup_id
        && (*entry_missing, *socket_owner, *workload_undecided)
            == (other.entry_missing, other.socket_owner, other.workload_undecided)
        && same_more(more, &other.more)
}

/// The same of what few events have.
fn same_more(one: &HookMore, other: &HookMore) -> bool {
    let HookMore {
        ancestors,
        data,
        kernel_stack,
        user_stack,
        stack_missing,
        file_hash,
        file_hash_missing,
        loaded,
        return_missing,
        action_withheld,
        return_action_withheld,
        requests,
    } = one;
    ancestors.len() == other.ancestors.len()
        && ancestors
            .iter()
            .zip(&other.ancestors)
            .all(|(one, other)| Arc::ptr_eq(&one.process, &other.process))
        && *data == other.data
        && *kernel_stack == other.kernel_stack
        && *user_stack == other.user_stack
        && *stack_missing == other.stack_missing
        && *file_hash == other.file_hash
        && *file_hash_missing == other.file_hash_missing
        && *loaded == other.loaded
        && *return_missing == other.return_missing
        && *action_withheld == other.action_withheld
        && *return_action_withheld == other.return_action_withheld
        && *requests == other.requests
}

/// A number that equal events have in common.
fn hash(hook: &HookEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    hook.process.process.exec_id.hash(&mut hasher);
    hook.caller.tid.hash(&mut hasher);
    hook.hook.policy.hash(&mut hasher);
    hook.hook.event.hash(&mut hasher);
    hook.function.hash(&mut hasher);
    hook.selector.hash(&mut hasher);
    hook.more.file_hash.hash(&mut hasher);
    if let Some(loaded) = &hook.more.loaded {
        loaded.path.hash(&mut hasher);
    }
    for argument in hook.args.iter().chain(&hook.more.data).chain(&hook.result) {
        hash_argument(argument, &mut hasher);
    }
    hasher.finish()
}

fn hash_argument(argument: &Argument, hasher: &mut DefaultHasher) {
    std::mem::discriminant(&argument.value).hash(hasher);
    match &argument.value {
        ArgumentValue::None => {}
        ArgumentValue::Int(value) => value.hash(hasher),
        ArgumentValue::Uint(value) => value.hash(hasher),
        ArgumentValue::Long(value) => value.hash(hasher),
        ArgumentValue::Size(value) => value.hash(hasher),
        ArgumentValue::Text(text, _) => text.hash(hasher),
        ArgumentValue::Object(object) => (&object.path, object.inode, object.mode).hash(hasher),
        ArgumentValue::Socket(socket) => {
            (socket.cookie, socket.source_port, socket.destination_port).hash(hasher);
        }
        ArgumentValue::Other(arg) => {
            let message = KprobeArgument { arg: Some((**arg).clone()), ..KprobeArgument::default() };
            message.encode_to_vec().hash(hasher);
        }
    }
}
