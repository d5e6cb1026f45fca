//! Exports that files declare: each gets what it asks for, and none of them hinders another.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, binary, command};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("exports-to-files", to_files).on_any_kernel(),
    alone("exports-wrongly-declared", wrongly_declared).on_any_kernel(),
];

/// Writes a file of exports that only its owner can write.
///
/// # Errors
/// When it cannot be written.
pub fn declare(scratch: &Scratch, text: &str) -> Result<PathBuf> {
    let path = scratch.fresh("exports")?.join("exports.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The state of an export.
///
/// # Errors
/// When the agent does not answer, or has no such export.
pub fn state(agent: &Agent, name: &str) -> Result<Value> {
    let status = agent.status()?;
    let sinks = status.0["sinks"].as_array().cloned().unwrap_or_default();
    sinks.into_iter().find(|sink| sink["name"] == name).with_context(|| format!("there is no export {name}"))
}

/// That what an export was offered went somewhere, now that nothing happens any more.
///
/// # Errors
/// When sums do not match for a long time.
pub fn balanced(agent: &Agent, name: &str) -> Result<Value> {
    balanced_beside(agent, name, 0..=0)
}

/// The same of an export that has written so many events more, which an earlier agent left to it.
///
/// # Errors
/// When sums do not match for a long time.
pub fn balanced_beside(agent: &Agent, name: &str, earlier: RangeInclusive<u64>) -> Result<Value> {
    let mut last = Value::Null;
    let found = wait::until("the sums of an export to balance", wait::LONG, || {
        let sink = state(agent, name)?;
        let of = |field: &str| number(sink.get(field));
        let told = of("written") + of("filtered") + of("dropped");
        last.clone_from(&sink);
        Ok(told.checked_sub(of("events")).is_some_and(|more| earlier.contains(&more)).then_some(sink))
    });
    found.with_context(|| format!("it was last {last}"))
}

fn objects(path: &Path) -> Result<Vec<Value>> {
    fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Waits until a file has the exit of this process.
fn wait_for_exit(path: &Path, pid: u32) -> Result<()> {
    wait::until("the exit of a program in an export", wait::LONG, || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mark = format!("\"pid\":{pid},");
        let found = text.lines().any(|line| line.starts_with("{\"process_exit\"") && line.contains(&mark));
        Ok(found.then_some(()))
    })
}

fn to_files() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let folder = scratch.path().display().to_string();
    let text = format!(
        "- name: everything\n  kind: file\n  path: {folder}/everything.json\n\
         - name: only-exits\n  kind: file\n  path: {folder}/exits.json\n  allow:\n    - event_set: [PROCESS_EXIT]\n\
         - name: nothing\n  kind: file\n  path: {folder}/nothing.json\n  rate-limit: 0\n  queue-size: 100000\n"
    );
    let exports = declare(&scratch, &text)?;
    let mut agent = Agent::start(&scratch, &["--export-config", &exports.display().to_string()])?;
    let process = programs.start(&scratch, &["marker"])?.finish()?;
    let path = |name: &str| scratch.path().join(name);
    wait_for_exit(&path("everything.json"), process.pid)?;
    wait_for_exit(&path("exits.json"), process.pid)?;
    for name in ["everything", "only-exits", "nothing"] {
        let sink = balanced(&agent, name)?;
        same("kind", sink["kind"].as_str(), Some("file"))?;
    }
    ensure!(number(state(&agent, "only-exits")?.get("filtered")) > 0, "nothing was filtered");
    let metrics = agent.ask("status", &[])?;
    let shown = String::from_utf8_lossy(&metrics.stdout).into_owned();
    ensure!(shown.contains("only-exits"), "`saker status` does not show the export:\n{shown}");
    agent.stop()?;
    let of_process = |event: &Value, kind: &str| event[kind]["process"]["pid"] == process.pid;
    let all = objects(&path("everything.json"))?;
    same("executions", all.iter().filter(|event| of_process(event, "process_exec")).count(), 1)?;
    let exits = objects(&path("exits.json"))?;
    same("exits", exits.iter().filter(|event| of_process(event, "process_exit")).count(), 1)?;
    ensure!(exits.iter().all(|event| event.get("process_exec").is_none()), "an execution among the exits");
    let told = objects(&path("nothing.json"))?;
    ensure!(told.iter().all(|event| event.get("rate_limit_info").is_some()), "events beyond the rate limit");
    ensure!(!told.is_empty(), "nobody tells what the rate limit kept out");
    Ok(())
}

fn wrongly_declared() -> Result<()> {
    let scratch = Scratch::new()?;
    let exports =
        declare(&scratch, "- name: a\n  kind: file\n  pathh: /x\n- name: b\n  kind: smoke-signals\n")?;
    let dir = scratch.fresh("agent")?;
    let output = command(&binary()?, &dir).arg("--export-config").arg(&exports).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it started with exports that are wrong");
    let file = exports.display();
    for expected in [
        format!("{file}:3:3: error: [0].pathh: there is no such field"),
        "did you mean `path`?".to_owned(),
        format!("{file}:1:3: error: [0]: `path` is missing"),
        format!("{file}:5:9: error: [1].kind: `smoke-signals`: expected one of: file"),
    ] {
        ensure!(told.contains(&expected), "{expected}\nis not in\n{told}");
    }
    Ok(())
}
