//! Certificates of the server, read again when their files change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::config::TlsFiles;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 2000 });
/// Longest file; a bundle of all public authorities has a quarter of it.
const MAX_FILE: u64 = 1 << 20;
/// Bits that let others than owner and group read, or others than the owner write or execute.
const TOO_OPEN: u32 = 0o037;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read the key.
    #[error(
        "the key {} has mode {mode:04o}, which lets others read or change it; fix with `chmod 600 {0}`", path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// They do not fit together.
    #[error("the certificate {} cannot be used: {what}", path.display())]
    Refused {
        /// The server's certificate.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// What tells a file from what it was before.
type Fingerprint = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// The certificates in force.
#[derive(Debug)]
pub struct Certificates {
    files: RwLock<TlsFiles>,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Vec<Fingerprint>>,
    problem: Mutex<String>,
    reloads: [AtomicU64; 2],
}

/// Certificates that are read and not in force yet.
#[derive(Debug)]
pub struct Taken {
    files: TlsFiles,
    seen: Vec<Fingerprint>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen at the next look.
        let seen = Mutex::new(fingerprints(&files));
        let current = RwLock::new(Arc::new(config(&files)?));
        Ok(Self {
            files: RwLock::new(files),
            current,
            seen,
            problem: Mutex::default(),
            reloads: Default::default(),
        })
    }

    /// For a connection that begins now.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Times that other files were taken up, and that they could not be.
    #[must_use]
    pub fn reloads(&self) -> [u64; 2] {
        self.reloads.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Why the files that are there now are not in force; empty: they are.
    #[must_use]
    pub fn problem(&self) -> String {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads other files, which [`Certificates::take`] puts in the place of those that are followed.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn read(files: TlsFiles) -> Result<Taken, TlsError> {
        let seen = fingerprints(&files);
        let config = Arc::new(config(&files)?);
        Ok(Taken { files, seen, config })
    }

    /// For connections that begin from now on.
    pub fn take(&self, taken: Taken) {
        let Taken { files, seen, config } = taken;
        // Held first, so that no look at the old files comes between.
        let mut known = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if *now == files && *known == seen {
            return;
        }
        tracing::info!(certificate = %files.certificate.display(), "the server has other certificates; connections that are open stay");
        (*now, *known) = (files, seen);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.reloads[0].fetch_add(1, Ordering::Relaxed);
        problem.clear();
    }

    /// Follows the files for ever.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let own = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || own.look()).await;
        }
    }

    /// Takes up files that have changed since the last look. Without success the old certificates stay.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = fingerprints(&files);
        if *seen == found {
            return;
        }
        *seen = found;
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match config(&files) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                self.reloads[0].fetch_add(1, Ordering::Relaxed);
                problem.clear();
                tracing::info!(
                    certificate = %files.certificate.display(),
                    "the server's certificates were read again; connections that are open stay"
                );
            }
            Err(error) => {
                self.reloads[1].fetch_add(1, Ordering::Relaxed);
                *problem = format!("changed certificates of the server are not in force: {error}");
                tracing::error!("{problem}; the old ones stay");
            }
        }
    }
}

fn fingerprints(files: &TlsFiles) -> Vec<Fingerprint> {
    let of = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        Some((found.dev(), found.ino(), found.size(), modified.0, modified.1, changed.0, changed.1))
    };
    files.all().map(of).collect()
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = key(&files.key)?;
    let refused = |what: String| TlsError::Refused { path: files.certificate.clone(), what };
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| refused(error.to_string()))?;
    let builder = if files.clients.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for path in &files.clients {
            for authority in certificates(path)? {
                let wrong = |error: tokio_rustls::rustls::Error| TlsError::Refused {
                    path: path.clone(),
                    what: error.to_string(),
                };
                roots.add(authority).map_err(wrong)?;
            }
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.map_err(|error| refused(error.to_string()))?)
    };
    // It also says whether key and certificate belong together.
    let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn read(path: &Path, check: impl Fn(&fs::Metadata) -> Result<(), TlsError>) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    check(&metadata)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other("it is longer than 1 MiB")));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path, |_| Ok(()))?;
    let empty = || TlsError::Empty { path: path.to_owned(), what: "certificates" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(empty)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path, |metadata| {
        let mode = metadata.mode() & 0o7777;
        let open = || TlsError::Open { path: path.to_owned(), mode };
        if mode & TOO_OPEN == 0 { Ok(()) } else { Err(open()) }
    })?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| TlsError::Empty { path: path.to_owned(), what: "private key" })
}

/// Names a certificate as `openssl x509 -fingerprint -sha256` does, for the log.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let suite = crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().map(|suite| suite.common.hash_provider.hash(certificate));
    let hash = hash.as_ref().map_or(&[][..], AsRef::as_ref);
    let pairs: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("the certificate {}", pairs.join(":"))
}

#[cfg(test)]
mod tests;
