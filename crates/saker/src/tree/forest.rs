//! Events gathered by process. What a process executed one after the other stays apart here ([`Image`]), as events tell
//! it; [`super::picture`] joins that.

use std::collections::{BTreeMap, HashMap};

use saker_api::saker_v1::Event;
use saker_api::tetragon::get_events_response::Event as Inner;
use saker_api::tetragon::{GetEventsResponse, Process};

use crate::acts::{self, Act, Kind, nanoseconds};

/// Memory of an image beside its texts, in bytes, estimated from the sizes of what is kept; likewise of an act.
const IMAGE_BYTES: usize = 512;
const ACT_BYTES: usize = 256;
/// Acts of a process that are compared with a new one, to tell like ones once.
const COMPARED: usize = 32;

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all processes and acts, about. What comes when they are used up is only counted.
    pub bytes: usize,
    /// Different acts of one process; more are only counted.
    pub acts: usize,
}

/// A process between two execs.
#[derive(Debug, Default)]
pub struct Image {
    /// Its identity; of a process that is known by its PID only, made of that.
    pub exec_id: Box<str>,
    /// That of the process that created it; empty: not known.
    pub parent: Box<str>,
    /// That of the same process before this exec; empty: not known, or there was none.
    pub previous: Box<str>,
    /// Its PID.
    pub pid: u32,
    /// Its user; none: not known.
    pub uid: Option<u32>,
    /// The program.
    pub binary: Box<str>,
    /// Its arguments in one line.
    pub arguments: Box<str>,
    /// NAMESPACE/NAME of its pod, else the begin of its container's id.
    pub place: Box<str>,
    /// When the program began, in nanoseconds since 1970; 0: not known.
    pub start: u64,
    /// Its exec is among the events.
    pub executed: bool,
    /// It was there before the agent.
    pub earlier: bool,
    /// Its end.
    pub exit: Option<Exit>,
    /// What it did, in the order of the events.
    pub acts: Vec<Done>,
    /// What it did beyond the bound.
    pub more: BTreeMap<Kind, u64>,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// When, in nanoseconds since 1970; 0: not known.
    pub time: u64,
    /// The signal that ended it; empty: none.
    pub signal: String,
    /// Its status.
    pub status: u32,
    /// The end was only concluded: signal and status are not known.
    pub unseen: bool,
}

/// An act and how often it was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// When first and last, in nanoseconds since 1970.
    pub first: u64,
    pub last: u64,
    /// How often.
    pub count: u64,
    /// What.
    pub act: Act,
}

/// What was counted, whether kept or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events about processes.
    pub events: u64,
    /// The same by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Events of each policy.
    pub policies: BTreeMap<String, u64>,
    /// Actions of policies that were carried out, by action.
    pub acted: BTreeMap<String, u64>,
    /// Those that were not, by the reason.
    pub withheld: BTreeMap<String, u64>,
    /// Ends of processes by a signal, and with a status that is not 0.
    pub killed: u64,
    pub failed: u64,
    /// Events that told of a loss, and the records that were lost.
    pub gaps: u64,
    pub lost: u64,
    /// Events there was no room for: of processes that are not shown, or acts that are not.
    pub unkept: u64,
    /// Processes there was no room for, at least one each of their events.
    pub unkept_processes: u64,
}

/// Events by process.
#[derive(Debug)]
pub struct Forest {
    bounds: Bounds,
    bytes: usize,
    pub(super) images: Vec<Image>,
    pub(super) by_id: HashMap<Box<str>, usize>,
    /// The newest image of each PID of each node that has not ended, to find what an exec came from.
    newest: HashMap<(Box<str>, u32), usize>,
    /// What was counted.
    pub counts: Counts,
    /// Whether events came from several machines.
    pub nodes: std::collections::BTreeSet<Box<str>>,
}

/// Names of nodes that are told apart.
const NODES: usize = 1000;

impl Forest {
    /// One without events.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            images: Vec::new(),
            by_id: HashMap::new(),
            newest: HashMap::new(),
            counts: Counts::default(),
            nodes: std::collections::BTreeSet::new(),
        }
    }

    /// Takes an event; in whatever order they come.
    pub fn add(&mut self, event: &Event) {
        if let Some(gap) = &event.gap {
            self.counts.gaps += 1;
            self.counts.lost += gap.lost;
            return;
        }
        let Some(response) = &event.event else { return };
        let Some(subject) = acts::subject(response) else { return };
        let Some(act) = acts::act(event) else { return };
        self.counts.events += 1;
        self.count(&act);
        if self.nodes.len() < NODES && !self.nodes.contains(response.node_name.as_str()) {
            self.nodes.insert(response.node_name.as_str().into());
        }
        // From the top, so that each finds its creator there.
        for process in subject.ancestors.iter().rev().chain(subject.parent) {
            self.enter(process);
        }
        let Some(index) = subject.process.and_then(|process| self.enter(process)) else {
            self.counts.unkept += 1;
            self.counts.unkept_processes += u64::from(matches!(act.kind, Kind::Exec));
            return;
        };
        let time = nanoseconds(response.time.as_ref());
        match response.event.as_ref() {
            Some(Inner::ProcessExec(exec)) => self.executed(index, event, response, exec.process.as_ref()),
            Some(Inner::ProcessExit(exit)) => {
                let unseen = event.exit.as_ref().is_some_and(|exit| exit.reconstructed);
                self.counts.killed += u64::from(!exit.signal.is_empty());
                self.counts.failed += u64::from(exit.signal.is_empty() && exit.status != 0);
                let at = nanoseconds(exit.time.as_ref().or(response.time.as_ref()));
                self.images[index].exit =
                    Some(Exit { time: at, signal: exit.signal.clone(), status: exit.status, unseen });
                let pid = self.images[index].pid;
                self.newest.remove(&(response.node_name.as_str().into(), pid));
            }
            _ => self.done(index, time, act),
        }
    }

    fn count(&mut self, act: &Act) {
        *self.counts.kinds.entry(act.kind).or_default() += 1;
        let add = |counts: &mut BTreeMap<String, u64>, name: &str| {
            // Names come from the events.
            let name = if counts.len() < 1000 || counts.contains_key(name) { name } else { "others" };
            *counts.entry(name.to_owned()).or_default() += 1;
        };
        if !act.policy.is_empty() {
            add(&mut self.counts.policies, &act.policy);
        }
        if !act.action.is_empty() {
            let (counts, name) = match act.withheld.as_str() {
                "" => (&mut self.counts.acted, &act.action),
                reason => (&mut self.counts.withheld, &reason.to_owned()),
            };
            add(counts, name);
        }
    }

    /// Where a process is kept; `None`: there is no room for it.
    fn enter(&mut self, process: &Process) -> Option<usize> {
        let id = identity(process);
        if let Some(&index) = self.by_id.get(id.as_str()) {
            let image = &mut self.images[index];
            if image.binary.is_empty() {
                image.binary = process.binary.as_str().into();
                image.arguments = process.arguments.as_str().into();
            }
            if image.parent.is_empty() {
                image.parent = process.parent_exec_id.as_str().into();
            }
            return Some(index);
        }
        let place = process.pod.as_ref().map_or_else(
            || process.docker.chars().take(12).collect(),
            |pod| format!("{}/{}", pod.namespace, pod.name),
        );
        let texts = 2 * id.len() + process.parent_exec_id.len() + process.binary.len();
        self.room(IMAGE_BYTES + texts + process.arguments.len() + place.len())?;
        let index = self.images.len();
        self.images.push(Image {
            exec_id: id.as_str().into(),
            parent: process.parent_exec_id.as_str().into(),
            pid: process.pid.unwrap_or_default(),
            uid: process.uid,
            binary: process.binary.as_str().into(),
            arguments: process.arguments.as_str().into(),
            place: place.into(),
            start: nanoseconds(process.start_time.as_ref()),
            earlier: has(process, "procFS"),
            ..Image::default()
        });
        self.by_id.insert(id.into(), index);
        Some(index)
    }

    fn executed(
        &mut self,
        index: usize,
        event: &Event,
        response: &GetEventsResponse,
        process: Option<&Process>,
    ) {
        let Some(process) = process else { return };
        let key = (Box::from(response.node_name.as_str()), self.images[index].pid);
        let told = event.process.as_ref().map_or("", |extra| extra.previous_exec_id.as_str());
        let before = self.newest.get(&key).copied().filter(|&before| before != index);
        self.images[index].executed = true;
        if !told.is_empty() {
            self.images[index].previous = told.into();
        } else if let Some(before) = before
            && !has(process, "clone")
            && !has(process, "procFS")
        {
            // Tetragon does not tell of it, but a process that executes without having been created has one.
            self.images[index].previous = self.images[before].exec_id.clone();
        }
        self.newest.insert(key, index);
    }

    fn done(&mut self, index: usize, time: u64, act: Act) {
        let acts = &mut self.images[index].acts;
        if let Some(same) = acts.iter_mut().rev().take(COMPARED).find(|done| done.act == act) {
            same.count += 1;
            (same.first, same.last) = (same.first.min(time), same.last.max(time));
            return;
        }
        let bytes = ACT_BYTES + act.text.len() + act.target.len() + act.policy.len();
        if acts.len() >= self.bounds.acts || self.room(bytes).is_none() {
            *self.images[index].more.entry(act.kind).or_default() += 1;
            self.counts.unkept += 1;
            return;
        }
        self.images[index].acts.push(Done { first: time, last: time, count: 1, act });
    }

    fn room(&mut self, bytes: usize) -> Option<()> {
        let used = self.bytes.saturating_add(bytes);
        (used <= self.bounds.bytes).then(|| self.bytes = used)
    }
}

/// What a process is known by. One of which nothing is known has no `exec_id`.
fn identity(process: &Process) -> String {
    if process.exec_id.is_empty() {
        format!("pid {} {}", process.pid.unwrap_or_default(), nanoseconds(process.start_time.as_ref()))
    } else {
        process.exec_id.clone()
    }
}

fn has(process: &Process, flag: &str) -> bool {
    process.flags.split(' ').any(|one| one == flag)
}
