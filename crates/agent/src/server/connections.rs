//! Connections of clients: how many there are, who is at the other end, and how long one may take to say what it wants.
//!
//! Each listener has places of its own, so that nobody who can reach an address keeps those away that come through the
//! socket. A connection without a place is closed at once, one that says nothing after a while.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, UdsConnectInfo};
use tonic::{Request, transport};

use super::authority::Tolerant;
use super::tls::{self, Certificates};

/// Connections beside those that receive events: of commands, and of clients that have not asked yet.
pub(super) const BESIDE_CLIENTS: usize = 64;
/// Time for the handshake of TLS, and then for the first bytes of HTTP/2.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted, because files are short for example.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes with which every client begins (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// Somebody whom the permissions of the socket let in.
    Socket(UdsConnectInfo),
    /// Anybody who can reach the address.
    Address(Option<SocketAddr>),
    /// The owner of a certificate that one of our authorities issued; the text tells which.
    Certified(Option<SocketAddr>, Arc<str>),
}

impl Peer {
    /// Who asks.
    pub(super) fn of<T>(request: &Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// The process at the other end of the socket.
    pub(super) fn credentials<T>(request: &Request<T>) -> Option<tokio::net::unix::UCred> {
        match Self::of(request)? {
            Self::Socket(info) => info.peer_cred,
            _ => None,
        }
    }

    /// For people.
    pub(super) fn label(&self) -> String {
        let at = |address: &Option<SocketAddr>| {
            address.as_ref().map_or("unknown".to_owned(), SocketAddr::to_string)
        };
        match self {
            Self::Socket(info) => {
                let pid = info.peer_cred.and_then(|cred| cred.pid());
                pid.map_or("unix".into(), |pid| format!("pid {pid}"))
            }
            Self::Address(address) => at(address),
            Self::Certified(address, certificate) => format!("{} with {certificate}", at(address)),
        }
    }
}

/// What became of the connections of a listener.
#[derive(Debug)]
pub struct Connections {
    /// `unix` or `tcp`.
    pub listener: &'static str,
    max: AtomicUsize,
    open: AtomicUsize,
    counts: [AtomicU64; 4],
}

/// What can become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was served.
    Served,
    /// There were as many as there may be.
    Refused,
    /// Its handshake of TLS failed.
    Unsafe,
    /// It did not say what it wants.
    Silent,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Served, Self::Refused, Self::Unsafe, Self::Silent];

    /// As metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Refused => "refused",
            Self::Unsafe => "handshake_failed",
            Self::Silent => "silent",
        }
    }
}

impl Connections {
    /// Of this listener, for so many clients that receive events.
    pub(crate) fn new(listener: &'static str, clients: usize) -> Self {
        let max = AtomicUsize::new(clients + BESIDE_CLIENTS);
        Self { listener, max, open: AtomicUsize::new(0), counts: Default::default() }
    }

    /// There may be other numbers of clients from now on.
    pub(super) fn allow(&self, clients: usize) {
        self.max.store(clients + BESIDE_CLIENTS, Ordering::Relaxed);
    }

    /// Those that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections of which this became.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        self.counts[fate as usize].load(Ordering::Relaxed)
    }

    fn note(&self, fate: Fate) {
        self.counts[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn place(self: &Arc<Self>) -> Option<Place> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |open| (open < max).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            return Some(Place(Arc::clone(self)));
        }
        self.note(Fate::Refused);
        tracing::debug!(listener = self.listener, max, "a connection was refused: there are too many");
        None
    }
}

/// The place of one connection.
struct Place(Arc<Connections>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Stream {
    Unix(Tolerant),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that was accepted.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    place: Place,
    /// Until the first bytes are there: how many, and how long they may take.
    silent: Option<(usize, Pin<Box<Sleep>>)>,
}

impl Connection {
    fn new(stream: Stream, peer: Peer, place: Place) -> Self {
        Self { stream, peer, place, silent: Some((0, Box::pin(tokio::time::sleep(PATIENCE)))) }
    }

    fn stream(&mut self) -> Pin<&mut (dyn Duplex + 'static)> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream),
            Stream::Tcp(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = to.filled().len();
        let read = this.stream().poll_read(context, to);
        let Some((seen, patience)) = &mut this.silent else { return read };
        *seen += to.filled().len() - before;
        if *seen >= PREFACE {
            this.silent = None;
            this.place.0.note(Fate::Served);
        } else if read.is_pending() {
            ready!(patience.as_mut().poll(context));
            this.silent = None;
            this.place.0.note(Fate::Silent);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// Connections as a server takes them.
pub(super) type Incoming = ReceiverStream<io::Result<Connection>>;

/// Those through a socket.
///
/// # Errors
/// The listener cannot be used.
pub(super) fn of_socket(listener: UnixListener, connections: Arc<Connections>) -> io::Result<Incoming> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (sender, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let Some((stream, _)) = taken(accepted, connections.listener).await else { continue };
            let Some(place) = connections.place() else { continue };
            let peer = Peer::Socket(stream.connect_info());
            let connection = Connection::new(Stream::Unix(Tolerant::new(stream)), peer, place);
            if sender.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(incoming))
}

/// Those to an address, with TLS if there are certificates.
///
/// # Errors
/// The listener cannot be used.
pub(super) fn of_address(
    listener: std::net::TcpListener,
    certificates: Option<Arc<Certificates>>,
    connections: Arc<Connections>,
) -> io::Result<Incoming> {
    let listener = TcpListener::from_std(listener)?;
    let (sender, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let Some((stream, address)) = taken(accepted, connections.listener).await else { continue };
            let Some(place) = connections.place() else { continue };
            // Events are small and wanted soon.
            let _ = stream.set_nodelay(true);
            let Some(certificates) = &certificates else {
                let connection = Connection::new(Stream::Tcp(stream), Peer::Address(Some(address)), place);
                if sender.send(Ok(connection)).await.is_err() {
                    return;
                }
                continue;
            };
            let acceptor = TlsAcceptor::from(certificates.current());
            // As many at once as there are places.
            tokio::spawn(shake_hands(acceptor, stream, address, place, sender.clone()));
        }
    });
    Ok(ReceiverStream::new(incoming))
}

async fn taken<T>(accepted: io::Result<T>, listener: &'static str) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::debug!(%error, listener, "a connection was not accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let error = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = match certificate {
                Some(certificate) => Peer::Certified(Some(address), tls::fingerprint(certificate).into()),
                None => Peer::Address(Some(address)),
            };
            let connection = Connection::new(Stream::Tls(Box::new(stream)), peer, place);
            let _ = sender.send(Ok(connection)).await;
            return;
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    place.0.note(Fate::Unsafe);
    tracing::debug!(%error, %address, "the TLS handshake with a client failed");
}

/// What the server says of itself to the transport.
pub(super) fn builder() -> transport::server::Server {
    transport::Server::builder()
        // A client that vanished without a word is noticed within a minute.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(30)))
        .max_concurrent_streams(64)
}
