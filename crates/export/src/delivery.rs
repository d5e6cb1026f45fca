//! Events to a broker, at least once: through a spool on disk that survives restarts and outages.
//!
//! ```text
//! worker thread ──▶ SpoolSink ──▶ spool on disk ──▶ thread of its own: Courier ──▶ broker
//!                                      ◀── confirmed ── acknowledgements ◀──
//! ```
//!
//! A record is confirmed when the broker has acknowledged it. A full spool takes nothing more: then the queue before it
//! fills, which counts what it drops and tells it as gaps.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::{Loss, Losses, MAX_RECORD, Sink, Spool, SpoolConfig, SpoolError, TlsError, WriteError, backoff};

/// Time between two looks at the spool when nothing comes.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// Time that the end may take.
const END: Duration = Duration::from_secs(2);
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why an export to a broker cannot begin, or why a connection cannot.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
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

/// What the sink and the thread that empties its spool have in common.
pub(crate) struct Shared {
    spool: Mutex<Spool>,
    capacity: u64,
    filled: Notify,
    stop: AtomicBool,
    delivered: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    /// Failed attempts since something was last passed.
    failures: AtomicU32,
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
    pub(crate) fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_error(&self, text: String) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Whether the agent ends: what is in the spool now may still be sent.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until there may be something in the spool, or for a while.
    pub(crate) async fn filled(&self) {
        let _ = tokio::time::timeout(LOOK, self.filled.notified()).await;
    }

    /// The broker has all records before `next`, of which one with so many bytes is new.
    pub(crate) fn confirm(&self, next: u64, bytes: usize) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_delivered.store(now.as_secs(), Ordering::Relaxed);
        self.pass(next);
    }

    /// The record before `next` is longer than the broker takes.
    pub(crate) fn give_up_too_long(&self, next: u64) {
        self.too_long.fetch_add(1, Ordering::Relaxed);
        self.pass(next);
    }

    fn pass(&self, next: u64) {
        self.failures.store(0, Ordering::Relaxed);
        self.set_error(String::new());
        self.spool().confirm(next);
    }
}

/// Takes records from a spool to one kind of broker.
pub(crate) trait Courier: Send + 'static {
    /// The broker's kind, for messages and the name of the thread.
    const KIND: &'static str;

    /// Where it is, for messages.
    fn place(&self) -> String;

    /// Sends over one connection what the spool has, until the agent ends. What was read and is not confirmed is kept,
    /// and sent first the next time.
    ///
    /// # Errors
    /// The text of why the connection, or sending over it, failed.
    fn session(&mut self, shared: &Shared) -> impl Future<Output = Result<(), String>>;
}

/// Writes lines to the spool, which a thread empties into a broker.
pub struct SpoolSink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    losses: Losses,
}

impl SpoolSink {
    /// Opens the spool and begins to send what is in it. The broker need not be there.
    pub(crate) fn start<C: Courier>(config: SpoolConfig, mut courier: C) -> Result<Self, DeliveryError> {
        let capacity = config.max_bytes;
        let shared = Arc::new(Shared {
            spool: Mutex::new(Spool::open(config)?),
            capacity,
            filled: Notify::new(),
            stop: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            too_long: AtomicU64::new(0),
            last_delivered: AtomicU64::new(0),
            error: Mutex::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build().map_err(DeliveryError::Thread)?;
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("saker-{}", C::KIND.to_ascii_lowercase()))
            .spawn(move || {
                runtime.block_on(ship(&own, &mut courier));
                runtime.shutdown_background();
            })
            .map_err(DeliveryError::Thread)?;
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

/// A secret, without the end of its line.
pub(crate) fn secret(path: &Path) -> Result<String, DeliveryError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| DeliveryError::Secret { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// The result of some work, unless it takes too long.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, work).await.map_err(|_| "no answer in time".to_owned())
}

/// Sends what is in the spool until it is told to stop.
async fn ship<C: Courier>(shared: &Shared, courier: &mut C) {
    let mut logged: Option<Instant> = None;
    while let Err(error) = courier.session(shared).await {
        let failures = shared.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        shared.retries.fetch_add(1, Ordering::Relaxed);
        let what = format!("sending to {} failed; retrying: {error}", C::KIND);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            logged = Some(Instant::now());
            tracing::warn!(server = courier.place(), "{what}");
        }
        shared.set_error(what);
        let until = Instant::now() + backoff::pause(failures);
        while Instant::now() < until {
            if shared.is_stopping() {
                return;
            }
            tokio::time::sleep(until.saturating_duration_since(Instant::now()).min(LOOK)).await;
        }
    }
}
