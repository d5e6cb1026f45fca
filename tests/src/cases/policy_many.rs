//! More policies at once than a user is likely to have.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::policy::{Bench, FIRST, getpriority};
use crate::observe::same;

/// Policies, of one hook each on one function: nearly as many as a trampoline takes (`BPF_MAX_TRAMP_LINKS`, 38).
const COUNT: usize = 36;
/// With these there are more than it takes.
const BEYOND: usize = 39;
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
    // Where the kernel sets a bound it is told which.
    let mut more = Vec::new();
    for number in COUNT..BEYOND {
        let name = format!("many-{number}");
        let path =
            bench.write(&format!("{name}.yaml"), &getpriority(&name, &bench.program(), "asked", ""))?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        if output.status.success() {
            more.push(name);
            continue;
        }
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(told.contains("at most 38 programs"), "the bound is not told: {told}");
    }
    same("with more", bench.calls("1")?, vec![FIRST; COUNT + more.len()])?;
    for name in more {
        bench.order(&["delete", &name])?;
    }
    for number in 1..COUNT {
        bench.order(&["delete", &format!("many-{number}")])?;
    }
    let after = files(&bench)?;
    ensure!(after <= before + 4, "{before} open files before, {after} after the policies are gone");
    bench.lab.agent.stop()
}
