//! The agent's protection of itself: what somebody with all rights tries is refused, told and counted, until root lifts it
//! through the socket; and nothing of it is left.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use super::fault::{check_refusal, run_to_end};
use super::policy_enforce::lsm;
use crate::agent;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Lab, same};
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("guard-refuses", refuses),
    alone("guard-is-lifted", is_lifted).spread(),
    alone("guard-first-process", first_process),
    alone("guard-pins", pins),
    alone("guard-needs-all", needs_all),
];

/// The error of whatever is refused, as facts tell it.
const EPERM: &str = "1";
const DONE: &str = "0";
/// Status of `saker protect status` that says that it is lifted.
const LIFTED: i32 = 3;
const POLICY: &str = "self-protection";

/// A guarded agent. Dropped, its protection is lifted first, so that it can be ended.
struct Guarded(Lab);

impl Guarded {
    fn start(flags: &[&str]) -> Result<Self> {
        Ok(Self(Lab::start(&[&["--self-protection", "--tracing-policy-dir="], flags].concat())?))
    }

    /// Runs `saker protect` and returns its exit status.
    fn protect(&self, arguments: &[&str]) -> Result<Option<i32>> {
        let output = self.0.agent.ask_deep("protect", arguments)?;
        Ok(output.status.code())
    }

    fn lift(&self, time: &str) -> Result<()> {
        same(
            "status of saker protect off",
            self.protect(&["off", "--for", time, "--reason", "a test"])?,
            Some(0),
        )
    }

    fn restore(&self) -> Result<()> {
        same("status of saker protect on", self.protect(&["on"])?, Some(0))
    }

    fn kill(&self) -> Result<()> {
        let killed = self.0.agent.signal(Signal::KILL);
        ensure!(killed.is_err(), "a guarded agent could be killed");
        Ok(())
    }

    /// Lifts it, and ends the agent as others are ended.
    fn stop(mut self) -> Result<()> {
        self.lift("1h")?;
        self.0.agent.stop()?;
        // Nothing refuses any more.
        fs::remove_file(self.0.agent.dir.join("saker.pid")).context("something is left of the protection")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.protect(&["off", "--for", "1h"]);
    }
}

/// Whether this kernel can do it; if not, the case says so.
fn is_able() -> Result<bool> {
    let able = lsm()?;
    if !able {
        println!("        LSM programs take no effect on this kernel, so that the option is refused");
    }
    Ok(able)
}

fn told(events: &[Event]) -> Vec<&Event> {
    let told = |event: &&Event| event.kind == Kind::Hook && event.text("policy_name") == POLICY;
    events.iter().filter(told).collect()
}

/// Nothing of it is done in any way, the neighbours can be, and each attempt is told with who made it.
fn refuses() -> Result<()> {
    if !is_able()? {
        return Ok(());
    }
    let mut guarded = Guarded::start(&[])?;
    let lab = &mut guarded.0;
    let (pid, dir) = (lab.agent.pid().to_string(), lab.agent.dir.display().to_string());
    let binary = agent::binary()?.display().to_string();
    let seen = lab.observe(&["attack-agent", &pid, &dir, &binary])?;
    let mut ways = 0;
    for (name, value) in seen.run.facts.every() {
        if let Some(of) = name.strip_prefix("objects.") {
            ensure!(value != "0", "no {of} of the agent was found");
        } else {
            let wanted = if name.starts_with("may.") { DONE } else { EPERM };
            ensure!(value == wanted, "{name}: errno {value}");
            ways += 1;
        }
    }
    ensure!(ways > 40, "{ways} attempts were made");
    let events = told(&seen.events);
    let mut by_hook: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &events {
        same("kind", event.key.as_str(), "process_lsm")?;
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
        same("process", event.exec_id(), seen.root()?.exec_id())?;
        *by_hook.entry(event.text("function_name")).or_default() += 1;
    }
    let hooks = [
        "task_kill",
        "file_send_sigiotask",
        "ptrace_access_check",
        "task_setrlimit",
        "task_setscheduler",
        "task_setnice",
        "task_setioprio",
        "file_open",
        "inode_create",
        "inode_mkdir",
        "inode_mknod",
        "inode_symlink",
        "inode_link",
        "inode_unlink",
        "inode_rmdir",
        "inode_rename",
        "inode_setattr",
        "bpf",
        "bpf_map",
        "bpf_prog",
    ];
    same(
        "hooks that told",
        by_hook.keys().copied().collect::<std::collections::BTreeSet<_>>(),
        hooks.into(),
    )?;
    let signals: Vec<_> = events
        .iter()
        .filter(|event| event.text("function_name") == "task_kill")
        .map(|event| event.at("args/0/int_arg").as_u64())
        .collect();
    same("signals", &signals[..3], &[Some(9), Some(15), Some(19)])?;
    let unlinked = events.iter().find(|event| event.text("function_name") == "inode_unlink");
    same("name", unlinked.map(|event| event.text("args/1/string_arg")), Some("saker.sock"))?;
    let status = lab.agent.status()?.0;
    let counted = &status["self_protection"]["refused"];
    for (hook, count) in by_hook {
        same(hook, counted[hook].as_str(), Some(count.to_string().as_str()))?;
    }
    guarded.stop()
}

/// Root lifts it for a time, which the kernel keeps; what was taken meanwhile is of no use afterwards.
fn is_lifted() -> Result<()> {
    if !is_able()? {
        return Ok(());
    }
    let guarded = Guarded::start(&[])?;
    guarded.kill()?;
    same("status", guarded.protect(&["status"])?, Some(0))?;
    let file = guarded.0.agent.dir.join("saker.pid");
    let change = || fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640));
    ensure!(change().is_err(), "a file of a guarded agent could be changed");
    guarded.lift("1h")?;
    same("status while it is lifted", guarded.protect(&["status"])?, Some(LIFTED))?;
    change().context("it is lifted, and still refused")?;
    let problems = guarded.0.agent.status()?.0["problems"].to_string();
    ensure!(problems.contains("self-protection is lifted"), "problems: {problems}");
    let pid = guarded.0.agent.pid().to_string();
    let mut taker = guarded.0.programs.start(&guarded.0.scratch, &["detach-agent", &pid])?;
    taker.wait_for("taken")?;
    guarded.restore()?;
    guarded.kill()?;
    same("detaching", taker.finish()?.facts.text("detach")?, EPERM)?;
    ensure!(change().is_err(), "it is back, and a file could be changed");
    guarded.lift("2s")?;
    wait::until("the end of the time", wait::LONG, || {
        Ok((guarded.protect(&["status"])? == Some(0)).then_some(()))
    })?;
    guarded.kill()?;
    wait::until("files to be guarded again", Duration::from_secs(20), || {
        Ok(change().is_err().then_some(()))
    })?;
    let log = guarded.0.agent.log()?;
    ensure!(log.contains("uid 0") && log.contains("a test"), "who lifted it is not in the log:\n{log}");
    let output = guarded.0.agent.ask_deep("protect", &["off", "--for", "25h"])?;
    check_refusal(&output, &["at most 24 hours"])?;
    guarded.stop()
}

/// The first process, which stops services, may end it. It is made to by the test, only where it is that of the test's own
/// machine.
fn first_process() -> Result<()> {
    if !is_able()? {
        return Ok(());
    }
    if fs::read_to_string("/proc/1/comm")?.trim() != "init" {
        println!("        not tried: the first process here is none that a test may touch");
        return Ok(());
    }
    let mut guarded = Guarded::start(&[])?;
    guarded.kill()?;
    let pid = guarded.0.agent.pid().to_string();
    let run = guarded.0.programs.start(&guarded.0.scratch, &["first-signals", &pid])?.finish()?;
    same("the first process's call", run.facts.text("may.first")?, DONE)?;
    guarded.0.agent.check_stopped()
}

/// Pins are not reached by their paths, nor unmounted; a successor takes over what stays.
fn pins() -> Result<()> {
    if !is_able()? {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let at = scratch.fresh("bpf")?;
    mount("saker-test", &at, "bpf", MountFlags::empty(), Some(c"mode=0700"))?;
    let root = at.join("saker");
    let flag = format!("--bpf-dir={}", root.display());
    let tried = (|| {
        for _ in 0..2 {
            let guarded = Guarded::start(&["--keep-sensors-on-exit", &flag])?;
            ensure!(fs::remove_file(root.join("turn")).is_err(), "a pin could be removed");
            ensure!(fs::read_dir(root.join("1")).is_err(), "pins can be reached");
            ensure!(unmount(&at, UnmountFlags::DETACH).is_err(), "the pins could be unmounted");
            guarded.kill()?;
            guarded.stop()?;
            ensure!(fs::read_dir(&root)?.count() > 1, "nothing stayed when the agent had ended");
        }
        Ok(())
    })();
    let _ = fs::remove_dir_all(&root);
    unmount(&at, UnmountFlags::DETACH)?;
    tried
}

/// Where it would have holes it is refused with the reason, and the agent does not start; without it there is none.
fn needs_all() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("agent")?;
    if !lsm()? {
        let output = run_to_end(agent::command(&agent::binary()?, &dir), &["--self-protection"])?;
        check_refusal(&output, &["the agent cannot protect itself", "boot with `bpf` in lsm="])?;
    }
    let mut lab = Lab::start(&[])?;
    let output = lab.agent.ask_deep("protect", &["off"])?;
    check_refusal(&output, &["without --self-protection"])?;
    ensure!(lab.agent.status()?.0["self_protection"].is_null(), "a protection is told that is not there");
    lab.agent.stop()
}
