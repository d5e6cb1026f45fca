//! The agent under test.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::idle;
use crate::scratch::Scratch;
use crate::status::Status;
use crate::stream::Stream;
use crate::wait;

/// The program: `SAKER_BIN`, else beside this test, else the other profile's.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SAKER_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "SAKER_BIN is {}, which is not a file", path.display());
        return Ok(fs::canonicalize(path)?);
    }
    let own = std::env::current_exe()?;
    let profile = own
        .ancestors()
        .find(|folder| folder.join("deps").is_dir())
        .context("this test is not in a build folder; name the agent by SAKER_BIN")?;
    let target = profile.parent().unwrap_or(profile);
    let places = [profile.join("saker"), target.join("release/saker"), target.join("debug/saker")];
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => bail!("there is no agent in {}; run `cargo build -p saker`", profile.display()),
    }
}

/// Everything optional that events may tell.
pub const FULL: &[&str] = &[
    "--enable-process-cred",
    "--enable-process-ns",
    "--enable-process-environment-variables",
    "--enable-ancestors=base",
    "--username-metadata=unix",
];

/// What ties a process to the test over forebears that never executed anything, and nothing more: with
/// environments, too, an event of a storm is tens of kilobytes long.
pub const LINEAGE: &[&str] = &["--enable-ancestors=base"];

/// A running agent with a directory of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    binary: PathBuf,
    /// Its run directory, with the socket and the export.
    pub dir: PathBuf,
    /// Where it writes JSON lines.
    pub export: PathBuf,
    ended: bool,
}

impl Agent {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(scratch: &Scratch, flags: &[&str]) -> Result<Self> {
        let mut agent = Self::spawn(&scratch.fresh("agent")?, flags)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts one in this run directory, without waiting.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn(dir: &Path, flags: &[&str]) -> Result<Self> {
        Self::spawn_of(&binary()?, dir, flags)
    }

    /// As [`Agent::spawn`], with these variables too.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn_within(variables: &[(&str, &str)], dir: &Path, flags: &[&str]) -> Result<Self> {
        let log = File::options().append(true).create(true).open(dir.join("log"))?;
        Self::run(&binary()?, log, variables, dir, flags)
    }

    /// As [`Agent::spawn`], with its messages in this file.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn_logging_to(log: File, dir: &Path, flags: &[&str]) -> Result<Self> {
        Self::run(&binary()?, log, &[], dir, flags)
    }

    /// As [`Agent::spawn`], of this program.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn_of(binary: &Path, dir: &Path, flags: &[&str]) -> Result<Self> {
        let log = File::options().append(true).create(true).open(dir.join("log"))?;
        Self::run(binary, log, &[], dir, flags)
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        !self.ended && self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    fn run(binary: &Path, log: File, variables: &[(&str, &str)], dir: &Path, flags: &[&str]) -> Result<Self> {
        idle::end();
        let export = dir.join("events.json");
        let child = command(binary, dir)
            .envs(variables.iter().copied())
            .arg("--export-filename")
            .arg(&export)
            .args(["--export-file-max-size-mb=0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        Ok(Self { child, binary: binary.to_owned(), dir: dir.to_owned(), export, ended: false })
    }

    /// Waits until it says that it is ready: its info file is there then.
    ///
    /// # Errors
    /// When it ends instead, or time runs out; with the end of its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let ready = self.dir.join("saker-info.json");
        wait::until("the agent to be ready", wait::LONG, || {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                bail!("the agent ended ({status}) instead of becoming ready");
            }
            // An agent that was killed leaves its own.
            let info: Value =
                serde_json::from_slice(&fs::read(&ready).unwrap_or_default()).unwrap_or_default();
            Ok((info["pid"] == self.child.id()).then_some(()))
        })
        .with_context(|| format!("log of the agent:\n{}", self.log().unwrap_or_default()))
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of its socket.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}/saker.sock", self.dir.display())
    }

    /// What it logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        let log = match fs::read(self.dir.join("log")) {
            // Its messages go elsewhere.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// A command of the same program, told where the agent is.
    #[must_use]
    pub fn client(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(verb).arg("--server-address").arg(self.address());
        command
    }

    /// Runs a client command to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ask(&self, verb: &str, arguments: &[&str]) -> Result<Output> {
        self.client(verb).args(arguments).output().with_context(|| format!("cannot run saker {verb}"))
    }

    /// The same of a command with commands of its own, such as `saker protect off`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ask_deep(&self, command: &str, words: &[&str]) -> Result<Output> {
        let mut deep = Command::new(&self.binary);
        deep.arg(command).args(words).arg("--server-address").arg(self.address());
        deep.output().with_context(|| format!("cannot run saker {command}"))
    }

    /// Its counters.
    ///
    /// # Errors
    /// When it does not answer with JSON.
    pub fn status(&self) -> Result<Status> {
        let output = self.ask("status", &["-o", "json"])?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saker status failed ({}): {message}", output.status);
        let value: Value =
            serde_json::from_slice(&output.stdout).context("saker status does not print JSON")?;
        Ok(Status(value))
    }

    /// A reader of what it writes.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(&self.export)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        kill_process(pid, signal).context("cannot signal the agent")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = wait::until("the agent to end", wait::LONG, || Ok(self.child.try_wait()?))?;
        self.ended = true;
        Ok(status)
    }

    /// Ends it as a service manager would, and looks at how it went.
    ///
    /// # Errors
    /// When it fails, panics, or leaves an unfinished line.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.wait()?;
        self.check_stopped()
    }

    /// That the agent, which has ended after SIGTERM, ended in good order.
    ///
    /// # Errors
    /// When it did not, or has not ended.
    pub fn check_stopped(&mut self) -> Result<()> {
        let status = self.wait()?;
        let log = self.log()?;
        ensure!(status.code() == Some(0), "the agent ended with {status}:\n{log}");
        ensure!(!log.contains("panicked"), "the agent panicked:\n{log}");
        ensure!(!self.dir.join("saker.sock").exists(), "the agent left its socket behind");
        self.stream().forgetful().check_end()
    }
}

/// `saker agent` with a run directory, free of the machine's configuration.
#[must_use]
pub fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("agent").arg("--run-dir").arg(dir);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("RUST_BACKTRACE", "1");
    command
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.ended {
            // Fails when it has ended by itself, which is as good.
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
