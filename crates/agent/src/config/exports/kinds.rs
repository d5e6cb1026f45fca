//! What each kind of export can be told.

use std::path::Path;
use std::time::Duration;

use saker_export::{
    Batching, Body, FACILITIES, FileConfig, Framing, HttpTarget, KafkaConfig, MessageConfig, NatsConfig,
    Protocol, SEVERITIES, Secret, SyslogConfig, TlsFiles, Transport,
};

use super::brokers;
use super::fields::{Fields, absolute};
use crate::config::Output;
use crate::config::value::{self, ValueError};

/// Longest time for a connection or an answer, unless given.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of events after which a batch is sent however few they are.
const BATCH_BYTES: usize = 1 << 20;

/// Where events go, and how.
#[derive(Clone, Debug)]
pub enum ExportKind {
    /// JSON lines in a file with rotation.
    File(FileConfig),
    /// Lines on standard output.
    Stdout(Output),
    /// Messages to a syslog server, at this address.
    Syslog(String, SyslogConfig),
    /// Batches to an HTTP server.
    Webhook(WebhookConfig),
    /// Messages to NATS JetStream, through a spool on disk.
    Nats(NatsConfig),
    /// Records to Kafka, through a spool on disk.
    Kafka(KafkaConfig),
    /// Log records to an OpenTelemetry collector.
    Otlp(OtlpConfig),
}

/// What an export to a collector needs to know.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// Where it is.
    pub target: HttpTarget,
    /// By which of its ways it is reached.
    pub protocol: Protocol,
    /// How events are gathered.
    pub batching: Batching,
}

/// What a webhook needs to know.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where it is.
    pub target: HttpTarget,
    /// What bodies look like.
    pub body: Body,
    /// How events are gathered.
    pub batching: Batching,
}

impl ExportKind {
    /// Its word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Stdout(_) => "stdout",
            Self::Syslog(..) => "syslog",
            Self::Webhook(_) => "webhook",
            Self::Nats(_) => "nats",
            Self::Kafka(_) => "kafka",
            Self::Otlp(_) => "otlp",
        }
    }

    /// Where it goes, for people.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::File(config) => config.path.display().to_string(),
            Self::Stdout(_) => String::new(),
            Self::Syslog(address, _) => address.clone(),
            Self::Webhook(config) => shown(&config.target),
            Self::Nats(config) => {
                let scheme = if config.tls.is_some() { "tls" } else { "nats" };
                format!("{scheme}://{} {}", config.server, config.subject)
            }
            Self::Kafka(config) => format!("{} {}", config.brokers.join(","), config.topic),
            Self::Otlp(config) => shown(&config.target),
        }
    }

    /// A file or directory that no other export may use.
    #[must_use]
    pub fn owned_path(&self) -> Option<&Path> {
        match self {
            Self::File(config) => Some(&config.path),
            Self::Nats(config) => Some(&config.spool.dir),
            Self::Kafka(config) => Some(&config.spool.dir),
            _ => None,
        }
    }
}

/// The words of `kind`.
const KINDS: &[&str] = &["file", "stdout", "syslog", "webhook", "nats", "kafka", "otlp"];

pub(super) fn read(fields: &mut Fields<'_>) -> Option<ExportKind> {
    fields.required("kind", |text| {
        let known = KINDS.contains(&text);
        if known { Ok(()) } else { Err(ValueError::Choice(KINDS.join(", "))) }
    })?;
    match KINDS[fields.choice("kind", KINDS)?] {
        "file" => file(fields).map(ExportKind::File),
        "syslog" => syslog(fields),
        "webhook" => webhook(fields).map(ExportKind::Webhook),
        "nats" => brokers::nats(fields).map(ExportKind::Nats),
        "kafka" => brokers::kafka(fields).map(ExportKind::Kafka),
        "otlp" => otlp(fields).map(ExportKind::Otlp),
        _ => Some(ExportKind::Stdout(stdout(fields))),
    }
}

/// A target without its query, which may hold a secret although it should not.
fn shown(target: &HttpTarget) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    let path = target.path.split('?').next().unwrap_or_default();
    format!("{scheme}://{}{path}", target.authority)
}

fn file(fields: &mut Fields<'_>) -> Option<FileConfig> {
    let count = |fields: &mut Fields<'_>, name, most, default: u32| {
        let given = fields.value(name, |text| value::number(text, 0, most));
        given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default)
    };
    let age = |fields: &mut Fields<'_>, name| {
        fields.value(name, value::duration).filter(|age| *age > Duration::ZERO)
    };
    let path = fields.required("path", absolute);
    let config = FileConfig {
        max_size: u64::from(count(fields, "max-size-mb", 1 << 24, 10)) << 20,
        max_backups: count(fields, "max-backups", 1_000_000, 5) as usize,
        max_age: age(fields, "max-age"),
        interval: age(fields, "rotation-interval"),
        compress: fields.switch("compress"),
        mode: fields.value("perm", value::octal).unwrap_or(0o600),
        path: path.clone().unwrap_or_default(),
    };
    path.map(|_| config)
}

fn stdout(fields: &mut Fields<'_>) -> Output {
    match fields.choice("format", &["json", "compact"]) {
        Some(1) => Output::Compact,
        _ => Output::Json,
    }
}

/// The time a destination has for a connection or an answer.
pub(super) fn timeout(fields: &mut Fields<'_>) -> Duration {
    let given = fields.value("timeout", |text| match value::duration(text)? {
        Duration::ZERO => Err(ValueError::Other("a connection needs some time, such as 10s".into())),
        time if time > Duration::from_secs(600) => Err(ValueError::Other("at most 10m".into())),
        time => Ok(time),
    });
    given.unwrap_or(TIMEOUT)
}

/// Files of certificates. `secure`: the address asks for TLS; else they would have no effect.
pub(super) fn tls(fields: &mut Fields<'_>, secure: bool) -> TlsFiles {
    let (authorities, certificate, key) =
        (fields.path("tls-ca"), fields.path("tls-certificate"), fields.path("tls-key"));
    let server_name = fields.text("tls-server-name");
    let given = [
        ("tls-ca", authorities.is_some()),
        ("tls-certificate", certificate.is_some()),
        ("tls-key", key.is_some()),
        ("tls-server-name", server_name.is_some()),
    ];
    if let Some((name, _)) = given.iter().find(|(_, given)| *given && !secure) {
        fields.wrong(name, "it has no effect, for the address is not one of TLS");
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            fields.wrong("tls-certificate", "it needs `tls-key` beside it");
            None
        }
        (None, Some(_)) => {
            fields.wrong("tls-key", "it needs `tls-certificate` beside it");
            None
        }
    };
    TlsFiles { authorities, identity, server_name }
}

/// `HOST:PORT` or `[IPV6]:PORT`, the port of which may be left out if there is a usual one.
pub(super) fn host_and_port(text: &str, usual: Option<u16>) -> Result<(String, u16), ValueError> {
    let (host, port) = crate::config::settings::host_and_port(text)?;
    match (host.is_empty(), port.or(usual)) {
        (false, Some(port)) => Ok((host, port)),
        (true, _) => Err(ValueError::Address("the host is missing: HOST:PORT".into())),
        (_, None) => Err(ValueError::Address("the port is missing: HOST:PORT".into())),
    }
}

pub(super) fn joined((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn syslog(fields: &mut Fields<'_>) -> Option<ExportKind> {
    let address =
        fields.required("address", |text| syslog_transport(text).map(|found| (text.to_owned(), found)));
    let secure = matches!(address, Some((_, Transport::Tls(..))) | None);
    let files = tls(fields, secure);
    let number = |found: Option<usize>, default: u8| {
        found.and_then(|found| u8::try_from(found).ok()).unwrap_or(default)
    };
    let facility = fields.choice("facility", &FACILITIES);
    let severity = fields.choice("severity", &SEVERITIES);
    let severity_enforcement = fields.choice("severity-enforcement", &SEVERITIES);
    let app_name = fields.value("app-name", |text| {
        let valid = (1..=48).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let what = "it has 1 to 48 printable ASCII characters and no spaces";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let structured = fields.value("structured-data", |text| {
        let letter = |byte: u8| byte.is_ascii_graphic() && !b"=]\"".contains(&byte);
        let valid =
            (1..=32).contains(&text.len()) && text.bytes().all(letter) && text.matches('@').count() == 1;
        let what = "write the id of the element as NAME@ENTERPRISE, such as saker@32473";
        if valid { Ok(text.to_owned()) } else { Err(ValueError::Other(what.into())) }
    });
    let framing = fields.choice("framing", &["octet-counting", "newline"]);
    let bom = fields.value("byte-order-mark", value::switch);
    let timeout = timeout(fields);
    let (address, mut transport) = address?;
    if let Transport::Tls(_, _, own) = &mut transport {
        *own = files;
        if framing == Some(1) {
            fields.wrong("framing", "over TLS messages are always told apart by their length");
        }
    }
    let message = MessageConfig {
        facility: number(facility, 13),
        severity: number(severity, 6),
        severity_enforcement: number(severity_enforcement, 4),
        app_name: app_name.unwrap_or_else(|| "saker".into()),
        structured,
        bom: bom.unwrap_or(true),
    };
    let framing = if framing == Some(1) { Framing::Newline } else { Framing::OctetCounting };
    Some(ExportKind::Syslog(address, SyslogConfig { transport, framing, timeout, message }))
}

fn syslog_transport(text: &str) -> Result<Transport, ValueError> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    match scheme {
        "unixgram" => absolute(rest).map(Transport::UnixDatagram),
        "unix" => absolute(rest).map(Transport::UnixStream),
        "udp" => Ok(Transport::Udp(joined(&host_and_port(rest, Some(514))?))),
        "tcp" => Ok(Transport::Tcp(joined(&host_and_port(rest, Some(601))?))),
        "tls" => {
            let (host, port) = host_and_port(rest, Some(6514))?;
            Ok(Transport::Tls(host, port, TlsFiles::default()))
        }
        _ => Err(ValueError::Address(
            "expected unixgram:///PATH, unix:///PATH, udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT"
                .into(),
        )),
    }
}

/// How events are gathered, unless given: so many, and so long.
fn batching(fields: &mut Fields<'_>, events: u64, linger: Duration) -> Batching {
    let size = fields.value("batch-size", |text| value::number(text, 1, 100_000));
    let time = fields.value("batch-time", |text| match value::duration(text)? {
        time if time > Duration::from_secs(3600) => Err(ValueError::Other("at most 1h".into())),
        time => Ok(time),
    });
    Batching {
        events: size.and_then(|size| u64::try_from(size).ok()).unwrap_or(events),
        bytes: BATCH_BYTES,
        linger: time.unwrap_or(linger),
    }
}

/// A server by the field `url`.
fn http_target(fields: &mut Fields<'_>) -> Option<HttpTarget> {
    let url = fields.required("url", |text| {
        saker_policy::values::parse_url(text).map_err(|problem| ValueError::Address(problem.message))
    });
    let files = tls(fields, url.as_ref().is_none_or(|url| url.tls));
    let headers = fields.texts("headers");
    let secret = secret(fields);
    if let (Some(url), Some(_)) = (&url, &secret)
        && !url.tls
        && !crate::config::settings::is_local(&url.host)
    {
        fields.wrong("url", "a secret would be sent unencrypted to another machine; use https");
    }
    let timeout = timeout(fields);
    url.map(|url| HttpTarget {
        tls: url.tls,
        host: url.host,
        port: url.port,
        authority: url.authority,
        path: url.target,
        files,
        headers,
        secret,
        timeout,
    })
}

/// A header whose value is in a file.
fn secret(fields: &mut Fields<'_>) -> Option<Secret> {
    let token = fields.path("bearer-token-file");
    let header = fields.text("secret-header");
    let file = fields.path("secret-header-file");
    match (token, header, file) {
        (Some(path), None, None) => Some(Secret { header: "authorization".into(), prefix: "Bearer ", path }),
        (None, Some(header), Some(path)) => Some(Secret { header, prefix: "", path }),
        (None, None, None) => None,
        (Some(_), _, _) => {
            fields.wrong("bearer-token-file", "give either it, or `secret-header` with `secret-header-file`");
            None
        }
        _ => {
            fields.wrong("secret-header", "`secret-header` and `secret-header-file` go together");
            None
        }
    }
}

fn webhook(fields: &mut Fields<'_>) -> Option<WebhookConfig> {
    let target = http_target(fields);
    let body = match fields.choice("body", &["array", "lines"]) {
        Some(1) => Body::Lines,
        _ => Body::Array,
    };
    let batching = batching(fields, 100, Duration::from_secs(1));
    target.map(|target| WebhookConfig { target, body, batching })
}

fn otlp(fields: &mut Fields<'_>) -> Option<OtlpConfig> {
    let protocol = match fields.choice("protocol", &["grpc", "http"]) {
        Some(1) => Protocol::Http,
        _ => Protocol::Grpc,
    };
    let target = http_target(fields);
    let batching = batching(fields, 512, Duration::from_millis(500));
    let mut target = target?;
    match protocol {
        // As the specification has it for an address without a path.
        Protocol::Http if target.path == "/" => target.path = "/v1/logs".into(),
        Protocol::Grpc if target.path != "/" => {
            fields.wrong("url", "over gRPC the address has no path; with a path, give `protocol: http`");
        }
        Protocol::Http | Protocol::Grpc => {}
    }
    Some(OtlpConfig { target, protocol, batching })
}
