//! A kernel that only remembers, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saker_abi::generated::{SAKER_OP_BINARY, saker_clause, saker_plan};
use saker_engine::hook::PolicyText;
use saker_policy::model::{PathTest, Policy};
use saker_policy::plan::{Attach, BinaryTest, Choices, HookPlan, HookText, PolicyPlan, Sets, WorkloadTest};
use saker_policy::words::Mode;
use saker_policy::{Diagnostic, Severity};
use saker_probes::{Binaries, Enforced, HookCounts, HookSpec, KeptPolicy, SelectorCounts};
use zerocopy::FromZeros;

use super::{Key, Loaded, Loader, Policies, PolicyError, Sources, Texts};
use crate::enforcement::Rails;

/// What happened to it, and what it is to refuse.
#[derive(Default)]
pub(crate) struct Memory {
    /// Orders in their order: `text N`, `attach N`, `detach N`, `binaries N`, `end N`.
    pub(crate) log: Vec<String>,
    /// Numbers of attached policies, each with the bits its hooks ask for.
    pub(crate) attached: BTreeMap<u32, Vec<u8>>,
    /// Hooked functions that no plan can be made for.
    pub(crate) unknown: BTreeSet<String>,
    /// Hooked functions at which loading fails.
    pub(crate) broken: BTreeSet<String>,
    /// Hooked functions whose trampolines take no more programs.
    pub(crate) full: BTreeSet<String>,
    /// Functions that a list names and this kernel does not have.
    pub(crate) missing: Vec<String>,
    /// What each hook counted.
    pub(crate) counts: HookCounts,
    /// Number of this agent among those that keep their policies.
    pub(crate) generation: u32,
    /// What earlier agents left.
    pub(crate) kept: Vec<KeptPolicy>,
    /// This agent has its turn.
    pub(crate) turn: bool,
    /// What each selector counted.
    pub(crate) selectors: Vec<SelectorCounts>,
    /// Until when no policy acts.
    pub(crate) off_until: u64,
    /// What was done by control group.
    pub(crate) groups: BTreeMap<u64, Enforced>,
    /// Time that loading takes.
    pub(crate) patience: Duration,
}

/// A kernel that only remembers.
#[derive(Clone, Default)]
pub(crate) struct FakeKernel(pub(crate) Arc<Mutex<Memory>>);

impl FakeKernel {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.with(|memory| memory.log.push(what));
    }

    /// What happened since the last look.
    pub(crate) fn log(&self) -> Vec<String> {
        self.with(|memory| std::mem::take(&mut memory.log))
    }

    pub(crate) fn policies(&self, sources: Sources) -> Policies {
        Policies::start(Ok(Box::new(self.clone())), Box::new(self.clone()), sources, Choices::default())
            .unwrap()
    }
}

impl Texts for FakeKernel {
    fn loaded(&self, policy: PolicyText) -> bool {
        self.note(format!("text {}", policy.id));
        true
    }

    fn removed(&self, id: u32) {
        self.note(format!("end {id}"));
    }
}

fn binaries(policy: &Policy) -> Vec<BinaryTest> {
    let filters = policy.hooks.iter().flat_map(|hook| &hook.selectors).flat_map(|found| &found.binaries);
    let test = |test: &PathTest| match test {
        PathTest::Equal(paths) => {
            Some(BinaryTest::Equal(paths.iter().map(|path| path.value.clone().into_bytes()).collect()))
        }
        _ => None,
    };
    filters.filter_map(|filter| test(&filter.test)).collect()
}

/// Functions by their hooks: the tests write them as the message.
fn function(hook: &saker_policy::model::Hook) -> String {
    hook.message.clone()
}

impl Loader for FakeKernel {
    fn compile(&mut self, policy: &Policy, choices: &Choices) -> Result<PolicyPlan, Vec<Diagnostic>> {
        let memory = self.0.lock().unwrap();
        let binaries = binaries(policy);
        let full = |function: &str| choices.no_trampoline.get(function).cloned();
        let mut plan = PolicyPlan { binaries, ..PolicyPlan::default() };
        let mut refused = Vec::new();
        for hook in &policy.hooks {
            let function = function(hook);
            if memory.unknown.contains(&function) {
                refused.push(Diagnostic {
                    severity: Severity::Error,
                    span: hook.span,
                    path: format!("{}.call", hook.path),
                    message: format!("this kernel has no {function}"),
                    hint: None,
                });
            }
            let mut words = Box::new(saker_plan::new_zeroed());
            for (index, clause) in words.clause.iter_mut().enumerate().take(plan.binaries.len()) {
                *clause =
                    saker_clause { op: SAKER_OP_BINARY as u8, first: index as u8, ..Default::default() };
            }
            plan.hooks.push(HookPlan {
                span: hook.span,
                path: hook.path.clone(),
                attach: if full(&function).is_some() {
                    Attach::Kprobe { function: function.clone(), on_return: false }
                } else {
                    Attach::Trampoline { function: function.clone(), on_return: false }
                },
                plan: words,
                note: full(&function).unwrap_or_default(),
                text: HookText { function, ..HookText::default() },
                missing: memory.missing.clone(),
            });
        }
        if refused.is_empty() { Ok(plan) } else { Err(refused) }
    }

    fn load(&mut self, hooks: &[HookSpec], _: &Sets, mode: Mode) -> anyhow::Result<Box<dyn Loaded>> {
        let patience = self.with(|memory| memory.patience);
        std::thread::sleep(patience);
        let number = hooks.first().map_or(0, |hook| hook.plan.policy);
        for (index, hook) in hooks.iter().enumerate() {
            assert_eq!((hook.plan.policy, hook.plan.hook as usize), (number, index));
            let (Attach::Trampoline { function, .. } | Attach::Kprobe { function, .. }) = &hook.attach else {
                panic!("{:?}", hook.attach)
            };
            let by_trampoline = matches!(hook.attach, Attach::Trampoline { .. });
            if by_trampoline && self.with(|memory| memory.full.contains(function)) {
                let refused = vec![(function.clone(), Choices::full_trampoline(function))];
                return Err(saker_probes::Error::Trampoline { refused }.into());
            }
            if self.with(|memory| memory.broken.contains(function)) {
                anyhow::bail!("cannot attach {function}");
            }
        }
        let asked = |hook: &HookSpec| {
            let clauses = hook.plan.clause.iter().filter(|clause| u32::from(clause.op) == SAKER_OP_BINARY);
            clauses.map(|clause| clause.first).collect::<Vec<_>>()
        };
        let bits = hooks.first().map(asked).unwrap_or_default();
        self.with(|memory| {
            let acts = if mode == Mode::Monitor { ", which only tells" } else { "" };
            memory.log.push(format!("attach {number}{acts}"));
            memory.attached.insert(number, bits);
        });
        Ok(Box::new(FakeLoaded { kernel: self.clone(), number, hooks: hooks.len() }))
    }

    fn set_binaries(&mut self, binaries: &Binaries) -> anyhow::Result<()> {
        self.note(format!("binaries {}", binaries.texts.len()));
        Ok(())
    }

    fn set_workloads(&mut self, filters: Vec<(u8, WorkloadTest)>) -> anyhow::Result<()> {
        self.note(format!("workloads {}", filters.len()));
        Ok(())
    }

    fn generation(&self) -> u32 {
        self.with(|memory| memory.generation)
    }

    fn kept(&self) -> Vec<KeptPolicy> {
        self.with(|memory| memory.kept.clone())
    }

    fn take_turn(&mut self) -> anyhow::Result<()> {
        self.note("turn".to_owned());
        self.with(|memory| memory.turn = true);
        Ok(())
    }

    fn has_turn(&self) -> bool {
        self.with(|memory| memory.turn || memory.generation == 0)
    }

    fn release(&mut self, policy: &KeptPolicy) -> anyhow::Result<()> {
        self.note(format!("release {}", policy.number));
        Ok(())
    }

    fn release_bases(&mut self) -> anyhow::Result<()> {
        self.note("release bases".to_owned());
        Ok(())
    }

    fn rails(&self) -> Arc<dyn Rails> {
        Arc::new(self.clone())
    }

    fn rest(&mut self) {}
}

impl Rails for FakeKernel {
    fn set_off_until(&self, until: u64) -> anyhow::Result<()> {
        self.with(|memory| memory.off_until = until);
        Ok(())
    }

    fn groups(&self) -> anyhow::Result<Vec<(u64, Enforced)>> {
        Ok(self.with(|memory| memory.groups.iter().map(|(id, counts)| (*id, *counts)).collect()))
    }

    fn forget(&self, group: u64) -> anyhow::Result<()> {
        self.with(|memory| memory.groups.remove(&group));
        Ok(())
    }
}

struct FakeLoaded {
    kernel: FakeKernel,
    number: u32,
    hooks: usize,
}

impl Loaded for FakeLoaded {
    fn counts(&self) -> anyhow::Result<Vec<HookCounts>> {
        Ok(vec![self.kernel.with(|memory| memory.counts); self.hooks])
    }

    fn selector_counts(&self, all: &[HookCounts]) -> anyhow::Result<Vec<Vec<SelectorCounts>>> {
        Ok(vec![self.kernel.with(|memory| memory.selectors.clone()); all.len()])
    }

    fn set_mode(&self, mode: Mode) -> anyhow::Result<()> {
        self.kernel.note(format!("mode {} {}", self.number, mode.name()));
        Ok(())
    }

    fn memory(&self) -> (Vec<u64>, u64) {
        (vec![1000; self.hooks], 500)
    }
}

impl Drop for FakeLoaded {
    fn drop(&mut self) {
        self.kernel.with(|memory| {
            memory.log.push(format!("detach {}", self.number));
            memory.attached.remove(&self.number);
        });
    }
}

/// A policy with a hook for each of these functions, which it has as messages too.
pub(crate) fn policy(name: &str, functions: &[&str]) -> String {
    with_binaries(name, functions, &[])
}

/// The same, for these programs only.
pub(crate) fn with_binaries(name: &str, functions: &[&str], binaries: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  kprobes:\n"
    );
    for function in functions {
        text.push_str(&format!("  - call: {function}\n    syscall: false\n    message: {function}\n"));
        if !binaries.is_empty() {
            text.push_str("    selectors:\n    - matchBinaries:\n");
        }
        for binary in binaries {
            text.push_str(&format!("      - {{operator: In, values: [{binary}]}}\n"));
        }
    }
    text
}

/// Key of a policy from a call.
pub(crate) fn called(name: &str) -> Key {
    Key { domain: super::GRPC.into(), namespace: String::new(), name: name.into() }
}

/// Waits for what an order brings.
pub(crate) fn done<T>(order: impl Future<Output = Result<T, PolicyError>>) -> Result<T, PolicyError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(order)
}
