//! The running kernel as what policies are loaded into.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use saker_abi::NamespaceInums;
use saker_abi::generated::saker_plan;
use saker_policy::model::Policy;
use saker_policy::plan::{Attach, Choices, Kernel, PolicyPlan, Sets, WorkloadTest, lower_with};
use saker_policy::words::Mode;
use saker_policy::{Diagnostic, Severity, Span};
use saker_probes::{
    Binaries, HookCounts, HookSpec, Hooks, Keep, KeptPolicy, LoadedHook, LoadedPolicy, PinnedPolicy,
    SelectorCounts, Sensors, Spared,
};
use zerocopy::FromZeros;

use super::loader::{Loaded, Loader};
use crate::enforcement::Rails;
use crate::workloads::Workloads;

/// A tracepoint that every kernel has which runs the sensors.
const FIRST: &str = "sched_process_exec";

/// Loads beside the sensors.
pub(crate) struct KernelLoader {
    hooks: Hooks,
    /// What the kernel says of itself: asked when the first policy comes, and let go when none does.
    kernel: Option<Box<dyn Kernel + Send>>,
    /// Namespaces of its first process.
    host: NamespaceInums,
    /// The maps that all hooks share are there.
    shared: bool,
    workloads: Arc<Workloads>,
    /// Control group for programs that decide about sockets; none: the root of all.
    socket_group: Option<PathBuf>,
    keep: Option<Arc<Keep>>,
}

/// A policy in the kernel.
struct Attached {
    // Pins go first, so that nothing is found half detached.
    pinned: Option<PinnedPolicy>,
    policy: LoadedPolicy,
    keep: Option<Arc<Keep>>,
}

impl KernelLoader {
    /// # Errors
    /// The maps of the sensors cannot be shared.
    pub(crate) fn beside(
        sensors: &Sensors,
        host: NamespaceInums,
        workloads: Arc<Workloads>,
        spared: Spared,
    ) -> Result<Self> {
        let keep = sensors.keep().cloned();
        let mut hooks = Hooks::beside(sensors)?;
        hooks.spare(spared);
        Ok(Self { hooks, kernel: None, host, shared: false, workloads, socket_group: None, keep })
    }

    /// The same, where programs that decide about sockets are attached to this control group.
    pub(crate) fn with_socket_group(self, socket_group: Option<PathBuf>) -> Self {
        Self { socket_group, ..self }
    }

    /// The shared maps come with the first hook. They have to be there, and filled, before a hook that needs them is
    /// attached: so this is one that never matches, and is gone at once.
    fn share(&mut self) -> Result<()> {
        if !self.shared {
            let plan = Box::new(saker_plan::new_zeroed());
            let first = HookSpec { attach: Attach::RawTracepoint(FIRST.to_owned()), plan };
            self.hooks.load(&[first], &Sets::default()).context("the maps of hooks cannot be made")?;
            self.shared = true;
        }
        Ok(())
    }
}

impl Loader for KernelLoader {
    fn compile(&mut self, policy: &Policy, choices: &Choices) -> Result<PolicyPlan, Vec<Diagnostic>> {
        if self.kernel.is_none() {
            let group = self.socket_group.clone();
            let kernel = running(self.host, group).map_err(|error| vec![unknown(policy, &error)])?;
            self.kernel = Some(kernel);
        }
        match &self.kernel {
            Some(kernel) => lower_with(policy, kernel.as_ref(), choices),
            None => Err(Vec::new()),
        }
    }

    fn load(&mut self, hooks: &[HookSpec], sets: &Sets, mode: Mode) -> Result<Box<dyn Loaded>> {
        let policy = self.hooks.load_in(hooks, sets, mode)?;
        Ok(Box::new(Attached { pinned: None, policy, keep: self.keep.clone() }))
    }

    fn set_binaries(&mut self, binaries: &Binaries) -> Result<()> {
        self.share()?;
        Ok(self.hooks.set_binaries(binaries)?)
    }

    fn set_workloads(&mut self, filters: Vec<(u8, WorkloadTest)>) -> Result<()> {
        if filters.is_empty() {
            self.workloads.rest();
            return Ok(());
        }
        self.workloads.set_filters(filters)?;
        Ok(self.hooks.ask_groups(&*self.workloads.groups()?)?)
    }

    fn rails(&self) -> Arc<dyn Rails> {
        Arc::clone(self.hooks.enforcement()) as _
    }

    fn rest(&mut self) {
        self.kernel = None;
    }

    fn generation(&self) -> u32 {
        self.keep.as_ref().map_or(0, |keep| keep.generation())
    }

    fn kept(&self) -> Vec<KeptPolicy> {
        self.keep.as_ref().map_or_else(Vec::new, |keep| keep.policies())
    }

    fn set_told(&self) {
        if let Some(keep) = &self.keep {
            keep.set_told();
        }
    }

    fn take_turn(&mut self) -> Result<()> {
        Ok(self.keep.as_ref().map_or(Ok(()), |keep| keep.take_turn())?)
    }

    fn has_turn(&self) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.has_turn())
    }

    fn release(&mut self, policy: &KeptPolicy) -> Result<()> {
        Ok(self.keep.as_ref().map_or(Ok(()), |keep| keep.release(policy))?)
    }

    fn clear(&mut self) -> Option<String> {
        self.keep.as_ref()?.clear()
    }

    fn release_bases(&mut self) -> Result<()> {
        Ok(self.keep.as_ref().map_or(Ok(()), |keep| keep.release_bases())?)
    }

    fn is_leaving(&self) -> bool {
        self.keep.as_ref().is_some_and(|keep| keep.is_leaving())
    }
}

impl Loaded for Attached {
    fn counts(&self) -> Result<Vec<HookCounts>> {
        self.policy.hooks.iter().map(|hook| Ok(hook.counts()?)).collect()
    }

    fn selector_counts(&self, all: &[HookCounts]) -> Result<Vec<Vec<SelectorCounts>>> {
        self.policy.hooks.iter().zip(all).map(|(hook, all)| Ok(hook.selector_counts(*all)?)).collect()
    }

    fn memory(&self) -> (Vec<u64>, u64) {
        (self.policy.hooks.iter().map(LoadedHook::memory).collect(), self.policy.set_memory())
    }

    fn set_mode(&self, mode: Mode) -> Result<()> {
        Ok(self.policy.set_mode(mode)?)
    }

    fn keep(&mut self, number: u32, text: &[u8]) -> Result<bool> {
        let Some(keep) = self.keep.as_ref().filter(|keep| keep.pins()) else { return Ok(false) };
        self.pinned = Some(self.policy.pin(keep, number, text)?);
        Ok(true)
    }

    fn can_go(&self) -> Result<()> {
        Ok(self.pinned.as_ref().map_or(Ok(()), PinnedPolicy::can_go)?)
    }

    fn file_problems(&self) -> Vec<(usize, String)> {
        self.policy.file_problems()
    }

    fn deviations(&self) -> Vec<(usize, &'static str, String)> {
        let noted = self.policy.hooks.iter().enumerate().filter(|(_, hook)| !hook.note.is_empty());
        noted.map(|(index, hook)| (index, hook.attach.mechanism(), hook.note.clone())).collect()
    }
}

fn unknown(policy: &Policy, error: &anyhow::Error) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        span: Span { ..policy.span },
        path: String::new(),
        message: format!("what this kernel offers to policies is not known: {error:#}"),
        hint: None,
    }
}

/// What the running kernel says of itself.
fn running(host: NamespaceInums, socket_group: Option<PathBuf>) -> Result<Box<dyn Kernel + Send>> {
    let kernel = saker_probes::RunningKernel::load()?;
    Ok(Box::new(kernel.with_host_namespaces(host).with_socket_group(socket_group)))
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
