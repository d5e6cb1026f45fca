//! Taking up what runs already, while it runs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::agent::{Agent, LINEAGE};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{same, settle};
use crate::scratch::Scratch;
use crate::workload::{Facts, Programs};

/// The table.
pub const CASES: &[Case] = &[
    alone("running-processes", running),
    alone("start-in-a-storm", storm).long(),
    alone("open-files-allowed", files).on_any_kernel(),
];

const WORKERS: usize = 4;

/// Processes that are there first are told once, parents first, and end under the identity they were told by.
fn running() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut forked = programs.start(&scratch, &["hold", "3"])?;
    let mut executed = programs.start(&scratch, &["hold", "3", "executed"])?;
    let facts = [forked.wait_for("holding")?, executed.wait_for("holding")?];
    let parents = [forked.pid(), executed.pid()];
    let mut agent = Agent::start(&scratch, LINEAGE)?;
    let mut stream = agent.stream();
    forked.finish()?;
    executed.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    for (parent, facts) in parents.into_iter().zip(&facts) {
        let first = only(&stream.events, Kind::Exec, parent)?;
        ensure!(
            first.flag("procFS"),
            "a process that was there first is told as {}",
            first.text("process/flags")
        );
        for child in 0..3 {
            let pid = facts.pid(&format!("held.{child}"))?;
            let (exec, exit) =
                (only(&stream.events, Kind::Exec, pid)?, only(&stream.events, Kind::Exit, pid)?);
            ensure!(exec.flag("procFS"), "a child that was there first lacks procFS");
            same("identity at the end", exit.exec_id(), exec.exec_id())?;
            same("parent", exec.text("process/parent_exec_id"), first.exec_id())?;
            ensure!(first.line < exec.line, "a child is told before its parent");
            let arguments = if parent == parents[0] { "hold 3" } else { "hold 0 executed" };
            same("arguments", exec.text("process/arguments"), arguments)?;
            same("binary", exec.text("process/binary"), &*programs.workload.to_string_lossy())?;
        }
        only(&stream.events, Kind::Exit, parent)?;
    }
    agent.stop()
}

fn only(events: &[Event], kind: Kind, pid: u32) -> Result<&Event> {
    let mut found = events.iter().filter(|event| event.kind == kind && event.pid() == pid);
    let first = found.next().with_context(|| format!("no {kind:?} event of PID {pid}"))?;
    ensure!(found.next().is_none(), "more than one {kind:?} event of PID {pid}");
    Ok(first)
}

/// Processes come, execute and end all the time while the agent starts: none twice, none missing between the
/// first and the last that was told.
fn storm() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut storm = programs.start(&scratch, &["storm", "300", &WORKERS.to_string()])?;
    storm.wait_for("started")?;
    let mut agent = Agent::start(&scratch, LINEAGE)?;
    let mut stream = agent.stream();
    std::thread::sleep(Duration::from_millis(700));
    ensure!(
        !storm.is_over()?,
        "the storm was over before the agent was ready, so that this run proves nothing"
    );
    storm.terminate()?;
    let run = storm.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    let status = agent.status()?;
    agent.stop()?;
    let (_, _, lost) = status.records();
    ensure!(
        lost == 0,
        "{lost} records were lost, so that this run proves nothing; the default ring is too small"
    );
    check_order(&stream.events)?;
    check_storm(&stream.events, &run.facts)
}

/// No identity twice, and none ends that is still to begin.
fn check_order(events: &[Event]) -> Result<()> {
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    for event in events {
        let (id, line) = (event.exec_id().to_owned(), event.line);
        match event.kind {
            Kind::Exec => {
                ensure!(
                    !ended.contains(&id),
                    "line {line}: an exec event after the end of the same identity"
                );
                ensure!(begun.insert(id), "line {line}: a second exec event of one identity");
            }
            Kind::Exit => {
                ensure!(
                    begun.contains(&id) || event.flag("clone"),
                    "line {line}: the end of what never began"
                );
                ensure!(ended.insert(id), "line {line}: a second exit event of one identity");
            }
            Kind::Gap | Kind::Hook | Kind::Other => {}
        }
    }
    Ok(())
}

fn check_storm(events: &[Event], facts: &Facts) -> Result<()> {
    for worker in 0..WORKERS {
        let pid = facts.pid(&format!("worker.{worker}"))?;
        let first = only(events, Kind::Exec, pid)?;
        ensure!(first.flag("procFS"), "a worker that was there first lacks procFS");
        let end = only(events, Kind::Exit, pid)?;
        same("identity of a worker at its end", end.exec_id(), first.exec_id())?;

        let label = format!("storm-{worker} ");
        let mut ends: HashMap<&str, u64> = HashMap::new();
        for exit in events.iter().filter(|event| event.kind == Kind::Exit) {
            ends.insert(exit.exec_id(), exit.line);
        }
        let mut numbers = Vec::new();
        for exec in events.iter().filter(|event| event.kind == Kind::Exec) {
            let Some(number) = exec.text("process/arguments").strip_prefix(&label) else { continue };
            let number: u64 = number.parse()?;
            ensure!(exec.line > first.line, "child {number} of worker {worker} is told before it");
            same("parent of a child", exec.text("process/parent_exec_id"), first.exec_id())?;
            let end = ends.get(exec.exec_id());
            ensure!(
                end.is_some_and(|line| *line > exec.line),
                "child {number} of worker {worker} never ends"
            );
            numbers.push(number);
        }
        let executed = facts.number(&format!("executed.{worker}"))?;
        let (Some(&from), Some(&to)) = (numbers.first(), numbers.last()) else {
            anyhow::bail!("no child of worker {worker} was told, of {executed}");
        };
        same("the last child", to, executed - 1)?;
        let wanted: Vec<u64> = (from..executed).collect();
        ensure!(numbers == wanted, "worker {worker}: {} children told from {from} to {to}", numbers.len());
    }
    Ok(())
}

/// What the agent may have open is not what it was given at first, but all that the system lets it have.
fn files() -> Result<()> {
    const GIVEN: u64 = 512;
    let scratch = Scratch::new()?;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(GIVEN), ..before })?;
    let started = Agent::start(&scratch, &[]);
    setrlimit(Resource::Nofile, before)?;
    let mut agent = started?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid()))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit")?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [soft, hard] = numbers[..] else { bail!("no two limits: {line}") };
    ensure!(soft == hard && soft > GIVEN && before.maximum.is_none_or(|most| hard >= most), "{line}");
    agent.stop()
}
