//! Reads the configuration again while the agent runs (SIGHUP).
//!
//! What can be changed takes effect at once; of the rest the log says that it needs a restart. A configuration with a
//! mistake changes nothing. It is done by a thread of its own, for exports that go have some seconds to write what they have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config::{Config, OPTIONS, Settings, is_secret};
use crate::server::{Certificates, Service};
use crate::state::State;
use crate::{logging, notify, sinks};

/// Options that take effect without a restart.
pub(crate) const LIVE: &[&str] = &[
    "debug",
    "enable-deprecated-tracingpolicy-grpc",
    "event-queue-size",
    "export-allowlist",
    "export-config",
    "export-denylist",
    "export-file-max-backups",
    "export-file-max-size-mb",
    "export-file-rotation-interval",
    "export-rate-limit",
    "log-level",
    "max-clients",
    "server-allow-changes",
];

/// The same of an address that has TLS at the start and still.
pub(crate) const OF_TLS: &[&str] = &[
    "server-tls-cert-file",
    "server-tls-client-ca-files",
    "server-tls-key-file",
    "server-tls-require-client-cert",
];

/// What became of attempts.
#[derive(Debug, Default)]
pub struct Reloads {
    done: AtomicU64,
    failed: AtomicU64,
    problem: Mutex<String>,
}

impl Reloads {
    /// Times that the configuration was taken up, and that it could not be.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed)]
    }

    /// Why what is written is not in force, or not all of it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!problem.is_empty()).then_some(problem)
    }

    fn set_problem(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The options as GetInfo tells them: without what nobody should read.
pub(crate) fn told(config: &Config) -> Vec<(String, String)> {
    let shown = OPTIONS.iter().filter(|option| !is_secret(option.name));
    shown.map(|option| (option.name.to_owned(), config.get(option.name).to_owned())).collect()
}

fn refuse(state: &State, errors: &dyn std::fmt::Display) {
    let reloads = &state.reloads;
    reloads.failed.fetch_add(1, Ordering::Relaxed);
    tracing::error!("the configuration is not taken up, the old one stays: {errors}");
    reloads.set_problem(format!("the changed configuration is not in force: {errors}"));
}

/// The configuration in force, and what goes by it.
pub(crate) struct Reloader {
    /// As the agent started.
    begun: Config,
    service: Service,
    state: Arc<State>,
}

impl Reloader {
    /// Of an agent that was started with this configuration.
    pub(crate) fn new(begun: Config, service: Service, state: Arc<State>) -> Self {
        Self { begun, service, state }
    }

    /// Reads all sources again.
    pub(crate) fn run(&self) {
        match self.begun.again().and_then(|config| Ok((config.settings()?, config))) {
            Ok((settings, config)) => {
                if let Err(error) = self.take_up(&settings, &config) {
                    refuse(&self.state, &format!("{error:#}"));
                }
            }
            Err(errors) => refuse(&self.state, &errors),
        }
    }

    /// What can fail comes first, so that all or nothing takes effect.
    fn take_up(&self, settings: &Settings, config: &Config) -> Result<()> {
        let certificates = self.state.served.certificates().zip(settings.server.tls.clone());
        let is_secure = certificates.is_some();
        let taken = certificates
            .map(|(certificates, files)| anyhow::Ok((certificates, Certificates::read(files)?)))
            .transpose()
            .context("the server's certificates")?;
        sinks::exchange(settings, &self.state)?;
        if let Some((certificates, taken)) = taken {
            certificates.take(taken);
        }
        let is_live = |name: &str| LIVE.contains(&name) || is_secure && OF_TLS.contains(&name);
        // Those that stay, as they are in force.
        let options = told(config).into_iter().map(|(name, text)| {
            let live = is_live(&name);
            let text = if live { text } else { self.begun.get(&name).to_owned() };
            (name, text)
        });
        self.service.reconfigure(&settings.server, options.collect());
        logging::set_level_named(&settings.log_level);
        if let (Some(export), Some(sink)) =
            (&settings.export, self.state.sinks.all().iter().find(|sink| sink.rotation.is_some()))
        {
            sink.change_rotation(|rotation| *rotation = sinks::rotation(&export.file));
            if let Some(filters) = &sink.filters {
                filters.set(Arc::clone(&export.wanted));
            }
        }
        if !self.state.policies.reload() {
            tracing::warn!("policies of files are not read again now: too many changes of policies wait");
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let waiting = needs_restart(&self.begun, config, is_live);
        let reloads = &self.state.reloads;
        reloads.done.fetch_add(1, Ordering::Relaxed);
        reloads.set_problem(if waiting.is_empty() {
            tracing::info!("the configuration was read again");
            String::new()
        } else {
            let names = waiting.join(", ");
            tracing::warn!(
                needs_restart = names,
                "the configuration was read again; not all that changed is in force"
            );
            format!("changes of these options need a restart of the agent: {names}")
        });
        Ok(())
    }
}

/// Has the configuration read again by a thread that is there as long as it takes; what is asked for meanwhile is done once
/// more after that.
pub(crate) struct Reloading {
    reload: Arc<dyn Fn() + Send + Sync>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    again: bool,
}

impl Reloading {
    pub(crate) fn new(reload: Arc<dyn Fn() + Send + Sync>, state: Arc<State>) -> Self {
        Self { reload, state, thread: None, again: false }
    }

    /// Somebody wants it.
    pub(crate) fn ask(&mut self) {
        self.again = true;
        self.tend();
    }

    /// Begins what was asked for while another was under way, if that has ended. False: it ended by a defect.
    pub(crate) fn tend(&mut self) -> bool {
        let mut sound = true;
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            sound = thread.join().is_ok();
        }
        if self.again && self.thread.is_none() {
            self.again = false;
            let reload = Arc::clone(&self.reload);
            let begun = std::thread::Builder::new().name("saker-reload".into()).spawn(move || {
                notify::reloading();
                reload();
                notify::ready();
            });
            match begun {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => refuse(&self.state, &format!("there is no thread for it: {error}")),
            }
        }
        sound
    }

    /// Whether something that was asked for is not done.
    pub(crate) fn is_busy(&self) -> bool {
        self.again || self.thread.is_some()
    }

    /// Waits for the end of what is under way; what else was asked for is not begun. False: it did not end in time.
    pub(crate) fn finish(&mut self, deadline: Instant) -> bool {
        self.again = false;
        let Some(thread) = self.thread.take() else { return true };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        thread.is_finished()
    }
}

/// Options that changed since the start and take effect with the next one only.
fn needs_restart(begun: &Config, now: &Config, is_live: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let changed = |name: &&str| !is_live(name) && begun.get(name) != now.get(name);
    OPTIONS.iter().map(|option| option.name).filter(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_live_option_is_one() {
        assert!(LIVE.is_sorted());
        for name in LIVE.iter().chain(OF_TLS) {
            assert!(crate::config::find(name).is_some(), "{name}");
        }
    }
}
