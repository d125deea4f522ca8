//! Tokens that were verified before.
//!
//! Owns a bounded memory of verified claims, never of decisions: revocation and policy are asked again on
//! every hit. Keyed by the whole SHA-256 of the token, so that no token is kept in memory.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::jws::Compact;
use crate::identity::Identity;
use crate::keys::VerificationKey;

/// Where a signature stands behind the digest of what it signs.
const SIGNATURE_AT: usize = 32;
/// No usual signature is longer: RSA with 4096 bits, in base64url. They are hashed in one piece, which allocates nothing.
const USUAL_SIGNATURE: usize = 683;

/// SHA-256 of a token's whole text, in two steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of that token: a hash over the hash of its signed part, which is needed anyway, and its signature.
    pub(super) fn of(token: &Compact<'_>) -> Self {
        let signature = token.signature.as_bytes();
        let mut text = [0; SIGNATURE_AT + USUAL_SIGNATURE];
        let (start, rest) = text.split_at_mut(SIGNATURE_AT);
        start.copy_from_slice(&token.signed.sha256());
        let digest = if let Some(place) = rest.get_mut(..signature.len()) {
            place.copy_from_slice(signature);
            let end = SIGNATURE_AT + signature.len();
            digest::digest(&digest::SHA256, text.get(..end).unwrap_or(&text))
        } else {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(start);
            context.update(signature);
            context.finish()
        };
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// What is kept of a verified token.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    /// Who the caller is.
    pub(super) identity: Arc<Identity>,
    /// The very key that verified it; once the issuer's set no longer holds it, the entry is void.
    pub(super) key: Arc<VerificationKey>,
}

/// The memory.
#[derive(Debug)]
pub(super) struct VerifiedCache {
    entries: Option<Cache<CacheKey, Verified, UnitWeighter, BuildHasherDefault<FirstBytes>>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl VerifiedCache {
    /// A memory of at most `entries` tokens; 0 keeps none.
    pub(super) fn new(entries: usize) -> Self {
        let cache = |entries: usize| {
            Cache::with(
                entries,
                entries as u64,
                UnitWeighter,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            )
        };
        Self {
            entries: (entries > 0).then(|| cache(entries)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// What is kept under `key`, if `is_good` says that it still holds; else it is forgotten.
    pub(super) fn find(
        &self,
        key: &CacheKey,
        is_good: impl FnOnce(&Verified) -> bool,
    ) -> Option<Verified> {
        let entries = self.entries.as_ref()?;
        let found = entries.get(key).filter(|verified| {
            let good = is_good(verified);
            if !good {
                entries.remove(key);
            }
            good
        });
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a verified token.
    pub(super) fn keep(&self, key: CacheKey, verified: Verified) {
        if let Some(entries) = &self.entries {
            entries.insert(key, verified);
        }
    }

    /// How many tokens are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, Cache::len)
    }

    /// Hits and misses since start.
    pub(super) fn lookups(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
        )
    }
}

/// Takes eight bytes of a digest as its hash: they are uniform, and only tokens with a good signature get in,
/// so nobody but an issuer could choose them.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
