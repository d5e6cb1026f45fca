//! What is asked of hooks that are loaded, and told them: counters, memory, and whether they act.

use std::os::fd::AsFd;

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use saker_abi::generated::{SAKER_MODE_ENFORCE, SAKER_MODE_MONITOR, saker_hook_stats, saker_selector_stats};
use saker_policy::plan::Attach;
use saker_policy::words::Mode;
use zerocopy::FromBytes;

use super::maps::{MODE, SELECTORS, STATS};
use super::{LoadedHook, LoadedPolicy};
use crate::Error;
use crate::missed::runs;
use crate::sensors::program_fdinfo;

/// What a hook counted on all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Calls of the hooked function.
    pub calls: u64,
    /// Of these, matched by a selector.
    pub matched: u64,
    /// Records made.
    pub posted: u64,
    /// Records that a rate limit held back.
    pub limited: u64,
    /// Records there was no room for.
    pub lost: u64,
    /// Calls that could not be remembered for their return.
    pub unpaired: u64,
    /// Records of processes of which it was not known yet in which container they are.
    pub undecided: u64,
    /// Calls that were not looked at, because the program was running on that CPU already.
    pub missed: u64,
    /// Of these, those that the kernel left out where functions are hooked in one step.
    pub missed_at_once: u64,
    /// Signals sent.
    pub signalled: u64,
    /// Calls in whose place a result was given.
    pub overridden: u64,
    /// Signals that were not sent, because the policy only tells or enforcement is switched off.
    pub monitored_signal: u64,
    /// Results that were not given, likewise.
    pub monitored_override: u64,
    /// Matching calls of the first process of the machine, or of the agent, to which nothing was done.
    pub spared: u64,
    /// Actions on calls of which it is not sure that they are meant, and signals that the kernel did not take.
    pub failed: u64,
    /// Calls that matched and were not to be told.
    pub unposted: u64,
    /// Runs of its programs while BPF statistics were on ([`crate::statistics`]).
    pub runs: u64,
    /// What these took, in nanoseconds.
    pub run_time_ns: u64,
}

/// What a selector of a hook counted on all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectorCounts {
    /// Calls that it matched first.
    pub matched: u64,
    /// Records made.
    pub posted: u64,
    /// Calls that were not to be told.
    pub unposted: u64,
    /// Signals sent.
    pub signalled: u64,
    /// Calls in whose place a result was given.
    pub overridden: u64,
    /// Signals that were not sent, because the policy only tells or enforcement is switched off.
    pub monitored_signal: u64,
    /// Results that were not given, likewise.
    pub monitored_override: u64,
    /// Calls to which nothing was done for another reason.
    pub withheld: u64,
}

impl From<HookCounts> for SelectorCounts {
    /// Of the only selector of a hook.
    fn from(hook: HookCounts) -> Self {
        Self {
            matched: hook.matched,
            posted: hook.posted,
            unposted: hook.unposted,
            signalled: hook.signalled,
            overridden: hook.overridden,
            monitored_signal: hook.monitored_signal,
            monitored_override: hook.monitored_override,
            withheld: hook.spared + hook.failed,
        }
    }
}

/// All entries of an array.
fn entries(map: &MapHandle, name: &'static str) -> Result<Vec<Vec<u8>>, Error> {
    let count = map.max_entries();
    let found = map.lookup_batch(count, MapFlags::ANY, MapFlags::ANY);
    let found: Vec<_> = found.map_err(|source| Error::Map { map: name, source })?.collect();
    if found.len() != count as usize {
        // The iterator ends where the kernel gives an error.
        let source = libbpf_rs::Error::from(std::io::Error::last_os_error());
        return Err(Error::Map { map: name, source });
    }
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

impl LoadedHook {
    /// What it counted so far.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn counts(&self) -> Result<HookCounts, Error> {
        let mut sum = HookCounts::default();
        let failed = |source| Error::Map { map: STATS, source };
        let all = self.stats.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).map_err(failed)?.unwrap_or_default();
        for entry in all.chunks_exact(size_of::<saker_hook_stats>()) {
            let Ok((cpu, _)) = saker_hook_stats::read_from_prefix(entry) else { continue };
            sum.calls += cpu.calls;
            sum.matched += cpu.matched;
            sum.posted += cpu.posted;
            sum.limited += cpu.limited;
            sum.lost += cpu.lost;
            sum.unpaired += cpu.unpaired;
            sum.signalled += cpu.signalled;
            sum.overridden += cpu.overridden;
            sum.monitored_signal += cpu.monitored_signal;
            sum.monitored_override += cpu.monitored_override;
            sum.spared += cpu.spared;
            sum.failed += cpu.failed;
            sum.undecided += cpu.undecided;
            sum.unposted += cpu.unposted;
        }
        sum.missed_at_once = self.missed_at_once();
        sum.missed = sum.missed_at_once;
        for runs in self.programs.iter().filter_map(|program| runs(program.as_fd())) {
            sum.missed += runs.left_out;
            sum.runs += runs.count;
            sum.run_time_ns += runs.time_ns;
        }
        Ok(sum)
    }

    /// What each of its selectors counted so far, in their order. `all`: what the hook counted, which of a hook with one
    /// selector is the same.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn selector_counts(&self, all: HookCounts) -> Result<Vec<SelectorCounts>, Error> {
        let Some((count, map)) = &self.selectors else { return Ok(vec![all.into()]) };
        let mut sums = vec![SelectorCounts::default(); usize::from(*count)];
        // All selectors, and all of them again for each shard.
        for shard in entries(map, SELECTORS)?.chunks(usize::from(*count)) {
            for (sum, entry) in sums.iter_mut().zip(shard) {
                let Ok((counts, _)) = saker_selector_stats::read_from_prefix(entry) else { continue };
                sum.matched += counts.matched;
                sum.posted += counts.posted;
                sum.unposted += counts.unposted;
                sum.signalled += counts.signalled;
                sum.overridden += counts.overridden;
                sum.monitored_signal += counts.monitored_signal;
                sum.monitored_override += counts.monitored_override;
                sum.withheld += counts.withheld;
            }
        }
        Ok(sums)
    }

    /// Calls that the kernel left out where functions are hooked in one step, which it tells since Linux 6.7.
    fn missed_at_once(&self) -> u64 {
        if !matches!(self.attach, Attach::Kprobes { at_once: true, .. }) {
            return 0;
        }
        let missed = |link: &Link| match link.info().ok()?.info {
            LinkTypeInfo::KprobeMulti(info) => Some(info.missed),
            _ => None,
        };
        self.links.iter().filter_map(missed).sum()
    }

    /// Kernel memory that is this hook's alone, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }
}

/// Says in a policy's map whether it acts.
pub(super) fn set_mode(map: &MapHandle, mode: Mode) -> Result<(), Error> {
    let value = match mode {
        Mode::Enforce => SAKER_MODE_ENFORCE,
        Mode::Monitor => SAKER_MODE_MONITOR,
    };
    let set = map.update(&0_u32.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY);
    set.map_err(|source| Error::Map { map: MODE, source })
}

impl LoadedPolicy {
    /// Has its actions carried out or only told, from now on: all hooks at the same moment.
    ///
    /// # Errors
    /// The map cannot be written; nothing has changed.
    pub fn set_mode(&self, mode: Mode) -> Result<(), Error> {
        self.maps.mode.as_ref().map_or(Ok(()), |map| set_mode(map, mode))
    }

    /// What is wrong with files that its hooks name, each with the place of the hook.
    #[must_use]
    pub fn file_problems(&self) -> Vec<(usize, String)> {
        let Some(files) = &self.maps.files else { return Vec::new() };
        let hook = |set: u32| self.file_sets.iter().find(|(of, _)| *of == set).map(|(_, hook)| *hook);
        files.problems().into_iter().filter_map(|(set, problem)| Some((hook(set)?, problem))).collect()
    }

    /// Kernel memory of the policy's sets, and of the owners of sockets if it tracks them, in bytes.
    #[must_use]
    pub fn set_memory(&self) -> u64 {
        let sets = self
            .maps
            .sets
            .iter()
            .zip(self.maps.sizes)
            .filter_map(|(map, size)| (size > 0).then_some(map))
            .chain(&self.maps.mode)
            .filter_map(|map| program_fdinfo(map.as_fd(), "memlock:"));
        sets.sum::<u64>() + self.tracking.as_ref().map_or(0, |tracking| tracking.memory())
    }
}
