//! When to fetch next.
//!
//! Owns the interval, its jitter and the back-off. Knows nothing of what is fetched.

use std::time::Duration;

/// A provider may ask for more frequent refreshes than configured, but not for more than this.
const SHORTEST_MAX_AGE: Duration = Duration::from_mins(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often a file is looked at.
const FILE_POLL: Duration = Duration::from_secs(1);

/// The time from the end of one fetch to the next.
#[derive(Debug)]
pub(super) struct Pace {
    refresh: Duration,
    is_remote: bool,
    next: Duration,
    /// Failures since the last success.
    failures: u32,
}

impl Pace {
    pub(super) fn new(refresh: Duration, is_remote: bool) -> Self {
        Self {
            refresh,
            is_remote,
            next: Duration::ZERO,
            failures: 0,
        }
    }

    /// Notes a success; `max_age` may shorten the interval, never lengthen it.
    pub(super) fn succeeded(&mut self, max_age: Option<Duration>) {
        self.failures = 0;
        self.next = max_age.map_or(self.refresh, |max_age| {
            max_age.max(SHORTEST_MAX_AGE).min(self.refresh)
        });
    }

    /// Notes a failure: 1 s, doubling to 30 s, and never longer than the interval.
    pub(super) fn failed(&mut self) {
        let doublings = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.next = FIRST_RETRY
            .saturating_mul(doublings)
            .min(LONGEST_RETRY)
            .min(self.refresh);
    }

    /// How long to wait, up to a tenth less than due: gateways that were started together should not fetch together.
    pub(super) fn pause(&self) -> Duration {
        if !self.is_remote {
            return FILE_POLL;
        }
        self.next.mul_f64(1.0 - fastrand::f64() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn due(pace: &Pace) -> Duration {
        let pause = pace.pause();
        assert!(pause <= pace.next && pause >= pace.next.mul_f64(0.9));
        pace.next
    }

    #[test]
    fn max_age_shortens_the_interval_to_a_minute_at_the_least() {
        let mut pace = Pace::new(10 * MINUTE, true);
        for (max_age, expected) in [
            (None, 10 * MINUTE),
            (Some(5 * MINUTE), 5 * MINUTE),
            (Some(Duration::ZERO), MINUTE),
            (Some(60 * MINUTE), 10 * MINUTE),
        ] {
            pace.succeeded(max_age);
            assert_eq!(due(&pace), expected);
        }
        let mut quick = Pace::new(MINUTE / 4, true);
        quick.succeeded(Some(Duration::ZERO));
        assert_eq!(due(&quick), MINUTE / 4);
    }

    #[test]
    fn failures_back_off_to_half_a_minute_and_a_success_forgets_them() {
        let mut pace = Pace::new(10 * MINUTE, true);
        let seconds: Vec<u64> = (0..8)
            .map(|_| {
                pace.failed();
                due(&pace).as_secs()
            })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        pace.succeeded(None);
        pace.failed();
        assert_eq!(due(&pace).as_secs(), 1);
    }

    #[test]
    fn a_file_is_looked_at_every_second_come_what_may() {
        let mut pace = Pace::new(10 * MINUTE, false);
        pace.failed();
        pace.failed();
        assert_eq!(pace.pause(), FILE_POLL);
    }
}
