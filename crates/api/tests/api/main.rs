//! Promises of the interfaces, as seen from outside the crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a test's report")]

mod arbitrary;
mod conformance;
mod filter;
mod forms;
mod golden;
mod masks;
mod samples;
mod verdicts;
mod wire;
