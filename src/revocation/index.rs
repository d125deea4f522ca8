//! How the gate finds revocations: one lock-free map per kind, keyed by issuer and value.
//!
//! Owns what is read on the request path. A kind that holds nothing costs one load. Writers are
//! serialised by the set; nothing here decides what is kept.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use papaya::{Equivalent, HashMap};

use super::entry::{Entry, RevocationKind};
use crate::time::UnixTime;

/// An entry that hashes and compares by issuer and value, so that the strings are kept once.
#[derive(Debug)]
struct ByValue(Arc<Entry>);

impl ByValue {
    fn as_lookup(&self) -> Lookup<'_> {
        Lookup {
            issuer: &self.0.issuer,
            value: self.0.what.value(),
        }
    }
}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_lookup().hash(state);
    }
}

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_lookup() == other.as_lookup()
    }
}

impl Eq for ByValue {}

#[derive(PartialEq, Eq, Hash)]
struct Lookup<'a> {
    issuer: &'a str,
    value: &'a [u8],
}

impl Equivalent<ByValue> for Lookup<'_> {
    fn equivalent(&self, key: &ByValue) -> bool {
        *self == key.as_lookup()
    }
}

/// Entries of one kind, at most one for an issuer and value.
#[derive(Debug, Default)]
struct Exact {
    held: AtomicUsize,
    entries: HashMap<ByValue, ()>,
}

/// Entries that take back what was issued up to a moment; several for an issuer and subject, latest cut-off first.
#[derive(Debug, Default)]
struct CutOffs {
    held: AtomicUsize,
    entries: HashMap<ByValue, Box<[Arc<Entry>]>>,
}

/// All kinds.
#[derive(Debug, Default)]
pub(super) struct Index {
    jti: Exact,
    subject: Exact,
    session: Exact,
    client: Exact,
    key: Exact,
    token: Exact,
    cut_offs: CutOffs,
}

impl Index {
    /// Whether a live entry of `kind` names `value` under one of `issuers`; a cut-off does not count.
    pub(super) fn holds(
        &self,
        kind: RevocationKind,
        issuers: [Option<&str>; 2],
        value: &[u8],
        now: UnixTime,
    ) -> bool {
        let exact = self.exact(kind);
        if exact.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let entries = exact.entries.pin();
        issuers.into_iter().flatten().any(|issuer| {
            entries
                .get_key_value(&Lookup { issuer, value })
                .is_some_and(|(entry, ())| entry.0.is_live(now))
        })
    }

    /// Whether a live cut-off for `subject` under one of `issuers` covers a token issued then.
    pub(super) fn cuts_off(
        &self,
        issuers: [Option<&str>; 2],
        subject: &str,
        issued_at: Option<UnixTime>,
        now: UnixTime,
    ) -> bool {
        if self.cut_offs.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let entries = self.cut_offs.entries.pin();
        let value = subject.as_bytes();
        issuers.into_iter().flatten().any(|issuer| {
            entries
                .get(&Lookup { issuer, value })
                .is_some_and(|cut_offs| {
                    cut_offs
                        .iter()
                        .take_while(|entry| covers(entry, issued_at))
                        .any(|entry| entry.is_live(now))
                })
        })
    }

    /// Adds an entry whose id is not there yet.
    pub(super) fn insert(&self, entry: &Arc<Entry>) {
        if entry.what.cut_off().is_some() {
            self.put_cut_offs(entry, |cut_offs| {
                cut_offs.push(Arc::clone(entry));
                cut_offs.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.what.cut_off()));
            });
            self.cut_offs.held.fetch_add(1, Ordering::Release);
        } else {
            let exact = self.exact(entry.what.kind());
            exact.entries.pin().insert(ByValue(Arc::clone(entry)), ());
            exact.held.fetch_add(1, Ordering::Release);
        }
    }

    /// Takes out an entry that is there.
    pub(super) fn remove(&self, entry: &Arc<Entry>) {
        if entry.what.cut_off().is_some() {
            self.put_cut_offs(entry, |cut_offs| cut_offs.retain(|one| one.id != entry.id));
            self.cut_offs.held.fetch_sub(1, Ordering::Release);
        } else {
            let exact = self.exact(entry.what.kind());
            let lookup = Lookup {
                issuer: &entry.issuer,
                value: entry.what.value(),
            };
            exact.entries.pin().remove(&lookup);
            exact.held.fetch_sub(1, Ordering::Release);
        }
    }

    /// How many entries of that kind are held.
    pub(super) fn held(&self, kind: RevocationKind) -> usize {
        let exact = self.exact(kind).held.load(Ordering::Relaxed);
        match kind {
            RevocationKind::Subject => exact + self.cut_offs.held.load(Ordering::Relaxed),
            _ => exact,
        }
    }

    fn put_cut_offs(&self, entry: &Arc<Entry>, change: impl FnOnce(&mut Vec<Arc<Entry>>)) {
        let entries = self.cut_offs.entries.pin();
        let key = ByValue(Arc::clone(entry));
        let mut cut_offs = entries
            .get(&key)
            .map(|held| held.to_vec())
            .unwrap_or_default();
        change(&mut cut_offs);
        match cut_offs.first() {
            // One insert, so that no reader finds the subject without its cut-offs in between.
            Some(first) => {
                entries.insert(ByValue(Arc::clone(first)), cut_offs.into_boxed_slice());
            }
            None => {
                entries.remove(&key.as_lookup());
            }
        }
    }

    const fn exact(&self, kind: RevocationKind) -> &Exact {
        match kind {
            RevocationKind::Jti => &self.jti,
            RevocationKind::Subject => &self.subject,
            RevocationKind::Session => &self.session,
            RevocationKind::Client => &self.client,
            RevocationKind::Key => &self.key,
            RevocationKind::Token => &self.token,
        }
    }
}

fn covers(entry: &Entry, issued_at: Option<UnixTime>) -> bool {
    match (entry.what.cut_off(), issued_at) {
        (Some(cut_off), Some(issued_at)) => issued_at <= cut_off,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
