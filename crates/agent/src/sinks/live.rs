//! Filters of a sink that can be exchanged while it works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use saker_api::event::Event;
use saker_api::filter::Filters;
use saker_export::Predicate;

/// The filters in force. Who asks them for each event looks at a number only, unless they were exchanged.
#[derive(Debug, Default)]
pub struct LiveFilters {
    filters: Mutex<Arc<Filters>>,
    exchanged: AtomicU64,
}

impl LiveFilters {
    /// Begins with these.
    #[must_use]
    pub fn new(filters: Arc<Filters>) -> Arc<Self> {
        Arc::new(Self { filters: Mutex::new(filters), exchanged: AtomicU64::new(0) })
    }

    /// Exchanges them.
    pub fn set(&self, filters: Arc<Filters>) {
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = filters;
        self.exchanged.fetch_add(1, Ordering::Release);
    }

    /// Which events a sink gets.
    #[must_use]
    pub fn predicate(self: &Arc<Self>) -> Predicate {
        let (live, mut seen) = (Arc::clone(self), 0);
        let mut filters = live.now();
        Box::new(move |event: &Event| {
            let exchanged = live.exchanged.load(Ordering::Acquire);
            if exchanged != seen {
                seen = exchanged;
                filters = live.now();
            }
            filters.is_empty() || filters.passes(event)
        })
    }

    fn now(&self) -> Arc<Filters> {
        Arc::clone(&self.filters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use saker_api::filter::{Offered, parse_filters};

    use super::*;
    use crate::testing;

    #[test]
    fn the_next_event_meets_the_new_filters() {
        let filters = |text: &str| {
            let list = parse_filters(text).unwrap();
            Arc::new(Filters::compile(&list, &[], &Offered::everything()).unwrap())
        };
        let live = LiveFilters::new(Arc::default());
        let mut passes = live.predicate();
        let (one, two) = (testing::exec(1), testing::exec(2));
        assert!(passes(&one) && passes(&two));
        live.set(filters(r#"{"binary_regex":["^/bin/p1$"]}"#));
        assert!(passes(&one) && !passes(&two));
        live.set(filters(r#"{"binary_regex":["^/bin/p2$"]}"#));
        assert!(!passes(&one) && passes(&two));
        live.set(Arc::default());
        assert!(passes(&one) && passes(&two));
    }
}
