//! The agent's protection of itself: what is guarded, and the time for which an operator lifted it.
//!
//! The kernel side refuses and tells (`bpf/guard/`); here is who asked for it to be lifted, and until when. The kernel keeps
//! the time, so that protection comes back even if this process does nothing any more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saker_engine::hook::{HookText, PolicyText};
use saker_probes::{GUARD_HOOKS, Guard, GuardCount, Part};

use crate::config::{Config, Settings};
use crate::enforcement::check_reason;
use crate::host;

/// Name of the policy that stands in events.
pub const POLICY: &str = "self-protection";
/// Longest time for which it can be lifted: it must not be forgotten.
pub const MAX_LIFTED: Duration = Duration::from_secs(24 * 3600);
const MIN_LIFTED: Duration = Duration::from_secs(1);
/// Time between two looks at the own BPF objects.
const TEND: Duration = Duration::from_secs(5);

/// The kernel's side of it.
pub trait Shield: Send + Sync {
    /// Refuses nothing until then, in nanoseconds of `CLOCK_BOOTTIME`; 0: it guards.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    fn lift_until(&self, until: u64) -> anyhow::Result<()>;

    /// Looks anew which files stand under the guarded paths.
    ///
    /// # Errors
    /// One cannot be looked at.
    fn mark_all(&self) -> anyhow::Result<()>;

    /// Called now and then.
    ///
    /// # Errors
    /// What was made since cannot be taken down.
    fn tend(&self) -> anyhow::Result<()>;

    /// What each hook did, in the order of [`GUARD_HOOKS`].
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn counts(&self) -> anyhow::Result<Vec<GuardCount>>;
}

impl Shield for Guard {
    fn lift_until(&self, until: u64) -> anyhow::Result<()> {
        Ok(Self::lift_until(self, until)?)
    }

    fn mark_all(&self) -> anyhow::Result<()> {
        Ok(Self::mark_all(self)?)
    }

    fn tend(&self) -> anyhow::Result<()> {
        Ok(Self::tend(self)?)
    }

    fn counts(&self) -> anyhow::Result<Vec<GuardCount>> {
        Ok(Self::counts(self)?)
    }
}

/// Why it was not lifted or brought back. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectionError {
    /// There is none.
    #[error("the agent runs without --self-protection: there is nothing to lift")]
    None,
    /// The time is out of range.
    #[error("{0:?} is no time for which protection can be lifted: at least a second and at most 24 hours")]
    Duration(Duration),
    /// The reason is no line of text, or too long.
    #[error("{0}")]
    Reason(String),
    /// The kernel refuses.
    #[error("the kernel cannot be told: {0}")]
    Kernel(String),
}

/// Nothing is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// Since when.
    pub since: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words; empty: they did not say.
    pub reason: String,
    /// The end, in nanoseconds of `CLOCK_BOOTTIME`.
    end: u64,
}

/// The protection of this agent, or none.
#[derive(Default)]
pub struct Protection {
    shield: Option<Arc<dyn Shield>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    lifted: Option<Lifted>,
    times: u64,
    /// Other files may stand under the guarded paths than those that are guarded.
    is_stale: bool,
    tended: Option<Instant>,
}

impl Protection {
    /// This agent is guarded.
    #[must_use]
    pub fn by(shield: Arc<dyn Shield>) -> Self {
        Self { shield: Some(shield), known: Mutex::default() }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.shield.is_some()
    }

    /// Refuses nothing for so long. What was asked for before ends with it.
    ///
    /// # Errors
    /// There is no protection, the time or the reason is out of bounds, or the kernel cannot be told.
    pub fn lift(&self, time: Duration, by: &str, reason: &str) -> Result<Lifted, ProtectionError> {
        let shield = self.shield.as_ref().ok_or(ProtectionError::None)?;
        if !(MIN_LIFTED..=MAX_LIFTED).contains(&time) {
            return Err(ProtectionError::Duration(time));
        }
        check_reason(reason).map_err(|error| ProtectionError::Reason(error.to_string()))?;
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = host::boot_now().saturating_add(nanoseconds);
        let since = SystemTime::now();
        let until = since.checked_add(time).unwrap_or(since);
        let lifted = Lifted { since, until, by: by.to_owned(), reason: reason.to_owned(), end };
        let mut known = self.known();
        shield.lift_until(end).map_err(|error| ProtectionError::Kernel(format!("{error:#}")))?;
        known.times += 1;
        known.is_stale = true;
        known.lifted = Some(lifted.clone());
        tracing::warn!(by, reason, ?time, "self-protection is lifted: the agent can be ended and changed");
        Ok(lifted)
    }

    /// Brings it back, for the files that stand under the guarded paths now.
    ///
    /// # Errors
    /// There is none, the reason is out of bounds, the kernel cannot be told, or a file cannot be looked at, which is tried again.
    pub fn restore(&self, by: &str, reason: &str) -> Result<(), ProtectionError> {
        let shield = self.shield.as_ref().ok_or(ProtectionError::None)?;
        check_reason(reason).map_err(|error| ProtectionError::Reason(error.to_string()))?;
        let failed = |error: anyhow::Error| ProtectionError::Kernel(format!("{error:#}"));
        let mut known = self.known();
        shield.lift_until(0).map_err(failed)?;
        known.lifted = None;
        tracing::warn!(by, reason, "self-protection is back");
        shield.mark_all().map_err(failed)?;
        known.is_stale = false;
        Ok(())
    }

    /// Since when, until when and why nothing is refused; `None`: it guards, or there is none.
    #[must_use]
    pub fn lifted(&self) -> Option<Lifted> {
        self.known().lifted.clone().filter(|lifted| host::boot_now() < lifted.end)
    }

    /// Times that it was lifted.
    #[must_use]
    pub fn times(&self) -> u64 {
        self.known().times
    }

    /// Attempts that were refused, by the hook: none without protection; empty: the kernel cannot be asked.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, GuardCount)> {
        let none = || Ok(vec![GuardCount::default(); GUARD_HOOKS.len()]);
        let counts = self.shield.as_ref().map_or_else(none, |shield| shield.counts());
        let counts = counts.inspect_err(|error| {
            tracing::debug!("what self-protection refused cannot be read: {error:#}");
        });
        GUARD_HOOKS.iter().map(|hook| hook.name).zip(counts.unwrap_or_default()).collect()
    }

    /// Takes down what is new, and notes that the time of a lift is over. Called now and then.
    pub(crate) fn tend(&self) {
        let Some(shield) = &self.shield else { return };
        let mut known = self.known();
        if let Some(lifted) = known.lifted.take_if(|lifted| host::boot_now() >= lifted.end) {
            tracing::warn!(
                by = lifted.by,
                "self-protection is back: the time for which it was lifted is over"
            );
        }
        if known.is_stale && known.lifted.is_none() {
            match shield.mark_all() {
                Ok(()) => known.is_stale = false,
                Err(error) => {
                    tracing::error!("not all files of the agent can be guarded, trying again: {error:#}");
                }
            }
        }
        if known.tended.is_some_and(|at| at.elapsed() < TEND) {
            return;
        }
        known.tended = Some(Instant::now());
        if let Err(error) = shield.tend() {
            tracing::warn!("new BPF objects of the agent cannot be taken down: {error:#}");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its events tell of it.
#[must_use]
pub(crate) fn text() -> PolicyText {
    let hook = |hook: &saker_probes::GuardHook| HookText {
        function: hook.name.to_owned(),
        message: "an attempt against the agent was refused".to_owned(),
        labels: hook.values.iter().map(|label| (*label).to_owned()).collect(),
        arguments: hook.values.len(),
        ..HookText::default()
    };
    let hooks = GUARD_HOOKS.iter().map(hook).collect();
    PolicyText {
        id: Guard::POLICY,
        name: POLICY.to_owned(),
        namespace: String::new(),
        hooks,
        ..PolicyText::default()
    }
}

/// What is guarded beside process, program and BPF objects. `pins`: where programs are pinned.
#[must_use]
pub(crate) fn parts(config: &Config, settings: &Settings, pins: Option<&Path>) -> Vec<Part> {
    // Where options and policies are without being named.
    const CONFIGURATION: &str = "/etc/saker";
    let own = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let named = |name| Some(config.get(name)).filter(|text| !text.is_empty()).map(PathBuf::from);
    let mut parts = vec![Part::Below(CONFIGURATION.into()), Part::Below(own(&settings.run_dir))];
    let directories =
        [named("config-dir"), settings.policies.directory.clone(), settings.policies.kept.clone()];
    let files = [named("config"), settings.policies.file.clone(), settings.server.socket.clone()];
    parts.extend(directories.iter().flatten().map(|path| Part::Below(own(path))));
    parts.extend(files.iter().flatten().map(|path| Part::File(own(path))));
    // A file, or a directory; that of the default stands below the configuration, and need not be there.
    let exports =
        named("export-config").map(|path| own(&path)).filter(|path| !path.starts_with(CONFIGURATION));
    parts.extend(exports.map(|path| if path.is_dir() { Part::Below(path) } else { Part::File(path) }));
    parts.extend(pins.map(|path| Part::Pins(own(path))));
    parts
}

#[cfg(test)]
mod tests;
