//! The switch that has no policy act, and what was done to whom.
//!
//! The switch is one word that all hooks share and look at when an action is due, so it takes effect at once, whatever the
//! thread of the policies is busy with, and for policies that come later too. It is a time: until then nothing is done.
//! The kernel compares, so that policies act again even if this process does nothing any more. A new agent begins with all
//! policies acting as they say.

mod groups;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saker_probes::Enforced;

use crate::host;
use crate::pods::PodTable;
pub use groups::GroupView;

/// Longest time that can be asked for.
const MAX_OFF: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest.
const MIN_OFF: Duration = Duration::from_secs(1);
/// Bytes of a reason.
const MAX_REASON: usize = 200;
/// Time between two looks at how many control groups are counted.
const TIDY: Duration = Duration::from_secs(60);

/// The kernel's side of it.
pub trait Rails: Send + Sync {
    /// Has no policy act until then, in nanoseconds of `CLOCK_BOOTTIME`; 0: they do, `u64::MAX`: without end.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    fn set_off_until(&self, until: u64) -> anyhow::Result<()>;

    /// What was done, by the id of the control group; 0: those there was no room for.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn groups(&self) -> anyhow::Result<Vec<(u64, Enforced)>>;

    /// Takes out a group that is gone.
    ///
    /// # Errors
    /// The kernel cannot be told.
    fn forget(&self, group: u64) -> anyhow::Result<()>;
}

impl Rails for saker_probes::Enforcement {
    fn set_off_until(&self, until: u64) -> anyhow::Result<()> {
        Ok(Self::set_off_until(self, until)?)
    }

    fn groups(&self) -> anyhow::Result<Vec<(u64, Enforced)>> {
        Ok(Self::groups(self)?)
    }

    fn forget(&self, group: u64) -> anyhow::Result<()> {
        Ok(Self::forget(self, group)?)
    }
}

/// Why the switch was not used. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnforcementError {
    /// The time is out of range.
    #[error("{0:?} is no time for which enforcement can be off: at least a second and at most 365 days")]
    Duration(Duration),
    /// The reason is too long.
    #[error("the reason has {0} bytes; {MAX_REASON} is the most")]
    Reason(usize),
    /// The reason would do something to a terminal.
    #[error("the reason has control characters: write one line of text")]
    Control,
    /// There are no hooks that could act.
    #[error("no policy can act here anyway: {0}")]
    Nowhere(String),
    /// The kernel refuses.
    #[error("the kernel cannot be told: {0}")]
    Kernel(String),
}

/// No policy acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    /// Since when.
    pub since: SystemTime,
    /// Until when; none: until somebody says so, or the agent ends.
    pub until: Option<SystemTime>,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words; empty: they did not say.
    pub reason: String,
    /// The end, in nanoseconds of `CLOCK_BOOTTIME`.
    end: u64,
}

/// The switch, and what was done.
pub struct Enforcement {
    rails: Result<Arc<dyn Rails>, String>,
    known: Mutex<Known>,
    pods: OnceLock<Arc<PodTable>>,
}

#[derive(Default)]
struct Known {
    off: Option<Off>,
    switched_off: u64,
    /// What was done in groups that are gone.
    gone: Enforced,
    tidied: Option<Instant>,
}

impl Enforcement {
    /// Policies act. Without rails: no policy can be loaded, for this reason.
    #[must_use]
    pub fn new(rails: Result<Arc<dyn Rails>, String>) -> Self {
        Self { rails, known: Mutex::default(), pods: OnceLock::new() }
    }

    /// Says which containers are of which pods, from now on.
    pub(crate) fn name_pods(&self, table: Arc<PodTable>) {
        let _ = self.pods.set(table);
    }

    /// Has no policy act from now on, for so long or without end. What was asked for before ends with it.
    ///
    /// # Errors
    /// The time or the reason is out of bounds, or the kernel cannot be told.
    pub fn switch_off(
        &self,
        time: Option<Duration>,
        by: &str,
        reason: &str,
    ) -> Result<Off, EnforcementError> {
        if let Some(time) = time.filter(|time| !(MIN_OFF..=MAX_OFF).contains(time)) {
            return Err(EnforcementError::Duration(time));
        }
        check_reason(reason)?;
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = time.map_or(u64::MAX, |time| host::boot_now().saturating_add(nanoseconds(time)));
        let since = SystemTime::now();
        let until = time.and_then(|time| since.checked_add(time));
        let off = Off { since, until, by: by.to_owned(), reason: reason.to_owned(), end };
        let mut known = self.known();
        self.tell(end)?;
        known.switched_off += 1;
        known.off = Some(off.clone());
        tracing::warn!(by, reason, time = ?time, "enforcement is switched off: policies only tell");
        Ok(off)
    }

    /// Has policies act again, each in its mode.
    ///
    /// # Errors
    /// The reason is out of bounds, or the kernel cannot be told.
    pub fn switch_on(&self, by: &str, reason: &str) -> Result<(), EnforcementError> {
        check_reason(reason)?;
        let mut known = self.known();
        self.tell(0)?;
        known.off = None;
        tracing::warn!(by, reason, "enforcement is switched on: policies act again");
        Ok(())
    }

    fn tell(&self, until: u64) -> Result<(), EnforcementError> {
        let rails = self.rails.as_ref().map_err(|reason| EnforcementError::Nowhere(reason.clone()))?;
        rails.set_off_until(until).map_err(|error| EnforcementError::Kernel(format!("{error:#}")))
    }

    /// Since when, for how long and why no policy acts; `None`: they do.
    #[must_use]
    pub fn off(&self) -> Option<Off> {
        let off = self.known().off.clone();
        off.filter(|off| host::boot_now() < off.end)
    }

    /// Times that it was switched off.
    #[must_use]
    pub fn switched_off(&self) -> u64 {
        self.known().switched_off
    }

    /// What was done in all groups.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn total(&self) -> anyhow::Result<Enforced> {
        let Ok(rails) = &self.rails else { return Ok(Enforced::default()) };
        // Held, so that no group is between its entry and those that are gone.
        let known = self.known();
        Ok(rails.groups()?.into_iter().fold(known.gone, |sum, (_, counts)| sum.plus(counts)))
    }

    /// How many groups are counted by themselves.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn counted(&self) -> anyhow::Result<usize> {
        let Ok(rails) = &self.rails else { return Ok(0) };
        Ok(rails.groups()?.iter().filter(|(group, _)| *group != 0).count())
    }

    /// What was done in each group, the most first. Looks at all control groups.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn groups(&self) -> anyhow::Result<Vec<GroupView>> {
        let Ok(rails) = &self.rails else { return Ok(Vec::new()) };
        let mut known = self.known();
        groups::views(rails.as_ref(), &mut known.gone, self.pods.get().map(AsRef::as_ref))
    }

    /// Notes that the time is over, and makes room for new groups. Called now and then.
    pub(crate) fn tend(&self) {
        let mut known = self.known();
        if let Some(off) = known.off.take_if(|off| host::boot_now() >= off.end) {
            tracing::warn!(by = off.by, "enforcement is on again: the time that was asked for is over");
        }
        if known.tidied.is_some_and(|at| at.elapsed() < TIDY) {
            return;
        }
        known.tidied = Some(Instant::now());
        let Ok(rails) = &self.rails else { return };
        if let Err(error) = groups::make_room(rails.as_ref(), &mut known.gone) {
            tracing::warn!("control groups in which policies acted cannot be looked at: {error:#}");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reason goes to the log and to terminals.
pub(crate) fn check_reason(reason: &str) -> Result<(), EnforcementError> {
    if reason.len() > MAX_REASON {
        return Err(EnforcementError::Reason(reason.len()));
    }
    if reason.chars().any(char::is_control) {
        return Err(EnforcementError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
