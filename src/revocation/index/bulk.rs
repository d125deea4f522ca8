//! Entries in bulk, as a store brings them at start or an import does.
//!
//! Owns batches: sorted ones are merged shard by shard, which costs less than to find each entry's place, and leaves
//! other writers their turns. Readers see a batch's entries as soon as they are merged.

use super::filter::FilterKey;
use super::table::{Digest, Slot, Table};
use super::{CUT_OFFS, RevocationIndex, cut_off_of, key_of};
use crate::revocation::entry::{Id, Target};
use crate::time::UnixTime;

/// Entries of a small batch; larger ones are an eighth of what is held, so that all is moved a bounded number of times.
const SMALLEST_BATCH: usize = 16_384;
/// Entries of the largest, some 40 MiB while they wait.
const LARGEST_BATCH: usize = 1 << 20;

/// Takes entries for the index; what it holds back is written by [`Loader::finish`] or when it is dropped.
#[derive(Debug)]
pub struct Loader<'a> {
    index: &'a RevocationIndex,
    exact: Vec<Slot<()>>,
    cut_offs: Vec<Slot<UnixTime>>,
    batch: usize,
}

impl<'a> Loader<'a> {
    pub(super) const fn new(index: &'a RevocationIndex) -> Self {
        Self {
            index,
            exact: Vec::new(),
            cut_offs: Vec::new(),
            batch: SMALLEST_BATCH,
        }
    }

    /// Sees to it that so many more entries fit, once instead of with each batch.
    pub fn make_room_for(&self, more: usize) {
        self.index.make_room_for(more);
    }

    /// Takes an entry whose id is known, which spares working it out.
    pub(in crate::revocation) fn add_known(
        &mut self,
        id: Id,
        target: Target<'_>,
        ends_at: UnixTime,
    ) {
        match cut_off_of(target) {
            Some(_) => self.add(target, ends_at),
            None => self.add_as(id.into(), target, ends_at),
        }
    }

    /// Takes one entry; one that is there already ends at the later of both moments.
    pub fn add(&mut self, target: Target<'_>, ends_at: UnixTime) {
        self.add_as(target.id_without_cut_off().into(), target, ends_at);
    }

    fn add_as(&mut self, digest: Digest, target: Target<'_>, ends_at: UnixTime) {
        let key = key_of(target);
        match cut_off_of(target) {
            Some(cut_off) => self.cut_offs.push(Slot {
                digest,
                cut_off,
                ends_at,
                key,
            }),
            None => self.exact.push(Slot {
                digest,
                cut_off: (),
                ends_at,
                key,
            }),
        }
        if self.exact.len() + self.cut_offs.len() >= self.batch {
            self.write();
        }
    }

    /// Writes what is left: all that was added is in force.
    pub fn finish(self) {
        // By dropping it, so that an iterator that fails half-way loses nothing that it gave.
    }

    fn write(&mut self) {
        let index = self.index;
        index.make_room_for(self.exact.len() + self.cut_offs.len());
        index.merge(&index.exact, &mut self.exact, |key| {
            key.kind().map(|kind| kind as usize)
        });
        index.merge(&index.cut_offs, &mut self.cut_offs, |_| Some(CUT_OFFS));
        self.batch = (index.held_in_all() / 8).clamp(SMALLEST_BATCH, LARGEST_BATCH);
    }
}

impl Drop for Loader<'_> {
    fn drop(&mut self) {
        self.write();
    }
}

impl RevocationIndex {
    fn merge<C: Copy + Ord>(
        &self,
        table: &Table<C>,
        batch: &mut Vec<Slot<C>>,
        group_of: impl Fn(FilterKey) -> Option<usize>,
    ) {
        for shard in Table::sort(batch) {
            let mut writer = self.lock();
            let mut added = Vec::with_capacity(shard.len());
            table.merge(shard, |slot| added.push(slot.key));
            for key in added {
                if let Some(group) = group_of(key) {
                    self.add(&mut writer, group, key);
                }
            }
            self.tend_filter(&mut writer);
        }
        batch.clear();
    }
}
