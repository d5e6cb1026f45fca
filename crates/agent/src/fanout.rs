//! From the engine to every sink.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use saker_export::{Batch, Queue};

/// The list of queues, which changes when gRPC clients come and go.
#[derive(Debug, Default)]
pub struct Fanout {
    queues: Mutex<Vec<Arc<Queue>>>,
    version: AtomicU64,
    /// Events that clients which have gone did not get.
    dropped_before: AtomicU64,
}

impl Fanout {
    /// Adds a queue; it gets everything from the next batch on.
    pub fn add(&self, queue: Arc<Queue>) {
        self.lock().push(queue);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Removes a queue.
    pub fn remove(&self, queue: &Arc<Queue>) {
        self.dropped_before.fetch_add(queue.stats().dropped, Ordering::Relaxed);
        self.lock().retain(|other| !Arc::ptr_eq(other, queue));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Puts new queues in the place of others: each event gets into the ones or the others.
    pub fn exchange(&self, gone: &[Arc<Queue>], new: &[Arc<Queue>]) {
        let mut queues = self.lock();
        queues.retain(|queue| !gone.iter().any(|gone| Arc::ptr_eq(gone, queue)));
        queues.extend(new.iter().cloned());
        // Under the lock: a publisher that takes the number takes the list after it.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Events that clients which have gone did not get.
    #[must_use]
    pub fn dropped_by_gone(&self) -> u64 {
        self.dropped_before.load(Ordering::Relaxed)
    }

    /// All queues.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.lock().clone()
    }

    /// Queues of one stage.
    #[must_use]
    pub fn of_stage(&self, stage: &str) -> Vec<Arc<Queue>> {
        self.lock().iter().filter(|queue| queue.stage() == stage).cloned().collect()
    }

    /// The engine's view of it.
    #[must_use]
    pub fn publisher(self: &Arc<Self>) -> Publisher {
        Publisher { fanout: Arc::clone(self), queues: Vec::new(), version: u64::MAX }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands batches to all queues, without taking a lock while the list stays the same.
#[derive(Debug)]
pub struct Publisher {
    fanout: Arc<Fanout>,
    queues: Vec<Arc<Queue>>,
    version: u64,
}

impl Publisher {
    /// Offers a batch to everybody.
    pub fn publish(&mut self, batch: &Arc<Batch>) {
        let version = self.fanout.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.queues.clone_from(&self.fanout.lock());
        }
        for queue in &self.queues {
            queue.offer(batch);
        }
    }
}
