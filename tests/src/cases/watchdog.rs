//! What a service manager is told of an agent one thread of which stands still.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::Signal;

use super::reload::Manager;
use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::observe::same;
use crate::peer::{self, proto};
use crate::scratch::Scratch;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[alone("watchdog-of-a-stuck-engine", stuck).on_any_kernel()];

/// Programs that are started until a pipe is full: an event of one has about a kilobyte.
const BURST: &str = "i=0; while [ $i -lt 30 ]; do /bin/true; i=$((i+1)); done";

/// What the agent says of its health.
fn health(agent: &Agent) -> Result<String> {
    peer::runtime()?.block_on(async {
        let channel = peer::connect(&agent.address()).await?;
        let mut client = proto::fine_guidance_sensors_client::FineGuidanceSensorsClient::new(channel);
        let answer = client.get_health(proto::GetHealthStatusRequest::default()).await?.into_inner();
        Ok(answer.health_status.first().context("no status")?.details.clone())
    })
}

/// The thread of a process with this name.
fn thread(pid: u32, name: &str) -> Result<String> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim() == name {
            return Ok(task.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("process {pid} has no thread {name}")
}

/// Nobody reads it, so that what is written to it stands still when it is full: of pages, and of what is left of the last.
fn fill(pipe: &mut File) -> Result<()> {
    for size in [4096, 1] {
        loop {
            match pipe.write(&vec![b'\n'; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    ensure!(Command::new("/bin/sh").args(["-c", BURST]).status()?.success(), "no programs are started");
    Ok(())
}

/// A sink that stands still is not the agent: the manager goes on to hear of it. An engine that stands still is: it hears
/// nothing more, until the engine moves again.
fn stuck() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("agent")?;
    let manager = Manager(UnixDatagram::bind(dir.join("notify"))?);
    manager.0.set_read_timeout(Some(Duration::from_millis(500)))?;
    let pipe_path = dir.join("pipe");
    mkfifoat(CWD, &pipe_path, Mode::from_raw_mode(0o600))?;
    let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&pipe_path)?;
    let export = dir.join("pipe.yaml");
    fs::write(&export, format!("- {{name: pipe, kind: file, path: {}}}\n", pipe_path.display()))?;
    let socket = dir.join("notify").display().to_string();
    let variables = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "3000000")];
    let mut agent =
        Agent::spawn_within(&variables, &dir, &[&format!("--export-config={}", export.display())])?;
    agent.wait_ready()?;

    fill(&mut pipe)?;
    // Longer than the time after which a thread is taken to hang: signs are a second apart.
    manager.forget()?;
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1")?;
    }
    same("health beside a pipe that nobody reads", health(&agent)?.as_str(), "running")?;

    let mut holder = programs.start(&scratch, &["hold-thread", &thread(agent.pid(), "saker-engine")?])?;
    holder.wait_for("held")?;
    // The manager's queue holds ten messages, so it is read meanwhile.
    wait::until("the manager to be told that the agent hangs", wait::LONG, || {
        // Something to do, without which an engine may rest.
        ensure!(Command::new("/bin/true").status()?.success(), "no program is started");
        let told = manager.so_far()?.concat();
        Ok(told.contains("STATUS=the engine has been at one batch of records for ").then_some(()))
    })?;
    let told = health(&agent)?;
    ensure!(told.contains("the engine has been at one batch"), "health of an agent that hangs: {told}");
    manager.forget()?;
    // The agent has looked again, and told nothing.
    let mut texts = vec![told];
    wait::until("more looks of the agent", wait::LONG, || {
        let text = health(&agent)?;
        if !texts.contains(&text) {
            texts.push(text);
        }
        Ok((texts.len() > 2).then_some(()))
    })?;
    let signs: Vec<_> = manager.so_far()?.into_iter().filter(|text| text.contains("WATCHDOG=1")).collect();
    ensure!(signs.is_empty(), "a sign of life of an agent that says {texts:?}");

    holder.finish()?;
    manager.wait_for("STATUS=Running")?;
    manager.wait_for("WATCHDOG=1")?;
    same("health once the engine moves again", health(&agent)?.as_str(), "running")?;
    ensure!(agent.log()?.contains("the agent moves again"), "the log does not tell that it moves again");

    // Somebody reads the pipe, so that the end has not to wait for it.
    agent.signal(Signal::TERM)?;
    wait::until("the agent to end", wait::LONG, || {
        let mut bytes = [0; 65536];
        while pipe.read(&mut bytes).is_ok_and(|length| length > 0) {}
        Ok((!std::path::Path::new(&format!("/proc/{}/fd/0", agent.pid())).exists()).then_some(()))
    })?;
    agent.check_stopped()
}
