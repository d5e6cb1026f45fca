//! `saker events`, slow readers, recordings.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::{self, Agent, FULL};
use crate::case::{Case, alone, shared};
use crate::event::{Event, Kind};
use crate::observe::{Lab, Observation, same, settle};
use crate::scratch::Scratch;
use crate::status::number;
use crate::stream::Stream;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    shared("client-sees-the-same-lines", same_lines).on_any_kernel(),
    shared("client-filters-by-pid-and-kind", filters).on_any_kernel(),
    shared("client-ends-after-its-count", counted).on_any_kernel(),
    shared("client-filters-show-in-status", filters_in_status).on_any_kernel(),
    shared("client-without-agent", without_agent).on_any_kernel(),
    shared("socket-permissions", socket_permissions),
    alone("slow-client-delays-nobody", slow_client).on_any_kernel(),
    alone("record-and-replay", record_and_replay).on_any_kernel(),
];

/// A `saker events` at work.
struct Client {
    child: Child,
    out: PathBuf,
}

impl Client {
    /// Starts one and waits until the agent has it in its list.
    fn start(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let before = lab.agent.status()?.sinks("grpc").count();
        let mut client = Self::spawn(lab, arguments)?;
        wait::until("the agent to know of its client", wait::LONG, || {
            let ended = client.child.try_wait()?;
            ensure!(ended.is_none(), "the client ended: {}", client.log());
            Ok((lab.agent.status()?.sinks("grpc").count() > before).then_some(()))
        })?;
        Ok(client)
    }

    /// Starts one.
    fn spawn(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let out = lab.scratch.fresh("client")?.join("lines");
        let child = lab
            .agent
            .client("events")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(out.with_extension("log"))?)
            .spawn()?;
        Ok(Self { child, out })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.out.with_extension("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        kill_process(pid, signal).context("cannot signal the client")
    }

    /// What it printed of the test's own processes.
    fn stream(&self) -> Stream {
        Stream::new(&self.out)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The events of a run among all that a reader has, once its last one is there.
fn events_of(stream: &mut Stream, wanted: &Observation) -> Result<Vec<Event>> {
    let ids: Vec<&str> = wanted.events.iter().map(Event::exec_id).collect();
    wait::until("the client to print the events", wait::LONG, || {
        stream.advance()?;
        let own: Vec<Event> =
            stream.events.iter().filter(|event| ids.contains(&event.exec_id())).cloned().collect();
        Ok((own.len() >= wanted.events.len()).then_some(own))
    })
}

fn same_lines(lab: &mut Lab) -> Result<()> {
    let client = Client::start(lab, &["-o", "json"])?;
    for workload in [&["awkward-words"][..], &["set-uid-root"], &["signals"], &["new-user-namespace"]] {
        let seen = lab.observe(workload)?;
        let told = events_of(&mut client.stream(), &seen)?;
        same("events", told.len(), seen.events.len())?;
        for (client, file) in told.iter().zip(&seen.events) {
            same("time", &client.time, &file.time)?;
            check_same_body(client, file)?;
        }
    }
    Ok(())
}

fn filters(lab: &mut Lab) -> Result<()> {
    let mut holder = lab.programs.start(&lab.scratch, &["hold", "1", "filtered"])?;
    let held = holder.wait_for("holding")?.pid("held.0")?;
    let pid = held.to_string();
    let one = Client::start(lab, &["-o", "json", "--pid", &pid])?;
    let ends = Client::start(lab, &["-o", "json", "--event-types", "PROCESS_EXIT"])?;
    holder.finish()?;
    let seen = lab.observe(&["plain"])?;
    wait::until("the client with a PID to print the end of that process", wait::LONG, || {
        Ok(fs::read_to_string(&one.out)?.contains('\n').then_some(()))
    })?;
    let text = fs::read_to_string(&one.out)?;
    for (index, line) in text.lines().enumerate() {
        let event = Event::parse(u64::try_from(index)? + 1, line)?;
        same("PID of what the filter passed", event.pid(), held)?;
    }
    let child = seen.exit("child.pid")?.exec_id().to_owned();
    wait::until("the client of ends to print one", wait::LONG, || {
        Ok(fs::read_to_string(&ends.out)?.contains(&child).then_some(()))
    })?;
    for (index, line) in fs::read_to_string(&ends.out)?.lines().enumerate() {
        let event = Event::parse(u64::try_from(index)? + 1, line)?;
        ensure!(matches!(event.kind, Kind::Exit | Kind::Gap), "the filter on ends passed something else");
    }
    Ok(())
}

fn counted(lab: &mut Lab) -> Result<()> {
    // Whether the agent knows of it is not asked: who asks is a process with events too, after which it may have ended.
    let mut client = Client::spawn(lab, &["-o", "json", "-n", "3"])?;
    let status = wait::until("the client to end after three events", wait::LONG, || {
        lab.observe(&["plain"])?;
        Ok(client.child.try_wait()?)
    })?;
    ensure!(status.success(), "it ended with {status}: {}", client.log());
    same("lines", fs::read_to_string(&client.out)?.lines().count(), 3)
}

/// What filters kept out was not written.
fn filters_in_status(lab: &mut Lab) -> Result<()> {
    let client = Client::start(lab, &["-o", "json", "--process", "/no/such/program$"])?;
    let label = format!("pid {}", client.child.id());
    lab.observe(&["plain"])?;
    let sink = wait::until("filtered events in status", wait::LONG, || {
        let status = lab.agent.status()?;
        let own = status.sinks("grpc").find(|sink| sink["target"] == label.as_str()).cloned();
        Ok(own.filter(|sink| number(sink.get("filtered")) > 0))
    })?;
    same("events written", number(sink.get("written")), 0)?;
    same("bytes", number(sink.get("bytes")), 0)
}

fn slow_client() -> Result<()> {
    let mut lab = Lab::start(&["--event-queue-size=100"])?;
    let lab = &mut lab;
    let time = |lab: &mut Lab| -> Result<Duration> {
        let begin = Instant::now();
        lab.observe(&["burst", "500", "8", "slow"])?;
        Ok(begin.elapsed())
    };
    let before = time(lab)?;
    let client = Client::start(lab, &["-o", "json"])?;
    client.signal(Signal::STOP)?;
    let mut meanwhile = time(lab)?;
    for _ in 0..3 {
        meanwhile = meanwhile.max(time(lab)?);
    }
    let status = lab.agent.status()?;
    client.signal(Signal::CONT)?;
    ensure!(
        meanwhile < before * 6 + Duration::from_secs(5),
        "a burst takes {meanwhile:?} beside a client that does not read, {before:?} without"
    );
    status.check_balance(30_000)?;
    let dropped: u64 = status.sinks("grpc").map(|sink| number(sink.get("dropped"))).sum();
    let file: u64 = status.sinks("file").map(|sink| number(sink.get("dropped"))).sum();
    same("events that the file missed", file, 0)?;
    // The agent may also part from a client that reads nothing for long.
    let parted = status.sinks("grpc").next().is_none();
    ensure!(
        dropped > 0 || parted,
        "nothing was dropped for the client that did not read: {}",
        status.0["sinks"]
    );
    lab.agent.stop()?;
    println!("        {dropped} events dropped for the client that did not read, none for the file");
    Ok(())
}

fn without_agent(lab: &mut Lab) -> Result<()> {
    let socket = format!("unix://{}/nobody.sock", lab.scratch.path().display());
    for verb in ["events", "status"] {
        let output = Command::new(agent::binary()?)
            .args([verb, "--server-address", &socket])
            .stdin(Stdio::null())
            .output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "saker {verb} ended as if all were well");
        ensure!(message.contains("nobody.sock"), "saker {verb} does not name the address: {message}");
        ensure!(!message.contains("panicked"), "saker {verb} panicked: {message}");
    }
    Ok(())
}

fn socket_permissions(lab: &mut Lab) -> Result<()> {
    let mode = |path: PathBuf| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    same("mode of the socket", mode(lab.agent.dir.join("saker.sock"))?, 0o660)?;
    same("mode of the export", mode(lab.agent.export.clone())?, 0o600)
}

/// The message names the place only: ancestors are other people's processes.
fn check_same_body(told: &Event, wanted: &Event) -> Result<()> {
    let place = difference(&told.body, &wanted.body, String::new());
    ensure!(place.is_none(), "line {}: another value at {}", wanted.line, place.unwrap_or_default());
    Ok(())
}

/// The first place where two values differ.
fn difference(told: &Value, wanted: &Value, place: String) -> Option<String> {
    match (told, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = a.keys().chain(b.keys()).find(|key| a.contains_key(*key) != b.contains_key(*key));
            missing.map(|key| format!("{place}/{key}")).or_else(|| {
                a.iter().find_map(|(key, value)| difference(value, &b[key], format!("{place}/{key}")))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| difference(a, b, format!("{place}/{index}")))
        }
        _ => (told != wanted).then_some(place),
    }
}

/// What was recorded, told again without a kernel, is the same to the letter.
fn record_and_replay() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let recording = scratch.path().join("recording");
    let flag = format!("--record={}", recording.display());
    // Somebody made it readable for all: recordings hold command lines.
    fs::write(&recording, "something else")?;
    fs::set_permissions(&recording, fs::Permissions::from_mode(0o666))?;
    let mut agent = Agent::start(&scratch, &[FULL, &[&flag]].concat())?;
    same("mode of the recording", fs::metadata(&recording)?.permissions().mode() & 0o777, 0o600)?;
    let mut stream = agent.stream();
    for workload in [&["plain"][..], &["long-arguments"], &["double-fork"], &["not-utf8"], &["burst", "300"]]
    {
        programs.start(&scratch, workload)?.finish()?;
    }
    settle(&programs, &scratch, &mut stream)?;
    let status = agent.status()?;
    let sink = status.sinks("recording").next().context("the recording is no sink in status")?;
    ensure!(
        number(sink.get("bytes")) > 10_000 && sink["target"] == recording.to_string_lossy().as_ref(),
        "{sink}"
    );
    agent.stop()?;
    stream.advance()?;
    let replayed = replay(&recording, &scratch.path().join("replayed"))?;
    let live: Vec<&Event> = stream.events.iter().collect();
    let again: Vec<&Event> = replayed.events.iter().collect();
    same("events", again.len(), live.len())?;
    for (again, live) in again.iter().zip(&live) {
        same("time", &again.time, &live.time)?;
        check_same_body(again, live)?;
    }
    same("lines of all processes", replayed.totals, stream.totals)
}

fn replay(recording: &Path, out: &Path) -> Result<Stream> {
    let output = Command::new(agent::binary()?)
        .args(["replay", "-o", "json"])
        .arg(recording)
        .stdin(Stdio::null())
        .stdout(File::create(out)?)
        .stderr(Stdio::piped())
        .output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "saker replay failed ({}): {message}", output.status);
    ensure!(message.is_empty(), "saker replay says of a whole recording: {message}");
    let mut stream = Stream::new(out);
    stream.check_end()?;
    Ok(stream)
}
