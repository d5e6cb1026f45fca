//! Signals to requests.

use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use saker_export::Control;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::pipeline::Request;

/// Exit status after a second signal to end.
const KILLED: i32 = 130;

/// Watches SIGTERM and SIGINT (end; the second time at once), SIGHUP (reopen the export file) and SIGUSR1 (rotate
/// it).
///
/// # Errors
/// The system does not let us.
pub fn watch(runtime: &Runtime, requests: &Sender<Request>) -> Result<()> {
    let _inside = runtime.enter();
    let on = |kind: SignalKind| signal(kind).context("cannot watch signals");
    let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let (hangup, user) = (on(SignalKind::hangup())?, on(SignalKind::user_defined1())?);
    runtime.spawn(ends(terminate, interrupt, requests.clone()));
    runtime.spawn(orders(hangup, Control::Reopen, requests.clone()));
    runtime.spawn(orders(user, Control::Rotate, requests.clone()));
    Ok(())
}

async fn ends(mut terminate: Signal, mut interrupt: Signal, requests: Sender<Request>) {
    let mut received = 0;
    loop {
        let name = tokio::select! {
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            else => return,
        };
        received += 1;
        if received > 1 {
            tracing::warn!(signal = name, "second signal: ending at once");
            end_at_once();
        }
        let _ = requests.send(Request::Stop(name));
    }
}

#[expect(clippy::exit, reason = "the user asked not to wait for anything")]
fn end_at_once() -> ! {
    std::process::exit(KILLED)
}

async fn orders(mut signal: Signal, order: Control, requests: Sender<Request>) {
    while signal.recv().await.is_some() {
        let _ = requests.send(Request::Sinks(order));
    }
}
