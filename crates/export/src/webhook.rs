//! Batches of events to an HTTP server, by POST.
//!
//! An answer of 2xx takes a batch. 408, 425, 429, 5xx and no answer at all leave it to be sent again, with the same
//! `Idempotency-Key`; after 413 it is sent in smaller parts. Any other answer refuses it: it is dropped and counted.
//! Redirections are not followed.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backoff;
use crate::http::{Answer, HttpClient};
use crate::{HttpError, HttpTarget, Loss, Losses, Sink, WriteError};

const LOG_EVERY: Duration = Duration::from_secs(60);

/// What bodies look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// A JSON array of events.
    #[default]
    Array,
    /// An event a line.
    Lines,
}

/// Posts lines, each a JSON object, in batches.
pub struct WebhookSink {
    client: HttpClient,
    body: Body,
    /// Events of one request; less than asked for after the server found a batch too large.
    most: usize,
    asked: usize,
    losses: Losses,
    /// Names this run of the agent, and the batch.
    key: (u64, u64),
    retry_after: Option<Duration>,
    logged: Option<Instant>,
}

impl WebhookSink {
    /// A sink of so many events a request, which connects when there is something to send.
    ///
    /// # Errors
    /// Headers, secrets or certificates that cannot be used.
    pub fn new(target: HttpTarget, body: Body, events: usize) -> Result<Self, HttpError> {
        use std::hash::{BuildHasher, RandomState};
        let client = HttpClient::new(target)?;
        let events = events.max(1);
        Ok(Self {
            client,
            body,
            most: events,
            asked: events,
            losses: Losses::default(),
            key: (RandomState::new().hash_one(std::process::id()), 0),
            retry_after: None,
            logged: None,
        })
    }

    /// The body of the first lines, how many these are, and their bytes.
    fn batch(&self, lines: &[u8]) -> (Bytes, usize, usize) {
        let (mut events, mut length) = (0, 0);
        let mut body = Vec::with_capacity(lines.len() + 2);
        for line in lines.split_inclusive(|&byte| byte == b'\n').take(self.most) {
            if self.body == Body::Array {
                body.push(if events == 0 { b'[' } else { b',' });
                body.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            } else {
                body.extend_from_slice(line);
            }
            events += 1;
            length += line.len();
        }
        if self.body == Body::Array {
            body.push(b']');
        }
        (body.into(), events, length)
    }

    fn refuse(&mut self, loss: Loss, events: usize, answer: &Answer) {
        self.losses.add(loss, events as u64);
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(status = answer.status, events, "a webhook refuses events, which are dropped");
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Whether the same request may succeed later.
pub(crate) fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

impl Sink for WebhookSink {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        while !lines.is_empty() {
            let (body, events, length) = self.batch(lines);
            let content_type = match self.body {
                Body::Array => "application/json",
                Body::Lines => "application/x-ndjson",
            };
            // Another body is another request, also if it begins with the same events.
            let (run, batch) = self.key;
            let key = format!("{run:016x}-{batch}-{:08x}", crc32(&body));
            let retry = |source| WriteError::Retry { what: "sending to the webhook".into(), source };
            let answer =
                self.client.post(content_type, &[("idempotency-key", &key)], &body).map_err(retry)?;
            self.retry_after = answer.retry_after;
            match answer.status {
                200..=299 => self.most = self.asked.min(self.most.saturating_mul(2)),
                status if is_temporary(status) => {
                    return Err(retry(std::io::Error::other(format!("the server answers {status}"))));
                }
                413 if events > 1 => {
                    self.most = events / 2;
                    self.key.1 += 1;
                    continue;
                }
                413 => self.refuse(Loss::TooLong, events, &answer),
                _ => self.refuse(Loss::Refused, events, &answer),
            }
            self.key.1 += 1;
            lines.drain(..length);
        }
        Ok(())
    }

    fn losses(&self) -> Losses {
        self.losses
    }

    fn pause(&self, failures: u32) -> Duration {
        backoff::pause(failures).max(self.retry_after.unwrap_or_default())
    }

    fn close(&mut self) {
        self.client.close();
    }
}

#[cfg(test)]
mod tests;
