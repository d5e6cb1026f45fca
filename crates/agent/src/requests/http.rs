//! Fetching a page, and reading nothing out of it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use saker_policy::values::{Url, parse_url};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::Outcome;

/// Bytes of the head of an answer, and of a body that is received to end the connection well.
const HEAD_MAX: usize = 16 * 1024;
const BODY_MAX: usize = 64 * 1024;
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Hosts that are looked up at once. A look-up has a thread of its own, which no time limit of ours ends.
const LOOKUPS: usize = 4;

/// Places for look-ups of hosts.
pub(super) struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

impl Lookups {
    /// Addresses of a host, by the resolver of the system.
    async fn addresses(&self, url: &Url) -> Vec<SocketAddr> {
        let port = url.port;
        if let Ok(address) = url.host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, port)];
        }
        let Ok(place) = Arc::clone(&self.0).acquire_owned().await else { return Vec::new() };
        let host = url.host.clone();
        let look_up = move || {
            let found =
                (host.as_str(), port).to_socket_addrs().map(|found| found.take(ADDRESSES_MAX).collect());
            // Kept also when nobody waits any more.
            drop(place);
            found.unwrap_or_default()
        };
        tokio::task::spawn_blocking(look_up).await.unwrap_or_default()
    }
}

/// What secure connections begin with: made when the first is wanted.
#[derive(Default)]
pub(super) struct Tls(OnceCell<Option<Arc<ClientConfig>>>);

impl Tls {
    /// Trusts these certificates only.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self(OnceCell::new_with(Some(config(roots))))
    }

    async fn connector(&self) -> Option<TlsConnector> {
        let make = || async { tokio::task::spawn_blocking(|| config(system_roots())).await.ok().flatten() };
        self.0.get_or_init(make).await.as_ref().map(|config| TlsConnector::from(Arc::clone(config)))
    }
}

/// The authorities that the system trusts.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "an authority that the system trusts cannot be read");
    }
    let (added, _) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, "authorities that the system trusts");
    roots
}

fn config(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())),
        Err(error) => {
            tracing::error!(%error, "secure connections cannot be made");
            None
        }
    }
}

/// Fetches an address. Where the answer sends elsewhere, nobody goes.
pub(super) async fn get(url: &str, lookups: &Lookups, tls: &Tls) -> Outcome {
    // Looked at when the policy was loaded.
    let Ok(url) = parse_url(url) else { return Outcome::NoAddress };
    let addresses = lookups.addresses(&url).await;
    if addresses.is_empty() {
        return Outcome::NoAddress;
    }
    // One address after the other.
    let Ok(stream) = TcpStream::connect(&*addresses).await else { return Outcome::Unreachable };
    if !url.tls {
        return exchange(stream, &url).await;
    }
    let (Some(connector), Ok(name)) = (tls.connector().await, ServerName::try_from(url.host.clone())) else {
        return Outcome::Tls;
    };
    match connector.connect(name, stream).await {
        Ok(stream) => exchange(stream, &url).await,
        Err(error) => {
            tracing::debug!(%error, host = url.host, "no secure connection");
            Outcome::Tls
        }
    }
}

/// Ends the task of a connection with its exchange, whichever way that ends.
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, url: &Url) -> Outcome {
    let request = Request::get(url.target.as_str())
        .header(HOST, url.authority.as_str())
        .header(USER_AGENT, concat!("saker/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Outcome::Malformed };
    let mut client = http1::Builder::new();
    client.max_buf_size(HEAD_MAX);
    let Ok((mut sender, connection)) = client.handshake(TokioIo::new(stream)).await else {
        return Outcome::Malformed;
    };
    let _connection = Connection(tokio::spawn(connection));
    match sender.send_request(request).await {
        Ok(answer) => {
            discard(answer.into_body()).await;
            Outcome::Answered
        }
        Err(error) => {
            tracing::debug!(%error, host = url.host, "no answer");
            Outcome::Malformed
        }
    }
}

/// Receives a body as far as it is short.
async fn discard(mut body: Incoming) {
    let mut left = BODY_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return;
        }
        left -= length;
    }
}
