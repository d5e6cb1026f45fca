//! The policy language, without a kernel: text to checked policies, explanations, tests and the JSON schema.
//!
//! `check` parses and checks; every mistake is a `Diagnostic` with line, column, path and hint. The result is a
//! `model::Policy`, in which everything is resolved. `matcher` says what a policy makes of a described event: it is
//! what the kernel programs made from the same policy are compared with. `language` defines every field once; parser,
//! schema and reference page are made from it.
//!
//! Pure: no files, no network, no kernel.

mod check;
mod diagnostic;
mod explain;
pub mod language;
pub mod matcher;
pub mod model;
pub mod names;
pub mod plan;
pub mod programs;
pub mod registers;
mod scenario;
mod schema;
mod shape;
#[cfg(test)]
mod testing;
pub mod tracepoint;
pub mod tree;
mod types;
pub mod usdt;
pub mod values;
pub mod words;
mod yaml;

pub use check::{Checked, check, typed};
pub use diagnostic::{Diagnostic, MAX_DIAGNOSTICS, Problem, Severity, Span, Spanned, render, to_json};
pub use explain::{Explanation, HookExplanation, SelectorExplanation, explain};
pub use scenario::{CaseResult, Failure, PolicySource, TestDocument, parse_tests};
pub use schema::{reference, schema, test_schema};
pub use yaml::{MAX_ALIASED, MAX_BYTES, MAX_DEPTH, MAX_NODES};
