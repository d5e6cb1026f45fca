//! What threads do to the process they belong to.

use anyhow::{Result, ensure};

use super::facts::check_leaf;
use crate::case::{Case, shared};
use crate::event::Kind;
use crate::observe::{Lab, same};

/// The table.
pub const CASES: &[Case] = &[
    shared("exec-from-thread", exec_from_thread),
    shared("exit-group-from-thread", exit_group_from_thread),
    shared("leader-exits-first", leader_first),
    shared("leader-exits-first-then-exec", leader_first_then_exec),
    shared("leader-exits-first-then-exit-group", leader_first_then_exit_group),
    shared("ten-thousand-threads", many_threads),
];

fn exec_from_thread(lab: &mut Lab) -> Result<()> {
    check_exec_from_thread(lab, "exec-from-thread")
}

fn leader_first_then_exec(lab: &mut Lab) -> Result<()> {
    check_exec_from_thread(lab, "leader-first-then-exec")
}

fn check_exec_from_thread(lab: &mut Lab, workload: &str) -> Result<()> {
    let seen = lab.observe(&[workload])?;
    let exec = seen.exec("child.pid")?;
    same("exec_tid", exec.number("process/exec_tid"), seen.run.facts.number("thread.tid")?)?;
    same("flags", exec.text("process/flags"), "execve clone")?;
    same("parent", exec.text("process/parent_exec_id"), seen.root()?.exec_id())?;
    check_leaf(exec, &seen.run.facts)?;
    let exit = seen.check_end("child")?;
    same("identity at the end", exit.exec_id(), exec.exec_id())?;
    let thread = seen.run.facts.pid("thread.tid")?;
    ensure!(seen.events.iter().all(|event| event.pid() != thread), "an event of a mere thread");
    Ok(())
}

fn exit_group_from_thread(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["exit-group-from-thread"])?;
    let exit = seen.check_end("child")?;
    same("status", exit.number("status"), 11)
}

fn leader_first(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["leader-first"])?;
    // One end only, that of the last thread; check_end compares with what the parent was told.
    let exit = seen.check_end("child")?;
    same("flags", exit.text("process/flags"), "clone")
}

fn leader_first_then_exit_group(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["leader-first-then-exit-group"])?;
    let exit = seen.check_end("child")?;
    same("status", exit.number("status"), 11)
}

fn many_threads(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["many-threads", "10000"])?;
    same("threads that the machine allowed", seen.run.facts.number("threads")?, 10_000)?;
    seen.check_end("child")?;
    // The workload's exec and exit, and the child's exit: threads are not processes.
    let kinds: Vec<Kind> = seen.events.iter().map(|event| event.kind).collect();
    same("events", kinds, vec![Kind::Exec, Kind::Exit, Kind::Exit])
}
