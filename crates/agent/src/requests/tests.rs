//! Requests to servers of the tests' own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn url(address: impl std::fmt::Display) -> Request {
    Request::Url(address.to_string().into())
}

/// Waits until nothing is open.
fn settled(requester: &Requester) {
    let begin = Instant::now();
    while requester.outcomes().open() > 0 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", requester.outcomes());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kinds and outcomes that were counted, with their number.
fn counted(requester: &Requester) -> Vec<(&'static str, Outcome, u64)> {
    let all = KINDS.iter().zip(0..).flat_map(|(kind, number)| {
        Outcome::ALL.map(|outcome| (*kind, outcome, requester.outcomes().count(number, outcome)))
    });
    all.filter(|(_, _, count)| *count > 0).collect()
}

/// Reads a request to its end.
fn request_of(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

fn answered(listener: &TcpListener, answer: &[u8]) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let request = request_of(&mut stream);
    // The client need not read it all.
    let _ = stream.write_all(answer);
    request
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn pages_are_fetched_and_redirections_are_not_followed() {
    let runtime = runtime();
    let requester = Requester::start(Settings::default(), runtime.handle());
    let (listener, address) = listen();
    requester.ask(&url(format!("http://{address}/a?b=c#d")));
    let request = answered(&listener, b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nnever");
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    let (elsewhere, other) = listen();
    elsewhere.set_nonblocking(true).unwrap();
    requester.ask(&url(format!("http://{address}/")));
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}/\r\ncontent-length: 0\r\n\r\n");
    answered(&listener, moved.as_bytes());
    settled(&requester);
    assert!(elsewhere.accept().is_err(), "the client went elsewhere");
    assert_eq!(counted(&requester), [("url", Outcome::Answered, 2)]);
}

#[test]
fn what_has_no_end_is_not_read_to_it() {
    let runtime = runtime();
    let requester = Requester::start(Settings::default(), runtime.handle());
    let (listener, address) = listen();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        request_of(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut sent = 0_usize;
        while let Ok(written) = stream.write(&[b'x'; 4096]) {
            sent += written;
        }
        let (mut stream, _) = listener.accept().unwrap();
        request_of(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream.write_all(b"more: of it\r\n").is_ok() {}
        sent
    });
    for _ in 0..2 {
        requester.ask(&url(format!("http://{address}/")));
    }
    settled(&requester);
    // Beyond what was read there is what the system's buffers hold.
    assert!(server.join().unwrap() < 32 << 20);
    assert_eq!(counted(&requester), [("url", Outcome::Answered, 1), ("url", Outcome::Malformed, 1)]);
}

/// A server with a certificate for `localhost`.
fn serve_tls(listener: &TcpListener) -> std::io::Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/requests/testdata/");
    let certificate = CertificateDer::from_pem_file(format!("{folder}localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}localhost.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
    stream.flush()?;
    let mut byte = [0];
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0].into());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    Ok(request)
}

#[test]
fn secure_connections_are_to_whom_they_shall_be() {
    let runtime = runtime();
    let (listener, address) = listen();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || [(); 3].map(|()| serve_tls(&listener)));
    let mut roots = RootCertStore::empty();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/requests/testdata/");
    roots.add(CertificateDer::from_pem_file(format!("{folder}localhost.pem")).unwrap()).unwrap();
    let (own, nobody) = (http::Tls::trusting(roots), http::Tls::trusting(RootCertStore::empty()));
    let lookups = http::Lookups::default();
    let get = |url: &str, tls: &http::Tls| runtime.block_on(http::get(url, &lookups, tls));
    assert_eq!(get(&format!("https://{address}/x"), &own), Outcome::Answered);
    assert_eq!(get(&format!("https://localhost:{port}/"), &nobody), Outcome::Tls, "nobody is trusted");
    assert_eq!(get(&format!("https://127.0.0.2:{port}/"), &own), Outcome::Unreachable, "nobody listens");
    // It is for another name.
    let other = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
    let other_address = other.local_addr().unwrap();
    let second = std::thread::spawn(move || serve_tls(&other));
    assert_eq!(get(&format!("https://{other_address}/"), &own), Outcome::Tls);
    assert!(second.join().unwrap().is_err());
    // For the third.
    drop(TcpStream::connect(&*address).unwrap());
    let served = server.join().unwrap();
    assert!(served[0].as_ref().unwrap().starts_with("GET /x HTTP/1.1\r\n"));
    assert!(served[1].is_err());
}

#[test]
fn names_are_looked_up() {
    let runtime = runtime();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let settings = Settings { name_server: Some(server.local_addr().unwrap()), ..Settings::default() };
    let requester = Requester::start(settings, runtime.handle());
    requester.ask(&Request::Name("canary.example".into()));
    let mut message = [0; 512];
    let (length, from) = server.recv_from(&mut message).unwrap();
    let asked = &message[12..length];
    assert_eq!(asked, b"\x06canary\x07example\x00\x00\x01\x00\x01");
    // An answer to another question changes nothing.
    let id = message[0];
    message[2] |= 0x80;
    message[0] = !id;
    server.send_to(&message[..length], from).unwrap();
    server.send_to(b"short", from).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(requester.outcomes().open(), 1);
    message[0] = id;
    server.send_to(&message[..length], from).unwrap();
    settled(&requester);
    assert_eq!(counted(&requester), [("name", Outcome::Answered, 1)]);
}

/// Nothing is waited for longer than allowed, and what finds no room is counted.
#[test]
fn servers_that_never_answer_hold_nothing_up() {
    let runtime = runtime();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (listener, address) = listen();
    let timeout = Duration::from_millis(300);
    let settings = Settings { queue: 4, timeout, name_server: Some(silent.local_addr().unwrap()) };
    let requester = Requester::start(settings, runtime.handle());
    assert_eq!(requester.capacity(), 4);
    let begin = Instant::now();
    for _ in 0..500 {
        requester.ask(&url(format!("http://{address}/")));
        requester.ask(&Request::Name("x.example".into()));
    }
    assert!(begin.elapsed() < timeout, "handing over took {:?}", begin.elapsed());
    settled(&requester);
    assert!(begin.elapsed() < PATIENCE);
    let all: u64 = counted(&requester).iter().map(|(_, _, count)| count).sum();
    assert_eq!(all, 1000);
    let of = |outcome| (0..2).map(|kind| requester.outcomes().count(kind, outcome)).sum::<u64>();
    assert_eq!(of(Outcome::QueueFull) + of(Outcome::Timeout), 1000, "{:?}", counted(&requester));
    assert!(of(Outcome::Timeout) >= 4 && of(Outcome::QueueFull) >= 900, "{:?}", counted(&requester));
    drop(listener);
    requester.ask(&url(format!("http://{address}/")));
    settled(&requester);
    assert_eq!(requester.outcomes().count(0, Outcome::Unreachable), 1);
}
