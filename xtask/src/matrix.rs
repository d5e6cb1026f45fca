//! `cargo xtask matrix`: runs a command on every kernel that Saker is tested on.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::kernels::{MATRIX, Series};
use crate::vm::{self, Options, Plan, Report};

/// Shown under the options.
const EXIT_STATUS: &str = "Exit status: 0 when the command succeeded on every kernel, 1 when it did not, \
2 when the machines could not be set up";

/// Arguments of `matrix`.
#[derive(clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    /// Kernel series (repeatable) [default: the whole matrix]
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<Series>,
    /// Machines at a time [default: as many as processors and memory allow]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    options: Options,
    /// One argument is a shell line; several are a program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = if args.kernel.is_empty() { MATRIX.to_vec() } else { args.kernel.clone() };
    // All kernels are fetched before the first one boots, so that a failure to fetch shows at once.
    let plans =
        wanted.iter().map(|series| args.options.plan(*series, &args.command)).collect::<Result<Vec<_>>>()?;
    let jobs = match args.jobs {
        Some(jobs) => jobs.max(1),
        None => affordable(available_memory()?, args.options.mem, thread::available_parallelism()?.get()),
    };
    let interrupt = Interrupt::install()?;
    let reports = run_all(&plans, jobs, &interrupt);
    let rows: Vec<_> = plans.iter().zip(&reports).collect();
    for (plan, report) in &rows {
        if let Ok(report) = report {
            vm::explain(report, &plan.kernel.series.to_string());
        }
    }
    print!("{}", table(&rows));
    if let Some(status) = interrupt.exit_status() {
        return Ok(ExitCode::from(status));
    }
    let good = reports.iter().all(|r| r.as_ref().is_ok_and(|report| report.end.exit_status() == 0));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the plans with `jobs` machines at a time, the last of the matrix first: newer kernels take longer, and what takes
/// longest had better not begin last. Reports come in the order of the plans.
fn run_all(plans: &[Plan], jobs: usize, interrupt: &Interrupt) -> Vec<Result<Report>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Report>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(plans.len()) {
            scope.spawn(|| {
                loop {
                    let taken = next.fetch_add(1, Ordering::Relaxed);
                    let Some(at) = plans.len().checked_sub(taken + 1) else { return };
                    let plan = &plans[at];
                    let report = vm::boot(plan, interrupt, Prefixed::new(plan, io::stdout()));
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, report));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, report)| report).collect()
}

/// Machines that run side by side: no more than processors, and half of the memory stays free.
fn affordable(memory: u64, each: u32, processors: usize) -> usize {
    let fitting = memory / 2 / u64::from(each.max(1));
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, processors.max(1))
}

fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.context("/proc/meminfo tells no available memory")? / 1024)
}

/// Writes whole lines, each with the kernel in front.
struct Prefixed<W: Write> {
    prefix: String,
    line: Vec<u8>,
    to: W,
}

impl<W: Write> Prefixed<W> {
    fn new(plan: &Plan, to: W) -> Self {
        Self { prefix: format!("{:>5} | ", plan.kernel.series.to_string()), line: Vec::new(), to }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let mut whole = self.prefix.clone().into_bytes();
        whole.append(&mut self.line);
        whole.push(b'\n');
        self.to.write_all(&whole)
    }
}

impl<W: Write> Write for Prefixed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                self.write_line()?;
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> Drop for Prefixed<W> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            let _ = self.write_line();
        }
    }
}

fn table(rows: &[(&Plan, &Result<Report>)]) -> String {
    let mut text = format!("\n{:<6} {:<28} {:>6} {:>8}  result\n", "kernel", "release", "boot", "total");
    for (plan, report) in rows {
        let name = plan.kernel.series.to_string();
        let release = &plan.kernel.release;
        let row = match report {
            Ok(report) => {
                let boot =
                    report.boot.as_ref().map_or("-".into(), |(t, _)| format!("{:.1}s", t.as_secs_f32()));
                let total = format!("{:.1}s", report.total.as_secs_f32());
                format!("{name:<6} {release:<28} {boot:>6} {total:>8}  {}\n", result(&report.end))
            }
            Err(error) => format!("{name:<6} {release:<28} {:>6} {:>8}  not run: {error:#}\n", "-", "-"),
        };
        text.push_str(&row);
    }
    text
}

fn result(end: &vm::End) -> String {
    match end {
        vm::End::Done(0) => "ok".into(),
        vm::End::Done(status) => format!("failed ({status})"),
        vm::End::TimedOut(limit) => format!("timed out ({} s)", limit.as_secs()),
        vm::End::Died(_) => "machine died".into(),
        vm::End::Interrupted(_) => "interrupted".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_leave_half_of_the_memory() {
        assert_eq!(affordable(24_000, 2048, 2), 2);
        assert_eq!(affordable(6_000, 2048, 2), 1);
        assert_eq!(affordable(500, 2048, 8), 1);
    }

    #[test]
    fn every_line_names_its_kernel() {
        let mut out = Vec::new();
        {
            let mut prefixed = Prefixed { prefix: "6.1 | ".into(), line: Vec::new(), to: &mut out };
            prefixed.write_all(b"one\ntw").unwrap();
            prefixed.write_all(b"o\nthree").unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "6.1 | one\n6.1 | two\n6.1 | three\n");
    }
}
