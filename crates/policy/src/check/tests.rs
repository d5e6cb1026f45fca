//! Tests of the checker: what is accepted and how, what is refused and why.

mod accepted;
mod operators;
mod refused;
mod snapshots;
