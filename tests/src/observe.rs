//! What a workload did beside what the agent told of it.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;
use crate::event::{Event, ExecId, Kind};
use crate::scratch::Scratch;
use crate::stream::Stream;
use crate::wait;
use crate::workload::{Programs, Run};

/// That two values are the same.
///
/// # Errors
/// When they are not.
#[expect(clippy::needless_pass_by_value, reason = "most values are made for the comparison")]
pub fn same<T: PartialEq + Debug>(what: &str, told: T, wanted: T) -> Result<()> {
    ensure!(told == wanted, "{what}: told {told:?}, wanted {wanted:?}");
    Ok(())
}

/// An agent and the means to make it see something.
#[derive(Debug)]
pub struct Lab {
    /// Where files lie.
    pub scratch: Scratch,
    /// What can be run.
    pub programs: Programs,
    /// Who watches.
    pub agent: Agent,
    /// What it tells.
    pub stream: Stream,
}

impl Lab {
    /// Starts an agent.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(flags: &[&str]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let programs = Programs::install(&scratch)?;
        let agent = Agent::start(&scratch, flags)?;
        let stream = agent.stream();
        Ok(Self { scratch, programs, agent, stream })
    }

    /// Waits until everything that happened before this call stands in the stream, see [`settle`].
    ///
    /// # Errors
    /// When it does not come.
    pub fn settle(&mut self) -> Result<()> {
        settle(&self.programs, &self.scratch, &mut self.stream)
    }

    /// Runs a workload to its end and waits until everything it did has been told.
    ///
    /// # Errors
    /// When it fails, or its events do not have the form that all events have.
    pub fn observe(&mut self, arguments: &[&str]) -> Result<Observation> {
        let from = self.stream.events.len();
        let run = self.programs.start(&self.scratch, arguments)?.finish()?;
        self.settle()?;
        let observation = Observation::new(run, &self.stream.events[from..])?;
        observation.check_tree()?;
        Ok(observation)
    }
}

/// Waits until everything that happened before this call stands in the stream. The order of the stream is
/// that of the kernel, so it suffices to wait for the end of a process started now.
///
/// # Errors
/// When it does not come.
pub fn settle(programs: &Programs, scratch: &Scratch, stream: &mut Stream) -> Result<()> {
    /// After which another marker is sent: behind a flood the record of one may have had no room.
    const NEXT: Duration = Duration::from_secs(20);
    let from = stream.events.len();
    let mut markers: Vec<(u32, String)> = Vec::new();
    let mut last = None;
    wait::until("the end of the marker in the export", wait::LONG, || {
        if last.is_none_or(|last: Instant| last.elapsed() >= NEXT) {
            last = Some(Instant::now());
            let run = programs.start(scratch, &["marker"])?.finish()?;
            markers.push((run.pid, run.cwd.to_string_lossy().into_owned()));
        }
        stream.advance()?;
        let is_marker = |event: &&Event| {
            markers.iter().any(|(pid, cwd)| event.pid() == *pid && event.text("process/cwd") == *cwd)
        };
        let ended = stream.events[from..].iter().filter(is_marker).any(|event| event.kind == Kind::Exit);
        Ok(ended.then_some(()))
    })
}

/// A run and the events of its processes.
#[derive(Debug)]
pub struct Observation {
    /// What was done.
    pub run: Run,
    /// What was told of it, in order.
    pub events: Vec<Event>,
}

impl Observation {
    /// Picks the events of this run.
    ///
    /// # Errors
    /// When its first process is not among them.
    pub fn new(run: Run, events: &[Event]) -> Result<Self> {
        let cwd = run.cwd.to_string_lossy().into_owned();
        let root = events
            .iter()
            .find(|event| {
                event.kind == Kind::Exec && event.pid() == run.pid && event.text("process/cwd") == cwd
            })
            .with_context(|| format!("no exec event of the workload, PID {}", run.pid))?;
        let mut ids = HashSet::from([root.exec_id().to_owned()]);
        let mut own = Vec::new();
        for event in events {
            if event.lineage().any(|id| ids.contains(id)) {
                ids.insert(event.exec_id().to_owned());
                own.push(event.clone());
            }
        }
        Ok(Self { run, events: own })
    }

    /// The events of this kind and PID.
    #[must_use]
    pub fn all(&self, kind: Kind, pid: u32) -> Vec<&Event> {
        self.events.iter().filter(|event| event.kind == kind && event.pid() == pid).collect()
    }

    /// The only event of this kind and PID.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn only(&self, kind: Kind, pid: u32) -> Result<&Event> {
        let events = self.all(kind, pid);
        ensure!(events.len() == 1, "{} {kind:?} events of PID {pid}, wanted one", events.len());
        Ok(events[0])
    }

    /// The only exec event of the process whose PID is this fact.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn exec(&self, fact: &str) -> Result<&Event> {
        self.only(Kind::Exec, self.run.facts.pid(fact)?)
    }

    /// The only exit event of the process whose PID is this fact.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn exit(&self, fact: &str) -> Result<&Event> {
        self.only(Kind::Exit, self.run.facts.pid(fact)?)
    }

    /// The exec event of the workload itself.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn root(&self) -> Result<&Event> {
        self.only(Kind::Exec, self.run.pid)
    }

    /// That the exit event of the process tells the status or signal that its parent saw.
    ///
    /// # Errors
    /// When it tells another.
    pub fn check_end(&self, name: &str) -> Result<&Event> {
        let exit = self.exit(&format!("{name}.pid"))?;
        let facts = &self.run.facts;
        let number = |fact: &str| facts.number(&format!("{name}.{fact}")).unwrap_or(0);
        same(&format!("status of {name}"), exit.number("status"), number("status"))?;
        same(&format!("signal of {name}"), exit.text("signal"), signal_name(number("signal")))?;
        same(&format!("core dump of {name}"), exit.truth("core_dumped"), number("core") == 1)?;
        Ok(exit)
    }

    /// What holds for all events of finished processes: identities are well-formed and told once, parents
    /// come before children, and every identity ends once, by an exit or by the next exec of its process.
    ///
    /// # Errors
    /// When one of these does not hold.
    pub fn check_tree(&self) -> Result<()> {
        let mut told: HashMap<&str, u32> = HashMap::new();
        let mut open: HashMap<u32, &str> = HashMap::new();
        for event in &self.events {
            let (id, pid, line) = (event.exec_id(), event.pid(), event.line);
            check_identity(event)?;
            match event.kind {
                Kind::Exec => {
                    ensure!(told.insert(id, pid).is_none(), "line {line}: a second exec event of {id}");
                    open.insert(pid, id);
                }
                Kind::Exit => {
                    if let Some(running) = open.remove(&pid) {
                        same(&format!("line {line}: identity that ends"), id, running)?;
                    } else {
                        ensure!(event.flag("clone"), "line {line}: the end of PID {pid} that never began");
                        ensure!(told.insert(id, pid).is_none(), "line {line}: a second end of {id}");
                    }
                }
                Kind::Gap | Kind::Hook | Kind::Other => {}
            }
            let parent = event.text("process/parent_exec_id");
            same(&format!("line {line}: parent"), event.text("parent/exec_id"), parent)?;
        }
        ensure!(open.is_empty(), "{} processes of the workload have no exit event", open.len());
        Ok(())
    }
}

fn check_identity(event: &Event) -> Result<()> {
    let line = event.line;
    let id = ExecId::parse(event.exec_id())?;
    same(&format!("line {line}: PID in the exec id"), id.pid, event.pid())?;
    same(&format!("line {line}: node in the exec id"), id.node.as_str(), event.node.as_str())?;
    ensure!(
        !event.flag("unknown") && !event.flag("miss"),
        "line {line}: an incomplete process: {:?} with the flags {}",
        event.kind,
        event.text("process/flags")
    );
    if event.kind != Kind::Hook {
        // Threads call hooks, and the kernel does for a process what it left to io_uring by threads of their own.
        same(&format!("line {line}: tid"), event.number("process/tid"), u64::from(event.pid()))?;
    }
    for place in ["process/inode", "process/cgroup_id", "process/arguments_length"] {
        let value = event.at(place);
        ensure!(value.is_null() || value.is_string(), "line {line}: {place} has 64 bits and is not a string");
    }
    Ok(())
}

fn signal_name(number: u64) -> &'static str {
    match number {
        0 => "",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => "?",
    }
}
