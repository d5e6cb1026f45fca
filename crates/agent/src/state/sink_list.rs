//! The sinks that there are now: those of declared exports come and go with the configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{SinkHandle, drop_causes};

/// Name of what sinks that are gone have lost.
pub(crate) const REMOVED: &str = "removed";

/// Sinks with worker threads.
#[derive(Default)]
pub struct SinkList {
    now: RwLock<Arc<[Arc<SinkHandle>]>>,
    /// What sinks that are gone did not get, by cause.
    removed: Mutex<BTreeMap<&'static str, u64>>,
}

impl SinkList {
    /// Begins with these.
    #[must_use]
    pub fn new(sinks: Vec<SinkHandle>) -> Self {
        let now = sinks.into_iter().map(Arc::new).collect();
        Self { now: RwLock::new(now), removed: Mutex::default() }
    }

    /// All that there are now, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Arc<[Arc<SinkHandle>]> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes out these, which have ended, and puts in others. What the former lost stays in sight.
    pub(crate) fn exchange(&self, gone: &[Arc<SinkHandle>], new: Vec<SinkHandle>) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for (cause, count) in gone.iter().flat_map(|sink| drop_causes(sink)) {
            *removed.entry(cause).or_default() += count;
        }
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let stays = |sink: &&Arc<SinkHandle>| !gone.iter().any(|gone| Arc::ptr_eq(gone, sink));
        *now = now.iter().filter(stays).cloned().chain(new.into_iter().map(Arc::new)).collect();
    }

    /// What sinks that are gone did not get, by cause.
    #[must_use]
    pub fn removed(&self) -> Vec<(&'static str, u64)> {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.iter().map(|(cause, count)| (*cause, *count)).filter(|(_, count)| *count > 0).collect()
    }
}
