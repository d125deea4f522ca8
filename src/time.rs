//! Moments of wall-clock time, and the one place where the system clock is read.
//!
//! Owns [`UnixTime`] and [`Clock`]. Below the edges time is an argument: whoever decides something
//! is told what time it is, so that a test can tell it too.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A moment in microseconds since 1970-01-01T00:00:00Z, leap seconds not counted (RFC 7519 §2, `NumericDate`).
///
/// Arithmetic saturates: no value in a token can make it wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The earliest moment: before every token.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment: what never comes.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `seconds` after the epoch; out of range saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// The moment of a fractional `NumericDate`; out of range saturates and NaN is the epoch.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float-to-integer cast saturates, which is what is wanted"
    )]
    pub fn from_fractional_seconds(seconds: f64) -> Self {
        Self((seconds * 1e6) as i64)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This moment, later by `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This moment, earlier by `duration`.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UnixTime({}µs)", self.0)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Where background tasks and edges learn the time; tests hand in one of their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(system_now))
    }

    /// A clock that asks `now` each time.
    pub fn from_fn(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    pub fn now(&self) -> UnixTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

fn system_now() -> UnixTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(micros(since_epoch))
}
