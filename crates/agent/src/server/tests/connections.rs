//! Clients that are many, silent, malformed or gone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Served {
    fn listener(&self) -> Arc<Connections> {
        self.world.state.served.listeners().remove(0)
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.socket.strip_prefix("unix://").unwrap()).await.unwrap()
    }
}

/// What the agent says before it closes the connection.
async fn last_words(stream: &mut UnixStream) -> Vec<u8> {
    let mut told = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut told));
    // A connection that is reset is closed as well.
    let _ = read.await.expect("the agent never closes the connection");
    told
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let served = serve(10, 1).await;
    settle("the listener", || !served.world.state.served.listeners().is_empty()).await;
    let max = 1 + crate::server::connections::BESIDE_CLIENTS;
    let mut open = Vec::new();
    for _ in 0..max {
        open.push(served.raw().await);
    }
    settle("all places to be taken", || served.listener().open() == max).await;
    assert!(last_words(&mut served.raw().await).await.is_empty());
    assert_eq!(served.listener().count(Fate::Refused), 1);
    drop(open);
    settle("all places to be free", || served.listener().open() == 0).await;
    served.compatible().await.get_version(GetVersionRequest {}).await.unwrap();
    assert!(served.listener().count(Fate::Served) >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_loses_its_place() {
    let served = serve(10, 1).await;
    let mut silent = served.raw().await;
    let mut half = served.raw().await;
    half.write_all(&PREFACE[..10]).await.unwrap();
    last_words(&mut silent).await;
    last_words(&mut half).await;
    settle("both places to be free", || served.listener().open() == 0).await;
    assert_eq!((served.listener().count(Fate::Silent), served.listener().count(Fate::Served)), (2, 0));
}

#[tokio::test]
async fn malformed_and_huge_requests_end_their_connection_only() {
    let served = serve(10, 4).await;
    let mut client = served.compatible().await;
    let frame =
        |length: u32, kind: u8| [&length.to_be_bytes()[1..], &[kind, 4, 0, 0, 0, 1], &[0xff; 64]].concat();
    let nonsense = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 4096],
        [PREFACE, &frame(64, 1)].concat(),
        // Longer than any frame that was agreed on.
        [PREFACE, &frame(0xff_ffff, 0)].concat(),
        [PREFACE, &frame(64, 4)].concat(),
    ];
    for bytes in &nonsense {
        let mut stream = served.raw().await;
        let _ = stream.write_all(bytes).await;
        last_words(&mut stream).await;
    }
    let large = "x".repeat(MAX_REQUEST + 1);
    let request = tetragon::AddTracingPolicyRequest { yaml: large, domain: String::new() };
    let refused = client.add_tracing_policy(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    client.get_version(GetVersionRequest {}).await.unwrap();
    drop(client);
    settle("all places to be free", || served.listener().open() == 0).await;
}

#[tokio::test]
async fn two_hundred_clients_come_and_vanish() {
    let served = serve(1000, 256).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let mut client = served.compatible().await;
        streams.push(client.get_events(GetEventsRequest::default()).await.unwrap().into_inner());
    }
    assert_eq!((served.clients(), served.listener().open()), (200, 200));
    served.world.publish((0..50).map(testing::exec).collect());
    for stream in &mut streams {
        for pid in 0..50 {
            assert_eq!(pid_of(&stream.message().await.unwrap().unwrap()), pid);
        }
    }
    drop(streams);
    settle("all to leave", || served.clients() == 0 && served.listener().open() == 0).await;
}
