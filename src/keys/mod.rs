//! The issuers' verification keys.
//!
//! Owns the key sets: a wait-free read side for the gate ([`IssuerKeys::snapshot`]) and a background
//! task per issuer that keeps them fresh ([`Refresher`]). Knows nothing of claims, requests or policy.
//!
//! ```text
//!  gate ──snapshot()──▶ IssuerKeys ◀──publish── Refresher ──fetch──▶ Source: URL, discovery, file
//!   └──refreshed(mark)──▶  (watch)  ──asked──▶      │
//!                                                   └── LastGood: the same document on disk
//! ```
//!
//! A set is replaced as a whole and only by an answer with at least one usable key. Keys are prepared when the set is
//! read, so verifying neither parses a key nor builds a verifier; `jsonwebtoken`'s `DecodingKey` does both on every
//! call, and is therefore not used. A key that stays in the set stays the same object across refreshes.

mod document;
mod key;
mod last_good;
mod outcome;
#[cfg(test)]
mod provider_stub;
mod refresher;
mod ring;
mod source;

pub use document::SkipCounts;
pub use key::{SignedPart, SkipReason, VerificationKey};
pub use outcome::RefreshResult;
pub use refresher::Refresher;
pub use ring::{FetchMark, IssuerKeys, KeySet, KeysStatus};
