//! Turns Ctrl-C and its relatives into a flag, so that machines are stopped and folders removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Set once a signal asked the program to end.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the program.
    pub(crate) fn install() -> Result<Self> {
        let flag = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, Arc::clone(&flag.0), signal.unsigned_abs() as usize)
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(flag)
    }

    /// The exit status that tells of the signal, as shells have it; `None` while none came.
    pub(crate) fn exit_status(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        }
    }
}
