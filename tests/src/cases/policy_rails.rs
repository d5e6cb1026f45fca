//! What keeps policies from doing harm: the switch of enforcement, trials, who is spared; and what is counted of each
//! selector and control group. Everything is for the test's own program by its path.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::Bench;
use super::policy_enforce::{BY_FUNCTION, Files, added, hooks, lsm, refusing};
use crate::agent;
use crate::case::{Case, alone};
use crate::event::Kind;
use crate::observe::{Observation, same};
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-switch", switch).long(),
    alone("policy-selectors-counted", selectors),
    alone("policy-dry-run", dry_run).on_any_kernel(),
    alone("policy-on-the-agent", on_the_agent).long(),
    alone("policy-on-init", on_init).spread(),
];

/// Status of commands that found the other answer.
const OTHER: i32 = 3;

const REFUSED: &str = "KPROBE_ACTION_OVERRIDE";

fn saker(bench: &Bench, words: &[&str], rest: &[&str]) -> Result<Command> {
    let mut command = Command::new(agent::binary()?);
    command.args(words).arg("--server-address").arg(bench.lab.agent.address()).args(rest);
    Ok(command)
}

fn enforce(bench: &Bench, verb: &str, rest: &[&str]) -> Result<Output> {
    saker(bench, &["enforce", verb], rest)?.output().context("cannot run saker enforce")
}

/// The state of the switch, which the exit status tells too.
fn state(bench: &Bench) -> Result<Value> {
    let output = enforce(bench, "status", &["-o", "json"])?;
    let told: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))?;
    let on = told["enforcing"] == true;
    same("status of saker enforce status", output.status.code(), Some(if on { 0 } else { OTHER }))?;
    Ok(told)
}

/// Numbers of 64 bits are texts in JSON of messages, and what is 0 is left out.
fn wide(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Attempts to open the secret: how many were let through, and why not all of them were refused.
fn attempt(bench: &mut Bench, files: &Files) -> Result<(u64, Vec<String>)> {
    let seen = bench.lab.observe(&["forbidden", &files.secret, &files.harmless, "4"])?;
    let told = hooks(&seen, REFUSED);
    ensure!(!told.is_empty(), "no attempt was told");
    let mut reasons: Vec<String> =
        told.iter().map(|event| event.text("action_withheld").to_owned()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    Ok((seen.run.facts.number("opened")?, reasons))
}

fn is_refused(what: &str, bench: &mut Bench, files: &Files) -> Result<()> {
    same(what, attempt(bench, files)?, (0, vec![String::new()]))
}

fn is_let_through(what: &str, bench: &mut Bench, files: &Files) -> Result<()> {
    let (opened, reasons) = attempt(bench, files)?;
    ensure!(opened > 0, "{what}: all was refused");
    same(what, reasons, vec!["switch".to_owned()])
}

/// Off, no policy acts, those that come later neither; on, they do, also when only the time is over.
fn switch() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    let text = refusing(BY_FUNCTION, &program, &files.secret, -1, "");
    if !added(&bench, &text)? {
        return Ok(());
    }
    is_refused("at first", &mut bench, &files)?;
    let before = state(&bench)?;
    let denied = wide(&before["total"]["denied"]);
    same(
        "counted by control group",
        denied,
        bench.hook("refusing")?["overridden"].as_u64().unwrap_or_default(),
    )?;
    let groups = before["groups"].as_array().cloned().unwrap_or_default();
    same("sum of all groups", groups.iter().map(|one| wide(&one["counters"]["denied"])).sum(), denied)?;

    let output = enforce(&bench, "off", &["--reason", "it hurts"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_let_through("switched off", &mut bench, &files)?;
    let off = state(&bench)?;
    ensure!(off["enforcing"].is_null() && off["off_until"].is_null(), "{off}");
    same("reason", off["off_reason"].as_str(), Some("it hurts"))?;
    let by = off["off_by"].as_str().unwrap_or_default();
    ensure!(by.starts_with("pid ") && by.contains("uid 0"), "who asked is not told: {by}");
    bench.order(&["delete", "refusing"])?;
    bench.add("later.yaml", &text)?;
    is_let_through("a policy that came later", &mut bench, &files)?;
    ensure!(bench.hook("refusing")?["monitored_override"].as_u64() > Some(0), "nothing was counted");

    let output = enforce(&bench, "on", &[])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_refused("switched on", &mut bench, &files)?;

    // Long enough for an attempt on an emulated machine, which ends before.
    let output = enforce(&bench, "off", &["--for", "12s"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(state(&bench)?["off_until"].is_string(), "no end is told");
    if attempt(&mut bench, &files)?.0 == 0 {
        ensure!(state(&bench)?["enforcing"] == true, "all was refused before the time was over");
    }
    wait::until("the end of the time", wait::LONG, || {
        Ok((state(&bench)?["enforcing"] == true).then_some(()))
    })?;
    is_refused("after the time", &mut bench, &files)?;
    ensure!(wide(&state(&bench)?["switched_off"]) == 2, "{}", state(&bench)?);
    bench.lab.agent.stop()
}

/// What each selector did is told of it, and the sums are those of the hook.
fn selectors() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    let one = refusing(BY_FUNCTION, &program, &files.secret, -1, "");
    let text = one.replace("    - matchBinaries", "    - label: secrets\n      matchBinaries")
        + &format!(
            "    - label: rest\n      matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
             matchArgs: [{{index: 0, operator: Equal, values: [{}]}}]\n      matchActions: [{{action: NoPost}}]\n",
            files.harmless
        );
    if !added(&bench, &text)? {
        return Ok(());
    }
    let seen = bench.lab.observe(&["forbidden", &files.secret, &files.harmless, "20"])?;
    same("forbidden files opened", seen.run.facts.number("opened")?, 0)?;
    let policy = bench.policy("refusing")?;
    let hook = &policy["hooks"][0];
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    let (secrets, rest) = (&hook["selectors"][0], &hook["selectors"][1]);
    same("label", secrets["label"].as_str(), Some("secrets"))?;
    let told = hooks(&seen, REFUSED).len() as u64;
    same("refused", count(secrets, "overridden"), count(secrets, "matched"))?;
    same("posted", count(secrets, "posted") + count(hook, "lost"), count(secrets, "overridden"))?;
    same("told", told, count(secrets, "posted"))?;
    ensure!(count(rest, "matched") > 0, "the harmless file was not seen");
    same("silent", count(rest, "unposted"), count(rest, "matched"))?;
    for name in ["matched", "posted", "unposted", "overridden"] {
        same(name, count(secrets, name) + count(rest, name), count(hook, name))?;
    }
    // As clients of Tetragon see it.
    let theirs = &policy["stats"]["selector_action_counters"][1];
    same("label", theirs["selector_label"].as_str(), Some("rest"))?;
    same("nopost", wide(&theirs["action_counters"]["nopost"]), count(rest, "unposted"))?;
    bench.lab.agent.stop()
}

fn start_trial(bench: &Bench, path: &Path, time: &str) -> Result<Child> {
    let rest = ["--dry-run", "--for", time, "-o", "json", &path.to_string_lossy()];
    let mut command = saker(bench, &["policy", "add"], &rest)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("cannot run saker policy add --dry-run")
}

/// Waits until the policy of a trial is there; the name of it. None: the trial ended before.
fn on_trial(bench: &Bench, trial: &mut Child) -> Result<Option<String>> {
    wait::until("the policy on trial", wait::LONG, || {
        let text = bench.order(&["status", "-o", "json", "--domain", "dry-run"])?;
        let told: Value = serde_json::from_str(&text)?;
        let enabled = |one: &&Value| one["state"] == "enabled";
        let found = told["policies"].as_array().into_iter().flatten().find(enabled);
        if let Some(name) = found.and_then(|one| one["name"].as_str()) {
            return Ok(Some(Some(name.to_owned())));
        }
        Ok(trial.try_wait()?.map(|_| None))
    })
}

fn nothing_is_left(bench: &Bench) -> Result<()> {
    wait::until("the end of the policy on trial", wait::LONG, || {
        let text = bench.order(&["status", "-o", "json"])?;
        let told: Value = serde_json::from_str(&text)?;
        Ok(told["policies"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
}

/// A trial tells what would have been done to whom, does nothing, and leaves nothing, also when it is interrupted.
fn dry_run() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    // A signal, which every kernel can send.
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: ending}}\nspec:\n  kprobes:\n  \
         - call: sys_unlink\n    syscall: true\n    args: [{{index: 0, type: string}}]\n    selectors:\n    \
         - label: secrets\n      matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
         matchArgs: [{{index: 0, operator: Equal, values: [{}]}}]\n      matchActions: [{{action: Sigkill}}]\n",
        files.secret
    );
    let path = bench.write("tried.yaml", &text)?;
    let mut trial = start_trial(&bench, &path, "15s")?;
    let Some(name) = on_trial(&bench, &mut trial)? else {
        let output = trial.wait_with_output()?;
        anyhow::bail!("it was not loaded: {}", String::from_utf8_lossy(&output.stderr));
    };
    let seen = bench.lab.observe(&["ended", &files.secret])?;
    same("the process went on", seen.run.facts.number("child.status")?, 7)?;
    same("told", withheld(&seen, &name), vec!["monitor".to_owned()])?;
    let output = trial.wait_with_output()?;
    let told: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))?;
    same("exit status", output.status.code(), Some(OTHER))?;
    let group = &told["groups"][0];
    same("binary", group["binary"].as_str(), Some(program.as_str()))?;
    same("action", group["action"].as_str(), Some("KPROBE_ACTION_SIGKILL"))?;
    same("events", (wide(&group["events"]), wide(&group["would_act"])), (1, 1))?;
    let selector = &told["policy"]["hooks"][0]["selectors"][0];
    same("label", selector["label"].as_str(), Some("secrets"))?;
    same("counted", wide(&selector["monitored_signal"]), 1)?;
    nothing_is_left(&bench)?;

    let mut trial = start_trial(&bench, &path, "1h")?;
    ensure!(on_trial(&bench, &mut trial)?.is_some(), "it was not loaded again");
    trial.kill()?;
    trial.wait()?;
    nothing_is_left(&bench)?;

    let none = bench.write("none.yaml", &text.replace(&files.secret, "/nowhere"))?;
    let output = start_trial(&bench, &none, "2s")?.wait_with_output()?;
    same("exit status of a trial in which nobody was hit", output.status.code(), Some(0))?;
    bench.lab.agent.stop()
}

/// Why the actions of a policy were withheld.
fn withheld(seen: &Observation, policy: &str) -> Vec<String> {
    let of_policy =
        seen.events.iter().filter(|event| event.kind == Kind::Hook && event.text("policy_name") == policy);
    of_policy.map(|event| event.text("action_withheld").to_owned()).collect()
}

/// The agent reads a file that a policy forbids it by name: by default it may, with the option it may not.
fn on_the_agent() -> Result<()> {
    for (flags, hit) in [(&[] as &[&str], false), (&["--enforce-on-agent"], true)] {
        let scratch = crate::scratch::Scratch::new()?;
        let folder = scratch.fresh("watched")?;
        let watched = format!("--tracing-policy-dir={}", folder.display());
        let bench = Bench::start(&[&[watched.as_str()], flags].concat())?;
        let file = folder.join("other.yaml");
        let binary = fs::canonicalize(agent::binary()?)?.display().to_string();
        if !added(&bench, &refusing(BY_FUNCTION, &binary, &file.display().to_string(), -1, ""))? {
            return Ok(());
        }
        fs::write(&file, super::policy::getpriority("other", &bench.program(), "asked", ""))?;
        let found = wait::until("the policy of the file", wait::LONG, || {
            let text = bench.order(&["status", "-o", "json", "--domain", "static"])?;
            let told: Value = serde_json::from_str(&text)?;
            Ok(told["policies"].as_array().and_then(|all| all.first().cloned()))
        })?;
        let refused = found["state"] == "load_error";
        ensure!(refused == hit, "with {flags:?}: {found}");
        let hook = bench.hook("refusing")?;
        let count = |name: &str| hook[name].as_u64().unwrap_or_default();
        ensure!((count("overridden") > 0) == hit && (count("spared") > 0) != hit, "with {flags:?}: {hook}");
    }
    Ok(())
}

/// A policy that names the first process refuses it something only with the option that allows that. Only where that process is
/// one of the test's own machine.
fn on_init() -> Result<()> {
    if !lsm()? || fs::read_to_string("/proc/1/comm")?.trim() != "init" {
        println!(
            "        not tried: LSM programs take no effect, or the first process is none that a test may touch"
        );
        return Ok(());
    }
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: first}\nspec:\n  lsmhooks:\n  \
                - hook: task_kill\n    args: [{index: 2, type: int}]\n    selectors:\n    \
                - matchPIDs: [{operator: In, values: [1]}]\n      \
                matchArgs: [{index: 2, operator: Equal, values: ['15']}]\n      \
                matchActions: [{action: Override, argError: -13}]\n";
    for (flags, error) in [(&[] as &[&str], "0"), (&["--enforce-on-init"], "13")] {
        let mut bench = Bench::start(flags)?;
        bench.add("first.yaml", text)?;
        let mut target = Command::new("/bin/sleep").arg("600").spawn()?;
        let seen = bench.lab.observe(&["first-signals", &target.id().to_string()]);
        let ended = target.try_wait();
        target.kill()?;
        let status = target.wait()?;
        same("the first process's call", seen?.run.facts.text("may.first")?, error)?;
        if error != "0" {
            ensure!(ended?.is_none(), "the signal was sent: {status}");
        } else {
            same("signal", std::os::unix::process::ExitStatusExt::signal(&status), Some(15))?;
        }
        let hook = bench.hook("first")?;
        let count = |name: &str| hook[name].as_u64().unwrap_or_default();
        let hit = u64::from(error != "0");
        same(&format!("with {flags:?}: {hook}"), (count("overridden"), count("spared")), (hit, 1 - hit))?;
        bench.lab.agent.stop()?;
    }
    Ok(())
}
