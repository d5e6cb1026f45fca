//! The export file is rotated and moved: every event stands in one of the files, once, and in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("rotation-by-size-with-compression", by_size).on_any_kernel(),
    alone("rotation-keeps-so-many-files", bounded_number).on_any_kernel(),
    alone("rotation-by-age", by_age).on_any_kernel(),
    alone("rotation-on-signal", on_signal).on_any_kernel(),
    alone("reopening-on-signal", reopening).on_any_kernel(),
];

/// The export and its backups, oldest first.
fn files(agent: &Agent) -> Result<Vec<PathBuf>> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(&agent.dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What is being compressed is there under its old name.
        if name.starts_with("events-") && !name.ends_with(".tmp") {
            backups.push(path);
        }
    }
    backups.sort();
    backups.push(agent.export.clone());
    Ok(backups)
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = if path.extension().is_some_and(|extension| extension == "gz") {
        let output = Command::new("gzip").arg("-dc").arg(path).output().context("cannot run gzip")?;
        ensure!(output.status.success(), "{} is no gzip file", path.display());
        String::from_utf8(output.stdout)?
    } else {
        fs::read_to_string(path)?
    };
    ensure!(text.is_empty() || text.ends_with('\n'), "{} ends with half a line", path.display());
    Ok(text.lines().map(str::to_owned).collect())
}

/// Executions of these programs: each in one file of all, once.
fn check_executions(files: &[PathBuf], pids: &[u32]) -> Result<()> {
    let mut told = Vec::new();
    for path in files {
        for (index, line) in lines(path)?.iter().enumerate() {
            let event = Event::parse(u64::try_from(index)? + 1, line)?;
            ensure!(event.kind != Kind::Gap, "a gap in {}", path.display());
            if event.kind == Kind::Exec && pids.contains(&event.pid()) {
                told.push(event.pid());
            }
        }
    }
    same("executions in all files, in their order", told, pids.to_vec())
}

/// Runs programs one after the other.
fn run(programs: &Programs, scratch: &Scratch, count: usize) -> Result<Vec<u32>> {
    (0..count).map(|_| Ok(programs.start(scratch, &["marker"])?.finish()?.pid)).collect()
}

/// Waits until the events of a program stand in the present file.
fn wait_for(agent: &Agent, pid: u32) -> Result<()> {
    let mark = format!("\"pid\":{pid},");
    wait::until("the events of a program in the export", wait::LONG, || {
        let text = fs::read_to_string(&agent.export).unwrap_or_default();
        Ok(text
            .lines()
            .any(|line| line.starts_with("{\"process_exit\"") && line.contains(&mark))
            .then_some(()))
    })
}

fn rotations(agent: &Agent) -> Result<u64> {
    Ok(agent.status()?.sinks("file").map(|sink| number(sink.get("rotations"))).sum())
}

const SIZE: &[&str] =
    &["--export-file-max-size-mb=1", "--export-file-compress", "--export-file-max-backups=0"];

fn by_size() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, SIZE)?;
    let mut pids = Vec::new();
    wait::until("two rotations by size", wait::LONG, || {
        pids.extend(run(&programs, &scratch, 1)?);
        programs.start(&scratch, &["burst", "300", "4", "rotation"])?.finish()?;
        Ok((rotations(&agent)? >= 2).then_some(()))
    })?;
    agent.stop()?;
    let files = files(&agent)?;
    ensure!(files.len() >= 3, "only {files:?}");
    for path in &files {
        let size = fs::metadata(path)?.len();
        ensure!(size <= 1 << 20, "{} has {size} bytes", path.display());
        let compressed = path.extension().is_some_and(|extension| extension == "gz");
        same("compressed", compressed, *path != agent.export)?;
    }
    check_executions(&files, &pids)
}

fn bounded_number() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &["--export-file-max-backups=2"])?;
    for round in 1..5 {
        wait_for(&agent, run(&programs, &scratch, 1)?[0])?;
        agent.signal(Signal::USR1)?;
        wait::until("a rotation", wait::LONG, || Ok((rotations(&agent)? >= round).then_some(())))?;
    }
    wait::until("old files to be deleted", wait::LONG, || Ok((files(&agent)?.len() == 3).then_some(())))?;
    agent.stop()
}

fn by_age() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent =
        Agent::start(&scratch, &["--export-file-rotation-interval=1s", "--export-file-max-backups=0"])?;
    let mut pids = Vec::new();
    wait::until("two rotations by age", wait::LONG, || {
        pids.extend(run(&programs, &scratch, 1)?);
        std::thread::sleep(Duration::from_millis(100));
        Ok((rotations(&agent)? >= 2).then_some(()))
    })?;
    agent.stop()?;
    check_executions(&files(&agent)?, &pids)
}

fn on_signal() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &[])?;
    let mut pids = run(&programs, &scratch, 3)?;
    wait_for(&agent, pids[2])?;
    same("rotations before the signal", rotations(&agent)?, 0)?;
    agent.signal(Signal::USR1)?;
    wait::until("the rotation", wait::LONG, || Ok((rotations(&agent)? == 1).then_some(())))?;
    pids.extend(run(&programs, &scratch, 3)?);
    agent.stop()?;
    let files = files(&agent)?;
    same("files", files.len(), 2)?;
    check_executions(&files[..1], &pids[..3])?;
    check_executions(&files, &pids)
}

/// As log rotation tools do: the file is moved, then the agent is told.
fn reopening() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &[])?;
    let mut pids = run(&programs, &scratch, 3)?;
    wait_for(&agent, pids[2])?;
    let moved = agent.dir.join("moved.json");
    fs::rename(&agent.export, &moved)?;
    agent.signal(Signal::HUP)?;
    // Also without an event: whoever moved it may be about to compress it.
    wait::until("a new file of the old name", wait::LONG, || Ok(agent.export.exists().then_some(())))?;
    pids.extend(run(&programs, &scratch, 3)?);
    agent.stop()?;
    same("rotations that are not its own", files(&agent)?.len(), 1)?;
    check_executions(&[moved, agent.export.clone()], &pids)
}
