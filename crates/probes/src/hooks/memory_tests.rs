//! What the kernel has of hooks, asked of the running kernel. Needs root.

use std::collections::BTreeSet;

use libbpf_rs::query::{MapInfoIter, ProgInfoIter};
use saker_abi::generated::*;
use saker_policy::plan::{Attach, Sets};
use zerocopy::FromZeros;

use super::*;
use crate::sensors::program_fdinfo;
use crate::{KernelFacts, Options, loader};

/// A hook of system calls, which all kernels have, that compares a text with a prefix.
fn spec(hook: u32) -> HookSpec {
    let mut plan = Box::new(saker_plan::new_zeroed());
    (plan.policy, plan.hook, plan.family) = (7, hook, SAKER_FAMILY_KPROBE as u8);
    plan.flags = SAKER_PLAN_SYSCALL;
    plan.syscall[4] = 1 << 1;
    (plan.values, plan.entry_values, plan.arguments) = (1, 1, 6);
    plan.value[0] = saker_value_plan {
        type_: SAKER_TYPE_STRING as u8,
        index: 1,
        size_index: 255,
        max: 4096,
        ..Default::default()
    };
    plan.selectors = 1;
    (plan.stages, plan.stage[0]) = (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    plan.clause[0] = saker_clause { op: SAKER_OP_TEXT_PREFIX as u8, set: 1, ..Default::default() };
    HookSpec { attach: Attach::Syscalls { on_return: false }, plan }
}

#[test]
fn of_many_hooks_types_are_kept_once_and_plans_not_at_all() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: NOT RUN");
        return;
    }
    let facts = KernelFacts::for_sensors().unwrap();
    let sensors = Sensors::load(&Options::default(), &facts).unwrap();
    let mut hooks = Hooks::beside(&sensors).unwrap();
    let mut sets = Sets::default();
    let mut prefix = saker_prefix_key::new_zeroed();
    (prefix.set, prefix.bits) = (1, 32 + 8);
    prefix.text[0] = b'/';
    sets.prefixes.push(prefix);
    let policies: Vec<_> =
        (0..3).map(|hook| hooks.load(&[spec(2 * hook), spec(2 * hook + 1)], &sets).unwrap()).collect();
    let loaded: Vec<&LoadedHook> = policies.iter().flat_map(|policy| &policy.hooks).collect();
    let programs: BTreeSet<u32> = loaded
        .iter()
        .flat_map(|hook| &hook.programs)
        .map(|program| program_fdinfo(program.as_fd(), "prog_id:").unwrap() as u32)
        .collect();
    assert!(programs.len() >= loaded.len(), "{programs:?}");
    let infos: Vec<_> = ProgInfoIter::default().filter(|info| programs.contains(&info.id)).collect();
    assert_eq!(infos.len(), programs.len());
    let types: BTreeSet<u32> = infos.iter().map(|info| info.btf_id).collect();
    assert_eq!(types.len(), 1, "descriptions of the programs' types: {types:?}");
    let used: BTreeSet<u32> = loaded
        .iter()
        .flat_map(|hook| &hook.programs)
        .flat_map(|program| loader::maps_used_by(program.as_fd()).unwrap())
        .collect();
    let maps: Vec<_> = MapInfoIter::default().filter(|map| used.contains(&map.id)).collect();
    assert!(!maps.is_empty() && maps.iter().all(|map| map.value_size < 32_768), "a plan is kept: {maps:?}");
    let others: BTreeSet<u32> =
        maps.iter().map(|map| map.btf_id).filter(|id| *id != 0 && !types.contains(id)).collect();
    assert!(others.len() <= 1, "beside the sensors' more objects describe types: {maps:?}");
    for hook in loaded {
        assert!(hook.memory() <= 24 << 10, "{} bytes", hook.memory());
    }
}

/// Whether a hook gets its programs from those that were kept of earlier ones.
fn is_filled(hooks: &Hooks, spec: &HookSpec) -> bool {
    let prepared = Prepared::find(TYPES, SYSCALLS).unwrap();
    let mut place = MaybeUninit::uninit();
    let maps = PolicyMaps::of(&Sets::default()).unwrap();
    hooks.load_filled(spec, Some(&prepared), &mut place, None, &maps).unwrap().is_some()
}

#[test]
fn later_hooks_have_the_programs_that_they_would_have_as_first() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: NOT RUN");
        return;
    }
    let facts = KernelFacts::for_sensors().unwrap();
    let sensors = Sensors::load(&Options::default(), &facts).unwrap();
    let mut others = spec(2);
    others.plan.clause[0].op = SAKER_OP_TEXT_EQUAL as u8;
    let mut with_parents = spec(1);
    with_parents.plan.flags |= SAKER_PLAN_PARENT;
    let specs = [spec(1), others, with_parents];
    let tags = |policy: &LoadedPolicy| -> Vec<_> {
        let programs = policy.hooks.iter().flat_map(|hook| &hook.programs);
        let ids = programs.map(|program| program_fdinfo(program.as_fd(), "prog_id:").unwrap() as u32);
        let ids: BTreeSet<u32> = ids.collect();
        let infos = ProgInfoIter::default().filter(|info| ids.contains(&info.id));
        infos.map(|info| (info.name, info.tag.0)).collect()
    };
    let load = |hooks: &mut Hooks, spec: &HookSpec| {
        hooks.load(std::slice::from_ref(spec), &Sets::default()).unwrap()
    };
    let first: Vec<_> = specs
        .iter()
        .map(|spec| {
            let mut hooks = Hooks::beside(&sensors).unwrap();
            assert!(!is_filled(&hooks, spec));
            tags(&load(&mut hooks, spec))
        })
        .collect();
    assert_ne!(first[0], first[1], "they are different hooks");
    let mut hooks = Hooks::beside(&sensors).unwrap();
    let kept: Vec<LoadedPolicy> = specs.iter().map(|spec| load(&mut hooks, spec)).collect();
    for (spec, expected) in specs.iter().zip(&first) {
        assert!(is_filled(&hooks, spec), "it has maps that no earlier hook had");
        assert_eq!(&tags(&load(&mut hooks, spec)), expected);
    }
    drop(kept);
}
