//! How fast a member may speak: a token bucket that says how long to wait. It
//! knows no clock; times are parameters.

use std::time::{Duration, Instant};

/// A rate for each member's events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Events a second in the long run; above 0.
    pub per_second: f64,
    /// Events that may come at once after a silence; at least 1.
    pub burst: u32,
}

/// What a member has left to say at once.
pub(super) struct Pace {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst.max(1)),
            at: now,
        }
    }

    /// How long to wait before the next event; zero if it may come now.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let most = f64::from(self.rate.burst.max(1));
        self.tokens = (self.tokens + passed * self.rate.per_second).min(most);
        self.at = now;
        match self.tokens {
            tokens if tokens >= 1.0 => Duration::ZERO,
            // A rate close to 0 would be more than a duration holds.
            tokens => Duration::try_from_secs_f64((1.0 - tokens) / self.rate.per_second)
                .unwrap_or(Duration::MAX),
        }
    }

    /// Whether it has been calm for long enough to be as good as new.
    pub(super) fn is_rested(&mut self, now: Instant) -> bool {
        self.wait(now);
        self.tokens >= f64::from(self.rate.burst.max(1))
    }

    /// An event came. Returns whether the next one has to wait.
    pub(super) fn spend(&mut self) -> bool {
        self.tokens -= 1.0;
        self.tokens < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_burst_the_rate_counts() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let rate = Rate {
            per_second: 20.0,
            burst: 3,
        };
        let mut pace = Pace::new(rate, start);
        for _ in 0..3 {
            assert_eq!(pace.wait(start), Duration::ZERO);
            pace.spend();
        }
        assert_eq!(pace.wait(start), Duration::from_millis(50));
        assert_eq!(pace.wait(after(30)), Duration::from_millis(20));
        assert_eq!(pace.wait(after(50)), Duration::ZERO);
        pace.spend();
        assert_eq!(pace.wait(after(50)), Duration::from_millis(50));
        // a long silence earns one burst and no more
        assert_eq!(pace.wait(after(3_600_000)), Duration::ZERO);
        for _ in 0..3 {
            pace.spend();
        }
        assert!(pace.wait(after(3_600_000)) > Duration::ZERO);
    }

    #[test]
    fn the_slowest_rate_is_a_long_wait_and_no_panic() {
        let start = Instant::now();
        let rate = Rate {
            per_second: f64::MIN_POSITIVE,
            burst: 0,
        };
        let mut pace = Pace::new(rate, start);
        pace.spend();
        assert_eq!(pace.wait(start), Duration::MAX);
    }
}
