//! What operators are told of an issuer's keys.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::key::SkipReason;
use super::source::RefreshResult;
use crate::time::UnixTime;

/// A report on one issuer's keys.
#[derive(Clone, Debug)]
pub struct KeysStatus {
    /// A fetch has ended since the start, well or not.
    pub tried_once: bool,
    /// There are keys, not past `max_stale`.
    pub usable: bool,
    /// Since the fetch that gave the keys began; before the first success, since the start.
    pub age: Duration,
    /// Keys in use.
    pub keys: usize,
    /// Keys of the last good document that are not used.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Fetches since the start, by result.
    pub refreshes: BTreeMap<RefreshResult, u64>,
}

/// The counts behind it. Only the refresher and the scrape touch them, never a request.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    since: UnixTime,
    needs_no_fetch: bool,
    skipped: BTreeMap<SkipReason, u64>,
    refreshes: BTreeMap<RefreshResult, u64>,
}

impl Tally {
    pub(super) fn new(started: UnixTime) -> Self {
        Self(Mutex::new(Counts {
            since: started,
            needs_no_fetch: false,
            skipped: BTreeMap::new(),
            refreshes: BTreeMap::new(),
        }))
    }

    /// A shared secret is never fetched: it is as young as can be.
    pub(super) fn needs_no_fetch(&self) {
        self.with(|counts| counts.needs_no_fetch = true);
    }

    /// Keys are at hand whose fetch began then.
    pub(super) fn fetched(&self, began: UnixTime, skipped: BTreeMap<SkipReason, u64>) {
        self.with(|counts| {
            counts.since = began;
            counts.skipped = skipped;
        });
    }

    /// A fetch ended.
    pub(super) fn count(&self, result: RefreshResult) {
        self.with(|counts| *counts.refreshes.entry(result).or_default() += 1);
    }

    pub(super) fn status(&self, now: UnixTime, keys: usize, usable: bool) -> KeysStatus {
        self.with(|counts| KeysStatus {
            tried_once: counts.needs_no_fetch || !counts.refreshes.is_empty(),
            usable,
            age: if counts.needs_no_fetch {
                Duration::ZERO
            } else {
                now.since(counts.since)
            },
            keys,
            skipped: counts.skipped.clone(),
            refreshes: counts.refreshes.clone(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
