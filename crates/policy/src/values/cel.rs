//! Expressions over captured integers: the part of the Common Expression Language that the operator `CelExpr` has.
//!
//! `arg0`, `arg1`, … are captured arguments. Both sides of an operator must have the same type: literals are
//! 64 bits wide (`1` with a sign, `1u` without), arguments have their own width, `int32()`, `uint32()`, `int64()`
//! and `uint64()` convert. Arithmetic wraps around.

mod eval;
mod parse;

pub use parse::{MAX_CEL_DEPTH, parse};

/// Type of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
}

impl NumberType {
    /// Its name in expressions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
        }
    }

    /// The value of the type that has the same low bits.
    #[must_use]
    pub fn wrap(self, value: i128) -> i128 {
        let (bits, signed) = match self {
            Self::I32 => (32, true),
            Self::U32 => (32, false),
            Self::I64 => (64, true),
            Self::U64 => (64, false),
        };
        let span = 1_i128 << bits;
        let low = value.rem_euclid(span);
        if signed && low >= span / 2 { low - span } else { low }
    }
}

/// An operation on two numbers of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `and(a, b)`
    And,
    /// `or(a, b)`
    Or,
    /// `xor(a, b)`
    Xor,
}

/// A comparison of two numbers of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// An expression that gives a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// A value.
    Literal {
        /// Its type.
        ty: NumberType,
        /// Its value, within the type.
        value: i128,
    },
    /// A captured argument.
    Argument {
        /// Its type.
        ty: NumberType,
        /// Its position among the captured values.
        position: usize,
    },
    /// A conversion that keeps the low bits.
    Cast {
        /// To this type.
        ty: NumberType,
        /// What is converted.
        value: Box<Number>,
    },
    /// An operation.
    Operation {
        /// Type of both sides and of the result.
        ty: NumberType,
        /// Which.
        operation: Operation,
        /// Left side.
        left: Box<Number>,
        /// Right side.
        right: Box<Number>,
    },
    /// All bits turned round.
    Not {
        /// Type of the number and of the result.
        ty: NumberType,
        /// The number.
        value: Box<Number>,
    },
}

impl Number {
    /// Its type.
    #[must_use]
    pub fn ty(&self) -> NumberType {
        match self {
            Self::Literal { ty, .. }
            | Self::Argument { ty, .. }
            | Self::Cast { ty, .. }
            | Self::Operation { ty, .. }
            | Self::Not { ty, .. } => *ty,
        }
    }
}

/// An expression that is true or false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A comparison.
    Compare {
        /// Which.
        comparison: Comparison,
        /// Left side.
        left: Number,
        /// Right side.
        right: Number,
    },
    /// Both.
    All(Box<Condition>, Box<Condition>),
    /// At least one.
    Any(Box<Condition>, Box<Condition>),
    /// Not this.
    Not(Box<Condition>),
}
