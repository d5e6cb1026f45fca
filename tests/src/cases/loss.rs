//! Losing records on purpose, and being told.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::agent::{Agent, LINEAGE};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same, settle};
use crate::scratch::Scratch;
use crate::status::Status;
use crate::stream::Stream;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("loss-and-resync", loss_and_resync),
    alone("overload-accounting", overload).long(),
    alone("burst-of-20000-without-loss", burst).on_any_kernel(),
];

/// The agent is held while more happens than its ring holds. Afterwards every loss is told, processes that
/// live are known again, and those that ended unseen have ended.
fn loss_and_resync() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &[LINEAGE, &["--rb-size-total=64K"]].concat())?;
    let mut stream = agent.stream();
    let mut before = programs.start(&scratch, &["hold", "2", "before"])?;
    let before_facts = before.wait_for("holding")?;
    settle(&programs, &scratch, &mut stream)?;

    agent.signal(Signal::STOP)?;
    programs.start(&scratch, &["burst", "1000", "8", "lost"])?.finish()?;
    // These ends and this beginning happen while the ring is full.
    let before_pid = before.pid();
    before.finish()?;
    let mut meanwhile = programs.start(&scratch, &["hold", "2", "meanwhile"])?;
    let facts = meanwhile.wait_for("holding")?;
    // Their execs too must happen while nobody reads: it is said before they have.
    for name in ["held.0", "held.1"] {
        let file = format!("/proc/{}/cmdline", facts.pid(name)?);
        wait::until("an exec of a held process", wait::LONG, || {
            let words = std::fs::read(&file)?;
            Ok(words.windows(8).any(|words| words == b"hold\x000\0m").then_some(()))
        })?;
    }
    agent.signal(Signal::CONT)?;

    wait::until("the agent to scan again after the loss", wait::LONG, || {
        stream.advance()?;
        let healed = agent.status().is_ok_and(|status| status.number("processes/resyncs") > 0);
        // An earlier loss may have had a scan of its own already, before these began.
        let found = [meanwhile.pid(), facts.pid("held.1")?]
            .iter()
            .all(|pid| count(&stream.events, Kind::Exec, *pid) > 0);
        // What began only a moment before a scan that does not find it is told to have ended by the next one.
        let ended = [before_pid, before_facts.pid("held.0")?]
            .iter()
            .all(|pid| count(&stream.events, Kind::Exit, *pid) > 0);
        Ok((healed && found && ended && told_lost(&stream) > 0).then_some(()))
    })?;
    settle(&programs, &scratch, &mut stream)?;
    check_healed(
        &stream,
        &before_facts.pid("held.0")?,
        &before_pid,
        &meanwhile.pid(),
        &facts.pid("held.1")?,
    )?;
    let held = facts.pid("held.0")?;
    let run = meanwhile.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    same("ends of a process that was found again", count(&stream.events, Kind::Exit, held), 1)?;
    same("ends of its parent", count(&stream.events, Kind::Exit, run.pid), 1)?;

    // All is as before: a new workload is told in full.
    let from = stream.events.len();
    let run = programs.start(&scratch, &["plain"])?.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    let seen = Observation::new(run, &stream.events[from..])?;
    seen.check_tree()?;
    seen.check_end("child")?;
    check_sums(&agent, &mut stream)?;
    agent.stop()
}

/// Whether this machine's CPU is QEMU's emulation.
fn emulated() -> Result<bool> {
    Ok(std::fs::read_to_string("/proc/cpuinfo")?.contains("QEMU TCG"))
}

fn check_healed(stream: &Stream, ended: &u32, parent: &u32, new: &u32, child: &u32) -> Result<()> {
    for pid in [ended, parent] {
        same("ends of a process that ended unseen", count(&stream.events, Kind::Exit, *pid), 1)?;
    }
    for pid in [new, child] {
        let execs: Vec<&Event> = of(&stream.events, Kind::Exec, *pid);
        same("exec events of a process that began unseen", execs.len(), 1)?;
        ensure!(execs[0].truth("process/reconstructed"), "PID {pid} is not marked as reconstructed");
        let arguments = execs[0].text("process/arguments");
        ensure!(arguments.ends_with("meanwhile"), "its arguments are told as {arguments}");
    }
    Ok(())
}

fn of(events: &[Event], kind: Kind, pid: u32) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind && event.pid() == pid).collect()
}

fn count(events: &[Event], kind: Kind, pid: u32) -> usize {
    of(events, kind, pid).len()
}

/// Records that the gaps in the stream stand for.
fn told_lost(stream: &Stream) -> u64 {
    stream.events.iter().filter(|event| event.kind == Kind::Gap).map(|gap| gap.number("lost")).sum()
}

/// Once all is quiet: produced = received + lost, what was lost stands in the stream, and what was received
/// stands in the file.
fn check_sums(agent: &Agent, stream: &mut Stream) -> Result<Status> {
    // The machine is never quite quiet; the sums are compared as soon as nothing happens to be under way.
    wait::until("the sums to hold", Duration::from_secs(60), || {
        let status = agent.status()?;
        status.check_balance(10_000)?;
        stream.advance()?;
        let (_, _, lost) = status.records();
        let file = status.sinks("file").next().map_or(0, |sink| crate::status::number(sink.get("written")));
        let whole =
            status.pending() == 0 && told_lost(stream) == lost + status.missed() && file <= stream.lines();
        Ok(whole.then_some(status))
    })
}

/// A ring far too small for a burst: every one of its processes was told or is counted as lost.
fn overload() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &["--rb-size-total=64K"])?;
    let name = format!("overload-{}", std::process::id());
    let mut stream = agent.stream().labelled(&name);
    // Held for a moment, so that there is a loss on a fast machine too.
    agent.signal(Signal::STOP)?;
    programs.start(&scratch, &["burst", "800", "8", &name])?.finish()?;
    agent.signal(Signal::CONT)?;
    programs.start(&scratch, &["burst", "1200", "8", &name])?.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    let status = check_sums(&agent, &mut stream)?;
    let (produced, received, lost) = status.record("exec");
    ensure!(lost > 0, "nothing was lost, so that this run proves nothing");
    same("exec records", produced, received + lost)?;
    let label = |event: &&Event| event.text("process/arguments").starts_with(&format!("{name} "));
    let told = stream.events.iter().filter(|event| event.kind == Kind::Exec).filter(label).count();
    let told = u64::try_from(told)?;
    let missed = status.missed();
    ensure!(
        told + lost + missed >= 2000,
        "{told} of 2000 execs told, {lost} exec records counted as lost, {missed} runs missed"
    );
    println!("        {told} of 2000 execs told, {lost} exec records lost and counted, {missed} runs missed");
    agent.stop()
}

/// With the buffers as they are by default a burst loses nothing.
fn burst() -> Result<()> {
    // An emulated kernel takes minutes for what a real one does in seconds.
    let count: usize = if emulated()? { 3000 } else { 20_000 };
    println!("        {count} execs");
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &[])?;
    let mut stream = agent.stream();
    programs.start(&scratch, &["burst", &count.to_string(), "8", "flood"])?.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    let (_, _, lost) = agent.status()?.records();
    same("records lost", lost, 0)?;
    for kind in [Kind::Exec, Kind::Exit] {
        let label = |event: &&Event| event.text("process/arguments").starts_with("flood ");
        let told = stream.events.iter().filter(|event| event.kind == kind).filter(label).count();
        same("events of the burst", told, count)?;
    }
    agent.stop()
}
