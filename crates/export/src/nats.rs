//! Events to NATS JetStream, through a spool.
//!
//! Each message has a `Nats-Msg-Id` of its own, which stays the same when it is sent again, so that the stream leaves out
//! what it has already.

use std::collections::VecDeque;
use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::{self, Context, stream};
use async_nats::{ConnectOptions, HeaderMap};
use bytes::Bytes;

use crate::delivery::{Courier, Shared, secret, within};
use crate::{DeliveryError, SpoolConfig, SpoolSink, TlsFiles};

/// Messages, and bytes of them, that wait for their acknowledgement.
const WINDOW: usize = 512;
const WINDOW_BYTES: usize = 1 << 20;

/// Who we are to the server. Secrets are in files, read for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nobody.
    #[default]
    Anonymous,
    /// A token.
    Token(PathBuf),
    /// A name and a password.
    Password(String, PathBuf),
    /// A file of credentials: the JWT of a user, and the seed of its key.
    Credentials(PathBuf),
    /// The seed of an NKey.
    NKey(PathBuf),
}

impl NatsLogin {
    /// Whether something is sent that others may not read. Of keys only signatures are.
    #[must_use]
    pub fn tells_secret(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Password(..))
    }
}

/// A stream to be made if no stream listens to the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsStream {
    /// Its name.
    pub name: String,
    /// Bytes that it may have; what is oldest is dropped for what is new.
    pub max_bytes: u64,
    /// How long it keeps a message; `None`: as long as there is room.
    pub max_age: Option<Duration>,
    /// Servers that hold it.
    pub replicas: usize,
}

/// What an export to NATS needs to know.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// `HOST:PORT`.
    pub server: String,
    /// Over TLS.
    pub tls: Option<TlsFiles>,
    /// Who we are.
    pub login: NatsLogin,
    /// Subject of the messages, which a stream must be there for.
    pub subject: String,
    /// The stream to make if there is none.
    pub create: Option<NatsStream>,
    /// Where events wait.
    pub spool: SpoolConfig,
    /// Longest time for a connection, or for an acknowledgement.
    pub timeout: Duration,
}

impl SpoolSink {
    /// Opens the spool and begins to send what is in it to NATS. The server need not be there.
    ///
    /// # Errors
    /// The spool, certificates or secrets cannot be used.
    pub fn nats(config: NatsConfig) -> Result<Self, DeliveryError> {
        let _ = options(&config)?;
        Self::start(config.spool.clone(), Nats { config, window: VecDeque::new() })
    }
}

fn options(config: &NatsConfig) -> Result<ConnectOptions, DeliveryError> {
    let mut options =
        ConnectOptions::new().name("saker").connection_timeout(config.timeout).max_reconnects(1);
    if let Some(files) = &config.tls {
        options = options.tls_client_config((*files.client(&[])?).clone()).require_tls(true);
    }
    Ok(match &config.login {
        NatsLogin::Anonymous => options,
        NatsLogin::Token(path) => options.token(secret(path)?),
        NatsLogin::Password(user, path) => options.user_and_password(user.clone(), secret(path)?),
        NatsLogin::Credentials(path) => {
            let wrong = |source| DeliveryError::Secret { path: path.clone(), source };
            options.credentials(&secret(path)?).map_err(wrong)?
        }
        NatsLogin::NKey(path) => options.nkey(secret(path)?),
    })
}

struct Nats {
    config: NatsConfig,
    /// What was read from the spool and is not confirmed, by number.
    window: VecDeque<(u64, Bytes)>,
}

/// An acknowledgement that is waited for; `None`: none will come, the message was given up.
type Waiting = (u64, Option<PublishAckFuture>);

impl Courier for Nats {
    const KIND: &'static str = "NATS";

    fn place(&self) -> String {
        self.config.server.clone()
    }

    async fn session(&mut self, shared: &Shared) -> Result<(), String> {
        let Self { config, window } = self;
        let told = |error: &dyn fmt::Display| error.to_string();
        let options = options(config).map_err(|error| told(&error))?;
        let scheme = if config.tls.is_some() { "tls" } else { "nats" };
        let connect = options.connect(format!("{scheme}://{}", config.server));
        let client = within(config.timeout, connect).await?.map_err(|error| told(&error))?;
        let mut context = jetstream::new(client);
        context.set_timeout(config.timeout);
        if let Some(wanted) = &config.create {
            within(config.timeout, create(&context, &config.subject, wanted)).await??;
        }
        let id = shared.spool().id();
        let mut acks: VecDeque<Waiting> = VecDeque::new();
        for (number, payload) in window.iter() {
            acks.push_back(publish(&context, config, id, *number, payload).await?);
        }
        loop {
            while acks.len() < WINDOW {
                let records = shared.spool().read(WINDOW - acks.len(), WINDOW_BYTES);
                let records = records.map_err(|error| format!("the spool cannot be read: {error}"))?;
                if records.is_empty() {
                    break;
                }
                // All of them first: none may be missing if one fails.
                let begin = window.len();
                window.extend(records);
                for (number, payload) in window.range(begin..) {
                    acks.push_back(publish(&context, config, id, *number, payload).await?);
                }
            }
            let Some((number, ack)) = acks.pop_front() else {
                if shared.is_stopping() {
                    return Ok(());
                }
                shared.filled().await;
                continue;
            };
            let is_delivered = ack.is_some();
            if let Some(ack) = ack {
                within(config.timeout, ack.into_future()).await?.map_err(|error| told(&error))?;
            }
            let bytes = window.pop_front().map_or(0, |(_, payload)| payload.len());
            if is_delivered {
                shared.confirm(number + 1, bytes);
            } else {
                shared.give_up_too_long(number + 1);
            }
        }
    }
}

/// Makes the stream unless there is one for the subject, whatever its name and its bounds.
async fn create(context: &Context, subject: &str, wanted: &NatsStream) -> Result<(), String> {
    if context.stream_by_subject(subject).await.is_ok() {
        return Ok(());
    }
    let bounds = stream::Config {
        name: wanted.name.clone(),
        subjects: vec![subject.to_owned()],
        max_bytes: i64::try_from(wanted.max_bytes).unwrap_or(i64::MAX),
        max_age: wanted.max_age.unwrap_or_default(),
        num_replicas: wanted.replicas,
        storage: stream::StorageType::File,
        discard: stream::DiscardPolicy::Old,
        ..stream::Config::default()
    };
    let made = context.create_stream(bounds).await;
    let name = &wanted.name;
    made.map_err(|error| format!("the stream `{name}` cannot be made: {error}"))?;
    tracing::info!(stream = name, subject, "made a stream, for none listened to the subject");
    Ok(())
}

async fn publish(
    context: &Context,
    config: &NatsConfig,
    id: u64,
    number: u64,
    payload: &Bytes,
) -> Result<Waiting, String> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{id:016x}-{number}"));
    let sent = context.publish_with_headers(config.subject.clone(), headers, payload.clone());
    match within(config.timeout, sent).await? {
        Ok(ack) => Ok((number, Some(ack))),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => Ok((number, None)),
        Err(error) => Err(error.to_string()),
    }
}
