//! Policies in force: where they come from, how they come and go, and what is told of them.
//!
//! One thread owns them all (`worker`), because loading takes up to seconds: neither the reading of events nor any
//! call that only looks waits for it. Orders wait in a short queue; what is there is told from a copy ([`View`]).
//!
//! A policy is loaded whole or not at all. One that cannot be loaded stays in the list with its reason. A replacement
//! is attached before the old one is detached, and when it cannot be, the old one stays.

mod bits;
mod book;
mod files;
pub(crate) mod kernel;
pub mod loader;
mod store;
mod view;
mod worker;
mod workload_bits;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use saker_policy::plan::Choices;
use saker_policy::words::Mode as Asked;
use tokio::sync::oneshot;

pub use loader::{Loaded, Loader, Texts};
pub use view::{HookState, HookView, Mode, SelectorView, State, View};

use crate::enforcement::Enforcement;
use book::Book;
use files::Directory;
use worker::Worker;

/// Policies at once, those that could not be loaded included.
pub const MAX_POLICIES: usize = 256;
/// Orders that may wait for the thread.
const MAX_ORDERS: usize = 64;
/// Time that reading the counters may take.
const LOOK: Duration = Duration::from_millis(300);

/// Domain of policies from files.
pub const STATIC: &str = "static";
/// Domain of policies from calls that name none.
pub const GRPC: &str = "grpc";
/// Domain that nobody may use.
const RESERVED: &str = "sensors";
/// Domain of policies on trial, which only tell, make no requests and belong to the call that tries them.
pub const TRIAL: &str = "dry-run";

/// What tells one policy from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Who it belongs to: [`STATIC`], [`GRPC`], or what a caller names.
    pub domain: String,
    /// Its namespace; empty: none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{} (domain {})", self.name, self.domain)
    }
}

/// Where a policy came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file of an option, or one in the watched directory.
    File(PathBuf),
    /// A call.
    Call,
}

impl Origin {
    /// It is this file.
    fn is(&self, path: &Path) -> bool {
        matches!(self, Self::File(file) if file == path)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Call => f.write_str("gRPC"),
        }
    }
}

/// Why an order was not carried out. Nothing has changed then, but for a new policy that the kernel refused: that one
/// is kept with its reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is no policy.
    #[error("{0}")]
    Text(String),
    /// There is one of this name already.
    #[error("there is a policy {0} already; delete it first, or replace it")]
    Exists(Key),
    /// The disk does not take the change.
    #[error("nothing has changed, because it cannot be kept for the next start: {key}: {reason}")]
    NotKept {
        /// The policy.
        key: Key,
        /// What the system says.
        reason: String,
    },
    /// There is none of this name.
    #[error("there is no policy {key}{hint}")]
    Unknown {
        /// What was asked for.
        key: Key,
        /// Where it may be instead.
        hint: String,
    },
    /// It cannot be loaded on this machine.
    #[error("the policy {key} cannot be loaded: {reason}")]
    Refused {
        /// Which.
        key: Key,
        /// Everything that stands against it.
        reason: String,
    },
    /// It would go on acting.
    #[error("nothing has changed, because the policy {key} cannot be taken out of force: {reason}")]
    Stays {
        /// Which.
        key: Key,
        /// What the system says.
        reason: String,
    },
    /// It belongs to a file.
    #[error("the policy {key} comes from {}; change that file instead", path.display())]
    Owned {
        /// Which.
        key: Key,
        /// Its file.
        path: PathBuf,
    },
    /// The domain cannot be used.
    #[error("the domain `{0}` cannot be used: {1}")]
    Domain(String, &'static str),
    /// A mode that the policy cannot have, or that the kernel could not be told.
    #[error("the mode of {key} cannot be changed: {reason}")]
    Mode {
        /// Which.
        key: Key,
        /// Why.
        reason: String,
    },
    /// No room for more policies.
    #[error("there are {MAX_POLICIES} policies already, which is the most; delete some")]
    Full,
    /// Too many orders wait.
    #[error("{MAX_ORDERS} changes of policies wait already; try again later")]
    Busy,
    /// The thread is gone.
    #[error("the agent is stopping")]
    Stopped,
}

type Reply = oneshot::Sender<Result<Key, PolicyError>>;

/// What is asked of the thread that owns the policies.
enum Order {
    Add { text: String, domain: String, mode: Option<Asked>, reply: Reply },
    Replace { text: String, domain: String, mode: Option<Asked>, reply: Reply },
    Try { text: String, reply: Reply },
    Delete { key: Key, reply: Reply },
    Configure { key: Key, enable: Option<bool>, mode: Option<Asked>, reply: Reply },
    Look(oneshot::Sender<()>),
    Reload,
}

/// What the thread tells to those who only look.
#[derive(Default)]
struct Shared {
    views: Mutex<Vec<View>>,
    loading: Mutex<Option<View>>,
    /// What is wrong with the sources.
    problems: Mutex<Vec<String>>,
    /// What is in force although it was taken out of force.
    stays: Mutex<Option<String>>,
    /// Why the file of the option is not in force.
    unmet: Mutex<Option<String>>,
    started: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn set_views(&self, views: Vec<View>) {
        *self.views.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }

    fn set_loading(&self, view: Option<View>) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn is_unmet(&self) -> bool {
        self.unmet.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set_unmet(&self, reason: Option<String>) {
        *self.unmet.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn set_stays(&self, stays: Option<String>) {
        *self.stays.lock().unwrap_or_else(PoisonError::into_inner) = stays;
    }

    fn set_problems(&self, problems: Vec<String>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}

/// Where policies come from beside calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// A file that is read once, at the start, and must be loaded whole.
    pub file: Option<PathBuf>,
    /// A directory that is watched.
    pub directory: Option<PathBuf>,
    /// The directory was asked for, so that its absence is a problem.
    pub directory_wanted: bool,
    /// Policies of calls are kept here and come back.
    pub kept: Option<PathBuf>,
}

/// The policies, for those who give orders and those who look.
pub struct Policies {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    enforcement: Arc<Enforcement>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Policies {
    /// Starts the thread, which begins with the policies of the files; plans keep to these choices. Without a loader each policy is refused with
    /// the reason given.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(
        loader: Result<Box<dyn Loader>, String>,
        texts: Box<dyn Texts>,
        sources: Sources,
        choices: Choices,
    ) -> std::io::Result<Self> {
        let (orders, received) = mpsc::sync_channel(MAX_ORDERS);
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let rails = loader.as_ref().map(|loader| loader.rails()).map_err(Clone::clone);
        let enforcement = Arc::new(Enforcement::new(rails));
        let tended = Arc::clone(&enforcement);
        let thread = std::thread::Builder::new().name("saker-policies".into()).spawn(move || {
            let book = Book::new(loader, texts, Arc::clone(&for_thread), choices);
            let directory = sources.directory.map(|path| Directory::new(path, sources.directory_wanted));
            Worker::new(book, directory, received, for_thread, tended).run(sources.kept, sources.file);
        })?;
        Ok(Self { orders, shared, enforcement, thread: Mutex::new(Some(thread)) })
    }

    /// What holds for the actions of all policies.
    #[must_use]
    pub fn enforcement(&self) -> &Arc<Enforcement> {
        &self.enforcement
    }

    /// The policies of the files have been tried.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.shared.started.load(Ordering::Acquire)
    }

    /// Why the policies of the file that was asked for at the start are not all in force.
    #[must_use]
    pub fn unmet(&self) -> Option<String> {
        self.shared.unmet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The thread runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Detaches all. Returns whether that was done before the deadline.
    pub fn stop(&self, deadline: Instant) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread if it waits; with orders in the queue it does not.
        let _ = self.orders.try_send(Order::Look(oneshot::channel().0));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.is_finished() && thread.join().is_ok()
    }

    /// Everything there is, with counters that are at most some seconds old. Ordered by key.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let mut views = self.shared.views.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loading = self.shared.loading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(loading) = loading
            && !views.iter().any(|view| view.key == loading.key)
        {
            views.push(loading);
            views.sort_by(|left, right| left.key.cmp(&right.key));
        }
        views
    }

    /// What is wrong with the sources of policies, and what is in force without being one of them, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        problems.extend(self.shared.stays.lock().unwrap_or_else(PoisonError::into_inner).clone());
        problems
    }

    /// Has the counters read. Without an answer in time, because a policy is being loaded, older ones have to do.
    pub async fn refresh(&self) {
        let (done, looked) = oneshot::channel();
        if self.orders.try_send(Order::Look(done)).is_ok() {
            let _ = tokio::time::timeout(LOOK, looked).await;
        }
    }

    /// Has the file of the option and the directory read again. False: too many orders wait.
    pub fn reload(&self) -> bool {
        self.orders.try_send(Order::Reload).is_ok()
    }

    /// Loads a new policy, in this mode whatever its text says.
    ///
    /// # Errors
    /// Why it is not loaded.
    pub async fn add(&self, text: String, domain: String, mode: Option<Asked>) -> Result<Key, PolicyError> {
        self.order(|reply| Order::Add { text, domain, mode, reply }).await
    }

    /// Loads a policy in the place of the one of the same name, in this mode whatever its text and earlier calls say: the new
    /// one is attached before the old one is detached. What happens between may be told by both.
    ///
    /// # Errors
    /// Why the old one stays.
    pub async fn replace(
        &self,
        text: String,
        domain: String,
        mode: Option<Asked>,
    ) -> Result<Key, PolicyError> {
        self.order(|reply| Order::Replace { text, domain, mode, reply }).await
    }

    /// Loads a policy for a trial: in the domain [`TRIAL`], under a name that nobody else has, telling only and making no
    /// requests. Whoever asks for it has to delete it.
    ///
    /// # Errors
    /// Why it is not loaded; then nothing is left of it.
    pub async fn try_out(&self, text: String) -> Result<Key, PolicyError> {
        self.order(|reply| Order::Try { text, reply }).await
    }

    /// Detaches a policy and forgets it.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete(&self, key: Key) -> Result<Key, PolicyError> {
        self.order(|reply| Order::Delete { key, reply }).await
    }

    /// Attaches or detaches a policy.
    ///
    /// # Errors
    /// There is none, it cannot be attached, or its mode cannot be that.
    pub async fn configure(
        &self,
        key: Key,
        enable: Option<bool>,
        mode: Option<Asked>,
    ) -> Result<Key, PolicyError> {
        self.order(|reply| Order::Configure { key, enable, mode, reply }).await
    }

    async fn order(&self, make: impl FnOnce(Reply) -> Order) -> Result<Key, PolicyError> {
        let (reply, replied) = oneshot::channel();
        self.orders.try_send(make(reply)).map_err(|error| match error {
            TrySendError::Full(_) => PolicyError::Busy,
            TrySendError::Disconnected(_) => PolicyError::Stopped,
        })?;
        replied.await.unwrap_or(Err(PolicyError::Stopped))
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// The domain of a call: `grpc` if it names none.
///
/// # Errors
/// It cannot be used.
pub fn domain(named: &str) -> Result<String, PolicyError> {
    let wrong = |why| Err(PolicyError::Domain(named.chars().take(80).collect(), why));
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    match named {
        "" => Ok(GRPC.to_owned()),
        RESERVED => wrong("it is reserved"),
        _ if named.len() > 63 => wrong("it is longer than 63 bytes"),
        _ if !named.bytes().all(word) => wrong("only a-z, 0-9, `-`, `_` and `.` may stand in it"),
        _ => Ok(named.to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
