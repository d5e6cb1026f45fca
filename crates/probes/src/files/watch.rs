//! The thread that looks after the files of all policies.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Files, LOOK, SHARE, Watched};
use crate::Error;

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
    let mut changed: Vec<Watched> = Vec::new();
    loop {
        let policies = held(registry);
        if policies.is_empty() {
            return;
        }
        let began = Instant::now();
        let is_changed = |policy: &Watched| changed.iter().any(|other| Arc::ptr_eq(policy, other));
        let due = policies.iter().map(|policy| policy.refresh(is_changed(policy))).min();
        let until = due.unwrap_or_else(|| began + LOOK).min(began + LOOK);
        drop(changed);
        thread::sleep(PAUSE.max(began.elapsed() * SHARE));
        changed = wait(policies, until);
    }
}

/// Waits for something to happen to files or in folders, until then at most. Returns the policies to which it matters.
fn wait(policies: Vec<Watched>, until: Instant) -> Vec<Watched> {
    let states: Vec<_> = policies.iter().map(|policy| policy.state()).collect();
    let queues = states.iter().map(|state| state.known.events.queue().map(OwnedFd::try_clone));
    let queues: Vec<Option<OwnedFd>> = queues.map(|queue| queue.and_then(Result::ok)).collect();
    drop(states);
    let mut polled: Vec<PollFd<'_>> =
        queues.iter().flatten().map(|queue| PollFd::new(queue, PollFlags::IN)).collect();
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap_or_default();
    if let Err(error) = poll(&mut polled, Some(&left)) {
        tracing::debug!("events of files: {}", io::Error::from(error));
        thread::sleep(LOOK);
    }
    let mut ready = polled.iter().map(|queue| !queue.revents().is_empty());
    let with_queue = policies.into_iter().zip(&queues).filter(|(_, queue)| queue.is_some());
    with_queue.filter_map(|(policy, _)| ready.next()?.then_some(policy)).collect()
}
