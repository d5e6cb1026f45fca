//! Events that wait until it is known whom they are of.
//!
//! A container's first processes may run before the runtime tells whose it is, and the kernel takes their calls for
//! those that a policy is for. Such an event waits here for a while. What else its process does waits behind it, so that
//! a process's events stay in order; those of other processes go by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use saker_api::event::{Event, EventKind};
use saker_engine::hook::PolicyText;
use saker_policy::plan::WorkloadTest;

use crate::workloads::Workloads;

/// Time between two looks at what waits.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// Who knows what containers are.
pub trait Containers: Send {
    /// Whether processes in this control group fulfil the filter; `None`: not known yet.
    fn fulfils(&self, group: u64, test: &WorkloadTest) -> Option<bool>;
}

impl Containers for Arc<Workloads> {
    fn fulfils(&self, group: u64, test: &WorkloadTest) -> Option<bool> {
        Workloads::fulfils(self, group, test)
    }
}

/// How much waits at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldBounds {
    /// How long an event waits; zero: it does not.
    pub patience: Duration,
    /// Events, with those behind them.
    pub events: usize,
}

/// What became of events of which it was not known whom they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldCounts {
    /// Of a workload that the policy is for: told as any other.
    pub meant: u64,
    /// Of another: not told.
    pub dropped: u64,
    /// Told with the mark after the time.
    pub late: u64,
    /// Told with the mark, for there was no room.
    pub no_room: u64,
    /// Events that had to wait, those behind them included.
    pub entered: u64,
    /// Of these, those that wait now.
    pub waiting: u64,
    /// Looks at an event that did not end its wait.
    pub retries: u64,
}

/// An event that waits.
struct Held {
    event: Arc<Event>,
    /// For a decision, or only for what is before it.
    question: Option<Question>,
}

struct Question {
    test: Arc<WorkloadTest>,
    group: u64,
    until: Instant,
}

/// What waits, by process.
pub struct Holding {
    containers: Option<Box<dyn Containers>>,
    bounds: HoldBounds,
    /// The filters of policies that are for some workloads as a whole, by the numbers of the policies.
    tests: BTreeMap<u32, Arc<WorkloadTest>>,
    waiting: BTreeMap<u32, VecDeque<Held>>,
    held: usize,
    looked: Option<Instant>,
    counts: HeldCounts,
}

impl Holding {
    /// Without somebody who knows containers nothing waits.
    #[must_use]
    pub fn new(containers: Option<Box<dyn Containers>>, bounds: HoldBounds) -> Self {
        Self {
            containers: containers.filter(|_| !bounds.patience.is_zero()),
            bounds,
            tests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            held: 0,
            looked: None,
            counts: HeldCounts::default(),
        }
    }

    /// What became of events so far.
    pub(super) fn counts(&self) -> HeldCounts {
        HeldCounts { waiting: self.held as u64, ..self.counts }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what is to be known of a policy before its events come.
    pub(super) fn policy(&mut self, policy: &PolicyText) {
        if let Some(test) = &policy.workload {
            self.tests.insert(policy.id, Arc::new(test.clone()));
        }
    }

    /// A policy has no hooks any more. Calls whose return is waited for are told with the mark.
    pub(super) fn removed(&mut self, policy: u32) {
        self.tests.remove(&policy);
    }

    /// Takes out of new events what has to wait, and puts before them what waited and need no longer.
    pub(super) fn pass(&mut self, events: &mut Vec<Arc<Event>>, now: Instant) {
        if self.is_empty() && self.tests.is_empty() {
            return;
        }
        let mut out = Vec::new();
        if !self.is_empty() && self.looked.is_none_or(|at| now.duration_since(at) >= LOOK) {
            self.looked = Some(now);
            self.look(now, &mut out);
        }
        if self.is_empty() && out.is_empty() && events.iter().all(|event| self.question(event, now).is_none())
        {
            return;
        }
        for event in events.drain(..) {
            self.take(event, now, &mut out);
        }
        *events = out;
    }

    /// All that waits, as it is.
    pub(super) fn finish(&mut self, events: &mut Vec<Arc<Event>>) {
        let mut out = Vec::new();
        while let Some((_, queue)) = self.waiting.pop_first() {
            for held in queue {
                self.counts.late += u64::from(held.question.is_some());
                out.push(held.event);
            }
        }
        self.held = 0;
        out.append(events);
        *events = out;
    }

    /// What is to be found out of an event; `None`: it is known, or nobody will know.
    fn question(&self, event: &Event, now: Instant) -> Option<Question> {
        let EventKind::Hook(hook) = &event.kind else { return None };
        // The group of a socket's owner is not the one that the kernel looked at.
        if !hook.workload_undecided || hook.socket_owner || self.containers.is_none() {
            return None;
        }
        let test = self.tests.get(&hook.hook.policy_number)?;
        Some(Question { test: Arc::clone(test), group: hook.cgroup_id, until: now + self.bounds.patience })
    }

    fn answer(&self, question: &Question) -> Option<bool> {
        self.containers.as_ref()?.fulfils(question.group, &question.test)
    }

    fn take(&mut self, event: Arc<Event>, now: Instant, out: &mut Vec<Arc<Event>>) {
        let Some(pid) = process(&event) else {
            out.push(event);
            return;
        };
        let question = self.question(&event, now);
        let behind = self.waiting.contains_key(&pid);
        if !behind {
            match question.as_ref().map(|question| self.answer(question)) {
                None => {
                    out.push(event);
                    return;
                }
                Some(Some(meant)) => {
                    self.decided(event, meant, out);
                    return;
                }
                Some(None) => {}
            }
        }
        if self.held >= self.bounds.events {
            // What its process has here goes first, so that the order stays.
            self.let_go(pid, out);
            self.counts.no_room += u64::from(question.is_some());
            out.push(event);
            return;
        }
        self.held += 1;
        self.counts.entered += 1;
        self.waiting.entry(pid).or_default().push_back(Held { event, question });
    }

    /// The events of a process wait no more.
    fn let_go(&mut self, pid: u32, out: &mut Vec<Arc<Event>>) {
        for held in self.waiting.remove(&pid).into_iter().flatten() {
            self.held -= 1;
            self.counts.no_room += u64::from(held.question.is_some());
            out.push(held.event);
        }
    }

    /// Lets go what is known by now, or has waited long enough.
    fn look(&mut self, now: Instant, out: &mut Vec<Arc<Event>>) {
        for (pid, mut queue) in std::mem::take(&mut self.waiting) {
            while let Some(held) = queue.pop_front() {
                let answer =
                    held.question.as_ref().map(|question| (self.answer(question), question.until <= now));
                match answer {
                    None => out.push(held.event),
                    Some((Some(meant), _)) => self.decided(held.event, meant, out),
                    Some((None, true)) => {
                        self.counts.late += 1;
                        out.push(held.event);
                    }
                    Some((None, false)) => {
                        self.counts.retries += 1;
                        queue.push_front(held);
                        break;
                    }
                }
                self.held -= 1;
            }
            if !queue.is_empty() {
                self.waiting.insert(pid, queue);
            }
        }
    }

    fn decided(&mut self, mut event: Arc<Event>, meant: bool, out: &mut Vec<Arc<Event>>) {
        if !meant {
            self.counts.dropped += 1;
            return;
        }
        self.counts.meant += 1;
        // Nobody else has it yet.
        if let Some(Event { kind: EventKind::Hook(hook), .. }) = Arc::get_mut(&mut event) {
            hook.workload_undecided = false;
        }
        out.push(event);
    }
}

/// The process that an event is of.
fn process(event: &Event) -> Option<u32> {
    let view = match &event.kind {
        EventKind::Exec(event) => &event.process,
        EventKind::Exit(event) => &event.process,
        EventKind::Hook(event) => &event.process,
        _ => return None,
    };
    Some(view.process.pid)
}

#[cfg(test)]
mod tests;
