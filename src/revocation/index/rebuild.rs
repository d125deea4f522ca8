//! A filter in the making.
//!
//! Owns when a filter is replaced, and how without a pause: by a few thousand entries with each write and sweep. Meanwhile
//! every new entry is marked in both, so that either is complete whichever a reader has.

use std::sync::Arc;

use super::filter::{Filter, FilterKey};
use super::table::SHARDS;
use super::{RevocationIndex, Writer};

/// Entries marked in one step: a fraction of a millisecond.
const STEP: usize = 4096;
/// Entries that left their bits behind before a filter is made without them, unless that is fewer than are held.
const LITTER: usize = 4096;

/// The filter to come.
pub(super) struct Rebuild {
    filter: Arc<Filter>,
    /// The first shard whose entries are not marked in it yet.
    next_shard: usize,
    marked: usize,
}

impl Rebuild {
    fn new(entries: usize) -> Self {
        Self {
            filter: Arc::new(Filter::for_entries(entries)),
            next_shard: 0,
            marked: 0,
        }
    }

    fn mark(&mut self, key: FilterKey) {
        self.filter.mark(key);
        self.marked += 1;
    }
}

impl Writer {
    /// Marks an entry in the filter that readers have, and in the one that they will have.
    pub(super) fn mark(&mut self, key: FilterKey) {
        self.filter.mark(key);
        self.marked += 1;
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.mark(key);
        }
    }
}

impl RevocationIndex {
    /// Begins or continues a rebuild, if one is due. After every change.
    pub(super) fn tend_filter(&self, writer: &mut Writer) {
        if writer.rebuild.is_none() {
            let held = self.held_in_all();
            let is_full = writer.marked > writer.filter.capacity();
            let is_littered = writer.marked > 2 * held + LITTER;
            if !is_full && !is_littered {
                return;
            }
            writer.rebuild = Some(Rebuild::new(held));
        }
        self.step(writer);
    }

    /// Sees to it that so many more entries fit, with pauses in which other writers have their turn.
    pub(super) fn make_room_for(&self, more: usize) {
        let mut is_begun = false;
        loop {
            let mut writer = self.lock();
            if !is_begun {
                is_begun = true;
                let needed = self.held_in_all() + more;
                let capacity = writer.rebuild.as_ref().map_or_else(
                    || writer.filter.capacity(),
                    |rebuild| rebuild.filter.capacity(),
                );
                if needed > capacity {
                    writer.rebuild = Some(Rebuild::new(needed));
                }
            }
            if writer.rebuild.is_none() {
                return;
            }
            self.step(&mut writer);
        }
    }

    fn step(&self, writer: &mut Writer) {
        let Some(rebuild) = &mut writer.rebuild else {
            return;
        };
        let goal = rebuild.marked + STEP;
        while rebuild.next_shard < SHARDS && rebuild.marked < goal {
            let shard = rebuild.next_shard;
            self.exact.keys_of(shard, |key| rebuild.mark(key));
            self.cut_offs.keys_of(shard, |key| rebuild.mark(key));
            rebuild.next_shard += 1;
        }
        if rebuild.next_shard == SHARDS
            && let Some(done) = writer.rebuild.take()
        {
            writer.filter = Arc::clone(&done.filter);
            writer.marked = done.marked;
            self.front.filter.store(done.filter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::entry::{RevocationKind, Target};
    use crate::time::UnixTime;

    fn with_target<T>(number: usize, use_it: impl FnOnce(Target<'_>) -> T) -> T {
        use_it(Target {
            issuer: "https://id.example.com/",
            kind: RevocationKind::Jti,
            value: number.to_string().as_bytes(),
            issued_before: None,
        })
    }

    #[test]
    fn an_entry_that_comes_while_a_filter_is_made_is_in_it() {
        const BEFORE: usize = 16 * STEP;
        let index = RevocationIndex::new();
        let mut loader = index.loader();
        for number in 0..BEFORE {
            with_target(number, |target| loader.add(target, UnixTime::MAX));
        }
        loader.finish();
        let old = index.front.filter.load_full();
        index.lock().rebuild = Some(Rebuild::new(BEFORE));
        let mut count = BEFORE;
        while index.lock().rebuild.is_some() {
            assert!(Arc::ptr_eq(&old, &index.front.filter.load()));
            with_target(count, |target| index.insert(target, UnixTime::MAX));
            count += 1;
        }
        assert!(
            count > BEFORE + 8,
            "so many steps that some shards had been done"
        );
        let new = index.front.filter.load();
        assert!(!Arc::ptr_eq(&old, &new));
        for number in 0..count {
            let key = with_target(number, crate::revocation::index::key_of);
            assert!(Filter::may_hold(new.word(key), key), "{number}");
        }
    }
}
