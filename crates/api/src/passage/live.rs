//! Filters and rate limit of an export that can be exchanged while it works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::filter::Subscription;

/// The filters and the rate limit in force: those of a subscription of which nothing else counts. Who asks them for each event looks at a
/// number only, unless they were exchanged.
#[derive(Debug, Default)]
pub struct LiveFilters {
    filters: Mutex<Arc<Subscription>>,
    exchanged: AtomicU64,
}

impl LiveFilters {
    /// Begins with these.
    #[must_use]
    pub fn new(filters: Arc<Subscription>) -> Arc<Self> {
        Arc::new(Self { filters: Mutex::new(filters), exchanged: AtomicU64::new(0) })
    }

    /// Exchanges them: the next event meets the new ones.
    pub fn set(&self, filters: Arc<Subscription>) {
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = filters;
        self.exchanged.fetch_add(1, Ordering::Release);
    }

    fn now(&self) -> Arc<Subscription> {
        Arc::clone(&self.filters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A look at filters that may be exchanged.
#[derive(Debug)]
pub(super) struct Followed {
    live: Arc<LiveFilters>,
    seen: u64,
    filters: Arc<Subscription>,
}

impl Followed {
    pub fn new(live: &Arc<LiveFilters>) -> Self {
        Self { live: Arc::clone(live), seen: live.exchanged.load(Ordering::Acquire), filters: live.now() }
    }

    /// The rate limit that is in force now; outer `None`: as before.
    pub fn changed_rate(&mut self) -> Option<Option<u32>> {
        let exchanged = self.live.exchanged.load(Ordering::Acquire);
        if exchanged == self.seen {
            return None;
        }
        self.seen = exchanged;
        let before = std::mem::replace(&mut self.filters, self.live.now());
        (before.rate != self.filters.rate).then_some(self.filters.rate)
    }

    /// Those in force at the last look.
    pub fn get(&self) -> &Subscription {
        &self.filters
    }
}
