//! Standard output, standard error, pipes and terminals, and their ends.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use super::fault::{check_refusal, full_device, run_to_end};
use crate::agent::{self, Agent};
use crate::case::{Case, alone};
use crate::observe::{same, settle};
use crate::scratch::Scratch;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("closed-pipe-of-both-streams", closed_pipe_of_both).on_any_kernel(),
    alone("closed-pipe-as-export-file", closed_pipe_as_export).on_any_kernel(),
    alone("messages-that-cannot-be-written", unwritable_messages).on_any_kernel(),
    alone("pipe-without-reader", pipe_without_reader).on_any_kernel(),
    alone("lost-terminal", lost_terminal).on_any_kernel(),
    alone("lost-terminal-and-quiet-machine", lost_terminal_by_signal).on_any_kernel(),
    alone("hangup-without-terminal", hangup_without_terminal).on_any_kernel(),
    alone("another-proc-file-system", another_procfs),
];

/// Ends with this value, however the case ends.
struct Running(Child);

impl Running {
    fn end(&mut self, what: &str) -> Result<ExitStatus> {
        wait::until(what, wait::LONG / 4, || Ok(self.0.try_wait()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// `saker agent … 2>&1 | head -1`.
fn closed_pipe_of_both() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    for form in ["compact", "json"] {
        let (reader, writer) = pipe()?;
        let mut command = agent::command(&agent::binary()?, &scratch.fresh("piped")?);
        command.args(["--log-level=debug", "--output", form]).stdin(Stdio::null());
        let mut child = Running(command.stderr(writer.try_clone()?).stdout(writer).spawn()?);
        // It holds the writing ends too.
        drop(command);
        let mut line = String::new();
        BufReader::with_capacity(1, reader).read_line(&mut line)?;
        programs.start(&scratch, &["burst", "50", "4", "pipe"])?.finish()?;
        let status = child.end("the agent to end after the reader of both its streams")?;
        same("status", status.code(), Some(0)).with_context(|| format!("output {form}"))?;
    }
    Ok(())
}

/// `saker agent --export-filename /dev/stdout | head -1`.
fn closed_pipe_as_export() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let (reader, writer) = pipe()?;
    let dir = scratch.fresh("piped")?;
    let mut command = agent::command(&agent::binary()?, &dir);
    command.arg("--export-filename=/dev/stdout").stdin(Stdio::null()).stderr(File::create(dir.join("log"))?);
    let mut child = Running(command.stdout(writer).spawn()?);
    drop(command);
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("{\"process_exec\""), "the first line is {line}");
    drop(reader);
    programs.start(&scratch, &["burst", "50", "4", "pipe"])?.finish()?;
    let status = child.end("the agent to end after the reader of its export")?;
    same("status", status.code(), Some(0))
        .with_context(|| fs::read_to_string(dir.join("log")).unwrap_or_default())
}

/// What cannot be said does not change how a command ends.
fn unwritable_messages() -> Result<()> {
    let scratch = Scratch::new()?;
    let nobody = format!("unix://{}/nobody.sock", scratch.path().display());
    let cases: [(&[&str], i32); 5] = [
        (&["events", "--server-address", &nobody], 1),
        (&["events", "-e", "nonsense"], 2),
        (&["status", "--server-address", &nobody], 1),
        (&["replay", "/dev/null"], 1),
        (&["agent", "--log-level", "debug", "--procfs", "/etc"], 2),
    ];
    for (arguments, expected) in cases {
        let mut command = Command::new(agent::binary()?);
        let mut child = Running(command.args(arguments).stdin(Stdio::null()).stderr(full_device()?).spawn()?);
        let status = child.end("a command that cannot say why it fails")?;
        same("status", status.code(), Some(expected)).with_context(|| format!("saker {arguments:?}"))?;
    }
    let dir = scratch.fresh("agent")?;
    let mut agent = Agent::spawn_logging_to(full_device()?, &dir, &["--log-level=trace"])?;
    agent.wait_ready()?;
    agent.stop()
}

/// An agent must not wait for a reader of its export, deaf to signals.
fn pipe_without_reader() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("run")?;
    let fifo = dir.join("fifo");
    mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600))?;
    let path = fifo.to_string_lossy().into_owned();
    for flag in ["--export-filename", "--record"] {
        let output = run_to_end(agent::command(&agent::binary()?, &dir), &[flag, &path])?;
        check_refusal(&output, &[flag.trim_start_matches('-'), &path])?;
    }
    Ok(())
}

/// An agent with a terminal of its own, its messages in a file, its output there or in the terminal; and the other
/// end of the terminal.
fn in_terminal(dir: &Path, output: Option<File>) -> Result<(Running, OwnedFd)> {
    // An agent that inherited the other end would keep its own terminal alive.
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(agent::binary()?).args(["agent", "--output=compact", "--run-dir"]).arg(dir);
    command.stdin(slave.try_clone()?).stderr(File::create(dir.join("log"))?);
    command.stdout(output.map_or(Stdio::from(slave), Stdio::from));
    let mut child = Running(command.spawn().context("cannot run setsid")?);
    drop(command);
    wait_ready(&mut child, dir)?;
    Ok((child, master))
}

fn wait_ready(child: &mut Running, dir: &Path) -> Result<()> {
    wait::until("the agent to be ready", wait::LONG, || {
        ensure!(child.0.try_wait()?.is_none(), "it ended: {}", fs::read_to_string(dir.join("log"))?);
        let info = fs::read(dir.join("saker-info.json")).unwrap_or_default();
        Ok(serde_json::from_slice::<Value>(&info).is_ok().then_some(()))
    })
}

fn check_terminal_end(mut child: Running, dir: &Path) -> Result<()> {
    let status = child.end("the agent to end after its terminal")?;
    same("status", status.code(), Some(0))
        .with_context(|| fs::read_to_string(dir.join("log")).unwrap_or_default())
}

/// The window is closed: the agent ends, as its output has nowhere to go.
fn lost_terminal() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("terminal")?;
    let (child, terminal) = in_terminal(&dir, None)?;
    let reader = std::thread::spawn(move || {
        // It must be emptied, or the agent waits for it; two seconds of events will do.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
        let mut bytes = [0; 4096];
        while std::time::Instant::now() < end && rustix::io::read(&terminal, &mut bytes).is_ok_and(|n| n > 0)
        {
        }
    });
    while !reader.is_finished() {
        programs.start(&scratch, &["marker"])?.finish()?;
    }
    check_terminal_end(child, &dir)
}

/// The same with the output in a file, so that only the signal tells.
fn lost_terminal_by_signal() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("terminal")?;
    let (mut child, terminal) = in_terminal(&dir, Some(File::create(dir.join("out"))?))?;
    // With the terminal there the signal means what it means to services.
    let pid = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
    kill_process(pid, Signal::HUP)?;
    wait::until("the order to open the export anew", wait::LONG, || {
        Ok(fs::read_to_string(dir.join("log"))?.contains("Reopen").then_some(()))
    })?;
    ensure!(child.0.try_wait()?.is_none(), "SIGHUP ended an agent that has its terminal");
    drop(terminal);
    check_terminal_end(child, &dir)
}

/// Services have no terminal to lose.
fn hangup_without_terminal() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &["--output=json"])?;
    agent.signal(Signal::HUP)?;
    let mut stream = agent.stream();
    settle(&programs, &scratch, &mut stream)?;
    agent.stop()
}

/// Running processes are read where `--procfs` says, also when nothing is at /proc.
fn another_procfs() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let (dir, proc) = (scratch.fresh("run")?, scratch.fresh("proc")?);
    fs::set_permissions(&proc, Permissions::from_mode(0o755))?;
    let mut holder = programs.start(&scratch, &["hold", "1", "elsewhere"])?;
    let held = holder.wait_for("holding")?.pid("held.0")?;
    // Before its exec it has those of its creator, in the midst of it none.
    let arguments = wait::until("the arguments of the held process", wait::LONG, || {
        let line = fs::read(format!("/proc/{held}/cmdline"))?;
        let words = line.split(|&byte| byte == 0).skip(1).filter(|word| !word.is_empty());
        let text = words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        Ok((text == "hold 0 elsewhere").then_some(text))
    })?;
    let export = dir.join("events.json");
    let script = "mount -t proc proc \"$1\" && mount -t tmpfs none /proc && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&proc).arg(agent::binary()?);
    command.args(["agent", "--run-dir"]).arg(&dir).arg("--procfs").arg(&proc);
    command.arg("--export-filename").arg(&export).stdin(Stdio::null()).stderr(File::create(dir.join("log"))?);
    let mut child = Running(command.spawn().context("cannot run unshare")?);
    wait_ready(&mut child, &dir)?;
    let found = wait::until("the held process in the export", wait::LONG, || {
        let text = fs::read_to_string(&export).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut own = events.filter(|event| event["process_exec"]["process"]["pid"] == held);
        Ok(own.next())
    })?;
    let pid = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
    kill_process(pid, Signal::TERM)?;
    same("status", child.end("the agent to end")?.code(), Some(0))?;
    holder.finish()?;
    let told = found["process_exec"]["process"]["arguments"].as_str().unwrap_or("").to_owned();
    same("arguments", told, arguments)
}
