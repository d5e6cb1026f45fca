//! Tests of lowering, with a kernel that is made up.

mod clauses;
mod costs;
mod enforce;
mod enforcers;
mod expression;
mod fake;
mod fields;
mod group;
mod join;
mod judges;
mod post;
mod programs;
mod refused;
mod sockets;
mod targets;
mod values;
mod workloads;
mod writes;

use crate::plan::{Choices, HookPlan, PolicyPlan, lower, lower_with};
use crate::testing::{accepted, with_filter};
use fake::Fake;
use saker_abi::generated::{saker_clause, saker_plan, saker_stage};

/// The plan of a policy that the kernel can serve.
fn planned(text: &str, kernel: &Fake) -> PolicyPlan {
    match lower(&accepted(text), kernel) {
        Ok(plan) => plan,
        Err(problems) => panic!("{text}\n{problems:#?}"),
    }
}

/// The plan of a policy's only hook.
fn hook(text: &str, kernel: &Fake) -> HookPlan {
    let mut plan = planned(text, kernel);
    assert_eq!(plan.hooks.len(), 1, "{text}");
    plan.hooks.remove(0)
}

/// The plan of a policy where a function turned out to take no program by a trampoline, or what is said against it.
fn without_trampoline(text: &str, kernel: &Fake, function: &str) -> Result<PolicyPlan, String> {
    let no_trampoline = [(function.to_owned(), format!("{function} is full"))].into();
    let problems = |found: Vec<crate::Diagnostic>| found.into_iter().map(|one| one.message).collect();
    lower_with(&accepted(text), kernel, &Choices { no_trampoline, ..Choices::default() }).map_err(problems)
}

/// What is said of a policy that is refused: path, message and hint.
fn refused(text: &str, kernel: &Fake) -> Vec<String> {
    let problems = match lower(&accepted(text), kernel) {
        Ok(plan) => panic!("{} hooks\n{text}", plan.hooks.len()),
        Err(problems) => problems,
    };
    let one = |problem: crate::Diagnostic| {
        assert!(problem.span.line > 0, "{problem:?}");
        format!("{}: {} [{}]", problem.path, problem.message, problem.hint.unwrap_or_default())
    };
    problems.into_iter().map(one).collect()
}

/// Asserts that a policy is refused with each of these words.
fn assert_refused(text: &str, kernel: &Fake, words: &[&str]) {
    let told = refused(text, kernel);
    for word in words {
        assert!(told.iter().any(|line| line.contains(word)), "nothing says {word:?}:\n{text}\n{told:#?}");
    }
}

/// The clauses of captured values of the first selector.
fn value_clauses(plan: &saker_plan) -> Vec<saker_clause> {
    of_stages(plan, &plan.stage[..usize::from(plan.stages)])
}

/// The clauses of stages that are of the first selector.
fn of_stages(plan: &saker_plan, stages: &[saker_stage]) -> Vec<saker_clause> {
    let of = |stage: &saker_stage| &plan.clause[usize::from(stage.clause)..][..usize::from(stage.count)];
    let all = stages.iter().flat_map(|stage| {
        assert!(of(stage).iter().all(|clause| clause.value == stage.value), "a clause of another value");
        of(stage)
    });
    all.filter(|clause| clause.selector == 0).copied().collect()
}

/// The clauses of the process of the first selector.
fn process_clauses(plan: &saker_plan) -> Vec<saker_clause> {
    let selector = &plan.selector[0];
    plan.clause[usize::from(selector.process)..][..usize::from(selector.process_count)].to_vec()
}

/// Numbers of a clause; `pairs`: two for each.
fn pool(plan: &saker_plan, clause: &saker_clause, pairs: bool) -> Vec<u64> {
    let count = usize::from(clause.count) * if pairs { 2 } else { 1 };
    plan.pool[usize::from(clause.pool)..][..count].to_vec()
}

/// The plan of a hook with one filter on one value.
fn filtered(ty: &str, operator: &str, values: &str) -> PolicyPlan {
    planned(&with_filter(ty, operator, values), &Fake::default())
}
