//! `[revocation]`.

use std::time::Duration;

use super::super::quantity::LONGEST_DURATION;
use super::super::reader::Section;
use super::super::suggestion::did_you_mean;
use super::super::{OnStale, Revocation, RevocationStore};
use super::redis;

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
    section.finish(&[]);
    Revocation {
        store,
        on_stale,
        max_stale,
    }
}

/// What is wrong with a store's own keys is reported; the default stands in for it.
fn read_store(section: &mut Section<'_>) -> RevocationStore {
    let (store, name) = match section.text("store") {
        None => (RevocationStore::Embedded, "embedded"),
        Some(text) => match text.value {
            "memory" => (RevocationStore::Memory, "memory"),
            "embedded" => (RevocationStore::Embedded, "embedded"),
            "redis" => {
                let redis = redis::read(section).map(RevocationStore::Redis);
                return redis.unwrap_or(RevocationStore::Embedded);
            }
            other => {
                text.node.fault(format!(
                    "is not a known store, expected \"embedded\", \"memory\" or \"redis\"{}",
                    did_you_mean(other, ["embedded", "memory", "redis"])
                ));
                // Which of its keys have a meaning is not known.
                for key in redis::KEYS {
                    section.value(key);
                }
                return RevocationStore::Embedded;
            }
        },
    };
    redis::warn_of_all(section, name);
    store
}
