//! Finding and reaching an agent.

mod tls;

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use saker_agent::config::{self, Address};
use saker_agent::rundir;
use tokio::runtime::{Builder, Runtime};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::output::Usage;
pub use tls::TlsArgs;

/// Largest message accepted from an agent.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where the agent is.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address of the agent: unix:///PATH or HOST:PORT [default: what the agent in --run-dir announced]
    #[arg(long, env = "SAKER_SERVER_ADDRESS")]
    pub server_address: Option<String>,
    /// Run directory of the agent
    #[arg(long, env = "SAKER_RUN_DIR", default_value = "/run/saker")]
    pub run_dir: PathBuf,
    /// Time to wait for the connection, such as 30s; a number alone is seconds
    #[arg(long, default_value = "10", value_parser = timeout)]
    pub timeout: Duration,
    /// Attempts to connect, with pauses of 1, 2, 4 and so on up to 30 seconds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub retries: u32,
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// Reads a time or a number of seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    let read = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => config::duration(text).map_err(|error| error.to_string())?,
    };
    if read.is_zero() { Err("it must be more than 0".into()) } else { Ok(read) }
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
        let parsed = Address::parse(&text).with_context(|| format!("server address `{text}`"));
        let address = parsed.map_err(Usage::of)?;
        let uri = match &address {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => format!("http://[{host}]:{port}"),
            Address::Tcp(host, port) => format!("http://{host}:{port}"),
        };
        let endpoint = Endpoint::from_shared(uri).with_context(|| format!("server address `{text}`"))?;
        let endpoint = endpoint.connect_timeout(self.timeout);
        let secure = match address {
            Address::Tcp(host, port) => self.tls.connector(&host)?.map(|connector| (connector, host, port)),
            // The system says who is at the other end of a socket.
            Address::Unix(_) => None,
        };
        let mut pause = Duration::from_secs(1);
        let mut left = self.retries;
        loop {
            let connected = match &secure {
                Some((connector, host, port)) => {
                    connector.connect(&endpoint, host, *port, self.timeout).await
                }
                None => endpoint.connect().await,
            };
            left = left.saturating_sub(1);
            match connected {
                Ok(channel) => return Ok(channel),
                Err(error) if left == 0 => return Err(unreachable(&text, &error)),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Nobody answers: the reason, and what to look at.
fn unreachable(address: &str, error: &dyn std::error::Error) -> anyhow::Error {
    let reason = root(error);
    anyhow!("no agent answers at {address} ({reason}); is it running, and may you use its socket?")
}

/// What began a chain of errors; those of the transport name only themselves.
fn root<'a>(mut error: &'a (dyn std::error::Error + 'a)) -> &'a (dyn std::error::Error + 'a) {
    while let Some(deeper) = error.source() {
        error = deeper;
    }
    error
}

/// Runs a client on this thread.
///
/// # Errors
/// The system has no means for it.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the client")
}

/// What went wrong with a call, for people: what the agent answered, or that the connection broke.
pub fn refused(status: &tonic::Status) -> anyhow::Error {
    // Whatever comes from the transport and not from the agent has a cause.
    if let Some(cause) = status.source().map(root) {
        return anyhow!(
            "the connection to the agent broke ({cause}); it may have ended: see its log, and `saker status`"
        );
    }
    let error = anyhow!("the agent answered: {} ({:?})", status.message(), status.code());
    // It understood what was asked for and refuses that.
    if status.code() == Code::InvalidArgument { Usage::of(error) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        assert_eq!(timeout("10"), Ok(Duration::from_secs(10)));
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["0", "0s", "", "x", "-1"] {
            timeout(wrong).unwrap_err();
        }
    }

    #[test]
    fn that_nobody_answers_is_said_with_the_reason_in_one_sentence() {
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = unreachable("unix:///x", &tonic::Status::from_error(Box::new(cause)));
        let wanted =
            "no agent answers at unix:///x (entity not found); is it running, and may you use its socket?";
        assert_eq!(crate::output::chain(&error), wanted);
    }

    #[test]
    fn a_broken_connection_is_not_an_answer() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let text = refused(&tonic::Status::from_error(Box::new(cause))).to_string();
        assert!(text.starts_with("the connection to the agent broke (connection reset"), "{text}");
        let error = refused(&tonic::Status::resource_exhausted("64 clients receive events already"));
        assert!(error.to_string().starts_with("the agent answered: 64 clients"), "{error}");
        assert!(refused(&tonic::Status::invalid_argument("bad")).is::<Usage>() && !error.is::<Usage>());
    }
}
