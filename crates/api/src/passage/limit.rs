//! Rate limit of a receiver.

use std::time::Instant;

/// A bucket of `per_minute` events that fills evenly over a minute.
#[derive(Debug)]
pub struct RateLimit {
    per_minute: u32,
    level: f64,
    filled: Instant,
}

impl RateLimit {
    /// A full bucket; 0 lets nothing pass.
    #[must_use]
    pub fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute, level: f64::from(per_minute), filled: now }
    }

    /// Takes one event's worth, if it is there.
    pub fn admit(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.per_minute);
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.level = (self.level + seconds * rate / 60.0).min(rate);
        let admitted = self.level >= 1.0;
        if admitted {
            self.level -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn burst_then_steady_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(60, start);
        assert_eq!((0..100).filter(|_| limit.admit(start)).count(), 60);
        let later = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| limit.admit(later)).count(), 10);
    }

    #[test]
    fn zero_lets_nothing_pass() {
        let start = Instant::now();
        let mut limit = RateLimit::new(0, start);
        assert!(!limit.admit(start + Duration::from_secs(3600)));
    }
}
