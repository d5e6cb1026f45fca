//! One run of a machine: start, stream, wait, stop.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::control::{Control, Job};
use super::machine::{self, Hardware, Paths};
use crate::interrupt::Interrupt;
use crate::kernels::KernelSet;
use crate::process::{command, start_error};

/// How often a running machine is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Lines of the console that a failure shows.
const CONSOLE_TAIL: usize = 30;

/// Everything about a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kernel: KernelSet,
    pub(crate) hardware: Hardware,
    pub(crate) job: Job,
    pub(crate) limit: Duration,
    /// Where the console goes; in the control folder if not given.
    pub(crate) log: Option<PathBuf>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The command ended with this status.
    Done(u8),
    /// The time was up.
    TimedOut(Duration),
    /// The machine ended without a result.
    Died(String),
    /// A signal asked for the end; the status tells of it.
    Interrupted(u8),
}

/// What is known after a run.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) end: End,
    /// From the start until the command was started, and the guest's own clock then.
    pub(crate) boot: Option<(Duration, String)>,
    pub(crate) total: Duration,
    /// The end of the console if the machine gave no result.
    pub(crate) console: Vec<String>,
}

impl End {
    /// The status that stands for this end, as of `timeout` and shells.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Done(status) | Self::Interrupted(status) => *status,
            Self::TimedOut(_) => 124,
            Self::Died(_) => 125,
        }
    }
}

/// Boots the machine, runs the job and waits for the end. Output goes to `sink` as it comes.
///
/// The calling thread must live as long as the machine: QEMU is killed when that thread ends.
pub(crate) fn run(plan: &Plan, interrupt: &Interrupt, sink: impl Write + Send) -> Result<Report> {
    let control = Control::create(&plan.job)?;
    let console = plan.log.clone().unwrap_or_else(|| control.console());
    let paths =
        Paths { kernel: &plan.kernel, control: control.dir(), console: &console, shares: &plan.job.shares };
    let arguments = machine::arguments(&plan.hardware, &paths, is_root()?)?;
    let started = Instant::now();
    let mut qemu = start(&arguments)?;
    let output = qemu.0.stdout.take().context("QEMU has no output pipe")?;
    let (watched, boot) = thread::scope(|scope| {
        let copier = scope.spawn(|| copy(output, sink));
        let watched = watch(&mut qemu, &control, plan.limit, interrupt);
        // The end of QEMU closes the pipe, whatever ended it.
        drop(qemu);
        let copied = copier.join();
        if copied.is_err() {
            eprintln!("vm: output was lost");
        }
        watched
    })?;
    let end = match (watched, control.exit_status()) {
        (Stop::Ended(_), Some(status)) => End::Done(status),
        (Stop::Ended(qemu), None) => End::Died(qemu.to_string()),
        (Stop::TimeUp, _) => End::TimedOut(plan.limit),
        (Stop::Interrupted(status), _) => End::Interrupted(status),
    };
    let wanted = matches!(end, End::Died(_) | End::TimedOut(_));
    let console = if wanted { tail(&console) } else { Vec::new() };
    Ok(Report { end, boot, total: started.elapsed(), console })
}

/// QEMU, stopped at the latest when this is dropped.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts QEMU such that it dies with this thread, and out of reach of the terminal's Ctrl-C, which
/// xtask answers itself.
fn start(arguments: &[String]) -> Result<Qemu> {
    let mut setpriv = command("setpriv");
    setpriv.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]).args(arguments);
    // An input that stays open and silent: at its end QEMU would report the output port closed.
    setpriv.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    setpriv.spawn().map(Qemu).map_err(|error| start_error(error, &setpriv))
}

enum Stop {
    Ended(ExitStatus),
    TimeUp,
    Interrupted(u8),
}

type Boot = Option<(Duration, String)>;

fn watch(qemu: &mut Qemu, control: &Control, limit: Duration, interrupt: &Interrupt) -> Result<(Stop, Boot)> {
    let started = Instant::now();
    let mut boot = None;
    loop {
        let ended = qemu.0.try_wait().context("waiting for QEMU")?;
        if boot.is_none() {
            boot = control.ready().map(|clock| (started.elapsed(), clock));
        }
        if let Some(status) = ended {
            return Ok((Stop::Ended(status), boot));
        }
        if let Some(status) = interrupt.exit_status() {
            return Ok((Stop::Interrupted(status), boot));
        }
        if started.elapsed() >= limit {
            return Ok((Stop::TimeUp, boot));
        }
        thread::sleep(TICK);
    }
}

/// Passes output on at once; goes on reading when nobody takes it any more, so that the guest is not
/// held up.
fn copy(mut from: ChildStdout, mut to: impl Write) {
    let mut buffer = vec![0; 64 * 1024];
    let mut open = true;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                eprintln!("vm: cannot read the machine's output: {error}");
                return;
            }
        };
        open = open && to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_ok();
    }
}

fn tail(console: &PathBuf) -> Vec<String> {
    let Ok(bytes) = fs::read(console) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_TAIL)..].iter().map(|&line| line.to_owned()).collect()
}

fn is_root() -> Result<bool> {
    let own = fs::metadata("/proc/self").context("cannot read /proc/self")?;
    Ok(own.uid() == 0)
}
