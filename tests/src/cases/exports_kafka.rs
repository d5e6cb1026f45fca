//! Exports to the brokers that librdkafka has for tests: kcat, a client that Debian has, runs them within itself, and
//! another one reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::exports::{balanced_beside, declare, state};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("exports-to-kafka-through-outages", to_kafka).on_any_kernel(),
    alone("exports-to-kafka-by-process", by_process).on_any_kernel(),
];

const TOPIC: &str = "saker.events";

/// A cluster of two brokers, as long as it lives.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    /// Where they are, each `HOST:PORT`, separated by commas.
    pub brokers: String,
}

impl Cluster {
    /// Starts it.
    ///
    /// # Errors
    /// When kcat is not there, or does not tell where the brokers are.
    pub fn start(scratch: &Scratch) -> Result<Self> {
        let path = scratch.fresh("kafka")?.join("log");
        // A producer that is never given anything to produce.
        let child = Command::new("kcat")
            .args(["-P", "-t", "other", "-b", "none", "-d", "mock", "-X", "test.mock.num.brokers=2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&path)?)
            .spawn()
            .context("cannot run kcat; scripts/install-deps test installs it")?;
        let mut cluster = Self { child, brokers: String::new() };
        cluster.brokers = wait::until("the addresses of the brokers", wait::LONG, || {
            let text = std::fs::read_to_string(&path)?;
            let rest = text.split_once("bootstrap.servers=").map(|(_, rest)| rest);
            let line = rest.and_then(|rest| rest.split_once('\n')).map(|(line, _)| line);
            Ok(line.map(|line| line.trim().to_owned()))
        })?;
        Ok(cluster)
    }

    fn kcat(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("kcat")
            .args(["-b", &self.brokers, "-q", "-m", "30"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kcat {arguments:?} failed: {}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes the topic.
    fn make_topic(&self) -> Result<()> {
        self.make(TOPIC)
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn make(&self, topic: &str) -> Result<()> {
        self.kcat(&["-L", "-t", topic], "").map(drop)
    }

    /// All messages of the topic so far.
    fn messages(&self) -> Result<Vec<Value>> {
        self.messages_of(TOPIC)
    }

    /// All messages of a topic so far.
    pub(crate) fn messages_of(&self, topic: &str) -> Result<Vec<Value>> {
        let text = self.kcat(&["-C", "-t", topic, "-o", "beginning", "-e", "-J"], "")?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The ends of processes that the topic tells, with the ids of the messages.
    fn exits(&self) -> Result<Exits> {
        let mut exits = Exits::new();
        for message in self.messages()? {
            let event: Value = serde_json::from_str(message["payload"].as_str().context("no payload")?)?;
            let pid =
                event["process_exit"]["process"]["pid"].as_u64().context("something else than an exit")?;
            let headers = message["headers"].as_array().context("no headers")?;
            let id = headers.iter().skip_while(|name| *name != "saker-id").nth(1);
            exits.entry(pid).or_default().push(id.context("no id")?.to_string());
        }
        Ok(exits)
    }

    fn wait_for_exits(&self, pids: &[u32]) -> Result<Exits> {
        wait::until("exits in the topic", wait::LONG, || {
            let exits = self.exits()?;
            Ok(pids.iter().all(|&pid| exits.contains_key(&u64::from(pid))).then_some(exits))
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Exits = BTreeMap<u64, Vec<String>>;

/// Once; or more often, but then with one id, by which readers leave out what came again.
fn same_exit(exits: &Exits, pid: u32) -> Result<()> {
    let mut ids = exits.get(&u64::from(pid)).cloned().unwrap_or_default();
    ids.dedup();
    same("exits of a process in the topic", ids.len(), 1)
}

/// An export of the ends of the test's own processes, however busy the machine is.
fn export(scratch: &Scratch, cluster: &Cluster, more: &str) -> Result<String> {
    let brokers: Vec<&str> = cluster.brokers.split(',').collect();
    let text = format!(
        "- name: broker\n  kind: kafka\n  brokers: {brokers:?}\n  topic: {TOPIC}\n  timeout: 2s\n  spool-dir: {0}/spool\n{more}  \
         allow:\n    - event_set: [PROCESS_EXIT]\n      binary_regex: ['^{0}/']\n",
        scratch.path().display(),
    );
    Ok(declare(scratch, &text)?.display().to_string())
}

fn wait_for_error(agent: &Agent, part: &str) -> Result<()> {
    wait::until("an error of the export", wait::LONG, || {
        let sink = state(agent, "broker")?;
        let told = sink["last_error"].as_str().is_some_and(|error| error.contains(part));
        Ok((number(sink.get("spooled_events")) > 0 && told).then_some(()))
    })
}

fn to_kafka() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let cluster = Cluster::start(&scratch)?;
    let exports = export(&scratch, &cluster, "  compression: gzip\n")?;
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    let run = || Ok::<_, anyhow::Error>(programs.start(&scratch, &["marker"])?.finish()?.pid);

    // There is no topic, and none is made: what waits for it arrives when it is there.
    let early = run()?;
    wait_for_error(&agent, "no topic `saker.events`")?;
    cluster.make_topic()?;
    cluster.wait_for_exits(&[early])?;

    // Brokers that take connections and never answer.
    cluster.signal(Signal::STOP)?;
    let hanging = run()?;
    wait_for_error(&agent, "no answer in time")?;
    cluster.signal(Signal::CONT)?;
    let exits = cluster.wait_for_exits(&[early, hanging])?;
    for pid in [early, hanging] {
        same_exit(&exits, pid)?;
    }

    // They are away, also while the agent is away too; then there are others.
    drop(cluster);
    let during = run()?;
    wait_for_error(&agent, "Kafka")?;
    ensure!(
        !agent.log()?.contains("Establishing new connection"),
        "the client's own messages are in the log"
    );
    agent.stop()?;
    let cluster = Cluster::start(&scratch)?;
    cluster.make_topic()?;
    let exports = export(&scratch, &cluster, "  compression: snappy\n  max-request-size: 4000\n")?;
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    let after = run()?;
    let exits = cluster.wait_for_exits(&[during, after])?;
    for pid in [during, after] {
        same_exit(&exits, pid)?;
    }

    // One that is too long is counted and holds nobody up.
    let long = programs.start(&scratch, &["marker", &"x".repeat(5000)])?.finish()?.pid;
    let last = run()?;
    let exits = cluster.wait_for_exits(&[last])?;
    ensure!(!exits.contains_key(&u64::from(long)), "an event beyond the bound arrived");
    // Beside what it was offered it has written what the first agent left in the spool, the exit while there were no
    // brokers; and others again whose answer that one did not hear.
    let sink = balanced_beside(&agent, "broker", 1..=3)?;
    same("dropped", number(sink.get("dropped")), 1)?;
    let status = agent.ask("status", &["-o", "json"])?;
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(told.contains("\"too_long\""), "the cause of the drop is not told:\n{told}");
    agent.stop()
}

/// Events of one process are in one partition, which is that of Kafka's own clients for its id.
fn by_process() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let cluster = Cluster::start(&scratch)?;
    cluster.make_topic()?;
    let exports = export(&scratch, &cluster, "  key: process\n  batch-time: 0\n")?;
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    let pids: Vec<u32> =
        (0..8).map(|_| Ok(programs.start(&scratch, &["marker"])?.finish()?.pid)).collect::<Result<_>>()?;
    let exits = cluster.wait_for_exits(&pids)?;
    for &pid in &pids {
        same_exit(&exits, pid)?;
    }
    let messages = cluster.messages()?;
    agent.stop()?;
    for message in &messages {
        let event: Value = serde_json::from_str(message["payload"].as_str().context("no payload")?)?;
        let key = message["key"].as_str().context("no key")?;
        same("key", Some(key), event["process_exit"]["process"]["exec_id"].as_str())?;
        cluster.kcat(&["-P", "-t", TOPIC, "-X", "topic.partitioner=murmur2", "-k", key], "known\n")?;
    }
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in cluster.messages()? {
        places.entry(message["key"].to_string()).or_default().push(message["partition"].to_string());
    }
    for (key, mut partitions) in places {
        ensure!(partitions.len() >= 2, "only one message with the key {key}");
        partitions.dedup();
        same("partitions of a key", partitions.len(), 1)?;
    }
    Ok(())
}
