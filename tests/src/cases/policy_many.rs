//! More policies at once than a user is likely to have.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::{Bench, FIRST, getpriority, offers};
use crate::observe::same;

/// Policies, of one hook each on one function: nearly as many as a trampoline takes (`BPF_MAX_TRAMP_LINKS`, 38; before Linux 5.19 `BPF_MAX_TRAMP_PROGS`, 40).
const COUNT: usize = 36;
/// With these there are more than it takes.
const BEYOND: usize = 41;
/// Open files that a policy may take. The agent may be allowed no more than some thousands of them.
const FILES_MAX: usize = 32;

/// Each tells each call, none takes more open files than it should, and all of them are given back.
pub fn many() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    let files = |bench: &Bench| -> Result<usize> {
        let folder = format!("/proc/{}/fd", bench.lab.agent.pid());
        Ok(fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?.count())
    };
    // The first makes what all share.
    bench.add("first.yaml", &getpriority("first", &bench.program(), "asked", ""))?;
    let before = files(&bench)?;
    for number in 1..COUNT {
        let name = format!("many-{number}");
        bench.add(&format!("{name}.yaml"), &getpriority(&name, &bench.program(), "asked", ""))?;
    }
    let each = (files(&bench)? - before) / (COUNT - 1);
    ensure!(each <= FILES_MAX, "a policy takes {each} open files");
    println!("        {each} open files for each policy");
    same("each policy tells", bench.calls("1")?, vec![FIRST; COUNT])?;
    // Where a function takes no more trampolines, the next way serves as well, and it is told why.
    for number in COUNT..BEYOND {
        let name = format!("many-{number}");
        bench.add(&format!("{name}.yaml"), &getpriority(&name, &bench.program(), "asked", ""))?;
    }
    same("with more", bench.calls("1")?, vec![FIRST; BEYOND])?;
    let last = hook(&bench, &format!("many-{}", BEYOND - 1))?;
    println!("        the last one is attached as {}: {}", last["mechanism"], last["note"]);
    let told = last["note"].as_str().context("no note")?.contains("at most 38 programs");
    same("the bound is told where there is one", told, offers(&["fentry"])?)?;
    ensure!(!told || last["mechanism"] == "kprobe", "{last}");
    for number in COUNT..BEYOND {
        bench.order(&["delete", &format!("many-{number}")])?;
    }
    for number in 1..COUNT {
        bench.order(&["delete", &format!("many-{number}")])?;
    }
    let after = files(&bench)?;
    ensure!(after <= before + 4, "{before} open files before, {after} after the policies are gone");
    bench.lab.agent.stop()
}

/// The first hook of a policy, as it is told.
fn hook(bench: &Bench, name: &str) -> Result<Value> {
    let text = bench.order(&["status", name, "-o", "json"])?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    Ok(value["policies"][0]["hooks"][0].clone())
}
