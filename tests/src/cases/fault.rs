//! Bad input and faults: each ends in a clear message or a clean continuation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::agent::{self, Agent, LINEAGE};
use crate::case::{Case, alone};
use crate::event::Kind;
use crate::observe::{Observation, same, settle};
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("sigterm-in-a-storm", sigterm_in_a_storm).on_any_kernel(),
    alone("sigkill-and-restart", sigkill_and_restart),
    alone("second-agent-is-refused", second_agent).on_any_kernel(),
    alone("closed-pipe", closed_pipe).on_any_kernel(),
    alone("full-disk", full_disk).on_any_kernel(),
    alone("full-disk-for-messages-too", full_disk_for_messages_too).on_any_kernel(),
    alone("recording-on-a-full-disk", recording_on_a_full_disk).on_any_kernel(),
    alone("process-table-too-small", table_too_small),
    alone("moved-file", moved_file).on_any_kernel(),
    alone("bad-configuration", bad_configuration).on_any_kernel(),
    alone("print-configuration", print_configuration).on_any_kernel(),
    alone("no-btf", no_btf),
    alone("missing-capability", missing_capability),
    alone("bad-run-directory", bad_run_directory).on_any_kernel(),
];

fn sigterm_in_a_storm() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, LINEAGE)?;
    let mut storm = programs.start(&scratch, &["storm", "60", "2"])?;
    storm.wait_for("started")?;
    let mut stream = agent.stream();
    wait::until("events of the storm", wait::LONG, || {
        stream.advance()?;
        Ok((stream.events.len() > 500).then_some(()))
    })?;
    agent.signal(Signal::TERM)?;
    agent.wait()?;
    storm.terminate()?;
    storm.finish()?;
    // Ends with status 0, no panic, no half line, no socket left.
    agent.check_stopped()
}

fn sigkill_and_restart() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut first = Agent::start(&scratch, &[])?;
    let dir = first.dir.clone();
    first.signal(Signal::KILL)?;
    first.wait()?;
    ensure!(dir.join("saker.sock").exists(), "there is no stale socket, so that this run proves nothing");
    fs::rename(&first.export, dir.join("events-before.json"))?;
    let mut second = Agent::spawn(&dir, &[])?;
    second.wait_ready()?;
    let mut stream = second.stream();
    let run = programs.start(&scratch, &["plain"])?.finish()?;
    settle(&programs, &scratch, &mut stream)?;
    Observation::new(run, &stream.events)?.check_end("child")?;
    second.stop()
}

fn second_agent() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut first = Agent::start(&scratch, &[])?;
    let output = run_to_end(agent::command(&agent::binary()?, &first.dir), &[])?;
    check_refusal(&output, &[&first.dir.to_string_lossy()])?;
    // Another run directory, but the same socket.
    let other = scratch.fresh("other")?;
    let address = first.address();
    let flags = ["--server-address", &address];
    let output = run_to_end(agent::command(&agent::binary()?, &other), &flags)?;
    check_refusal(&output, &["saker.sock"])?;
    first.status().context("the first agent after the second was refused")?;
    first.stop()
}

/// Runs a command that should end by itself.
pub(super) fn run_to_end(mut command: Command, arguments: &[&str]) -> Result<Output> {
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let ended = wait::until("an agent that cannot run to end", wait::LONG / 2, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    ended.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(output)
}

/// A failure, told in words that name what they must, without a panic.
pub(super) fn check_refusal(output: &Output, words: &[&str]) -> Result<()> {
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it ended as if all were well; it said:\n{message}");
    ensure!(output.status.code().is_some(), "it was killed ({})", output.status);
    ensure!(!message.contains("panicked"), "it panicked:\n{message}");
    for word in words {
        ensure!(message.to_lowercase().contains(&word.to_lowercase()), "it does not name {word}:\n{message}");
    }
    ensure!(message.lines().count() <= 12, "the message is long:\n{message}");
    Ok(())
}

/// Whoever read standard output is gone; the file goes on.
fn closed_pipe() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("piped")?;
    let export = dir.join("events.json");
    let mut child = agent::command(&agent::binary()?, &dir)
        .args(["--output", "json", "--export-filename"])
        .arg(&export)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(dir.join("log"))?)
        .spawn()?;
    drop(child.stdout.take());
    let ended = wait::until("the agent to notice the closed pipe, or to be ready", wait::LONG, || {
        programs.start(&scratch, &["burst", "50", "4", "pipe"])?.finish()?;
        let ended = child.try_wait()?;
        let goes_on = export.metadata().is_ok_and(|meta| meta.len() > 100_000);
        Ok((ended.is_some() || goes_on).then_some(ended))
    });
    if matches!(ended, Ok(Some(_))) {
        println!("        the agent ends when nobody reads its output");
    } else {
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("not a PID")?, Signal::TERM)?;
    }
    let status = wait::until("the agent to end", wait::LONG, || Ok(child.try_wait()?));
    if status.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let log = fs::read_to_string(dir.join("log"))?;
    ended.with_context(|| log.clone())?;
    ensure!(!log.contains("panicked"), "it panicked:\n{log}");
    same("status", status?.code(), Some(0)).with_context(|| log)
}

/// A mount that goes with this value.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &std::ffi::CStr) -> Result<Self> {
        mount("saker-test", at, "tmpfs", MountFlags::empty(), Some(options))
            .context("cannot mount a tmpfs")?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

/// The file system of the export fills up and has room again: the agent goes on, says what it dropped, and
/// every line that stands is whole.
fn full_disk() -> Result<()> {
    full_disk_under(|dir| Agent::spawn(dir, &[]))
}

/// The same when its messages find no room either: what cannot be said must not end what it is about.
fn full_disk_for_messages_too() -> Result<()> {
    full_disk_under(|dir| Agent::spawn_logging_to(full_device()?, dir, &["--log-level=debug"]))
}

/// Whatever is written there finds no room.
pub(super) fn full_device() -> Result<fs::File> {
    fs::File::options().write(true).open("/dev/full").context("cannot open /dev/full")
}

fn full_disk_under(spawn: fn(&Path) -> Result<Agent>) -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let disk = Mounted::tmpfs(&scratch.fresh("disk")?, c"size=4m")?;
    let dir = disk.0.join("run");
    fs::create_dir(&dir)?;
    let mut agent = spawn(&dir)?;
    agent.wait_ready()?;
    fill(&disk.0.join("filler"))?;
    programs.start(&scratch, &["burst", "600", "8", "full"])?.finish()?;
    let told = wait::until("the agent to report that the disk is full", wait::LONG, || {
        let status = agent.status()?;
        let file = status.sinks("file").next().cloned().unwrap_or_default();
        Ok((number(file.get("errors")) > 0).then_some(file))
    })?;
    let message = told["last_error"].as_str().unwrap_or("");
    ensure!(message.to_lowercase().contains("space"), "its status calls the full disk {message:?}");
    fs::remove_file(disk.0.join("filler"))?;
    let mut stream = agent.stream();
    wait::until("events to be written again", wait::LONG, || {
        let run = programs.start(&scratch, &["marker"])?.finish()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        stream.advance()?;
        let written = stream.events.iter().any(|event| event.kind == Kind::Exec && event.pid() == run.pid);
        Ok(written.then_some(()))
    })?;
    agent.status()?.check_balance(10_000)?;
    let log = agent.log()?;
    ensure!(log.lines().count() < 60, "the full disk is logged {} times", log.lines().count());
    agent.stop()
}

/// A recording that finds no room ends; the agent goes on, its status says so, and so does the replay.
fn recording_on_a_full_disk() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let disk = Mounted::tmpfs(&scratch.fresh("disk")?, c"size=4m")?;
    let recording = disk.0.join("recording");
    let flag = format!("--record={}", recording.display());
    let mut agent = Agent::start(&scratch, &[&flag])?;
    fill(&disk.0.join("filler"))?;
    let told = wait::until("the agent to report that the recording ended", wait::LONG, || {
        programs.start(&scratch, &["burst", "100", "4", "recorded"])?.finish()?;
        let status = agent.status()?;
        let sink = status.sinks("recording").next().context("the recording is no sink in status")?.clone();
        Ok((number(sink.get("dropped")) > 0).then_some((sink, status)))
    })?;
    let (sink, status) = told;
    ensure!(sink["last_error"].as_str().unwrap_or("").contains("space"), "it calls the full disk {sink}");
    ensure!(number(sink.get("bytes")) > 0, "nothing was written: {sink}");
    let problems = status.problems();
    ensure!(problems.contains("recording") && problems.contains("ended early"), "problems: {problems}");
    agent.stop()?;
    let output = Command::new(agent::binary()?).arg("replay").arg(&recording).output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    same("status of the replay", output.status.code(), Some(0))?;
    ensure!(message.contains("is cut after"), "the replay does not say that the end is missing: {message}");
    ensure!(!output.stdout.is_empty(), "nothing was replayed");
    Ok(())
}

/// Living processes that the table has no room for are told as a loss.
fn table_too_small() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &["--process-cache-size=16"])?;
    let mut holder = programs.start(&scratch, &["hold", "30", "crowd"])?;
    holder.wait_for("holding")?;
    let problems = wait::until("a problem in status", wait::LONG, || {
        Ok(Some(agent.status()?.problems()).filter(|problems| !problems.is_empty()))
    })?;
    ensure!(problems.contains("living processes were forgotten"), "problems: {problems}");
    ensure!(problems.contains("process-cache-size, now 16"), "no hint what to do: {problems}");
    holder.finish()?;
    agent.stop()
}

/// Takes all the room that is left but some pages.
fn fill(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    let stat = statvfs(parent)?;
    ensure!(!stat.f_flag.contains(StatVfsMountFlags::RDONLY), "the disk is read-only");
    let room = usize::try_from(stat.f_bavail * stat.f_frsize)?;
    ensure!(room <= 4 << 20, "this is not the small disk");
    fs::write(path, vec![0; room.saturating_sub(64 << 10)]).context("cannot fill the disk")
}

/// Somebody moves the file away: what follows stands in a new one of the old name.
fn moved_file() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let mut agent = Agent::start(&scratch, &[])?;
    let mut before = agent.stream();
    settle(&programs, &scratch, &mut before)?;
    let moved = agent.dir.join("moved.json");
    fs::rename(&agent.export, &moved)?;
    let mut after = agent.stream();
    wait::until("a new file of the old name", wait::LONG, || {
        let run = programs.start(&scratch, &["marker"])?.finish()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        after.advance()?;
        let told = |event: &crate::event::Event| event.kind == Kind::Exec && event.pid() == run.pid;
        Ok(after.events.iter().any(told).then_some(()))
    })?;
    crate::stream::Stream::new(&moved).check_end()?;
    agent.stop()
}

fn bad_configuration() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("configuration")?;
    let binary = agent::binary()?;
    let refused = |flags: &[&str], words: &[&str]| -> Result<()> {
        let output = run_to_end(agent::command(&binary, &dir), flags)?;
        check_refusal(&output, words).with_context(|| format!("saker agent {flags:?}"))?;
        same("status", output.status.code(), Some(2)).with_context(|| format!("saker agent {flags:?}"))
    };
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let absent = dir.join("absent.yaml").to_string_lossy().into_owned();
    refused(&["--config", &absent], &["absent.yaml"])?;
    let folder = dir.to_string_lossy().into_owned();
    refused(&["--config", &folder], &[&folder])?;
    let broken = file("broken.yaml", "rb-size-total: [1\n")?;
    refused(&["--config", &broken], &["broken.yaml"])?;
    let unknown = file("unknown.yaml", "export-filname: /x\n")?;
    refused(&["--config", &unknown], &["unknown.yaml", "export-filname"])?;
    let kind = file("kind.yaml", "event-queue-size: many\n")?;
    refused(&["--config", &kind], &["kind.yaml", "event-queue-size", "many"])?;
    refused(&["--no-such-flag"], &["--no-such-flag"])?;
    refused(&["--rb-size-total=much"], &["rb-size-total", "much"])?;
    refused(&["--rb-size=64K", "--rb-size-total=64K"], &["rb-size", "rb-size-total"])?;
    refused(&["--export-file-perm=999"], &["export-file-perm", "999"])?;
    refused(&["--export-allowlist={"], &["export-allowlist"])?;
    refused(&["--server-address=unix://relative"], &["server-address"])?;
    let filter = r#"{"binary_regex":["("]}"#;
    refused(&["--export-allowlist", filter], &["export-allowlist", "binary_regex"])?;
    refused(&["--export-filename=/dev/null", "--export-denylist", filter], &["export-denylist"])?;
    refused(&["--procfs=/etc"], &["procfs", "no proc file system"])?;
    let open = scratch.fresh("open")?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
    let open = open.to_string_lossy().into_owned();
    refused(&["--config-dir", &open], &[&open, "lets others write it"])?;
    for arguments in [&["-e", "nonsense"][..], &["--process", "("], &["--server-address", "/relative"]] {
        let mut command = Command::new(&binary);
        command.arg("events").args(arguments);
        let output = run_to_end(command, &[])?;
        check_refusal(&output, &[]).with_context(|| format!("saker events {arguments:?}"))?;
        same("status", output.status.code(), Some(2))
            .with_context(|| format!("saker events {arguments:?}"))?;
    }
    let missing = dir.join("no/such/folder/events.json").to_string_lossy().into_owned();
    let output = run_to_end(agent::command(&binary, &dir), &["--export-filename", &missing])?;
    check_refusal(&output, &["no/such/folder"])
}

fn print_configuration() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("configuration")?;
    let path = dir.join("saker.yaml");
    fs::write(&path, "event-queue-size: 77\nlog-level: warn\n")?;
    let mut command = agent::command(&agent::binary()?, &dir);
    command.env("SAKER_LOG_LEVEL", "error").arg("--config").arg(&path);
    let output = run_to_end(command, &["--print-config", "--max-clients=3"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it failed: {}", String::from_utf8_lossy(&output.stderr));
    let line = |option: &str| -> Result<String> {
        let found = text.lines().find(|line| line.trim_start().starts_with(&format!("{option}:")));
        Ok(found.with_context(|| format!("no line for {option} in:\n{text}"))?.to_owned())
    };
    ensure!(line("event-queue-size")?.contains("77"), "the file: {}", line("event-queue-size")?);
    ensure!(line("log-level")?.contains("error"), "environment before file: {}", line("log-level")?);
    ensure!(line("max-clients")?.contains('3'), "the flag: {}", line("max-clients")?);
    Ok(())
}

/// An empty folder stands in place of the kernel's type information, for this one process only.
fn no_btf() -> Result<()> {
    let scratch = Scratch::new()?;
    let (dir, empty) = (scratch.fresh("run")?, scratch.fresh("empty")?);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" /sys/kernel/btf && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&empty).arg(agent::binary()?);
    command.args(["agent", "--run-dir"]).arg(&dir);
    check_refusal(&run_to_end(command, &[])?, &["btf"])
}

fn missing_capability() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("run")?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(agent::binary()?);
    command.args(["agent", "--run-dir"]).arg(&dir);
    check_refusal(&run_to_end(command, &[])?, &["cap_"])
}

fn bad_run_directory() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("run")?;
    let file = dir.join("file");
    fs::write(&file, "")?;
    let output = run_to_end(agent::command(&agent::binary()?, &file), &[])?;
    if output.status.success() {
        bail!("a file serves as run directory");
    }
    check_refusal(&output, &[&file.to_string_lossy()])
}
