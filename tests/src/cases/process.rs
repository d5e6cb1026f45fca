//! How processes come to be and end.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::facts::check_leaf;
use crate::case::{Case, shared};
use crate::event::{ExecId, Kind};
use crate::observe::{Lab, same};

/// The table.
pub const CASES: &[Case] = &[
    shared("plain", plain),
    shared("fork-only", fork_only),
    shared("exec-chain", chain),
    shared("ancestors", generations),
    shared("fork-chain", fork_chain),
    shared("vfork", vfork),
    shared("clone-parent", clone_parent),
    shared("new-pid-namespace", new_pid_namespace),
    shared("new-user-namespace", new_user_namespace),
    shared("double-fork-to-init", double_fork_to_init),
    shared("double-fork-to-subreaper", double_fork_to_subreaper),
    shared("signals", signals),
    shared("pid-reuse", pid_reuse),
    shared("burst", burst),
];

fn plain(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["plain"])?;
    let exec = seen.exec("child.pid")?;
    let exit = seen.check_end("child")?;
    same("binary", exec.text("process/binary"), &*lab.programs.leaf.to_string_lossy())?;
    same("arguments", exec.text("process/arguments"), "one two")?;
    same("flags", exec.text("process/flags"), "execve clone")?;
    check_leaf(exec, &seen.run.facts)?;
    let root = seen.root()?;
    same("parent", exec.text("process/parent_exec_id"), root.exec_id())?;
    same("parent's binary", exec.text("parent/binary"), root.text("process/binary"))?;
    same("user", exec.text("process/user/name"), "root")?;
    same("identity at the end", exit.exec_id(), exec.exec_id())?;
    same("start at the end", exit.text("process/start_time"), exec.text("process/start_time"))?;
    // The identity is the boot time of the exec, which the workload bracketed.
    let ktime = ExecId::parse(exec.exec_id())?.ktime;
    let (before, after) = (seen.run.facts.number("before")?, seen.run.facts.number("after")?);
    ensure!(before < ktime && ktime < after, "the exec at {ktime} is not between {before} and {after}");
    ensure!(exec.at("process/in_init_tree").is_null() || !exec.truth("process/in_init_tree"), "no container");
    ensure!(exec.number("process/refcnt") >= 1 && exec.number("parent/refcnt") >= 2, "references");
    ensure!(!exec.text("process/start_time").is_empty() && !exec.time.is_empty(), "times");
    ensure!(!exit.text("time").is_empty(), "the exit has a time of its own");
    Ok(())
}

fn fork_only(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["fork-only"])?;
    let root = seen.root()?;
    let exit = seen.check_end("child")?;
    ensure!(seen.all(Kind::Exec, exit.pid()).is_empty(), "an exec event of a process that executed nothing");
    same("flags", exit.text("process/flags"), "clone")?;
    same("binary", exit.text("process/binary"), root.text("process/binary"))?;
    same("arguments", exit.text("process/arguments"), root.text("process/arguments"))?;
    same("parent", exit.text("process/parent_exec_id"), root.exec_id())?;
    ensure!(exit.exec_id() != root.exec_id(), "a forked process has an identity of its own");
    let ktime = ExecId::parse(exit.exec_id())?.ktime;
    let (before, after) = (seen.run.facts.number("before")?, seen.run.facts.number("after")?);
    ensure!(before < ktime && ktime < after, "the fork at {ktime} is not between {before} and {after}");
    Ok(())
}

fn chain(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["chain"])?;
    let pid = seen.run.facts.pid("child.pid")?;
    let execs = seen.all(Kind::Exec, pid);
    same("exec events", execs.len(), 4)?;
    let root = seen.root()?;
    for (index, exec) in execs.iter().enumerate() {
        same("parent", exec.text("process/parent_exec_id"), root.exec_id())?;
        same("flag clone", exec.flag("clone"), index == 0)?;
        let before = if index == 0 { "" } else { execs[index - 1].exec_id() };
        let told = exec.text("process/previous_exec_id");
        // The first exec follows the identity of the fork, which no event has told.
        ensure!(told == before || index == 0, "exec {index} follows {told}, not {before}");
    }
    same("last arguments", execs[3].text("process/arguments"), "last")?;
    same("identity at the end", seen.check_end("child")?.exec_id(), execs[3].exec_id())
}

fn generations(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["generations", "6"])?;
    let mut line: Vec<String> = Vec::new();
    for left in (0..=6).rev() {
        let exec = seen.exec(&format!("generation.{left}"))?;
        let told: Vec<&str> = exec
            .at("ancestors")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|ancestor| ancestor["exec_id"].as_str())
            .collect();
        // `line` has the workload's own generations, oldest first; beyond them come the test and its forebears.
        let own = line.len().saturating_sub(1);
        let wanted: Vec<&str> = line.iter().rev().skip(1).map(String::as_str).collect();
        same(&format!("ancestors with {left} left"), &told[..own.min(told.len())], &wanted[..])?;
        let last = exec.at("ancestors").as_array().and_then(|list| list.last());
        let oldest = last.and_then(|ancestor| ancestor["pid"].as_u64());
        if std::fs::read_link("/proc/1/exe").is_ok() {
            ensure!(
                matches!(oldest, Some(0..=2)),
                "the oldest ancestor is PID {oldest:?}, not the first process"
            );
        } else if left == 0 {
            println!("        a sandbox hides the first process: the oldest ancestor is not compared");
        }
        line.push(exec.exec_id().to_owned());
    }
    Ok(())
}

fn fork_chain(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["fork-chain"])?;
    let exec = seen.exec("depth.4")?;
    let mut parent = seen.root()?.exec_id().to_owned();
    for depth in 1..=3 {
        let exit = seen.exit(&format!("depth.{depth}"))?;
        same("flags", exit.text("process/flags"), "clone")?;
        same(&format!("parent at depth {depth}"), exit.text("process/parent_exec_id"), &parent)?;
        exit.exec_id().clone_into(&mut parent);
    }
    same("parent of the deepest", exec.text("process/parent_exec_id"), &*parent)?;
    check_leaf(exec, &seen.run.facts)
}

fn vfork(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["vfork"])?;
    let exec = seen.exec("exec.pid")?;
    same("arguments", exec.text("process/arguments"), "vforked")?;
    check_leaf(exec, &seen.run.facts)?;
    seen.check_end("exec")?;
    let exit = seen.check_end("exit")?;
    ensure!(seen.all(Kind::Exec, exit.pid()).is_empty(), "an exec event of a process that executed nothing");
    Ok(())
}

fn clone_parent(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["clone-parent"])?;
    let exec = seen.exec("sibling.pid")?;
    same("parent", exec.text("process/parent_exec_id"), seen.root()?.exec_id())?;
    same("re-parented", exec.text("process/reparented_to"), "")?;
    seen.check_end("maker")?;
    seen.check_end("sibling").map(drop)
}

fn new_pid_namespace(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["new-pid-namespace"])?;
    let first = seen.exec("first.pid")?;
    check_leaf(first, &seen.run.facts)?;
    same("ns_pid of the first", first.number("process/ns_pid"), 1)?;
    ensure!(first.truth("process/in_init_tree") && first.flag("inInitTree"), "not in its own init tree");
    let inner = seen
        .events
        .iter()
        .find(|event| event.kind == Kind::Exec && event.text("process/arguments") == "inner")
        .context("no exec event of the child inside")?;
    same("ns_pid of its child", inner.number("process/ns_pid"), seen.run.facts.number("inner.ns_pid")?)?;
    same("PID namespace", inner.at("process/ns/pid/inum"), first.at("process/ns/pid/inum"))?;
    same("is the host's", inner.truth("process/ns/pid/is_host"), false)?;
    ensure!(inner.truth("process/in_init_tree"), "the child is not in the init tree");
    ensure!(ExecId::parse(inner.exec_id())?.pid > 2, "the identity holds the host's PID");
    seen.check_end("first").map(drop)
}

fn new_user_namespace(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["new-user-namespace"])?;
    let exec = seen.exec("child.pid")?;
    // The ids are those of the initial namespace: overflow there, for root has no mapping inside.
    same("is the host's", exec.truth("process/ns/user/is_host"), false)?;
    same("namespace", exec.number("process/ns/user/inum"), seen.run.facts.number("leaf.ns.user")?)?;
    same("uid", exec.number("process/uid"), 0)?;
    same("level", exec.at("process/user_ns/level"), &Value::from(1))?;
    same("mount namespace", exec.at("process/ns/mnt"), seen.root()?.at("process/ns/mnt"))?;
    seen.check_end("child").map(drop)
}

fn double_fork_to_init(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["double-fork"])?;
    let exec = seen.exec("orphan.pid")?;
    let middle = seen.check_end("middle")?;
    same("parent", exec.text("process/parent_exec_id"), middle.exec_id())?;
    let adopter = ExecId::parse(exec.text("process/reparented_to"))?;
    same("adopter", u64::from(adopter.pid), seen.run.facts.number("leaf.ppid")?)
}

fn double_fork_to_subreaper(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["double-fork", "subreaper"])?;
    let exec = seen.exec("orphan.pid")?;
    let middle = seen.check_end("middle")?;
    same("parent", exec.text("process/parent_exec_id"), middle.exec_id())?;
    same("adopter", exec.text("process/reparented_to"), seen.root()?.exec_id())?;
    same("adopter's PID", seen.run.facts.number("leaf.ppid")?, u64::from(seen.run.pid))?;
    let exit = seen.exit("orphan.pid")?;
    same("adopter at the end", exit.text("reparented_to"), seen.root()?.exec_id())
}

fn signals(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["signals"])?;
    for name in ["crashed", "killed", "terminated", "highest"] {
        seen.check_end(name)?;
    }
    if seen.run.facts.number("crashed.core")? == 0 {
        println!("        this machine writes no core files, so core_dumped was only seen to be absent");
    }
    Ok(())
}

fn pid_reuse(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["pid-reuse"])?;
    let pid = seen.run.facts.pid("first.pid")?;
    same("the second PID", seen.run.facts.pid("second.pid")?, pid)?;
    let execs = seen.all(Kind::Exec, pid);
    let exits = seen.all(Kind::Exit, pid);
    same("exec events", execs.len(), 2)?;
    same("exit events", exits.len(), 2)?;
    for (index, arguments) in ["first", "second"].into_iter().enumerate() {
        same("arguments", execs[index].text("process/arguments"), arguments)?;
        same("identity at the end", exits[index].exec_id(), execs[index].exec_id())?;
        same("flags", execs[index].text("process/flags"), "execve clone")?;
    }
    ensure!(execs[0].exec_id() != execs[1].exec_id(), "two processes with one identity");
    Ok(())
}

fn burst(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["burst", "300", "8", "burst"])?;
    let count = |kind| seen.events.iter().filter(|event| event.kind == kind).count();
    // The workload itself is one more.
    same("exec events", count(Kind::Exec), 301)?;
    same("exit events", count(Kind::Exit), 301)
}
