//! The control folder that a machine shares with xtask: what to run goes in, what came of it comes out.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use super::quote;

/// The guest's second stage.
const GUEST: &str = include_str!("../../../tests/vm/harness/guest.sh");

/// Names of control folders start with this.
const PREFIX: &str = "saker-vm.";

/// What the guest is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    /// One shell line, or a program and its arguments.
    pub(crate) command: Vec<String>,
    /// `NAME=VALUE` for the command's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Host folders that are writable in the guest.
    pub(crate) shares: Vec<PathBuf>,
}

/// A control folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct Control {
    dir: PathBuf,
    /// Locked as long as the machine is in use, so that folders left by killed runs can be told apart.
    _alive: File,
}

impl Control {
    /// Makes the folder and writes the job into it; folders whose run was killed are removed first.
    pub(crate) fn create(job: &Job) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = env::temp_dir();
        // Until the new folder's file is locked: to another run that sweeps, it looked like one that was left.
        let held = File::open(&parent).with_context(|| format!("cannot open {}", parent.display()))?;
        held.lock().with_context(|| format!("cannot lock {}", parent.display()))?;
        sweep(&parent);
        let name = format!("{PREFIX}{}.{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = parent.join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let alive = dir.join("alive");
        let lock = File::create(&alive).with_context(|| format!("cannot create {}", alive.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", alive.display()))?;
        drop(held);
        let control = Self { dir, _alive: lock };
        control.write_job(job)?;
        Ok(control)
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the kernel's console is kept unless the user named a file.
    pub(crate) fn console(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// The guest's uptime in seconds when the command was started; `None` before that.
    pub(crate) fn ready(&self) -> Option<String> {
        Some(fs::read_to_string(self.dir.join("up")).ok()?.trim().to_owned())
    }

    /// The command's exit status; `None` if the machine ended without one.
    pub(crate) fn exit_status(&self) -> Option<u8> {
        fs::read_to_string(self.dir.join("rc")).ok()?.trim().parse().ok()
    }

    fn write_job(&self, job: &Job) -> Result<()> {
        let cwd = env::current_dir().context("cannot tell the current directory")?;
        let mut shares = String::new();
        for share in &job.shares {
            shares.push_str(&line(share)?);
        }
        let mut script = String::new();
        for (name, value) in &job.environment {
            script.push_str(&format!("export {name}={}\n", quote::quoted(value)));
        }
        script.push_str(&quote::script(&job.command));
        for (name, text) in
            [("guest.sh", GUEST), ("cwd", &line(&cwd)?), ("shares", &shares), ("cmd", script.as_str())]
        {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("vm: cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn line(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.contains('\n') => Ok(format!("{text}\n")),
        _ => bail!("the name of {} cannot be passed to the machine", path.display()),
    }
}

/// Removes control folders whose owner was killed before it could do so. The caller holds the lock of the folder above.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A folder without the file is just being made.
        let Ok(alive) = File::open(entry.path().join("alive")) else { continue };
        if alive.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_the_job_and_the_result() {
        let job = Job {
            command: vec!["true".into()],
            environment: vec![("NAME".into(), "it's".into())],
            shares: vec!["/srv/a b".into()],
        };
        let control = Control::create(&job).unwrap();
        let dir = control.dir().to_owned();
        assert_eq!(fs::read_to_string(dir.join("cmd")).unwrap(), "export NAME='it'\\''s'\ntrue\n");
        assert_eq!(fs::read_to_string(dir.join("shares")).unwrap(), "/srv/a b\n");
        assert_eq!(control.exit_status(), None);
        fs::write(dir.join("rc"), "7\n").unwrap();
        assert_eq!(control.exit_status(), Some(7));
        drop(control);
        assert!(!dir.exists());
    }

    #[test]
    fn runs_that_begin_together_leave_each_other_alone() {
        let begin = |_| {
            std::thread::spawn(|| {
                for _ in 0..200 {
                    let control = Control::create(&Job::default()).unwrap();
                    assert!(control.dir().join("cmd").exists());
                }
            })
        };
        let runs: Vec<_> = (0..4).map(begin).collect();
        for run in runs {
            run.join().unwrap();
        }
    }

    #[test]
    fn sweeps_folders_of_killed_runs_only() {
        let parent = tempfile::tempdir().unwrap();
        let (dead, alive) = (parent.path().join("saker-vm.1.0"), parent.path().join("saker-vm.2.0"));
        for dir in [&dead, &alive] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(dead.join("alive"), "").unwrap();
        let lock = File::create(alive.join("alive")).unwrap();
        lock.lock().unwrap();
        sweep(parent.path());
        assert!(!dead.exists() && alive.exists());
    }
}
