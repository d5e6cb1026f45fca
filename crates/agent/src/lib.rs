//! The agent: configuration, wiring, lifecycle, servers and metrics.
//!
//! ```text
//! ring buffer ─▶ reader thread ─▶ batches ─▶ engine thread ─▶ queues ─▶ file, standard output, gRPC clients
//!                     ▲ bounded: the reader waits     ▲ bounded: newest refused, counted, told as a gap
//! ```

pub mod config;
mod earlier;
pub mod enforcement;
mod fanout;
pub mod flags;
pub mod host;
pub mod kernel;
pub mod logging;
pub mod metrics;
mod notify;
mod pipeline;
mod pods;
pub mod policies;
pub mod protection;
pub mod recording;
mod reload;
pub mod requests;
mod resources;
pub mod rights;
mod run;
pub mod rundir;
mod server;
mod signals;
mod sinks;
pub mod source;
mod state;
#[cfg(test)]
mod testing;
pub mod vitals;
mod workloads;

pub use run::{Source, run};
pub use workloads::Workloads;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit it was built from; empty: not known.
pub const COMMIT: &str = env!("SAKER_COMMIT");
/// Time of that commit.
pub const COMMIT_TIME: &str = env!("SAKER_COMMIT_TIME");
/// `true`: tracked files differed from that commit.
pub const MODIFIED: &str = env!("SAKER_MODIFIED");
/// Compiler it was built with.
pub const COMPILER: &str = env!("SAKER_COMPILER");
