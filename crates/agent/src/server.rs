//! The gRPC services: the compatible one and ours.
//!
//! The engine offers events to one queue per client and never waits. Filters run and bytes are made when the
//! client's stream is polled, which happens only while the client takes what it gets; a slow client fills its
//! own queue, misses events, and is told so by a gap.

mod authority;
mod compatible;
mod enforcement;
mod own;
mod policies;
mod protection;
mod stream;
mod trial;

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use saker_api::filter::{Offered, Subscription};
use saker_api::saker_v1::saker_service_server::SakerServiceServer;
use saker_api::tetragon::fine_guidance_sensors_server::FineGuidanceSensorsServer;
use saker_export::{Form, Limits, Queue};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};
use tonic::{Request, Status};

pub(crate) use enforcement::told as enforcement;
pub(crate) use policies::own as own_policy;
pub(crate) use protection::told as protection;

use crate::fanout::Fanout;
use crate::state::State;
use stream::EventStream;

/// Name of the sinks that are gRPC clients.
pub const STAGE: &str = "grpc";
/// Memory that events waiting for one client may hold.
const CLIENT_BYTES: usize = 32 << 20;
/// Largest request: the text of a policy.
const MAX_REQUEST: usize = saker_policy::MAX_BYTES + (64 << 10);

/// What both services share.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<State>,
    fanout: Arc<Fanout>,
    offered: Offered,
    queue: usize,
    max_clients: usize,
    changes: bool,
    clients: AtomicUsize,
    probes: Features,
    options: Vec<(String, String)>,
}

/// Asks what the kernel offers: names and whether they are there. That takes a moment, so it is asked on demand.
pub type Features = fn() -> Vec<(String, bool)>;

/// What a service needs to know.
pub struct ServiceConfig {
    /// The agent.
    pub state: Arc<State>,
    /// All queues.
    pub fanout: Arc<Fanout>,
    /// What can be filtered by.
    pub offered: Offered,
    /// Events that may wait for a client.
    pub queue: usize,
    /// Clients at once.
    pub max_clients: usize,
    /// Clients that do not come through the Unix socket may change policies.
    pub changes: bool,
    /// What the kernel offers, for GetInfo.
    pub probes: Features,
    /// The configuration, for GetInfo.
    pub options: Vec<(String, String)>,
}

impl Service {
    /// Services for one agent.
    #[must_use]
    pub fn new(config: ServiceConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: config.state,
                fanout: config.fanout,
                offered: config.offered,
                queue: config.queue,
                max_clients: config.max_clients,
                changes: config.changes,
                clients: AtomicUsize::new(0),
                probes: config.probes,
                options: config.options,
            }),
        }
    }

    /// A stream for a client, named for people.
    fn subscribe(
        &self,
        label: String,
        subscription: Subscription,
        form: Form,
    ) -> Result<EventStream, Status> {
        let place = Place::take(&self.inner).ok_or_else(|| self.no_place())?;
        let limits = Limits { events: self.inner.queue, bytes: CLIENT_BYTES };
        Ok(EventStream::new(place, subscription, form, limits, label))
    }

    fn no_place(&self) -> Status {
        let max = self.inner.max_clients;
        Status::resource_exhausted(format!("{max} clients receive events already (option max-clients)"))
    }

    /// Serves on the sockets until `stop` turns true.
    pub async fn serve(
        self,
        unix: Option<UnixListener>,
        tcp: Option<std::net::TcpListener>,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let unix_served = async {
            match unix {
                Some(listener) => {
                    let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(listener)?);
                    let incoming = incoming.map(|stream| stream.map(authority::Tolerant::new));
                    let stopped = stopped(stop.clone());
                    self.router().serve_with_incoming_shutdown(incoming, stopped).await?;
                    anyhow::Ok(())
                }
                None => Ok(()),
            }
        };
        let tcp_served = async {
            match tcp {
                Some(listener) => {
                    let incoming = TcpListenerStream::new(TcpListener::from_std(listener)?);
                    let stopped = stopped(stop.clone());
                    self.router().serve_with_incoming_shutdown(incoming, stopped).await?;
                    anyhow::Ok(())
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(unix_served, tcp_served).map(|_| ())
    }

    fn router(&self) -> tonic::transport::server::Router {
        let compatible = FineGuidanceSensorsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        let own = SakerServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        tonic::transport::Server::builder()
            // A client that vanished without a word is noticed within a minute.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(30)))
            .max_concurrent_streams(64)
            .add_service(compatible)
            .add_service(own)
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Who asks, for people.
fn client_of<T>(request: &Request<T>) -> String {
    let extensions = request.extensions();
    if let Some(info) = extensions.get::<UdsConnectInfo>() {
        let pid = info.peer_cred.and_then(|cred| cred.pid());
        return pid.map_or("unix".into(), |pid| format!("pid {pid}"));
    }
    let address = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    address.as_ref().map_or("unknown".into(), SocketAddr::to_string)
}

/// One of the bounded number of places for clients.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Option<Self> {
        let taken = inner.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < inner.max_clients).then_some(clients + 1)
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
