//! What each kind of receiver costs the agent for an event, how many events a second it takes, and the memory of many.
//!
//! Two loads: a burst of processes, of whose executions and ends nothing is lost, for the cost; and a flood of calls
//! that a policy tells, more than anybody takes, for the rate. In each round an agent that nobody receives from is
//! measured too: what the others use more than it is the cost of their receivers.

mod beside;
mod kind;

use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use saker_tests::status::Status;
use serde_json::json;

use crate::report::{Report, default_out, grouped};
use crate::subject::Subject;
use crate::work::Bench;
pub use beside::{ClientArgs, ServerArgs, follow, serve};
use kind::{KINDS, Receivers, clients};

/// Arguments of `receivers`.
#[derive(clap::Args)]
pub struct Args {
    /// Rounds, each with all kinds; medians are told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Processes of the burst
    #[arg(long, default_value_t = 5000)]
    processes: u64,
    /// Seconds of the flood, after its first
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// gRPC clients at once for the memory
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Kinds of receivers, separated by semicolons; all, unless given
    #[arg(long, value_delimiter = ';')]
    only: Vec<String>,
    /// Where the figures go as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One agent in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// The agent's CPU time for an event of the burst, in nanoseconds.
    cpu_ns: u64,
    /// What the burst lost.
    lost: u64,
    /// Events a second of the flood that the agent made, each receiver took, and each had dropped at its queue.
    made: u64,
    taken: u64,
    dropped: u64,
    /// The agent's CPU time for an event that it made in the flood, in nanoseconds.
    flood_ns: u64,
}

/// Sums of what an agent counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    made: u64,
    lost: u64,
    written: u64,
    dropped: u64,
    receivers: u64,
}

impl Counts {
    fn of(subject: &Subject) -> Result<Self> {
        let status = Status(subject.status()?);
        let mut counts = Self::default();
        for kind in ["exec", "exit", "hook"] {
            let (_, received, lost) = status.record(kind);
            counts.made += received;
            counts.lost += lost;
        }
        for sink in status.0["sinks"].as_array().into_iter().flatten() {
            counts.receivers += 1;
            counts.written += saker_tests::status::number(sink.get("written"));
            counts.dropped += saker_tests::status::number(sink.get("dropped"));
        }
        Ok(counts)
    }
}

/// A program that is killed at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::install()?;
    let mut kinds = vec!["none"];
    match args.only.is_empty() {
        true => kinds.extend(KINDS),
        false => kinds.extend(args.only.iter().map(String::as_str)),
    }
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    for round in 0..args.rounds {
        let measured = kinds.iter().map(|kind| {
            let figures = one(args, &bench, kind).with_context(|| format!("with the receiver {kind}"))?;
            eprintln!("round {} of {}, {kind}: {figures:?}", round + 1, args.rounds);
            Ok(figures)
        });
        rounds.push(measured.collect::<Result<_>>()?);
    }
    let title = format!(
        "Receivers, medians of {} rounds: {} processes with two events each, then a flood of calls for {} s. CPU is the agent's, ns",
        args.rounds, args.processes, args.seconds
    );
    let columns = [
        "CPU, an event of a process",
        "over none",
        "least and most over none",
        "lost",
        "flood: events/s made",
        "events/s taken by each",
        "events/s dropped by each",
        "CPU, an event made",
    ];
    let mut report = Report::new(&title, &columns);
    for (index, kind) in kinds.iter().enumerate() {
        let of = |what: fn(&Figures) -> u64| median(rounds.iter().map(|round| what(&round[index])));
        let over = rounds.iter().map(|round| signed(round[index].cpu_ns) - signed(round[0].cpu_ns));
        let over: Vec<i64> = sorted(over);
        let (cpu, made, taken) = (of(|one| one.cpu_ns), of(|one| one.made), of(|one| one.taken));
        let (dropped, flood) = (of(|one| one.dropped), of(|one| one.flood_ns));
        let lost: u64 = rounds.iter().map(|round| round[index].lost).sum();
        let middle = over.get(over.len() / 2).copied().unwrap_or(0);
        let [least, most] = [over.first(), over.last()].map(|end| end.copied().unwrap_or(0));
        let range = format!("{least:+} to {most:+}");
        let cells = vec![
            grouped(cpu),
            format!("{middle:+}"),
            range,
            grouped(lost),
            grouped(made),
            grouped(taken),
            grouped(dropped),
            grouped(flood),
        ];
        report.row(kind, cells);
        let figures = json!({"cpu_ns": cpu, "over_none_ns": over, "lost": lost, "made": made, "taken": taken, "dropped": dropped, "flood_ns": flood});
        report.fact(kind, figures);
    }
    let out = |name: &str| args.out.clone().or_else(|| default_out(name));
    report.publish(out("receivers").as_deref())?;
    memory(args, &bench)?.publish(default_out("receivers-memory").as_deref())
}

/// An agent with one kind of receivers.
fn one(args: &Args, bench: &Bench, kind: &str) -> Result<Figures> {
    let mut receivers = Receivers::prepare(kind, bench)?;
    let subject = receivers.agent(bench)?;
    let watched = [subject.pid()];
    // Connections, threads and tables are made by the first events. The next measurement waits until all is settled.
    bench.flood(&[], "burst", args.processes / 10)?;
    let before = Counts::of(&subject)?;
    let burst = bench.flood(&watched, "burst", args.processes)?;
    let after = Counts::of(&subject)?;
    let figure = |name: &str| burst.get(name).copied().unwrap_or(0);
    let events = after.made - before.made;
    ensure!(events > args.processes, "the agent tells {events} events of {} processes", args.processes);
    let figures = Figures {
        cpu_ns: figure("agent_settled_ns") * figure("n") / events,
        lost: after.lost + after.dropped,
        ..flood(args, bench, &subject)?
    };
    subject.stop()?;
    Ok(figures)
}

/// More calls of a program than anybody takes, each of which a policy tells.
fn flood(args: &Args, bench: &Bench, subject: &Subject) -> Result<Figures> {
    let path = bench.path("policy.yaml");
    let policy = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: flood}}\nspec:\n  kprobes:\n  \
         - call: sys_getppid\n    syscall: true\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{}]}}]\n",
        bench.path("bench").display()
    );
    std::fs::write(&path, policy)?;
    let output = subject.policy(&["add", &path.to_string_lossy()])?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "saker policy add failed: {message}");
    let look = || -> Result<(Instant, u64, Counts)> {
        let counts = Counts::of(subject)?;
        Ok((Instant::now(), subject.cpu_ns(), counts))
    };
    let calls = Killed(bench.calls()?);
    sleep(Duration::from_secs(1));
    let (begin, cpu, before) = look()?;
    sleep(Duration::from_secs(args.seconds));
    let (end, used, after) = look()?;
    drop(calls);
    let spent = (end - begin).as_millis().max(1);
    let rate = |sum: u64| u64::try_from(u128::from(sum) * 1000 / spent).unwrap_or(u64::MAX);
    let each = |sum: u64| rate(sum) / after.receivers.max(1);
    let made = after.made - before.made;
    Ok(Figures {
        made: rate(made),
        taken: each(after.written - before.written),
        dropped: each(after.dropped - before.dropped),
        flood_ns: used.saturating_sub(cpu) / made.max(1),
        ..Figures::default()
    })
}

/// Resident memory of an agent that nobody receives from, and with many clients.
fn memory(args: &Args, bench: &Bench) -> Result<Report> {
    let lines = ["VmRSS", "RssAnon", "RssFile"];
    let mut report = Report::new("Resident memory of the agent, KiB", &lines);
    let subject = Subject::without_file(bench, &[])?;
    let mut look = |when: &str| -> Result<()> {
        let values: Vec<u64> = lines.iter().map(|line| subject.memory_kib(line)).collect::<Result<_>>()?;
        report.row(when, values.iter().map(|value| grouped(*value)).collect());
        report.fact(when, values);
        Ok(())
    };
    look("at start")?;
    bench.flood(&[subject.pid()], "burst", args.processes)?;
    look("after the burst")?;
    let many = clients(&subject, args.clients, None)?;
    look(&format!("with {} clients", args.clients))?;
    bench.flood(&[subject.pid()], "burst", args.processes)?;
    look("after another burst")?;
    drop(many);
    // That they are gone, the agent sees by itself.
    bench.flood(&[subject.pid()], "burst", args.processes / 10)?;
    look("after they went")?;
    // The agent looks once a minute at what it could give back.
    sleep(Duration::from_secs(75));
    look("75 s later")?;
    subject.stop()?;
    Ok(report)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(0)
}
