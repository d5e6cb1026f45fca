//! The service of a collector, `opentelemetry.proto.collector.logs.v1.LogsService`.

use std::io;

use bytes::{BufMut, Bytes};
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tower::service_fn;

use super::message::ExportResponse;
use crate::http::reasons;
use crate::{HttpError, HttpTarget};

const METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A client of one collector.
pub(super) struct GrpcClient {
    runtime: Option<Runtime>,
    target: HttpTarget,
    metadata: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    channel: Option<Channel>,
}

/// Codes after which the same request may succeed later. Of an exhausted resource we assume that it recovers.
pub(super) fn is_temporary(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// A status that the collector did not send, but that stands for a connection that broke.
fn is_of_connection(status: &Status) -> bool {
    std::error::Error::source(status)
        .is_some_and(<dyn std::error::Error + 'static>::is::<tonic::transport::Error>)
}

impl GrpcClient {
    pub(super) fn new(target: HttpTarget) -> Result<Self, HttpError> {
        let mut metadata = Vec::new();
        for (name, value) in &target.headers {
            let wrong = || HttpError::Header(name.clone());
            let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
            let value = AsciiMetadataValue::try_from(value.as_str());
            metadata.push((key.map_err(|_| wrong())?, value.map_err(|_| wrong())?));
        }
        if let Some(secret) = &target.secret {
            secret.read()?;
        }
        if target.tls {
            target.files.client(&[])?;
            target.files.name(&target.host)?;
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(HttpError::Runtime)?;
        Ok(Self { runtime: Some(runtime), target, metadata, channel: None })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Nothing was heard of the collector: it may be tried again. Within: what it answered.
    pub(super) fn export(&mut self, body: &Bytes) -> io::Result<Result<ExportResponse, Status>> {
        let Some(runtime) = self.runtime.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let timeout = self.target.timeout;
        let outcome = runtime.block_on(async {
            let call = tokio::time::timeout(timeout, self.call(body));
            call.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        self.runtime = Some(runtime);
        if outcome.is_err() {
            self.channel = None;
        }
        outcome
    }

    async fn call(&mut self, body: &Bytes) -> io::Result<Result<ExportResponse, Status>> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => self.connect().await?,
        };
        self.channel = Some(channel.clone());
        let mut client = Grpc::new(channel);
        client.ready().await.map_err(io::Error::other)?;
        let mut request = Request::new(body.clone());
        for (key, value) in &self.metadata {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        if let Some(secret) = &self.target.secret {
            let name = secret.header.to_ascii_lowercase();
            let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
            let value = secret.read().map_err(io::Error::other)?;
            let value = AsciiMetadataValue::try_from(value.as_bytes()).map_err(io::Error::other)?;
            request.metadata_mut().insert(key, value);
        }
        let path = PathAndQuery::from_static(METHOD);
        match client.unary(request, path, RawCodec).await {
            Ok(response) => Ok(Ok(response.into_inner())),
            // Nobody answered: the connection broke, as that of a client whose certificate is refused.
            Err(status) if is_of_connection(&status) => Err(io::Error::other(reasons(&status))),
            Err(status) if is_temporary(status.code()) => {
                // The connection may be gone; the next attempt makes another.
                self.channel = None;
                Ok(Err(status))
            }
            Err(status) => Ok(Err(status)),
        }
    }

    async fn connect(&self) -> io::Result<Channel> {
        let scheme = if self.target.tls { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{}", self.target.authority).parse().map_err(io::Error::other)?;
        let target = self.target.clone();
        let connect = service_fn(move |_: Uri| {
            let target = target.clone();
            async move { open(&target).await.map(TokioIo::new) }
        });
        Endpoint::from(uri).connect_with_connector(connect).await.map_err(|error| {
            // The error itself says no more than that there is one.
            let cause = std::error::Error::source(&error).map(reasons);
            io::Error::other(cause.unwrap_or_else(|| error.to_string()))
        })
    }

    pub(super) fn close(&mut self) {
        self.channel = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection, plain or secure.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(target: &HttpTarget) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let connector = TlsConnector::from(target.files.client(&[b"h2"])?);
    Ok(Box::new(connector.connect(target.files.name(&target.host)?, stream).await?))
}

/// Requests are bytes already.
#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = ExportResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = ExportResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        let decoded = ExportResponse::decode(buffer);
        decoded.map(Some).map_err(|error| Status::internal(format!("not an answer of OTLP: {error}")))
    }
}
