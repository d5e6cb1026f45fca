//! Events to an OpenTelemetry collector, as log records over OTLP: gRPC, or HTTP with protobuf.
//!
//! What the collector takes only in part is counted as refused by the number that it tells. What may go better later
//! is sent again, as the specification of OTLP says; the rest is refused and counted.

mod grpc;
mod message;
mod record;

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use grpc::GrpcClient;
use message::ExportResponse;
pub use record::{Resource, count_records, otlp_encoder};

use crate::backoff;
use crate::http::HttpClient;
use crate::{HttpError, HttpTarget, Loss, Losses, Sink, WriteError};

const LOG_EVERY: Duration = Duration::from_secs(60);

/// By which of its ways a collector is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// HTTP with protobuf.
    Http,
}

/// Sends log records, as [`otlp_encoder`] writes them.
pub struct OtlpSink {
    client: Client,
    /// What stands before the records of a request.
    resource: Vec<u8>,
    scope: Vec<u8>,
    losses: Losses,
    retry_after: Option<Duration>,
    logged: Option<Instant>,
}

enum Client {
    Grpc(Box<GrpcClient>),
    Http(Box<HttpClient>),
}

/// How an attempt ended that reached the collector.
enum Outcome {
    /// It took the records but for so many, for this reason.
    Taken(u64, String),
    /// It wants none of them.
    Refused(String),
    /// It may take them later.
    Later(String, Option<Duration>),
}

impl OtlpSink {
    /// A sink that connects when there is something to send.
    ///
    /// # Errors
    /// Headers, secrets or certificates that cannot be used.
    pub fn new(target: HttpTarget, protocol: Protocol, resource: &Resource) -> Result<Self, HttpError> {
        let client = match protocol {
            Protocol::Grpc => Client::Grpc(Box::new(GrpcClient::new(target)?)),
            Protocol::Http => Client::Http(Box::new(HttpClient::new(target)?)),
        };
        let (resource, scope) = resource.encoded();
        Ok(Self { client, resource, scope, losses: Losses::default(), retry_after: None, logged: None })
    }

    /// A request with these records.
    fn request(&self, records: &[u8]) -> Bytes {
        let in_scope = self.scope.len() + records.len();
        let mut resource_logs = Vec::with_capacity(self.resource.len() + in_scope + 32);
        resource_logs.extend_from_slice(&self.resource);
        record::field(2, in_scope, &mut resource_logs);
        resource_logs.extend_from_slice(&self.scope);
        resource_logs.extend_from_slice(records);
        let mut request = Vec::with_capacity(resource_logs.len() + 16);
        record::field(1, resource_logs.len(), &mut request);
        request.extend_from_slice(&resource_logs);
        request.into()
    }

    fn send(&mut self, body: &Bytes) -> io::Result<Outcome> {
        match &mut self.client {
            Client::Grpc(client) => client.export(body).map(|answer| match answer {
                Ok(response) => taken(response),
                Err(status) if grpc::is_temporary(status.code()) => {
                    Outcome::Later(format!("{}: {}", status.code(), status.message()), None)
                }
                Err(status) => Outcome::Refused(format!("{}: {}", status.code(), status.message())),
            }),
            Client::Http(client) => {
                let answer = client.post("application/x-protobuf", &[], body)?;
                let status = format!("the collector answers {}", answer.status);
                Ok(match answer.status {
                    200..=299 => taken(ExportResponse::decode(answer.body).unwrap_or_default()),
                    429 | 502..=504 => Outcome::Later(status, answer.retry_after),
                    _ => Outcome::Refused(status),
                })
            }
        }
    }

    fn lose(&mut self, events: u64, why: &str) {
        self.losses.add(Loss::Refused, events);
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(events, why, "a collector refuses events, which are dropped");
        }
    }
}

fn taken(response: ExportResponse) -> Outcome {
    let partial = response.partial_success.unwrap_or_default();
    Outcome::Taken(u64::try_from(partial.rejected_log_records).unwrap_or(0), partial.error_message)
}

impl Sink for OtlpSink {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        if lines.is_empty() {
            return Ok(());
        }
        let retry = |source| WriteError::Retry { what: "sending to the collector".into(), source };
        let body = self.request(lines);
        self.retry_after = None;
        let events = count_records(lines);
        match self.send(&body).map_err(retry)? {
            Outcome::Taken(0, _) => {}
            Outcome::Taken(refused, why) => self.lose(refused.min(events), &why),
            Outcome::Refused(why) => self.lose(events, &why),
            Outcome::Later(why, after) => {
                self.retry_after = after;
                return Err(retry(io::Error::other(why)));
            }
        }
        lines.clear();
        Ok(())
    }

    fn count(&self, lines: &[u8]) -> u64 {
        count_records(lines)
    }

    fn losses(&self) -> Losses {
        self.losses
    }

    fn pause(&self, failures: u32) -> Duration {
        backoff::pause(failures).max(self.retry_after.unwrap_or_default())
    }

    fn close(&mut self) {
        match &mut self.client {
            Client::Grpc(client) => client.close(),
            Client::Http(client) => client.close(),
        }
    }
}

#[cfg(test)]
mod tests;
