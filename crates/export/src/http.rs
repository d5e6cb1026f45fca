//! Requests to an HTTP server over one connection that is kept.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::{TlsError, TlsFiles};

/// Bytes of the head of an answer, and of a body that is read.
const HEAD_MAX: usize = 16 * 1024;
const BODY_MAX: usize = 64 * 1024;
/// Bytes of a secret.
const SECRET_MAX: u64 = 64 * 1024;
/// Longest time that a server may ask us to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Where requests go, and with what.
#[derive(Clone, Debug)]
pub struct HttpTarget {
    /// Over TLS.
    pub tls: bool,
    /// Host to connect to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Host and port as the address has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Certificates.
    pub files: TlsFiles,
    /// Further headers; none of them is secret.
    pub headers: Vec<(String, String)>,
    /// Header with a secret.
    pub secret: Option<Secret>,
    /// Longest time for a request with its answer.
    pub timeout: Duration,
}

/// A header whose value is in a file, which is read for each request.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Name of the header.
    pub header: String,
    /// What stands before the content of the file, such as `Bearer `.
    pub prefix: &'static str,
    /// The file.
    pub path: PathBuf,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret({} from {})", self.header, self.path.display())
    }
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A header that cannot be sent.
    #[error("the header `{0}` has characters that a header cannot have")]
    Header(String),
    /// A secret that cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No secure connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No place for the work.
    #[error("cannot start an event loop: {0}")]
    Runtime(#[source] io::Error),
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long it wants us to stay away.
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of the body.
    pub(crate) body: Bytes,
}

impl Secret {
    /// The value, without the whitespace around it.
    ///
    /// # Errors
    /// The file cannot be read, or holds what a header cannot.
    pub(crate) fn read(&self) -> Result<HeaderValue, HttpError> {
        let failed = |source| HttpError::Secret { path: self.path.clone(), source };
        let mut text = String::from(self.prefix);
        let file = std::fs::File::open(&self.path).map_err(failed)?;
        file.take(SECRET_MAX).read_to_string(&mut text).map_err(failed)?;
        let mut value =
            HeaderValue::from_str(text.trim_end()).map_err(|_| HttpError::Header(self.header.clone()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A client of one server, with an event loop that runs while somebody waits for an answer.
pub(crate) struct HttpClient {
    runtime: Option<Runtime>,
    target: HttpTarget,
    headers: Vec<(HeaderName, HeaderValue)>,
    secret: Option<HeaderName>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl HttpClient {
    /// A client that connects when there is something to send.
    ///
    /// # Errors
    /// Headers, secrets or certificates that cannot be used.
    pub(crate) fn new(target: HttpTarget) -> Result<Self, HttpError> {
        let mut headers = Vec::new();
        let named = |name: &str| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpError::Header(name.to_owned()))
        };
        for (name, value) in &target.headers {
            let value = HeaderValue::from_str(value).map_err(|_| HttpError::Header(name.clone()))?;
            headers.push((named(name)?, value));
        }
        let secret = target.secret.as_ref().map(|secret| {
            secret.read()?;
            named(&secret.header)
        });
        let secret = secret.transpose()?;
        if target.tls {
            target.files.client(&[])?;
            target.files.name(&target.host)?;
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(HttpError::Runtime)?;
        Ok(Self { runtime: Some(runtime), target, headers, secret, sender: None })
    }

    /// Sends a body and waits for the answer.
    ///
    /// # Errors
    /// There is none: it may be tried again.
    pub(crate) fn post(
        &mut self,
        content_type: &'static str,
        extra: &[(&'static str, &str)],
        body: &Bytes,
    ) -> io::Result<Answer> {
        let Some(runtime) = self.runtime.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let timeout = self.target.timeout;
        let answer = runtime.block_on(async {
            let exchange = tokio::time::timeout(timeout, self.exchange(content_type, extra, body));
            exchange.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        self.runtime = Some(runtime);
        if answer.is_err() {
            self.sender = None;
        }
        answer.map_err(|error| io::Error::new(error.kind(), reasons(&error)))
    }

    async fn exchange(
        &mut self,
        content_type: &'static str,
        extra: &[(&'static str, &str)],
        body: &Bytes,
    ) -> io::Result<Answer> {
        // The task of the connection may learn only now that the server has closed it.
        tokio::task::yield_now().await;
        let kept = self.sender.take().filter(|sender| !sender.is_closed());
        let is_kept = kept.is_some();
        let sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        match self.send(sender, content_type, extra, body).await {
            // The server closed the kept connection before the request was on its way.
            Err(error) if is_kept && is_unsent(&error) => {
                let sender = self.connect().await?;
                self.send(sender, content_type, extra, body).await
            }
            other => other,
        }
    }

    async fn send(
        &mut self,
        mut sender: SendRequest<Full<Bytes>>,
        content_type: &'static str,
        extra: &[(&'static str, &str)],
        body: &Bytes,
    ) -> io::Result<Answer> {
        let mut request = Request::post(self.target.path.as_str())
            .header(HOST, self.target.authority.as_str())
            .header(USER_AGENT, concat!("saker/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, content_type);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        if let (Some(name), Some(secret)) = (&self.secret, &self.target.secret) {
            request = request.header(name, secret.read().map_err(io::Error::other)?);
        }
        let request = request.body(Full::new(body.clone())).map_err(io::Error::other)?;
        sender.ready().await.map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let answer = read(response).await?;
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let target = &self.target;
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        if !target.tls {
            return handshake(stream).await;
        }
        let connector = TlsConnector::from(target.files.client(&[b"http/1.1"])?);
        handshake(connector.connect(target.files.name(&target.host)?, stream).await?).await
    }

    /// Ends the connection, without waiting for anything.
    pub(crate) fn close(&mut self) {
        self.sender = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What an error says, and what the errors say that it comes from: those of connections say no more than that there is one.
pub(crate) fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        next = error.source();
    }
    told
}

/// A request that hyper gave back unsent.
fn is_unsent(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<hyper::Error>());
    inner.is_some_and(|error| error.is_canceled() || error.is_closed())
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let mut client = http1::Builder::new();
    client.max_buf_size(HEAD_MAX);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an HTTP server ended");
        }
    });
    Ok(sender)
}

async fn read(response: Response<Incoming>) -> io::Result<Answer> {
    let status = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = asked.and_then(|text| text.trim().parse().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let mut body = response.into_body();
    let mut begun = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
        if begun.len() + data.len() > BODY_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is longer than 64 KiB"));
        }
        begun.extend_from_slice(data);
    }
    Ok(Answer { status, retry_after, body: begun.into() })
}
