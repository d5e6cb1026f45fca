//! The engine from outside: records in, events out.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a stack trace is the best report of a failed test")]

mod details;
mod golden;
mod hooks;
mod host;
mod lifecycle;
mod loss;
mod model;
mod snapshots;
mod stacks;
