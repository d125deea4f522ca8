//! How `explain` shows values: short, and safe to print on a terminal.

use crate::config::ClaimTest;
use crate::gate::json::{Json, Object};
use crate::gate::jws::moment;
use crate::time::UnixTime;

/// Longer values are cut off.
const SHOWN_CHARACTERS: usize = 120;

/// A value of the token: control characters escaped, cut off where it is long.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// Values side by side; none is a dash.
pub(super) fn list(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    if values.is_empty() {
        "–".to_owned()
    } else {
        values.join(", ")
    }
}

/// How far a moment lies from now.
fn age(at: UnixTime, now: UnixTime) -> String {
    if at <= now {
        format!("{} s ago", now.since(at).as_secs())
    } else {
        format!("in {} s", at.since(now).as_secs())
    }
}

/// A text claim.
pub(super) fn claim_text(claims: &Object<'_>, name: &str) -> String {
    match claims.get(name).and_then(Json::as_str) {
        Some(text) => shown(text),
        None => format!("no {name}"),
    }
}

/// A time claim.
pub(super) fn moment_text(claims: &Object<'_>, name: &str, now: UnixTime) -> String {
    match moment(claims, name) {
        Some(at) => format!("{name} {} ({})", at.to_rfc3339(), age(at, now)),
        None => format!("no {name}"),
    }
}

/// What a claim rule asks.
pub(super) fn test_text(test: &ClaimTest) -> String {
    match test {
        ClaimTest::Equals(value) => format!("equals {value}"),
        ClaimTest::Contains(value) => format!("an array that contains {value}"),
        ClaimTest::OneOf(values) => {
            format!("one of {}", list(values.iter().map(ToString::to_string)))
        }
    }
}
