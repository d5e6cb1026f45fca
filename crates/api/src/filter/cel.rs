//! Filters as expressions: the Common Expression Language over the fields of an event.
//!
//! Variables are called as the kinds of events (`process_exec`, `process_kprobe` …) and have the fields of their
//! messages. Everything is checked when the filter is compiled: names, fields, types, and that the result is true or
//! false. At an event an expression is evaluated only if it mentions the event's kind; a failure (a number that does
//! not fit, an index beyond a list) means that it does not match.
//!
//! Evaluation is bounded by [`MAX_STEPS`], so that no expression can hold up a stream, whatever it does to lists.
//!
//! Not there: times of day and the like of timestamps, types as values, and expressions for `matches` that are computed.

mod check;
mod eval;
mod functions;
mod lex;
mod net;
mod parse;
mod value;

use std::sync::atomic::{AtomicU64, Ordering};

use regex::Regex;

use crate::tetragon::EventType;
use crate::view::EventView;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// Deepest nesting of parts.
const MAX_DEPTH: usize = 64;
/// Steps that the evaluation of one expression at one event may take: parts looked at, and bytes handled in 64ths.
pub(super) const MAX_STEPS: u32 = 50_000;

/// What is wrong with an expression, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) at: usize,
    pub(super) reason: String,
}

impl Mistake {
    fn new(at: usize, reason: impl Into<String>) -> Self {
        Self { at, reason: reason.into() }
    }
}

/// An expression that was checked.
#[derive(Debug)]
pub(super) struct Expression {
    root: Node,
    /// The kinds of events that it mentions.
    kinds: Vec<EventType>,
    text: String,
    failures: AtomicU64,
}

/// A part of an expression.
#[derive(Debug)]
struct Node {
    /// Byte of the text at which it begins.
    at: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Literal(Literal),
    /// A variable: of a macro, or an event.
    Name(String),
    Select(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    /// A function, or with a target a method.
    Call(String, Option<Box<Node>>, Vec<Node>),
    Matches(Box<Node>, Regex),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Conditional(Box<[Node; 3]>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Macro(Box<Macro>),
}

/// `range.word(variable, [condition,] body)`
#[derive(Debug)]
struct Macro {
    word: Word,
    range: Node,
    variable: String,
    condition: Option<Node>,
    body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Expression {
    pub(super) fn compile(text: &str) -> Result<Self, Mistake> {
        if text.len() > MAX_BYTES {
            return Err(Mistake::new(MAX_BYTES, format!("an expression may have {MAX_BYTES} bytes at most")));
        }
        let mut root = parse::parse(text)?;
        let kinds = check::check(&mut root)?;
        Ok(Self { root, kinds, text: text.to_owned(), failures: AtomicU64::new(0) })
    }

    /// Whether it is true of an event.
    pub(super) fn matches(&self, event: &EventView<'_>) -> bool {
        if !self.kinds.contains(&event.event_type) {
            return false;
        }
        match eval::evaluate(&self.root, event.dynamic()) {
            Ok(matches) => matches,
            Err(failure) => {
                // Of many only some are told: at every power of two.
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if failures.is_power_of_two() {
                    tracing::warn!(
                        expression = self.text,
                        failures,
                        "a filter cannot be evaluated: {failure}"
                    );
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
