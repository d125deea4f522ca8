//! What was taken back before it expired.
//!
//! Owns the set of revocations in memory, exact and scoped by issuer. Knows nothing of HTTP, keys or policy.

mod set;

pub use set::{Revocation, RevocationKind, RevocationSet, Revoked, Subject, Verdict};
