//! Reading a JWK set (RFC 7517 §5), each key alone.
//!
//! Owns which answers are key sets and which keys of one are used. Knows nothing of where a document came from.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::key::{SkipReason, VerificationKey};
use super::outcome::{FetchError, RefreshResult};
use crate::identity::Thumbprint;

/// How many keys of a set were skipped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkipCounts([usize; SkipReason::COUNT]);

impl SkipCounts {
    /// The keys skipped for that reason.
    pub fn of(&self, reason: SkipReason) -> usize {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// The keys skipped in all.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// `weak:2 use:1`: the reasons that occur, each with its count.
    pub(super) fn by_reason(&self) -> String {
        let occurring = SkipReason::ALL.iter().filter(|it| self.of(**it) > 0);
        let counts: Vec<String> = occurring
            .map(|reason| format!("{}:{}", reason.name(), self.of(*reason)))
            .collect();
        counts.join(" ")
    }

    fn add(&mut self, reason: SkipReason, keys: usize) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += keys;
        }
    }
}

/// Names the reasons that occur, each with its count.
impl fmt::Display for SkipCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} skipped", self.total())?;
        for reason in SkipReason::ALL {
            if self.of(*reason) > 0 {
                write!(formatter, ", {} {}", self.of(*reason), reason.name())?;
            }
        }
        Ok(())
    }
}

/// The usable keys of one document and the ways to find them.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    pub(super) keys: Vec<Arc<VerificationKey>>,
    pub(super) by_kid: HashMap<Box<str>, Vec<Arc<VerificationKey>>>,
    pub(super) thumbprints: HashSet<Thumbprint>,
    pub(super) skipped: SkipCounts,
}

impl KeyTable {
    /// Reads a document. Keys that `previous` already holds stay the very same objects. A document without one usable
    /// key is an error: it never replaces keys that are good.
    pub(super) fn read(
        document: &[u8],
        max_keys: usize,
        previous: &Self,
    ) -> Result<Self, FetchError> {
        let malformed = |detail: &str| FetchError::new(RefreshResult::Malformed, detail);
        let document: Value =
            serde_json::from_slice(document).map_err(|_| malformed("the key set is not JSON"))?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| malformed("the key set is not a JSON object with an array `keys`"))?;
        let mut table = Self::default();
        for jwk in keys.iter().take(max_keys) {
            match VerificationKey::from_jwk(jwk) {
                Ok(key) => table.insert(previous.same_as(&key).unwrap_or_else(|| Arc::new(key))),
                Err(reason) => table.skipped.add(reason, 1),
            }
        }
        let beyond = keys.len().saturating_sub(max_keys);
        table.skipped.add(SkipReason::Limit, beyond);
        if table.keys.is_empty() {
            let found = format!("the key set holds no usable key: {}", table.skipped);
            return Err(FetchError::new(RefreshResult::NoKeys, found));
        }
        Ok(table)
    }

    /// A table of that one secret.
    pub(super) fn of_secret(key: VerificationKey) -> Self {
        let mut table = Self::default();
        table.insert(Arc::new(key));
        table
    }

    /// The object that already stands for the same key.
    fn same_as(&self, key: &VerificationKey) -> Option<Arc<VerificationKey>> {
        self.keys.iter().find(|held| held.is_same(key)).cloned()
    }

    /// A key that the document repeats word for word is held once.
    fn insert(&mut self, key: Arc<VerificationKey>) {
        if self.same_as(&key).is_some() {
            return;
        }
        self.thumbprints.insert(key.thumbprint());
        if let Some(kid) = key.kid() {
            let sharing = self.by_kid.entry(Box::from(kid)).or_default();
            sharing.push(Arc::clone(&key));
        }
        self.keys.push(key);
    }
}
