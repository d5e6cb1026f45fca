//! What policies need of the kernel, and of the engine.

use std::sync::{Arc, Weak};

use saker_engine::hook::PolicyText;
use saker_policy::Diagnostic;
use saker_policy::model::Policy;
use saker_policy::plan::{Choices, PolicyPlan, Sets, WorkloadTest};
use saker_policy::words::Mode;
use saker_probes::{Binaries, HookCounts, HookSpec, KeptPolicy, SelectorCounts};

use crate::enforcement::Rails;
use crate::pipeline::PolicyInput;

/// Makes plans for a kernel and loads them. Used by one thread.
pub trait Loader: Send {
    /// Makes the plan of a checked policy, as far as the choices leave it free.
    ///
    /// # Errors
    /// Everything that this kernel cannot honour.
    fn compile(&mut self, policy: &Policy, choices: &Choices) -> Result<PolicyPlan, Vec<Diagnostic>>;

    /// Loads all hooks of a policy in this mode, and attaches them when all are loaded: all, or none and an error.
    ///
    /// # Errors
    /// What the kernel refused; [`saker_probes::Error::Trampoline`] where another choice may do.
    fn load(&mut self, hooks: &[HookSpec], sets: &Sets, mode: Mode) -> anyhow::Result<Box<dyn Loaded>>;

    /// Says which binaries have which bits, for all policies together, from now on.
    ///
    /// # Errors
    /// The kernel's maps cannot be written.
    fn set_binaries(&mut self, binaries: &Binaries) -> anyhow::Result<()>;

    /// Says which filters on workloads there are, each with its bit, for all policies together, from now on.
    ///
    /// # Errors
    /// Control groups cannot be followed, or the kernel's maps cannot be written.
    fn set_workloads(&mut self, filters: Vec<(u8, WorkloadTest)>) -> anyhow::Result<()>;

    /// Number of this agent among those that keep their policies or find some; 0: neither.
    fn generation(&self) -> u32 {
        0
    }

    /// Policies that earlier agents left in force.
    fn kept(&self) -> Vec<KeptPolicy> {
        Vec::new()
    }

    /// The texts of those are known: what their hooks told may be read.
    fn set_told(&self) {}

    /// What was loaded acts from now on, in the place of what is in force until then.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    fn take_turn(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether what is loaded acts.
    fn has_turn(&self) -> bool {
        true
    }

    /// Detaches a policy of an earlier agent.
    ///
    /// # Errors
    /// It cannot be detached.
    fn release(&mut self, _policy: &KeptPolicy) -> anyhow::Result<()> {
        Ok(())
    }

    /// Tries again to take out of force what could not be; says what is in force because of that.
    fn clear(&mut self) -> Option<String> {
        None
    }

    /// Detaches what earlier agents left beside their policies, as far as those do not need it.
    ///
    /// # Errors
    /// It cannot be detached.
    fn release_bases(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The agent ends, and what is loaded is to stay.
    fn is_leaving(&self) -> bool {
        false
    }
    /// What holds for the actions of all policies.
    fn rails(&self) -> Arc<dyn Rails>;

    /// Nothing is to be loaded for a while: what can be made again may be let go.
    fn rest(&mut self);
}

/// A policy in the kernel. Dropping it detaches its hooks.
pub trait Loaded {
    /// What its hooks counted, in the order of the plan.
    ///
    /// # Errors
    /// The counters cannot be read.
    fn counts(&self) -> anyhow::Result<Vec<HookCounts>>;

    /// What the selectors of each hook counted, in their order. `all`: what the hooks counted.
    ///
    /// # Errors
    /// The counters cannot be read.
    fn selector_counts(&self, all: &[HookCounts]) -> anyhow::Result<Vec<Vec<SelectorCounts>>>;

    /// Kernel memory of each hook, and of what they share, in bytes.
    fn memory(&self) -> (Vec<u64>, u64);

    /// Has its actions carried out or only told, from now on.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    fn set_mode(&self, mode: Mode) -> anyhow::Result<()>;

    /// Has it stay in force when the agent is gone, if that is wanted, with a text for the agent that finds it. False: it
    /// is not wanted.
    ///
    /// # Errors
    /// The kernel cannot keep one of its hooks.
    fn keep(&mut self, _number: u32, _text: &[u8]) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Whether it could be taken out of force now.
    ///
    /// # Errors
    /// It could not: it would go on acting after it was detached.
    fn can_go(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// What is wrong with files that policies name (`SameFile`) now, each with the hook's place.
    fn file_problems(&self) -> Vec<(usize, String)> {
        Vec::new()
    }

    /// Why hooks are attached in another way than planned, each with its place among them and the name of that way.
    fn deviations(&self) -> Vec<(usize, &'static str, String)> {
        Vec::new()
    }
}

/// The engine, which has to know the texts of a policy before the first record of its hooks.
pub trait Texts: Send {
    /// A policy is about to be attached. False: the engine has ended.
    fn loaded(&self, policy: PolicyText) -> bool;

    /// No record of this policy comes any more.
    fn removed(&self, id: u32);
}

impl Texts for Weak<PolicyInput> {
    fn loaded(&self, policy: PolicyText) -> bool {
        self.upgrade().is_some_and(|input| input.policy_loaded(policy))
    }

    fn removed(&self, id: u32) {
        if let Some(input) = self.upgrade() {
            input.policy_removed(id);
        }
    }
}
