//! Who watches during a measurement: nobody, Saker, or auditd.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::work::Bench;

/// Written by Saker once it is ready.
const READY: &str = "saker-info.json";

/// A running agent, ended when dropped.
#[derive(Debug)]
pub struct Subject {
    /// `saker` or `auditd`.
    pub name: &'static str,
    child: Child,
    binary: PathBuf,
    /// Where Saker writes its events.
    pub export: PathBuf,
    socket: PathBuf,
    /// Nanoseconds from the start to readiness.
    pub start_ns: u64,
}

/// The agent's program: `SAKER_BIN` or beside this one.
pub fn saker_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("SAKER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("saker"),
    };
    ensure!(path.is_file(), "there is no agent at {}; run `cargo build --release -p saker`", path.display());
    Ok(path)
}

impl Subject {
    /// Starts Saker with its defaults and the JSON file on.
    pub fn saker(bench: &Bench, flags: &[&str]) -> Result<Self> {
        let dir = bench.fresh("saker")?;
        let (export, socket) = (dir.join("events.json"), dir.join("saker.sock"));
        let binary = saker_binary()?;
        let log = File::create(dir.join("log"))?;
        let begin = Instant::now();
        let mut child = Command::new(&binary)
            .args(["agent", "--run-dir"])
            .arg(&dir)
            .arg("--export-filename")
            .arg(&export)
            .arg("--export-file-max-size-mb=0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let ready = dir.join(READY);
        while !ready.exists() {
            if let Some(status) = child.try_wait()? {
                bail!("the agent ended ({status}):\n{}", fs::read_to_string(dir.join("log"))?);
            }
            sleep(Duration::from_millis(1));
        }
        let start_ns = u64::try_from(begin.elapsed().as_nanos())?;
        Ok(Self { name: "saker", child, binary, export, socket, start_ns })
    }

    /// Starts Debian's auditd as it is configured there, with a rule for every exec.
    pub fn auditd() -> Result<Self> {
        let binary = Path::new("/usr/sbin/auditd").to_owned();
        ensure!(binary.exists(), "there is no auditd; install Debian's package of that name");
        fs::create_dir_all("/var/log/audit")?;
        let begin = Instant::now();
        let child = Command::new(&binary).arg("-n").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut subject = Self {
            name: "auditd",
            child,
            binary,
            export: PathBuf::from("/var/log/audit/audit.log"),
            socket: PathBuf::new(),
            start_ns: 0,
        };
        // It is ready when the kernel knows its PID.
        let pid = format!("pid {}", subject.pid());
        loop {
            let status = Command::new("/usr/sbin/auditctl").arg("-s").output()?;
            if String::from_utf8_lossy(&status.stdout).lines().any(|line| line == pid) {
                break;
            }
            ensure!(begin.elapsed() < Duration::from_secs(60), "auditd does not become ready");
            sleep(Duration::from_millis(100));
        }
        subject.start_ns = u64::try_from(begin.elapsed().as_nanos())?;
        let rule = ["-a", "always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", "exec"];
        for arguments in [&["-D"][..], &["-b", "8192"], &rule] {
            let done = Command::new("/usr/sbin/auditctl").args(arguments).output()?;
            let message = String::from_utf8_lossy(&done.stderr);
            ensure!(done.status.success(), "auditctl {arguments:?} failed: {message}");
        }
        Ok(subject)
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let times = threads.into_iter().flatten().flatten().map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        });
        times.sum()
    }

    /// A line of its `/proc` status, in KiB.
    pub fn memory_kib(&self, line: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        let value = value.with_context(|| format!("/proc has no line {line}"))?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    /// Kernel memory of all its BPF maps and programs, in bytes, as `/proc` tells it of what it holds open.
    pub fn kernel_memory(&self) -> Result<u64> {
        let mut known = HashSet::new();
        let mut sum = 0;
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.pid()))? {
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let id = field("map_id:").map(|id| ("map", id.to_owned()));
            let id = id.or_else(|| field("prog_id:").map(|id| ("program", id.to_owned())));
            // A link names the program it holds, but has no memory of its own.
            let (Some(id), Some(bytes)) = (id, field("memlock:")) else { continue };
            if known.insert(id) {
                sum += bytes.parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Runs `saker policy VERB` with the rest of the arguments.
    pub fn policy(&self, arguments: &[&str]) -> Result<Output> {
        let (verb, rest) = arguments.split_first().context("no verb")?;
        let address = format!("unix://{}", self.socket.display());
        let mut command = Command::new(&self.binary);
        command.args(["policy", verb, "--server-address", &address]).args(rest);
        command.output().context("cannot run saker policy")
    }

    /// Lifts the agent's protection of itself, without which it cannot be ended.
    pub fn lift(&self) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["protect", "off", "--for", "1h", "--server-address"]);
        let output = command.arg(format!("unix://{}", self.socket.display())).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saker protect off failed: {message}");
        Ok(())
    }

    /// Saker's counters.
    pub fn status(&self) -> Result<Value> {
        let output = Command::new(&self.binary)
            .args(["status", "-o", "json", "--server-address"])
            .arg(format!("unix://{}", self.socket.display()))
            .output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saker status failed: {message}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Ends it, and auditing with it.
    pub fn stop(mut self) -> Result<()> {
        self.end()?;
        let status = self.child.wait()?;
        ensure!(status.success() || self.name == "auditd", "the agent ended with {status}");
        if self.name == "auditd" {
            for arguments in [&["-D"][..], &["-e", "0"]] {
                Command::new("/usr/sbin/auditctl").args(arguments).output()?;
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        kill_process(pid, Signal::TERM).context("cannot end the agent")
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end();
            let _ = self.child.wait();
        }
    }
}
