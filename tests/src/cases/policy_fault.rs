//! Applying a policy fails half-way, at each step that takes a descriptor: what was in force stays in force, whole, and
//! nothing of what failed is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::keep::Pins;
use super::policy::{Bench, getpriority, hooks};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-short-of-descriptors", short_of_descriptors).on_any_kernel(),
    alone("policy-short-of-descriptors-pinned", short_of_descriptors_pinned).on_any_kernel(),
];

/// Descriptors that an answer takes beside those of the policy: the client's connection.
const CONNECTION: usize = 1;
/// Tries before the test gives up.
const TRIES: usize = 200;

/// Numbers of the descriptors that a process has.
fn descriptors(pid: u32) -> Result<BTreeSet<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).context("descriptors of the agent")?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?)).collect()
}

/// Lets a process have descriptors below a number only, or again as many as it had.
fn limit(pid: u32, to: Rlimit) -> Result<Rlimit> {
    let pid = Pid::from_raw(pid.cast_signed()).context("a process has a number")?;
    prlimit(Some(pid), Resource::Nofile, to).context("the limit of descriptors cannot be set")
}

/// The limit of a process that this one has started.
fn usual(pid: u32) -> Result<Rlimit> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let mut numbers =
        line.context("no limit of open files")?.split_whitespace().map(|word| word.parse().ok());
    Ok(Rlimit { current: numbers.next().flatten(), maximum: numbers.next().flatten() })
}

fn short_of_descriptors() -> Result<()> {
    at_each_step(Bench::start(&[])?, Vec::new).map(drop)
}

/// The same with policies that stay when the agent goes: pins of what failed must not stay.
fn short_of_descriptors_pinned() -> Result<()> {
    let scratch = Scratch::new()?;
    let pins = Pins::mount(&scratch)?;
    let flags = ["--keep-sensors-on-exit", &format!("--bpf-dir={}", pins.dir().display())];
    let pinned = at_each_step(Bench::start(&flags)?, || pins.entries())?;
    ensure!(pinned > 0, "nothing was pinned");
    let folder = scratch.fresh("followed")?;
    let followed = format!("--tracing-policy-dir={}", folder.display());
    let mut bench = Bench::start(&[&flags as &[&str], &[&followed]].concat())?;
    let program = bench.program();
    pins.read_only(true)?;
    let answer = bench.add("held.yaml", &getpriority("held", &program, "held", ""));
    pins.read_only(false)?;
    answer?;
    // It is in force, and says that it does not stay.
    let note = |bench: &Bench| Ok::<_, anyhow::Error>(bench.hook("held")?["note"].to_string());
    let told = note(&bench)?;
    ensure!(told.contains("it ends with the agent") && told.contains("Read-only file system"), "{told}");
    same("messages where nothing can be pinned", messages(&mut bench)?, vec!["held".to_owned()])?;
    bench.order(&["delete", "held"])?;
    bench.add("held.yaml", &getpriority("held", &program, "again", ""))?;
    let told = note(&bench)?;
    ensure!(!told.contains("it ends with the agent"), "where it can be pinned: {told}");
    same("messages where it can", messages(&mut bench)?, vec!["again".to_owned()])?;
    stuck(&mut bench, &pins, &folder)?;
    bench.lab.agent.stop()
}

/// What is pinned where nothing can be removed goes on acting: so whoever asks to be rid of it is refused, and what went with its
/// file is told until it is gone.
fn stuck(bench: &mut Bench, pins: &Pins, folder: &Path) -> Result<()> {
    let program = &bench.program();
    let third = bench.write("third.yaml", &getpriority("held", program, "third", ""))?;
    let file = folder.join("of-file.yaml");
    fs::write(&file, getpriority("of-file", program, "file", ""))?;
    wait::until("the policy of a file", wait::LONG, || {
        Ok((messages(bench)?.iter().any(|message| message == "file")).then_some(()))
    })?;
    pins.read_only(true)?;
    let tried = (|| {
        let replace = ["replace", &third.to_string_lossy()];
        for order in [&replace as &[&str], &["delete", "held"], &["disable", "held"]] {
            let output = bench.ask(order)?;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success(), "{order:?}: it was done, and the pins are there still");
            ensure!(told.contains("nothing has changed") && told.contains("Read-only file system"), "{told}");
        }
        same("state", bench.policy("held")?["state"].as_str(), Some("TP_STATE_ENABLED"))?;
        fs::remove_file(&file)?;
        wait::until("the policy that stays to be told", wait::LONG, || {
            Ok(bench.lab.agent.status()?.problems().contains("is in force still").then_some(()))
        })?;
        ensure!(messages(bench)?.iter().any(|message| message == "again"), "what is held tells nothing");
        Ok(())
    })();
    pins.read_only(false)?;
    tried?;
    wait::until("the policy to be gone", wait::LONG, || {
        let told = bench.lab.agent.status()?.problems();
        Ok((!told.contains("is in force still")).then_some(()))
    })?;
    // The kernel detaches what is pinned no longer a moment later.
    wait::until("what is left to tell alone", wait::LONG, || {
        Ok((messages(bench)? == ["again"]).then_some(()))
    })?;
    bench.order(&["replace", &third.to_string_lossy()])?;
    same("messages of what replaced it", messages(bench)?, vec!["third".to_owned()])
}

/// Replaces a policy with ever more descriptors, until that succeeds. `pins` tells names of what is pinned. Returns how
/// many those of the policy are.
fn at_each_step(mut bench: Bench, pins: impl Fn() -> Vec<String>) -> Result<usize> {
    let without = pins();
    let program = bench.program();
    bench.add("held.yaml", &getpriority("held", &program, "first", ""))?;
    let second =
        getpriority("held", &program, "second", "    return: true\n    returnArg: {index: 0, type: int}\n");
    let file = bench.write("second.yaml", &second)?;
    let pid = bench.lab.agent.pid();
    let (before, pinned) = (descriptors(pid)?, pins());
    let free = (0..).filter(|number| !before.contains(number)).take(TRIES);
    let usual = usual(pid)?;
    let (mut refused, mut replaced) = (0, false);
    // The highest descriptor that may be had goes up by one each time, so that each step fails once for want of one.
    for last in free.skip(CONNECTION) {
        limit(pid, Rlimit { current: Some(last + 1), ..usual })?;
        let answer = bench.ask(&["replace", &file.to_string_lossy()]);
        limit(pid, usual)?;
        let answer = answer?;
        if answer.status.success() {
            replaced = true;
            break;
        }
        refused += 1;
        let told = String::from_utf8_lossy(&answer.stderr).into_owned();
        let policy = bench.policy("held")?;
        ensure!(policy["state"] == "TP_STATE_ENABLED", "after {refused} refusals: {policy}, {told}");
        let messages = messages(&mut bench)?;
        same(&format!("messages after: {told}"), messages, vec!["first".to_owned()])?;
        same(&format!("pins after: {told}"), pins(), pinned.clone())?;
    }
    println!("        refused at {refused} steps");
    ensure!(replaced, "it was never replaced");
    ensure!(refused > 10, "a policy takes more than {refused} descriptors: nothing was tried");
    same("messages at the end", messages(&mut bench)?, vec!["second".to_owned()])?;
    bench.order(&["delete", "held"])?;
    let after = descriptors(pid)?.len();
    ensure!(after <= before.len(), "{after} descriptors, {} before: some were left", before.len());
    let policy = pinned.len().saturating_sub(without.len());
    same("pins at the end", pins(), without)?;
    bench.lab.agent.stop()?;
    Ok(policy)
}

/// What a call is told with.
fn messages(bench: &mut Bench) -> Result<Vec<String>> {
    let seen = bench.lab.observe(&["calls", "1"])?;
    Ok(hooks(&seen).map(|event| event.text("message").to_owned()).collect())
}
