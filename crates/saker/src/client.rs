//! Finding and reaching an agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use saker_agent::config::Address;
use saker_agent::rundir;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};

/// Largest message accepted from an agent.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Where the agent is.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address of the agent: unix:///PATH or HOST:PORT [default: what the agent in --run-dir announced]
    #[arg(long, env = "SAKER_SERVER_ADDRESS")]
    pub server_address: Option<String>,
    /// Run directory of the agent
    #[arg(long, env = "SAKER_RUN_DIR", default_value = "/run/saker")]
    pub run_dir: PathBuf,
    /// Seconds to wait for the connection
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

impl ServerArgs {
    /// The address: as given, as announced, or where it is by default.
    fn address(&self) -> String {
        let given = self.server_address.clone().filter(|address| !address.is_empty());
        let run_dir = std::path::absolute(&self.run_dir).unwrap_or_else(|_| self.run_dir.clone());
        given
            .or_else(|| rundir::announced_address(&run_dir))
            .unwrap_or_else(|| format!("unix://{}", run_dir.join("saker.sock").display()))
    }

    /// Connects.
    ///
    /// # Errors
    /// The address is wrong, or nobody answers there.
    pub async fn connect(&self) -> Result<Channel> {
        let text = self.address();
        let uri = match Address::parse(&text).with_context(|| format!("server address `{text}`"))? {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => format!("http://[{host}]:{port}"),
            Address::Tcp(host, port) => format!("http://{host}:{port}"),
        };
        let endpoint = Endpoint::from_shared(uri).with_context(|| format!("server address `{text}`"))?;
        let timeout = Duration::from_secs(self.timeout);
        endpoint.connect_timeout(timeout).connect().await.with_context(|| {
            format!("no agent answers at {text}; is it running, and may you use its socket?")
        })
    }
}

/// Runs a client on this thread.
///
/// # Errors
/// The system has no means for it.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the client")
}

/// The status's text as an error: its other parts are for programs.
pub fn refused(status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("the agent answered: {} ({:?})", status.message(), status.code())
}
