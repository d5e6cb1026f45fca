//! Receivers of requests over HTTP/1.1, or HTTP/2 as gRPC has it, with TLS or without, that can go away and come back.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::peer;

/// A server that shows this certificate. `clients`: the authority that must have issued the certificates of clients.
///
/// # Errors
/// Files that cannot be used.
pub fn tls(certificate: &Path, key: &Path, clients: Option<&Path>) -> Result<ServerConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_file_iter(path)? {
                roots.add(authority?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?)
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Requests of HTTP/1.1, each answered by 200 with nothing in it.
    Http,
    /// Calls of gRPC, each answered by an empty message.
    Grpc,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path of its address.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; of a call the message.
    pub body: Bytes,
}

/// A receiver.
#[derive(Debug)]
pub struct Receiver {
    /// Its port, which stays the same.
    pub port: u16,
    speech: Speech,
    shared: Arc<Shared>,
    /// Its connections end with it.
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Why connections over TLS were not made.
    failed: Mutex<Vec<String>>,
}

impl Receiver {
    /// Begins at a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(speech: Speech, tls: Option<ServerConfig>) -> Result<Self> {
        let mut receiver = Self { port: 0, speech, shared: Arc::default(), runtime: None };
        receiver.resume(tls)?;
        Ok(receiver)
    }

    /// Goes away, with all connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(10));
        }
    }

    /// Comes back at the same port.
    ///
    /// # Errors
    /// When somebody else took it.
    pub fn resume(&mut self, tls: Option<ServerConfig>) -> Result<()> {
        let runtime = peer::runtime()?;
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", self.port)))
            .with_context(|| format!("the port {} cannot be taken", self.port))?;
        self.port = listener.local_addr()?.port();
        let (speech, shared) = (self.speech, Arc::clone(&self.shared));
        let acceptor = tls.map(|mut config| {
            let protocol: &[u8] = if speech == Speech::Grpc { b"h2" } else { b"http/1.1" };
            // Clients that want none of these are refused.
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return serve(stream, speech, shared).await };
                    match acceptor.accept(stream).await {
                        Ok(stream) => serve(stream, speech, shared).await,
                        Err(error) => lock(&shared.failed).push(error.to_string()),
                    }
                });
            }
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// The requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Why connections over TLS were not made.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        lock(&self.shared.failed).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of a connection until it ends, in whatever way.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    speech: Speech,
    shared: Arc<Shared>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (head, body) = request.into_parts();
            let mut answer = Response::new(Bytes::new());
            let mut trailers = HeaderMap::new();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            let body = body.map_err(Into::into).and_then(|body| match speech {
                Speech::Http => Ok(body),
                Speech::Grpc => message(&body),
            });
            match body {
                Ok(body) => {
                    let path = head.uri.path().to_owned();
                    lock(&shared.seen).push(Seen { path, headers: head.headers, body });
                }
                Err(error) => lock(&shared.failed).push(format!("{error:#}")),
            }
            if speech == Speech::Grpc {
                // Not compressed, no bytes; and all is well.
                *answer.body_mut() = Bytes::from_static(&[0; 5]);
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
            }
            let whole = answer.map(|body| {
                let trailers = (speech == Speech::Grpc).then_some(Ok(trailers));
                Full::new(body).with_trailers(std::future::ready(trailers))
            });
            Ok::<_, Infallible>(whole)
        }
    });
    let stream = TokioIo::new(stream);
    // A connection ends as it likes: what arrived is known.
    let _ = match speech {
        Speech::Http => hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await,
        Speech::Grpc => {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(stream, service).await
        }
    };
}

/// The message of a call: after a byte that says whether it is compressed, and its length.
fn message(body: &Bytes) -> Result<Bytes> {
    let (head, message) = body.split_first_chunk::<5>().context("a call without message")?;
    let [compressed, length @ ..] = *head;
    ensure!(compressed == 0, "a compressed message");
    ensure!(usize::try_from(u32::from_be_bytes(length))? == message.len(), "a message of another length");
    Ok(body.slice(head.len()..))
}
