//! `[issuer.jwks]`.

use std::time::Duration;

use super::super::quantity::LONGEST_DURATION;
use super::super::reader::Section;
use super::super::{Jwks, named_file};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const SHORTEST_COOLDOWN: Duration = Duration::from_millis(100);
/// A request holds its connection while it waits.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A key that was withdrawn should not be trusted longer than this.
const LONGEST_SAFE_STALE: Duration = Duration::from_hours(7 * 24);
const MOST_KEYS: u32 = 100_000;

pub(super) fn read(mut section: Section<'_>) -> Jwks {
    let refresh = section.duration("refresh", 600 * SECOND, SECOND, LONGEST_DURATION);
    let cooldown = section.duration("cooldown", 10 * SECOND, SHORTEST_COOLDOWN, HOUR);
    let wait = section.duration("wait", SECOND, MILLISECOND, LONGEST_WAIT);
    let timeout = section.duration("timeout", 5 * SECOND, MILLISECOND, HOUR);
    let max_bytes = section.size("max_bytes", 1 << 20, 256, 64 << 20);
    let max_keys = section.count("max_keys", 256, 1, MOST_KEYS) as usize;
    let max_stale = section.duration("max_stale", 24 * HOUR, SECOND, LONGEST_DURATION);
    let ca = section.text("ca");
    let token_file = section.text("token_file");
    if max_stale < refresh {
        section.warn_at(
            "max_stale",
            "is shorter than refresh, so that good tokens are refused between two refreshes, make it several times as long",
        );
    } else if max_stale > LONGEST_SAFE_STALE {
        section.warn_at(
            "max_stale",
            "trusts keys for more than a week after they were last seen, use about a day",
        );
    }
    let jwks = Jwks {
        refresh,
        cooldown,
        wait,
        timeout,
        max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
        max_keys,
        max_stale,
        ca: ca.as_ref().and_then(named_file::read_certificates),
        token_file: token_file
            .as_ref()
            .and_then(named_file::read_secret)
            .map(|(path, _)| path),
    };
    section.finish(&[]);
    jwks
}
