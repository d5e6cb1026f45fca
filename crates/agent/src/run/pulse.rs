//! Looks every second whether the agent moves, and tells the service manager while it does.

use std::time::{Duration, Instant};

use super::{TICK, is_due};
use crate::notify;
use crate::state::State;
use crate::vitals::Watch;

/// Looks of a thread at the others.
pub(super) struct Pulse {
    watch: Watch,
    /// Time within which the service manager wants to hear that the agent lives.
    within: Option<Duration>,
    last: Option<Instant>,
    hung: bool,
}

impl Pulse {
    pub(super) fn begin() -> Self {
        let within = notify::watchdog();
        Self { watch: Watch::new(Instant::now(), within), within, last: None, hung: false }
    }

    /// Time between two looks.
    pub(super) fn pause(&self) -> Duration {
        self.within.map_or(TICK, |within| TICK.min(within / 3))
    }

    /// Looks, if it is time for that.
    pub(super) fn beat(&mut self, state: &State) {
        if !is_due(self.last, self.pause()) {
            return;
        }
        let now = Instant::now();
        self.last = Some(now);
        let hangs = self.watch.look(&state.gauges, now);
        // Before the manager is told, so that who asks the agent for its health then hears the same.
        state.vitals.note(hangs.clone());
        match (&hangs, self.hung) {
            (Some(reason), false) => {
                tracing::error!("the agent hangs: {reason}");
                notify::status(reason);
            }
            (None, true) => {
                tracing::info!("the agent moves again");
                notify::status("Running");
            }
            _ => {}
        }
        self.hung = hangs.is_some();
        if !self.hung && self.within.is_some() {
            notify::alive();
        }
    }
}
