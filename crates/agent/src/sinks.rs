//! The sinks that the configuration asks for.

mod exchange;

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use saker_api::compact::Compact;
use saker_api::filter::Subscription;
use saker_api::json;
use saker_api::passage::{Audience, LiveFilters, Passage};
use saker_export::{
    Batching, Delivery, Encoder, FileConfig, FileSink, KafkaKey, Limits, OtlpSink, Queue, Resource, Rotation,
    Sink, SpoolSink, StdoutSink, SyslogSink, WebhookSink, Worker, WorkerConfig, otlp_encoder, syslog_encoder,
};

use crate::config::exports::{ExportDef, ExportKind, OtlpConfig, WebhookConfig};
use crate::config::{Console, Output, Settings};
use crate::fanout::Fanout;
use crate::pipeline::Request;
use crate::state::SinkHandle;
pub(crate) use exchange::exchange;

/// Opens all sinks, starts their workers, and adds their queues.
///
/// # Errors
/// A file that cannot be opened, or a filter that cannot be understood.
pub fn start(
    settings: &Settings,
    fanout: &Arc<Fanout>,
    requests: &Sender<Request>,
) -> Result<Vec<SinkHandle>> {
    let mut sinks = Vec::new();
    if let Some(export) = &settings.export {
        let filters = LiveFilters::new(Arc::clone(&export.wanted));
        let config = WorkerConfig {
            on_closed: stop(requests, "nobody reads the pipe of export-filename any more"),
            passage: Passage::new(Arc::clone(&export.wanted), Audience::Export).following(&filters),
            ..worker(json_lines(Arc::clone(&export.wanted)), &export.wanted)
        };
        let sink = FileSink::open(export.file.clone()).context("export-filename")?;
        let target = export.file.path.display().to_string();
        let place = Place { name: "file", kind: "file", target, queue: settings.queue, delivery: None };
        let handle = start_one(place, Box::new(sink), config, fanout)?;
        let rotation = Some(Mutex::new(rotation(&export.file)));
        sinks.push(SinkHandle { rotation, filters: Some(filters), ..handle });
    }
    if let Some(encoder) = console(settings.console.output, settings.console, &Arc::default()) {
        let on_closed = stop(requests, "standard output was closed");
        let config = WorkerConfig { on_closed, ..worker(encoder, &Arc::default()) };
        let place = Place {
            name: "stdout",
            kind: "stdout",
            target: String::new(),
            queue: settings.queue,
            delivery: None,
        };
        sinks.push(start_one(place, Box::new(StdoutSink::new()), config, fanout)?);
    }
    for export in &settings.exports {
        sinks.push(declared(export, settings, fanout).with_context(|| format!("export `{}`", export.name))?);
    }
    Ok(sinks)
}

/// Opens an export of the configuration, and has it work.
fn declared(export: &ExportDef, settings: &Settings, fanout: &Arc<Fanout>) -> Result<SinkHandle> {
    let opened = open(export, settings)?;
    let queue = queue(export);
    let handle = work(export, opened, &queue)?;
    fanout.add(queue);
    Ok(handle)
}

/// An export that is open and does not work yet.
pub(crate) struct Opened {
    sink: Box<dyn Sink>,
    encoder: Encoder,
    batching: Batching,
    delivery: Option<Delivery>,
}

/// Opens an export. Where it goes need not be there yet, unless it is a file.
fn open(export: &ExportDef, settings: &Settings) -> Result<Opened> {
    let mut batching = Batching::default();
    let mut delivery = None;
    let lines = || json_lines(Arc::clone(&export.wanted));
    let (sink, encoder): (Box<dyn Sink>, Encoder) = match &export.kind {
        ExportKind::File(file) => (Box::new(FileSink::open(file.clone())?), lines()),
        ExportKind::Stdout(output) => {
            let encoder = console(*output, settings.console, &export.wanted).unwrap_or_else(lines);
            (Box::new(StdoutSink::new()), encoder)
        }
        ExportKind::Syslog(_, config) => {
            let (message, sink) = (config.message.clone(), SyslogSink::new(config.clone())?);
            (Box::new(sink), syslog_encoder(message, Arc::clone(&export.wanted), lines()))
        }
        ExportKind::Webhook(WebhookConfig { target, body, batching: how }) => {
            batching = *how;
            let events = usize::try_from(how.events).unwrap_or(usize::MAX);
            let sink = WebhookSink::new(target.clone(), *body, events)?;
            (Box::new(sink), lines())
        }
        ExportKind::Nats(config) => {
            let sink = SpoolSink::nats(config.clone())?;
            delivery = Some(sink.delivery());
            (Box::new(sink), lines())
        }
        ExportKind::Kafka(config) => {
            let mut config = config.clone();
            if let KafkaKey::Fixed(key) = &mut config.key {
                *key = crate::run::node_name(settings);
            }
            let sink = SpoolSink::kafka(config)?;
            delivery = Some(sink.delivery());
            (Box::new(sink), lines())
        }
        ExportKind::Otlp(OtlpConfig { target, protocol, batching: how }) => {
            batching = *how;
            let resource =
                Resource { host: crate::run::node_name(settings), cluster: settings.cluster_name.clone() };
            let sink = OtlpSink::new(target.clone(), *protocol, &resource)?;
            (Box::new(sink), otlp_encoder(Arc::clone(&export.wanted), lines()))
        }
    };
    Ok(Opened { sink, encoder, batching, delivery })
}

/// The queue of an export.
fn queue(export: &ExportDef) -> Arc<Queue> {
    Arc::new(Queue::new(interned(&export.name), export.queue))
}

/// Starts the thread of an export.
fn work(export: &ExportDef, opened: Opened, queue: &Arc<Queue>) -> Result<SinkHandle> {
    let Opened { sink, encoder, batching, delivery } = opened;
    let name = queue.stage();
    let on_closed = Box::new(move || tracing::error!(sink = name, "nobody reads it any more; it ends"));
    let config = WorkerConfig { on_closed, batching, ..worker(encoder, &export.wanted) };
    let worker = Worker::spawn(Arc::clone(queue), sink, config)
        .with_context(|| format!("cannot start the thread of the sink {name}"))?;
    Ok(SinkHandle {
        name,
        kind: export.kind.name(),
        target: export.kind.target(),
        worker,
        delivery,
        rotation: None,
        filters: None,
        export: Some(export.clone()),
    })
}

/// A name that lives as long as the process. Each is kept once: they are short, and people write them.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

/// Ends the agent when nobody reads what it writes any more.
fn stop(requests: &Sender<Request>, why: &'static str) -> Box<dyn FnOnce() + Send> {
    let requests = requests.clone();
    Box::new(move || {
        let _ = requests.send(Request::Stop(why));
    })
}

/// The one place where it is decided which events a sink gets.
fn worker(encoder: Encoder, wanted: &Arc<Subscription>) -> WorkerConfig {
    WorkerConfig {
        encoder,
        passage: Passage::new(Arc::clone(wanted), Audience::Export),
        batching: Batching::default(),
        on_closed: Box::new(|| ()),
    }
}

/// What a sink is called, and its queue.
struct Place {
    name: &'static str,
    kind: &'static str,
    target: String,
    queue: Limits,
    delivery: Option<Delivery>,
}

fn start_one(
    place: Place,
    sink: Box<dyn Sink>,
    config: WorkerConfig,
    fanout: &Arc<Fanout>,
) -> Result<SinkHandle> {
    let Place { name, kind, target, queue, delivery } = place;
    let queue = Arc::new(Queue::new(name, queue));
    let worker = Worker::spawn(Arc::clone(&queue), sink, config)
        .with_context(|| format!("cannot start the thread of the sink {name}"))?;
    fanout.add(queue);
    let filters = None;
    Ok(SinkHandle { name, kind, target, worker, delivery, rotation: None, filters, export: None })
}

/// When the configuration has the file rotated.
pub(crate) fn rotation(file: &FileConfig) -> Rotation {
    let FileConfig { max_size, max_backups, interval, .. } = *file;
    Rotation { max_size, max_backups, interval }
}

/// JSON lines with the fields that are wanted.
fn json_lines(wanted: Arc<Subscription>) -> Encoder {
    let mut writer = json::Writer::default();
    Box::new(move |told, out| told.write_json(&mut writer, &wanted.fields, out))
}

fn console(output: Output, console: Console, wanted: &Arc<Subscription>) -> Option<Encoder> {
    match output {
        Output::None => None,
        Output::Json => Some(json_lines(Arc::clone(wanted))),
        Output::Compact => {
            let compact =
                Compact { colors: console.color.for_stdout(), timestamps: console.timestamps, stacks: true };
            let (mut line, wanted) = (String::new(), Arc::clone(wanted));
            Some(Box::new(move |told, out| {
                line.clear();
                told.write_compact(compact, &wanted.fields, &mut line);
                out.extend_from_slice(line.as_bytes());
            }))
        }
    }
}
