//! Certificates made by openssl, and clients that show them or do not.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use hyper_util::rt::TokioIo;
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{AddTracingPolicyRequest, GetVersionRequest, ListTracingPoliciesRequest};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ClientConfig, SupportedProtocolVersion};
use tonic::transport::{Channel, Endpoint, Uri};

use super::*;
use crate::policies::testing::policy;
use crate::server::tests::service;
use crate::server::{Fate, Listeners};
use crate::testing::World;

/// Authorities and what they issued, in a directory.
struct Authority {
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { directory: TempDir::new().unwrap() };
        let request =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority";
        authority.openssl(&format!("{request} -keyout ca.key -out ca.pem"));
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split(' '))
            .current_dir(self.directory.path())
            .output()
            .expect("openssl is needed: run scripts/install-deps test");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Issues a certificate for this machine: `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) {
        fs::write(self.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        let request = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        self.openssl(&format!("{request} -subj /CN={name} -keyout {name}.new -out {name}.csr"));
        let issue = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        self.openssl(&format!("{issue} -in {name}.csr -out {name}.crt"));
        let key = fs::read(self.path(&format!("{name}.new"))).unwrap();
        fs::remove_file(self.path(&format!("{name}.new"))).unwrap();
        self.write(&format!("{name}.key"), &key, 0o600);
        fs::rename(self.path(&format!("{name}.crt")), self.path(&format!("{name}.pem"))).unwrap();
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let _ = fs::remove_file(self.path(name));
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn files(&self, clients: &[&str]) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: clients.iter().map(|name| self.path(name)).collect(),
        }
    }
}

struct Served {
    world: World,
    certificates: Arc<Certificates>,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

fn serve(files: TlsFiles) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (world, certificates) = (World::new(), Arc::new(Certificates::load(files).unwrap()));
    let (stop, stopping) = watch::channel(false);
    let listeners = Listeners {
        tcp: Some(listener),
        certificates: Some(Arc::clone(&certificates)),
        ..Listeners::default()
    };
    tokio::spawn(service(&world, 10, 10, false).serve(listeners, stopping));
    Served { world, certificates, address, _stop: stop }
}

type Client = FineGuidanceSensorsClient<Channel>;

impl Served {
    /// A client that trusts the authority and shows a certificate of this name, if any.
    async fn connect(
        &self,
        authority: &Authority,
        shown: Option<&str>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Client, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&authority.path("ca.pem")).unwrap());
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            Some(name) => {
                let chain = certificates(&authority.path(&format!("{name}.pem"))).unwrap();
                let key = key(&authority.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, address) = (TlsConnector::from(Arc::new(config)), self.address);
        let connect = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
        let mut client = Client::new(channel.map_err(|error| format!("{error:?}"))?);
        // With TLS 1.3 a client learns late that its certificate is not taken.
        match client.get_version(GetVersionRequest {}).await {
            Ok(_) => Ok(client),
            Err(status) => Err(format!("{status:?}")),
        }
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_need_tls_and_may_look_but_not_change() {
    let authority = Authority::new();
    authority.issue("server");
    let served = serve(authority.files(&[]));
    let mut client = served.connect(&authority, None, &TLS13).await.unwrap();
    client.list_tracing_policies(ListTracingPoliciesRequest::default()).await.unwrap();
    let add = AddTracingPolicyRequest { yaml: policy("a", &["f"]), ..Default::default() };
    let refused = client.add_tracing_policy(add).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    served.connect(&authority, None, &TLS12).await.expect_err("TLS 1.2 was served");
    let plain = format!("http://{}", served.address);
    let plain = Endpoint::from_shared(plain).unwrap().connect().await;
    if let Ok(channel) = plain {
        Client::new(channel).get_version(GetVersionRequest {}).await.expect_err("served without encryption");
    }
    served.connect(&Authority::new(), None, &TLS13).await.expect_err("the authority is another");
    let failed = || served.world.state.served.listeners()[0].count(Fate::Unsafe);
    until("the failed handshakes", || failed() >= 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_clients_are_known_and_may_change() {
    let (authority, other) = (Authority::new(), Authority::new());
    for name in ["server", "client"] {
        authority.issue(name);
    }
    other.issue("stranger");
    for end in ["pem", "key"] {
        let name = format!("stranger.{end}");
        authority.write(&name, &fs::read(other.path(&name)).unwrap(), 0o600);
    }
    let served = serve(authority.files(&["ca.pem"]));
    let mut client = served.connect(&authority, Some("client"), &TLS13).await.unwrap();
    let add = AddTracingPolicyRequest { yaml: policy("a", &["f"]), ..Default::default() };
    client.add_tracing_policy(add).await.unwrap();
    served.connect(&authority, None, &TLS13).await.expect_err("a client without certificate was served");
    served.connect(&authority, Some("stranger"), &TLS13).await.expect_err("another authority's was taken");
    let certificate = certificates(&authority.path("client.pem")).unwrap().remove(0);
    let shown = fingerprint(&certificate);
    assert_eq!(shown.len(), "the certificate ".len() + 32 * 3 - 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_taken_up_and_bad_ones_are_not() {
    let authority = Authority::new();
    authority.issue("server");
    let served = serve(authority.files(&[]));
    let mut before = served.connect(&authority, None, &TLS13).await.unwrap();
    let old = served.certificates.current();
    authority.write("server.pem", b"half a certif", 0o644);
    until("the bad certificate to be noticed", || served.certificates.reloads() == [0, 1]).await;
    assert!(served.certificates.problem().contains("server.pem holds no certificates"));
    let problems = served.world.state.status().problems.join("\n");
    assert!(problems.contains("server.pem holds no certificates"), "{problems}");
    served.connect(&authority, None, &TLS13).await.expect("the old certificate stays in force");
    authority.issue("server");
    until("the new certificate", || served.certificates.reloads()[0] >= 1).await;
    until("the problem to be gone", || served.certificates.problem().is_empty()).await;
    assert!(!Arc::ptr_eq(&old, &served.certificates.current()));
    served.connect(&authority, None, &TLS13).await.unwrap();
    before.get_version(GetVersionRequest {}).await.expect("open connections stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_take_the_place_of_those_that_are_followed() {
    let authority = Authority::new();
    authority.issue("server");
    let served = serve(authority.files(&[]));
    let old = served.certificates.current();
    let other = |name: &str| TlsFiles {
        certificate: authority.path(&format!("{name}.pem")),
        key: authority.path(&format!("{name}.key")),
        ..authority.files(&[])
    };
    Certificates::read(other("nothing")).unwrap_err();
    assert!(Arc::ptr_eq(&old, &served.certificates.current()));
    authority.issue("second");
    // The same as before is nothing new.
    served.certificates.take(Certificates::read(authority.files(&[])).unwrap());
    assert_eq!(served.certificates.reloads(), [0, 0]);
    served.certificates.take(Certificates::read(other("second")).unwrap());
    assert_eq!(served.certificates.reloads(), [1, 0]);
    assert!(!Arc::ptr_eq(&old, &served.certificates.current()));
    served.connect(&authority, None, &TLS13).await.unwrap();
    // From now on these are followed.
    authority.issue("second");
    until("the changed certificate", || served.certificates.reloads()[0] >= 2).await;
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    let authority = Authority::new();
    authority.issue("server");
    authority.issue("other");
    let refused = |files: TlsFiles| Certificates::load(files).unwrap_err().to_string();
    let files = authority.files(&[]);
    let error = refused(TlsFiles { key: authority.path("other.key"), ..files.clone() });
    assert!(error.contains("server.pem cannot be used"), "{error}");
    let error = refused(TlsFiles { key: authority.path("nothing"), ..files.clone() });
    assert!(error.contains("cannot read") && error.contains("nothing"), "{error}");
    let error = refused(TlsFiles { certificate: authority.path("server.key"), ..files.clone() });
    assert!(error.contains("holds no certificates"), "{error}");
    for mode in [0o644, 0o604, 0o660] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(files.clone());
        assert!(error.contains("lets others read or change it; fix with `chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400, 0o640] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        Certificates::load(files.clone()).unwrap();
    }
    let error = refused(TlsFiles { clients: vec![authority.path("server.key")], ..files });
    assert!(error.contains("server.key holds no certificates"), "{error}");
}
