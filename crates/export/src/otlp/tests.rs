use std::sync::Arc;

use saker_api::event::{EventKind, Process, ProcessView};
use saker_api::event::{ExecEvent, Node, ProcessExtra, Timestamp};

use saker_api::filter::{FieldFilters, Subscription, parse_field_filters};
use saker_api::passage::Told;

use super::message::{AnyValue, KeyValue, LogRecord, Value};
use super::*;

fn exec(arguments: &str, argv: &[&str]) -> saker_api::event::Event {
    let extra =
        ProcessExtra { argv: argv.iter().map(|text| (*text).into()).collect(), ..ProcessExtra::default() };
    let process = Process {
        pid: 7,
        uid: 1000,
        binary: "/usr/bin/cat".into(),
        arguments: arguments.into(),
        docker: "0123456789abcdef".into(),
        extra: Box::new(extra),
        ..Process::default()
    };
    let process = ProcessView { process: Arc::new(process), refcnt: 1 };
    saker_api::event::Event {
        time: Timestamp(1_700_000_000_123_456_789),
        node: Arc::new(Node::default()),
        kind: EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() }),
    }
}

fn encode(events: &[saker_api::event::Event]) -> Vec<u8> {
    encode_for(Arc::default(), events)
}

fn encode_for(wanted: Arc<Subscription>, events: &[saker_api::event::Event]) -> Vec<u8> {
    let line: crate::Encoder = Box::new(|_, out| out.extend_from_slice(b"{\"x\":1}\n"));
    let mut encoder = otlp_encoder(wanted, line);
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder(&Told::Event { event, count: 1 }, &mut out));
    out
}

/// What a collector makes of the bytes, by definitions of its own.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<super::message::ResourceMessage>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<super::message::Scope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()) {
        Some(AnyValue { value: Some(Value::String(text)) }) => text,
        Some(AnyValue { value: Some(Value::Int(number)) }) => number.to_string(),
        Some(AnyValue { value: Some(Value::Array(array)) }) => {
            let texts = array.values.into_iter().map(|value| match value.value {
                Some(Value::String(text)) => text,
                other => panic!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join("|")
        }
        other => panic!("{key}: {other:?} in {attributes:?}"),
    }
}

#[test]
fn fields_that_are_left_out_are_not_told_as_attributes() {
    let masks = parse_field_filters(r#"{"fields":"process.arguments","action":"EXCLUDE"}"#).unwrap();
    let fields = FieldFilters::compile(&masks).unwrap();
    let wanted = Arc::new(Subscription { fields, ..Subscription::default() });
    let events = [exec("/etc/secret", &[])];
    let holds = |bytes: &[u8]| bytes.windows(11).any(|window| window == b"/etc/secret");
    assert!(holds(&encode(&events)));
    assert!(!holds(&encode_for(wanted, &events)));
}

fn target(port: u16) -> HttpTarget {
    HttpTarget {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        authority: format!("127.0.0.1:{port}"),
        path: "/v1/logs".into(),
        files: crate::TlsFiles::default(),
        headers: vec![("x-tenant".into(), "blue".into())],
        secret: None,
        timeout: Duration::from_secs(20),
    }
}

#[test]
fn records_and_requests_are_what_a_collector_reads() {
    let records = encode(&[exec("a b", &[]), exec("'a b' c", &["cat", "a b", "c"])]);
    assert_eq!(count_records(&records), 2);
    let resource = Resource { host: "node".into(), cluster: String::new() };
    let sink = OtlpSink::new(target(1), Protocol::Http, &resource).unwrap();
    let request = ExportRequest::decode(sink.request(&records)).unwrap();
    assert_eq!(request.resource_logs.len(), 1);
    let logs = &request.resource_logs[0];
    let resource = &logs.resource.as_ref().unwrap().attributes;
    assert_eq!(
        (text(resource, "service.name"), text(resource, "host.name")),
        ("saker".into(), "node".into())
    );
    assert!(resource.iter().all(|attribute| attribute.key != "k8s.cluster.name"));
    assert_eq!(logs.scope_logs[0].scope.as_ref().unwrap().name, "saker");
    let records = &logs.scope_logs[0].log_records;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].time_unix_nano, 1_700_000_000_123_456_789);
    assert_eq!((records[0].severity_number, records[0].event_name.as_str()), (9, "process_exec"));
    assert_eq!(records[0].body.clone().unwrap().value, Some(Value::String("{\"x\":1}".into())));
    let of = |index: usize, key: &str| text(&records[index].attributes, key);
    assert_eq!(of(0, "process.pid"), "7");
    assert_eq!(of(0, "process.user.id"), "1000");
    assert_eq!(of(0, "process.executable.path"), "/usr/bin/cat");
    assert_eq!(of(0, "process.executable.name"), "cat");
    assert_eq!(of(0, "container.id"), "0123456789abcdef");
    assert_eq!(of(0, "process.command_args"), "/usr/bin/cat|a|b");
    assert_eq!(of(1, "process.command_args"), "cat|a b|c");
}

#[test]
fn counting_records_survives_any_bytes() {
    assert_eq!(count_records(&[]), 0);
    assert_eq!(count_records(&[0x12]), 0);
    assert_eq!(count_records(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), 1);
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
        let _ = count_records(&bytes);
    }
}

/// A collector over gRPC that gives these answers, one after the other.
mod collector {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::mpsc::{self, Receiver};
    use std::sync::{Arc, Mutex};

    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tonic::server::{Grpc, UnaryService};
    use tonic::{Request, Response, Status};
    use tonic_prost::ProstCodec;

    use super::super::message::ExportResponse;
    use super::ExportRequest;

    pub(super) type Answers = VecDeque<Result<ExportResponse, Status>>;

    #[derive(Clone)]
    struct Export(Arc<Mutex<Answers>>, mpsc::Sender<(String, ExportRequest)>);

    impl UnaryService<ExportRequest> for Export {
        type Response = ExportResponse;
        type Future = Ready<Result<Response<ExportResponse>, Status>>;

        fn call(&mut self, request: Request<ExportRequest>) -> Self::Future {
            let tenant = request.metadata().get("x-tenant").unwrap().to_str().unwrap().to_owned();
            let _ = self.1.send((tenant, request.into_inner()));
            let answer = self.0.lock().unwrap().pop_front().unwrap_or(Ok(ExportResponse::default()));
            ready(answer.map(Response::new))
        }
    }

    pub(super) fn start(answers: Answers) -> (u16, Receiver<(String, ExportRequest)>) {
        let (seen, requests) = mpsc::channel();
        let (bound, port) = mpsc::channel();
        let export = Export(Arc::new(Mutex::new(answers)), seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap().port()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let export = export.clone();
                    let service = service_fn(move |request: hyper::Request<Incoming>| {
                        let export = export.clone();
                        async move {
                            let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
                            assert_eq!(request.uri().path(), path);
                            let codec = ProstCodec::<ExportResponse, ExportRequest>::default();
                            Ok::<_, Infallible>(Grpc::new(codec).unary(export, request).await)
                        }
                    });
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        (port.recv().unwrap(), requests)
    }
}

#[test]
fn a_collector_that_takes_all_a_part_and_nothing() {
    use super::message::PartialSuccess;
    use tonic::Status;
    let partial = PartialSuccess { rejected_log_records: 1, error_message: "too old".into() };
    let answers = [
        Ok(ExportResponse::default()),
        Ok(ExportResponse { partial_success: Some(partial) }),
        Err(Status::unavailable("later")),
        Err(Status::invalid_argument("never")),
    ];
    let (port, requests) = collector::start(answers.into_iter().collect());
    let mut sink = OtlpSink::new(target(port), Protocol::Grpc, &Resource::default()).unwrap();
    let two = || encode(&[exec("1", &[]), exec("2", &[])]);
    let mut lines = two();
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty() && sink.losses().total() == 0);
    sink.write(&mut two()).unwrap();
    assert_eq!(sink.losses().of(Loss::Refused), 1);
    let mut lines = two();
    let told = sink.write(&mut lines).unwrap_err();
    assert!(std::error::Error::source(&told).unwrap().to_string().contains("later"), "{told:?}");
    assert_eq!((sink.count(&lines), sink.losses().total()), (2, 1));
    sink.write(&mut lines).unwrap();
    assert_eq!(sink.losses().of(Loss::Refused), 3);
    sink.write(&mut two()).unwrap();
    assert_eq!(sink.losses().total(), 3);
    let seen: Vec<_> = requests.try_iter().collect();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|(tenant, request)| {
        tenant == "blue" && request.resource_logs[0].scope_logs[0].log_records.len() == 2
    }));
    sink.close();
    assert!(sink.write(&mut two()).is_err());
}

#[test]
fn nobody_there_keeps_the_records() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let mut sink = OtlpSink::new(target(port), protocol, &Resource::default()).unwrap();
        let mut lines = encode(&[exec("1", &[])]);
        assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
        assert_eq!(sink.count(&lines), 1);
    }
}
