//! What happened in one interval.

use std::collections::HashMap;
use std::time::Duration;

use saker_api::saker_v1::{Event, HookCounters, ListPoliciesResponse, Resources};

use crate::acts::{self, Kind};
use crate::status::policy_name;

/// Different processes, files or connections that are told apart in an interval; the rest is counted together.
const APART: usize = 10_000;
/// Longest name that is kept, in bytes.
const NAME: usize = 512;

/// Counts of a process or of all processes of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All events.
    pub events: u64,
    /// Of these, by kind.
    pub execs: u64,
    pub exits: u64,
    pub files: u64,
    pub connections: u64,
    pub calls: u64,
}

impl Counts {
    fn add(&mut self, kind: Kind) {
        self.events += 1;
        *match kind {
            Kind::Exec => &mut self.execs,
            Kind::Exit => &mut self.exits,
            Kind::File => &mut self.files,
            Kind::Connection => &mut self.connections,
            Kind::Call => &mut self.calls,
        } += 1;
    }
}

/// Counts of an interval, in bounded memory.
#[derive(Debug, Default)]
pub struct Tally {
    /// By program, and by PID when that is asked for, which is 0 otherwise.
    pub processes: HashMap<(String, u32), Counts>,
    /// By path.
    pub files: HashMap<String, u64>,
    /// By the other end.
    pub connections: HashMap<String, u64>,
    /// All of it.
    pub all: Counts,
    /// Records and events that were lost, the client's own among them.
    pub lost: u64,
    /// Events that are in no row, as there were too many different ones.
    pub others: u64,
}

impl Tally {
    /// Takes an event.
    pub fn add(&mut self, event: &Event, by_pid: bool) {
        if let Some(gap) = &event.gap {
            self.lost += gap.lost;
            return;
        }
        let Some(response) = &event.event else { return };
        let Some(act) = acts::act(event) else { return };
        self.all.add(act.kind);
        if let Some(process) = acts::subject(response).and_then(|subject| subject.process) {
            let key = (short(&process.binary), if by_pid { process.pid.unwrap_or_default() } else { 0 });
            if self.processes.len() < APART || self.processes.contains_key(&key) {
                self.processes.entry(key).or_default().add(act.kind);
            } else {
                self.others += 1;
            }
        }
        let targets = match act.kind {
            Kind::File => &mut self.files,
            Kind::Connection => &mut self.connections,
            _ => return,
        };
        let name = short(&act.target);
        if targets.len() < APART || targets.contains_key(&name) {
            *targets.entry(name).or_default() += 1;
        } else {
            self.others += 1;
        }
    }
}

fn short(name: &str) -> String {
    name.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= NAME).then_some(c)
        })
        .collect()
}

/// Sums of a policy since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// As in [`HookCounters`].
    pub calls: u64,
    pub matched: u64,
    pub posted: u64,
    /// Records that were lost, and calls that were not looked at.
    pub lost: u64,
    /// Actions carried out and withheld.
    pub acted: u64,
    pub withheld: u64,
    /// Runs of its programs and their time, while BPF statistics were on.
    pub runs: u64,
    pub run_time_ns: u64,
}

impl Sums {
    fn add(&mut self, counters: &HookCounters) {
        self.calls += counters.calls;
        self.matched += counters.matched;
        self.posted += counters.posted;
        self.lost += counters.lost + counters.unpaired + counters.missed;
        self.acted += counters.signalled + counters.overridden;
        self.withheld +=
            counters.monitored_signal + counters.monitored_override + counters.spared + counters.failed;
        self.runs += counters.runs;
        self.run_time_ns += counters.run_time_ns;
    }

    /// What came since earlier sums. A policy that was loaded anew begins at zero.
    pub fn since(self, earlier: Self) -> Self {
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            calls: since(self.calls, earlier.calls),
            matched: since(self.matched, earlier.matched),
            posted: since(self.posted, earlier.posted),
            lost: since(self.lost, earlier.lost),
            acted: since(self.acted, earlier.acted),
            withheld: since(self.withheld, earlier.withheld),
            runs: since(self.runs, earlier.runs),
            run_time_ns: since(self.run_time_ns, earlier.run_time_ns),
        }
    }
}

/// Sums of policies by their ids, which are never used again, and their names.
pub fn sums(list: &ListPoliciesResponse) -> HashMap<u32, (String, Sums)> {
    let mut all = HashMap::new();
    for policy in &list.policies {
        let mut sums = Sums::default();
        policy.hooks.iter().filter_map(|hook| hook.counters.as_ref()).for_each(|counters| sums.add(counters));
        all.insert(policy.id, (policy_name(policy), sums));
    }
    all
}

/// An interval, as it is shown.
#[derive(Debug)]
pub struct Interval {
    /// How long it was.
    pub time: Duration,
    /// What events told.
    pub tally: Tally,
    /// What policies did.
    pub policies: Vec<(String, Sums)>,
    /// What the agent used of one CPU, from 0 to 1 or more; none: not known.
    pub agent_cpu: Option<f64>,
    /// Its resident memory in bytes.
    pub agent_memory: u64,
}

/// What the agent used of a CPU between two looks.
pub fn load(before: Option<&Resources>, now: Option<&Resources>, time: Duration) -> Option<f64> {
    let (before, now) = (before?, now?);
    Some((now.cpu_seconds - before.cpu_seconds).max(0.0) / time.as_secs_f64().max(0.001))
}
