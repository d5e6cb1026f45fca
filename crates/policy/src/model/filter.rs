//! Filters on captured values.

use super::ListRef;
use crate::diagnostic::{Span, Spanned};
use crate::values::{Condition, Glob, IntegerRange, Network, PortRange};
use crate::words::{FileType, Operator};

/// A condition on captured values.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgumentFilter {
    /// Where it stands.
    pub span: Span,
    /// Which values.
    pub operand: Operand,
    /// What must hold.
    pub predicate: Predicate,
}

/// What a filter looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A captured value, by position in `Hook::values`.
    Value(usize),
    /// Two: the old and the new.
    Pair(usize, usize),
    /// Those that the expression names.
    Expression,
    /// The value returned.
    Returned,
}

/// What must hold of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// The operator as written.
    pub operator: Operator,
    /// The test must fail, instead of hold.
    pub negated: bool,
    /// The test, without negation.
    pub test: Test,
}

/// Which address or port of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source; of an address the address.
    Source,
    /// The destination.
    Destination,
}

/// A test, without negation.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Of an integer of this type.
    Integer {
        /// Whether it has a sign.
        signed: bool,
        /// 8, 16, 32 or 64.
        bits: u32,
        /// What must hold.
        test: IntegerTest,
    },
    /// Of a capability set, as a number of 64 bits without sign.
    Capabilities(IntegerTest),
    /// Of text, bytes or a path.
    Text(TextTest),
    /// Of the type of a file: one of these.
    FileType(Vec<FileType>),
    /// The file is one of those that these paths lead to, or lies below one that is a folder. The paths are absolute,
    /// without `.`, `..`, empty components and a `/` at the end.
    SameFile(Vec<Vec<u8>>),
    /// An address is in one of these networks.
    Address(Side, Vec<Network>),
    /// A port is in one of these ranges.
    Port(Side, Vec<PortRange>),
    /// A port is below 1024.
    PrivilegedPort(Side),
    /// The protocol is one of these.
    Protocol(Vec<u16>),
    /// The address family is one of these.
    Family(Vec<u16>),
    /// The TCP state is one of these.
    State(Vec<u16>),
    /// The new set has a capability that the old lacks.
    CapabilitiesGained,
    /// An expression over captured integers.
    Cel(Condition),
    /// The type is known when the policy is loaded; then `typed` makes a test of these.
    Untyped(Vec<Spanned<String>>),
}

/// What must hold of an integer: one of the values must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntegerTest {
    /// Equal to one of these.
    Equal(Vec<i128>),
    /// Greater than one of these.
    Greater(Vec<i128>),
    /// Less than one of these.
    Less(Vec<i128>),
    /// Has a bit of one of these. Values are bits, without sign.
    Mask(Vec<u64>),
    /// In one of these ranges, or the number of a system call of one of these lists.
    InSet {
        /// Ranges; a single value is a range of one.
        ranges: Vec<IntegerRange>,
        /// Lists of system calls.
        lists: Vec<ListRef>,
    },
}

/// What must hold of text: one of the values must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextTest {
    /// Equal to one of these.
    Equal(Vec<Vec<u8>>),
    /// Begins with one of these.
    Prefix(Vec<Vec<u8>>),
    /// Ends with one of these.
    Postfix(Vec<Vec<u8>>),
    /// Contains one of these.
    Contains(Vec<Vec<u8>>),
    /// Contains one of these, whatever the case of ASCII letters; the values are in lower case.
    ContainsIgnoringCase(Vec<Vec<u8>>),
    /// Fits one of these patterns.
    Glob(Vec<Glob>),
}
