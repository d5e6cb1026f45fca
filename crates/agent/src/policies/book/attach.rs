//! One policy into the kernel and out of it.

use std::time::Instant;

use saker_abi::generated::SAKER_OP_WORKLOAD;
use saker_engine::hook::{HookText, PolicyText};
use saker_policy::model::Policy;
use saker_policy::plan::{Choices, HookPlan, PolicyPlan, WorkloadTest, asks_for_bit};
use saker_policy::words::Mode as Asked;
use saker_policy::{Diagnostic, Severity};
use saker_probes::{HookCounts, HookSpec};

use super::super::loader::Loaded;
use super::super::view::{HookState, HookView, Mode, SelectorView};
use super::super::{Key, TRIAL};
use super::kept;
use super::{Book, bounded, reasons};

/// A policy whose hooks are attached.
pub(super) struct Active {
    /// Number in its records.
    number: u32,
    loaded: Box<dyn Loaded>,
    bits: Taken,
    pub(super) hooks: Vec<HookView>,
    /// The notes of its hooks, without those about files that it names, which come and go.
    notes: Vec<String>,
    /// Bytes of all hooks and of what they share.
    pub(super) memory: u64,
}

/// The bits of a policy's filters, in the order of its plan.
#[derive(Clone, Default)]
struct Taken {
    binaries: Vec<u8>,
    workloads: Vec<u8>,
}

impl Active {
    /// Has its actions carried out or only told.
    pub(super) fn set_mode(&self, mode: Asked) -> anyhow::Result<()> {
        self.loaded.set_mode(mode)
    }

    /// Notes what is wrong with the files that it names, if that has changed. Returns what is new.
    pub(super) fn note_files(&mut self) -> Vec<String> {
        let mut notes = self.notes.clone();
        for (index, problem) in self.loaded.file_problems() {
            let Some(note) = notes.get_mut(index) else { continue };
            *note = if note.is_empty() { problem } else { format!("{note}; {problem}") };
        }
        let mut new = Vec::new();
        for ((hook, note), plain) in self.hooks.iter_mut().zip(notes).zip(&self.notes) {
            if hook.note != note {
                if note != *plain {
                    new.push(format!("{}: {note}", hook.path));
                }
                hook.note = note;
            }
        }
        new
    }

    /// Whether it could be detached now.
    pub(super) fn can_go(&self) -> anyhow::Result<()> {
        self.loaded.can_go()
    }

    /// Reads the counters.
    pub(super) fn measure(&mut self) -> anyhow::Result<()> {
        let counts = self.loaded.counts()?;
        let selectors = self.loaded.selector_counts(&counts)?;
        for ((hook, counts), selectors) in self.hooks.iter_mut().zip(counts).zip(selectors) {
            hook.counts = counts;
            for (selector, counts) in hook.selectors.iter_mut().zip(selectors) {
                selector.counts = counts;
            }
        }
        Ok(())
    }
}

/// Why a policy is not attached.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    pub(super) reason: String,
    diagnostics: Vec<Diagnostic>,
    /// Functions that take no program by a trampoline, each with the reason: another way may do.
    no_trampoline: Vec<(String, String)>,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: bounded(reason.into()), ..Self::default() }
    }

    /// The kernel took a policy that was planned for it not.
    fn of_load(error: &anyhow::Error) -> Self {
        let no_trampoline = match error.downcast_ref() {
            Some(saker_probes::Error::Trampoline { refused }) => refused.clone(),
            _ => Vec::new(),
        };
        Self { no_trampoline, ..Self::new(format!("{error:#}")) }
    }

    /// The same, of an attempt to do without trampolines that were refused.
    fn without(self, choices: &Choices) -> Self {
        if choices.no_trampoline.is_empty() {
            return self;
        }
        let reason = bounded(format!("{}. In place of a trampoline: {}", choices.reasons(), self.reason));
        Self { reason, ..self }
    }

    fn of(diagnostics: Vec<Diagnostic>) -> Self {
        let reason = if diagnostics.is_empty() {
            "this version cannot load it, and cannot say why".to_owned()
        } else {
            reasons(&diagnostics)
        };
        Self { reason, diagnostics, no_trampoline: Vec::new() }
    }

    /// What stands against one hook; empty: nothing.
    pub(super) fn of_hook(&self, path: &str) -> String {
        let inside = |found: &&Diagnostic| {
            found.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.diagnostics.iter().find(inside).map(|found| found.message.clone()).unwrap_or_default()
    }
}

impl Book {
    /// Makes the plan of a policy.
    pub(super) fn compile(&mut self, policy: &Policy, choices: &Choices) -> Result<PolicyPlan, Failure> {
        let loader = match &mut self.loader {
            Ok(loader) => loader,
            Err(reason) => return Err(Failure::new(reason.clone())),
        };
        let plan = loader.compile(policy, choices).map_err(Failure::of)?;
        // A plan comes with warnings only; an error among them would make the policy weaker than it was written.
        if plan.warnings.iter().any(|warning| warning.severity == Severity::Error) {
            return Err(Failure::of(plan.warnings));
        }
        Ok(plan)
    }

    /// Attaches all hooks of a policy, or none.
    pub(super) fn attach(&mut self, key: &Key, policy: &Policy, mode: Mode) -> Result<Active, Failure> {
        let began = Instant::now();
        let outcome = self.compile_and_load(key, policy, mode);
        match &outcome {
            Ok(active) => tracing::info!(
                policy = %key, hooks = active.hooks.len(), memory = active.memory, bits = self.bits.len(),
                took = ?began.elapsed(), "loaded"
            ),
            Err(failure) => tracing::error!(policy = %key, "cannot be loaded: {}", failure.reason),
        }
        outcome
    }

    /// Functions that turn out to have no trampoline left are planned for once more, each in the next way there is.
    fn compile_and_load(&mut self, key: &Key, policy: &Policy, mode: Mode) -> Result<Active, Failure> {
        let mut choices = self.choices.clone();
        loop {
            let failure = match self.attempt(key, policy, mode, &choices) {
                Ok(active) => return Ok(active),
                Err(failure) => failure,
            };
            let before = choices.no_trampoline.len();
            choices.no_trampoline.extend(failure.no_trampoline.iter().cloned());
            if choices.no_trampoline.len() == before {
                return Err(failure.without(&choices));
            }
            tracing::warn!(policy = %key, "hooked in another way: {}", choices.reasons());
        }
    }

    fn attempt(
        &mut self,
        key: &Key,
        policy: &Policy,
        mode: Mode,
        choices: &Choices,
    ) -> Result<Active, Failure> {
        let plan = self.compile(policy, choices)?;
        for warning in &plan.warnings {
            tracing::warn!(policy = %key, "{}: {}", warning.path, warning.message);
        }
        self.tell_filters()?;
        let binaries = self.bits.take(&plan.binaries).map_err(|error| Failure::new(error.to_string()))?;
        let workloads = self.workloads.take(&plan.workloads).map_err(|error| Failure::new(error.to_string()));
        let workloads = match workloads {
            Ok(workloads) => workloads,
            Err(failure) => {
                self.release(&Taken { binaries, workloads: Vec::new() });
                return Err(failure);
            }
        };
        let bits = Taken { binaries, workloads };
        let mut outcome = self.load(key, plan, mode, &bits);
        match &mut outcome {
            Ok(active) => {
                for hook in &mut active.hooks {
                    hook.selectors = SelectorView::of(policy, &hook.path);
                }
            }
            Err(_) => self.release(&bits),
        }
        outcome
    }

    fn load(&mut self, key: &Key, plan: PolicyPlan, mode: Mode, bits: &Taken) -> Result<Active, Failure> {
        // Before any hook that asks for them can run.
        self.tell_filters()?;
        let number = self.next_id().ok_or_else(|| Failure::new("all numbers of policies are used up"))?;
        let workload = of_whole_policy(&plan);
        let PolicyPlan { hooks, sets, .. } = plan;
        let mut specs = Vec::with_capacity(hooks.len());
        let mut texts = Vec::with_capacity(hooks.len());
        let mut views = Vec::with_capacity(hooks.len());
        for (index, hook) in hooks.into_iter().enumerate() {
            views.push(view(&hook));
            let (spec, text) = numbered(hook, number, index, bits)?;
            specs.push(spec);
            texts.push(if key.domain == TRIAL { HookText { requests: Vec::new(), ..text } } else { text });
        }
        let (name, namespace) = (key.name.clone(), key.namespace.clone());
        let text = PolicyText { id: number, name, namespace, hooks: texts, workload };
        let Ok(loader) = &mut self.loader else { return Err(Failure::default()) };
        let kept = if loader.generation() > 0 { kept::to_bytes(key, &text) } else { Vec::new() };
        if !self.texts.loaded(text) {
            return Err(Failure::new("the agent is stopping"));
        }
        let mut loaded = loader.load(&specs, &sets, mode.asked()).map_err(|error| {
            // Some of its hooks may have been attached for a moment.
            self.detached.push_back((Instant::now(), number));
            Failure::of_load(&error)
        })?;
        for (index, mechanism, note) in loaded.deviations() {
            let Some(view) = views.get_mut(index) else { continue };
            tracing::warn!(policy = %key, hook = view.path, "{note}");
            mechanism.clone_into(&mut view.mechanism);
            view.note = if view.note.is_empty() { note } else { format!("{}; {note}", view.note) };
        }
        // A trial ends with whoever asked for it.
        let outcome = if key.domain == TRIAL { Ok(false) } else { loaded.keep(number, &kept) };
        if let Err(error) = outcome {
            let note = format!("it ends with the agent, for the kernel cannot keep it: {error}");
            if mode == Mode::Enforce {
                tracing::warn!(policy = %key, "{note}");
            } else {
                tracing::info!(policy = %key, "{note}");
            }
            for view in &mut views {
                view.note =
                    if view.note.is_empty() { note.clone() } else { format!("{}; {note}", view.note) };
            }
        }
        let (each, shared) = loaded.memory();
        for (view, memory) in views.iter_mut().zip(&each) {
            view.memory = *memory;
        }
        let memory = each.iter().sum::<u64>() + shared;
        let notes = views.iter().map(|view| view.note.clone()).collect();
        let mut active = Active { number, loaded, bits: bits.clone(), hooks: views, notes, memory };
        for note in active.note_files() {
            tracing::warn!(policy = %key, "{note}");
        }
        Ok(active)
    }

    /// Detaches a policy.
    pub(super) fn retire(&mut self, active: Active) {
        let Active { number, loaded, bits, .. } = active;
        drop(loaded);
        self.detached.push_back((Instant::now(), number));
        self.release(&bits);
    }

    /// Gives bits back. The kernel has to forget what they stood for before they stand for something else: else a
    /// process could be judged by the old paths and the new bit.
    fn release(&mut self, bits: &Taken) {
        self.bits.release(&bits.binaries);
        self.workloads.release(&bits.workloads);
        if let Err(failure) = self.tell_filters() {
            // Told again before anything else is loaded.
            tracing::warn!("{}", failure.reason);
        }
    }

    fn tell_filters(&mut self) -> Result<(), Failure> {
        self.tell_binaries()?;
        self.tell_workloads()
    }

    fn tell_workloads(&mut self) -> Result<(), Failure> {
        if !self.workloads.is_stale() {
            return Ok(());
        }
        let Ok(loader) = &mut self.loader else { return Ok(()) };
        loader.set_workloads(self.workloads.filters()).map_err(|error| {
            Failure::new(format!("the kernel cannot be told which workloads policies ask for: {error:#}"))
        })?;
        self.workloads.told();
        Ok(())
    }

    fn tell_binaries(&mut self) -> Result<(), Failure> {
        if !self.bits.is_stale() {
            return Ok(());
        }
        let Ok(loader) = &mut self.loader else { return Ok(()) };
        loader.set_binaries(&self.bits.table()).map_err(|error| {
            Failure::new(format!("the kernel cannot be told which binaries policies ask for: {error:#}"))
        })?;
        self.bits.told();
        Ok(())
    }
}

/// The filter on workloads that alone decides whether calls are told; none: there is none, or selectors have some, so
/// that with another workload another selector could match.
fn of_whole_policy(plan: &PolicyPlan) -> Option<WorkloadTest> {
    let of_selector = |hook: &HookPlan| {
        hook.plan.workload == 0
            || hook.plan.clause.iter().any(|clause| u32::from(clause.op) == SAKER_OP_WORKLOAD)
    };
    if plan.hooks.iter().any(of_selector) {
        return None;
    }
    let position = plan.hooks.first()?.plan.workload.trailing_zeros() as usize;
    plan.workloads.get(position).cloned()
}

/// A hook with the numbers and bits of this load.
fn numbered(
    hook: HookPlan,
    policy: u32,
    index: usize,
    bits: &Taken,
) -> Result<(HookSpec, HookText), Failure> {
    let HookPlan { attach, mut plan, text, path, .. } = hook;
    plan.policy = policy;
    plan.hook = u32::try_from(index).map_err(|_| Failure::new("it has too many hooks"))?;
    for clause in plan.clause.iter_mut().filter(|clause| asks_for_bit(clause)) {
        clause.first = *bits.binaries.get(usize::from(clause.first)).ok_or_else(|| {
            Failure::new(format!("{path}: its plan asks for a filter on binaries that is not in the plan"))
        })?;
    }
    let no_workload =
        || Failure::new(format!("{path}: its plan asks for a filter on workloads that is not in the plan"));
    for clause in plan.clause.iter_mut().filter(|clause| u32::from(clause.op) == SAKER_OP_WORKLOAD) {
        clause.first = *bits.workloads.get(usize::from(clause.first)).ok_or_else(no_workload)?;
    }
    if plan.workload != 0 {
        let position = plan.workload.trailing_zeros() as usize;
        let bit = *bits.workloads.get(position).ok_or_else(no_workload)?;
        plan.workload = 1_u64.checked_shl(bit.into()).ok_or_else(no_workload)?;
    }
    Ok((HookSpec { attach, plan }, text))
}

fn view(hook: &HookPlan) -> HookView {
    HookView {
        path: hook.path.clone(),
        function: hook.target(),
        mechanism: hook.attach.mechanism().to_owned(),
        state: if hook.missing.is_empty() { HookState::Loaded } else { HookState::Partial },
        error: String::new(),
        missing: hook.missing.clone(),
        note: hook.note.clone(),
        counts: HookCounts::default(),
        selectors: Vec::new(),
        memory: 0,
    }
}
