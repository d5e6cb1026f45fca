//! Where events go: bounded queues, and the sinks that empty them.
//!
//! ```text
//! engine thread ──▶ Queue ("file") ──▶ Worker thread: filter, limit, encode ──▶ FileSink
//!               ──▶ Queue ("stdout") ─▶ Worker thread ───────────────────────▶ StdoutSink
//!               ──▶ Queue ("grpc") ───▶ a client's task (in the agent)
//! ```
//!
//! Nothing here may slow the engine: a full [`Queue`] refuses what is newest, counts it, and tells the sink of
//! it by a gap event as soon as there is room again. A sink that cannot write keeps its lines and retries, so
//! that its queue fills and does the counting: events in = written + filtered + dropped + still queued.

mod backups;
mod batch;
mod file;
mod limit;
mod queue;
mod sink;
mod stdout;
mod worker;

pub use batch::{Batch, Form};
pub use file::{FileConfig, FileSink};
pub use limit::RateLimit;
pub use queue::{Limits, Popped, Queue, QueueStats, Taken};
pub use sink::{Control, OpenError, Rotation, Sink, WriteError};
pub use stdout::StdoutSink;
pub use worker::{Encoder, Predicate, Worker, WorkerConfig, WorkerStats};
