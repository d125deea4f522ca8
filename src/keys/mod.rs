//! The issuers' verification keys.
//!
//! Owns the key sets: a wait-free read side for the gate ([`IssuerKeys::snapshot`]) and a background
//! task per issuer that keeps them fresh. Knows nothing of claims, requests or policy.

mod document;
mod key;
mod refresher;
mod ring;
mod snapshot;
mod source;
mod status;

pub use document::{Document, read as read_document};
pub use key::{SkipReason, VerificationKey};
pub use refresher::Refresher;
pub use ring::{FetchMark, IssuerKeys, KeySet};
pub use source::RefreshResult;
pub use status::KeysStatus;
