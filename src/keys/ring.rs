//! stub
use super::key::VerificationKey;
use crate::identity::Thumbprint;
use crate::time::UnixTime;
use std::sync::Arc;
use std::time::Duration;

/// An immutable set of keys, as one successful fetch gave it.
#[derive(Debug, Default)]
pub struct KeySet {}

impl KeySet {
    /// Whether keys have been fetched and are not past `max_stale`.
    pub fn is_usable(&self, _now: UnixTime) -> bool {
        todo!()
    }
    /// The keys of that kid; none if unknown.
    pub fn with_kid(&self, _kid: &str) -> &[Arc<VerificationKey>] {
        todo!()
    }
    /// Every key, in the order of the document.
    pub fn all(&self) -> &[Arc<VerificationKey>] {
        todo!()
    }
    /// Whether the set holds the very key of that thumbprint.
    pub fn holds(&self, _key: &Arc<VerificationKey>) -> bool {
        todo!()
    }
    /// Whether a key that is not in this set can be said not to exist: the fetch that gave the set began after `mark`
    /// was taken, or more than `leeway` after `issued_at`.
    pub fn proves_absence(
        &self,
        _mark: FetchMark,
        _issued_at: Option<UnixTime>,
        _leeway: Duration,
    ) -> bool {
        todo!()
    }
}

/// How many fetches had begun at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchMark(pub u64);

/// The keys of one issuer.
#[derive(Debug)]
pub struct IssuerKeys {}

impl IssuerKeys {
    /// The keys as they are now; wait-free.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<KeySet>> {
        todo!()
    }
    /// Marks this moment among the fetches.
    pub fn mark(&self) -> FetchMark {
        todo!()
    }
    /// Asks for a forced refresh if the cooldown permits, and does not wait: a bad signature under a known key.
    pub fn suspect(&self) {
        todo!()
    }
    /// Asks for a forced refresh if the cooldown permits, then waits at most the issuer's `wait` until a fetch completes that
    /// began after `mark`, or that was under way. Returns at once if nothing is under way and nothing is permitted.
    pub async fn refreshed(&self, _mark: FetchMark) {
        todo!()
    }
}
