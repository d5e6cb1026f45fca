//! The running kernel as what policies are loaded into.

use std::sync::Arc;

use anyhow::{Context, Result};
use saker_abi::NamespaceInums;
use saker_abi::generated::saker_plan;
use saker_policy::model::Policy;
use saker_policy::plan::{Attach, Choices, Kernel, PolicyPlan, Sets, WorkloadTest, lower_with};
use saker_policy::words::Mode;
use saker_policy::{Diagnostic, Severity, Span};
use saker_probes::{
    Binaries, HookCounts, HookSpec, Hooks, LoadedHook, LoadedPolicy, SelectorCounts, Sensors, Spared,
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
        let mut hooks = Hooks::beside(sensors)?;
        hooks.spare(spared);
        Ok(Self { hooks, kernel: None, host, shared: false, workloads })
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
            let kernel = running(self.host).map_err(|error| vec![unknown(policy, &error)])?;
            self.kernel = Some(kernel);
        }
        match &self.kernel {
            Some(kernel) => lower_with(policy, kernel.as_ref(), choices),
            None => Err(Vec::new()),
        }
    }

    fn load(&mut self, hooks: &[HookSpec], sets: &Sets, mode: Mode) -> Result<Box<dyn Loaded>> {
        Ok(Box::new(self.hooks.load_in(hooks, sets, mode)?))
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
}

impl Loaded for LoadedPolicy {
    fn counts(&self) -> Result<Vec<HookCounts>> {
        self.hooks.iter().map(|hook| Ok(hook.counts()?)).collect()
    }

    fn selector_counts(&self, all: &[HookCounts]) -> Result<Vec<Vec<SelectorCounts>>> {
        self.hooks.iter().zip(all).map(|(hook, all)| Ok(hook.selector_counts(*all)?)).collect()
    }

    fn memory(&self) -> (Vec<u64>, u64) {
        (self.hooks.iter().map(LoadedHook::memory).collect(), self.set_memory())
    }

    fn set_mode(&self, mode: Mode) -> Result<()> {
        Ok(LoadedPolicy::set_mode(self, mode)?)
    }

    fn deviations(&self) -> Vec<(usize, &'static str, String)> {
        let noted = self.hooks.iter().enumerate().filter(|(_, hook)| !hook.note.is_empty());
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
fn running(host: NamespaceInums) -> Result<Box<dyn Kernel + Send>> {
    Ok(Box::new(saker_probes::RunningKernel::load()?.with_host_namespaces(host)))
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
