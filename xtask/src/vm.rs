//! `cargo xtask vm`: runs a command as root on another kernel.
//!
//! The machine is emulated. Its root file system is this machine's own, read-only under an overlay in
//! memory, so every program and every build output runs unchanged and nothing it does is left behind.

mod control;
mod machine;
mod quote;
mod session;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use control::Job;
pub(crate) use machine::Hardware;
pub(crate) use session::{End, Plan, Report, run as boot};

use crate::interrupt::Interrupt;
use crate::kernels::{Place, Series};

/// Shown under the options.
const EXIT_STATUS: &str = "Exit status: the command's; 2 when it could not be run at all, 124 when the time \
was up, 125 when the machine ended without a result, 130 after Ctrl-C";

/// Arguments of `vm`.
#[derive(clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    /// Kernel series to boot; fetched if it is not ready
    #[arg(long, value_name = "SERIES", default_value = "6.1")]
    kernel: Series,
    #[command(flatten)]
    options: Options,
    /// Kernel console output goes to this file [default: shown only when the machine fails]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Say how long boot and the whole run took
    #[arg(long)]
    verbose: bool,
    /// One argument is a shell line; several are a program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// What `vm` and `matrix` have in common.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Let guest time count instructions: one CPU, 1 ns each, repeatable measurements
    #[arg(long)]
    icount: bool,
    /// With --icount: a processor without fast string operations, of which each byte counts as an instruction
    #[arg(long, requires = "icount")]
    plain_strings: bool,
    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "icount")]
    smp: u32,
    /// CPUs the kernel makes ready for, as if more could be plugged in: what it keeps for each CPU is that large
    #[arg(long, value_name = "N")]
    possible_cpus: Option<u32>,
    /// Run the CPUs at the same time, each on a host thread (QEMU before 8.1: kernels may crash at boot)
    #[arg(long, conflicts_with = "icount")]
    parallel: bool,
    /// Memory
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    pub(crate) mem: u32,
    /// Host folder that the guest sees writable at the same path (repeatable)
    #[arg(long, value_name = "DIR")]
    share: Vec<PathBuf>,
    /// Environment variable for the command; without a value, this process's (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Further kernel arguments (repeatable)
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Seconds before the machine is stopped
    #[arg(long, value_name = "S", default_value_t = 900)]
    timeout: u64,
    #[command(flatten)]
    place: Place,
}

impl Options {
    /// The plan to run a command on a kernel, which is fetched if it is not ready.
    pub(crate) fn plan(&self, series: Series, command: &[String]) -> Result<Plan> {
        let shares = self
            .share
            .iter()
            .map(|dir| dir.canonicalize().with_context(|| format!("cannot share {}", dir.display())));
        Ok(Plan {
            kernel: self.place.kernel(series)?,
            hardware: Hardware {
                icount: self.icount,
                plain_strings: self.plain_strings,
                smp: self.smp,
                possible: self.possible_cpus,
                parallel: self.parallel,
                memory: self.mem,
                append: self.append.clone(),
            },
            job: Job {
                command: command.to_vec(),
                environment: self.env.iter().map(|item| variable(item)).collect::<Result<_>>()?,
                shares: shares.collect::<Result<_>>()?,
            },
            limit: Duration::from_secs(self.timeout),
            log: None,
        })
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut plan = args.options.plan(args.kernel, &args.command)?;
    plan.log = args.log.clone();
    let interrupt = Interrupt::install()?;
    let report = boot(&plan, &interrupt, io::stdout())?;
    if args.verbose {
        let boot = report.boot.as_ref().map_or("never ready".to_owned(), |(took, clock)| {
            format!("ready after {:.1} s (guest clock {clock} s)", took.as_secs_f32())
        });
        eprintln!("vm: {}: {boot}, off after {:.1} s", plan.kernel.release, report.total.as_secs_f32());
    }
    explain(&report, &format!("vm: {}", plan.kernel.release));
    Ok(ExitCode::from(report.end.exit_status()))
}

/// Says on standard error why there is no result, with the end of the console.
pub(crate) fn explain(report: &Report, who: &str) {
    match &report.end {
        End::Done(_) => return,
        End::Interrupted(_) => eprintln!("{who}: interrupted; the machine is stopped"),
        End::TimedOut(limit) => eprintln!("{who}: stopped after {} s (--timeout)", limit.as_secs()),
        End::Died(status) => eprintln!("{who}: the machine ended without a result (QEMU: {status})"),
    }
    if !report.console.is_empty() {
        eprintln!("{who}: end of its console:");
        for line in &report.console {
            eprintln!("  {line}");
        }
    }
}

fn variable(item: &str) -> Result<(String, String)> {
    let (name, value) = match item.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (item, std::env::var(item).with_context(|| format!("--env {item}: no such variable here"))?),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid = !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit());
    anyhow::ensure!(valid, "--env {item}: `{name}` is no name of a variable");
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert!(variable("PATH").unwrap().1.contains('/'));
        for wrong in ["=x", "1A=x", "A-B=x", "A;reboot=x", "NO_SUCH_VARIABLE_HERE"] {
            assert!(variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ends_have_the_statuses_of_timeout_and_shells() {
        assert_eq!(End::Done(3).exit_status(), 3);
        assert_eq!(End::TimedOut(Duration::ZERO).exit_status(), 124);
        assert_eq!(End::Died(String::new()).exit_status(), 125);
    }
}
