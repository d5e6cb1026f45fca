//! The thread that looks after the files of all policies.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

use super::{Files, LOOK, SHARE, Watched};
use crate::Error;

/// Folders that are watched for entries that come and go; the paths of others are looked at every second.
const FOLDERS_MAX: usize = 1_024;
/// Time between two looks for events, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks after the files of policies, while there are any.
#[derive(Default)]
pub(crate) struct Watch {
    registry: Arc<Mutex<Registry>>,
}

#[derive(Default)]
struct Registry {
    policies: Vec<Weak<Files>>,
    running: bool,
}

impl Watch {
    /// Looks once, and goes on as long as somebody holds the files.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn begin(&self, files: &Watched) -> Result<(), Error> {
        files.refresh(true);
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.policies.push(Arc::downgrade(files));
        if !registry.running {
            let own = Arc::clone(&self.registry);
            let thread = thread::Builder::new().name("saker-files".into()).spawn(move || look_after(&own));
            let failed = |source| Error::System {
                operation: "start the thread that looks after the files of policies".into(),
                source,
            };
            thread.map_err(failed)?;
            registry.running = true;
        }
        Ok(())
    }
}

/// Those that are still held; none: nothing is left to do, and whoever comes next starts another thread.
fn held(registry: &Mutex<Registry>) -> Vec<Watched> {
    let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    registry.policies.retain(|policy| policy.strong_count() > 0);
    let held: Vec<Watched> = registry.policies.iter().filter_map(Weak::upgrade).collect();
    registry.running = !held.is_empty();
    held
}

fn look_after(registry: &Mutex<Registry>) {
    let events = Events::begin();
    let mut changed = false;
    loop {
        let policies = held(registry);
        if policies.is_empty() {
            return;
        }
        let began = Instant::now();
        for policy in &policies {
            events.watch(policy);
        }
        let due = policies.iter().map(|policy| policy.refresh(changed)).min();
        let until = due.unwrap_or_else(|| began + LOOK).min(began + LOOK).max(began + PAUSE);
        // A policy that is removed meanwhile takes its table along.
        drop(policies);
        thread::sleep(PAUSE.max(began.elapsed() * SHARE));
        changed = events.wait(until);
    }
}

/// Events of folders: what comes and goes there.
struct Events(Option<OwnedFd>);

impl Events {
    fn begin() -> Self {
        let queue = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        if let Err(error) = &queue {
            tracing::warn!("files of policies are looked at every second, and no sooner: {error}");
        }
        Self(queue.ok())
    }

    /// Watches the folders of its paths. Those that are watched already stay so.
    fn watch(&self, files: &Files) {
        let Some(queue) = &self.0 else { return };
        let kinds = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        for folder in files.parents().into_iter().take(FOLDERS_MAX) {
            // What is not there is looked for every second.
            let _ = add_watch(queue, folder, kinds);
        }
    }

    /// Waits for an event, until then at most. Whether there was one.
    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let Some(queue) = &self.0 else {
            thread::sleep(left);
            return false;
        };
        let Ok(left) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(queue, PollFlags::IN)], Some(&left)) {
            Ok(0) => false,
            Ok(_) => {
                drain(queue);
                true
            }
            Err(error) => {
                tracing::debug!("events of folders: {}", io::Error::from(error));
                false
            }
        }
    }
}

/// Which they are does not matter: all paths are looked at.
fn drain(queue: &OwnedFd) {
    const READS: usize = 64;
    let mut room = [0_u8; 4_096];
    for _ in 0..READS {
        if rustix::io::read(queue, &mut room).is_err() {
            return;
        }
    }
}
