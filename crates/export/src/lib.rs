//! Where events go: bounded queues, and the sinks that empty them.
//!
//! ```text
//! engine thread ──▶ Queue ("file") ──▶ Worker thread: passage, encoder ──▶ FileSink
//!               ──▶ Queue ("stdout") ─▶ Worker thread ───────────────────────▶ StdoutSink
//!               ──▶ Queue (an export) ▶ Worker thread ───────▶ SyslogSink, WebhookSink, OtlpSink
//!               ──▶ Queue (an export) ▶ Worker thread ───────▶ SpoolSink ──▶ Spool ──▶ thread ──▶ JetStream, Kafka
//!               ──▶ Queue ("grpc") ───▶ a client's task (in the agent)
//! ```
//!
//! Nothing here may slow the engine: a full [`Queue`] refuses what is newest, counts it, and tells the sink of
//! it by a gap event as soon as there is room again. A sink that cannot write keeps its lines and retries, so
//! that its queue fills and does the counting: events in = written + filtered + limited + folded +
//! waiting + dropped + still queued. What a destination refuses for good is dropped by its cause ([`Loss`]).

mod backoff;
mod backups;
mod batch;
mod delivery;
mod file;
mod http;
mod kafka;
mod nats;
mod otlp;
mod queue;
mod sink;
mod spool;
mod stdout;
mod syslog;
mod tls;
mod webhook;
mod worker;

pub use batch::{Batch, Spares};
pub use delivery::{Delivery, DeliveryError, DeliveryStats, SpoolSink};
pub use file::{FileConfig, FileSink};
pub use http::{HttpError, HttpTarget, Secret};
pub use kafka::{Compression, KafkaConfig, KafkaKey, KafkaLogin, Mechanism};
pub use nats::{NatsConfig, NatsLogin, NatsStream};
pub use otlp::{OtlpSink, Protocol, Resource, count_records, otlp_encoder};
pub use queue::{Limits, Popped, Queue, QueueStats, Taken};
pub use saker_api::passage::Form;
pub use sink::{Control, Loss, Losses, OpenError, Rotation, Sink, WriteError};
pub use spool::{Damage, MAX_RECORD, RecordReader, SPOOL_MIN, Spool, SpoolConfig, SpoolError, Step, Sync};
pub use stdout::StdoutSink;
pub use syslog::{
    FACILITIES, Framing, MessageConfig, SEVERITIES, SyslogConfig, SyslogSink, Transport, syslog_encoder,
};
pub use tls::{TlsError, TlsFiles};
pub use webhook::{Body, WebhookSink};
pub use worker::{Batching, Encoder, Worker, WorkerConfig, WorkerStats};
