//! Exports that are declared otherwise than before, taken up while the agent works.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use saker_export::{Control, Queue};

use super::{Opened, open, queue, work};
use crate::config::Settings;
use crate::config::exports::ExportDef;
use crate::state::{SinkHandle, State};

/// Time that exports which go have to write what waits, all together. All others work meanwhile, also those that are new.
const DRAIN: Duration = Duration::from_secs(3);
/// Time until nobody looks at an export any more that has ended.
const RELEASE: Duration = Duration::from_secs(1);

/// Has the exports work that the settings declare. Those that are declared as before go on as they are. Of the others each
/// event goes to the old one or to the new one; the old one writes what it has, within a bound, and what it cannot write is
/// counted. It takes as long as that, so it has a thread of its own.
///
/// # Errors
/// One of them cannot be opened: all work as before.
pub(crate) fn exchange(settings: &Settings, state: &State) -> Result<()> {
    exchange_within(settings, state, DRAIN)
}

/// The same with another bound.
fn exchange_within(settings: &Settings, state: &State, drain: Duration) -> Result<()> {
    let now = state.sinks.all();
    let declared = |sink: &Arc<SinkHandle>| sink.export.is_some();
    let running: Vec<Arc<SinkHandle>> = now.iter().filter(|sink| declared(sink)).cloned().collect();
    let same = |sink: &SinkHandle, wanted: &ExportDef| {
        sink.export.as_ref().is_some_and(|export| export.is_same(wanted))
    };
    let goes = |sink: &&Arc<SinkHandle>| !settings.exports.iter().any(|wanted| same(sink, wanted));
    let gone: Vec<Arc<SinkHandle>> = running.iter().filter(goes).cloned().collect();
    let is_new = |wanted: &&ExportDef| !running.iter().any(|sink| same(sink, wanted));
    let new: Vec<&ExportDef> = settings.exports.iter().filter(is_new).collect();
    if gone.is_empty() && new.is_empty() {
        return Ok(());
    }
    let mut ready: Vec<(&ExportDef, Option<Opened>)> = Vec::new();
    for &export in &new {
        let excluded = |sink: &&Arc<SinkHandle>| sink.export.as_ref().is_some_and(|old| old.excludes(export));
        let opened = match gone.iter().find(excluded) {
            // Its spool is free when the old one has ended.
            Some(_) => None,
            None => Some(named(export, open(export, settings))?),
        };
        ready.push((export, opened));
    }
    // From here on events go to the new ones, where they wait; and beside them to queues with which the old ones can go on if
    // that must be.
    let queues: Vec<Arc<Queue>> = new.iter().map(|export| queue(export)).collect();
    let old: Vec<Arc<Queue>> = gone.iter().map(|sink| Arc::clone(sink.worker.queue())).collect();
    let standby: Vec<Arc<Queue>> = gone.iter().filter_map(|sink| sink.export.as_ref()).map(queue).collect();
    state.fanout.exchange(&old, &[queues.clone(), standby.clone()].concat());
    let mut handles = Vec::new();
    let mut failed = None;
    let mut later = Vec::new();
    for ((export, opened), queue) in ready.into_iter().zip(&queues) {
        match opened {
            // It takes nobody's place, in which what waits there would come first.
            Some(opened) if !gone.iter().any(|sink| is_place_of(sink, export)) && failed.is_none() => {
                match named(export, work(export, opened, queue)) {
                    Ok(handle) => handles.push(handle),
                    Err(error) => failed = Some(error),
                }
            }
            opened => later.push((export, opened, queue)),
        }
    }
    end(&gone, drain);
    // Handles hold their spools, so that all go before the spools are opened anew.
    let was: Vec<ExportDef> = gone.iter().filter_map(|sink| sink.export.clone()).collect();
    state.sinks.exchange(&gone, Vec::new());
    drop((now, running, gone));
    for (export, opened, queue) in later {
        if failed.is_some() {
            break;
        }
        let opened = opened.map_or_else(|| named(export, open_again(export, settings)), Ok);
        match opened.and_then(|opened| named(export, work(export, opened, queue))) {
            Ok(handle) => handles.push(handle),
            Err(error) => failed = Some(error),
        }
    }
    let Some(error) = failed else {
        state.fanout.exchange(&standby, &[]);
        let names = |sinks: &mut dyn Iterator<Item = &'static str>| sinks.collect::<Vec<_>>().join(", ");
        tracing::info!(
            ended = names(&mut standby.iter().map(|queue| queue.stage())),
            begun = names(&mut queues.iter().map(|queue| queue.stage())),
            "the exports were exchanged"
        );
        // Orders that came after they were opened did not reach them.
        handles.iter().for_each(|sink| sink.worker.control(Control::Reopen));
        state.sinks.exchange(&[], handles);
        return Ok(());
    };
    // Back to what there was: the old ones begin anew with what has come since.
    state.fanout.exchange(&queues, &[]);
    let begun: Vec<Arc<SinkHandle>> = handles.into_iter().map(Arc::new).collect();
    end(&begun, drain);
    drop(begun);
    let mut lost = Vec::new();
    let mut restored = Vec::new();
    for (export, queue) in was.iter().zip(&standby) {
        match open_again(export, settings).and_then(|opened| work(export, opened, queue)) {
            Ok(handle) => restored.push(handle),
            Err(error) => {
                state.fanout.exchange(&[Arc::clone(queue)], &[]);
                lost.push(format!("{}: {error:#}", export.name));
            }
        }
    }
    state.sinks.exchange(&[], restored);
    if lost.is_empty() {
        return Err(error);
    }
    Err(error.context(format!("and these exports could not be begun again: {}", lost.join("; "))))
}

/// Whether a sink was where this export will be: in its name, or at its path.
fn is_place_of(sink: &SinkHandle, export: &ExportDef) -> bool {
    let path = |export: &ExportDef| export.kind.owned_path().map(Path::to_owned);
    let same_path = |old: &ExportDef| path(old).is_some_and(|old| path(export) == Some(old));
    sink.name == export.name || sink.export.as_ref().is_some_and(same_path)
}

/// Opens an export whose spool another has just left, which whoever looks at that one may hold for a moment.
fn open_again(export: &ExportDef, settings: &Settings) -> Result<Opened> {
    let end = Instant::now() + RELEASE;
    loop {
        match open(export, settings) {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn named<T>(export: &ExportDef, outcome: Result<T>) -> Result<T> {
    outcome.with_context(|| format!("export `{}`", export.name))
}

/// Has them write what they have, and ends them.
fn end(sinks: &[Arc<SinkHandle>], drain: Duration) {
    let deadline = Instant::now() + drain;
    sinks.iter().for_each(|sink| sink.worker.queue().close());
    let working = || sinks.iter().filter(|sink| !sink.worker.is_finished());
    while Instant::now() < deadline && working().next().is_some() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // All at once, so that those that hang take their time together.
    working().for_each(|sink| sink.worker.give_up());
    for sink in sinks {
        if !sink.worker.finish(deadline) {
            let dropped = sink.worker.queue().stats().dropped + sink.worker.stats().given_up;
            tracing::warn!(
                sink = sink.name,
                dropped,
                "the export ended before all of its events were written"
            );
        }
    }
}

#[cfg(test)]
mod tests;
