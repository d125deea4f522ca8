//! The keys of one issuer as the gate sees them, and how the gate asks for newer ones.
//!
//! Owns the snapshot, which is read without a lock, and the rule that lets forged key ids cost the provider at
//! most one fetch per cooldown. There is no memory of key ids that were not there: the set and the moment its fetch
//! began are that memory, of no size, and they answer every such id until the next successful fetch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::key::VerificationKey;
use super::status::{KeysStatus, Tally};
use crate::config::Jwks;
use crate::time::UnixTime;

/// An immutable set of keys, as one successful fetch gave it.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
    by_kid: HashMap<Box<str>, Vec<Arc<VerificationKey>>>,
    /// Which fetch gave it; 0 before the first.
    number: u64,
    began: UnixTime,
    usable_until: UnixTime,
}

impl KeySet {
    /// A set that a fetch gave which began at `began`; it serves until `usable_until`.
    pub(super) fn new(
        keys: Vec<Arc<VerificationKey>>,
        number: FetchMark,
        began: UnixTime,
        usable_until: UnixTime,
    ) -> Self {
        let mut by_kid: HashMap<Box<str>, Vec<_>> = HashMap::new();
        for key in &keys {
            if let Some(kid) = key.kid() {
                by_kid.entry(kid.into()).or_default().push(Arc::clone(key));
            }
        }
        Self {
            keys,
            by_kid,
            number: number.0,
            began,
            usable_until,
        }
    }

    /// Before any fetch.
    pub(super) fn empty() -> Self {
        Self::new(Vec::new(), FetchMark(0), UnixTime::MIN, UnixTime::MIN)
    }

    /// Whether there are keys, and they are not past `max_stale`.
    pub fn is_usable(&self, now: UnixTime) -> bool {
        !self.keys.is_empty() && now < self.usable_until
    }

    /// The keys of that `kid`; a key without one never matches.
    pub fn with_kid(&self, kid: &str) -> &[Arc<VerificationKey>] {
        self.by_kid.get(kid).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every key, in the order of the document.
    pub fn all(&self) -> &[Arc<VerificationKey>] {
        &self.keys
    }

    /// Whether the set holds that very key: a refresh keeps the keys that did not change.
    pub fn holds(&self, key: &Arc<VerificationKey>) -> bool {
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
    }

    /// Whether a key that is not in this set can be said not to exist: the fetch that gave the set began after
    /// `mark` was taken, or more than `leeway` after `issued_at`. A provider publishes a key before it signs with it.
    pub fn proves_absence(
        &self,
        mark: FetchMark,
        issued_at: Option<UnixTime>,
        leeway: Duration,
    ) -> bool {
        self.number > mark.0
            || issued_at.is_some_and(|issued_at| self.began > issued_at.plus(leeway))
    }
}

/// How many fetches had begun at some moment: those with a higher number began after it, whatever the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchMark(pub(super) u64);

/// The keys of one issuer. Requests read it from every worker; one task writes it.
#[derive(Debug)]
pub struct IssuerKeys {
    set: ArcSwap<KeySet>,
    begun: AtomicU64,
    completed: watch::Sender<u64>,
    /// A forced refresh was granted, and its fetch has not begun.
    is_wanted: AtomicBool,
    wanted: Notify,
    /// When the last forced refresh was granted, in milliseconds since `origin`, plus one; 0: never.
    granted: AtomicU64,
    origin: Instant,
    cooldown: Duration,
    wait: Duration,
    pub(super) tally: Tally,
}

impl IssuerKeys {
    pub(super) fn new(jwks: &Jwks, set: KeySet, started: UnixTime) -> Self {
        Self {
            set: ArcSwap::from_pointee(set),
            begun: AtomicU64::new(0),
            completed: watch::Sender::new(0),
            is_wanted: AtomicBool::new(false),
            wanted: Notify::new(),
            granted: AtomicU64::new(0),
            origin: Instant::now(),
            cooldown: jwks.cooldown,
            wait: jwks.wait,
            tally: Tally::new(started),
        }
    }

    /// The keys as they are now; wait-free.
    pub fn snapshot(&self) -> Guard<Arc<KeySet>> {
        self.set.load()
    }

    /// Marks this moment among the fetches.
    pub fn mark(&self) -> FetchMark {
        FetchMark(self.begun.load(Ordering::Acquire))
    }

    /// Asks for a forced refresh if the cooldown permits, and does not wait: a bad signature under a known key.
    pub fn suspect(&self) {
        if !self.is_under_way() {
            self.grant();
        }
    }

    /// Asks for a forced refresh if the cooldown permits, and waits, the issuer's `wait` at most, until a fetch
    /// completes that began after `mark`. Joins a fetch that is under way. Returns at once if nothing is under way
    /// and nothing is permitted. The fetch is the refresher's: a caller that goes away cancels nothing.
    pub async fn refreshed(&self, mark: FetchMark) {
        let deadline = Instant::now() + self.wait;
        let mut completed = self.completed.subscribe();
        while *completed.borrow_and_update() <= mark.0 {
            if !self.is_under_way() && !self.grant() {
                return;
            }
            if !matches!(timeout_at(deadline, completed.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// What operators are told.
    pub fn status(&self, now: UnixTime) -> KeysStatus {
        let set = self.snapshot();
        self.tally.status(now, set.keys.len(), set.is_usable(now))
    }

    fn is_under_way(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
            || self.begun.load(Ordering::Acquire) > *self.completed.borrow()
    }

    /// Takes the one forced refresh of this cooldown, if it is still to be had.
    fn grant(&self) -> bool {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.origin.elapsed()).saturating_add(1);
        let last = self.granted.load(Ordering::Acquire);
        if last != 0 && now.saturating_sub(last) < millis(self.cooldown) {
            return false;
        }
        let is_ours = self
            .granted
            .compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if is_ours {
            self.is_wanted.store(true, Ordering::Release);
            self.wanted.notify_one();
        }
        // Who lost the race joins the winner's fetch.
        true
    }

    /// Waits until a forced refresh is granted.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A fetch begins; its number.
    pub(super) fn begin(&self) -> FetchMark {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        self.is_wanted.store(false, Ordering::Release);
        FetchMark(number)
    }

    /// The fetch of that number succeeded.
    pub(super) fn replace(&self, set: KeySet) {
        self.set.store(Arc::new(set));
    }

    /// The fetch of that number ended, well or not.
    pub(super) fn complete(&self, number: FetchMark) {
        self.completed.send_replace(number.0);
    }
}
