//! Runs a table of cases: as `cargo test` runs a test target, but with one agent for many cases.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow, ensure};

use crate::agent;
use crate::case::{Case, How};
use crate::event::Kind;
use crate::idle;
use crate::observe::Lab;

/// Where it is set, only cases of which the outcome depends on the kernel run: the others have run elsewhere. A case that
/// is named on the command line runs anyhow.
const KERNEL_ONLY: &str = "SAKER_TEST_KERNEL_ONLY";

/// Where it is set and not empty, it names the kernel series (such as `6.1`) on which cases that take long run; on others they run
/// only by name.
const LONG_ON: &str = "SAKER_TEST_LONG_ON";

/// Where it is set and not empty, it names kernel series, with commas; each runs a part of the cases that are spread over machines,
/// on others they run only by name.
const SPREAD_OVER: &str = "SAKER_TEST_SPREAD_OVER";

/// What the command line and the environment ask for.
#[derive(Debug, Default)]
struct Choice {
    words: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
    kernel_only: bool,
    no_long: bool,
    /// Of the series that cases are spread over, which one this is, none of them being beyond the last, and their number.
    share: Option<(usize, usize)>,
}

/// Whether this kernel is not the one that [`LONG_ON`] names.
fn not_for_long_cases() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    std::env::var(LONG_ON)
        .is_ok_and(|series| !series.is_empty() && !release.starts_with(&format!("{series}.")))
}

/// Which of the series that cases are spread over this kernel is.
fn share() -> Option<(usize, usize)> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let text = std::env::var(SPREAD_OVER).ok().filter(|text| !text.is_empty())?;
    let series: Vec<&str> = text.split(',').collect();
    let own = series.iter().position(|series| release.starts_with(&format!("{series}.")));
    Some((own.unwrap_or(series.len()), series.len()))
}

/// The same number for the same name, everywhere.
fn number_of(name: &str) -> usize {
    name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

impl Choice {
    fn from_arguments() -> Self {
        let mut choice = Self {
            kernel_only: std::env::var_os(KERNEL_ONLY).is_some(),
            no_long: not_for_long_cases(),
            share: share(),
            ..Self::default()
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => choice.list = true,
                "--exact" => choice.exact = true,
                "--ignored" => choice.ignored = true,
                "--skip" => choice.skip.extend(arguments.next()),
                // Options of the standard harness that take a value and mean nothing here.
                "--format" | "--test-threads" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => choice.words.push(argument),
            }
        }
        choice
    }

    fn takes(&self, case: &Case) -> bool {
        let name = case.name;
        let hit = |word: &String| if self.exact { word == name } else { name.contains(word.as_str()) };
        // No case is ever ignored.
        let elsewhere = self.share.is_some_and(|(own, count)| case.spread && number_of(name) % count != own);
        let left_out = (!case.kernel && self.kernel_only) || (case.long && self.no_long) || elsewhere;
        let here = !left_out || !self.words.is_empty();
        !self.ignored
            && here
            && (self.words.is_empty() || self.words.iter().any(hit))
            && !self.skip.iter().any(hit)
    }
}

/// Runs the cases that the command line names, all without one, and says how each went.
#[must_use]
pub fn main(tables: &[&[Case]], flags: &[&str]) -> ExitCode {
    let choice = Choice::from_arguments();
    let cases: Vec<Case> = tables.iter().flat_map(|table| table.iter()).copied().collect();
    let cases: Vec<Case> = cases.into_iter().filter(|case| choice.takes(case)).collect();
    if choice.list {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    if cases.is_empty() {
        println!("no case has such a name");
        return if choice.ignored { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match run(&cases, flags) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cases: &[Case], flags: &[&str]) -> Result<usize> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "these tests load programs into the kernel and must run as root (sudo -E cargo test …)"
    );
    let begin = Instant::now();
    println!("agent: {}", agent::binary()?.display());
    println!("kernel: {}", rustix::system::uname().release().to_string_lossy());
    println!("running {} cases", cases.len());
    let mut failed = Vec::new();
    let mut again = Vec::new();
    let mut report = |name: &'static str, outcome: Result<()>, since: Instant| {
        let seconds = since.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {name} ({seconds:.1} s)"),
            Err(error) => {
                println!("FAILED  {name} ({seconds:.1} s)\n        {error:#}");
                failed.push(name);
            }
        }
        // The output may be a pipe to a virtual machine's port, and the last lines before a hang matter most.
        drop(std::io::stdout().flush());
    };
    let shared: Vec<_> = cases
        .iter()
        .filter_map(|case| match case.how {
            How::Shared(run) => Some((case.name, run)),
            How::Alone(_) => None,
        })
        .collect();
    if !shared.is_empty() {
        let mut lab = Lab::start(flags).context("the shared agent")?;
        report("shared-agent-starts", Ok(()), begin);
        for (name, run) in shared {
            let since = Instant::now();
            let outcome =
                with_retries(name, &mut again, || run(&mut lab).map_err(|error| with_problems(&lab, error)));
            report(name, outcome, since);
        }
        let since = Instant::now();
        report("shared-agent-ends", end(&mut lab), since);
    }
    for case in cases {
        if let How::Alone(run) = case.how {
            let since = Instant::now();
            let outcome = with_retries(case.name, &mut again, run);
            if outcome.is_err() {
                idle::end();
            }
            report(case.name, outcome, since);
        }
    }
    idle::end();
    println!("{} failed of {} cases in {:.1} s", failed.len(), cases.len(), begin.elapsed().as_secs_f64());
    if !failed.is_empty() {
        println!("failed: {}", failed.join(" "));
    }
    if !again.is_empty() {
        println!("needed a second attempt: {}", again.join(" "));
    }
    Ok(failed.len())
}

/// What failed, and what the agent itself says is wrong: a kernel without memory makes records incomplete.
fn with_problems(lab: &Lab, error: Error) -> Error {
    let problems = lab.agent.status().map(|status| status.problems()).unwrap_or_default();
    if problems.is_empty() { error } else { anyhow!("{error:#}\n        the agent says: {problems}") }
}

/// Runs a case and, when it fails, again, as often as `SAKER_TEST_RETRIES` says: on an emulated kernel beside another one
/// a process may not run for seconds. Nothing is hidden: each failure is printed, and the end names the case.
fn with_retries(
    name: &'static str,
    again: &mut Vec<&'static str>,
    mut run: impl FnMut() -> Result<()>,
) -> Result<()> {
    let retries =
        std::env::var("SAKER_TEST_RETRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(0_u32);
    for attempt in 1..=retries {
        match run() {
            Err(error) => {
                println!("AGAIN   {name}: attempt {attempt} failed:\n        {error:#}");
                idle::end();
                again.push(name);
            }
            outcome => return outcome,
        }
    }
    run()
}

/// What the sensors may have missed at most on a kernel that preempts them, over all shared cases. Each is what four
/// understudies were left out for between two looks, be it for one process or for several, so on a machine that stands
/// still for seconds one is told now and then although nothing was missed.
const MISSED_AT_MOST: u64 = 4;

/// After all shared cases: nothing was lost, the sums hold, and the agent ends in good order.
fn end(lab: &mut Lab) -> Result<()> {
    let status = lab.agent.status()?;
    // `saker status` itself is a few processes of which the last records may still be under way.
    status.check_balance(64)?;
    let (_, _, lost) = status.records();
    ensure!(lost == 0, "{lost} records were lost without any load");
    lab.agent.stop()?;
    lab.stream.check_end()?;
    let mut missed = 0;
    for gap in lab.stream.events.iter().filter(|event| event.kind == Kind::Gap) {
        ensure!(preempts_sensors() && gap.text("stage") == "sensor", "a gap without any load: {}", gap.body);
        missed += gap.number("lost");
    }
    ensure!(missed <= MISSED_AT_MOST, "{missed} runs of sensors may have been missed without any load");
    if missed > 0 {
        println!("        {missed} runs of sensors may have been missed, and were told");
    }
    Ok(())
}

/// Whether this kernel calls the programs of tracepoints with preemption on (SPECIFICATION.md, "Sensors that are
/// preempted").
fn preempts_sensors() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(19))
}
