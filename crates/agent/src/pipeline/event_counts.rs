//! Counts events for metrics: by type, policy and system call, and by the process they are of.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use saker_api::event::{ArgumentValue, Event, EventKind, Family, HookEvent, HookInfo, Process};
use saker_api::tetragon::kprobe_argument::Arg;
use saker_api::tetragon::{EventType, Pod};

/// Kinds of events that are counted before their texts are looked at.
const RECENT_MAX: usize = 1_024;
/// Series that stand for what there was no room for, at most, beyond the bound of a metric.
const OTHER_MAX: usize = 1_000;
/// Time that the series of a pod stay after the pod is gone: a scraper has seen them by then.
const GONE: Duration = Duration::from_secs(60);
/// Takes the place of what there is no room for.
const OTHER: &str = "other";

/// Which labels of a process metrics have; the others are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one label")]
pub struct ProcessLabels {
    /// Path of the program.
    pub binary: bool,
    /// Namespace of the pod.
    pub namespace: bool,
    /// Name of the pod.
    pub pod: bool,
    /// Workload of the pod.
    pub workload: bool,
}

impl ProcessLabels {
    fn of_pod(self) -> bool {
        self.namespace || self.pod || self.workload
    }
}

/// Values of the labels of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    pub binary: Box<str>,
    pub namespace: Box<str>,
    pub pod: Box<str>,
    pub workload: Box<str>,
}

impl Labels {
    fn of(who: &Who, shown: ProcessLabels) -> Self {
        let text = |show: bool, text: &str| if show { text.into() } else { Box::default() };
        let pod = who.pod.as_deref();
        Self {
            binary: who.binary.as_deref().map(Into::into).unwrap_or_default(),
            namespace: pod.map(|pod| text(shown.namespace, &pod.namespace)).unwrap_or_default(),
            pod: pod.map(|pod| text(shown.pod, &pod.name)).unwrap_or_default(),
            workload: pod.map(|pod| text(shown.workload, &pod.workload)).unwrap_or_default(),
        }
    }

    fn other() -> Self {
        let other = || Box::from(OTHER);
        Self { binary: other(), namespace: other(), pod: other(), workload: other() }
    }
}

/// Numbers by what they count and for whom, within a bound.
#[derive(Clone, Debug, Default)]
pub struct Series<K> {
    counts: BTreeMap<(K, Labels), u64>,
    bound: usize,
}

impl<K: Ord + Clone + Default> Series<K> {
    fn new(bound: usize) -> Self {
        Self { counts: BTreeMap::new(), bound }
    }

    /// What there is no room for is counted for others, and what not even that is there for, as the default of what is
    /// counted.
    fn add(&mut self, key: K, labels: Labels, events: u64) {
        let mut at = (key, labels);
        if self.counts.len() >= self.bound && !self.counts.contains_key(&at) {
            at.1 = Labels::other();
            if self.counts.len() >= self.bound + OTHER_MAX && !self.counts.contains_key(&at) {
                at.0 = K::default();
            }
        }
        *self.counts.entry(at).or_default() += events;
    }

    /// All of them, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Labels, u64)> {
        self.counts.iter().map(|((key, labels), count)| (key, labels, *count))
    }
}

/// A policy and what was called; `other` stands for what there is no room for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyHook {
    pub policy: Box<str>,
    pub hook: Box<str>,
}

impl Default for PolicyHook {
    fn default() -> Self {
        Self { policy: OTHER.into(), hook: OTHER.into() }
    }
}

/// A system call, as a number and whether it is one of 32-bit programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall {
    /// Its number.
    pub number: u32,
    /// It is a call of a 32-bit program.
    pub narrow: bool,
}

/// What was counted since the agent started.
#[derive(Clone, Debug, Default)]
pub struct EventTotals {
    /// Events by the number of their type; 0: there was no room for the type.
    pub types: Series<i32>,
    /// Events of policies.
    pub policies: Series<PolicyHook>,
    /// System calls that policies at `raw_syscalls` told.
    pub syscalls: Series<Syscall>,
    /// Executions by the names of their flags.
    pub flags: BTreeMap<Box<str>, u64>,
    gone: BTreeMap<(Box<str>, Box<str>), Instant>,
}

impl EventTotals {
    /// Begins with nothing; `bound` is that of the series of each metric.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            types: Series::new(bound),
            policies: Series::new(bound),
            syscalls: Series::new(bound),
            ..Self::default()
        }
    }

    /// Drops the series of pods that have been gone for a minute; `is_there` tells of a namespace and a name.
    pub fn drop_pods(&mut self, now: Instant, is_there: impl Fn(&str, &str) -> bool) {
        let mut gone = std::mem::take(&mut self.gone);
        let mut left = BTreeMap::new();
        let mut stays = |labels: &Labels| {
            if labels.pod.is_empty() || *labels.pod == *OTHER || is_there(&labels.namespace, &labels.pod) {
                return true;
            }
            let name = (labels.namespace.clone(), labels.pod.clone());
            let since = *gone.entry(name.clone()).or_insert(now);
            left.insert(name, since);
            now.saturating_duration_since(since) < GONE
        };
        self.types.counts.retain(|(_, labels), _| stays(labels));
        self.policies.counts.retain(|(_, labels), _| stays(labels));
        self.syscalls.counts.retain(|(_, labels), _| stays(labels));
        left.retain(|_, since| now.saturating_duration_since(*since) < GONE);
        self.gone = left;
    }
}

/// A hash of addresses, which nobody outside chooses.
#[derive(Default)]
struct Addresses(u64);

impl Hasher for Addresses {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize((*byte).into()));
    }

    fn write_usize(&mut self, address: usize) {
        let product = u128::from(self.0.rotate_left(5) ^ address as u64) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// Parts of events are shared, so that most need only their addresses compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    binary: usize,
    pod: usize,
    /// Type of the event or texts of its hook.
    what: usize,
    /// Its flags, function, or system call.
    which: usize,
}

/// Whom an event is of. While it is held, nothing else has the addresses of its parts.
#[derive(Debug)]
struct Who {
    binary: Option<Arc<str>>,
    pod: Option<Arc<Pod>>,
}

#[derive(Debug)]
enum What {
    Exec(Arc<str>),
    Exit,
    /// The function is held for its address.
    Hook {
        hook: Arc<HookInfo>,
        _function: Arc<str>,
        name: String,
    },
    Syscall(Syscall),
}

#[derive(Debug)]
struct Count {
    who: Who,
    what: What,
    events: u64,
}

/// Counts since the last time they were added to the totals.
#[derive(Debug, Default)]
pub struct EventCounts {
    recent: HashMap<Key, Count, BuildHasherDefault<Addresses>>,
    /// What was counted last, which is among `recent`, and events of it that are not counted there yet.
    last: Option<(Key, u64)>,
    shown: ProcessLabels,
}

const EXEC: usize = 1;
const EXIT: usize = 2;
const SYSCALL: usize = 3;

impl EventCounts {
    /// Begins with nothing, for metrics that have these labels.
    #[must_use]
    pub fn new(shown: ProcessLabels) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Counts events; `true`: it is time to add them to the totals.
    pub(crate) fn count(&mut self, events: &[Arc<Event>]) -> bool {
        for event in events {
            match &event.kind {
                EventKind::Exec(exec) => {
                    let process = &exec.process.process;
                    let flags = &process.flags;
                    let which = flags.as_ptr().addr();
                    self.add(process, EXEC, which, || What::Exec(Arc::clone(flags)));
                }
                EventKind::Exit(exit) => self.add(&exit.process.process, EXIT, 0, || What::Exit),
                EventKind::Hook(hook) => self.of_hook(hook),
                _ => {}
            }
        }
        self.recent.len() > RECENT_MAX
    }

    fn of_hook(&mut self, event: &HookEvent) {
        let process = &event.process.process;
        let which = event.function.as_ptr().addr();
        self.add(process, Arc::as_ptr(&event.hook).addr(), which, || What::Hook {
            hook: Arc::clone(&event.hook),
            _function: Arc::clone(&event.function),
            name: event.hook_name(),
        });
        if let Some(call) = syscall_of(event) {
            let which = (call.number as usize) << 1 | usize::from(call.narrow);
            self.add(process, SYSCALL, which, || What::Syscall(call));
        }
    }

    fn add(&mut self, process: &Process, what: usize, which: usize, new: impl FnOnce() -> What) {
        let binary = self.shown.binary.then_some(&process.binary);
        let pod = process.pod.as_ref().filter(|_| self.shown.of_pod());
        let key = Key {
            binary: binary.map_or(0, |binary| binary.as_ptr().addr()),
            pod: pod.map_or(0, |pod| Arc::as_ptr(pod).addr()),
            what,
            which,
        };
        // Events come many of a kind.
        if let Some((last, events)) = &mut self.last
            && *last == key
        {
            *events += 1;
            return;
        }
        self.settle();
        self.recent.entry(key).or_insert_with(|| Count {
            who: Who { binary: binary.map(Arc::clone), pod: pod.map(Arc::clone) },
            what: new(),
            events: 0,
        });
        self.last = Some((key, 1));
    }

    /// Counts what was counted last where it belongs.
    fn settle(&mut self) {
        if let Some((key, events)) = self.last.take()
            && let Some(count) = self.recent.get_mut(&key)
        {
            count.events += events;
        }
    }

    /// Adds what was counted to the totals.
    pub(crate) fn add_to(&mut self, totals: &mut EventTotals) {
        self.settle();
        for (_, Count { who, what, events }) in self.recent.drain() {
            let labels = Labels::of(&who, self.shown);
            match what {
                What::Exec(flags) => {
                    totals.types.add(EventType::ProcessExec as i32, labels, events);
                    add_flags(&mut totals.flags, &flags, events);
                }
                What::Exit => totals.types.add(EventType::ProcessExit as i32, labels, events),
                What::Hook { hook, name, .. } => {
                    totals.types.add(hook.family.event_type() as i32, labels.clone(), events);
                    let key = PolicyHook { policy: hook.policy.as_str().into(), hook: name.into() };
                    totals.policies.add(key, labels, events);
                }
                What::Syscall(call) => totals.syscalls.add(call, labels, events),
            }
        }
    }
}

fn add_flags(totals: &mut BTreeMap<Box<str>, u64>, flags: &str, events: u64) {
    for flag in flags.split_ascii_whitespace() {
        // They are a closed set.
        if let Some(count) = totals.get_mut(flag) {
            *count += events;
        } else {
            totals.insert(flag.into(), events);
        }
    }
}

/// The system call that an event of `raw_syscalls` tells.
fn syscall_of(event: &HookEvent) -> Option<Syscall> {
    if event.hook.family != Family::Tracepoint || event.hook.subsystem != "raw_syscalls" {
        return None;
    }
    let id = event.args.iter().find_map(|argument| match &argument.value {
        ArgumentValue::Other(other) => match &**other {
            Arg::SyscallId(id) => Some(id),
            _ => None,
        },
        _ => None,
    })?;
    Some(Syscall { number: id.id, narrow: matches!(id.abi.as_str(), "i386" | "arm32") })
}

#[cfg(test)]
mod tests;
