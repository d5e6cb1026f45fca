//! Where events go: bounded queues, and the sinks that empty them.
//!
//! ```text
//! engine thread ──▶ Queue ("file") ──▶ Worker thread: passage, encoder ──▶ FileSink
//!               ──▶ Queue ("stdout") ─▶ Worker thread ───────────────────────▶ StdoutSink
//!               ──▶ Queue ("grpc") ───▶ a client's task (in the agent)
//! ```
//!
//! Nothing here may slow the engine: a full [`Queue`] refuses what is newest, counts it, and tells the sink of
//! it by a gap event as soon as there is room again. A sink that cannot write keeps its lines and retries, so
//! that its queue fills and does the counting: events in = written + filtered + limited + folded +
//! waiting + dropped + still queued.

mod backups;
mod batch;
mod file;
mod queue;
mod sink;
mod stdout;
mod worker;

pub use batch::Batch;
pub use file::{FileConfig, FileSink};
pub use queue::{Limits, Popped, Queue, QueueStats, Taken};
pub use saker_api::passage::Form;
pub use sink::{Control, OpenError, Sink, WriteError};
pub use stdout::StdoutSink;
pub use worker::{Encoder, Worker, WorkerConfig, WorkerStats};
