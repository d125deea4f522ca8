//! Where revocations are written: the one way in for operators, endpoints and feeds.
//!
//! Owns the promise of a write: what was answered with `Ok` is kept as its store keeps things, and is in force here.
//! Reads by the gate do not come this way: it asks the [`RevocationSet`] that the ledger changes.
//!
//! A store is a variant of [`Store`]. Its writes take a list of [`Change`]s that are kept as a whole, and put them into
//! the set before they are answered; records for operators are its own to keep. No method blocks the runtime that calls it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Outcome, RevocationId, Revoked};
use super::entry::{NewRevocation, Revocation, RevocationKind};
use super::feed::{Feed, Staleness};
use super::journal::{Batch, Imported, Journal, Opening};
use super::set::{Page, RevocationSet};
use super::store::{StoreKind, StoreStatus, Unavailable};
use crate::config::Redis;
use crate::time::{Clock, UnixTime};

/// Revocations, and where they are kept.
#[derive(Debug)]
pub struct Ledger {
    set: Arc<RevocationSet>,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// The set is all there is: it is lost at a restart.
    Memory,
    /// Records are on the disk, and only what the gate needs is in memory.
    Embedded(Journal),
    /// The same, as the copy of what a fleet shares.
    Redis(Feed),
}

/// Which revocations are wanted.
pub struct Query {
    pub kind: Option<RevocationKind>,
    /// Picks by the `iss` value or the configured text.
    pub wants_issuer: Box<dyn Fn(&str) -> bool + Send>,
    /// Where a page said that the next begins.
    pub cursor: Option<u64>,
    pub limit: usize,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Query")
            .field("kind", &self.kind)
            .field("cursor", &self.cursor)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// One that keeps everything in memory alone.
    pub fn in_memory() -> Self {
        Self {
            set: Arc::new(RevocationSet::new()),
            store: Store::Memory,
        }
    }

    /// One that keeps everything in a file in `state_dir`. Nothing is in force until the [`Opening`] has ended and
    /// [`Ledger::loaded`] was called; where another process has the file, it waits for it so long.
    pub fn embedded(state_dir: &Path, wait: Duration, clock: Clock) -> (Self, Opening) {
        let set = Arc::new(RevocationSet::not_loaded());
        let (journal, opening) = Journal::start(state_dir, wait, Arc::clone(&set), clock);
        let store = Store::Embedded(journal);
        (Self { set, store }, opening)
    }

    /// One that shares everything with a fleet by a Redis, and keeps a copy in a file in `state_dir`, as
    /// [`Ledger::embedded`] does.
    pub fn redis(
        settings: Redis,
        staleness: Staleness,
        state_dir: &Path,
        wait: Duration,
        clock: Clock,
    ) -> (Self, Opening) {
        let set = Arc::new(RevocationSet::not_loaded());
        let of_set = Arc::clone(&set);
        let (journal, opening) = Journal::start(state_dir, wait, of_set, clock.clone());
        let feed = Feed::start(settings, staleness, journal, Arc::clone(&set), clock);
        let store = Store::Redis(feed);
        (Self { set, store }, opening)
    }

    /// Everything that is kept here is in force: the gate may decide, or a feed may begin, and says when.
    pub fn loaded(&self) {
        match &self.store {
            Store::Memory | Store::Embedded(_) => {
                self.set.set_stale(false);
            }
            Store::Redis(feed) => feed.begin(),
        }
    }

    /// What the gate asks.
    pub fn set(&self) -> &Arc<RevocationSet> {
        &self.set
    }

    /// Adds a revocation. The same again keeps its id; its end may move later, never earlier.
    pub async fn revoke(&self, new: NewRevocation, now: UnixTime) -> Result<Revoked, Unavailable> {
        let revoked = self.revoke_all(vec![new], now).await?.pop();
        revoked.ok_or_else(|| Unavailable("the store gave no answer".to_owned()))
    }

    /// Adds several, all or none; in the order given.
    pub async fn revoke_all(
        &self,
        new: Vec<NewRevocation>,
        now: UnixTime,
    ) -> Result<Vec<Revoked>, Unavailable> {
        let changes = new.into_iter().map(|new| Change::Revoke { new, at: now });
        let outcomes = self.write(changes.collect()).await?.into_iter();
        let revoked = outcomes.filter_map(|outcome| match outcome {
            Outcome::Revoked(revoked) => Some(revoked),
            Outcome::Restored(_) | Outcome::Settled { .. } => None,
        });
        Ok(revoked.collect())
    }

    /// Takes a revocation back and returns it; `None` if there was none.
    pub async fn restore(
        &self,
        id: &str,
        now: UnixTime,
    ) -> Result<Option<Revocation>, Unavailable> {
        let Some(id) = RevocationId::parse(id) else {
            return Ok(None);
        };
        let restore = Change::Restore { id, at: now };
        match self.write(vec![restore]).await?.pop() {
            Some(Outcome::Restored(restored)) => Ok(restored),
            _ => Err(Unavailable("the store gave no answer".to_owned())),
        }
    }

    /// The revocation of that id.
    pub async fn get(&self, id: &str, now: UnixTime) -> Result<Option<Revocation>, Unavailable> {
        match &self.store {
            Store::Memory => Ok(self.set.get(id, now)),
            Store::Embedded(journal) => Self::get_from(journal, id, now).await,
            Store::Redis(feed) => Self::get_from(feed.journal(), id, now).await,
        }
    }

    /// Some of them, in the order of their creation.
    pub async fn list(&self, query: Query, now: UnixTime) -> Result<Page, Unavailable> {
        match &self.store {
            Store::Memory => Ok(self.set.list(
                query.kind,
                &query.wants_issuer,
                query.cursor,
                query.limit,
                now,
            )),
            Store::Embedded(journal) => journal.page(query, now).await,
            Store::Redis(feed) => feed.journal().page(query, now).await,
        }
    }

    /// How the store does.
    pub fn status(&self) -> StoreStatus {
        let (kind, fault, lag) = match &self.store {
            Store::Memory => (StoreKind::Memory, None, Duration::ZERO),
            Store::Embedded(journal) => (StoreKind::Embedded, journal.fault(), Duration::ZERO),
            Store::Redis(feed) => (StoreKind::Redis, feed.fault(), feed.lag()),
        };
        StoreStatus {
            kind,
            is_loaded: match &self.store {
                Store::Redis(feed) => feed.is_loaded(),
                Store::Memory | Store::Embedded(_) => !self.set.is_stale(),
            },
            is_stale: self.set.is_stale(),
            is_up: fault.is_none(),
            lag,
            fault,
        }
    }

    /// Gives back the room of what has ended, bounded work in small steps. To be called about once a second.
    pub fn sweep(&self, now: UnixTime) {
        self.set.sweep(now);
        match &self.store {
            Store::Memory => {}
            Store::Embedded(journal) => journal.sweep(now),
            Store::Redis(feed) => feed.journal().sweep(now),
        }
    }

    /// Ends writing, so that a successor may begin: what is under way is kept first, what comes later is
    /// [`Unavailable`]. The set stays in force.
    pub async fn close(&self) {
        match &self.store {
            Store::Memory => {}
            Store::Embedded(journal) => journal.close().await,
            Store::Redis(feed) => feed.journal().close().await,
        }
    }

    /// Adds very many, all or none; each was created when its change says.
    pub async fn import(&self, changes: Vec<Change>) -> Result<Imported, Unavailable> {
        match &self.store {
            Store::Memory => Ok(Imported::of(
                changes.into_iter().map(|change| self.set.change(change)),
            )),
            Store::Embedded(journal) => journal.import(changes).await,
            Store::Redis(feed) => Ok(Imported::of(feed.write(changes).await?.into_iter())),
        }
    }

    async fn get_from(
        journal: &Journal,
        id: &str,
        now: UnixTime,
    ) -> Result<Option<Revocation>, Unavailable> {
        match RevocationId::parse(id) {
            Some(id) => journal.get(id, now).await,
            None => Ok(None),
        }
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Unavailable> {
        match &self.store {
            Store::Memory => Ok(changes
                .into_iter()
                .map(|change| self.set.change(change))
                .collect()),
            Store::Embedded(journal) => {
                let position = None;
                journal.write(Batch { changes, position }).await
            }
            Store::Redis(feed) => feed.write(changes).await,
        }
    }
}
