//! Expressions as words for the kernel side, operands before what is done with them.

use saker_abi::generated::{
    SAKER_EXPRESSION_MAX, SAKER_NUMBER_S32, SAKER_NUMBER_S64, SAKER_NUMBER_U32, SAKER_NUMBER_U64,
    SAKER_OP_EXPRESSION, SAKER_STACK_MAX, SAKER_STEP_ADD, SAKER_STEP_AND, SAKER_STEP_BOTH, SAKER_STEP_EITHER,
    SAKER_STEP_EQUAL, SAKER_STEP_LESS, SAKER_STEP_LITERAL, SAKER_STEP_NOT, SAKER_STEP_OR,
    SAKER_STEP_SUBTRACT, SAKER_STEP_TURN, SAKER_STEP_VALUE, SAKER_STEP_WRAP, SAKER_STEP_XOR, saker_clause,
};

use super::builder::Builder;
use super::values::Slots;
use super::{Lowering, clauses, numbers};
use crate::diagnostic::At;
use crate::values::{Comparison, Condition, Number, NumberType, Operation};

/// The clause of an expression; what cannot be done is told.
pub(super) fn clause(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    slots: &Slots,
    condition: &Condition,
    at: &At,
) -> Option<saker_clause> {
    let mut words = Words::default();
    words.condition(condition);
    let mut taken = 0;
    for (position, index) in words.values {
        let slot = clauses::early(cx, slots, position, at)?;
        taken |= 1_u64 << slot;
        if let Some(word) = words.words.get_mut(index) {
            *word |= u64::from(slot) << 16;
        }
    }
    if taken == 0 {
        cx.report.error_hint(at, "the expression takes no argument: it is always the same", "take it out");
        return None;
    }
    let bounds = [
        (
            words.words.len(),
            SAKER_EXPRESSION_MAX,
            "words: one for each argument and operator, two for a literal",
        ),
        (words.deepest, SAKER_STACK_MAX, "values that wait for others"),
    ];
    for (count, most, what) in bounds {
        if count > most as usize {
            let hint = "make two filters of it, both of which must hold";
            cx.report.error_hint(at, format!("the expression has {count} {what}; {most} are possible"), hint);
            return None;
        }
    }
    let mut clause = numbers::scanned(builder, SAKER_OP_EXPRESSION, words.words);
    clause.number = taken;
    // It is looked at where the first of its values is.
    clause.value = u8::try_from(taken.trailing_zeros()).unwrap_or_default();
    Some(clause)
}

/// Words in the making.
#[derive(Default)]
struct Words {
    words: Vec<u64>,
    /// Positions of captured values, and the words that take them.
    values: Vec<(usize, usize)>,
    waiting: usize,
    deepest: usize,
}

impl Words {
    fn push(&mut self, step: u32, ty: NumberType) {
        let ty = match ty {
            NumberType::I32 => SAKER_NUMBER_S32,
            NumberType::U32 => SAKER_NUMBER_U32,
            NumberType::I64 => SAKER_NUMBER_S64,
            NumberType::U64 => SAKER_NUMBER_U64,
        };
        self.words.push(u64::from(step | ty << 8));
    }

    /// One more value waits.
    fn load(&mut self, step: u32, ty: NumberType) {
        self.push(step, ty);
        self.waiting += 1;
        self.deepest = self.deepest.max(self.waiting);
    }

    /// Two become one.
    fn join(&mut self, step: u32, ty: NumberType) {
        self.push(step, ty);
        self.waiting -= 1;
    }

    fn condition(&mut self, condition: &Condition) {
        // Of true and false there is but one form.
        let ty = NumberType::U64;
        match condition {
            Condition::Compare { comparison, left, right } => self.compare(*comparison, left, right),
            Condition::All(left, right) => {
                self.condition(left);
                self.condition(right);
                self.join(SAKER_STEP_BOTH, ty);
            }
            Condition::Any(left, right) => {
                self.condition(left);
                self.condition(right);
                self.join(SAKER_STEP_EITHER, ty);
            }
            Condition::Not(inner) => {
                self.condition(inner);
                self.push(SAKER_STEP_NOT, ty);
            }
        }
    }

    fn compare(&mut self, comparison: Comparison, left: &Number, right: &Number) {
        let (step, turned, negated) = match comparison {
            Comparison::Equal => (SAKER_STEP_EQUAL, false, false),
            Comparison::NotEqual => (SAKER_STEP_EQUAL, false, true),
            Comparison::Less => (SAKER_STEP_LESS, false, false),
            Comparison::GreaterOrEqual => (SAKER_STEP_LESS, false, true),
            Comparison::Greater => (SAKER_STEP_LESS, true, false),
            Comparison::LessOrEqual => (SAKER_STEP_LESS, true, true),
        };
        let (first, second) = if turned { (right, left) } else { (left, right) };
        self.number(first);
        self.number(second);
        self.join(step, left.ty());
        if negated {
            self.push(SAKER_STEP_NOT, left.ty());
        }
    }

    fn number(&mut self, number: &Number) {
        match number {
            Number::Literal { ty, value } => {
                self.load(SAKER_STEP_LITERAL, *ty);
                self.words.push(numbers::bits_of(*value));
            }
            Number::Argument { ty, position } => {
                self.values.push((*position, self.words.len()));
                self.load(SAKER_STEP_VALUE, *ty);
            }
            Number::Cast { ty, value } => {
                self.number(value);
                self.push(SAKER_STEP_WRAP, *ty);
            }
            Number::Not { ty, value } => {
                self.number(value);
                self.push(SAKER_STEP_TURN, *ty);
            }
            Number::Operation { ty, operation, left, right } => {
                self.number(left);
                self.number(right);
                let step = match operation {
                    Operation::Add => SAKER_STEP_ADD,
                    Operation::Subtract => SAKER_STEP_SUBTRACT,
                    Operation::And => SAKER_STEP_AND,
                    Operation::Or => SAKER_STEP_OR,
                    Operation::Xor => SAKER_STEP_XOR,
                };
                self.join(step, *ty);
            }
        }
    }
}
