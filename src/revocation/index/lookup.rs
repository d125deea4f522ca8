//! What of a token can be revoked, in the form that the filter is asked with.
//!
//! Owns which values of an identity count, and their keys, so that who keeps a verified token may keep these beside it.
//! Knows nothing of what is held.

use super::filter::{Filter, FilterKey, IssuerKeys};
use super::groups_of;
use crate::identity::Identity;
use crate::revocation::entry::RevocationKind;

/// One for each kind, in the order of the kinds; `None` for what a token lacks.
type Keys = [Option<FilterKey>; 6];

/// What is looked up for one identity of one configured issuer; good for every set of this process, for as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Under the token's own `iss`.
    own: Keys,
    /// Under the configured text, where that is another.
    configured: Option<Box<Keys>>,
}

impl Lookup {
    /// For `identity`, of the issuer configured as `issuer`.
    #[inline]
    pub fn new(identity: &Identity, issuer: &str) -> Self {
        Self {
            own: keys_of(identity, &identity.iss),
            configured: (*issuer != *identity.iss).then(|| Box::new(keys_of(identity, issuer))),
        }
    }

    /// Whether the filter does not rule it out.
    #[inline]
    pub(super) fn may_be_in(&self, filter: &Filter, groups: u8) -> bool {
        may_hold_any(filter, groups, &self.own)
            || self
                .configured
                .as_ref()
                .is_some_and(|keys| may_hold_any(filter, groups, keys))
    }
}

/// All words are asked for before the first is looked at, so that the processor waits for memory once and not six times.
#[inline]
fn may_hold_any(filter: &Filter, groups: u8, keys: &Keys) -> bool {
    let mut words = [0; 6];
    let kinds = RevocationKind::ALL.into_iter();
    for ((word, key), kind) in words.iter_mut().zip(keys).zip(kinds) {
        if let Some(key) = key
            && groups & groups_of(kind) != 0
        {
            *word = filter.word(*key);
        }
    }
    words.iter().zip(keys).fold(false, |perhaps, (word, key)| {
        perhaps | key.is_some_and(|key| Filter::may_hold(*word, key))
    })
}

#[inline]
fn keys_of(identity: &Identity, issuer: &str) -> Keys {
    let keys = IssuerKeys::new(issuer);
    let mut kinds = RevocationKind::ALL.into_iter();
    values_of(identity).map(|value| Some(keys.key(kinds.next()?, value?)))
}

/// What of a token can be revoked, in the order of the kinds.
#[inline]
pub(super) fn values_of(identity: &Identity) -> [Option<&[u8]>; 6] {
    let text = str::as_bytes;
    [
        identity.jti.as_deref().map(text),
        identity.subject.as_deref().map(text),
        identity.session.as_deref().map(text),
        identity.client.as_deref().map(text),
        Some(&identity.key.0),
        Some(&identity.digest.0),
    ]
}
