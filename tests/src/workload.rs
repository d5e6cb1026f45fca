//! Running workloads and reading the facts they print.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::scratch::Scratch;
use crate::wait;

/// The programs, built by the build script and carried along.
const WORKLOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workload"));
const LEAF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leaf"));
const PROBED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probed"));
const STACKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stacks"));
const NOP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nop"));

/// The workload programs as files.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program that is all workloads.
    pub workload: PathBuf,
    /// Prints facts about itself.
    pub leaf: PathBuf,
    /// Only ends.
    pub nop: PathBuf,
    /// Has a symbol, `saker_probed`.
    pub probed: PathBuf,
    /// Calls `getpriority` through functions with frames and symbols, and maps itself.
    pub stacks: PathBuf,
}

impl Programs {
    /// Writes the programs into a directory of the scratch.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn install(scratch: &Scratch) -> Result<Self> {
        let folder = scratch.fresh("programs")?;
        let write = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            Ok(path)
        };
        Ok(Self {
            workload: write("workload", WORKLOAD)?,
            leaf: write("leaf", LEAF)?,
            nop: write("nop", NOP)?,
            probed: write("probed", PROBED)?,
            stacks: write("stacks", STACKS)?,
        })
    }

    /// Starts a workload in an empty directory of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, scratch: &Scratch, arguments: &[&str]) -> Result<Running> {
        let name = arguments.first().copied().unwrap_or("workload");
        let cwd = scratch.fresh(name)?;
        let facts = cwd.with_extension("facts");
        let out = File::create(&facts).with_context(|| format!("cannot make {}", facts.display()))?;
        let child = Command::new(&self.workload)
            .args(arguments)
            .env_clear()
            .env("LEAF", &self.leaf)
            .env("NOP", &self.nop)
            .current_dir(&cwd)
            .stdin(Stdio::piped())
            .stdout(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the workload {name}"))?;
        Ok(Running { name: name.to_owned(), child, cwd, facts, ended: false })
    }
}

/// A workload under way. Dropped before its end, it is killed with everything in its process group.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    /// Its working directory.
    pub cwd: PathBuf,
    facts: PathBuf,
    ended: bool,
}

impl Running {
    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Facts printed so far.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn facts(&self) -> Result<Facts> {
        Facts::read(&self.facts)
    }

    /// Waits until it has printed this fact.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub fn wait_for(&mut self, fact: &str) -> Result<Facts> {
        let what = format!("the workload {} to print {fact}", self.name);
        let facts = self.facts.clone();
        wait::until(&what, wait::LONG, || {
            let ended = self.child.try_wait()?;
            let facts = Facts::read(&facts)?;
            if facts.has(fact) {
                return Ok(Some(facts));
            }
            ensure!(ended.is_none(), "the workload {} ended without printing {fact}", self.name);
            Ok(None)
        })
    }

    /// Ends its input, on which some workloads wait.
    pub fn release(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn terminate(&self) -> Result<()> {
        rustix::process::kill_process(pid_of(&self.child)?, Signal::TERM).context("cannot end the workload")
    }

    /// Waits for its end and returns what it did.
    ///
    /// # Errors
    /// When it does not end in time, or reports a failure of its own (status 125 or a signal).
    pub fn finish(mut self) -> Result<Run> {
        self.release();
        let what = format!("the workload {} to end", self.name);
        let status = wait::until(&what, wait::LONG, || Ok(self.child.try_wait()?))?;
        self.ended = true;
        let facts = self.facts()?;
        let failed = status.code().is_none_or(|code| code == 125 || code == 2);
        ensure!(!failed, "the workload {} failed: {status}; its message stands above", self.name);
        Ok(Run { pid: self.child.id(), cwd: self.cwd.clone(), facts, status })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(pid) = pid_of(&self.child) {
            // Fails when everything has ended by itself, which is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("not a PID")
}

/// A workload that has ended.
#[derive(Debug)]
pub struct Run {
    /// Its PID.
    pub pid: u32,
    /// Its working directory, of which no other run makes use.
    pub cwd: PathBuf,
    /// What it printed.
    pub facts: Facts,
    /// How it ended.
    pub status: ExitStatus,
}

/// Facts by name. A name may come again: a leaf that is executed twice prints twice.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let pairs = whole.lines().filter_map(|line| line.split_once(' '));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// All facts, in the order they were printed.
    pub fn every(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is such a fact.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The value, the last one when there are several; `None`: there is none.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.all(name).last().copied()
    }

    /// All values of the name, in the order they were printed.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.find(name).ok_or_else(|| anyhow!("the workload did not print the fact {name}"))
    }

    /// The value as a number.
    ///
    /// # Errors
    /// When there is none, or it is none.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("the fact {name} is {text}"))
    }

    /// The value as a PID.
    ///
    /// # Errors
    /// When there is none, or it is none.
    pub fn pid(&self, name: &str) -> Result<u32> {
        Ok(u32::try_from(self.number(name)?)?)
    }
}
