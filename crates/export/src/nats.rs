//! Events to NATS JetStream, at least once: through a spool on disk that survives restarts and outages.
//!
//! ```text
//! worker thread ──▶ SpoolSink ──▶ spool on disk ──▶ thread of its own ──▶ JetStream
//!                                      ◀── confirmed ── acknowledgements ◀──
//! ```
//!
//! A record is confirmed when the stream has acknowledged it. Each message has a `Nats-Msg-Id` of its own, which stays
//! the same when it is sent again, so that the stream leaves out what it has already. A full spool takes nothing more:
//! then the queue before it fills, which counts what it drops and tells it as gaps.

use std::collections::VecDeque;
use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};
use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::{
    Loss, Losses, MAX_RECORD, Sink, Spool, SpoolConfig, SpoolError, TlsError, TlsFiles, WriteError, backoff,
};

/// Messages, and bytes of them, that wait for their acknowledgement.
const WINDOW: usize = 512;
const WINDOW_BYTES: usize = 1 << 20;
/// Time between two looks at the spool when nothing comes.
const LOOK: Duration = Duration::from_millis(250);
/// Time that the end may take.
const END: Duration = Duration::from_secs(2);
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Who we are to the server. Secrets are in files, read for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nobody.
    #[default]
    Anonymous,
    /// A token.
    Token(PathBuf),
    /// A name and a password.
    Password(String, PathBuf),
}

/// What an export to NATS needs to know.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// `HOST:PORT`.
    pub server: String,
    /// Over TLS.
    pub tls: Option<TlsFiles>,
    /// Who we are.
    pub login: NatsLogin,
    /// Subject of the messages, which a stream must be there for.
    pub subject: String,
    /// Where events wait.
    pub spool: SpoolConfig,
    /// Longest time for a connection, or for an acknowledgement.
    pub timeout: Duration,
}

/// Why an export to NATS cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// No secure connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A secret cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No place for the work.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// What became of the records of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// Records that the destination confirmed, and their bytes.
    pub delivered: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records that wait on disk.
    pub waiting: u64,
    /// Bytes of the files they are in.
    pub waiting_bytes: u64,
    /// Bound of these bytes.
    pub capacity: u64,
    /// Failed attempts.
    pub retries: u64,
    /// Records given up.
    pub losses: Losses,
    /// Why the last attempt failed; empty: it did not.
    pub error: String,
    /// When something was confirmed last, seconds since 1970; 0: never.
    pub last_delivered: u64,
}

/// A look at the delivery of a spool.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    spool: Mutex<Spool>,
    capacity: u64,
    filled: Notify,
    stop: AtomicBool,
    delivered: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    too_long: AtomicU64,
    last_delivered: AtomicU64,
    error: Mutex<String>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Delivery").field(&self.stats()).finish()
    }
}

impl Delivery {
    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> DeliveryStats {
        let shared = &self.0;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (damage, (waiting, waiting_bytes)) = {
            let spool = shared.spool();
            (spool.damage(), spool.waiting())
        };
        let mut losses = Losses::default();
        losses.add(Loss::SpoolDamaged, damage.records + damage.torn);
        losses.add(Loss::TooLong, load(&shared.too_long));
        DeliveryStats {
            delivered: load(&shared.delivered),
            bytes: load(&shared.bytes),
            waiting,
            waiting_bytes,
            capacity: shared.capacity,
            retries: load(&shared.retries),
            losses,
            error: shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            last_delivered: load(&shared.last_delivered),
        }
    }
}

impl Shared {
    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_error(&self, text: String) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// Writes lines to the spool, which a thread empties into JetStream.
pub struct SpoolSink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    losses: Losses,
}

impl SpoolSink {
    /// Opens the spool and begins to send what is in it. The server need not be there.
    ///
    /// # Errors
    /// The spool, certificates or secrets cannot be used.
    pub fn nats(config: NatsConfig) -> Result<Self, NatsError> {
        let _ = options(&config)?;
        let spool = Spool::open(config.spool.clone())?;
        let shared = Arc::new(Shared {
            spool: Mutex::new(spool),
            capacity: config.spool.max_bytes,
            filled: Notify::new(),
            stop: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            last_delivered: AtomicU64::new(0),
            error: Mutex::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build().map_err(NatsError::Thread)?;
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("saker-nats".into())
            .spawn(move || {
                runtime.block_on(ship(&own, &config));
                runtime.shutdown_background();
            })
            .map_err(NatsError::Thread)?;
        Ok(Self { shared, thread: Some(thread), losses: Losses::default() })
    }

    /// A look at what becomes of it.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.shared))
    }
}

impl Sink for SpoolSink {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        let retry = |source| WriteError::Retry { what: "writing to the spool".into(), source };
        let mut spool = self.shared.spool();
        while !lines.is_empty() {
            let short = |line: &&[u8]| line.len() <= MAX_RECORD;
            let records =
                lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).take_while(short);
            let taken = spool.append(records).map_err(retry)?;
            let length: usize =
                lines.split_inclusive(|&byte| byte == b'\n').take(taken).map(<[u8]>::len).sum();
            lines.drain(..length);
            self.shared.filled.notify_one();
            let first = lines.split_inclusive(|&byte| byte == b'\n').next().map_or(0, <[u8]>::len);
            if first > MAX_RECORD {
                self.losses.add(Loss::TooLong, 1);
                lines.drain(..first);
            } else if first > 0 {
                return Err(retry(io::Error::new(io::ErrorKind::StorageFull, "the spool is full")));
            }
        }
        spool.tend().map_err(retry)
    }

    fn idle(&mut self) {
        if let Err(error) = self.shared.spool().tend() {
            self.shared.set_error(format!("the spool cannot be written: {error}"));
        }
    }

    fn losses(&self) -> Losses {
        self.losses
    }

    fn close(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.filled.notify_one();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + END;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut spool = self.shared.spool();
        let left = spool.waiting().0;
        if let Err(error) = spool.close() {
            tracing::error!(%error, "a spool could not be written at the end");
        }
        if left > 0 {
            tracing::info!(left, "events stay in a spool until the next start");
        }
    }
}

fn secret(path: &Path) -> Result<String, NatsError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| NatsError::Secret { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn options(config: &NatsConfig) -> Result<ConnectOptions, NatsError> {
    let mut options =
        ConnectOptions::new().name("saker").connection_timeout(config.timeout).max_reconnects(1);
    if let Some(files) = &config.tls {
        options = options.tls_client_config((*files.client(&[])?).clone()).require_tls(true);
    }
    Ok(match &config.login {
        NatsLogin::Anonymous => options,
        NatsLogin::Token(path) => options.token(secret(path)?),
        NatsLogin::Password(user, path) => options.user_and_password(user.clone(), secret(path)?),
    })
}

/// Sends what is in the spool until it is told to stop.
async fn ship(shared: &Shared, config: &NatsConfig) {
    let mut window = VecDeque::new();
    let mut failures = 0;
    let mut logged: Option<Instant> = None;
    while let Err(error) = session(shared, config, &mut window, &mut failures).await {
        failures = u32::saturating_add(failures, 1);
        shared.retries.fetch_add(1, Ordering::Relaxed);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            logged = Some(Instant::now());
            tracing::warn!(server = config.server, "sending to NATS failed; retrying: {error}");
        }
        shared.set_error(format!("sending to NATS failed; retrying: {error}"));
        let until = Instant::now() + backoff::pause(failures);
        while Instant::now() < until {
            if shared.stop.load(Ordering::Acquire) {
                return;
            }
            tokio::time::sleep(until.saturating_duration_since(Instant::now()).min(LOOK)).await;
        }
    }
}

/// An acknowledgement that is waited for; `None`: none will come, the message was given up.
type Waiting = (u64, Option<PublishAckFuture>);

/// Sends over one connection. `window`: what was read from the spool and is not confirmed.
async fn session(
    shared: &Shared,
    config: &NatsConfig,
    window: &mut VecDeque<(u64, Bytes)>,
    failures: &mut u32,
) -> Result<(), String> {
    let told = |error: &dyn fmt::Display| error.to_string();
    let options = options(config).map_err(|error| told(&error))?;
    let scheme = if config.tls.is_some() { "tls" } else { "nats" };
    let connect = options.connect(format!("{scheme}://{}", config.server));
    let client = within(config.timeout, connect).await?.map_err(|error| told(&error))?;
    let mut context = jetstream::new(client);
    context.set_timeout(config.timeout);
    let id = shared.spool().id();
    let mut acks: VecDeque<Waiting> = VecDeque::new();
    for (number, payload) in window.iter() {
        acks.push_back(publish(&context, config, shared, id, *number, payload).await?);
    }
    loop {
        while acks.len() < WINDOW {
            let records = shared.spool().read(WINDOW - acks.len(), WINDOW_BYTES);
            let records = records.map_err(|error| format!("the spool cannot be read: {error}"))?;
            if records.is_empty() {
                break;
            }
            // All of them first: none may be missing if one fails.
            let begin = window.len();
            window.extend(records);
            for (number, payload) in window.range(begin..) {
                acks.push_back(publish(&context, config, shared, id, *number, payload).await?);
            }
        }
        let Some((number, ack)) = acks.pop_front() else {
            if shared.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let _ = tokio::time::timeout(LOOK, shared.filled.notified()).await;
            continue;
        };
        let is_delivered = ack.is_some();
        if let Some(ack) = ack {
            within(config.timeout, ack.into_future()).await?.map_err(|error| told(&error))?;
        }
        if let Some((_, payload)) = window.pop_front()
            && is_delivered
        {
            shared.delivered.fetch_add(1, Ordering::Relaxed);
            shared.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            shared.last_delivered.store(now.as_secs(), Ordering::Relaxed);
        }
        *failures = 0;
        shared.set_error(String::new());
        shared.spool().confirm(number + 1);
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, work).await.map_err(|_| "no answer in time".to_owned())
}

async fn publish(
    context: &Context,
    config: &NatsConfig,
    shared: &Shared,
    id: u64,
    number: u64,
    payload: &Bytes,
) -> Result<Waiting, String> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{id:016x}-{number}"));
    let sent = context.publish_with_headers(config.subject.clone(), headers, payload.clone());
    match within(config.timeout, sent).await? {
        Ok(ack) => Ok((number, Some(ack))),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
            shared.too_long.fetch_add(1, Ordering::Relaxed);
            Ok((number, None))
        }
        Err(error) => Err(error.to_string()),
    }
}
