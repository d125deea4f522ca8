//! The background task that keeps one issuer's keys fresh.
//!
//! Owns when to fetch: at the start, at every interval, after failures with back-off, when a file changes, and when
//! the gate was granted a forced refresh. An empty or unreadable answer never replaces good keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::document::{self, Document};
use super::key::VerificationKey;
use super::ring::{FetchMark, IssuerKeys, KeySet};
use super::snapshot::SnapshotFile;
use super::source::{FetchError, Fetched, RefreshResult, Source};
use crate::config::{Issuer, Jwks, KeySource};
use crate::time::{Clock, UnixTime};

/// `max-age` never asks for more fetches than this.
const SHORTEST_REFRESH: Duration = Duration::from_secs(60);
/// Between failures: from this, doubling.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Between failures: at most this.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Keeps one issuer's keys fresh.
#[derive(Debug)]
pub struct Refresher {
    name: String,
    jwks: Jwks,
    /// `None`: a shared secret, which is never fetched.
    source: Option<Source>,
    keys: Arc<IssuerKeys>,
    snapshot: Option<SnapshotFile>,
    clock: Clock,
    failures: u32,
}

impl Refresher {
    /// Prepares the keys of `issuer`: a secret is taken over, a snapshot on disk (under `state_dir`, where one is
    /// given) is loaded. Nothing is fetched yet.
    pub fn new(issuer: &Issuer, state_dir: Option<&Path>, clock: Clock) -> (Self, Arc<IssuerKeys>) {
        let now = clock.now();
        let source = Source::new(issuer);
        let set = match &issuer.keys {
            KeySource::HmacSecret(secret) => {
                let key = Arc::new(VerificationKey::from_secret(secret));
                KeySet::new(vec![key], FetchMark(0), now, UnixTime::MAX)
            }
            _ => KeySet::empty(),
        };
        let keys = Arc::new(IssuerKeys::new(&issuer.jwks, set, now));
        if source.is_none() {
            keys.tally.needs_no_fetch();
        }
        let snapshot = match (&source, state_dir) {
            (Some(source @ (Source::Url { .. } | Source::Discovery(_))), Some(folder)) => {
                let configured = issuer.issuer.as_str();
                Some(SnapshotFile::new(
                    folder,
                    &issuer.name,
                    configured,
                    source.location(),
                ))
            }
            _ => None,
        };
        let refresher = Self {
            name: issuer.name.clone(),
            jwks: issuer.jwks.clone(),
            source,
            keys: Arc::clone(&keys),
            snapshot,
            clock,
            failures: 0,
        };
        refresher.load_snapshot(now);
        (refresher, keys)
    }

    /// Runs until dropped. Cancel-safe.
    pub async fn run(mut self) {
        let keys = Arc::clone(&self.keys);
        loop {
            let delay = self.refresh().await;
            let Some(source) = &mut self.source else {
                return;
            };
            tokio::select! {
                () = sleep(delay) => {}
                () = keys.wanted() => {}
                () = source.changed() => {}
            }
        }
    }

    /// Fetches once, for `explain` and tests.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub async fn fetch_once(&mut self) -> Result<(), String> {
        let failures = self.failures;
        match self.attempt().await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.failures = failures;
                Err(error.detail)
            }
        }
    }

    /// Fetches, and says when to fetch again.
    async fn refresh(&mut self) -> Duration {
        match self.attempt().await {
            Ok(max_age) => {
                self.failures = 0;
                let shortened = max_age.map_or(self.jwks.refresh, |age| age.max(SHORTEST_REFRESH));
                jittered(shortened.min(self.jwks.refresh))
            }
            Err(error) => {
                let issuer = self.name.as_str();
                let result = error.result.name();
                tracing::warn!(issuer, result, detail = %error, "keys could not be refreshed");
                let delay = FIRST_RETRY.saturating_mul(1 << self.failures.min(5));
                self.failures = self.failures.saturating_add(1);
                jittered(delay.min(LAST_RETRY).min(self.jwks.refresh))
            }
        }
    }

    /// One fetch from beginning to end, counted.
    async fn attempt(&mut self) -> Result<Option<Duration>, FetchError> {
        let Some(source) = &mut self.source else {
            return Ok(None);
        };
        let number = self.keys.begin();
        let began = self.clock.now();
        let fetched = match timeout(self.jwks.timeout, source.fetch()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let detail = format!(
                    "{}: no complete answer in {:?}",
                    source.location(),
                    self.jwks.timeout
                );
                Err(FetchError::new(RefreshResult::Timeout, detail))
            }
        };
        let outcome = fetched.and_then(|fetched| self.take_over(fetched, number, began));
        let result = outcome
            .as_ref()
            .map_or_else(|error| error.result, |_| RefreshResult::Success);
        self.keys.tally.count(result);
        self.keys.complete(number);
        outcome
    }

    fn take_over(
        &self,
        fetched: Fetched,
        number: FetchMark,
        began: UnixTime,
    ) -> Result<Option<Duration>, FetchError> {
        let document = self.read(&fetched.document)?;
        self.install(document, number, began);
        if let Some(snapshot) = self.snapshot.clone() {
            // Waiting for the disk would hold up nobody but the next fetch; it is done aside all the same.
            drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = snapshot.store(began, &fetched.document) {
                    tracing::warn!(%error, "the key snapshot could not be written; a restart during an outage would have no keys");
                }
            }));
        }
        Ok(fetched.max_age)
    }

    fn read(&self, text: &[u8]) -> Result<Document, FetchError> {
        let location = || {
            self.source
                .as_ref()
                .map(Source::location)
                .unwrap_or_default()
        };
        let malformed = || {
            FetchError::new(
                RefreshResult::Malformed,
                format!("{}: not a JSON key set", location()),
            )
        };
        let document = document::read(text, self.jwks.max_keys).ok_or_else(malformed)?;
        if document.keys.is_empty() {
            let skipped: u64 = document.skipped.values().sum();
            let detail = format!("{}: no usable key ({skipped} skipped)", location());
            return Err(FetchError::new(RefreshResult::NoKeys, detail));
        }
        Ok(document)
    }

    /// Puts the keys of a good document in force.
    fn install(&self, mut document: Document, number: FetchMark, began: UnixTime) {
        let before = self.keys.snapshot();
        document.keep(before.all());
        let is_same = before.all().len() == document.keys.len()
            && document.keys.iter().all(|key| before.holds(key));
        if !is_same {
            let skipped: u64 = document.skipped.values().sum();
            tracing::info!(
                issuer = self.name.as_str(),
                keys = document.keys.len(),
                skipped,
                "keys taken over"
            );
        }
        let usable_until = began.plus(self.jwks.max_stale);
        self.keys.tally.fetched(began, document.skipped);
        self.keys
            .replace(KeySet::new(document.keys, number, began, usable_until));
    }

    /// Serves with the keys of an earlier run until the provider answers.
    fn load_snapshot(&self, now: UnixTime) {
        let Some((fetched_at, text)) = self.snapshot.as_ref().and_then(SnapshotFile::load) else {
            return;
        };
        let is_current = fetched_at <= now && now < fetched_at.plus(self.jwks.max_stale);
        if let Ok(document) = self.read(&text)
            && is_current
        {
            self.install(document, FetchMark(0), fetched_at);
        }
    }
}

/// A tenth more or less, so that a fleet does not fetch in step.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.9 + fastrand::f64() * 0.2)
}
