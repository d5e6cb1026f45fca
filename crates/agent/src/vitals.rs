//! Whether the agent lives and works, for service managers, health checks and clients.
//!
//! The thread that owns the sensors looks every second whether reader and engine move, and notes when it did. So a thread
//! that hangs shows, and that one too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pipeline::Gauges;

/// Time after which a thread that has something to do and does not move hangs.
pub const HANGS: Duration = Duration::from_secs(30);
/// Least time after which one does, however short the time is that a service manager gives.
const PATIENCE_MIN: Duration = Duration::from_secs(2);

/// How the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is not ready yet.
    Starting,
    /// Everything works.
    Running,
    /// It is about to end.
    Stopping,
    /// It hangs, for this reason.
    Failing(String),
}

impl Health {
    /// It does not hang: starting it anew would not help.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Failing(_))
    }

    /// It sees what happens on the machine.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self == Self::Running
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failing(reason) => reason,
        }
    }
}

/// What is known of the agent's health; shared.
#[derive(Debug)]
pub struct Vitals {
    begun: Instant,
    /// When the thread that looks did so last, in milliseconds since `begun`.
    looked: AtomicU64,
    hangs: Mutex<Option<String>>,
    ready: AtomicBool,
    stopping: AtomicBool,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            looked: AtomicU64::new(0),
            hangs: Mutex::default(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }
}

impl Vitals {
    /// Everything runs.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The end has begun.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Notes what a look found.
    pub fn note(&self, hangs: Option<String>) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.looked.store(now, Ordering::Relaxed);
        *self.hangs.lock().unwrap_or_else(PoisonError::into_inner) = hangs;
    }

    /// How the agent is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health_after(self.begun.elapsed())
    }

    fn health_after(&self, elapsed: Duration) -> Health {
        if self.stopping.load(Ordering::Acquire) {
            return Health::Stopping;
        }
        let looked = Duration::from_millis(self.looked.load(Ordering::Relaxed));
        let ready = self.ready.load(Ordering::Acquire);
        // A start takes as long as it takes.
        if ready && elapsed.saturating_sub(looked) >= HANGS {
            let since = elapsed.saturating_sub(looked).as_secs();
            return Health::Failing(format!("the agent's main thread has not moved for {since} s"));
        }
        match self.hangs.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(reason) => Health::Failing(reason),
            None if ready => Health::Running,
            None => Health::Starting,
        }
    }
}

/// A count that grows while a thread moves, and since when it has not.
#[derive(Debug)]
struct Seen {
    turns: u64,
    since: Instant,
}

impl Seen {
    /// For how long the thread has not moved.
    fn rests(&mut self, turns: u64, now: Instant) -> Duration {
        if self.turns != turns {
            *self = Self { turns, since: now };
        }
        now.saturating_duration_since(self.since)
    }
}

/// Who looks whether reader and engine move.
#[derive(Debug)]
pub struct Watch {
    reader: Seen,
    engine: Seen,
    /// Time after which a thread hangs.
    patience: Duration,
}

impl Watch {
    /// Begins to look. A service manager that wants to hear of the agent within a shorter time than [`HANGS`] takes a thread that
    /// does not move for that long for one that hangs.
    #[must_use]
    pub fn new(now: Instant, within: Option<Duration>) -> Self {
        let seen = || Seen { turns: 0, since: now };
        // The reader turns twice a second when nothing happens.
        let patience = within.map_or(HANGS, |within| within.clamp(PATIENCE_MIN, HANGS));
        Self { reader: seen(), engine: seen(), patience }
    }

    /// Why reader or engine hang; `None`: they move.
    pub fn look(&mut self, gauges: &Gauges, now: Instant) -> Option<String> {
        let turns = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let reader = self.reader.rests(turns(&gauges.reader_turns), now);
        let mut engine = self.engine.rests(turns(&gauges.engine_turns), now);
        let has_work = gauges.engine_busy.load(Ordering::Relaxed) || gauges.queued().0 > 0;
        if !has_work {
            // From now on, if something comes.
            self.engine.since = now;
            engine = Duration::ZERO;
        }
        // The reader waits for an engine that is behind, so what holds it up is told first.
        if engine >= self.patience {
            return Some(format!("the engine has been at one batch of records for {} s", engine.as_secs()));
        }
        (reader >= self.patience).then(|| format!("no records have been read for {} s", reader.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thread_that_does_not_move_is_told_and_an_idle_one_not() {
        let gauges = Gauges::default();
        let begin = Instant::now();
        let mut watch = Watch::new(begin, None);
        let mut look = |second: u32| watch.look(&gauges, begin + SECOND * second);
        for second in 0..100 {
            gauges.reader_turns.fetch_add(1, Ordering::Relaxed);
            assert_eq!(look(second), None, "an engine without work at {second} s");
        }
        gauges.engine_busy.store(true, Ordering::Relaxed);
        for second in 100..129 {
            gauges.reader_turns.fetch_add(1, Ordering::Relaxed);
            assert_eq!(look(second), None, "{second}");
        }
        let told = look(129).unwrap();
        assert!(told.starts_with("the engine has been at one batch"), "{told}");
        gauges.engine_turns.fetch_add(1, Ordering::Relaxed);
        assert_eq!(look(130), None);
        gauges.engine_busy.store(false, Ordering::Relaxed);
        let told = look(160).unwrap();
        assert!(told.starts_with("no records have been read for 3"), "{told}");
        gauges.reader_turns.fetch_add(1, Ordering::Relaxed);
        assert_eq!(look(161), None);
    }

    #[test]
    fn a_service_manager_with_less_patience_is_followed() {
        let gauges = Gauges::default();
        gauges.engine_busy.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        for (within, hangs) in [(None, 30), (Some(60), 30), (Some(10), 10), (Some(0), 2)] {
            let mut watch = Watch::new(begin, within.map(Duration::from_secs));
            let mut told = (0..100).map(|second| watch.look(&gauges, begin + SECOND * second).is_some());
            assert_eq!(told.position(|hangs| hangs), Some(hangs), "{within:?}");
        }
    }

    #[test]
    fn health_follows_the_life_of_an_agent() {
        let vitals = Vitals::default();
        assert_eq!(vitals.health(), Health::Starting);
        // However long a start takes.
        assert_eq!(vitals.health_after(HANGS * 2), Health::Starting);
        vitals.note(None);
        vitals.set_ready();
        assert!(vitals.health().is_ready() && vitals.health().is_live());
        let stuck = vitals.health_after(HANGS * 2);
        assert!(!stuck.is_live() && stuck.text().contains("main thread"), "{stuck:?}");
        vitals.note(Some("the engine hangs".into()));
        assert_eq!(vitals.health(), Health::Failing("the engine hangs".into()));
        vitals.note(None);
        vitals.set_stopping();
        let stopping = vitals.health();
        assert!(stopping.is_live() && !stopping.is_ready());
    }
}
