//! The HTTP server of the metrics, and of the agent's health.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::state::State;

/// Scrapers at once; more wait.
const CONNECTIONS: usize = 16;
/// How long a scraper may take to ask, and a connection may live.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves `/metrics`, and `/livez`, `/readyz` and `/healthz` (which is the same as the former), for ever.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(listener: std::net::TcpListener, state: Arc<State>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for example: that passes.
                tracing::debug!(%error, "a metrics connection was not accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&request, &state).await) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let connection = server.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

/// The answer to a question for the agent's health.
fn verdict(good: bool, text: &str) -> (StatusCode, &'static str, String) {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, "text/plain", format!("{text}\n"))
}

async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            state.refresh().await;
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", super::render(state))
        }
        (&Method::GET | &Method::HEAD, "/livez") => {
            let health = state.vitals.health();
            verdict(health.is_live(), health.text())
        }
        (&Method::GET | &Method::HEAD, "/readyz" | "/healthz") => {
            let health = state.vitals.health();
            verdict(health.is_ready(), health.text())
        }
        (_, "/livez" | "/readyz" | "/healthz") => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD are allowed\n".into())
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is allowed\n".into()),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "metrics are at /metrics, the agent's health at /livez, /readyz and /healthz\n".into(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
