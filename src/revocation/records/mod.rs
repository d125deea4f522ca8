//! What operators are told of each revocation, in memory: who is meant, why, since when, and in which order.
//!
//! Owns ids, the order of creation and the entries' ends as listed. Knows nothing of how the gate finds a revocation:
//! the index beside it holds for itself what that takes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::entry::{Id, NewRevocation, Revocation, Subject, Target};
use crate::time::UnixTime;

/// One revocation.
#[derive(Debug)]
pub(super) struct Record {
    id: Id,
    /// Shared by all records of the issuer.
    pub(super) issuer: Arc<str>,
    pub(super) what: Subject,
    /// [`UnixTime::MAX`] if it does not end.
    ends_at: UnixTime,
    created_at: UnixTime,
    reason: Option<Box<str>>,
}

impl Record {
    /// Whether it has not ended.
    pub(super) fn is_live(&self, now: UnixTime) -> bool {
        now < self.ends_at
    }

    /// What the index knows it by.
    pub(super) fn target(&self) -> Target<'_> {
        self.what.target_of(&self.issuer)
    }

    /// When it ends; [`UnixTime::MAX`] if it does not.
    pub(super) const fn ends_at(&self) -> UnixTime {
        self.ends_at
    }

    /// As callers see it.
    pub(super) fn to_revocation(&self) -> Revocation {
        Revocation {
            id: self.id.to_text(),
            issuer: Box::from(&*self.issuer),
            what: self.what.clone(),
            expires_at: (self.ends_at != UnixTime::MAX).then_some(self.ends_at),
            created_at: self.created_at,
            reason: self.reason.clone(),
        }
    }
}

/// Places in the order of creation by id, in 256 maps: one map of millions would stand still for a second when it grows.
#[derive(Debug)]
struct ById(Box<[HashMap<Id, u64>]>);

impl Default for ById {
    fn default() -> Self {
        Self((0..=u8::MAX).map(|_| HashMap::new()).collect())
    }
}

impl ById {
    fn get(&self, id: Id) -> Option<u64> {
        self.0.get(Self::number(id))?.get(&id).copied()
    }

    fn insert(&mut self, id: Id, sequence: u64) {
        if let Some(map) = self.0.get_mut(Self::number(id)) {
            map.insert(id, sequence);
        }
    }

    fn remove(&mut self, id: Id) -> Option<u64> {
        let map = self.0.get_mut(Self::number(id))?;
        let sequence = map.remove(&id);
        if map.capacity() / 8 > map.len() {
            map.shrink_to(2 * map.len());
        }
        sequence
    }

    fn number(id: Id) -> usize {
        let [first, ..] = id.0;
        usize::from(first)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_id: ById,
    by_sequence: BTreeMap<u64, Box<Record>>,
    /// End and place of all that ends.
    ends: BTreeSet<(UnixTime, u64)>,
    issuers: HashSet<Arc<str>>,
    next_sequence: u64,
}

impl Records {
    /// The record of that id, if there is one, ended or not.
    pub(super) fn get(&self, id: Id) -> Option<&Record> {
        let sequence = self.by_id.get(id)?;
        self.by_sequence.get(&sequence).map(AsRef::as_ref)
    }

    /// Adds one whose id is not there.
    pub(super) fn add(&mut self, new: NewRevocation, id: Id, now: UnixTime) -> Revocation {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let record = Record {
            id,
            issuer: self.shared_issuer(&new.issuer),
            ends_at: new.ends_at(),
            created_at: now,
            what: new.what,
            reason: new.reason,
        };
        if record.ends_at != UnixTime::MAX {
            self.ends.insert((record.ends_at, sequence));
        }
        self.by_id.insert(id, sequence);
        let revocation = record.to_revocation();
        self.by_sequence.insert(sequence, Box::new(record));
        revocation
    }

    /// Moves an end later; never earlier. The record as it is now.
    pub(super) fn extend(&mut self, id: Id, ends_at: UnixTime) -> Option<&Record> {
        let sequence = self.by_id.get(id)?;
        let record = self.by_sequence.get_mut(&sequence)?;
        if ends_at > record.ends_at {
            self.ends.remove(&(record.ends_at, sequence));
            if ends_at != UnixTime::MAX {
                self.ends.insert((ends_at, sequence));
            }
            record.ends_at = ends_at;
        }
        Some(record)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: Id) -> Option<Box<Record>> {
        let sequence = self.by_id.remove(id)?;
        let record = self.by_sequence.remove(&sequence)?;
        self.ends.remove(&(record.ends_at, sequence));
        Some(record)
    }

    /// Takes out at most so many that have ended, and says how many.
    pub(super) fn remove_ended(&mut self, now: UnixTime, at_most: usize) -> usize {
        for removed in 0..at_most {
            let is_ended = self
                .ends
                .first()
                .is_some_and(|(ends_at, _)| *ends_at <= now);
            let Some((_, sequence)) = is_ended.then(|| self.ends.pop_first()).flatten() else {
                return removed;
            };
            if let Some(record) = self.by_sequence.remove(&sequence) {
                self.by_id.remove(record.id);
            }
        }
        at_most
    }

    /// All after that place, in the order of creation.
    pub(super) fn after(&self, cursor: Option<u64>) -> impl Iterator<Item = (u64, &Record)> {
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_sequence
            .range((start, Bound::Unbounded))
            .map(|(sequence, record)| (*sequence, &**record))
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
