//! `[revocation]`.

use std::time::Duration;

use super::super::quantity::LONGEST_DURATION;
use super::super::reader::Section;
use super::super::suggestion::did_you_mean;
use super::super::{OnStale, Revocation, RevocationStore};

const LATER: [&str; 4] = ["password_file", "prefix", "url", "username"];
/// Longer than this, "refuse" refuses too late to matter.
const LONGEST_SAFE: Duration = Duration::from_hours(24);

pub(super) fn read(mut section: Section<'_>) -> Revocation {
    let store = read_store(&mut section);
    let choices = [("serve", OnStale::Serve), ("refuse", OnStale::Refuse)];
    let on_stale = section.choice("on_stale", &choices, OnStale::Serve);
    let max_stale = section.duration(
        "max_stale",
        Duration::from_mins(5),
        Duration::from_secs(1),
        LONGEST_DURATION,
    );
    if on_stale == OnStale::Refuse && max_stale > LONGEST_SAFE {
        section.warn_at(
            "max_stale",
            "lets revoked tokens in for more than a day before \"refuse\" begins, use minutes",
        );
    }
    section.finish(&LATER);
    Revocation {
        store,
        on_stale,
        max_stale,
    }
}

fn read_store(section: &mut Section<'_>) -> RevocationStore {
    let Some(text) = section.text("store") else {
        return RevocationStore::Embedded;
    };
    match text.value {
        "memory" => return RevocationStore::Memory,
        "embedded" => {}
        "redis" => text.node.fault(
            "names a store that is not available yet in this version, expected \"embedded\" or \"memory\" (revocations are then lost at a restart)",
        ),
        other => text.node.fault(format!(
            "is not a known store, expected \"embedded\" or \"memory\"{}",
            did_you_mean(other, ["embedded", "memory"])
        )),
    }
    RevocationStore::Embedded
}
