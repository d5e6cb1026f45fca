//! What is written into programs: registers of functions that are overridden, and arguments of declared probes.

use saker_abi::generated::*;

use super::fake::Fake;
use super::{assert_refused, hook, planned};
use crate::testing::with_spec;

fn able() -> Fake {
    Fake { writes: true, together: true, ..Fake::default() }
}

/// A hook of the function `f`, or of another place, with this action.
fn overriding(place: &str, action: &str, further: &str) -> String {
    with_spec(&format!(
        "uprobes: [{{path: /bin/c, {place}{further}, selectors: [{{matchActions: [{{action: Override{action}}}]}}]}}]"
    ))
}

fn setting(index: u32, argument: u32) -> String {
    with_spec(&format!(
        "usdts: [{{path: /bin/c, provider: p, name: n, args: [{{index: {argument}, type: int32}}], selectors: \
         [{{matchActions: [{{action: Set, argIndex: {index}, argValue: 9}}]}}]}}]"
    ))
}

fn writes(plan: &saker_plan) -> &[saker_write] {
    &plan.write[..plan.writes.into()]
}

#[test]
fn a_function_returns_at_once() {
    let found = hook(&overriding("symbols: [f]", ", argError: -13", ""), &able());
    let plan = &found.plan;
    let wanted = SAKER_PLAN_WRITES | SAKER_PLAN_ENFORCES;
    assert_eq!(plan.flags & wanted, wanted);
    assert_eq!(u32::from(plan.selector[0].also), SAKER_ALSO_WRITES);
    assert_eq!(u32::from(plan.selector[0].action), SAKER_ACTION_OVERRIDE);
    assert_eq!(u32::from(plan.place), SAKER_PLACE_KNOWN);
    let [result, way] = writes(plan) else { panic!("{} writes", plan.writes) };
    assert_eq!((result.target, result.offset as i64, u32::from(result.base)), (10, -13, SAKER_REGISTER_NONE));
    assert_eq!((way.target, way.base, way.offset, way.slot), (16, 16, 0x77, 1));
    assert!(found.note.contains("returns -13 at once"), "{}", found.note);
    // 0 is a result as others, and a return may be looked at.
    let returning = overriding("symbols: [f]", "", ", return: true, returnArg: {index: 0, type: int}");
    assert_eq!(writes(&hook(&returning, &able()).plan)[0].offset, 0);
    assert_refused(&overriding("symbols: [f+0x10]", "", ""), &able(), &["no function begins here"]);
    assert_refused(&overriding("symbols: [g]", "", ""), &able(), &["no instruction returns"]);
}

#[test]
fn places_have_writes_of_their_own() {
    let text = overriding("symbols: [f, g]", ", argNewSymbol: f+0x20", "");
    let plan = planned(&text, &able());
    let offsets: Vec<i64> = plan.hooks.iter().map(|hook| writes(&hook.plan)[0].offset as i64).collect();
    assert_eq!(offsets, [0x20, -0xfe0]);
}

#[test]
fn registers_are_set() {
    let text = overriding(
        "symbols: [f+0x234]",
        ", argRegs: ['edi=-1', 'rsi=8%rdx', 'al=0x10(%rsp)', 'rip=(%rsp)', 'rsp=8%rsp']",
        "",
    );
    let plan = hook(&text, &able()).plan;
    assert_eq!(u32::from(plan.place), SAKER_PLACE_KNOWN | 0x234);
    let told: Vec<_> = writes(&plan)
        .iter()
        .map(|one| (u32::from(one.kind), one.target, one.width, one.base, one.offset as i64))
        .collect();
    assert_eq!(
        told,
        [
            (SAKER_WRITE_REGISTER, 14, 4, 255, -1),
            (SAKER_WRITE_REGISTER, 13, 8, 12, 8),
            (SAKER_WRITE_LOADED, 10, 1, 19, 0x10),
            (SAKER_WRITE_LOADED, 16, 8, 19, 0),
            (SAKER_WRITE_REGISTER, 19, 8, 19, 8),
        ]
    );
}

#[test]
fn a_jump_is_so_far_from_its_place() {
    for (jump, wanted) in [
        ("argNewSymbol: g", 0x1000),
        ("argNewSymbol: g+0x10", 0x1010),
        ("argNewAddr: 0x400010", -0xff0),
        ("argNewOffset: -16", -16),
    ] {
        let plan = hook(&overriding("symbols: [f]", &format!(", {jump}"), ""), &able()).plan;
        let [write] = writes(&plan) else { panic!("{jump}: {} writes", plan.writes) };
        assert_eq!((write.target, write.base, write.offset as i64), (16, 16, wanted), "{jump}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    for (action, words) in [
        (", argRegs: ['cs=1']", "`cs` cannot be changed"),
        (", argRegs: ['eflags=1']", "`eflags` cannot be changed"),
        (", argRegs: ['rxx=1']", "no register `rxx`"),
        (", argRegs: ['rdi=%rxx']", "no register `rxx`"),
        (", argRegs: ['al=300']", "300 has no room"),
        (", argRegs: ['rdi=1', 'edi=2']", "set twice"),
        (", argRegs: ['rip=1'], argNewSymbol: g", "`rip` is set"),
        (", argNewSymbol: none", "no function `none`"),
        (", argNewAddr: 5", "no code"),
        (", argNewOffset: -5000000", "not in the file"),
        (", argRegs: ['rax=1'], argError: -1", "`argError` is returned when"),
    ] {
        assert_refused(&overriding("symbols: [f]", action, ""), &able(), &[words]);
    }
    let returning = overriding(
        "symbols: [f]",
        ", argRegs: ['rax=1']",
        ", return: true, returnArg: {index: 0, type: int}",
    );
    assert_refused(&returning, &able(), &["a return cannot be looked at"]);
    let old = Fake::default();
    assert_refused(
        &overriding("symbols: [f]", "", ""),
        &old,
        &["lets no program change registers: it is too old"],
    );
}

#[test]
fn arguments_are_set_where_they_stand() {
    // In `4@%edi` at two places, and a constant at the third.
    assert_refused(&setting(0, 0), &able(), &["constant of the program (5)"]);
    assert_refused(&setting(0, 0), &Fake::default(), &["in a register, and this kernel"]);
    assert_refused(&setting(0, 2), &able(), &["floating-point"]);
    let plan = planned(&setting(0, 1), &able());
    for hook in &plan.hooks {
        let [write] = writes(&hook.plan) else { panic!("{} writes", hook.plan.writes) };
        assert_eq!((write.target, write.width, write.offset, hook.plan.place), (13, 4, 9, 0));
        assert_eq!(u32::from(hook.plan.selector[0].action), SAKER_ACTION_SET);
        assert!(hook.note.contains("set in its register"), "{}", hook.note);
    }
}
