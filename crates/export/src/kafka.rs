//! Events to Kafka, or to another broker that speaks its protocol, through a spool.
//!
//! All replicas in sync must acknowledge a record. Each has a header `saker-id` of its own, which stays the same when it is
//! sent again: the client is not one of Kafka's idempotent producers, so that a record may come twice after a failure.
//! After any failure the connections are made anew, beginning with the brokers of the configuration.

mod partition;
mod split;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rskafka::BackoffConfig;
use rskafka::chrono::{DateTime, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression as Codec, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::task::JoinSet;

use crate::delivery::{Courier, Shared, secret, within};
use crate::{DeliveryError, SpoolConfig, SpoolSink, TlsFiles};
use split::{Failure, Fate};

/// Longest answer of a broker: the topics of a big cluster.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes of a record beside its key and value: header and framing, at most.
const OVERHEAD: usize = 100;

/// What spreads events over the partitions of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaKey {
    /// No key: all go to one partition, another one after each new connection.
    None,
    /// The same key for all: the name of the node.
    Fixed(String),
    /// The id of the process that the event is about.
    Process,
}

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    None,
    /// By gzip.
    Gzip,
    /// By snappy.
    Snappy,
}

/// How the password is shown to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is.
    Plain,
    /// As a proof by SHA-256 (RFC 7677).
    ScramSha256,
    /// As a proof by SHA-512.
    ScramSha512,
}

/// Who we are to the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// How it is shown.
    pub mechanism: Mechanism,
    /// Name.
    pub user: String,
    /// File of the password, read for each connection.
    pub password: PathBuf,
}

/// What an export to Kafka needs to know.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `HOST:PORT` of brokers to begin with; they tell the others.
    pub brokers: Vec<String>,
    /// Over TLS.
    pub tls: Option<TlsFiles>,
    /// Who we are.
    pub login: Option<KafkaLogin>,
    /// How we call ourselves in the logs and quotas of the brokers.
    pub client_id: String,
    /// Where records go; it must be there.
    pub topic: String,
    /// What spreads them.
    pub key: KafkaKey,
    /// How they are compressed.
    pub compression: Compression,
    /// Records of a request, at most.
    pub batch_events: usize,
    /// How long the first event of a request waits for others.
    pub linger: Duration,
    /// Bytes of a request before compression, and so of a record, at most. What is longer is given up.
    pub max_bytes: usize,
    /// Where events wait.
    pub spool: SpoolConfig,
    /// Longest time for a connection, or for an acknowledgement.
    pub timeout: Duration,
}

impl SpoolSink {
    /// Opens the spool and begins to send what is in it to Kafka. The brokers need not be there.
    ///
    /// # Errors
    /// The spool, certificates or secrets cannot be used.
    pub fn kafka(config: KafkaConfig) -> Result<Self, DeliveryError> {
        let _ = builder(&config)?;
        Self::start(config.spool.clone(), Kafka { config, window: VecDeque::new() })
    }
}

fn builder(config: &KafkaConfig) -> Result<ClientBuilder, DeliveryError> {
    // It repeats nothing by itself: whoever calls does that, and tells it.
    let once = BackoffConfig {
        init_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        base: 2.0,
        deadline: Some(Duration::ZERO),
    };
    let mut builder = ClientBuilder::new(config.brokers.clone())
        .client_id(config.client_id.as_str())
        .max_message_size(MAX_ANSWER)
        .backoff_config(once);
    if let Some(files) = &config.tls {
        builder = builder.tls_config(files.client(&[])?);
    }
    if let Some(login) = &config.login {
        let credentials = Credentials::new(login.user.clone(), secret(&login.password)?);
        builder = builder.sasl_config(match login.mechanism {
            Mechanism::Plain => SaslConfig::Plain(credentials),
            Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
            Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
        });
    }
    Ok(builder)
}

struct Kafka {
    config: KafkaConfig,
    /// What was read from the spool and is not confirmed.
    window: VecDeque<Entry>,
}

struct Entry {
    number: u64,
    payload: Bytes,
    /// What became of it; `None`: it is still to be sent.
    fate: Option<Fate>,
}

impl Courier for Kafka {
    const KIND: &'static str = "Kafka";

    fn place(&self) -> String {
        self.config.brokers.join(",")
    }

    async fn session(&mut self, shared: &Shared) -> Result<(), String> {
        let id = shared.spool().id();
        let mut session = Session::open(&self.config, id).await?;
        loop {
            if self.window.is_empty() && !self.fill(shared).await? {
                if shared.is_stopping() {
                    return Ok(());
                }
                shared.filled().await;
                continue;
            }
            let sent = session.send(&self.config, &mut self.window).await;
            self.settle(shared);
            sent?;
        }
    }
}

impl Kafka {
    /// Reads a window from the spool; false: it is empty.
    async fn fill(&mut self, shared: &Shared) -> Result<bool, String> {
        self.read(shared)?;
        if self.window.is_empty() {
            return Ok(false);
        }
        if self.window.len() < self.config.batch_events && !shared.is_stopping() {
            tokio::time::sleep(self.config.linger).await;
            self.read(shared)?;
        }
        Ok(true)
    }

    fn read(&mut self, shared: &Shared) -> Result<(), String> {
        let held: usize = self.window.iter().map(|entry| entry.payload.len()).sum();
        let (events, bytes) = (
            self.config.batch_events.saturating_sub(self.window.len()),
            self.config.max_bytes.saturating_sub(held),
        );
        if events > 0 && bytes > 0 {
            let records = shared.spool().read(events, bytes);
            let records = records.map_err(|error| format!("the spool cannot be read: {error}"))?;
            let entry = |(number, payload)| Entry { number, payload, fate: None };
            self.window.extend(records.into_iter().map(entry));
        }
        Ok(())
    }

    /// Confirms what is done, up to the first that is not.
    fn settle(&mut self, shared: &Shared) {
        while let Some(Entry { number, payload, fate: Some(fate) }) = self.window.front() {
            match fate {
                Fate::Delivered => shared.confirm(number + 1, payload.len()),
                Fate::TooLong => shared.give_up_too_long(number + 1),
            }
            self.window.pop_front();
        }
    }
}

/// Connections to the brokers that lead the partitions.
struct Session {
    client: Client,
    /// Numbers of the partitions, in order, with the connections that were needed so far.
    partitions: Vec<(i32, Option<Arc<PartitionClient>>)>,
    /// Place of the partition for records without a key.
    favourite: usize,
    spool: u64,
}

impl Session {
    async fn open(config: &KafkaConfig, spool: u64) -> Result<Self, String> {
        let builder = builder(config).map_err(|error| error.to_string())?;
        let client = within(config.timeout, builder.build()).await?.map_err(|error| told(&error))?;
        // All topics, as none is made by asking for it so.
        let topics = within(config.timeout, client.list_topics()).await?.map_err(|error| told(&error))?;
        let topic = topics.into_iter().find(|topic| topic.name == config.topic);
        let partitions: Vec<_> =
            topic.into_iter().flat_map(|topic| topic.partitions).map(|number| (number, None)).collect();
        if partitions.is_empty() {
            return Err(format!(
                "the brokers show no topic `{}`; make it, or allow this user to describe and write it",
                config.topic
            ));
        }
        // Made anew, it has other keys.
        let random = RandomState::new().hash_one(0);
        let favourite = usize::try_from(random).unwrap_or_default() % partitions.len();
        Ok(Self { client, partitions, favourite, spool })
    }

    /// Sends what is to be sent of the window, to all partitions at once, and notes what became of it.
    async fn send(&mut self, config: &KafkaConfig, window: &mut VecDeque<Entry>) -> Result<(), String> {
        let mut groups: BTreeMap<usize, Vec<(usize, Record)>> = BTreeMap::new();
        for (index, entry) in window.iter_mut().enumerate().filter(|(_, entry)| entry.fate.is_none()) {
            let key = key(&config.key, &entry.payload);
            if entry.payload.len() + key.map_or(0, <[u8]>::len) + OVERHEAD > config.max_bytes {
                entry.fate = Some(Fate::TooLong);
                continue;
            }
            let place = key.map_or(self.favourite, |key| partition::of(key, self.partitions.len()));
            let record = record(self.spool, entry, key);
            groups.entry(place).or_default().push((index, record));
        }
        let mut tasks = JoinSet::new();
        for (place, records) in groups {
            let partition = self.partition(config, place).await?;
            let (limit, codec) = (config.timeout, codec(config.compression));
            tasks.spawn(async move {
                let partition = &partition;
                split::send(records, |records: Vec<Record>| async move {
                    match within(limit, partition.produce(records, codec)).await {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(error)) if is_too_long(&error) => Err(Failure::TooLong),
                        Ok(Err(error)) => Err(Failure::Other(told(&error))),
                        Err(error) => Err(Failure::Other(error)),
                    }
                })
                .await
            });
        }
        let mut result = Ok(());
        while let Some(done) = tasks.join_next().await {
            let (fates, error) = done.map_err(|error| format!("a task of sending ended: {error}"))?;
            for (index, fate) in fates {
                if let Some(entry) = window.get_mut(index) {
                    entry.fate = Some(fate);
                }
            }
            result = result.and(error.map_or(Ok(()), Err));
        }
        result
    }

    async fn partition(
        &mut self,
        config: &KafkaConfig,
        place: usize,
    ) -> Result<Arc<PartitionClient>, String> {
        let Self { client, partitions, .. } = self;
        let (number, open) = partitions.get_mut(place).ok_or("there is no such partition")?;
        if let Some(open) = open {
            return Ok(Arc::clone(open));
        }
        let connect = client.partition_client(config.topic.as_str(), *number, UnknownTopicHandling::Error);
        let made = within(config.timeout, connect).await?.map_err(|error| told(&error))?;
        Ok(Arc::clone(open.insert(Arc::new(made))))
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::NoCompression,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
    }
}

/// The key of an event, of which `payload` is the JSON line.
fn key<'a>(wanted: &'a KafkaKey, payload: &'a [u8]) -> Option<&'a [u8]> {
    match wanted {
        KafkaKey::None => None,
        KafkaKey::Fixed(key) => Some(key.as_bytes()),
        KafkaKey::Process => partition::exec_id(payload),
    }
}

fn record(spool: u64, entry: &Entry, key: Option<&[u8]>) -> Record {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let timestamp = i64::try_from(now).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    Record {
        key: key.map(<[u8]>::to_vec),
        value: Some(entry.payload.to_vec()),
        headers: BTreeMap::from([(
            "saker-id".to_owned(),
            format!("{spool:016x}-{}", entry.number).into_bytes(),
        )]),
        timestamp: timestamp.unwrap_or_default(),
    }
}

fn is_too_long(error: &Error) -> bool {
    use ProtocolError::{MessageTooLarge, RecordListTooLarge};
    matches!(error, Error::ServerError { protocol_error: MessageTooLarge | RecordListTooLarge, .. })
}

/// What an error means, without the words for attempts that are not made.
fn told(error: &Error) -> String {
    match error {
        Error::ServerError { protocol_error, error_message, .. } => match error_message {
            Some(text) => format!("the broker answers {protocol_error:?}: {text}"),
            None => format!("the broker answers {protocol_error:?}"),
        },
        Error::RetryFailed(rskafka::BackoffError::DeadlineExceded { source, .. })
        | Error::Connection(rskafka::ConnectionError::RetryFailed(
            rskafka::BackoffError::DeadlineExceded { source, .. },
        )) => match source.downcast_ref::<Error>() {
            Some(error) => told(error),
            None => source.to_string(),
        },
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
