//! Times as callers give them: Unix seconds, or RFC 3339 text.

use serde_json::Value;

use super::answer::Problem;
use crate::time::UnixTime;

/// 9999-12-31T23:59:59Z
const LAST_SECOND: i64 = 253_402_300_799;

/// The moment that the member `name` says.
pub(super) fn read(name: &str, value: &Value) -> Result<UnixTime, Problem> {
    let moment = match value {
        Value::Number(number) => number.as_f64().map(UnixTime::from_fractional_seconds),
        Value::String(text) => from_rfc3339(text),
        _ => None,
    };
    let is_sane = |moment: &UnixTime| (0..=LAST_SECOND).contains(&moment.as_seconds());
    moment.filter(is_sane).ok_or_else(|| {
        Problem::member(
            name,
            format!("{name} must be Unix seconds (a number) or RFC 3339 (2030-01-31T12:00:00Z)."),
        )
    })
}

/// RFC 3339 §5.6; leap seconds are refused, because Unix time has none.
fn from_rfc3339(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at_checked(zone_at)?;
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let whole = UnixTime::from_seconds(seconds - offset(zone)?);
    let micros = fraction.map_or(Some(0), micros)?;
    is_valid.then(|| whole.plus(std::time::Duration::from_micros(micros)))
}

/// Microseconds of the digits after the point.
fn micros(fraction: &str) -> Option<u64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
    six.parse().ok()
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Numbers of exactly so many digits.
fn numbers<const COUNT: usize>(
    text: &str,
    separator: char,
    digits: [usize; COUNT],
) -> Option<[i64; COUNT]> {
    let mut numbers = [0; COUNT];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seconds_and_rfc_3339_mean_the_same_moment() {
        for value in [
            json!(1_893_456_000),
            json!(1_893_456_000.0),
            json!("2030-01-01T00:00:00Z"),
            json!("2030-01-01t01:30:00.000+01:30"),
            json!("2029-12-31T16:00:00-08:00"),
        ] {
            let moment = read("expires_at", &value);
            assert_eq!(moment, Ok(UnixTime::from_seconds(1_893_456_000)), "{value}");
        }
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-03-01T00:00:00Z", 1_709_251_200),
            ("9999-12-31T23:59:59Z", LAST_SECOND),
        ] {
            assert_eq!(
                read("t", &json!(text)),
                Ok(UnixTime::from_seconds(seconds)),
                "{text}"
            );
        }
        let half = UnixTime::from_fractional_seconds(1.5);
        assert_eq!(read("t", &json!(1.5)), Ok(half));
        assert_eq!(read("t", &json!("1970-01-01T00:00:01.5Z")), Ok(half));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for value in [
            json!(null),
            json!(true),
            json!(-1),
            json!(1e300),
            json!(253_402_300_800_i64),
            json!(""),
            json!("1893456000"),
            json!("2030-01-01"),
            json!("2030-01-01T00:00:00"),
            json!("2030-01-01 00:00:00Z"),
            json!("2030-02-29T00:00:00Z"),
            json!("2030-13-01T00:00:00Z"),
            json!("2030-01-01T24:00:00Z"),
            json!("2030-01-01T00:60:00Z"),
            json!("2030-01-01T00:00:60Z"),
            json!("2030-01-01T00:00:00.Z"),
            json!("2030-01-01T00:00:00ZZ"),
            json!("2030-01-01T00:00:00+0100"),
            json!("+030-01-01T00:00:00Z"),
            json!("2030-1-01T00:00:00Z"),
            json!("1969-12-31T23:59:59Z"),
        ] {
            let refused = read("expires_at", &value).unwrap_err();
            assert!(
                matches!(refused, Problem::Member { member, .. } if member == "expires_at"),
                "{value}"
            );
        }
    }
}
