//! Everything between an event and one receiver: who gets which events, folded, limited, and with which fields.
//!
//! gRPC streams, the file export and every other sink have a [`Passage`] each, so that all understand the same
//! [`Subscription`]. The order is: filters, folding of equal events, rate limit, field filters.
//!
//! ```text
//! event ──▶ filters ──▶ fold (held until the end of its window) ──▶ rate limit ──▶ Told ──▶ fields, encoding
//! ```
//!
//! Of the events that a passage takes each is told, filtered, limited, folded into one that waits, or waits:
//! [`Counts`] tell how many.

mod fold;
mod limit;
mod live;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::event::{Event, EventKind};
use crate::filter::Subscription;
use fold::{Fold, Folded};

pub use fold::Aggregation;
pub use limit::RateLimit;
pub use live::LiveFilters;
pub use told::{Ready, Told, encoder};

/// Time between two reports of what a rate limit held back.
const RATE_REPORT: Duration = Duration::from_secs(60);

/// The forms that gRPC clients receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The message of the compatible service.
    Compatible,
    /// The message of our own service.
    Own,
}

/// Who receives, which decides about gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A gRPC client: gaps as [`crate::filter::Filters`] has it for its form.
    Client(Form),
    /// An export: gaps pass always, they are about the stream and not in it.
    Export,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is told now, as it is.
    Tell,
    /// A filter left it out.
    Filtered,
    /// The rate limit held it back.
    Limited,
    /// It waits to be told by [`Passage::next`], or became part of one that waits.
    Kept,
}

/// What a passage has counted.
#[derive(Debug, Default)]
pub struct Counts {
    limited: AtomicU64,
    folded: AtomicU64,
    unfolded: AtomicU64,
    waiting: AtomicU64,
}

/// A copy of [`Counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsNow {
    /// Events that the rate limit held back.
    pub limited: u64,
    /// Events that became part of another one.
    pub folded: u64,
    /// Events that could have waited for others to be folded with, and were told at once because too many waited.
    pub unfolded: u64,
    /// Events that wait at present, each with those folded into it.
    pub waiting: u64,
}

impl Counts {
    /// What was counted so far.
    #[must_use]
    pub fn now(&self) -> CountsNow {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountsNow {
            limited: load(&self.limited),
            folded: load(&self.folded),
            unfolded: load(&self.unfolded),
            waiting: load(&self.waiting),
        }
    }
}

/// The way of events to one receiver.
///
/// Before each call of [`Passage::take`], and whenever time has passed, [`Passage::next`] is to be called until it
/// has nothing more.
#[derive(Debug)]
pub struct Passage {
    subscription: Arc<Subscription>,
    audience: Audience,
    /// Filters in place of those of the subscription.
    followed: Option<live::Followed>,
    fold: Option<Fold>,
    limit: Option<Limited>,
    counts: Arc<Counts>,
    begun: Instant,
    ending: bool,
}

#[derive(Debug)]
struct Limited {
    /// `None`: there is no limit any more.
    bucket: Option<RateLimit>,
    /// Events held back since the last report, and the newest.
    held: Option<(u64, Arc<Event>)>,
    reported: Instant,
}

impl Passage {
    /// The way of a receiver to what it asked for.
    #[must_use]
    pub fn new(subscription: Arc<Subscription>, audience: Audience) -> Self {
        let now = Instant::now();
        let limit =
            |per_minute| Limited { bucket: Some(RateLimit::new(per_minute, now)), held: None, reported: now };
        Self {
            fold: subscription.aggregation.map(Fold::new),
            limit: subscription.rate.map(limit),
            subscription,
            audience,
            followed: None,
            counts: Arc::default(),
            begun: now,
            ending: false,
        }
    }

    /// The way of an export that gets everything.
    #[must_use]
    pub fn open() -> Self {
        Self::new(Arc::default(), Audience::Export)
    }

    /// The same with filters that may be exchanged, in place of those that were asked for.
    #[must_use]
    pub fn following(self, filters: &Arc<LiveFilters>) -> Self {
        Self { followed: Some(live::Followed::new(filters)), ..self }
    }

    /// What was asked for.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// What it counts, for whoever shows it.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// The time, if it plays a part here; else any, because asking for it costs more than most filters.
    #[must_use]
    pub fn clock(&self) -> Instant {
        if self.may_wait() { Instant::now() } else { self.begun }
    }

    /// Whether anything may ever come from [`Passage::next`], as things stand.
    #[must_use]
    #[inline]
    pub fn may_wait(&self) -> bool {
        self.fold.is_some() || self.limit.is_some()
    }

    /// When [`Passage::next`] will have something without another event; `None`: never.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let of_fold = self.fold.as_ref().and_then(Fold::due);
        let of_limit = self.limit.as_ref().filter(|limit| limit.held.is_some());
        let of_limit = of_limit.map(|limit| limit.reported + RATE_REPORT);
        of_fold.into_iter().chain(of_limit).min()
    }

    /// Decides about an event.
    pub fn take(&mut self, event: &Arc<Event>, now: Instant) -> Verdict {
        if !self.passes(event) {
            return Verdict::Filtered;
        }
        if let Some(fold) = &mut self.fold {
            let outcome = fold.take(event, now);
            self.counts.waiting.store(fold.waiting() as u64, Ordering::Relaxed);
            match outcome {
                Folded::Kept => return Verdict::Kept,
                Folded::Added => {
                    self.counts.folded.fetch_add(1, Ordering::Relaxed);
                    return Verdict::Kept;
                }
                Folded::Full => {
                    self.counts.unfolded.fetch_add(1, Ordering::Relaxed);
                }
                Folded::Not => {}
            }
        }
        if self.admits(event, 1, now) { Verdict::Tell } else { Verdict::Limited }
    }

    /// What is to be told at this time without another event: what has waited, and reports of the rate limit.
    pub fn next(&mut self, now: Instant) -> Option<Ready> {
        if self.fold.is_some() {
            while let Some((event, count)) = self.fold.as_mut().and_then(|fold| fold.next(now)) {
                let waiting = self.fold.as_ref().map_or(0, Fold::waiting);
                self.counts.waiting.store(waiting as u64, Ordering::Relaxed);
                if self.admits(&event, count, now) {
                    return Some(Ready::Event { event, count });
                }
            }
        }
        let limit = self.limit.as_mut()?;
        if !self.ending && now.saturating_duration_since(limit.reported) < RATE_REPORT {
            return None;
        }
        let (held, newest) = limit.held.take()?;
        limit.reported = now;
        Some(Ready::Limited { held, newest })
    }

    /// No event will come any more: all that waits is told by [`Passage::next`].
    pub fn finish(&mut self) {
        self.ending = true;
        if let Some(fold) = &mut self.fold {
            fold.finish();
        }
    }

    /// Whether nothing waits and no event will come any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ending
    }

    fn passes(&mut self, event: &Event) -> bool {
        if let Some(rate) = self.followed.as_mut().and_then(live::Followed::changed_rate) {
            self.follow_rate(rate);
        }
        let filters = match &self.followed {
            Some(followed) => &followed.get().filters,
            None => &self.subscription.filters,
        };
        match self.audience {
            Audience::Client(Form::Compatible) => filters.passes_compatible(event),
            Audience::Client(Form::Own) => filters.passes(event),
            Audience::Export => {
                filters.is_empty() || matches!(event.kind, EventKind::Gap(_)) || filters.passes(event)
            }
        }
    }

    /// Has another rate limit, or none, from now on. What the old one held back is still reported.
    fn follow_rate(&mut self, rate: Option<u32>) {
        let now = Instant::now();
        let bucket = RateLimit::new(rate.unwrap_or(0), now);
        match &mut self.limit {
            Some(limit) => limit.bucket = rate.map(|_| bucket),
            None if rate.is_some() => {
                self.limit = Some(Limited { bucket: Some(bucket), held: None, reported: now });
            }
            None => {}
        }
    }

    /// Whether the rate limit lets it pass; gaps it does.
    fn admits(&mut self, event: &Arc<Event>, count: u64, now: Instant) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        if matches!(event.kind, EventKind::Gap(_))
            || limit.bucket.as_mut().is_none_or(|bucket| bucket.admit(now))
        {
            return true;
        }
        self.counts.limited.fetch_add(1, Ordering::Relaxed);
        let held = limit.held.take().map_or(0, |(held, _)| held);
        limit.held = Some((held + count, Arc::clone(event)));
        false
    }
}

#[cfg(test)]
mod tests;
