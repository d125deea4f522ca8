//! The background task that keeps one issuer's keys fresh.
//!
//! Owns when to fetch, what replaces the keys and what outlives a restart. It is the only writer of the issuer's
//! [`IssuerKeys`]. Knows nothing of requests: they ask through [`IssuerKeys::refreshed`].

mod pace;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::document::KeyTable;
use super::key::VerificationKey;
use super::last_good::{LastGood, Owner, Stored};
use super::outcome::{FetchError, RefreshResult};
use super::ring::{FetchMark, IssuerKeys, KeySet};
use super::source::{self, Fetched, Source};
use crate::config::{Issuer, KeySource};
use crate::time::{Clock, UnixTime};
use pace::Pace;

/// The background task that keeps one issuer's keys fresh.
#[derive(Debug)]
pub struct Refresher {
    /// The issuer's name in the configuration.
    name: String,
    source: Source,
    keys: Arc<IssuerKeys>,
    max_keys: usize,
    max_stale: Duration,
    clock: Clock,
    pace: Pace,
    last_good: Option<LastGood>,
    /// The text of the last good document, where a file is read every second and rarely changes.
    unchanged: Option<Vec<u8>>,
    last_failure: Option<RefreshResult>,
    is_store_broken: bool,
}

/// What one try brought.
enum Tried {
    /// The keys are those of a new answer.
    Fetched(Fetched),
    /// A file is as it was.
    Unchanged,
}

impl Refresher {
    /// Prepares the keys of `issuer`: a secret or a file is read, a snapshot on disk is loaded, nothing is fetched yet.
    pub fn new(issuer: &Issuer, state_dir: Option<&Path>, clock: Clock) -> (Self, Arc<IssuerKeys>) {
        let now = clock.now();
        let jwks = &issuer.jwks;
        let owner = Owner::new(issuer.issuer.as_str(), &source_text(issuer));
        let keys = IssuerKeys::new(owner.clone(), jwks.cooldown, jwks.wait, now);
        let keys = Arc::new(keys);
        let source = Source::new(issuer);
        let is_remote = matches!(source, Source::Url(_) | Source::Discovery(_));
        let mut refresher = Self {
            name: issuer.name.clone(),
            last_good: state_dir
                .filter(|_| is_remote)
                .map(|directory| LastGood::new(directory, &issuer.name, owner)),
            source,
            keys: Arc::clone(&keys),
            max_keys: jwks.max_keys,
            max_stale: jwks.max_stale,
            clock,
            pace: Pace::new(jwks.refresh, is_remote),
            unchanged: None,
            last_failure: None,
            is_store_broken: false,
        };
        refresher.start(issuer);
        (refresher, keys)
    }

    /// Takes over the keys of an earlier configuration, so that a reload begins where it was. Does nothing, and says
    /// so, unless issuer and source are the same and the earlier keys are newer than these.
    pub fn inherit(&self, earlier: &IssuerKeys) -> bool {
        let set = earlier.snapshot();
        let is_newer = set.fetched_at > self.keys.snapshot().fetched_at;
        let is_fetched = !matches!(self.source, Source::Secret);
        let is_taken = is_fetched && is_newer && self.keys.owner() == earlier.owner();
        if is_taken && let Some(fetched_at) = set.fetched_at {
            self.keys.publish(KeySet {
                table: Arc::clone(&set.table),
                fetch_number: FetchMark(0),
                fetch_began: set.fetch_began,
                fetched_at: set.fetched_at,
                usable_until: fetched_at.plus(self.max_stale),
            });
        }
        is_taken
    }

    /// Runs until dropped; cancel-safe.
    pub async fn run(mut self) {
        if matches!(self.source, Source::Secret) {
            return std::future::pending().await;
        }
        loop {
            // The failure is logged and counted; the pace has taken note of it.
            drop(self.refresh().await);
            self.keys.asked_within(self.pace.pause()).await;
        }
    }

    /// Fetches once, for `explain`; nothing is stored, now or later. Drop the refresher afterwards: then nobody waits for
    /// another fetch.
    pub async fn fetch_once(&mut self) -> Result<(), String> {
        self.last_good = None;
        if matches!(self.source, Source::Secret) {
            return Ok(());
        }
        self.refresh().await.map_err(|error| error.to_string())
    }

    fn start(&mut self, issuer: &Issuer) {
        let now = self.clock.now();
        match &issuer.keys {
            KeySource::HmacSecret(secret) => {
                let key = VerificationKey::from_secret(secret);
                self.keys.publish(KeySet::of_secret(key));
                self.keys.settle_for_good();
            }
            KeySource::File(path) => {
                let number = self.keys.begin();
                let fetched = source::read_file(path, issuer.jwks.max_bytes);
                let outcome = fetched.and_then(|fetched| self.accept(fetched, number, now));
                self.conclude(number, &outcome);
            }
            KeySource::Url(_) | KeySource::Discovery => self.restore(now),
        }
    }

    /// Loads what an earlier run stored.
    fn restore(&self, now: UnixTime) {
        let Some(stored) = self.last_good.as_ref().and_then(LastGood::load) else {
            return;
        };
        // A time to come tells of a clock that was wrong: it proves nothing, and is no ground to serve the keys longer.
        let (fetch_began, fetched_at) = if stored.fetched_at > now {
            (UnixTime::MIN, now)
        } else {
            (stored.fetched_at, stored.fetched_at)
        };
        let age = now.since(fetched_at);
        if age > self.max_stale {
            tracing::warn!(
                issuer = self.name,
                age_s = age.as_secs(),
                "stored keys are past max_stale and are not used"
            );
            return;
        }
        match KeyTable::read(&stored.document, self.max_keys, &KeyTable::default()) {
            Ok(table) => {
                tracing::info!(
                    issuer = self.name,
                    keys = table.keys.len(),
                    age_s = age.as_secs(),
                    "stored keys loaded"
                );
                self.keys.publish(KeySet {
                    table: Arc::new(table),
                    fetch_number: FetchMark(0),
                    fetch_began,
                    fetched_at: Some(fetched_at),
                    usable_until: fetched_at.plus(self.max_stale),
                });
            }
            Err(error) => {
                tracing::warn!(issuer = self.name, %error, "stored keys are not usable");
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), FetchError> {
        let number = self.keys.begin();
        let began = self.clock.now();
        let fetched = self.source.fetch().await;
        let outcome = fetched.and_then(|fetched| self.accept(fetched, number, began));
        self.conclude(number, &outcome);
        if let Ok(Tried::Fetched(fetched)) = &outcome {
            self.store(fetched.document.clone(), began).await;
        }
        outcome.map(drop)
    }

    /// Makes an answer the current keys, if it is good.
    fn accept(
        &mut self,
        fetched: Fetched,
        number: FetchMark,
        began: UnixTime,
    ) -> Result<Tried, FetchError> {
        let current = self.keys.snapshot();
        let is_unchanged = self.unchanged.as_ref() == Some(&fetched.document);
        let table = if is_unchanged {
            Arc::clone(&current.table)
        } else {
            let table = KeyTable::read(&fetched.document, self.max_keys, &current.table)?;
            self.log_change(&current.table, &table);
            Arc::new(table)
        };
        let fetched_at = self.clock.now();
        self.keys.publish(KeySet {
            table,
            fetch_number: number,
            fetch_began: began,
            fetched_at: Some(fetched_at),
            usable_until: fetched_at.plus(self.max_stale),
        });
        if is_unchanged {
            return Ok(Tried::Unchanged);
        }
        if matches!(self.source, Source::File { .. }) {
            self.unchanged = Some(fetched.document.clone());
        }
        Ok(Tried::Fetched(fetched))
    }

    /// Counts and logs how a fetch ended, sets the pace and wakes whoever waits.
    fn conclude(&mut self, number: FetchMark, outcome: &Result<Tried, FetchError>) {
        match outcome {
            Ok(tried) => {
                if self.last_failure.take().is_some() {
                    tracing::info!(issuer = self.name, "keys can be fetched again");
                }
                // A file is looked at every second: what stayed as it was is no event.
                let (max_age, result) = match tried {
                    Tried::Fetched(fetched) => (fetched.max_age, Some(RefreshResult::Success)),
                    Tried::Unchanged => (None, None),
                };
                self.pace.succeeded(max_age);
                self.keys.complete(number, result);
            }
            Err(error) => {
                self.log_failure(error);
                self.last_failure = Some(error.result);
                self.pace.failed();
                self.keys.complete(number, Some(error.result));
            }
        }
    }

    fn log_failure(&self, error: &FetchError) {
        let (result, detail) = (error.result.name(), error.detail.as_str());
        let keys = self.keys.snapshot().all().len();
        let is_repeated = self.last_failure == Some(error.result);
        if is_repeated && matches!(self.source, Source::File { .. }) {
            tracing::debug!(issuer = self.name, result, detail, keys, "keys not fetched");
        } else {
            tracing::warn!(issuer = self.name, result, detail, keys, "keys not fetched");
        }
    }

    /// Names keys by thumbprint: a kid is the provider's text.
    fn log_change(&self, before: &KeyTable, after: &KeyTable) {
        let missing = |from: &KeyTable, into: &KeyTable| -> Vec<String> {
            let lost = from.thumbprints.difference(&into.thumbprints);
            lost.map(ToString::to_string).collect()
        };
        let (added, removed) = (missing(after, before), missing(before, after));
        if added.is_empty() && removed.is_empty() && before.skipped == after.skipped {
            return;
        }
        tracing::info!(
            issuer = self.name,
            keys = after.keys.len(),
            kids = after.by_kid.len(),
            skipped = after.skipped.total(),
            skipped_reasons = after.skipped.by_reason(),
            added = added.join(" "),
            removed = removed.join(" "),
            "keys changed"
        );
    }

    /// Stores a document for the next start. That it cannot be stored is said once, and is no failure of the fetch.
    async fn store(&mut self, document: Vec<u8>, fetched_at: UnixTime) {
        let Some(last_good) = self.last_good.clone() else {
            return;
        };
        let stored = Stored {
            document,
            fetched_at,
        };
        let file = last_good.path().to_owned();
        let written = tokio::task::spawn_blocking(move || last_good.store(&stored)).await;
        match written.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into())) {
            Ok(()) => self.is_store_broken = false,
            Err(error) if !self.is_store_broken => {
                self.is_store_broken = true;
                let (error, file) = (error.kind(), file.display());
                tracing::warn!(
                    issuer = self.name, %file, %error,
                    "keys cannot be stored for the next start: let server.state_dir be a directory that this user may write"
                );
            }
            Err(_) => {}
        }
    }
}

/// Nobody fetches any more, so nobody should wait.
impl Drop for Refresher {
    fn drop(&mut self) {
        self.keys.stop();
    }
}

fn source_text(issuer: &Issuer) -> String {
    match &issuer.keys {
        KeySource::Url(url) => format!("url:{url}"),
        KeySource::Discovery => format!("discovery:{}", issuer.issuer.as_str()),
        KeySource::File(path) => format!("file:{}", path.display()),
        KeySource::HmacSecret(_) => String::from("secret"),
    }
}
