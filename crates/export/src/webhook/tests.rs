use std::convert::Infallible;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::*;
use crate::{Secret, TlsFiles};

/// A request as a server saw it.
#[derive(Debug)]
struct Seen {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// A server that gives these answers, one after the other, and then 204.
fn server(answers: Vec<(u16, &'static str)>) -> (u16, Receiver<Seen>) {
    let (seen, requests) = mpsc::channel();
    let (bound, port) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap().port()).unwrap();
            let answers = Arc::new(Mutex::new(answers.into_iter()));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, seen) = (Arc::clone(&answers), seen.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (status, retry_after) = answers.lock().unwrap().next().unwrap_or((204, ""));
                    let seen = seen.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
                        let headers = head
                            .headers
                            .iter()
                            .map(|(name, value)| (name.to_string(), text(value)))
                            .collect();
                        let body =
                            String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                        let _ = seen.send(Seen {
                            method: head.method.to_string(),
                            path: head.uri.to_string(),
                            headers,
                            body,
                        });
                        let mut answer = Response::builder().status(status);
                        if !retry_after.is_empty() {
                            answer = answer.header("retry-after", retry_after);
                        }
                        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(b"text"))).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    (port.recv().unwrap(), requests)
}

fn target(port: u16) -> HttpTarget {
    HttpTarget {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        authority: format!("127.0.0.1:{port}"),
        path: "/in?x=1".into(),
        files: TlsFiles::default(),
        headers: vec![("x-team".into(), "blue".into())],
        secret: None,
        timeout: Duration::from_secs(20),
    }
}

fn sink(port: u16, body: Body, events: usize) -> WebhookSink {
    WebhookSink::new(target(port), body, events).unwrap()
}

#[test]
fn batches_arrive_whole_over_one_connection() {
    let (port, requests) = server(Vec::new());
    let mut sink = sink(port, Body::Array, 2);
    let mut lines = b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n".to_vec();
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty() && sink.losses().total() == 0);
    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/in?x=1"));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("x-team"), "blue");
    assert_eq!((first.body.as_str(), second.body.as_str()), ("[{\"a\":1},{\"a\":2}]", "[{\"a\":3}]"));
    assert_ne!(first.header("idempotency-key"), second.header("idempotency-key"));
}

#[test]
fn the_same_batch_is_sent_again_after_a_temporary_failure() {
    let (port, requests) = server(vec![(503, "7"), (429, "")]);
    let mut sink = sink(port, Body::Lines, 10);
    let mut lines = b"{\"a\":1}\n".to_vec();
    let told = sink.write(&mut lines).unwrap_err();
    assert!(std::error::Error::source(&told).unwrap().to_string().contains("503"));
    assert!(sink.pause(1) >= Duration::from_secs(7));
    assert!(sink.write(&mut lines).is_err());
    assert!(sink.pause(1) < Duration::from_secs(1));
    sink.write(&mut lines).unwrap();
    let seen: Vec<_> = requests.try_iter().collect();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.body == "{\"a\":1}\n"));
    assert!(
        seen.iter().all(|request| request.header("idempotency-key") == seen[0].header("idempotency-key"))
    );
    assert!(seen[0].header("content-type") == "application/x-ndjson" && sink.losses().total() == 0);
}

#[test]
fn what_is_refused_is_counted_and_not_sent_again() {
    let (port, requests) = server(vec![(400, ""), (302, ""), (200, "")]);
    let mut sink = sink(port, Body::Array, 2);
    sink.write(&mut b"1\n2\n3\n4\n5\n".to_vec()).unwrap();
    assert_eq!(sink.losses().of(Loss::Refused), 4);
    assert_eq!(
        requests.try_iter().map(|request| request.body).collect::<Vec<_>>(),
        ["[1,2]", "[3,4]", "[5]"]
    );
}

#[test]
fn too_large_batches_are_parted() {
    let (port, requests) = server(vec![(413, ""), (413, ""), (413, "")]);
    let mut sink = sink(port, Body::Array, 4);
    sink.write(&mut b"1\n2\n3\n4\n5\n".to_vec()).unwrap();
    let bodies: Vec<_> = requests.try_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["[1,2,3,4]", "[1,2]", "[1]", "[2]", "[3,4]", "[5]"]);
    assert_eq!(sink.losses().of(Loss::TooLong), 1);
}

#[test]
fn a_secret_is_read_each_time_and_never_shown() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("token");
    let secret = Secret { header: "authorization".into(), prefix: "Bearer ", path: path.clone() };
    let with = |port| HttpTarget { secret: Some(secret.clone()), ..target(port) };
    let (port, requests) = server(Vec::new());
    let told = WebhookSink::new(with(port), Body::Array, 1).err().unwrap().to_string();
    assert!(told.contains("cannot read the secret"), "{told}");
    std::fs::write(&path, "hush1\n").unwrap();
    let mut sink = WebhookSink::new(with(port), Body::Array, 1).unwrap();
    sink.write(&mut b"1\n".to_vec()).unwrap();
    std::fs::write(&path, "hush2").unwrap();
    sink.write(&mut b"2\n".to_vec()).unwrap();
    let seen: Vec<_> =
        requests.try_iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(seen, ["Bearer hush1", "Bearer hush2"]);
    assert!(!format!("{:?}", with(port)).contains("hush"));
}

#[test]
fn nobody_there_keeps_the_lines() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut sink = sink(port, Body::Array, 2);
    let mut lines = b"1\n".to_vec();
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    assert_eq!(lines, b"1\n");
    sink.close();
    assert!(sink.write(&mut lines).is_err());
}
