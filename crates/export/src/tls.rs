//! Secure connections to destinations: whom to trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto};

/// Files of certificates, read for each connection, so that exchanged ones are used without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities to trust; `None`: those of the system.
    pub authorities: Option<PathBuf>,
    /// Our certificate with its chain, and our key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name that the certificate of the destination must have; `None`: the host of the address.
    pub server_name: Option<String>,
}

/// Why no secure connection can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {} as PEM: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of authorities without one.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The name of the destination can be in no certificate.
    #[error("`{0}` is no name that a certificate can have")]
    Name(String),
    /// Certificate and key do not fit, or the library refuses for another reason.
    #[error("the certificates cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::other(error)
    }
}

impl TlsFiles {
    /// What a connection begins with. `protocols`: those offered by ALPN.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn client(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| TlsError::File { path: key.clone(), reason: error.to_string() })?;
                builder.with_client_auth_cert(chain, secret)?
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The name to expect of the destination at this host.
    ///
    /// # Errors
    /// It is no such name.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error: &dyn ToString| TlsError::File { path: path.to_owned(), reason: error.to_string() };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?.collect();
    let found = found.map_err(|error| failed(&error))?;
    if found.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("none.pem");
        let files = TlsFiles { authorities: Some(path.clone()), ..TlsFiles::default() };
        let told = files.client(&[]).unwrap_err().to_string();
        assert!(told.contains("none.pem as PEM"), "{told}");
        std::fs::write(&path, "no certificate").unwrap();
        let told = files.client(&[]).unwrap_err().to_string();
        assert!(told.contains("none.pem holds no certificate"), "{told}");
        assert!(matches!(files.name("a b"), Err(TlsError::Name(_))));
        assert!(files.name("127.0.0.1").is_ok() && files.name("logs.example").is_ok());
    }
}
