//! The sinks that the configuration asks for.

mod live;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use saker_api::compact::Compact;
use saker_api::event::Event;
use saker_api::{json, saker_v1, tetragon};
use saker_export::{Encoder, FileConfig, FileSink, Queue, Rotation, Sink, StdoutSink, Worker, WorkerConfig};

use crate::config::{Output, Settings};
use crate::fanout::Fanout;
use crate::pipeline::Request;
use crate::state::SinkHandle;
pub use live::LiveFilters;

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
        let filters = LiveFilters::new(Arc::clone(&export.filters));
        let config = WorkerConfig {
            encoder: json_lines(),
            predicate: Some(filters.predicate()),
            rate: export.rate.map(|rate| (rate, Box::new(rate_report) as _)),
            on_closed: stop(requests, "nobody reads the pipe of export-filename any more"),
        };
        let sink = FileSink::open(export.file.clone()).context("export-filename")?;
        let target = export.file.path.display().to_string();
        let handle = start_one("file", target, Box::new(sink), config, settings, fanout)?;
        let rotation = Some(Mutex::new(rotation(&export.file)));
        sinks.push(SinkHandle { rotation, filters: Some(filters), ..handle });
    }
    if let Some(encoder) = console(settings) {
        let on_closed = stop(requests, "standard output was closed");
        let config = WorkerConfig { encoder, predicate: None, rate: None, on_closed };
        sinks.push(start_one(
            "stdout",
            String::new(),
            Box::new(StdoutSink::new()),
            config,
            settings,
            fanout,
        )?);
    }
    Ok(sinks)
}

/// Ends the agent when nobody reads what it writes any more.
fn stop(requests: &Sender<Request>, why: &'static str) -> Box<dyn FnOnce() + Send> {
    let requests = requests.clone();
    Box::new(move || {
        let _ = requests.send(Request::Stop(why));
    })
}

fn start_one(
    kind: &'static str,
    target: String,
    sink: Box<dyn Sink>,
    config: WorkerConfig,
    settings: &Settings,
    fanout: &Arc<Fanout>,
) -> Result<SinkHandle> {
    let queue = Arc::new(Queue::new(kind, settings.queue));
    let worker = Worker::spawn(Arc::clone(&queue), sink, config)
        .with_context(|| format!("cannot start the thread of the sink {kind}"))?;
    fanout.add(queue);
    Ok(SinkHandle { kind, target, worker, rotation: None, filters: None })
}

/// When the configuration has the file rotated.
pub(crate) fn rotation(file: &FileConfig) -> Rotation {
    let FileConfig { max_size, max_backups, interval, .. } = *file;
    Rotation { max_size, max_backups, interval }
}

fn json_lines() -> Encoder {
    let mut writer = json::Writer::default();
    Box::new(move |event, out| writer.write_event(event, out))
}

fn console(settings: &Settings) -> Option<Encoder> {
    let console = settings.console;
    match console.output {
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
