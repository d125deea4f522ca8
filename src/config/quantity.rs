//! Durations and sizes as the configuration writes them: one number and one unit.

use std::time::Duration;

/// Ten years: beyond every sensible setting, and far from where arithmetic with times overflows.
pub(super) const LONGEST_DURATION: Duration = Duration::from_hours(87_600);

/// Reads `"250ms"`, `"30s"`, `"10m"`, `"24h"`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

/// Writes a duration in the largest unit that fits it.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    units
        .into_iter()
        .find(|(length, _)| milliseconds >= *length && milliseconds.is_multiple_of(*length))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(length, unit)| format!("{}{unit}", milliseconds / length),
        )
}

/// Reads `"512B"`, `"32KiB"`, `"1MiB"`, `"2GiB"` into bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let length = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(length)
}

/// Writes a size in the largest unit that fits it.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    units
        .into_iter()
        .find(|(length, _)| bytes >= *length && bytes.is_multiple_of(*length))
        .map_or_else(
            || format!("{bytes}B"),
            |(length, unit)| format!("{}{unit}", bytes / length),
        )
}

/// Decimal digits, and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_number_and_one_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("10m"), Some(Duration::from_mins(10)));
        assert_eq!(parse_duration("24h"), Some(Duration::from_hours(24)));
        for wrong in [
            "", "30", "s", "1h30m", "-1s", "1.5s", " 1s", "1 s", "1d", "1S", "+1s",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong:?}");
        }
        assert_eq!(parse_duration("18446744073709551615h"), None);
    }

    #[test]
    fn a_size_is_one_number_and_one_binary_unit() {
        assert_eq!(parse_size("0B"), Some(0));
        assert_eq!(parse_size("32KiB"), Some(32_768));
        assert_eq!(parse_size("1MiB"), Some(1_048_576));
        for wrong in ["", "1", "1KB", "1kib", "KiB", "1.5MiB", "-1B"] {
            assert_eq!(parse_size(wrong), None, "{wrong:?}");
        }
        assert_eq!(parse_size("18446744073709551615KiB"), None);
    }

    #[test]
    fn quantities_are_shown_as_they_are_read() {
        for text in ["250ms", "30s", "10m", "24h", "90s", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["512B", "32KiB", "1MiB", "3GiB"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
    }
}
