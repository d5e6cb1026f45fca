//! What stays when the agent is gone: what it told of meanwhile comes once, what it refuses is refused all the time, and
//! nothing is left when it is to go.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::Signal;
use serde_json::Value;

use super::fault::{check_refusal, run_to_end};
use super::policy::{FIRST, getpriority};
use super::policy_enforce::{BY_FUNCTION, lsm, refusing};
use crate::agent::{self, Agent, LINEAGE};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{same, settle};
use crate::scratch::Scratch;
use crate::stream::Stream;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("keep-delivers", delivers),
    alone("keep-tells-once", tells_once).long(),
    alone("keep-tells-losses", tells_losses).on_any_kernel(),
    alone("keep-storm", storm).spread(),
    alone("keep-successor-fails", successor_fails).spread(),
    alone("keep-policies-of-calls", policies_of_calls).on_any_kernel(),
    alone("keep-one-agent", one_agent).on_any_kernel(),
    alone("keep-half-made", half_made),
    alone("keep-what-can-be", what_can_be),
];

/// Restarts of the storm, unless `SAKER_KEEP_RESTARTS` says otherwise.
const RESTARTS: u32 = 6;

/// A BPF file system of the case's own, so that nothing of this machine is touched.
pub(super) struct Pins(PathBuf);

impl Pins {
    pub(super) fn mount(scratch: &Scratch) -> Result<Self> {
        let at = scratch.fresh("bpf")?;
        mount("saker-test", &at, "bpf", MountFlags::empty(), Some(c"mode=0700"))
            .context("cannot mount a BPF file system")?;
        Ok(Self(at))
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.0.join("saker")
    }

    /// Lets nothing be pinned, or again.
    pub(super) fn read_only(&self, only: bool) -> Result<()> {
        let flags = if only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, c"").context("cannot mount the BPF file system anew")
    }

    /// Names of what is there, a directory deep.
    pub(super) fn entries(&self) -> Vec<String> {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mut found = Vec::new();
        for name in names(&self.dir()) {
            let below = names(&self.dir().join(&name));
            found.extend(below.iter().map(|inner| format!("{name}/{inner}")));
            found.push(name);
        }
        found.sort();
        found
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // What a failed case left in force goes with the file system.
        let _ = fs::remove_dir_all(self.dir());
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

/// Agents that follow one another, in one run directory.
pub(super) struct Line {
    pub(super) programs: Programs,
    dir: PathBuf,
    pub(super) pins: Pins,
    pub(super) flags: Vec<String>,
    pub(super) scratch: Scratch,
}

impl Line {
    pub(super) fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let programs = Programs::install(&scratch)?;
        let pins = Pins::mount(&scratch)?;
        let dir = scratch.fresh("agents")?;
        let store = scratch.fresh("store")?.join("policies");
        let policies = dir.join("policies");
        fs::create_dir(&policies)?;
        let mut flags: Vec<String> = LINEAGE.iter().map(|&flag| flag.to_owned()).collect();
        flags.extend([
            format!("--bpf-dir={}", pins.dir().display()),
            "--persist-grpc-policies".to_owned(),
            format!("--persist-grpc-policies-dir={}", store.display()),
            format!("--tracing-policy-dir={}", policies.display()),
        ]);
        Ok(Self { programs, dir, pins, flags, scratch })
    }

    fn spawn(&self, further: &[&str]) -> Result<Agent> {
        // The last one may have been killed in the middle of a line.
        let export = self.dir.join("events.json");
        if export.exists() {
            let before = (0..).map(|number| self.dir.join(format!("events-{number}.json")));
            let before = before.into_iter().find(|path| !path.exists()).context("no name for a file")?;
            fs::rename(&export, before)?;
        }
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).chain(further.iter().copied()).collect();
        Agent::spawn(&self.dir, &flags)
    }

    pub(super) fn start(&self) -> Result<Agent> {
        let mut agent = self.spawn(&["--keep-sensors-on-exit"])?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Removes the events of agents that ended: those of many take the room of the next.
    pub(super) fn forget(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("events-") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Ends an agent in one of the ways there are.
    pub(super) fn end(&self, agent: &mut Agent, round: u32) -> Result<()> {
        match round % 3 {
            0 => kill(agent),
            1 => {
                agent.signal(Signal::TERM)?;
                agent.wait().map(drop)
            }
            // In the middle of its start.
            _ => {
                kill(agent)?;
                let mut starting = self.spawn(&["--keep-sensors-on-exit"])?;
                std::thread::sleep(Duration::from_millis(200 * u64::from(1 + round / 3 % 12)));
                kill(&mut starting)
            }
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.scratch.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    fn settle(&self, stream: &mut Stream) -> Result<()> {
        settle(&self.programs, &self.scratch, stream)
    }

    /// Runs this many calls, whose events come when they come. Returns the PID.
    fn calls(&self, count: u32) -> Result<u32> {
        Ok(self.programs.start(&self.scratch, &["calls", &count.to_string()])?.finish()?.pid)
    }
}

pub(super) fn kill(agent: &mut Agent) -> Result<()> {
    agent.signal(Signal::KILL)?;
    agent.wait().map(drop)
}

pub(super) fn ask(agent: &Agent, arguments: &[&str]) -> Result<String> {
    let (verb, rest) = arguments.split_first().context("no verb")?;
    let mut command = Command::new(agent::binary()?);
    let output =
        command.args(["policy", verb, "--server-address"]).arg(agent.address()).args(rest).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "saker policy {arguments:?} failed: {text}{message}");
    Ok(text)
}

fn policies(agent: &Agent) -> Result<Vec<Value>> {
    let value: Value = serde_json::from_str(&ask(agent, &["list", "-o", "json"])?)?;
    Ok(value["policies"].as_array().cloned().unwrap_or_default())
}

pub(super) fn policy(agent: &Agent, name: &str) -> Result<Value> {
    let found = policies(agent)?.into_iter().find(|policy| policy["name"] == name);
    found.with_context(|| format!("there is no policy {name}"))
}

fn uninstall(line: &Line, further: &[&str]) -> Result<std::process::Output> {
    let mut command = Command::new(agent::binary()?);
    command.arg("uninstall").arg("--run-dir").arg(&line.dir).arg("--bpf-dir").arg(line.pins.dir());
    run_to_end(command, further)
}

/// What was told of processes, and how often: by PID.
type Told = HashMap<u32, BTreeMap<String, usize>>;

/// How often each call of each process was told, by its number, and its exec and exit.
fn told(events: &[Event]) -> Told {
    let mut told = Told::new();
    for event in events {
        // Each agent tells the processes that it finds, whoever told of them before.
        if event.kind == Kind::Exec && event.flag("procFS") {
            continue;
        }
        let what = match event.kind {
            Kind::Hook => format!("call {}", event.number("args/1/int_arg")),
            other => format!("{other:?}"),
        };
        *told.entry(event.pid()).or_default().entry(what).or_default() += 1;
    }
    told
}

/// Exactly these calls of a process were told, each once, with one exec and one exit.
fn check_once(told: &Told, pid: u32, calls: u32) -> Result<()> {
    let mut wanted = BTreeMap::from([("Exec".to_owned(), 1), ("Exit".to_owned(), 1)]);
    wanted.extend((0..u64::from(calls)).map(|call| (format!("call {}", FIRST + call), 1)));
    same("told", told.get(&pid).cloned().unwrap_or_default(), wanted)
}

/// What happened while no agent ran is told at the next start, once, whether the last one was killed or stopped.
fn delivers() -> Result<()> {
    let line = Line::new()?;
    let mut first = line.start()?;
    let file = line.write("seen.yaml", &getpriority("seen", &line.programs.workload, "seen", ""))?;
    ask(&first, &["add", &file.to_string_lossy()])?;
    let mut stream = first.stream();
    let before = line.calls(5)?;
    line.settle(&mut stream)?;
    check_once(&told(&stream.events), before, 5).context("with the first agent")?;
    kill(&mut first)?;
    let away = line.calls(7)?;
    let mut second = line.start()?;
    let mut stream = second.stream();
    let after = line.calls(3)?;
    line.settle(&mut stream)?;
    check_once(&told(&stream.events), away, 7).context("while the agent was killed")?;
    check_once(&told(&stream.events), after, 3).context("with the second agent")?;
    ensure!(!told(&stream.events).contains_key(&before), "what the first agent told was told again");
    for event in stream.events.iter().filter(|event| event.pid() == away && event.kind == Kind::Hook) {
        same("policy", event.text("policy_name"), "seen")?;
        same("message", event.text("message"), "seen")?;
    }
    second.status()?.check_balance(1000)?;
    second.stop()?;
    let away = line.calls(4)?;
    // One that leaves nothing takes over as well.
    let mut third = line.spawn(&[])?;
    third.wait_ready()?;
    let mut stream = third.stream();
    let after = line.calls(2)?;
    line.settle(&mut stream)?;
    check_once(&told(&stream.events), away, 4).context("while the agent was stopped")?;
    check_once(&told(&stream.events), after, 2).context("with the third agent")?;
    third.stop()?;
    same("left", line.pins.entries(), Vec::new())?;
    Ok(())
}

/// What had no room while no agent ran is told to be missing, and counted.
fn tells_losses() -> Result<()> {
    const CALLS: u32 = 20_000;
    let mut line = Line::new()?;
    line.flags.push("--rb-size-total=65536".to_owned());
    let mut agent = line.start()?;
    let file = line.write("seen.yaml", &getpriority("seen", &line.programs.workload, "seen", ""))?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    kill(&mut agent)?;
    let pid = line.calls(CALLS)?;
    let mut agent = line.start()?;
    let mut stream = agent.stream();
    let lost = wait::until("a gap", wait::LONG, || {
        line.settle(&mut stream)?;
        let gaps = stream.events.iter().filter(|event| event.kind == Kind::Gap);
        Ok(gaps.filter(|event| event.text("stage") == "earlier").map(|event| event.number("lost")).max())
    })?;
    let told = told(&stream.events).get(&pid).map_or(0, |what| what.values().sum::<usize>()) as u64;
    // Others of this machine are told as well, and have less room by that.
    println!("        {told} of {CALLS} calls were told, {lost} records were told to be missing");
    ensure!(told > 0 && told < CALLS.into(), "{told} were told: nothing was lost, or all");
    ensure!(told + lost >= u64::from(CALLS), "{told} told, {lost} lost");
    let counted = agent.status()?.0["gap_records"].to_string();
    ensure!(agent.log()?.contains("there was no room for all"), "the log does not say so");
    ensure!(counted.trim_matches('"').parse::<u64>().is_ok_and(|count| count >= lost), "counted: {counted}");
    agent.stop()
}

/// How often agents are to come and go.
pub(super) fn restarts() -> u32 {
    let wanted = std::env::var("SAKER_KEEP_RESTARTS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(RESTARTS)
}

/// Programs run all the time while agents stop and start, and what each does is told once, by one of them.
fn tells_once() -> Result<()> {
    let line = Line::new()?;
    let mut agent = line.start()?;
    let file = line.write("seen.yaml", &getpriority("seen", &line.programs.workload, "seen", ""))?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    let over = AtomicBool::new(false);
    let restarts = restarts();
    let (pids, mut last) = std::thread::scope(|scope| -> Result<_> {
        let runs = scope.spawn(|| -> Result<Vec<u32>> {
            let mut pids = Vec::new();
            while !over.load(Ordering::Relaxed) {
                pids.push(line.calls(2)?);
                // The ring must have room for all that happens without an agent.
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(pids)
        });
        let follow = || -> Result<Agent> {
            for _ in 0..restarts {
                agent.stop()?;
                agent = line.start()?;
            }
            Ok(agent)
        };
        let last = follow();
        over.store(true, Ordering::Relaxed);
        let pids = runs.join().map_err(|_| anyhow::anyhow!("the thread of the programs panicked"))??;
        Ok((pids, last?))
    })?;
    let mut stream = last.stream();
    line.settle(&mut stream)?;
    last.stop()?;
    let mut all = Stream::new(&line.dir.join("events-0.json"));
    for number in 0..restarts {
        all = all.followed_by(&line.dir.join(format!("events-{number}.json")));
        all.advance()?;
    }
    all = all.followed_by(&last.export);
    all.advance()?;
    println!("        {} programs in {restarts} restarts", pids.len());
    ensure!(pids.len() > 10, "too little was done");
    let told = told(&all.events);
    let mut failed = Vec::new();
    for pid in &pids {
        if let Err(error) = check_once(&told, *pid, 2) {
            failed.push(format!("{error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{} of {} programs: {:?}", failed.len(), pids.len(), failed.first());
    Ok(())
}

/// A file that may not be opened.
fn secret(line: &Line) -> Result<String> {
    let path = line.scratch.fresh("files")?.join("secret");
    fs::write(&path, "secret\n")?;
    Ok(path.display().to_string())
}

/// Whether the agent's policy that refuses is in force; otherwise why not.
fn add_refusing(line: &Line, agent: &Agent, secret: &str) -> Result<bool> {
    let program = line.programs.workload.display().to_string();
    let file = line.write("refusing.yaml", &refusing(BY_FUNCTION, &program, secret, -1, ""))?;
    match ask(agent, &["add", &file.to_string_lossy()]) {
        Ok(_) => Ok(true),
        Err(error) => {
            ensure!(!lsm()?, "LSM programs take effect, and yet: {error:#}");
            println!("        NOT RUN: this kernel refuses nothing");
            Ok(false)
        }
    }
}

/// Agents come and go in the middle of a storm, by every way there is, and not one attempt succeeds.
fn storm() -> Result<()> {
    let line = Line::new()?;
    let mut agent = line.start()?;
    let secret = secret(&line)?;
    if !add_refusing(&line, &agent, &secret)? {
        return agent.stop();
    }
    let restarts = restarts();
    // They and the agent share the CPUs: in a long line there are fewer, so that it comes to an end.
    let besiegers = if restarts > RESTARTS { "1" } else { "3" };
    let mut siege = line.programs.start(&line.scratch, &["besiege", &secret, besiegers])?;
    siege.wait_for("besieging")?;
    let began = Instant::now();
    let mut times = Vec::new();
    for round in 0..restarts {
        line.end(&mut agent, round)?;
        line.forget()?;
        let from = Instant::now();
        agent = line.start()?;
        times.push(from.elapsed());
        same("mode", policy(&agent, "refusing")?["mode"].as_str(), Some("TP_MODE_ENFORCE"))?;
    }
    let took = began.elapsed();
    let facts = siege.finish()?.facts;
    let count = |name: &str| facts.number(name);
    println!(
        "        {} attempts, {} by new programs, {} opened, in {restarts} restarts of {:?} at most, {took:?} in all",
        count("tried")?,
        count("programs")?,
        count("opened")?,
        times.iter().max().copied().unwrap_or_default(),
    );
    same("opened", count("opened")?, 0)?;
    same("refused otherwise", count("other")?, 0)?;
    ensure!(count("tried")? > 1000 && count("programs")? > 10, "the storm is too weak");
    // A line of agents leaves the pins of one.
    let generations = line.pins.entries().into_iter().filter(|name| name.parse::<u32>().is_ok()).count();
    same("generations", generations, 1)?;
    ask(&agent, &["delete", "refusing"])?;
    let after = line.programs.start(&line.scratch, &["open-once", &secret])?.finish()?;
    same("opened without the policy", after.status.code(), Some(1))?;
    let left = line
        .pins
        .entries()
        .into_iter()
        .find(|name| name.split_once('/').is_some_and(|(_, inner)| inner.parse::<u32>().is_ok()));
    same("left of the policy", left, None)?;
    kill(&mut agent)?;
    let output = uninstall(&line, &[])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    same("left", line.pins.entries(), Vec::new())
}

/// What the last agent refused is refused although the next one cannot load it; that is told, and ends when it can.
fn successor_fails() -> Result<()> {
    let line = Line::new()?;
    let secret = secret(&line)?;
    let program = line.programs.workload.display().to_string();
    let good = refusing(BY_FUNCTION, &program, &secret, -1, "");
    let file = line.dir.join("policies/refusing.yaml");
    fs::write(&file, &good)?;
    let mut agent = line.start()?;
    let enforced = policy(&agent, "refusing")?["state"] == "TP_STATE_ENABLED";
    if !enforced {
        ensure!(!lsm()?, "LSM programs take effect, and yet: {}", policy(&agent, "refusing")?);
        println!("        NOT RUN: this kernel refuses nothing");
        return agent.stop();
    }
    let opened = || -> Result<bool> {
        let run = line.programs.start(&line.scratch, &["open-once", &secret])?.finish()?;
        Ok(run.status.code() == Some(1))
    };
    kill(&mut agent)?;
    for (text, what) in [
        (good.replace("security_file_open", "security_no_such_thing"), "a function that is not there"),
        ("spec: [\n".to_owned(), "no policy"),
    ] {
        fs::write(&file, &text)?;
        let mut agent = line.start()?;
        ensure!(!opened()?, "{what}: it is not refused any more");
        let problems = agent.status()?.problems();
        ensure!(problems.contains("refusing"), "{what}: problems: {problems}");
        if text.contains("security_no_such") {
            ensure!(problems.contains("stays in force"), "{what}: problems: {problems}");
        }
        agent.stop()?;
        ensure!(!opened()?, "{what}: it is not refused without an agent");
    }
    fs::write(&file, &good)?;
    let mut agent = line.start()?;
    same("state", policy(&agent, "refusing")?["state"].as_str(), Some("TP_STATE_ENABLED"))?;
    ensure!(!opened()?, "the successor does not refuse");
    let generations = line.pins.entries().into_iter().filter(|name| name.parse::<u32>().is_ok()).count();
    same("generations", generations, 1)?;
    fs::remove_file(&file)?;
    wait::until("the policy to be gone with its file", wait::LONG, || Ok(opened()?.then_some(())))?;
    agent.stop()
}

/// Policies of calls come back with their mode and state, broken files are told, and what is deleted is gone.
fn policies_of_calls() -> Result<()> {
    let mut line = Line::new()?;
    // Without anything that stays in the kernel.
    line.flags.retain(|flag| !flag.starts_with("--bpf-dir"));
    line.flags.push(format!("--bpf-dir={}", line.pins.dir().display()));
    let mut agent = line.spawn(&[])?;
    agent.wait_ready()?;
    for name in ["stays", "rests", "goes"] {
        let text = getpriority(name, &line.programs.workload, name, "");
        let file = line.write(&format!("{name}.yaml"), &text)?;
        ask(&agent, &["add", &file.to_string_lossy()])?;
    }
    ask(&agent, &["disable", "rests"])?;
    ask(&agent, &["delete", "goes"])?;
    kill(&mut agent)?;
    let store = line.flags.iter().find_map(|flag| flag.strip_prefix("--persist-grpc-policies-dir="));
    let store = PathBuf::from(store.context("no store")?);
    same("files", fs::read_dir(&store)?.count(), 2)?;
    fs::write(store.join("broken.json"), "{\"yaml\": 1")?;
    let mut agent = line.spawn(&[])?;
    agent.wait_ready()?;
    let states: BTreeMap<String, String> = policies(&agent)?
        .iter()
        .map(|one| (one["name"].as_str().unwrap_or("").into(), one["state"].as_str().unwrap_or("").into()))
        .collect();
    let wanted = [
        ("broken.json", "TP_STATE_LOAD_ERROR"),
        ("rests", "TP_STATE_DISABLED"),
        ("stays", "TP_STATE_ENABLED"),
    ];
    same("states", states, wanted.map(|(name, state)| (name.to_owned(), state.to_owned())).into())?;
    let problems = agent.status()?.problems();
    ensure!(problems.contains("a kept policy is broken"), "problems: {problems}");
    let mut stream = agent.stream();
    let pid = line.calls(2)?;
    line.settle(&mut stream)?;
    check_once(&told(&stream.events), pid, 2)?;
    ask(&agent, &["delete", "stays"])?;
    ask(&agent, &["delete", "rests"])?;
    same("files", fs::read_dir(&store)?.count(), 1)?;
    agent.stop()
}

/// Two agents cannot share what stays, and what an agent has is not taken from it.
fn one_agent() -> Result<()> {
    let line = Line::new()?;
    let mut first = line.start()?;
    let other = line.scratch.fresh("other")?;
    let flag = format!("--bpf-dir={}", line.pins.dir().display());
    let output = run_to_end(agent::command(&agent::binary()?, &other), &[&flag, "--keep-sensors-on-exit"])?;
    check_refusal(&output, &["another agent has", &line.pins.dir().to_string_lossy()])?;
    let output = uninstall(&line, &[])?;
    check_refusal(&output, &["another agent runs already"])?;
    let mut command = Command::new(agent::binary()?);
    command.arg("uninstall").arg("--run-dir").arg(&other).arg("--bpf-dir").arg(line.pins.dir());
    check_refusal(&run_to_end(command, &[])?, &["another agent has"])?;
    first.status().context("the first agent after others were refused")?;
    first.stop()?;
    let plain = line.scratch.fresh("plain")?;
    let flag = format!("--bpf-dir={}", plain.join("pins").display());
    let output = run_to_end(agent::command(&agent::binary()?, &other), &[&flag, "--keep-sensors-on-exit"])?;
    check_refusal(&output, &["is in no BPF file system"])?;
    let output = uninstall(&line, &["--policies", "--persist-grpc-policies-dir", &plain.to_string_lossy()])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    same("left", line.pins.entries(), Vec::new())?;
    ensure!(!plain.exists(), "the kept policies are there still");
    Ok(())
}

/// What an agent that was killed while it pinned left is removed, and what was in force before stays so.
fn half_made() -> Result<()> {
    let line = Line::new()?;
    let mut agent = line.start()?;
    let file = line.write("seen.yaml", &getpriority("seen", &line.programs.workload, "seen", ""))?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    kill(&mut agent)?;
    let whole = line.pins.entries();
    let policy = whole.iter().find(|name| name.starts_with("1/") && *name != "1/base");
    let policy = policy.with_context(|| format!("no policy is pinned: {whole:?}"))?;
    // A next generation that did not come to its turn, and a policy whose text is missing.
    let dir = line.pins.dir();
    fs::create_dir(dir.join("7"))?;
    fs::create_dir(dir.join("7/base"))?;
    fs::create_dir(dir.join("1/99999"))?;
    let away = line.calls(3)?;
    let mut agent = line.start()?;
    let mut stream = agent.stream();
    line.settle(&mut stream)?;
    check_once(&told(&stream.events), away, 3)?;
    let left = line.pins.entries();
    let old =
        |name: &&String| name.starts_with("1/") || name.starts_with("7/") || *name == "7" || *name == "1";
    same("left", left.iter().find(old), None).with_context(|| format!("{policy}: {left:?}"))?;
    agent.stop()
}

/// What the kernel cannot keep is told to end with the agent, and does; the rest stays.
fn what_can_be() -> Result<()> {
    let line = Line::new()?;
    let mut agent = line.start()?;
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: seen}}\nspec:\n  tracepoints:\n  \
         - subsystem: syscalls\n    event: sys_enter_getpriority\n    args: [{{index: 5, type: int}}, {{index: 6, type: int}}]\n    \
         selectors:\n    - matchBinaries: [{{operator: In, values: [{}]}}]\n",
        line.programs.workload.display()
    );
    let file = line.write("seen.yaml", &text)?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    let note = policy(&agent, "seen")?["hooks"][0]["note"].as_str().unwrap_or_default().to_owned();
    let stays = !note.contains("it ends with the agent");
    println!("        a tracepoint {} on this kernel", if stays { "stays" } else { "ends with the agent" });
    let log = agent.log()?;
    ensure!(
        stays != log.contains("it ends with the agent"),
        "the log does not say so, or the status: {note:?}"
    );
    kill(&mut agent)?;
    let away = line.calls(3)?;
    let mut agent = line.start()?;
    let mut stream = agent.stream();
    let after = line.calls(3)?;
    line.settle(&mut stream)?;
    let told = told(&stream.events);
    let hooks =
        |pid: u32| told.get(&pid).map_or(0, |what| what.keys().filter(|one| one.starts_with("call")).count());
    same("calls while no agent ran", hooks(away), if stays { 3 } else { 0 })?;
    same("calls with the next agent", hooks(after), 3)?;
    agent.stop()
}
