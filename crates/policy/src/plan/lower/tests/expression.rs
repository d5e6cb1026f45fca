//! Expressions and their words.

use saker_abi::generated::*;

use super::fake::Fake;
use super::{assert_refused, hook, pool, value_clauses};
use crate::testing::with_hook;

fn policy(expression: &str) -> String {
    with_hook(&format!(
        "args: [{{index: 0, type: nop}}, {{index: 1, type: int}}, {{index: 1, type: uint64}}]
selectors:
- matchArgs: [{{operator: CelExpr, values: ['{expression}']}}]"
    ))
}

#[test]
fn operands_come_before_what_is_done_with_them() {
    let (int, long, unsigned) = (SAKER_NUMBER_S32 << 8, SAKER_NUMBER_S64 << 8, SAKER_NUMBER_U64 << 8);
    let value = |ty, slot: u32| u64::from(SAKER_STEP_VALUE | ty | slot << 16);
    let step = |step: u32, ty: u32| u64::from(step | ty);
    for (expression, taken, words) in [
        (
            "int64(arg1) >= -1",
            0b1,
            vec![
                value(int, 0),
                step(SAKER_STEP_WRAP, long),
                step(SAKER_STEP_LITERAL, long),
                u64::MAX,
                step(SAKER_STEP_LESS, long),
                step(SAKER_STEP_NOT, long),
            ],
        ),
        (
            "!(arg2 > 3u) || arg1 + arg1 == not(arg1)",
            0b11,
            vec![
                step(SAKER_STEP_LITERAL, unsigned),
                3,
                value(unsigned, 1),
                step(SAKER_STEP_LESS, unsigned),
                step(SAKER_STEP_NOT, unsigned),
                value(int, 0),
                value(int, 0),
                step(SAKER_STEP_ADD, int),
                value(int, 0),
                step(SAKER_STEP_TURN, int),
                step(SAKER_STEP_EQUAL, int),
                step(SAKER_STEP_EITHER, unsigned),
            ],
        ),
    ] {
        let plan = hook(&policy(expression), &Fake::default()).plan;
        let clauses = value_clauses(&plan);
        assert_eq!(clauses.len(), 1);
        assert_eq!(
            (u32::from(clauses[0].op), clauses[0].number),
            (SAKER_OP_EXPRESSION, taken),
            "{expression}"
        );
        assert_eq!(pool(&plan, &clauses[0], false), words, "{expression}");
    }
}

#[test]
fn what_the_kernel_side_cannot_hold_is_refused() {
    let repeated = |count: usize| vec!["arg1 == arg1"; count].join(" && ");
    hook(&policy(&repeated(64)), &Fake::default());
    assert_refused(&policy(&repeated(65)), &Fake::default(), &["259 words", "256 are possible"]);
    assert_refused(&policy("1 == 1"), &Fake::default(), &["takes no argument"]);
    // Each level waits with one value for what is within.
    let nested = |count: usize| format!("{}arg2{} == 1u", "and(arg2, ".repeat(count), ")".repeat(count));
    hook(&policy(&nested(15)), &Fake::default());
    let text = with_hook(
        "return: true
returnArg: {index: 0, type: int}
args: [{index: 0, type: int, returnCopy: true}]
selectors:
- matchArgs: [{operator: CelExpr, values: ['arg0 == int32(1)']}]",
    );
    assert_refused(&text, &Fake::default(), &["read when the function returns"]);
}
