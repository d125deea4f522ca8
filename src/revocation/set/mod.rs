//! The set of revocations: what goes in, what comes out, and what the gate asks.
//!
//! Owns what a write means: ids, repetition, restoring. Reads by the gate go to the index; writes, lists and the
//! sweep share the records' lock, which no request takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::change::{Change, Outcome, Revoked};
use super::entry::{Id, NewRevocation, Revocation, RevocationKind};
use super::index::{Loader, Lookup, RevocationIndex};
use super::records::Records;
use crate::counter::Counter;
use crate::identity::Identity;
use crate::time::UnixTime;

/// Entries looked at for one page: bounds how long a list with a narrow filter holds the lock.
pub(super) const PAGE_SCAN: usize = 10_000;
/// Records removed under one hold of the lock.
const SWEEP_BATCH: usize = 256;
/// Batches of one sweep: ten million records that end at once are gone in three minutes.
const SWEEP_BATCHES: usize = 256;

/// The answer to "was this taken back?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clear,
    Revoked,
    Stale,
}

/// Some revocations, in the order of their creation.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Page {
    pub revocations: Vec<Revocation>,
    /// Where the next page begins; `None` at the end. With a narrow filter a page may be short, even empty, and yet not the last.
    pub cursor: Option<u64>,
}

/// Checks since start, by verdict: `revocation_checks_total{result}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CheckCounts {
    pub clear: u64,
    pub revoked: u64,
    pub stale: u64,
}

/// The set.
#[derive(Debug, Default)]
pub struct RevocationSet {
    index: RevocationIndex,
    /// Whoever changes index and records together holds it for both.
    records: Mutex<Records>,
    /// Whether it cannot be told what is revoked.
    is_stale: AtomicBool,
    clear: Counter,
    revoked: Counter,
    stale: Counter,
}

impl RevocationSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that clears nothing until it is told that it is [`RevocationSet::set_stale`] no longer.
    pub fn not_loaded() -> Self {
        Self {
            is_stale: AtomicBool::new(true),
            ..Self::default()
        }
    }

    /// While it is stale, every check says so: a store that is not loaded yet, or too far behind.
    /// Gives back what it was before.
    pub fn set_stale(&self, is_stale: bool) -> bool {
        self.is_stale.swap(is_stale, Ordering::AcqRel)
    }

    /// Whether every check says [`Verdict::Stale`].
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// Whether `identity`, of the issuer configured as `issuer`, was revoked.
    ///
    /// Entries count under the token's own `iss` and under the configured text, which for a tenanted issuer covers all tenants.
    pub fn check(&self, identity: &Identity, issuer: &str, now: UnixTime) -> Verdict {
        if self.is_stale() {
            return self.refuse_to_tell();
        }
        self.count(self.index.is_revoked(identity, issuer, now))
    }

    /// The same with the [`Lookup`] of that identity and issuer; for who keeps it beside the identity.
    pub fn check_with(
        &self,
        lookup: &Lookup,
        identity: &Identity,
        issuer: &str,
        now: UnixTime,
    ) -> Verdict {
        if self.is_stale() {
            return self.refuse_to_tell();
        }
        self.count(self.index.is_found(lookup, identity, issuer, now))
    }

    /// Checks since start.
    pub fn check_counts(&self) -> CheckCounts {
        CheckCounts {
            clear: self.clear.sum(),
            revoked: self.revoked.sum(),
            stale: self.stale.sum(),
        }
    }

    /// Adds a revocation. The same again keeps its id and its place; its end may move later, never earlier.
    pub fn revoke(&self, new: NewRevocation, now: UnixTime) -> Revoked {
        let id = new.target().id();
        let ends_at = new.ends_at();
        let mut records = self.lock();
        let is_live = records.get(id).is_some_and(|record| record.is_live(now));
        if is_live && let Some(record) = records.extend(id, ends_at) {
            self.index.insert(record.target(), record.ends_at());
            return Revoked {
                revocation: record.to_revocation(),
                is_new: false,
            };
        }
        records.remove(id);
        self.index.insert(new.target(), ends_at);
        Revoked {
            revocation: records.add(new, id, now),
            is_new: true,
        }
    }

    /// Takes a revocation back and returns it; `None` if there was none.
    pub fn restore(&self, id: &str, now: UnixTime) -> Option<Revocation> {
        self.restore_id(Id::parse(id)?, now)
    }

    fn restore_id(&self, id: Id, now: UnixTime) -> Option<Revocation> {
        let mut records = self.lock();
        let record = records.remove(id)?;
        // What has ended is the sweep's: a store may have loaded the same with a later end.
        record.is_live(now).then(|| {
            self.index.remove(record.target());
            record.to_revocation()
        })
    }

    /// The revocation of that id.
    pub fn get(&self, id: &str, now: UnixTime) -> Option<Revocation> {
        let id = Id::parse(id)?;
        let records = self.lock();
        let record = records.get(id)?;
        record.is_live(now).then(|| record.to_revocation())
    }

    /// For entries in bulk, of a store that keeps the records itself: they refuse, are counted and end as all others,
    /// but are neither listed here nor found by id.
    pub fn loader(&self) -> Loader<'_> {
        self.index.loader()
    }

    /// At most `limit` revocations after `cursor`, of that kind and of issuers that `wants_issuer` picks.
    pub fn list(
        &self,
        kind: Option<RevocationKind>,
        wants_issuer: &dyn Fn(&str) -> bool,
        cursor: Option<u64>,
        limit: usize,
        now: UnixTime,
    ) -> Page {
        let records = self.lock();
        let mut page = Page::default();
        let mut last_seen = None;
        for (looked_at, (sequence, record)) in records.after(cursor).enumerate() {
            if looked_at == PAGE_SCAN || page.revocations.len() == limit {
                page.cursor = last_seen;
                break;
            }
            last_seen = Some(sequence);
            let is_wanted = kind.is_none_or(|kind| kind == record.what.kind())
                && record.is_live(now)
                && wants_issuer(&record.issuer);
            if is_wanted {
                page.revocations.push(record.to_revocation());
            }
        }
        page
    }

    /// How many are held of each kind; one that has ended counts until it is swept.
    pub fn counts(&self) -> [(RevocationKind, usize); 6] {
        RevocationKind::ALL.map(|kind| (kind, self.index.held(kind)))
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.counts().iter().map(|(_, held)| held).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes what has ended, bounded work in small steps between which writers have their turn; says how many refuse no
    /// longer. To be called about once a second.
    pub fn sweep(&self, now: UnixTime) -> usize {
        for _ in 0..SWEEP_BATCHES {
            if self.lock().remove_ended(now, SWEEP_BATCH) < SWEEP_BATCH {
                break;
            }
        }
        self.index.sweep(now)
    }

    /// Makes one change, of those that a memory store knows.
    pub(super) fn change(&self, change: Change) -> Outcome {
        match change {
            Change::Revoke { new, at } => Outcome::Revoked(self.revoke(new, at)),
            Change::Restore { id, at } => Outcome::Restored(self.restore_id(id.0, at)),
            // Only a feed gives accounts, and a feed keeps them in a journal.
            Change::Settle { .. } => Outcome::Settled {
                before: None,
                after: None,
            },
        }
    }

    /// Puts what a store has kept in force.
    pub(super) fn enforce(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Revoked(revoked) => self.put(&revoked.revocation),
            Outcome::Restored(None) => {}
            Outcome::Restored(Some(restored)) => self.take_out(restored),
            Outcome::Settled { before, after } => {
                let end = |of: &Revocation| of.expires_at.unwrap_or(UnixTime::MAX);
                // The index moves ends later alone.
                let stays = after.as_ref().map(end) >= before.as_ref().map(end);
                if let Some(before) = before.as_ref().filter(|_| !stays) {
                    self.take_out(before);
                }
                if let Some(after) = after {
                    self.put(after);
                }
            }
        }
    }

    fn take_out(&self, revocation: &Revocation) {
        self.index
            .remove(revocation.what.target_of(&revocation.issuer));
    }

    /// Puts one that is stored elsewhere in force.
    pub(super) fn put(&self, revocation: &Revocation) {
        let target = revocation.what.target_of(&revocation.issuer);
        let ends_at = revocation.expires_at.unwrap_or(UnixTime::MAX);
        self.index.insert(target, ends_at);
    }

    #[cold]
    fn refuse_to_tell(&self) -> Verdict {
        self.stale.increment();
        Verdict::Stale
    }

    fn count(&self, is_revoked: bool) -> Verdict {
        if is_revoked {
            self.revoked.increment();
            Verdict::Revoked
        } else {
            self.clear.increment();
            Verdict::Clear
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
