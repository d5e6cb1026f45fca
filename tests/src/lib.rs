//! Runs the real agent on the running kernel and compares what it tells with what workloads did.
//!
//! A workload ([`workload`]) is a small C program that does one thing to processes and prints facts: PIDs,
//! inodes, statuses. The harness starts an agent in a private directory ([`agent`]), reads the JSON file it
//! writes ([`stream`]) and keeps only the events of processes that descend from the test itself: the agent
//! sees the whole machine, the tests do not. A [`case`] compares both. Everything a test binary needs is
//! inside it, but for the agent, so that it also runs in a virtual machine without a toolchain.

pub mod agent;
pub mod case;
pub mod cases;
pub mod event;
pub mod idle;
pub mod kafka;
pub mod nats;
pub mod observe;
pub mod peer;
pub mod receiver;
pub mod runtime;
pub mod scratch;
pub mod status;
pub mod stream;
pub mod suite;
pub mod wait;
pub mod workload;
