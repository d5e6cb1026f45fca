//! The value of an expression.

use super::{Comparison, Condition, Number, Operation};

impl Condition {
    /// Whether it is true of these captured values. None when it needs one that could not be read.
    #[must_use]
    pub fn holds(&self, value: &dyn Fn(usize) -> Option<i128>) -> Option<bool> {
        // Both sides are looked at even where one decides: an argument that could not be read never matches.
        match self {
            Self::Compare { comparison, left, right } => {
                let (left, right) = (left.value(value)?, right.value(value)?);
                Some(match comparison {
                    Comparison::Equal => left == right,
                    Comparison::NotEqual => left != right,
                    Comparison::Less => left < right,
                    Comparison::LessOrEqual => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::GreaterOrEqual => left >= right,
                })
            }
            Self::All(left, right) => {
                let (left, right) = (left.holds(value)?, right.holds(value)?);
                Some(left && right)
            }
            Self::Any(left, right) => {
                let (left, right) = (left.holds(value)?, right.holds(value)?);
                Some(left || right)
            }
            Self::Not(inner) => Some(!inner.holds(value)?),
        }
    }
}

impl Number {
    fn value(&self, value: &dyn Fn(usize) -> Option<i128>) -> Option<i128> {
        let result = match self {
            Self::Literal { value, .. } => *value,
            Self::Argument { position, .. } => value(*position)?,
            Self::Cast { value: inner, .. } => inner.value(value)?,
            Self::Not { value: inner, .. } => !inner.value(value)?,
            Self::Operation { operation, left, right, .. } => {
                let (left, right) = (left.value(value)?, right.value(value)?);
                match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::And => left & right,
                    Operation::Or => left | right,
                    Operation::Xor => left ^ right,
                }
            }
        };
        Some(self.ty().wrap(result))
    }
}
