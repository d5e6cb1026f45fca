//! The paired measurement: all in one session of one machine, so that only the watcher differs.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use crate::subject::Subject;
use crate::work::{Bench, Figures};

/// Arguments of `session`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// fork + exec + exit loops
    #[arg(long, default_value_t = 2000)]
    pub execs: u64,
    /// Runs of the compiler
    #[arg(long, default_value_t = 4)]
    pub compiles: u64,
    /// Processes of the burst
    #[arg(long, default_value_t = 20_000)]
    pub burst: u64,
    /// Watchers in this order; each may come again
    #[arg(long, value_delimiter = ',', default_value = "none,saker,auditd,none")]
    pub order: Vec<String>,
    /// Further flags for Saker, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub saker_flags: String,
}

/// Runs it and prints one JSON object for each measurement.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::install()?;
    for (index, watcher) in args.order.iter().enumerate() {
        let subject = match watcher.as_str() {
            "none" => None,
            "saker" => {
                let flags: Vec<&str> = args.saker_flags.split_whitespace().collect();
                Some(Subject::saker(&bench, &flags)?)
            }
            "auditd" => Some(Subject::auditd()?),
            other => anyhow::bail!("the watcher {other} is not one of none, saker, auditd"),
        };
        let mut tell = |what: &str, value: Value| {
            println!("{}", json!({ "round": index, "watcher": watcher, "what": what, "figures": value }));
        };
        if let Some(subject) = &subject {
            let start = json!({ "wall_ns": subject.start_ns, "cpu_ns": subject.cpu_ns() });
            tell("start", start);
            tell("memory-at-start", memory(subject)?);
        }
        measure(args, &bench, subject.as_ref(), &mut tell)?;
        if let Some(subject) = subject {
            subject.stop()?;
        }
    }
    Ok(())
}

fn measure(
    args: &Args,
    bench: &Bench,
    subject: Option<&Subject>,
    tell: &mut dyn FnMut(&str, Value),
) -> Result<()> {
    let watched: Vec<u32> = subject.map(Subject::pid).into_iter().collect();
    if args.execs > 0 {
        tell("exec", figures(&bench.exec(&watched, args.execs)?));
    }
    if args.compiles > 0 {
        tell("compile", figures(&bench.compile(&watched, args.compiles)?));
    }
    if args.burst > 0 {
        // Only lines that appear from here on belong to the burst.
        let before = subject.map(count).transpose()?;
        let mut burst = figures(&bench.flood(&watched, "burst", args.burst)?);
        if let (Some(subject), Some(before)) = (subject, before) {
            let after = count(subject)?;
            burst["told_execs"] = json!(after.0 - before.0);
            burst["told_exits"] = json!(after.1 - before.1);
            if subject.name == "saker" {
                burst["status"] = subject.status()?;
            }
            tell("memory-after-burst", memory(subject)?);
        }
        tell("burst", burst);
    }
    Ok(())
}

/// Lines about executions and ends of the measured program.
fn count(subject: &Subject) -> Result<(u64, u64)> {
    let bytes = fs::read(&subject.export).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = |start: &str, about: &str| {
        let hits = text.lines().filter(|line| line.starts_with(start) && line.contains(about));
        u64::try_from(hits.count())
    };
    Ok(match subject.name {
        // Only argv[0]: the measuring program has the name among its arguments too.
        "auditd" => (lines("type=EXECVE", "/nop\" a1=")?, 0),
        _ => (lines("{\"process_exec\"", "/nop\"")?, lines("{\"process_exit\"", "/nop\"")?),
    })
}

fn memory(subject: &Subject) -> Result<Value> {
    let mut object = json!({});
    for line in ["VmRSS", "RssAnon", "RssFile", "VmHWM"] {
        object[line] = json!(subject.memory_kib(line)?);
    }
    Ok(object)
}

fn figures(figures: &Figures) -> Value {
    json!(figures)
}
