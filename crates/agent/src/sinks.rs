//! The sinks that the configuration asks for.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use saker_api::compact::Compact;
use saker_api::event::Event;
use saker_api::filter::Filters;
use saker_api::{json, saker_v1, tetragon};
use saker_export::{
    Batching, Delivery, Encoder, FileSink, Limits, OtlpSink, Predicate, Queue, RateReport, Resource, Sink,
    SpoolSink, StdoutSink, SyslogSink, WebhookSink, Worker, WorkerConfig, otlp_encoder, otlp_report,
    syslog_encoder, syslog_report,
};

use crate::config::exports::{ExportDef, ExportKind, OtlpConfig, WebhookConfig};
use crate::config::{Console, Output, Settings};
use crate::fanout::Fanout;
use crate::pipeline::Request;
use crate::state::SinkHandle;

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
        let config = WorkerConfig {
            on_closed: stop(requests, "nobody reads the pipe of export-filename any more"),
            ..worker(json_lines(), Box::new(rate_report), &export.filters, export.rate)
        };
        let sink = FileSink::open(export.file.clone()).context("export-filename")?;
        let target = export.file.path.display().to_string();
        let place = Place { name: "file", kind: "file", target, queue: settings.queue, delivery: None };
        sinks.push(start_one(place, Box::new(sink), config, fanout)?);
    }
    if let Some(encoder) = console(settings.console.output, settings.console) {
        let on_closed = stop(requests, "standard output was closed");
        let config =
            WorkerConfig { on_closed, ..worker(encoder, Box::new(rate_report), &Arc::default(), None) };
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

/// Opens an export of the configuration. Where it goes need not be there yet, unless it is a file.
fn declared(export: &ExportDef, settings: &Settings, fanout: &Arc<Fanout>) -> Result<SinkHandle> {
    let mut batching = Batching::default();
    let mut delivery = None;
    let (sink, encoder, report): (Box<dyn Sink>, Encoder, RateReport) = match &export.kind {
        ExportKind::File(file) => {
            (Box::new(FileSink::open(file.clone())?), json_lines(), Box::new(rate_report))
        }
        ExportKind::Stdout(output) => {
            let encoder = console(*output, settings.console).unwrap_or_else(json_lines);
            (Box::new(StdoutSink::new()), encoder, Box::new(rate_report))
        }
        ExportKind::Syslog(_, config) => {
            let (message, sink) = (config.message.clone(), SyslogSink::new(config.clone())?);
            let report = syslog_report(message.clone(), Box::new(rate_report));
            (Box::new(sink), syslog_encoder(message, json_lines()), report)
        }
        ExportKind::Webhook(WebhookConfig { target, body, batching: how }) => {
            batching = *how;
            let events = usize::try_from(how.events).unwrap_or(usize::MAX);
            let sink = WebhookSink::new(target.clone(), *body, events)?;
            (Box::new(sink), json_lines(), Box::new(rate_report))
        }
        ExportKind::Nats(config) => {
            let sink = SpoolSink::nats(config.clone())?;
            delivery = Some(sink.delivery());
            (Box::new(sink), json_lines(), Box::new(rate_report))
        }
        ExportKind::Otlp(OtlpConfig { target, protocol, batching: how }) => {
            batching = *how;
            let resource =
                Resource { host: crate::run::node_name(settings), cluster: settings.cluster_name.clone() };
            let sink = OtlpSink::new(target.clone(), *protocol, &resource)?;
            (Box::new(sink), otlp_encoder(json_lines()), otlp_report(Box::new(rate_report)))
        }
    };
    // Exports are made once, at the start, and at most so many: what their names take is never asked back.
    let name: &'static str = Box::leak(export.name.clone().into_boxed_str());
    let on_closed = Box::new(move || tracing::error!(sink = name, "nobody reads it any more; it ends"));
    let config =
        WorkerConfig { on_closed, batching, ..worker(encoder, report, &export.filters, export.rate) };
    let (kind, target) = (export.kind.name(), export.kind.target());
    let place = Place { name, kind, target, queue: export.queue, delivery };
    start_one(place, sink, config, fanout)
}

/// Ends the agent when nobody reads what it writes any more.
fn stop(requests: &Sender<Request>, why: &'static str) -> Box<dyn FnOnce() + Send> {
    let requests = requests.clone();
    Box::new(move || {
        let _ = requests.send(Request::Stop(why));
    })
}

/// The one place where it is decided which events a sink gets.
fn worker(encoder: Encoder, report: RateReport, filters: &Arc<Filters>, rate: Option<u32>) -> WorkerConfig {
    WorkerConfig {
        encoder,
        predicate: predicate(filters),
        rate: rate.map(|rate| (rate, report)),
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
    Ok(SinkHandle { name, kind, target, worker, delivery })
}

fn predicate(filters: &Arc<Filters>) -> Option<Predicate> {
    let filters = Arc::clone(filters);
    (!filters.is_empty()).then(|| Box::new(move |event: &Event| filters.passes(event)) as Predicate)
}

fn json_lines() -> Encoder {
    let mut writer = json::Writer::default();
    Box::new(move |event, out| writer.write_event(event, out))
}

fn console(output: Output, console: Console) -> Option<Encoder> {
    match output {
        Output::None => None,
        Output::Json => Some(json_lines()),
        Output::Compact => {
            let compact =
                Compact { colors: console.color.for_stdout(), timestamps: console.timestamps, stacks: true };
            let mut line = String::new();
            Some(Box::new(move |event, out| {
                line.clear();
                compact.write_event(event, &mut line);
                out.extend_from_slice(line.as_bytes());
            }))
        }
    }
}

/// The line that tells how many events the rate limit held back.
fn rate_report(held: u64, newest: &Event, out: &mut Vec<u8>) {
    let info = tetragon::RateLimitInfo { number_of_dropped_process_events: held };
    let nanoseconds = newest.time.0;
    let time = prost_types::Timestamp {
        seconds: (nanoseconds / 1_000_000_000).cast_signed(),
        nanos: (nanoseconds % 1_000_000_000) as i32,
    };
    let response = tetragon::GetEventsResponse {
        event: Some(tetragon::get_events_response::Event::RateLimitInfo(info)),
        node_name: newest.node.name.clone(),
        cluster_name: newest.node.cluster.clone(),
        time: Some(time),
        ..tetragon::GetEventsResponse::default()
    };
    let event = saker_v1::Event { event: Some(response), ..saker_v1::Event::default() };
    out.extend_from_slice(json::message_line(&event).as_bytes());
    out.push(b'\n');
}
