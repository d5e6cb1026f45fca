//! This machine with and without the agent: rounds in turn, so that what else the machine does hits both.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::report::{Report, default_out, grouped, percent};
use crate::subject::Subject;
use crate::work::{Bench, Figures};

/// Arguments of `ratio`.
#[derive(clap::Args)]
pub struct Args {
    /// Rounds, each without and with the agent
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// fork + exec + exit loops of a round
    #[arg(long, default_value_t = 3000)]
    execs: u64,
    /// Runs of the compiler of a round
    #[arg(long, default_value_t = 10)]
    compiles: u64,
    /// Where the figures go as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures and prints medians.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::install()?;
    let mut rounds: [Vec<[Figures; 2]>; 2] = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        for watched in [false, true] {
            let subject = watched.then(|| Subject::saker(&bench, &[])).transpose()?;
            let pids: Vec<u32> = subject.iter().map(Subject::pid).collect();
            let exec = bench.exec(&pids, args.execs)?;
            let compile = bench.compile(&pids, args.compiles)?;
            rounds[usize::from(watched)].push([exec, compile]);
            subject.map(Subject::stop).transpose()?;
        }
        eprintln!("round {} of {}", round + 1, args.rounds);
    }
    let title = format!("Medians of {} interleaved rounds on this machine, ns per operation", args.rounds);
    let mut report =
        Report::new(&title, &["without", "with Saker", "difference", "agent CPU, its part of the workload"]);
    for (index, what) in ["exec", "compile"].into_iter().enumerate() {
        for name in ["median_ns", "cpu_ns"] {
            let [without, with] = [0, 1].map(|side: usize| median(&rounds[side], index, name));
            let (without, with) = (without?, with?);
            let agent = median(&rounds[1], index, "agent_settled_ns")?;
            report.fact(&format!("{what}_{name}_without"), without);
            report.fact(&format!("{what}_{name}_with"), with);
            report.fact(&format!("{what}_agent_ns"), agent);
            let label = if name == "cpu_ns" { "workload CPU" } else { "wall" };
            let cells = vec![
                grouped(without),
                grouped(with),
                percent(with, without),
                format!("{} ({:.1} %)", grouped(agent), share(agent, without)),
            ];
            report.row(&format!("{what}, {label}"), cells);
        }
    }
    report.publish(args.out.clone().or_else(|| default_out("ratio")).as_deref())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn median(rounds: &[[Figures; 2]], index: usize, name: &str) -> Result<u64> {
    let mut values: Vec<u64> = rounds.iter().filter_map(|round| round[index].get(name).copied()).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().context("no rounds")
}
