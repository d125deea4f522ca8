//! What a store of revocations is asked to change, and what became of it.
//!
//! Owns the words that the ledger, the journal and a feed share. Knows nothing of how any of them keeps a revocation.

use super::entry::{Id, NewRevocation, Revocation};
use super::standing::Standing;
use crate::time::UnixTime;

/// One change. A list of them is kept as a whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a revocation made at that moment. One of the same id that has not ended stays as it is, but for its end,
    /// which may move later.
    Revoke { new: NewRevocation, at: UnixTime },
    /// Takes a revocation out.
    Restore { id: RevocationId, at: UnixTime },
    /// Joins what a feed says of an entry to what is kept of it, at that moment: neither order nor repetition matters.
    Settle { account: Account, at: UnixTime },
}

/// What a feed says of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub id: RevocationId,
    pub standing: Standing,
    /// What is revoked; may be absent where it was restored.
    pub revocation: Option<Revocation>,
}

/// The id of a revocation, the same on every gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevocationId(pub(super) Id);

impl RevocationId {
    /// Reads 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(text).map(Self)
    }

    /// That of what is asked for.
    pub fn of(new: &NewRevocation) -> Self {
        Self(new.target().id())
    }
}

impl std::fmt::Display for RevocationId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.to_text())
    }
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Revoked(Revoked),
    /// What was taken out; `None` if there was none that had not ended.
    Restored(Option<Revocation>),
    /// What was in force before, and what is now.
    Settled {
        before: Option<Revocation>,
        after: Option<Revocation>,
    },
}

/// Outcome of a revocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    /// As it is stored now.
    pub revocation: Revocation,
    /// Whether it was not there before.
    pub is_new: bool,
}
