//! What was taken back before it expired.
//!
//! Owns the set of revocations in memory, exact and scoped by issuer: the index that the gate asks, and the
//! records that operators list. Knows nothing of HTTP, keys or policy.

mod audit;
mod change;
mod entry;
mod feed;
mod index;
mod journal;
mod ledger;
mod lifespan;
pub mod lines;
mod records;
mod set;
mod standing;
mod store;

pub use audit::{Act, Actor, audit, audit_import};
pub use change::{Account, Change, Outcome, RevocationId, Revoked};
pub use entry::{NewRevocation, Revocation, RevocationKind, Subject, Target};
pub use feed::Staleness;
pub use index::{Loader, Lookup, RevocationIndex};
pub use journal::{Batch, Cursor, Imported, Journal, Opening, Salvaged, StoreFault, salvage};
pub use ledger::{Ledger, Query};
pub use set::{CheckCounts, Page, RevocationSet, Verdict};
pub use standing::Standing;
pub use store::{StoreKind, StoreStatus, Unavailable};
