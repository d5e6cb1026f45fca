use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use super::*;

/// A certificate for localhost that is its own authority.
const IDENTITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/requests/testdata/localhost.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/requests/testdata/localhost.key");

fn config(transport: Transport, framing: Framing) -> SyslogConfig {
    let message = MessageConfig {
        facility: 1,
        severity: 6,
        severity_enforcement: 4,
        app_name: "saker".into(),
        structured: None,
        bom: false,
    };
    SyslogConfig { transport, framing, timeout: Duration::from_secs(20), message }
}

fn sink(transport: Transport, framing: Framing) -> SyslogSink {
    SyslogSink::new(config(transport, framing)).unwrap()
}

/// Everything that one connection brings.
fn read_all(listener: TcpListener) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all
    })
}

#[test]
fn octets_are_counted_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let received = read_all(listener);
    let mut sink = sink(Transport::Tcp(address), Framing::OctetCounting);
    let mut lines = b"one\nt w o\n\xc3\xa4\n".to_vec();
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty());
    drop(sink);
    assert_eq!(received.join().unwrap(), b"3 one5 t w o2 \xc3\xa4");
}

#[test]
fn newlines_over_a_stream_of_the_file_system() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let mut sink = sink(Transport::UnixStream(path), Framing::Newline);
    sink.write(&mut b"one\ntwo\n".to_vec()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    drop(sink);
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "one\ntwo\n");
}

#[test]
fn a_closed_connection_is_noticed_and_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut sink = sink(Transport::Tcp(address), Framing::Newline);
    sink.write(&mut b"one\n".to_vec()).unwrap();
    let (mut first, _) = listener.accept().unwrap();
    let mut text = [0; 4];
    first.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one\n");
    drop(first);
    // The end of the connection may take a moment to arrive; until then nothing would notice it.
    std::thread::sleep(Duration::from_millis(200));
    sink.write(&mut b"two\n".to_vec()).unwrap();
    let received = read_all(listener);
    drop(sink);
    assert_eq!(received.join().unwrap(), b"two\n");
}

#[test]
fn nobody_there_is_tried_again_and_keeps_the_lines() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut sink = sink(Transport::Tcp(address), Framing::OctetCounting);
    let mut lines = b"one\n".to_vec();
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    assert_eq!((lines.as_slice(), sink.losses().total()), (&b"one\n"[..], 0));
    assert!(sink.pause(1) < Duration::from_secs(1) && sink.pause(9) > Duration::from_secs(10));
}

#[test]
fn datagrams_too_long_are_counted_and_the_rest_arrives() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sink = sink(Transport::Udp(server.local_addr().unwrap().to_string()), Framing::OctetCounting);
    let mut lines = b"one\n".to_vec();
    lines.extend(vec![b'x'; 70_000]);
    lines.extend(b"\ntwo\n");
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty());
    assert_eq!(sink.losses().of(Loss::TooLong), 1);
    let mut buffer = [0; 100];
    for expected in ["one", "two"] {
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], expected.as_bytes());
    }
}

#[test]
fn a_datagram_socket_that_comes_later() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut sink = sink(Transport::UnixDatagram(path.clone()), Framing::OctetCounting);
    let mut lines = b"one\n".to_vec();
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    let server = UnixDatagram::bind(&path).unwrap();
    sink.write(&mut lines).unwrap();
    let mut buffer = [0; 100];
    let length = server.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"one");
}

#[test]
fn tls_with_a_trusted_authority_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(IDENTITY).unwrap().map(Result::unwrap).collect();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(KEY).unwrap())
        .unwrap();
    let server = Arc::new(server);
    let received = std::thread::spawn(move || {
        let mut texts = Vec::new();
        for _ in 0..2 {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&server)).unwrap(), socket);
            let mut text = Vec::new();
            // Whoever does not trust us ends the connection with an alert.
            let ended = stream.read_to_end(&mut text);
            let _ = stream.flush();
            texts.push((ended.is_ok(), text));
        }
        texts
    });
    let files = |authorities| TlsFiles { authorities, ..TlsFiles::default() };
    let tls = |files| Transport::Tls("localhost".into(), port, files);
    let mut stranger = sink(tls(files(None)), Framing::OctetCounting);
    let told = stranger.write(&mut b"secret\n".to_vec()).unwrap_err();
    let cause = std::error::Error::source(&told).unwrap().to_string();
    assert!(cause.contains("certificate"), "{cause}");
    let mut trusting = sink(tls(files(Some(IDENTITY.into()))), Framing::Newline);
    trusting.write(&mut b"one\ntwo\n".to_vec()).unwrap();
    trusting.close();
    drop(trusting);
    let texts = received.join().unwrap();
    assert_eq!(texts[0], (false, Vec::new()));
    assert_eq!(texts[1], (true, b"3 one3 two".to_vec()));
}
