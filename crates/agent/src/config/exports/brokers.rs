//! What exports to brokers can be told.

use std::path::PathBuf;
use std::time::Duration;

use saker_export::{
    Compression, KafkaConfig, KafkaKey, KafkaLogin, Mechanism, NatsConfig, NatsLogin, NatsStream, SPOOL_MIN,
    SpoolConfig, Sync,
};

use super::fields::{Fields, absolute};
use super::kinds::{host_and_port, joined, timeout, tls};
use crate::config::settings::is_local;
use crate::config::value::{self, ValueError};

/// Addresses of brokers to begin with.
const MAX_BROKERS: usize = 64;
/// Bytes of a request to Kafka, unless given: below the 1,048,588 that a broker takes unless told otherwise.
const REQUEST_BYTES: u64 = 1_000_000;
/// Records of a request to Kafka, unless given.
const REQUEST_RECORDS: i64 = 512;
/// How long the first record of a request to Kafka waits for others, unless given.
const LINGER: Duration = Duration::from_millis(100);
/// Bytes of a stream that is made, unless given.
const STREAM_BYTES: u64 = 1 << 30;
/// Bytes of a spool, unless given.
const SPOOL_BYTES: u64 = 256 << 20;

pub(super) fn nats(fields: &mut Fields<'_>) -> Option<NatsConfig> {
    let address = fields.required("address", |text| match text.split_once("://") {
        Some(("nats", rest)) => Ok((false, host_and_port(rest, Some(4222))?)),
        Some(("tls", rest)) => Ok((true, host_and_port(rest, Some(4222))?)),
        _ => Err(ValueError::Address("expected nats://HOST:PORT or tls://HOST:PORT".into())),
    });
    let secure = address.as_ref().is_none_or(|(secure, _)| *secure);
    let files = tls(fields, secure);
    if files.server_name.is_some() {
        fields.wrong("tls-server-name", "NATS checks the host of the address; give the name there");
    }
    let subject = fields.required("subject", |text| {
        let valid = !text.is_empty()
            && text.len() <= 255
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>')
            && text.split('.').all(|token| !token.is_empty());
        let what = "a subject has words with dots between them, and neither spaces nor wildcards";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let login = nats_login(fields);
    let create = create_stream(fields);
    let (remote, named) = match &address {
        Some((_, (host, _))) => (!is_local(host), login.tells_secret()),
        None => (false, false),
    };
    if remote && named && !secure {
        fields.wrong("address", "a secret would be sent unencrypted to another machine; use tls://");
    }
    let spool = spool(fields);
    let timeout = timeout(fields);
    let (secure, address) = address?;
    Some(NatsConfig {
        server: joined(&address),
        tls: secure.then_some(files),
        login,
        subject: subject?,
        create,
        spool: spool?,
        timeout,
    })
}

fn nats_login(fields: &mut Fields<'_>) -> NatsLogin {
    let (token, user, password) =
        (fields.path("token-file"), fields.text("user"), fields.path("password-file"));
    let (credentials, nkey) = (fields.path("credentials-file"), fields.path("nkey-file"));
    match (token, user, password, credentials, nkey) {
        (None, None, None, None, None) => NatsLogin::Anonymous,
        (Some(path), None, None, None, None) => NatsLogin::Token(path),
        (None, Some(user), Some(path), None, None) => NatsLogin::Password(user, path),
        (None, None, None, Some(path), None) => NatsLogin::Credentials(path),
        (None, None, None, None, Some(path)) => NatsLogin::NKey(path),
        (_, user, ..) => {
            let message =
                "give one of `token-file`, `user` with `password-file`, `credentials-file` and `nkey-file`";
            fields.wrong(if user.is_some() { "user" } else { "password-file" }, message);
            NatsLogin::Anonymous
        }
    }
}

/// The stream to make, if one is wanted.
fn create_stream(fields: &mut Fields<'_>) -> Option<NatsStream> {
    let wanted = fields.switch("create-stream");
    let name = fields.value("stream", |text| {
        let valid = (1..=255).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b".*>/\\".contains(&byte));
        let what = "a stream's name has no spaces and none of the characters . * > / and \\";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let bytes = fields.value("stream-size", |text| match value::size(text)? {
        size if size < SPOOL_MIN => Err(ValueError::Other("at least 1M".into())),
        size => Ok(size),
    });
    let age = fields.value("stream-max-age", value::duration);
    let replicas = fields.value("stream-replicas", |text| value::number(text, 1, 5));
    let given = [
        ("stream", name.is_some()),
        ("stream-size", bytes.is_some()),
        ("stream-max-age", age.is_some()),
        ("stream-replicas", replicas.is_some()),
    ];
    if let Some((field, _)) = given.iter().find(|(_, given)| *given && !wanted) {
        fields.wrong(field, "it has no effect without `create-stream: true`");
    }
    if wanted && name.is_none() {
        fields.wrong("create-stream", "give the name of the stream in `stream`");
    }
    let name = name.filter(|_| wanted)?;
    Some(NatsStream {
        name,
        max_bytes: bytes.unwrap_or(STREAM_BYTES),
        max_age: age.filter(|age| *age > Duration::ZERO),
        replicas: replicas.and_then(|replicas| usize::try_from(replicas).ok()).unwrap_or(1),
    })
}

/// Where events wait for a broker.
fn spool(fields: &mut Fields<'_>) -> Option<SpoolConfig> {
    let dir = fields.required("spool-dir", absolute);
    let max_bytes = fields.value("spool-size", |text| match value::size(text)? {
        size if size < SPOOL_MIN => Err(ValueError::Other("at least 1M".into())),
        size => Ok(size),
    });
    let sync = match fields.choice("spool-sync", &["always", "interval", "never"]) {
        Some(0) => Sync::Always,
        Some(2) => Sync::Never,
        _ => Sync::Interval,
    };
    Some(SpoolConfig { dir: dir?, max_bytes: max_bytes.unwrap_or(SPOOL_BYTES), sync })
}

pub(super) fn kafka(fields: &mut Fields<'_>) -> Option<KafkaConfig> {
    let secure = fields.switch("tls");
    let files = tls(fields, secure);
    if files.server_name.is_some() {
        fields.wrong("tls-server-name", "Kafka checks the host that each broker gives for itself");
    }
    let login = kafka_login(fields);
    let brokers = brokers(fields, secure, login.is_some());
    let topic = fields.required("topic", |text| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let valid =
            (1..=249).contains(&text.len()) && text.bytes().all(letter) && text != "." && text != "..";
        let what = "a topic has 1 to 249 of the characters A-Z, a-z, 0-9, `.`, `_` and `-`";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let key = match fields.choice("key", &["node", "process", "none"]) {
        Some(1) => KafkaKey::Process,
        Some(2) => KafkaKey::None,
        // The name is filled in where it is known.
        _ => KafkaKey::Fixed(String::new()),
    };
    let compression = match fields.choice("compression", &["none", "gzip", "snappy"]) {
        Some(1) => Compression::Gzip,
        Some(2) => Compression::Snappy,
        _ => Compression::None,
    };
    let client_id = fields.value("client-id", |text| {
        let valid = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let what = "it has 1 to 255 printable ASCII characters and no spaces";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let records = fields.value("batch-size", |text| value::number(text, 1, 100_000));
    let linger = fields.value("batch-time", |text| match value::duration(text)? {
        time if time > Duration::from_secs(60) => Err(ValueError::Other("at most 1m".into())),
        time => Ok(time),
    });
    let max_bytes = fields.value("max-request-size", |text| match value::size(text)? {
        size if !(1_000..=16 << 20).contains(&size) => Err(ValueError::Other("from 1000 to 16M".into())),
        size => Ok(size),
    });
    let spool = spool(fields);
    let timeout = timeout(fields);
    Some(KafkaConfig {
        brokers: brokers?,
        tls: secure.then_some(files),
        login,
        client_id: client_id.unwrap_or_else(|| "saker".into()),
        topic: topic?,
        key,
        compression,
        batch_events: usize::try_from(records.unwrap_or(REQUEST_RECORDS)).unwrap_or(usize::MAX),
        linger: linger.unwrap_or(LINGER),
        max_bytes: usize::try_from(max_bytes.unwrap_or(REQUEST_BYTES)).unwrap_or(usize::MAX),
        spool: spool?,
        timeout,
    })
}

/// Addresses to begin with. `named`: a login goes there.
fn brokers(fields: &mut Fields<'_>, secure: bool, named: bool) -> Option<Vec<String>> {
    const BROKERS: &str = "brokers";
    let before = fields.report.errors();
    let texts = fields.values(BROKERS, |text| host_and_port(text, Some(9092)));
    if fields.report.errors() > before {
        return None;
    }
    if texts.is_empty() {
        fields.wrong(BROKERS, "`brokers` is missing: a list of HOST:PORT");
    } else if texts.len() > MAX_BROKERS {
        fields.wrong(BROKERS, format!("more than {MAX_BROKERS} addresses; some of the brokers are enough"));
    }
    // Also of this machine: they name others, to which the login goes.
    if named && !secure {
        fields.wrong(
            BROKERS,
            "a login would be sent unencrypted to whatever brokers these name; add `tls: true`",
        );
    }
    for (host, _) in &texts {
        if secure && host.contains(':') {
            fields
                .wrong(BROKERS, "over TLS give names or IPv4 addresses, which certificates are checked for");
        }
    }
    (fields.report.errors() == before).then(|| texts.iter().map(joined).collect())
}

fn kafka_login(fields: &mut Fields<'_>) -> Option<KafkaLogin> {
    let mechanism = fields.choice("sasl", &["plain", "scram-sha-256", "scram-sha-512"]);
    let (user, password): (Option<String>, Option<PathBuf>) =
        (fields.text("user"), fields.path("password-file"));
    match (mechanism, user, password) {
        (None, None, None) => None,
        (Some(mechanism), Some(user), Some(password)) => {
            let mechanism = match mechanism {
                0 => Mechanism::Plain,
                1 => Mechanism::ScramSha256,
                _ => Mechanism::ScramSha512,
            };
            Some(KafkaLogin { mechanism, user, password })
        }
        _ => {
            fields.wrong("sasl", "`sasl`, `user` and `password-file` go together");
            None
        }
    }
}
