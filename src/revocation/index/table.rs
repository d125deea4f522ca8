//! What is held, exactly: entries by digest, in thousands of small sorted shards.
//!
//! Owns where an entry stands and who waits for whom. One writer at a time, which the index sees to; a reader waits
//! for it at most while entries of one shard move up, since everything longer happens beside the shard, which is
//! then exchanged. Knows nothing of issuers or values.

use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::filter::FilterKey;
use crate::revocation::entry::Id;
use crate::time::UnixTime;

/// Small enough that an insertion into ten million entries moves some ten KiB, few enough to cost an empty set nothing.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 12;

/// An id as a number, so that it sorts and spreads evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest {
    upper: u64,
    lower: u64,
}

impl From<Id> for Digest {
    fn from(id: Id) -> Self {
        let half = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (upper, lower) = id.0.split_at(8);
        Self {
            upper: half(upper),
            lower: half(lower),
        }
    }
}

impl Digest {
    fn shard(self) -> usize {
        usize::try_from(self.upper >> (u64::BITS - SHARD_BITS)).unwrap_or(0)
    }

    /// About where it stands among that many of its shard.
    fn place_among(self, entries: usize) -> usize {
        let within = u128::from(self.upper << SHARD_BITS);
        usize::try_from((within * entries as u128) >> 64).unwrap_or(0)
    }
}

/// One entry. `C` tells entries of one digest apart: the cut-off, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<C> {
    pub(super) digest: Digest,
    pub(super) cut_off: C,
    pub(super) ends_at: UnixTime,
    /// Kept because a filter is built anew from the tables.
    pub(super) key: FilterKey,
}

impl<C: Copy + Ord> Slot<C> {
    const fn order(&self) -> (Digest, C) {
        (self.digest, self.cut_off)
    }
}

/// Sorted by digest and cut-off.
#[derive(Debug)]
struct Shard<C> {
    slots: Vec<Slot<C>>,
    /// None of its entries ends before.
    earliest_end: UnixTime,
}

impl<C> Default for Shard<C> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            earliest_end: UnixTime::MAX,
        }
    }
}

impl<C: Copy + Ord> Shard<C> {
    /// Room for a sixteenth more than will be there: a compromise between memory and how often a shard is copied.
    fn with_room_for(entries: usize) -> Self {
        Self {
            slots: Vec::with_capacity(entries + entries / 16 + 1),
            ..Self::default()
        }
    }

    /// Where the first entry stands that is not before.
    fn place_of(&self, order: (Digest, C)) -> usize {
        let is_before = |slot: &Slot<C>| slot.order() < order;
        let guess = order.0.place_among(self.slots.len());
        // Four standard deviations of where an evenly spread digest may really be.
        let margin = 2 * self.slots.len().isqrt() + 1;
        let from = guess.saturating_sub(margin);
        let until = self.slots.len().min(guess + margin);
        let near = self.slots.get(from..until).unwrap_or_default();
        let is_near = near.first().is_some_and(is_before) && !near.last().is_none_or(is_before);
        if is_near {
            from + near.partition_point(is_before)
        } else {
            self.slots.partition_point(is_before)
        }
    }

    fn push(&mut self, slot: Slot<C>) {
        self.earliest_end = self.earliest_end.min(slot.ends_at);
        self.slots.push(slot);
    }

    /// Its entries and those of `new`, which is sorted; of two that are the same, the later end. Tells of each that is new.
    fn merged(&self, new: &[Slot<C>], mut tell: impl FnMut(&Slot<C>)) -> Self {
        let mut merged = Self::with_room_for(self.slots.len() + new.len());
        let mut held = self.slots.iter().copied().peekable();
        for slot in new {
            while let Some(before) = held.next_if(|held| held.order() <= slot.order()) {
                merged.push(before);
            }
            match merged.slots.last_mut() {
                Some(last) if last.order() == slot.order() => {
                    last.ends_at = last.ends_at.max(slot.ends_at);
                }
                _ => {
                    tell(slot);
                    merged.push(*slot);
                }
            }
        }
        held.for_each(|slot| merged.push(slot));
        merged
    }

    /// Its entries that have not ended. Tells of each that has.
    fn live(&self, now: UnixTime, mut tell: impl FnMut(&Slot<C>)) -> Self {
        let live = self.slots.iter().filter(|slot| now < slot.ends_at).count();
        let mut kept = Self::with_room_for(live);
        for slot in &self.slots {
            if now < slot.ends_at {
                kept.push(*slot);
            } else {
                tell(slot);
            }
        }
        kept
    }
}

/// All shards; made when the first entry comes.
#[derive(Debug)]
pub(super) struct Table<C>(OnceLock<Box<[RwLock<Shard<C>>]>>);

impl<C> Default for Table<C> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<C: Copy + Ord> Table<C> {
    /// Whether an entry of that digest is as wanted.
    pub(super) fn any(
        &self,
        digest: Digest,
        lowest: C,
        mut wanted: impl FnMut(&Slot<C>) -> bool,
    ) -> bool {
        let Some(shard) = self.shard(digest.shard()) else {
            return false;
        };
        let from = shard.place_of((digest, lowest));
        shard
            .slots
            .iter()
            .skip(from)
            .take_while(|slot| slot.digest == digest)
            .any(&mut wanted)
    }

    /// Adds an entry, or moves its end later; whether it is new.
    pub(super) fn put(&self, slot: Slot<C>) -> bool {
        let Some(lock) = self.shards().get(slot.digest.shard()) else {
            return false;
        };
        let held = read(lock);
        let place = held.place_of(slot.order());
        let is_there = held
            .slots
            .get(place)
            .is_some_and(|there| there.order() == slot.order());
        if !is_there && held.slots.len() == held.slots.capacity() {
            let merged = held.merged(&[slot], |_| ());
            drop(held);
            exchange(lock, merged);
            return true;
        }
        drop(held);
        let mut shard = write(lock);
        if is_there {
            // What ended earliest may have been this one, which an early visit of the sweep finds out.
            if let Some(there) = shard.slots.get_mut(place) {
                there.ends_at = there.ends_at.max(slot.ends_at);
            }
        } else {
            shard.earliest_end = shard.earliest_end.min(slot.ends_at);
            shard.slots.insert(place, slot);
        }
        !is_there
    }

    /// Takes an entry out; whether it was there.
    pub(super) fn remove(&self, digest: Digest, cut_off: C) -> bool {
        let Some(lock) = self.0.get().and_then(|shards| shards.get(digest.shard())) else {
            return false;
        };
        let held = read(lock);
        let place = held.place_of((digest, cut_off));
        let is_there = held
            .slots
            .get(place)
            .is_some_and(|there| there.order() == (digest, cut_off));
        drop(held);
        if is_there {
            let mut shard = write(lock);
            shard.slots.remove(place);
            let left = shard.slots.len();
            if shard.slots.capacity() / 2 > left {
                shard.slots.shrink_to(left + left / 16);
            }
        }
        is_there
    }

    /// Adds entries of one shard, sorted by [`Table::sort`]. Tells of each that is new.
    pub(super) fn merge(&self, shard: &[Slot<C>], tell: impl FnMut(&Slot<C>)) {
        let number = shard.first().map(|slot| slot.digest.shard());
        if let Some(lock) = number.and_then(|number| self.shards().get(number)) {
            let merged = read(lock).merged(shard, tell);
            exchange(lock, merged);
        }
    }

    /// Sorts for [`Table::merge`], and splits by shard.
    pub(super) fn sort(slots: &mut [Slot<C>]) -> impl Iterator<Item = &[Slot<C>]> {
        slots.sort_unstable_by_key(Slot::order);
        slots.chunk_by(|one, next| one.digest.shard() == next.digest.shard())
    }

    /// Takes what has ended out of one shard, if anything may have; tells of each. How many entries were looked at.
    pub(super) fn remove_ended(
        &self,
        shard: usize,
        now: UnixTime,
        tell: impl FnMut(&Slot<C>),
    ) -> usize {
        let Some(lock) = self.0.get().and_then(|shards| shards.get(shard)) else {
            return 0;
        };
        let held = read(lock);
        if now < held.earliest_end {
            return 0;
        }
        let looked_at = held.slots.len();
        let live = held.live(now, tell);
        drop(held);
        exchange(lock, live);
        looked_at
    }

    /// Shows the keys of one shard's entries; how many there are.
    pub(super) fn keys_of(&self, shard: usize, mut show: impl FnMut(FilterKey)) -> usize {
        self.shard(shard).map_or(0, |shard| {
            shard.slots.iter().for_each(|slot| show(slot.key));
            shard.slots.len()
        })
    }

    fn shard(&self, number: usize) -> Option<RwLockReadGuard<'_, Shard<C>>> {
        self.0.get()?.get(number).map(read)
    }

    fn shards(&self) -> &[RwLock<Shard<C>>] {
        self.0
            .get_or_init(|| (0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

fn read<C>(shard: &RwLock<Shard<C>>) -> RwLockReadGuard<'_, Shard<C>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<C>(shard: &RwLock<Shard<C>>) -> RwLockWriteGuard<'_, Shard<C>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// Puts another in its place; what was there is freed after the lock is.
fn exchange<C>(shard: &RwLock<Shard<C>>, other: Shard<C>) {
    let before = std::mem::replace(&mut *write(shard), other);
    drop(before);
}
