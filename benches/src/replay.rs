//! Records to JSON lines, replayed on one core.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::report::{Report, default_out, grouped};
use crate::subject::{self, Subject};
use crate::work::Bench;

/// Arguments of `replay`.
#[derive(clap::Args)]
pub struct Args {
    /// Processes to record
    #[arg(long, default_value_t = 100_000)]
    processes: u64,
    /// Replays; the fastest and the median are told
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The core
    #[arg(long, default_value_t = 0)]
    core: u32,
    /// Where the figures go as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Records, replays, prints.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::install()?;
    let recording = bench.path("recording");
    let flag = format!("--record={}", recording.display());
    let subject = Subject::saker(&bench, &[&flag])?;
    bench.flood(&[subject.pid()], "burst", args.processes)?;
    subject.stop()?;
    let bytes = fs::metadata(&recording).context("the agent made no recording")?.len();

    let mut seconds = Vec::new();
    let (lines, output) = replay(args, &recording, true)?.1;
    for _ in 0..args.rounds {
        seconds.push(replay(args, &recording, false)?.0);
    }
    seconds.sort_by(f64::total_cmp);
    ensure!(lines > args.processes, "the replay gives only {lines} events");
    let title = format!("{lines} events ({bytes} bytes of records, {output} bytes of JSON) on one core");
    let mut report = Report::new(&title, &["seconds", "events a second"]);
    for (name, value) in [("fastest", seconds[0]), ("median", seconds[seconds.len() / 2])] {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate of millions, shown as a whole number"
        )]
        let rate = (lines as f64 / value) as u64;
        report.row(name, vec![format!("{value:.3}"), grouped(rate)]);
        report.fact(&format!("{name}_events_per_second"), rate);
    }
    report.publish(args.out.clone().or_else(|| default_out("replay")).as_deref())
}

/// Seconds, and when asked for lines and bytes of the output.
fn replay(args: &Args, recording: &std::path::Path, count: bool) -> Result<(f64, (u64, u64))> {
    let begin = Instant::now();
    let child = Command::new("taskset")
        .args(["-c", &args.core.to_string()])
        .arg(subject::saker_binary()?)
        .arg("replay")
        .args(["-o", "json"])
        .arg(recording)
        .stdout(if count { Stdio::piped() } else { Stdio::null() })
        .spawn()
        .context("cannot run taskset")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "saker replay failed ({})", output.status);
    let seconds = begin.elapsed().as_secs_f64();
    let lines = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
    Ok((seconds, (u64::try_from(lines)?, u64::try_from(output.stdout.len())?)))
}
