//! The gRPC services: the compatible ones and ours.
//!
//! The engine offers events to one queue per client and never waits. Filters run and bytes are made when the
//! client's stream is polled, which happens only while the client takes what it gets; a slow client fills its
//! own queue, misses events, and is told so by a gap.

mod authority;
mod compatible;
mod connections;
mod debug;
mod enforcement;
mod event_log;
mod health;
mod hooks;
mod own;
mod policies;
mod protection;
mod stream;
mod tls;
mod trial;

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use saker_api::filter::{Offered, Subscription};
use saker_api::saker_v1::saker_service_server::SakerServiceServer;
use saker_api::tetragon::event_log_service_server::EventLogServiceServer;
use saker_api::tetragon::fine_guidance_sensors_server::FineGuidanceSensorsServer;
use saker_export::{Form, Limits, Queue};
use tokio::sync::watch;
use tonic::{Request, Status};
use tower::limit::GlobalConcurrencyLimitLayer;

pub use connections::{Connections, Fate};
pub use health::serve as serve_health;
pub use tls::Certificates;

pub(crate) use enforcement::told as enforcement;
pub(crate) use policies::own as own_policy;
pub(crate) use protection::told as protection;

use crate::config::Server;
use crate::fanout::Fanout;
use crate::state::State;
use connections::{Incoming, Peer};
use stream::EventStream;

/// Name of the sinks that are gRPC clients.
pub const STAGE: &str = "grpc";
/// Memory that events waiting for one client may hold.
const CLIENT_BYTES: usize = 32 << 20;
/// Largest request: the text of a policy.
const MAX_REQUEST: usize = saker_policy::MAX_BYTES + (64 << 10);

/// Calls at once for each listener, beside the streams that they began; more wait. Each may hold a request of the
/// largest size.
const CALLS: usize = 64;
/// Time that a call may take until its answer begins. Loading many policies takes long.
const CALL_TIME: Duration = Duration::from_secs(120);

/// What all services share.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<State>,
    fanout: Arc<Fanout>,
    offered: Offered,
    rules: Rules,
    clients: AtomicUsize,
    probes: Features,
    options: RwLock<Vec<(String, String)>>,
    /// The process table is told to one client at a time.
    dumping: Arc<tokio::sync::Semaphore>,
}

/// What the configuration says of clients, and can say otherwise while they are served.
#[derive(Default)]
struct Rules {
    queue: AtomicUsize,
    max_clients: AtomicUsize,
    changes: AtomicBool,
    deprecated: AtomicBool,
}

impl Rules {
    fn set(&self, server: &Server) {
        self.queue.store(server.queue, Ordering::Relaxed);
        self.max_clients.store(server.clients, Ordering::Relaxed);
        self.changes.store(server.changes, Ordering::Relaxed);
        self.deprecated.store(server.deprecated, Ordering::Relaxed);
    }

    fn queue(&self) -> usize {
        self.queue.load(Ordering::Relaxed)
    }

    fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }
}

/// Asks what the kernel offers: names and whether they are there. That takes a moment, so it is asked on demand.
pub type Features = fn() -> Vec<(String, bool)>;

/// What the servers did and are, for those who look.
#[derive(Debug, Default)]
pub struct Served {
    listeners: Mutex<Vec<Arc<Connections>>>,
    certificates: Mutex<Option<Arc<Certificates>>>,
}

impl Served {
    /// The connections of each listener.
    #[must_use]
    pub fn listeners(&self) -> Vec<Arc<Connections>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server's certificates; `None`: it has none.
    #[must_use]
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listener(&self, name: &'static str, clients: usize) -> Arc<Connections> {
        let connections = Arc::new(Connections::new(name, clients));
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&connections));
        connections
    }
}

/// What a service needs to know.
pub struct ServiceConfig<'a> {
    /// The agent.
    pub state: Arc<State>,
    /// All queues.
    pub fanout: Arc<Fanout>,
    /// What can be filtered by.
    pub offered: Offered,
    /// What clients may do.
    pub server: &'a Server,
    /// What the kernel offers, for GetInfo.
    pub probes: Features,
    /// The configuration, for GetInfo.
    pub options: Vec<(String, String)>,
}

/// Where clients come from.
#[derive(Default)]
pub struct Listeners {
    /// The socket.
    pub unix: Option<UnixListener>,
    /// The address.
    pub tcp: Option<std::net::TcpListener>,
    /// Certificates of the address.
    pub certificates: Option<Arc<Certificates>>,
}

impl Service {
    /// Services for one agent.
    #[must_use]
    pub fn new(config: ServiceConfig<'_>) -> Self {
        let rules = Rules::default();
        rules.set(config.server);
        Self {
            inner: Arc::new(Inner {
                state: config.state,
                fanout: config.fanout,
                offered: config.offered,
                rules,
                clients: AtomicUsize::new(0),
                probes: config.probes,
                options: RwLock::new(config.options),
                dumping: Arc::new(tokio::sync::Semaphore::new(1)),
            }),
        }
    }

    /// Goes by another configuration from now on. Streams that are under way stay as they are.
    pub fn reconfigure(&self, server: &Server, options: Vec<(String, String)>) {
        self.inner.rules.set(server);
        for listener in self.inner.state.served.listeners() {
            listener.allow(server.clients);
        }
        *self.inner.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// A stream for a client, named for people.
    fn subscribe(
        &self,
        label: String,
        subscription: Subscription,
        form: Form,
    ) -> Result<EventStream, Status> {
        let place = Place::take(&self.inner).ok_or_else(|| self.no_place())?;
        let limits = Limits { events: self.inner.rules.queue(), bytes: CLIENT_BYTES };
        Ok(EventStream::new(place, subscription, form, limits, label))
    }

    fn no_place(&self) -> Status {
        let max = self.inner.rules.max_clients();
        Status::resource_exhausted(format!("{max} clients receive events already (option max-clients)"))
    }

    /// Serves on the sockets until `stop` turns true.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub async fn serve(self, listeners: Listeners, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Listeners { unix, tcp, certificates } = listeners;
        let (served, clients) = (&self.inner.state.served, self.inner.rules.max_clients());
        let unix = unix.map(|listener| connections::of_socket(listener, served.listener("unix", clients)));
        if let Some(certificates) = &certificates {
            *served.certificates.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Arc::clone(certificates));
            tokio::spawn(Arc::clone(certificates).follow());
        }
        let tcp = tcp
            .map(|listener| connections::of_address(listener, certificates, served.listener("tcp", clients)));
        let (unix, tcp) = (unix.transpose()?, tcp.transpose()?);
        tokio::try_join!(self.serve_one(unix, stop.clone()), self.serve_one(tcp, stop)).map(|_| ())
    }

    async fn serve_one(&self, incoming: Option<Incoming>, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Some(incoming) = incoming else { return Ok(()) };
        let compatible = FineGuidanceSensorsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        let event_log = EventLogServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        let own = SakerServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        let router = connections::builder()
            .timeout(CALL_TIME)
            .layer(GlobalConcurrencyLimitLayer::new(CALLS))
            .add_service(compatible)
            .add_service(event_log)
            .add_service(own);
        Ok(router.serve_with_incoming_shutdown(incoming, stopped(stop)).await?)
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Who asks, for people.
fn client_of<T>(request: &Request<T>) -> String {
    Peer::of(request).map_or("unknown".into(), Peer::label)
}

/// One of the bounded number of places for clients.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Option<Self> {
        let taken = inner.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < inner.rules.max_clients()).then_some(clients + 1)
        });
        taken.ok().map(|_| Self(Arc::clone(inner)))
    }

    fn enter(&self, queue: &Arc<Queue>) {
        self.0.fanout.add(Arc::clone(queue));
    }

    fn leave(&self, queue: &Arc<Queue>) {
        self.0.fanout.remove(queue);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
