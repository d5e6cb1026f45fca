//! A client as others build one: from the compatible definitions and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};

/// Messages and clients of the compatible services.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("tetragon");
}

/// The standard health service.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Threads for clients.
///
/// # Errors
/// The system has none.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().context("no threads for clients")
}

/// Connects to an agent: `unix:///PATH` or `http://HOST:PORT`.
///
/// # Errors
/// Nobody answers.
pub async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.timeout(Duration::from_secs(120));
    endpoint.connect().await.with_context(|| format!("nobody answers at {address}"))
}

/// Bytes of memory that a process has in use.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

/// Files that a process has open.
///
/// # Errors
/// It is gone.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd")))?.count())
}
