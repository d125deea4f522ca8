//! What was taken back before it expired.
//!
//! Owns the set of revocations in memory, exact and scoped by issuer. Knows nothing of HTTP, keys or policy.

mod entry;
mod index;
mod set;

pub use entry::{NewRevocation, Revocation, RevocationKind, Subject};
pub use set::{CheckCounts, Page, RevocationSet, Revoked, Verdict};
