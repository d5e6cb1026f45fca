//! What a plan uses of the kernel side, which then does without the rest.

use saker_abi::generated::{
    SAKER_CLAUSE_LONG, SAKER_HASH_BUILD_ID, SAKER_OP_CAPABILITY_CHANGE, SAKER_OP_NAMESPACE_CHANGE,
    SAKER_OP_SAME_FILE, SAKER_OP_TEXT_PATTERN, SAKER_PART_BINARIES, SAKER_PART_LONG, SAKER_PART_PATHS,
    SAKER_PART_PATTERNS, SAKER_PART_REGISTERS, SAKER_PLAN_BINARIES, SAKER_PLAN_BY_HASH, SAKER_PLAN_ENFORCES,
    SAKER_PLAN_FOLLOW, SAKER_PLAN_HASH, SAKER_PLAN_PARENT, SAKER_PLAN_SOCKETS, SAKER_PLAN_TRACKS,
    SAKER_SELECT_KERNEL_STACK, SAKER_SELECT_USER_STACK, SAKER_SELECTOR_SHARDS_MAX, SAKER_SIZE_REGISTER,
    SAKER_SOURCE_INDEXED, SAKER_SOURCE_REGISTER, SAKER_TYPE_DENTRY, SAKER_TYPE_FD, SAKER_TYPE_FILE,
    SAKER_TYPE_KIOCB, SAKER_TYPE_LINUX_BINPRM, SAKER_TYPE_PATH, saker_clause, saker_plan,
};
use saker_policy::plan::Attach;

use super::HookSpec;

/// Whether a clause of the process asks for changes.
pub(super) fn asks_for_changes(plan: &saker_plan) -> bool {
    let ops = [SAKER_OP_NAMESPACE_CHANGE, SAKER_OP_CAPABILITY_CHANGE];
    plan.clause.iter().any(|clause| ops.contains(&u32::from(clause.op)))
}

/// What hashes of files a plan asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashes {
    /// None.
    None,
    /// To be told.
    Told,
    /// To be decided by.
    Decide,
    /// Not hashes, but build ids to be decided by.
    BuildIds,
}

impl Hashes {
    /// Whether calls are put off until it is known.
    pub(super) fn decide(self) -> bool {
        matches!(self, Self::Decide | Self::BuildIds)
    }
}

/// What a plan's selectors ask of the hash of the hook's file.
pub(super) fn hashes(plan: &saker_plan) -> Hashes {
    match (plan.flags & SAKER_PLAN_BY_HASH != 0, plan.flags & SAKER_PLAN_HASH != 0) {
        (true, _) if plan.hash_algorithm == SAKER_HASH_BUILD_ID => Hashes::BuildIds,
        (true, _) => Hashes::Decide,
        (false, true) => Hashes::Told,
        (false, false) => Hashes::None,
    }
}

/// Where a hook has the file to hash, `HASH_OF_*` in `bpf/policy/hash.h`: hooks of executions have the program.
pub(super) fn hash_of(spec: &HookSpec) -> u32 {
    match &spec.attach {
        Attach::Lsm(hook) if hashes(&spec.plan) != Hashes::None => {
            if hook.starts_with("bprm_") {
                2
            } else {
                1
            }
        }
        _ => 0,
    }
}

/// Whether its selectors are counted one by one: of one selector the counters of the hook tell all.
pub(super) fn counts_selectors(plan: &saker_plan) -> bool {
    plan.selectors > 1
}

pub(super) fn possible_cpus() -> Result<u32, libbpf_rs::Error> {
    Ok(u32::try_from(libbpf_rs::num_possible_cpus()?).unwrap_or(u32::MAX))
}

/// How many entries each selector has, so that CPUs do not all write the same.
pub(super) fn selector_shards() -> Result<u32, libbpf_rs::Error> {
    let cpus = possible_cpus()?;
    Ok(cpus.min(SAKER_SELECTOR_SHARDS_MAX).next_power_of_two().min(SAKER_SELECTOR_SHARDS_MAX))
}

pub(super) fn acts(plan: &saker_plan) -> bool {
    plan.flags & SAKER_PLAN_ENFORCES != 0
}

pub(super) fn needs_sockets(plan: &saker_plan) -> bool {
    plan.flags & (SAKER_PLAN_SOCKETS | SAKER_PLAN_TRACKS) != 0
}

pub(super) fn needs_program_calls(attach: &Attach) -> bool {
    matches!(attach, Attach::Uprobe { on_return: true, .. })
}

/// The stacks that any selector of a plan asks for, `SAKER_SELECT_*`.
pub(super) fn stacks_of(plan: &saker_plan) -> u32 {
    let all = plan.selector.iter().chain(&plan.return_selector);
    let flags = all.fold(0, |flags, selector| flags | u32::from(selector.flags));
    flags & (SAKER_SELECT_KERNEL_STACK | SAKER_SELECT_USER_STACK)
}

/// The operators that any clause of a plan has, one bit each.
pub(super) fn operators_of(plan: &saker_plan) -> u64 {
    plan.clause.iter().fold(0, |operators, clause| operators | bit(clause.op.into()))
}

/// Sets of files that hooks ask for, each with the hook's place.
pub(super) fn file_sets(specs: &[HookSpec]) -> Vec<(u32, usize)> {
    let of = |(index, spec): (usize, &HookSpec)| {
        let asks = |clause: &&saker_clause| u32::from(clause.op) == SAKER_OP_SAME_FILE;
        spec.plan.clause.iter().filter(asks).map(move |clause| (clause.set, index)).collect::<Vec<_>>()
    };
    specs.iter().enumerate().flat_map(of).collect()
}

/// A bit for a number that is one of few.
fn bit(number: u32) -> u64 {
    1_u64.checked_shl(number).unwrap_or(u64::MAX)
}

/// The types that any value of a plan has, one bit each.
pub(super) fn types_of(plan: &saker_plan) -> u64 {
    let values = plan.value.iter().chain([&plan.result]);
    values.fold(0, |types, value| types | bit(value.type_.into()))
}

/// The types of values that are objects with a path.
const PATHS: [u32; 6] = [
    SAKER_TYPE_FILE,
    SAKER_TYPE_FD,
    SAKER_TYPE_PATH,
    SAKER_TYPE_DENTRY,
    SAKER_TYPE_KIOCB,
    SAKER_TYPE_LINUX_BINPRM,
];

/// What its values and clauses need, `SAKER_PART_*`.
pub(super) fn parts_of(plan: &saker_plan) -> u32 {
    let mut parts = 0;
    if plan.flags & (SAKER_PLAN_BINARIES | SAKER_PLAN_FOLLOW | SAKER_PLAN_PARENT) != 0 {
        parts |= SAKER_PART_BINARIES | SAKER_PART_PATHS | SAKER_PART_PATTERNS;
    }
    for value in plan.value.iter().chain([&plan.result]) {
        if PATHS.contains(&value.type_.into()) {
            parts |= SAKER_PART_PATHS;
        }
        let source = u32::from(value.source);
        let register = source == SAKER_SOURCE_REGISTER || source == SAKER_SOURCE_INDEXED;
        if register || u32::from(value.size_index) == SAKER_SIZE_REGISTER {
            parts |= SAKER_PART_REGISTERS;
        }
    }
    for clause in &plan.clause {
        if u32::from(clause.op) == SAKER_OP_TEXT_PATTERN {
            parts |= SAKER_PART_PATTERNS;
        }
        if u32::from(clause.flags) & SAKER_CLAUSE_LONG != 0 {
            parts |= SAKER_PART_LONG;
        }
    }
    parts
}
