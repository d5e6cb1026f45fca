//! What policies have the agent ask of the network: pages to fetch (`GetUrl`) and names to look up (`DnsLookup`).
//!
//! Who set the trap learns of it by the request alone: nobody waits for the answer, and nothing is read out of it. A
//! request waits in a bounded queue, a few are under way at once, each for a limited time; what finds no room is left
//! out and counted, so that the engine never waits.

mod dns;
mod http;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use saker_api::event::{Event, EventKind, Request};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// How requests are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests that may wait.
    pub queue: usize,
    /// How long one may take.
    pub timeout: Duration,
    /// Server that looks names up; `None`: those of `/etc/resolv.conf`.
    pub name_server: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue: 256, timeout: Duration::from_secs(10), name_server: None }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered, whatever it said.
    Answered,
    /// Too many waited.
    QueueFull,
    /// The host has no address, or no server for names is known.
    NoAddress,
    /// The server could not be reached.
    Unreachable,
    /// No secure connection was agreed upon.
    Tls,
    /// What came is no answer.
    Malformed,
    /// It took too long.
    Timeout,
}

impl Outcome {
    /// Number of outcomes.
    const COUNT: usize = 7;
    /// All outcomes.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Answered,
        Self::QueueFull,
        Self::NoAddress,
        Self::Unreachable,
        Self::Tls,
        Self::Malformed,
        Self::Timeout,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::QueueFull => "queue_full",
            Self::NoAddress => "no_address",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
        }
    }
}

/// Names of the kinds of requests in metrics, in the order of the counters.
pub const KINDS: [&str; 2] = ["url", "name"];

fn kind_of(request: &Request) -> usize {
    match request {
        Request::Url(_) => 0,
        Request::Name(_) => 1,
    }
}

/// What became of requests so far.
#[derive(Debug, Default)]
pub struct Outcomes {
    counts: [[AtomicU64; Outcome::COUNT]; KINDS.len()],
    /// Waiting and under way.
    open: AtomicU64,
}

impl Outcomes {
    /// Requests of a kind (see [`KINDS`]) that ended so.
    #[must_use]
    pub fn count(&self, kind: usize, outcome: Outcome) -> u64 {
        self.counts.get(kind).map_or(0, |counts| counts[outcome as usize].load(Ordering::Relaxed))
    }

    /// Requests that wait or are under way.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    fn note(&self, request: &Request, outcome: Outcome) {
        self.counts[kind_of(request)][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Where requests are handed over.
#[derive(Clone, Debug)]
pub struct Requester {
    queue: Sender<Request>,
    outcomes: Arc<Outcomes>,
    capacity: usize,
}

impl Requester {
    /// Begins to make requests on the threads of a runtime, until all copies of this are gone.
    #[must_use]
    pub fn start(settings: Settings, runtime: &Handle) -> Self {
        let capacity = settings.queue.max(1);
        let (queue, requests) = mpsc::channel(capacity);
        let outcomes = Arc::new(Outcomes::default());
        let making = Making {
            lookups: http::Lookups::default(),
            tls: http::Tls::default(),
            outcomes: Arc::clone(&outcomes),
            settings,
        };
        runtime.spawn(Arc::new(making).run(requests));
        Self { queue, outcomes, capacity }
    }

    /// Makes what the policies of these events ask for. Never waits.
    pub fn of_events(&self, events: &[Arc<Event>]) {
        for event in events {
            if let EventKind::Hook(hook) = &event.kind {
                hook.more.requests.iter().for_each(|request| self.ask(request));
            }
        }
    }

    fn ask(&self, request: &Request) {
        // Before it can have ended.
        self.outcomes.open.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(request.clone()).is_err() {
            self.outcomes.open.fetch_sub(1, Ordering::Relaxed);
            self.outcomes.note(request, Outcome::QueueFull);
        }
    }

    /// What became of requests.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Requests that may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// What requests share.
struct Making {
    settings: Settings,
    lookups: http::Lookups,
    tls: http::Tls,
    outcomes: Arc<Outcomes>,
}

impl Making {
    async fn run(self: Arc<Self>, mut requests: Receiver<Request>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(request) = requests.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            tokio::spawn(Arc::clone(&self).make(request, place));
        }
    }

    async fn make(self: Arc<Self>, request: Request, place: OwnedSemaphorePermit) {
        let made = tokio::time::timeout(self.settings.timeout, self.outcome(&request)).await;
        let outcome = made.unwrap_or(Outcome::Timeout);
        if outcome != Outcome::Answered {
            tracing::debug!(?request, outcome = outcome.name(), "a request of a policy was not answered");
        }
        self.outcomes.note(&request, outcome);
        self.outcomes.open.fetch_sub(1, Ordering::Relaxed);
        drop(place);
    }

    async fn outcome(&self, request: &Request) -> Outcome {
        match request {
            Request::Url(url) => http::get(url, &self.lookups, &self.tls).await,
            Request::Name(name) => dns::look_up(name, self.settings.name_server, self.settings.timeout).await,
        }
    }
}

#[cfg(test)]
mod tests;
