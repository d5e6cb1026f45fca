//! Connections with TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::output::Usage;

/// How an agent at HOST:PORT is to be known, and how it is to know us. Any of these makes the connection one with TLS.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Certificate to show to an agent that asks for one, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key_file", env = "SAKER_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// Key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert_file", env = "SAKER_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// Authorities of agents, in PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILES", value_delimiter = ',', env = "SAKER_TLS_CA_CERT_FILES")]
    pub tls_ca_cert_files: Vec<PathBuf>,
    /// Name that the agent's certificate must bear [default: the host of the address]
    #[arg(long, value_name = "NAME", env = "SAKER_TLS_SERVER_NAME")]
    pub tls_server_name: Option<String>,
    /// Take any certificate: the connection is encrypted, but nobody knows with whom
    #[arg(long, conflicts_with = "tls_ca_cert_files")]
    pub tls_skip_verify: bool,
}

impl TlsArgs {
    fn is_wanted(&self) -> bool {
        self.tls_cert_file.is_some()
            || !self.tls_ca_cert_files.is_empty()
            || self.tls_server_name.is_some()
            || self.tls_skip_verify
    }

    /// What connects to an agent on this host; `None`: no encryption is wanted.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn connector(&self, host: &str) -> Result<Option<Secure>> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13])?;
        let builder = if self.tls_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.roots().map_err(Usage::of)?)
        };
        let mut config = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate).map_err(Usage::of)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| Usage::of(anyhow!("no private key in {}: {error}", key.display())))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .with_context(|| format!("the certificate {} cannot be used", certificate.display()))
                    .map_err(Usage::of)?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = self.tls_server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .with_context(|| format!("`{name}` cannot be the name of a server"))
            .map_err(Usage::of)?;
        Ok(Some(Secure { connector: TlsConnector::from(Arc::new(config)), name }))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if self.tls_ca_cert_files.is_empty() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        for path in &self.tls_ca_cert_files {
            for authority in certificates(path)? {
                roots.add(authority).with_context(|| format!("the authority in {}", path.display()))?;
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.with_context(|| format!("cannot read certificates from {}", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "there are no certificates in {}", path.display());
    Ok(found)
}

/// Connects with TLS.
pub struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Secure {
    /// Connects to this host.
    ///
    /// # Errors
    /// Nobody answers there, or somebody who cannot show who it is.
    pub async fn connect(
        &self,
        endpoint: &Endpoint,
        host: &str,
        port: u16,
        patience: Duration,
    ) -> Result<Channel, tonic::transport::Error> {
        let (connector, name, host) = (self.connector.clone(), self.name.clone(), host.to_owned());
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, name, host) = (connector.clone(), name.clone(), host.clone());
            async move {
                let connected = tokio::time::timeout(patience, async {
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    let _ = stream.set_nodelay(true);
                    connector.connect(name, stream).await
                });
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                connected.await.map_err(late)?.map(TokioIo::new)
            }
        });
        endpoint.connect_with_connector(connect).await
    }
}

/// Takes every certificate whose owner has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
