//! Records to events: the process table, ancestry, and what is missing.
//!
//! The engine is a pure state machine. Bytes of records, snapshots of all tasks and samples of the kernel's
//! counters go in; [`saker_api::event::Event`]s come out. It does no I/O and knows no clock, so a recorded
//! input gives the same events again ([`replay()`]).
//!
//! ```text
//!             record ──▶ decode ──▶ sequence ──▶ exec ┐
//!   snapshot ─────────────────────────────────▶ fork ├─▶ table ──▶ events
//!     sample ──────────────▶ gaps                exit │
//!   policies ─────────────────────────────────▶ hook ┘
//! ```

mod arguments;
mod calls;
pub mod capture;
mod chunks;
mod config;
mod container;
mod contents;
mod counters;
mod engine;
mod exec;
mod exec_id;
mod exit;
mod findings;
mod fork;
mod hash;
pub mod hook;
mod intern;
mod lineage;
mod marks;
mod parts;
mod policies;
mod privileges;
mod process;
mod replay;
mod seen;
mod sequence;
mod snapshot;
mod spares;
mod table;
mod values;
pub mod workload;

pub use calls::Unjoined;
pub use capture::{CaptureError, CaptureHeader, Input};
pub use config::{Ancestors, EngineConfig, Environment, PodNames, SequenceBase, UserNames};
pub use container::container_id;
pub use counters::{
    CallCounters, ChunkCounters, Counters, Events, KINDS, Losses, Outcome, TableCounters, Undecodable,
    kind_name,
};
pub use engine::Engine;
pub use findings::{Findings, Symbol, addresses};
pub use lineage::Remembered;
pub use replay::{Replayed, replay};
pub use snapshot::{SnapshotKind, SnapshotTask};
