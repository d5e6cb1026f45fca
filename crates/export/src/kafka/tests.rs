use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto};

use super::*;
use crate::{SPOOL_MIN, Sink, Sync};

/// A certificate for localhost that is its own authority, and our certificate here too.
const IDENTITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/requests/testdata/localhost.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/requests/testdata/localhost.key");

fn config(folder: &Path, port: u16, tls: Option<TlsFiles>) -> KafkaConfig {
    KafkaConfig {
        brokers: vec![format!("localhost:{port}")],
        tls,
        login: None,
        client_id: "saker".into(),
        topic: "events".into(),
        key: KafkaKey::None,
        compression: Compression::None,
        batch_events: 10,
        linger: Duration::ZERO,
        max_bytes: 1000,
        spool: SpoolConfig { dir: folder.join("spool"), max_bytes: SPOOL_MIN, sync: Sync::Never },
        timeout: Duration::from_secs(20),
    }
}

/// The beginning of the first request that comes over TLS from somebody with a certificate, or why none came.
fn broker() -> (u16, Receiver<Result<[u8; 6], String>>) {
    let provider = Arc::new(crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(IDENTITY).unwrap().collect::<Result<_, _>>().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(KEY).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut begin = [0; 6];
            let read = tls.read_exact(&mut begin).map_err(|error| error.to_string());
            if told.send(read.map(|()| begin)).is_err() {
                return;
            }
        }
    });
    (port, seen)
}

fn first(folder: &Path, files: TlsFiles) -> (Result<[u8; 6], String>, String) {
    let (port, seen) = broker();
    let mut sink = SpoolSink::kafka(config(folder, port, Some(files))).unwrap();
    let seen = seen.recv().unwrap();
    let delivery = sink.delivery();
    while delivery.stats().retries == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = delivery.stats().error;
    sink.close();
    (seen, error)
}

#[test]
fn brokers_and_we_show_certificates() {
    let folder = tempfile::TempDir::new().unwrap();
    let authorities = Some(IDENTITY.into());
    let identity = Some((IDENTITY.into(), KEY.into()));
    let ours = TlsFiles { authorities, identity, server_name: None };
    let (seen, _) = first(folder.path(), ours.clone());
    // ApiVersions, after the length.
    assert_eq!(seen.unwrap()[4..], [0, 18]);

    let (seen, _) = first(folder.path(), TlsFiles { identity: None, ..ours.clone() });
    assert!(seen.is_err(), "a request without a certificate");

    // Those of the system, which did not issue it.
    let (seen, error) = first(folder.path(), TlsFiles { authorities: None, ..ours });
    assert!(seen.is_err(), "a request to an unknown broker");
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn errors_are_told_in_few_words() {
    let inner = Error::ServerError {
        protocol_error: ProtocolError::TopicAuthorizationFailed,
        error_message: None,
        request: rskafka::client::error::RequestContext::Topic("t".into()),
        response: None,
        is_virtual: false,
    };
    assert!(!is_too_long(&inner));
    let error = Error::RetryFailed(rskafka::BackoffError::DeadlineExceded {
        deadline: Duration::ZERO,
        source: Box::new(inner),
    });
    assert_eq!(told(&error), "the broker answers TopicAuthorizationFailed");
}
