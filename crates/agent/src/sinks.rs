//! The sinks that the configuration asks for.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use saker_api::compact::Compact;
use saker_api::filter::{FieldFilters, Subscription};
use saker_api::json;
use saker_api::passage::{Audience, Passage};
use saker_export::{Encoder, FileSink, Queue, Sink, StdoutSink, Worker, WorkerConfig};

use crate::config::{Output, Settings};
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
            encoder: json_lines(Arc::clone(&export.wanted)),
            passage: Passage::new(Arc::clone(&export.wanted), Audience::Export),
            on_closed: stop(requests, "nobody reads the pipe of export-filename any more"),
        };
        let sink = FileSink::open(export.file.clone()).context("export-filename")?;
        let target = export.file.path.display().to_string();
        sinks.push(start_one("file", target, Box::new(sink), config, settings, fanout)?);
    }
    if let Some(encoder) = console(settings) {
        let on_closed = stop(requests, "standard output was closed");
        let config = WorkerConfig { encoder, passage: Passage::open(), on_closed };
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
    Ok(SinkHandle { kind, target, worker })
}

/// JSON lines with the fields that are wanted.
fn json_lines(wanted: Arc<Subscription>) -> Encoder {
    let mut writer = json::Writer::default();
    Box::new(move |told, out| told.write_json(&mut writer, &wanted.fields, out))
}

fn console(settings: &Settings) -> Option<Encoder> {
    let console = settings.console;
    match console.output {
        Output::None => None,
        Output::Json => Some(json_lines(Arc::default())),
        Output::Compact => {
            let compact =
                Compact { colors: console.color.for_stdout(), timestamps: console.timestamps, stacks: true };
            let (mut line, whole) = (String::new(), FieldFilters::default());
            Some(Box::new(move |told, out| {
                line.clear();
                told.write_compact(compact, &whole, &mut line);
                out.extend_from_slice(line.as_bytes());
            }))
        }
    }
}
