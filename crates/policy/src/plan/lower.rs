//! From a checked policy to plans, for one kernel.
//!
//! What a selector asks for becomes clauses (`process`, `clauses`), what is captured becomes value plans (`values`),
//! what is hooked becomes sites (`targets`). A policy that cannot be honoured in full is refused, with everything that
//! stands against it.

mod beginnings;
mod builder;
mod calls;
mod clauses;
mod enforce;
mod enforcers;
mod expression;
mod fields;
mod group;
mod hashes;
mod join;
mod judges;
mod loader;
mod numbers;
mod process;
mod programs;
mod renames;
mod selectors;
mod sockets;
mod structures;
mod targets;
mod texts;
mod types;
mod values;
mod workloads;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use saker_abi::generated::{
    SAKER_FAMILY_KPROBE, SAKER_FAMILY_LSM, SAKER_FAMILY_TRACEPOINT, SAKER_FAMILY_UPROBE, SAKER_FAMILY_USDT,
    SAKER_PLAN_ALL_CALLS, SAKER_PLAN_HASH, SAKER_PLAN_NARROW, SAKER_PLAN_RETURN, SAKER_PLAN_SYSCALL,
    SAKER_SELECT_HASH, SAKER_SELECT_KERNEL_STACK, SAKER_SELECT_NO_POST, SAKER_SELECT_USER_STACK,
    SAKER_SYSCALLS_MAX, saker_plan,
};

use super::{Attach, BinaryTest, Choices, HookPlan, HookText, Kernel, PolicyPlan, Sets, WorkloadTest};
use crate::diagnostic::{At, Diagnostic, Path, Problem, Report};
use crate::model::{Hook, Policy, Target};
use builder::Builder;
use targets::Site;
use values::Slots;

/// Programs of one policy; a list of functions has one for each.
const PROGRAMS_MAX: usize = 512;

/// Makes the plan of a checked policy for a kernel.
///
/// # Errors
/// Everything that this kernel, or this program, cannot honour, each with its place and reason; a policy is never made
/// weaker than it was written.
pub fn lower(policy: &Policy, kernel: &dyn Kernel) -> Result<PolicyPlan, Vec<Diagnostic>> {
    lower_with(policy, kernel, &Choices::default())
}

/// The same, where more is known than what the kernel says of itself.
///
/// # Errors
/// As of [`lower`].
pub fn lower_with(
    policy: &Policy,
    kernel: &dyn Kernel,
    choices: &Choices,
) -> Result<PolicyPlan, Vec<Diagnostic>> {
    let mut cx = Lowering {
        policy,
        kernel,
        choices,
        report: Report::default(),
        sets: Sets::default(),
        last_set: 0,
        binaries: Vec::new(),
        workloads: Vec::new(),
    };
    let workload = workloads::of_policy(&mut cx);
    let mut hooks = Vec::new();
    for hook in &policy.hooks {
        cx.hook(hook, &mut hooks);
    }
    if let Some(span) = policy.loader {
        loader::lower(&mut cx, span, &mut hooks);
    }
    let errors = cx.report.errors();
    let mut warnings = cx.report.finish();
    // A list has the same to say of each of its functions.
    let mut told = HashSet::new();
    warnings.retain(|one| told.insert((one.span, one.path.clone(), one.message.clone())));
    if errors > 0 {
        return Err(warnings);
    }
    for hook in &mut hooks {
        workloads::restrict(&mut hook.plan, workload);
    }
    Ok(PolicyPlan { hooks, sets: cx.sets, binaries: cx.binaries, workloads: cx.workloads, warnings })
}

/// A policy on its way.
struct Lowering<'a> {
    policy: &'a Policy,
    kernel: &'a dyn Kernel,
    choices: &'a Choices,
    report: Report,
    sets: Sets,
    /// Numbers of sets that are taken.
    last_set: u32,
    binaries: Vec<BinaryTest>,
    workloads: Vec<WorkloadTest>,
}

impl Lowering<'_> {
    /// Says that something cannot be done yet.
    fn not_yet(&mut self, at: &At, what: &str, hint: &str) {
        self.report.error_hint(at, format!("{what}: this version cannot do that"), hint);
    }

    fn hook(&mut self, hook: &Hook, plans: &mut Vec<HookPlan>) {
        let before = self.report.errors();
        let at = At { span: hook.span, path: Path::default().field(&hook.path) };
        let (mut sites, missing) = targets::sites(self, hook, &at);
        let programs = plans.len() + sites.len();
        if programs > PROGRAMS_MAX {
            let message =
                format!("with this hook the policy has {programs} programs, {PROGRAMS_MAX} are possible");
            self.report.error_hint(&at, message, "make the lists shorter, or split the policy");
        }
        let slots = Slots::of(self, hook, &at);
        let asks = slots.any_late() || hook.selectors.iter().any(|one| !one.return_arguments.is_empty());
        if hook.on_return.is_some() && asks {
            for site in sites.iter().filter(|site| !returns(&site.attach)) {
                let message =
                    format!("{} never returns, so nothing can be asked of its return", site.function);
                self.report.error_hint(&at, message, "take `matchReturnArgs` and `returnCopy` out");
            }
        }
        enforce::check_returns(self, hook, &sites, &at);
        let mut builder = Builder::new();
        selectors::lower(self, hook, &slots, &mut builder, &at);
        let (mut base, over) = builder.finish();
        enforce::mark(&mut base);
        let late = enforce::late(self, hook, &at);
        if self.policy.workloads.is_none() {
            enforce::unbounded(self, hook, &at);
        }
        for reason in over {
            self.report.error_hint(
                &at,
                reason,
                "split the hook: the same call may stand in several policies",
            );
        }
        if self.report.errors() > before {
            // Values are looked at all the same: everything that is wrong is told at once.
            if let Some(site) = sites.first() {
                values::lower(self, hook, &slots, site, &mut base.clone());
            }
            return;
        }
        let mut own = Vec::with_capacity(sites.len());
        for site in &mut sites {
            let mut plan = base.clone();
            plan.family = family(&hook.target);
            values::lower(self, hook, &slots, site, &mut plan);
            mark_calls(site, &mut plan);
            sockets::complete(self, hook, site, &mut plan, &at);
            writes::complete(self, hook, site, &mut plan, &at);
            let attach = judges::look_once(site.attach.clone(), &mut plan);
            own.push(HookPlan {
                span: hook.span,
                path: hook.path.clone(),
                attach,
                text: text(hook, &slots, site, &plan),
                plan,
                missing: Vec::new(),
                note: [site.note.as_str(), &late]
                    .into_iter()
                    .filter(|note| !note.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "),
            });
        }
        let mut own = join::join(self, hook, own);
        if let Some(first) = own.first_mut() {
            first.missing = missing;
        }
        plans.append(&mut own);
    }

    /// A number for a new set; networks take two.
    fn new_set(&mut self, count: u32) -> u32 {
        let set = self.last_set + 1;
        self.last_set += count;
        set
    }

    fn problem(&mut self, at: &At, problem: Problem) {
        self.report.problem(at, problem);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "numbers of families are small")]
fn family(target: &Target) -> u8 {
    match target {
        Target::Tracepoint { .. } => SAKER_FAMILY_TRACEPOINT as u8,
        Target::Lsm(_) => SAKER_FAMILY_LSM as u8,
        Target::Uprobe(_) => SAKER_FAMILY_UPROBE as u8,
        Target::Usdt(_) => SAKER_FAMILY_USDT as u8,
        _ => SAKER_FAMILY_KPROBE as u8,
    }
}

/// Whether the return is looked at too.
fn returns(attach: &Attach) -> bool {
    match attach {
        Attach::Trampoline { on_return, .. }
        | Attach::Decision { on_return, .. }
        | Attach::Kprobe { on_return, .. }
        | Attach::Kprobes { on_return, .. }
        | Attach::Syscalls { on_return }
        | Attach::Uprobe { on_return, .. } => *on_return,
        Attach::Exit { .. } => true,
        Attach::Lsm(_) | Attach::Group { .. } | Attach::RawTracepoint(_) | Attach::Tracepoint { .. } => false,
    }
}

/// Says how arguments are read, and which system calls are meant.
fn mark_calls(site: &Site, plan: &mut saker_plan) {
    plan.arguments = site.words;
    if site.of_syscall() {
        plan.flags |= SAKER_PLAN_SYSCALL;
    }
    if returns(&site.attach) {
        plan.flags |= SAKER_PLAN_RETURN;
    }
    if site.all_syscalls {
        plan.flags |= SAKER_PLAN_ALL_CALLS;
    }
    if plan.selector.iter().any(|selector| u32::from(selector.flags) & SAKER_SELECT_HASH != 0) {
        plan.flags |= SAKER_PLAN_HASH;
    }
    if site.narrow {
        plan.flags |= SAKER_PLAN_NARROW;
    }
    for number in site.narrow_syscalls.iter().filter(|number| **number < SAKER_SYSCALLS_MAX) {
        if let Some(word) = plan.narrow.get_mut(*number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }
    for number in site.syscalls.iter().filter(|number| **number < SAKER_SYSCALLS_MAX) {
        if let Some(word) = plan.syscall.get_mut(*number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }
}

/// Whether the return of a call that was told may be left out on purpose.
fn has_conditional_return(plan: &saker_plan) -> bool {
    let asked = plan.return_stage.iter().fold(0, |selectors, stage| selectors | stage.selectors);
    let told = |entry: u16| {
        let mut returns = (0_u32..).zip(plan.return_selector.iter().take(plan.return_selectors.into()));
        returns.any(|(index, one)| {
            one.entry == entry
                && asked.checked_shr(index).unwrap_or_default() & 1 == 0
                && one.window == 0
                && u32::from(one.flags) & SAKER_SELECT_NO_POST == 0
        })
    };
    plan.flags & SAKER_PLAN_RETURN != 0 && !(0..plan.selectors.max(1)).all(told)
}

/// Whether any selector asks for callers.
fn tells_stacks(plan: &saker_plan) -> bool {
    let asked = SAKER_SELECT_KERNEL_STACK | SAKER_SELECT_USER_STACK;
    let mut all = plan.selector.iter().chain(&plan.return_selector);
    all.any(|selector| u32::from(selector.flags) & asked != 0)
}

fn text(hook: &Hook, slots: &Slots, site: &Site, plan: &saker_plan) -> HookText {
    let (subsystem, event) = match &hook.target {
        Target::Tracepoint { subsystem, event, .. } => (subsystem.value.clone(), event.value.clone()),
        Target::Usdt(usdt) => (usdt.provider.value.clone(), usdt.name.value.clone()),
        _ => (String::new(), String::new()),
    };
    let labels = slots.labels(hook);
    HookText {
        function: site.function.clone(),
        subsystem,
        event,
        message: hook.message.clone(),
        tags: hook.tags.clone(),
        labels: if labels.iter().all(String::is_empty) { Vec::new() } else { labels },
        arguments: slots.arguments,
        positions: slots.positions(),
        functions: site.functions.clone(),
        stacks: tells_stacks(plan),
        conditional_return: has_conditional_return(plan),
        requests: selectors::requests(hook),
        path: match &hook.target {
            Target::Uprobe(uprobe) => uprobe.path.value.clone(),
            Target::Usdt(usdt) => usdt.path.value.clone(),
            _ => String::new(),
        },
        offset: site.offset,
        ref_ctr_offset: site.semaphore,
    }
}
