//! `saker policy explain --kernel`: what it says beforehand is what the agent then does, by the running kernel and by a
//! file that describes it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::Bench;
use crate::agent;
use crate::case::{Case, alone};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] = &[alone("policy-explained", explained).long()];

/// Hooks that kernels serve in different ways.
const HOOKS: &[&str] = &[
    "kprobes: [{call: sys_openat, syscall: true, NOBODY}]",
    "kprobes: [{call: 'list:opens', syscall: true, return: true, returnArg: {index: 0, type: int}, NOBODY}]\n  lists:\n  - \
     {name: opens, type: syscalls, values: [sys_openat, sys_open]}",
    "kprobes: [{call: security_file_open, syscall: false, args: [{index: 0, type: file}], NOBODY}]",
    "lsmhooks: [{hook: file_open, args: [{index: 0, type: file}], NOBODY}]",
    "tracepoints: [{subsystem: sched, event: sched_process_exec, NOBODY}]",
    "tracepoints: [{subsystem: raw_syscalls, event: sys_enter, raw: true, NOBODY}]",
    "fentries: [{call: no_such_function, NOBODY}]",
];

/// What `explain` says of the policies of a file, and whether it succeeded.
fn explain(kernel: &Path, file: &Path) -> Result<(Vec<Value>, bool)> {
    let mut command = Command::new(agent::binary()?);
    command.args(["policy", "explain", "-o", "json", "--kernel"]).arg(kernel).arg(file);
    let output = command.output()?;
    let told: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))?;
    let policies = told["policies"].as_array().context("no policies")?;
    Ok((policies.iter().map(|policy| policy["kernel"].clone()).collect(), output.status.success()))
}

/// Path, function and mechanism of each hook.
fn ways(value: &Value) -> Vec<[String; 3]> {
    let hooks = value["hooks"].as_array().cloned().unwrap_or_default();
    let word = |hook: &Value, name: &str| hook[name].as_str().unwrap_or_default().to_owned();
    hooks.iter().map(|hook| ["path", "function", "mechanism"].map(|name| word(hook, name))).collect()
}

fn explained() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    let saved = bench.lab.scratch.path().join("kernel");
    let output = Command::new(agent::binary()?).args(["probe", "--save"]).arg(&saved).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Nothing is told: other processes of this machine are none of the test's business.
    let whole = |(number, hooks): (usize, &&str)| {
        let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: asked-";
        let nobody = "selectors: [{matchPIDs: [{operator: In, values: [4194305]}]}]";
        format!("{head}{number}}}\nspec:\n  {}\n", hooks.replace("NOBODY", nobody))
    };
    let texts: Vec<String> = HOOKS.iter().enumerate().map(whole).collect();
    let all = bench.write("all.yaml", &texts.join("---\n"))?;
    let (here, success) = explain(Path::new("this"), &all)?;
    let (there, by_file) = explain(&saved, &all)?;
    same("what the file says", &there, &here)?;
    same("policies", here.len(), texts.len())?;
    same("exit status", (success, by_file), (false, false))?;
    let mut served = 0;
    for (number, (text, told)) in texts.iter().zip(&here).enumerate() {
        let file = bench.write("asked.yaml", text)?;
        let added = bench.ask(&["add", &file.to_string_lossy()])?;
        same(&format!("whether it is loaded\n{text}{told}"), added.status.success(), told["served"] == true)?;
        if !added.status.success() {
            let error = told["errors"][0]["message"].as_str().context("no reason")?.to_owned();
            let said = String::from_utf8_lossy(&added.stderr).into_owned();
            ensure!(said.contains(&error), "the agent says something else than {error:?}: {said}");
            continue;
        }
        served += 1;
        let policy = bench.policy(&format!("asked-{number}"))?;
        same(&format!("hooks of\n{text}"), ways(&policy), ways(told))?;
    }
    ensure!(served > 2, "only {served} policies were served");
    bench.lab.agent.stop()
}
