//! One immutable set of keys and what it proves.
//!
//! Owns [`KeySet`]. Knows nothing of how sets follow one another.

use std::sync::Arc;
use std::time::Duration;

use super::FetchMark;
use crate::keys::document::{KeyTable, SkipCounts};
use crate::keys::key::VerificationKey;
use crate::time::UnixTime;

/// An immutable set of keys, as one successful fetch gave it.
#[derive(Debug)]
pub struct KeySet {
    pub(in crate::keys) table: Arc<KeyTable>,
    /// Which fetch gave the set; 0 where it was not fetched by this process.
    pub(in crate::keys) fetch_number: FetchMark,
    /// When that fetch began: what the provider had published before is in the set.
    pub(in crate::keys) fetch_began: UnixTime,
    /// When it succeeded.
    pub(in crate::keys) fetched_at: Option<UnixTime>,
    /// The last moment at which the set may serve.
    pub(in crate::keys) usable_until: UnixTime,
}

/// No keys at all, and no proof of anything.
impl Default for KeySet {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            fetch_number: FetchMark(0),
            fetch_began: UnixTime::MIN,
            fetched_at: None,
            usable_until: UnixTime::MIN,
        }
    }
}

impl KeySet {
    /// A shared secret, which never changes while the process runs: it does not go stale and nothing will ever be added.
    pub(in crate::keys) fn of_secret(key: VerificationKey) -> Self {
        Self {
            table: Arc::new(KeyTable::of_secret(key)),
            fetch_number: FetchMark(u64::MAX),
            fetch_began: UnixTime::MAX,
            // Later than any moment, so that its age is always nothing.
            fetched_at: Some(UnixTime::MAX),
            usable_until: UnixTime::MAX,
        }
    }

    /// Whether keys have been fetched and are not past `max_stale`.
    pub fn is_usable(&self, now: UnixTime) -> bool {
        !self.table.keys.is_empty() && now <= self.usable_until
    }

    /// The keys of that kid; none if unknown.
    pub fn with_kid(&self, kid: &str) -> &[Arc<VerificationKey>] {
        self.table.by_kid.get(kid).map_or(&[], Vec::as_slice)
    }

    /// Every key, in the order of the document.
    pub fn all(&self) -> &[Arc<VerificationKey>] {
        &self.table.keys
    }

    /// Whether the set holds that very key: one that stays in the set stays the same object, while one that comes back
    /// under another name or for another algorithm is another key.
    pub fn holds(&self, key: &Arc<VerificationKey>) -> bool {
        self.all().iter().any(|held| Arc::ptr_eq(held, key))
    }

    /// How many keys of the document are not used, and why.
    pub fn skipped(&self) -> SkipCounts {
        self.table.skipped
    }

    /// Whether a key that is not in this set can be said not to exist: the fetch that gave the set began after `mark`
    /// was taken, or more than `leeway` after `issued_at`.
    ///
    /// This is also the memory of the kids that are not there. It needs no list: a kid that the last successful fetch
    /// lacks is known to be absent for every token issued before that fetch, whatever the kid, and for no other. A list
    /// would add the case of a token without `iat`: there the contract lets only a fetch that began after the request
    /// decide, so a remembered kid may neither be refused with 401 nor be denied the refresh that is permitted.
    pub fn proves_absence(
        &self,
        mark: FetchMark,
        issued_at: Option<UnixTime>,
        leeway: Duration,
    ) -> bool {
        self.fetch_number > mark
            || issued_at.is_some_and(|issued_at| issued_at.plus(leeway) < self.fetch_began)
    }
}
