//! From the engine's turn to the batches that all sinks are offered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use saker_api::event::Event;
use saker_export::Batch;

use super::Working;

/// Events published at once, at most: a snapshot has thousands.
const PUBLISH_MAX: usize = 1024;

impl Working {
    /// Hands what the engine made to all who are told of events.
    pub(super) fn publish(&mut self) {
        self.holding.pass(&mut self.events, Instant::now());
        if self.events.is_empty() {
            return;
        }
        self.gauges.published.fetch_add(self.events.len() as u64, Ordering::Relaxed);
        if self.counts.count(&self.events) {
            self.tell_counts();
        }
        if let Some(requester) = &self.requester {
            requester.of_events(&self.events);
        }
        // The next batch is mostly about as large as this one.
        let room = Vec::with_capacity(self.events.len().min(PUBLISH_MAX));
        let mut rest = std::mem::replace(&mut self.events, room);
        while rest.len() > PUBLISH_MAX {
            let later = rest.split_off(PUBLISH_MAX);
            self.publish_batch(rest);
            rest = later;
        }
        self.publish_batch(rest);
    }

    fn publish_batch(&mut self, events: Vec<Arc<Event>>) {
        self.publisher.publish(&Arc::new(Batch::new(events).with_spares(&self.spares)));
    }

    /// Adds what was counted to what others see.
    pub(super) fn tell_counts(&mut self) {
        let counts = &mut self.counts;
        self.gauges.with_event_totals(|totals| counts.add_to(totals));
    }
}
