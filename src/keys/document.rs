//! A key set document, read key by key (RFC 7517 §5): one odd key never takes the others down.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::key::{SkipReason, VerificationKey};

/// What a document holds.
#[derive(Debug, Default)]
pub struct Document {
    /// The keys that are fit for use, in the order of the document.
    pub keys: Vec<Arc<VerificationKey>>,
    /// How many are not, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
}

/// Reads a document; `None` if it is not a JSON object with an array `keys`. Keys beyond `max_keys` are skipped.
pub fn read(text: &[u8], max_keys: usize) -> Option<Document> {
    let document: Value = serde_json::from_slice(text).ok()?;
    let elements = document.get("keys")?.as_array()?;
    let mut read = Document::default();
    for (place, element) in elements.iter().enumerate() {
        let key = if place < max_keys {
            VerificationKey::from_jwk(element)
        } else {
            Err(SkipReason::Limit)
        };
        match key {
            Ok(key) => read.keys.push(Arc::new(key)),
            Err(reason) => *read.skipped.entry(reason).or_default() += 1,
        }
    }
    Some(read)
}

impl Document {
    /// Keeps the very keys of `before` that did not change, so that what was verified by them stays verified.
    pub(super) fn keep(&mut self, before: &[Arc<VerificationKey>]) {
        for key in &mut self.keys {
            if let Some(same) = before.iter().find(|held| held.is_same(key)) {
                *key = Arc::clone(same);
            }
        }
    }
}
