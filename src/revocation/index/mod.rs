//! How the gate finds revocations: a filter that nearly always says "no", and tables that are exact.
//!
//! Owns what is read on the request path and the one writer's side of it. A kind that holds nothing costs nothing;
//! a value that is not revoked costs one load. Knows of an entry what is needed to refuse (digest, cut-off, end), and
//! nothing of what operators are told of it.

mod bulk;
mod filter;
mod lookup;
mod rebuild;
mod table;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use self::bulk::Loader;
use self::filter::{Filter, FilterKey, IssuerKeys};
pub use self::lookup::Lookup;
use self::lookup::values_of;
use self::rebuild::Rebuild;
use self::table::{SHARDS, Slot, Table};
use super::entry::{RevocationKind, Target};
use crate::identity::Identity;
use crate::time::UnixTime;

/// The kinds, and cut-offs as the last: what is counted apart.
const GROUPS: usize = RevocationKind::ALL.len() + 1;
/// The group of subjects with a cut-off.
const CUT_OFFS: usize = RevocationKind::ALL.len();
/// Entries that one sweep looks at, some milliseconds' work: ten million are gone through in half a minute.
const SWEEP_SCAN: usize = 400_000;
/// Shards that a sweep visits under one hold of the lock.
const SWEEP_SHARDS: usize = 64;

/// What every check reads and writers seldom change, in a cache line of its own.
#[repr(align(128))]
struct Front {
    /// One bit for each group that holds something.
    groups: AtomicU8,
    /// Every entry of the tables is marked in it.
    filter: ArcSwap<Filter>,
}

/// The revocations in force, as the gate sees them.
pub struct RevocationIndex {
    front: Front,
    exact: Table<()>,
    cut_offs: Table<UnixTime>,
    held: [AtomicUsize; GROUPS],
    writer: Mutex<Writer>,
}

/// What only the writer knows.
struct Writer {
    /// That of the front.
    filter: Arc<Filter>,
    /// Entries ever marked in it; more than are held where some have left.
    marked: usize,
    rebuild: Option<Rebuild>,
    /// The shard at which the next sweep begins.
    sweep_at: usize,
}

impl Default for RevocationIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RevocationIndex {
    /// Entries are many, and what they name is nobody's business.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RevocationIndex")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl RevocationIndex {
    /// An empty one.
    pub fn new() -> Self {
        let filter = Arc::new(Filter::for_entries(0));
        Self {
            front: Front {
                groups: AtomicU8::new(0),
                filter: ArcSwap::new(Arc::clone(&filter)),
            },
            exact: Table::default(),
            cut_offs: Table::default(),
            held: Default::default(),
            writer: Mutex::new(Writer {
                filter,
                marked: 0,
                rebuild: None,
                sweep_at: 0,
            }),
        }
    }

    /// Whether a live entry takes back `identity`, of the issuer configured as `issuer`.
    #[inline]
    pub fn is_revoked(&self, identity: &Identity, issuer: &str, now: UnixTime) -> bool {
        // Nothing is worked out for an empty index.
        self.front.groups.load(Ordering::Acquire) != 0
            && self.is_found(&Lookup::new(identity, issuer), identity, issuer, now)
    }

    /// The same with the [`Lookup`] of that identity and issuer, which spares the work and the memory that it takes to read
    /// the identity.
    #[inline]
    pub fn is_found(
        &self,
        lookup: &Lookup,
        identity: &Identity,
        issuer: &str,
        now: UnixTime,
    ) -> bool {
        let groups = self.front.groups.load(Ordering::Acquire);
        if groups == 0 {
            return false;
        }
        let filter = self.front.filter.load();
        lookup.may_be_in(&filter, groups) && self.tables_name(identity, issuer, now)
    }

    /// Adds an entry; one that is there already ends at the later of both moments. Whether it is new.
    pub fn insert(&self, target: Target<'_>, ends_at: UnixTime) -> bool {
        let digest = target.id_without_cut_off().into();
        let key = key_of(target);
        let mut writer = self.lock();
        let (is_new, group) = if let Some(cut_off) = cut_off_of(target) {
            let slot = Slot {
                digest,
                cut_off,
                ends_at,
                key,
            };
            (self.cut_offs.put(slot), CUT_OFFS)
        } else {
            let slot = Slot {
                digest,
                cut_off: (),
                ends_at,
                key,
            };
            (self.exact.put(slot), target.kind as usize)
        };
        if is_new {
            self.add(&mut writer, group, key);
        }
        self.tend_filter(&mut writer);
        is_new
    }

    /// Takes an entry out; whether it was there.
    pub fn remove(&self, target: Target<'_>) -> bool {
        let digest = target.id_without_cut_off().into();
        let mut writer = self.lock();
        let (was_there, group) = match cut_off_of(target) {
            Some(cut_off) => (self.cut_offs.remove(digest, cut_off), CUT_OFFS),
            None => (self.exact.remove(digest, ()), target.kind as usize),
        };
        if was_there {
            self.subtract(group);
        }
        self.tend_filter(&mut writer);
        was_there
    }

    /// For entries in bulk.
    pub fn loader(&self) -> Loader<'_> {
        Loader::new(self)
    }

    /// Gives back the memory of what has ended, bounded work in small steps; says of how many. To be called about once a second.
    pub fn sweep(&self, now: UnixTime) -> usize {
        let (mut removed, mut looked_at) = (0, 0);
        for _ in 0..SHARDS / SWEEP_SHARDS {
            let mut writer = self.lock();
            for _ in 0..SWEEP_SHARDS {
                let shard = writer.sweep_at;
                writer.sweep_at = (shard + 1) % SHARDS;
                looked_at += self.exact.remove_ended(shard, now, |slot| {
                    if let Some(kind) = slot.key.kind() {
                        self.subtract(kind as usize);
                    }
                    removed += 1;
                });
                looked_at += self.cut_offs.remove_ended(shard, now, |_| {
                    self.subtract(CUT_OFFS);
                    removed += 1;
                });
            }
            self.tend_filter(&mut writer);
            if looked_at >= SWEEP_SCAN {
                break;
            }
        }
        removed
    }

    /// How many entries of that kind are held; one that has ended counts until it is swept.
    pub fn held(&self, kind: RevocationKind) -> usize {
        match kind {
            RevocationKind::Subject => self.held_in(kind as usize) + self.held_in(CUT_OFFS),
            _ => self.held_in(kind as usize),
        }
    }

    /// The exact answer, for what the filter does not rule out.
    #[cold]
    #[inline(never)]
    fn tables_name(&self, identity: &Identity, issuer: &str, now: UnixTime) -> bool {
        let filter = self.front.filter.load();
        let configured = (*issuer != *identity.iss).then_some(issuer);
        let issuers = [Some(&*identity.iss), configured];
        issuers.into_iter().flatten().any(|issuer| {
            let keys = IssuerKeys::new(issuer);
            let values = RevocationKind::ALL.into_iter().zip(values_of(identity));
            values
                .filter_map(|(kind, value)| Some((kind, value?)))
                .any(|(kind, value)| {
                    let key = keys.key(kind, value);
                    let target = Target {
                        issuer,
                        kind,
                        value,
                        issued_before: None,
                    };
                    Filter::may_hold(filter.word(key), key)
                        && self.holds(target, identity.issued_at, now)
                })
        })
    }

    fn holds(&self, target: Target<'_>, issued_at: Option<UnixTime>, now: UnixTime) -> bool {
        let digest = target.id_without_cut_off().into();
        // A token without `iat` is covered by every cut-off.
        let lowest = issued_at.unwrap_or(UnixTime::MIN);
        self.exact.any(digest, (), |slot| now < slot.ends_at)
            || (target.kind == RevocationKind::Subject
                && self.cut_offs.any(digest, lowest, |slot| now < slot.ends_at))
    }

    /// Makes an entry that has just been put into its table visible: its bits, then its group.
    fn add(&self, writer: &mut Writer, group: usize, key: FilterKey) {
        writer.mark(key);
        let before = self
            .held
            .get(group)
            .map(|held| held.fetch_add(1, Ordering::Relaxed));
        if before == Some(0) {
            self.front.groups.fetch_or(1 << group, Ordering::Release);
        }
    }

    fn subtract(&self, group: usize) {
        let before = self
            .held
            .get(group)
            .map(|held| held.fetch_sub(1, Ordering::Relaxed));
        if before == Some(1) {
            self.front
                .groups
                .fetch_and(!(1 << group), Ordering::Release);
        }
    }

    fn held_in(&self, group: usize) -> usize {
        self.held
            .get(group)
            .map_or(0, |held| held.load(Ordering::Relaxed))
    }

    fn held_in_all(&self) -> usize {
        (0..GROUPS).map(|group| self.held_in(group)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only a subject has one.
fn cut_off_of(target: Target<'_>) -> Option<UnixTime> {
    target
        .issued_before
        .filter(|_| target.kind == RevocationKind::Subject)
}

/// The bits of the groups in which an entry of that kind may be.
const fn groups_of(kind: RevocationKind) -> u8 {
    match kind {
        RevocationKind::Subject => 1 << kind as usize | 1 << CUT_OFFS,
        _ => 1 << kind as usize,
    }
}

fn key_of(target: Target<'_>) -> FilterKey {
    IssuerKeys::new(target.issuer).key(target.kind, target.value)
}

#[cfg(test)]
mod tests;
