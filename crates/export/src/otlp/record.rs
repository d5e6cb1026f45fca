//! An event as a log record, with the attributes of the semantic conventions where these have one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use prost::encoding::{decode_varint, encode_varint};
use saker_api::event::{Event, EventKind, Process, ProcessView};
use saker_api::filter::Subscription;
use saker_api::passage::Told;

use super::message::{AnyValue, ArrayValue, KeyValue, LogRecord, ResourceMessage, Scope, Value};
use crate::Encoder;

/// Numbers of severities.
const INFO: (i32, &str) = (9, "INFO");
const WARN: (i32, &str) = (13, "WARN");

/// Who the records are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// `host.name`.
    pub host: String,
    /// `k8s.cluster.name`; empty: left out.
    pub cluster: String,
}

impl Resource {
    /// The fields of the resource and of the scope, as they stand before records.
    pub(super) fn encoded(&self) -> (Vec<u8>, Vec<u8>) {
        let version = env!("CARGO_PKG_VERSION");
        let mut attributes = Attributes::default();
        attributes.text("service.name", "saker");
        attributes.text("service.version", version);
        attributes.text("host.name", &self.host);
        attributes.text("k8s.cluster.name", &self.cluster);
        let scope = Scope { name: "saker".into(), version: version.into() };
        (message(1, &ResourceMessage { attributes: attributes.0 }), message(1, &scope))
    }
}

/// Begins a field that holds so many bytes.
pub(super) fn field(number: u8, length: usize, out: &mut Vec<u8>) {
    // Of wire type 2, for all numbers below 16.
    out.push(number << 3 | 2);
    encode_varint(length as u64, out);
}

fn message(number: u8, message: &impl Message) -> Vec<u8> {
    let mut out = Vec::new();
    field(number, message.encoded_len(), &mut out);
    out.extend_from_slice(&message.encode_to_vec());
    out
}

/// How many records these bytes hold, as the encoder wrote them.
#[must_use]
pub fn count_records(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(rest) = bytes.get(1..) {
        bytes = rest;
        let Ok(length) = decode_varint(&mut bytes) else { break };
        count += 1;
        bytes = usize::try_from(length).ok().and_then(|length| bytes.get(length..)).unwrap_or_default();
    }
    count
}

/// Writes an event as a field of the records of a request. The body is the line of another encoder. Attributes are of
/// their own choice, so events of which fields are left out for this receiver have none.
#[must_use]
pub fn otlp_encoder(wanted: Arc<Subscription>, mut line: Encoder) -> Encoder {
    let mut text = Vec::new();
    Box::new(move |told, out| {
        text.clear();
        line(told, &mut text);
        let event = told.newest();
        if let Told::Limited { held, .. } = *told {
            let mut attributes = Attributes::default();
            attributes.number("saker.rate_limit.dropped", i64::try_from(held).unwrap_or(i64::MAX));
            write(event, WARN, "rate_limit_info", attributes, &text, out);
            return;
        }
        let notable = event.kind.is_enforcement() || matches!(event.kind, EventKind::Gap(_));
        let severity = if notable { WARN } else { INFO };
        let shown = if wanted.fields.concern(event) { Attributes::default() } else { attributes(event) };
        write(event, severity, event.kind.name(), shown, &text, out);
    })
}

fn write(
    event: &Event,
    (severity_number, severity_text): (i32, &str),
    name: &str,
    attributes: Attributes,
    line: &[u8],
    out: &mut Vec<u8>,
) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let body = String::from_utf8_lossy(line).into_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let record = LogRecord {
        time_unix_nano: event.time.0,
        severity_number,
        severity_text: severity_text.into(),
        body: Some(AnyValue { value: Some(Value::String(body)) }),
        attributes: attributes.0,
        observed_time_unix_nano: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        event_name: name.into(),
    };
    field(2, record.encoded_len(), out);
    out.extend_from_slice(&record.encode_to_vec());
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) });
    }

    /// Empty texts are left out.
    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.add(key, Value::String(text.into()));
        }
    }

    fn number(&mut self, key: &str, number: impl Into<i64>) {
        self.add(key, Value::Int(number.into()));
    }
}

fn attributes(event: &Event) -> Attributes {
    let mut attributes = Attributes::default();
    let (process, parent, _) = event.kind.processes();
    if let Some(view) = process {
        of_process(&view.process, parent, &mut attributes);
    }
    match &event.kind {
        EventKind::Exit(exit) => {
            if exit.signal == 0 {
                attributes.number("process.exit.code", exit.status);
            } else {
                attributes.number("saker.exit.signal", exit.signal);
            }
        }
        EventKind::Hook(hook) => {
            attributes.number("thread.id", hook.caller.tid);
            attributes.text("saker.policy.name", &hook.hook.policy);
            attributes.text("saker.policy.namespace", &hook.hook.policy_namespace);
            attributes.text("saker.function", &hook.function);
            attributes.add("saker.enforced", Value::Bool(event.kind.is_enforcement()));
        }
        EventKind::Gap(gap) => {
            attributes.text("saker.gap.stage", gap.stage);
            attributes.number("saker.gap.lost", i64::try_from(gap.lost).unwrap_or(i64::MAX));
        }
        _ => {}
    }
    attributes
}

fn of_process(process: &Process, parent: Option<&ProcessView>, attributes: &mut Attributes) {
    attributes.number("process.pid", process.pid);
    attributes.text("saker.exec_id", &process.exec_id);
    attributes.text("saker.parent_exec_id", &process.parent_exec_id);
    if let Some(parent) = parent {
        attributes.number("process.parent_pid", parent.process.pid);
    }
    attributes.text("process.executable.path", &process.binary);
    let name = process.binary.rsplit('/').next().unwrap_or_default();
    attributes.text("process.executable.name", name);
    attributes.text("process.working_directory", &process.cwd);
    attributes.text("process.owner", process.user.as_deref().unwrap_or_default());
    if !process.flags.ends_with("unknown") {
        attributes.number("process.user.id", process.uid);
    }
    attributes.add("process.command_args", Value::Array(ArrayValue { values: arguments(process) }));
    attributes.text("container.id", &process.docker);
    if let Some(pod) = &process.pod {
        attributes.text("k8s.namespace.name", &pod.namespace);
        attributes.text("k8s.pod.name", &pod.name);
        attributes.text("k8s.pod.uid", &pod.uid);
        if let Some(container) = &pod.container {
            attributes.text("k8s.container.name", &container.name);
            let image = container.image.as_ref().map_or("", |image| &image.name);
            attributes.text("container.image.name", image);
        }
    }
}

/// The arguments, the program's name first: the exact ones where the joined form would be ambiguous.
fn arguments(process: &Process) -> Vec<AnyValue> {
    let text = |text: &str| AnyValue { value: Some(Value::String(text.into())) };
    if !process.extra.argv.is_empty() {
        return process.extra.argv.iter().map(|argument| text(argument)).collect();
    }
    let rest = process.arguments.split(' ').filter(|argument| !argument.is_empty());
    std::iter::once(&*process.binary).chain(rest).map(text).collect()
}
