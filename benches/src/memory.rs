//! Resident memory of the agent over its life.

use std::path::PathBuf;

use anyhow::Result;

use crate::report::{Report, default_out, grouped};
use crate::subject::Subject;
use crate::work::Bench;

/// Arguments of `memory`.
#[derive(clap::Args)]
pub struct Args {
    /// Processes of the first load
    #[arg(long, default_value_t = 100_000)]
    processes: u64,
    /// Processes of the churn: an hour of a hundred new processes a second, as fast as the machine can
    #[arg(long, default_value_t = 360_000)]
    churn: u64,
    /// Where the figures go as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Loads and looks.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::install()?;
    // The file would fill the memory that is measured beside it; it is written all the same.
    let subject = Subject::saker(&bench, &["--export-file-max-size-mb=64", "--export-file-max-backups=1"])?;
    let title = "Resident memory of the agent, KiB";
    let mut report = Report::new(title, &["VmRSS", "RssAnon", "RssFile", "peak", "processes in the table"]);
    let mut look = |name: &str, subject: &Subject| -> Result<()> {
        let lines = ["VmRSS", "RssAnon", "RssFile", "VmHWM"];
        let values: Vec<u64> = lines.iter().map(|line| subject.memory_kib(line)).collect::<Result<_>>()?;
        let status = subject.status()?;
        let mut cells: Vec<String> = values.iter().map(|value| grouped(*value)).collect();
        cells.push(status["processes"]["size"].to_string());
        for (line, value) in lines.iter().zip(&values) {
            report.fact(&format!("{name}: {line}"), *value);
        }
        report.row(name, cells);
        Ok(())
    };
    look("at start", &subject)?;
    bench.flood(&[subject.pid()], "burst", args.processes)?;
    look(&format!("after {} processes", args.processes), &subject)?;
    bench.flood(&[subject.pid()], "churn", args.churn)?;
    look(&format!("after {} more, in churn", args.churn), &subject)?;
    subject.stop()?;
    report.publish(args.out.clone().or_else(|| default_out("memory")).as_deref())
}
