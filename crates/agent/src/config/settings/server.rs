//! Where the agent is served, to whom, and with which certificates.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::{Address, Reader, host_and_port};
use crate::config::value::{self, ValueError};

/// Bytes that the path of a socket may have.
const SOCKET_PATH_MAX: usize = 107;

/// The gRPC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Unix socket; `None`: not served.
    pub socket: Option<PathBuf>,
    /// Its permissions.
    pub socket_mode: u32,
    /// Its group, as a name or a number; empty: the agent's.
    pub socket_group: String,
    /// TCP address; `None`: not served.
    pub tcp: Option<(String, u16)>,
    /// Certificates of that address; `None`: it is served without encryption.
    pub tls: Option<TlsFiles>,
    /// As it was written, for the info file.
    pub address: String,
    /// Events that may wait for a client.
    pub queue: usize,
    /// Clients at once.
    pub clients: usize,
    /// Clients of the TCP address without a certificate may change policies.
    pub changes: bool,
    /// Deprecated calls are served.
    pub deprecated: bool,
}

/// The files of a server with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and those of its issuers.
    pub certificate: PathBuf,
    /// The key of the first of them.
    pub key: PathBuf,
    /// Authorities of clients; empty: clients need no certificate.
    pub clients: Vec<PathBuf>,
}

impl TlsFiles {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.clients)
    }
}

/// Only this machine can reach it.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Reader<'_> {
    pub(super) fn server(&mut self, run_dir: &Path) -> Server {
        let own = run_dir.join("saker.sock");
        let address = if self.is_set("server-address") {
            self.text("server-address")
        } else {
            format!("unix://{}", own.display())
        };
        let (socket, tcp) = match (!address.is_empty()).then(|| Address::parse(&address)) {
            None => (None, None),
            Some(Ok(Address::Unix(path))) => (Some(path), None),
            Some(Ok(Address::Tcp(host, port))) => (Some(own), Some((host, port))),
            Some(Err(error)) => {
                self.wrong("server-address", error);
                (None, None)
            }
        };
        let tls = self.tls(tcp.is_some());
        let remote = self.switch("server-allow-remote");
        let authenticated = tls.as_ref().is_some_and(|files| !files.clients.is_empty());
        if let Some((host, _)) = &tcp
            && !is_local(host)
            && !remote
            && !authenticated
        {
            let what = "other machines could reach it and clients need no certificate; use localhost or a unix \
                        socket, ask for certificates with --server-tls-require-client-cert, or allow it with \
                        --server-allow-remote";
            self.wrong("server-address", ValueError::Address(what.into()));
        }
        if socket.as_ref().is_some_and(|path| path.as_os_str().len() > SOCKET_PATH_MAX) {
            let name = if self.is_set("server-address") { "server-address" } else { "run-dir" };
            let what = format!("the path of a socket may have {SOCKET_PATH_MAX} bytes at most");
            self.wrong(name, ValueError::Address(what));
        }
        Server {
            socket,
            socket_mode: self.value("server-socket-mode", value::octal),
            socket_group: self.text("server-socket-group"),
            tcp,
            tls,
            address,
            queue: self.count("event-queue-size", 1, 10_000_000) as usize,
            clients: self.count("max-clients", 1, 100_000) as usize,
            changes: self.switch("server-allow-changes"),
            deprecated: self.switch("enable-deprecated-tracingpolicy-grpc"),
        }
    }

    fn tls(&mut self, tcp: bool) -> Option<TlsFiles> {
        const CERTIFICATE: &str = "server-tls-cert-file";
        const KEY: &str = "server-tls-key-file";
        const CLIENTS: &str = "server-tls-client-ca-files";
        const REQUIRED: &str = "server-tls-require-client-cert";
        let (config, required) = (self.config, self.switch(REQUIRED));
        let mut wrong = |name, what: &str| self.wrong(name, ValueError::Other(what.into()));
        let (certificate, key) = (config.get(CERTIFICATE), config.get(KEY));
        match (certificate.is_empty(), key.is_empty()) {
            (false, true) => wrong(CERTIFICATE, "it needs server-tls-key-file too"),
            (true, false) => wrong(KEY, "it needs server-tls-cert-file too"),
            (false, false) if !tcp => {
                wrong(CERTIFICATE, "TLS is for a server-address with HOST:PORT, and that is none");
            }
            _ => {}
        }
        let clients = value::list(config.get(CLIENTS));
        match (required, clients.is_empty()) {
            (true, true) => wrong(REQUIRED, "it needs server-tls-client-ca-files too"),
            (false, false) => wrong(CLIENTS, "it has no effect without server-tls-require-client-cert"),
            (true, false) if certificate.is_empty() => {
                wrong(REQUIRED, "it needs server-tls-cert-file and server-tls-key-file too");
            }
            _ => {}
        }
        (!certificate.is_empty() && !key.is_empty()).then(|| TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
            clients: clients.into_iter().map(PathBuf::from).collect(),
        })
    }

    /// `HOST:PORT` of an option; empty: not served.
    pub(super) fn listener(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let error = match host_and_port(&text) {
            Ok((host, Some(port))) => {
                let host = if host.is_empty() { Ipv4Addr::UNSPECIFIED.to_string() } else { host };
                return Some(if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                });
            }
            Ok((_, None)) => ValueError::Address("the port is missing: HOST:PORT or :PORT".into()),
            Err(error) => error,
        };
        self.wrong(name, error);
        None
    }
}
