//! The set of revocations: what goes in, what comes out, and what the gate asks.
//!
//! Owns the writer's side: ids, order of creation, expiry. Reads by the gate go to the lock-free index;
//! writes, lists and the sweep share one lock that no request takes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Id, NewRevocation, Revocation, RevocationKind, as_moment};
use super::index::Index;
use crate::identity::Identity;
use crate::time::UnixTime;

/// Entries looked at for one page: bounds how long a list with a narrow filter holds the lock.
const PAGE_SCAN: usize = 10_000;
/// Entries removed under one hold of the lock.
const SWEEP_BATCH: usize = 256;
/// Batches of one sweep.
const SWEEP_BATCHES: usize = 32;

/// The answer to "was this taken back?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clear,
    Revoked,
    Stale,
}

/// Outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    /// As it is stored now.
    pub revocation: Revocation,
    /// Whether it was not there before.
    pub is_new: bool,
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
    index: Index,
    writer: Mutex<Writer>,
    clear: AtomicU64,
    revoked: AtomicU64,
}

#[derive(Debug, Default)]
struct Writer {
    by_id: HashMap<Id, Arc<Entry>>,
    by_sequence: BTreeMap<u64, Arc<Entry>>,
    /// End and place of all that ends.
    ends: BTreeSet<(UnixTime, u64)>,
    issuers: HashSet<Arc<str>>,
    next_sequence: u64,
}

impl RevocationSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `identity`, of the issuer configured as `issuer`, was revoked.
    ///
    /// Entries count under the token's own `iss` and under the configured text, which for a tenanted issuer covers all tenants.
    pub fn check(&self, identity: &Identity, issuer: &str, now: UnixTime) -> Verdict {
        if self.is_revoked(identity, issuer, now) {
            self.revoked.fetch_add(1, Ordering::Relaxed);
            Verdict::Revoked
        } else {
            self.clear.fetch_add(1, Ordering::Relaxed);
            Verdict::Clear
        }
    }

    /// Checks since start.
    pub fn check_counts(&self) -> CheckCounts {
        CheckCounts {
            clear: self.clear.load(Ordering::Relaxed),
            revoked: self.revoked.load(Ordering::Relaxed),
            stale: 0,
        }
    }

    /// Adds a revocation. The same again keeps its id and its place; its end may move later, never earlier.
    pub fn revoke(&self, new: NewRevocation, now: UnixTime) -> Revoked {
        let mut writer = self.lock();
        let id = new.id();
        if let Some(entry) = writer.by_id.get(&id).map(Arc::clone) {
            if entry.is_live(now) {
                writer.extend(&entry, as_moment(new.expires_at));
                return Revoked {
                    revocation: entry.to_revocation(),
                    is_new: false,
                };
            }
            self.remove(&mut writer, &entry);
        }
        let entry = writer.add(new, id, now);
        self.index.insert(&entry);
        Revoked {
            revocation: entry.to_revocation(),
            is_new: true,
        }
    }

    /// Takes a revocation back and returns it; `None` if there was none.
    pub fn restore(&self, id: &str, now: UnixTime) -> Option<Revocation> {
        let mut writer = self.lock();
        let entry = Arc::clone(writer.by_id.get(&Id::parse(id)?)?);
        self.remove(&mut writer, &entry);
        entry.is_live(now).then(|| entry.to_revocation())
    }

    /// The revocation of that id.
    pub fn get(&self, id: &str, now: UnixTime) -> Option<Revocation> {
        let writer = self.lock();
        let entry = writer.by_id.get(&Id::parse(id)?)?;
        entry.is_live(now).then(|| entry.to_revocation())
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
        let writer = self.lock();
        let mut page = Page::default();
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last_seen = None;
        for (looked_at, (sequence, entry)) in writer
            .by_sequence
            .range((start, Bound::Unbounded))
            .enumerate()
        {
            if looked_at == PAGE_SCAN || page.revocations.len() == limit {
                page.cursor = last_seen;
                break;
            }
            last_seen = Some(*sequence);
            let is_wanted = kind.is_none_or(|kind| kind == entry.what.kind())
                && entry.is_live(now)
                && wants_issuer(&entry.issuer);
            if is_wanted {
                page.revocations.push(entry.to_revocation());
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

    /// Removes what has ended, some thousands at most, and lets writers in between; says how many. To be called about once a second.
    pub fn sweep(&self, now: UnixTime) -> usize {
        let mut removed = 0;
        for _ in 0..SWEEP_BATCHES {
            let batch = self.sweep_batch(now);
            removed += batch;
            if batch < SWEEP_BATCH {
                break;
            }
        }
        removed
    }

    fn sweep_batch(&self, now: UnixTime) -> usize {
        let mut writer = self.lock();
        for removed in 0..SWEEP_BATCH {
            let ended = writer.ends.first().filter(|(ends_at, _)| *ends_at <= now);
            let Some((_, sequence)) = ended.copied() else {
                return removed;
            };
            match writer.by_sequence.get(&sequence).map(Arc::clone) {
                Some(entry) => self.remove(&mut writer, &entry),
                None => drop(writer.ends.pop_first()),
            }
        }
        SWEEP_BATCH
    }

    fn is_revoked(&self, identity: &Identity, issuer: &str, now: UnixTime) -> bool {
        let configured = (issuer != &*identity.iss).then_some(issuer);
        let issuers = [Some(&*identity.iss), configured];
        let holds = |kind, value: &[u8]| self.index.holds(kind, issuers, value, now);
        let holds_text = |kind, value: &Option<Box<str>>| {
            value
                .as_deref()
                .is_some_and(|value| holds(kind, value.as_bytes()))
        };
        holds(RevocationKind::Token, &identity.digest.0)
            || holds_text(RevocationKind::Jti, &identity.jti)
            || holds_text(RevocationKind::Subject, &identity.subject)
            || holds_text(RevocationKind::Session, &identity.session)
            || holds_text(RevocationKind::Client, &identity.client)
            || holds(RevocationKind::Key, &identity.key.0)
            || identity.subject.as_deref().is_some_and(|subject| {
                self.index
                    .cuts_off(issuers, subject, identity.issued_at, now)
            })
    }

    fn remove(&self, writer: &mut Writer, entry: &Arc<Entry>) {
        self.index.remove(entry);
        writer.by_id.remove(&entry.id);
        writer.by_sequence.remove(&entry.sequence);
        writer.ends.remove(&(entry.ends_at(), entry.sequence));
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn add(&mut self, new: NewRevocation, id: Id, now: UnixTime) -> Arc<Entry> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let issuer = self.shared_issuer(&new.issuer);
        let entry = Arc::new(Entry::new(new, id, issuer, sequence, now));
        self.by_id.insert(id, Arc::clone(&entry));
        self.by_sequence.insert(sequence, Arc::clone(&entry));
        if entry.ends_at() != UnixTime::MAX {
            self.ends.insert((entry.ends_at(), sequence));
        }
        entry
    }

    fn extend(&mut self, entry: &Entry, ends_at: UnixTime) {
        let before = entry.ends_at();
        if ends_at <= before {
            return;
        }
        self.ends.remove(&(before, entry.sequence));
        if ends_at != UnixTime::MAX {
            self.ends.insert((ends_at, entry.sequence));
        }
        entry.extend(ends_at);
    }

    /// Issuers are few and configured, so that none is ever dropped.
    fn shared_issuer(&mut self, issuer: &str) -> Arc<str> {
        if let Some(shared) = self.issuers.get(issuer) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = Arc::from(issuer);
        self.issuers.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests;
