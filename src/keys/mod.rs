//! The issuers' verification keys.
//!
//! Owns the key sets: a wait-free read side for the gate ([`IssuerKeys::snapshot`]) and a background
//! task per issuer that keeps them fresh. Knows nothing of claims, requests or policy.

mod key;
mod refresher;
mod ring;
mod source;

pub use key::{SkipReason, VerificationKey};
pub use refresher::{RefreshResult, Refresher};
pub use ring::{FetchMark, IssuerKeys, KeySet};
