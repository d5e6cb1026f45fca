//! Signals to requests.

use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use saker_export::Control;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Console, Output};
use crate::pipeline::Request;

/// Exit status after a second signal to end.
const KILLED: i32 = 130;

/// Watches SIGTERM and SIGINT (end; the second time at once), SIGHUP (reopen the export file and read the
/// configuration and policies again; end, when the terminal is gone that an agent with console output was started from) and SIGUSR1 (rotate the export file).
///
/// # Errors
/// The system does not let us.
pub fn watch(runtime: &Runtime, requests: &Sender<Request>, console: Console) -> Result<()> {
    let _inside = runtime.enter();
    let on = |kind: SignalKind| signal(kind).context("cannot watch signals");
    let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let (hangup, user) = (on(SignalKind::hangup())?, on(SignalKind::user_defined1())?);
    runtime.spawn(ends(terminate, interrupt, requests.clone()));
    let interactive = console.output != Output::None && has_terminal();
    runtime.spawn(hangups(hangup, interactive, requests.clone()));
    runtime.spawn(rotations(user, requests.clone()));
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

async fn hangups(mut signal: Signal, interactive: bool, requests: Sender<Request>) {
    while signal.recv().await.is_some() {
        // Somebody who ran the agent by hand closed the window. Service managers, and tools that move log files,
        // send the same signal to agents that never had a terminal or still have it.
        let request = if interactive && !has_terminal() {
            Request::Stop("SIGHUP: the terminal is gone")
        } else {
            let _ = requests.send(Request::Sinks(Control::Reopen));
            Request::Reload
        };
        let _ = requests.send(request);
    }
}

async fn rotations(mut signal: Signal, requests: Sender<Request>) {
    while signal.recv().await.is_some() {
        let _ = requests.send(Request::Sinks(Control::Rotate));
    }
}

/// Whether there is a controlling terminal, and it is not hung up.
fn has_terminal() -> bool {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).is_ok()
}
