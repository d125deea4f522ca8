//! What was taken back before it expired.
//!
//! Owns the set of revocations in memory, exact and scoped by issuer: the index that the gate asks, and the
//! records that operators list. Knows nothing of HTTP, keys or policy.

mod entry;
mod index;
mod records;
mod set;

pub use entry::{NewRevocation, Revocation, RevocationKind, Subject, Target};
pub use index::{Loader, Lookup, RevocationIndex};
pub use set::{CheckCounts, Page, RevocationSet, Revoked, Verdict};
