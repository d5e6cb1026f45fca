use std::time::Instant;

use saker_api::saker_v1::GetStatusRequest;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::get_events_response::Event as Kind;
use saker_api::tetragon::{
    EventType, Filter, GetEventsRequest, GetHealthStatusRequest, GetInfoRequest, GetVersionRequest,
    HealthStatusResult, HealthStatusType,
};
use saker_api::{saker_v1, tetragon};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

mod anything;
mod connections;
mod control;
mod policies;
mod rails;

use super::*;
use crate::testing::{self, World};

struct Served {
    world: World,
    socket: String,
    service: Service,
    _stop: watch::Sender<bool>,
    _directory: TempDir,
}

/// What clients may do.
pub(super) fn rules(queue: usize, clients: usize, changes: bool) -> Server {
    Server {
        socket: None,
        socket_mode: 0o660,
        socket_group: String::new(),
        tcp: None,
        tls: None,
        address: String::new(),
        queue,
        clients,
        changes,
        deprecated: false,
    }
}

pub(super) fn service(world: &World, queue: usize, max_clients: usize, changes: bool) -> Service {
    Service::new(ServiceConfig {
        state: Arc::clone(&world.state),
        fanout: Arc::clone(&world.fanout),
        offered: Offered::everything(),
        server: &rules(queue, max_clients, changes),
        probes: || vec![("raw_tracepoint".into(), true)],
        options: [
            ("log-level", "info"),
            ("debug", "true"),
            ("export-rate-limit", "-1"),
            ("enable-ancestors", "base,kprobe"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into(),
    })
}

async fn serve(queue: usize, max_clients: usize) -> Served {
    serve_world(World::new(), queue, max_clients).await
}

async fn serve_world(world: World, queue: usize, max_clients: usize) -> Served {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let service = service(&world, queue, max_clients, false);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(service.clone().serve(Listeners { unix: Some(listener), ..Listeners::default() }, stopping));
    let socket = format!("unix://{}", socket.display());
    Served { world, socket, service, _stop: stop, _directory: directory }
}

impl Served {
    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.socket.clone()).unwrap().connect().await.unwrap()
    }

    async fn compatible(&self) -> FineGuidanceSensorsClient<Channel> {
        FineGuidanceSensorsClient::new(self.channel().await)
    }

    fn clients(&self) -> usize {
        self.world.fanout.of_stage(STAGE).len()
    }
}

fn pid_of(event: &tetragon::GetEventsResponse) -> u32 {
    match &event.event {
        Some(Kind::ProcessExec(exec)) => exec.process.as_ref().unwrap().pid.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn settle(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn events_pass_filters_in_order() {
    let served = serve(1000, 10).await;
    let filter = Filter { binary_regex: vec!["^/bin/p[13]$".into()], ..Filter::default() };
    let request = GetEventsRequest { allow_list: vec![filter], ..GetEventsRequest::default() };
    let mut stream = served.compatible().await.get_events(request).await.unwrap().into_inner();
    served.world.publish((1..5).map(testing::exec).collect());
    let pids = [stream.message().await.unwrap().unwrap(), stream.message().await.unwrap().unwrap()];
    assert_eq!(pids.each_ref().map(pid_of), [1, 3]);
    assert_eq!(pids[0].node_name, "node");
    let sink = || served.world.state.status().sinks.into_iter().find(|sink| sink.name == STAGE).unwrap();
    settle("the last event to be filtered", || sink().filtered == 2).await;
    let sink = sink();
    assert_eq!((sink.events, sink.written, sink.filtered, sink.dropped), (4, 2, 2, 0));
    assert!(sink.bytes > 20, "{sink:?}");
}

#[tokio::test]
async fn equal_events_wait_for_their_window_and_arrive_as_one() {
    let served = serve(1000, 10).await;
    let window = prost_types::Duration { seconds: 1, nanos: 0 };
    let options = tetragon::AggregationOptions { window_size: Some(window), channel_buffer_size: 0 };
    let request = GetEventsRequest { aggregation_options: Some(options), ..GetEventsRequest::default() };
    let mut stream = served.compatible().await.get_events(request).await.unwrap().into_inner();
    let call = testing::hook("files", "sys_openat");
    served.world.publish(vec![Arc::clone(&call), testing::exec(99), Arc::clone(&call), call]);
    // What is not folded is there at once.
    assert_eq!(pid_of(&stream.message().await.unwrap().unwrap()), 99);
    let sink = || served.world.state.status().sinks.into_iter().find(|sink| sink.name == STAGE).unwrap();
    settle("the events to wait", || sink().folded == 2).await;
    let folded = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
    let folded = folded.unwrap().unwrap();
    assert_eq!(folded.aggregation_info.unwrap().count, 3);
    assert!(matches!(folded.event, Some(Kind::ProcessKprobe(_))), "{folded:?}");
    let sink = sink();
    assert_eq!((sink.events, sink.written, sink.folded, sink.waiting, sink.unfolded), (4, 2, 2, 0, 0));
}

#[tokio::test]
async fn own_clients_have_a_rate_limit() {
    let served = serve(1000, 10).await;
    let mut client = SakerServiceClient::new(served.channel().await);
    let request = saker_v1::GetEventsRequest { rate_limit: Some(2), ..Default::default() };
    let mut stream = client.get_events(request).await.unwrap().into_inner();
    served.world.publish((1..7).map(testing::exec).collect());
    for pid in [1, 2] {
        let event = stream.message().await.unwrap().unwrap();
        assert_eq!(pid_of(event.event.as_ref().unwrap()), pid);
    }
    let sink = || served.world.state.status().sinks.into_iter().find(|sink| sink.name == STAGE).unwrap();
    settle("the rest to be held back", || sink().limited == 4).await;
    assert_eq!((sink().events, sink().written, sink().filtered), (6, 2, 4));
}

#[tokio::test]
async fn own_service_tells_the_same_and_its_status() {
    let served = serve(1000, 10).await;
    let mut client = SakerServiceClient::new(served.channel().await);
    let mut stream = client.get_events(saker_v1::GetEventsRequest::default()).await.unwrap().into_inner();
    served.world.publish(vec![testing::exec(7)]);
    let event = stream.message().await.unwrap().unwrap();
    assert_eq!(pid_of(event.event.as_ref().unwrap()), 7);
    let status = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.pid, std::process::id());
    let sink = status.sinks.iter().find(|sink| sink.name == STAGE).unwrap();
    assert_eq!((sink.events, sink.dropped), (1, 0));
    assert!(sink.target.starts_with("pid "), "{}", sink.target);
}

#[tokio::test]
async fn simple_calls_answer() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let health = client.get_health(GetHealthStatusRequest::default()).await.unwrap().into_inner();
    let [health] = health.health_status.as_slice() else { panic!("{health:?}") };
    assert_eq!(
        (health.status(), health.details.as_str()),
        (HealthStatusResult::HealthStatusStopped, "starting")
    );
    served.world.state.set_ready();
    served.world.state.vitals.note(None);
    let health = client.get_health(GetHealthStatusRequest::default()).await.unwrap().into_inner();
    let [health] = health.health_status.as_slice() else { panic!("{health:?}") };
    assert_eq!((health.event(), health.details.as_str()), (HealthStatusType::Status, "running"));
    assert_eq!(health.status(), HealthStatusResult::HealthStatusRunning);
    let version = client.get_version(GetVersionRequest {}).await.unwrap().into_inner().version;
    assert_eq!(version, crate::VERSION);
    let info = client.get_info(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.name.as_str(), info.probes.len(), info.conf.len()), ("saker", 1, 4));
    let types = ["StringValue", "BoolValue", "Int64Value", "ListValue"];
    for (conf, kind) in info.conf.iter().zip(types) {
        let url = &conf.value.as_ref().unwrap().type_url;
        assert!(url.ends_with(&format!("google.protobuf.{kind}")), "{}: {url}", conf.key);
    }
    assert!(info.conf[3].value.as_ref().unwrap().value.ends_with(b"kprobe"));
    assert!(info.build.unwrap().go_version.starts_with("rustc "));
    assert!(!info.conf.iter().any(|conf| crate::config::is_secret(&conf.key)));
}

#[tokio::test]
async fn bad_filters_and_too_many_clients_are_refused() {
    let served = serve(10, 1).await;
    let mut client = served.compatible().await;
    let filter = Filter { binary_regex: vec!["(".into()], ..Filter::default() };
    let request = GetEventsRequest { allow_list: vec![filter], ..GetEventsRequest::default() };
    let refused = client.get_events(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let filter = Filter { cel_expression: vec!["true".into()], ..Filter::default() };
    let request = GetEventsRequest { deny_list: vec![filter], ..GetEventsRequest::default() };
    let refused = client.get_events(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let place = "deny_list[0].cel_expression[0]: bad expression \"true\" at byte 0";
    assert!(refused.message().starts_with(place), "{}", refused.message());
    let first = client.get_events(GetEventsRequest::default()).await.unwrap();
    let second = client.get_events(GetEventsRequest::default()).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    drop(first);
    settle("the place", || served.clients() == 0).await;
    client.get_events(GetEventsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn slow_client_loses_is_told_and_delays_nobody() {
    let served = serve(100, 10).await;
    let filter = Filter { event_set: vec![EventType::RateLimitInfo.into()], ..Filter::default() };
    let exec = Filter { event_set: vec![EventType::ProcessExec.into()], ..Filter::default() };
    let request = GetEventsRequest { allow_list: vec![filter, exec], ..GetEventsRequest::default() };
    let mut stream = served.compatible().await.get_events(request).await.unwrap().into_inner();
    // More than the buffers of the connection hold, while nobody reads.
    let began = Instant::now();
    let total = 200_000;
    for first in (0..total).step_by(500) {
        served.world.publish((first..first + 500).map(testing::exec).collect());
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    let (mut seen, mut lost) = (0_u64, 0_u64);
    while seen + lost < u64::from(total) {
        let event = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
        match event.unwrap().unwrap().event {
            Some(Kind::ProcessExec(_)) => seen += 1,
            Some(Kind::RateLimitInfo(info)) => lost += info.number_of_dropped_process_events,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen + lost, u64::from(total));
    assert!(lost > 0);
}

#[tokio::test]
async fn fifty_clients_get_everything_and_vanish() {
    let served = serve(10_000, 50).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut client = served.compatible().await;
        streams.push(client.get_events(GetEventsRequest::default()).await.unwrap().into_inner());
    }
    served.world.publish((0..100).map(testing::exec).collect());
    for stream in &mut streams {
        for pid in 0..100 {
            assert_eq!(pid_of(&stream.message().await.unwrap().unwrap()), pid);
        }
    }
    drop(streams);
    settle("all to leave", || served.clients() == 0).await;
    served.world.publish(vec![testing::exec(1)]);
}

/// As gRPC's C core asks over a Unix socket: the path of the socket, percent-encoded, as the host.
#[tokio::test]
async fn clients_that_name_the_path_as_the_host_are_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }
    fn field(name: &[u8], value: &str) -> Vec<u8> {
        [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
    }
    let served = serve(10, 1).await;
    let path = served.socket.strip_prefix("unix://").unwrap();
    let block = [
        // Names are spelled out, though the static table has them: so does the C core.
        field(b"@\x05:path", "/tetragon.FineGuidanceSensors/GetVersion"),
        field(b"@\x0a:authority", &path.trim_start_matches('/').replace('/', "%2F")),
        vec![0x83, 0x86],
        field(&[0x5f], "application/grpc"),
        field(&[0x40, 2, b't', b'e'], "trailers"),
    ];
    let request = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &block.concat()),
        frame(0, 1, 1, &[0; 5]),
    ];
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(&request.concat()).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(header[3], 3, "the server reset the stream: {payload:?}");
            if header[3] == 0 {
                return payload;
            }
        }
    });
    let body = answered.await.unwrap();
    assert!(body.ends_with(crate::VERSION.as_bytes()), "{body:?}");
}
