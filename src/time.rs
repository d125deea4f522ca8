//! Moments of wall-clock time, and the one place where the system clock is read.
//!
//! Owns [`UnixTime`] and [`Clock`]. Below the edges time is an argument: whoever decides something
//! is told what time it is, so that a test can tell it too.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

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

    /// The moment so many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
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

    /// The moment in UTC to the second (RFC 3339 §5.6): `2026-11-24T08:15:00Z`.
    pub fn to_rfc3339(self) -> String {
        let seconds = self.as_seconds();
        let (year, month, day) = civil_date(seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01. Years are counted
/// from March in eras of 400 years, so that the leap day is the last of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_794_816_000, "2026-11-16T08:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(UnixTime::from_seconds(seconds).to_rfc3339(), text);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixTime::MAX.plus(Duration::from_secs(1)), UnixTime::MAX);
        assert_eq!(UnixTime::MIN.minus(Duration::MAX), UnixTime::MIN);
        assert_eq!(UnixTime::from_seconds(i64::MAX), UnixTime::MAX);
        assert_eq!(UnixTime::from_fractional_seconds(1e300), UnixTime::MAX);
        assert_eq!(UnixTime::MIN.since(UnixTime::MAX), Duration::ZERO);
    }
}
