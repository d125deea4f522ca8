//! The durable store of revocations: one file, one thread that writes it, and many that read it.
//!
//! Owns the promise that what was answered with `Ok` survives the end of the process and of the power, and is in force
//! in the [`RevocationSet`] before the answer. Knows nothing of HTTP, and not who asks: the ledger for operators, or a
//! feed that keeps its copy here.
//!
//! [`Journal::write`] takes a [`Batch`]: changes, and where a feed has been read to, in one transaction that is kept as
//! a whole or not at all. The writer puts what waits into one transaction (group commit), so that many writers share
//! the wait for the disk. [`Journal::start`] begins to open and load; nothing is in force for sure before the
//! [`Opening`] has ended well, and whoever owns the set says when it is stale no longer.

mod backend;
mod fault;
mod file;
mod layout;
mod reading;
mod salvage;
mod standings;
mod tables;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redb::Database;
use tokio::sync::{mpsc, oneshot};

use self::fault::Fault;
pub use self::fault::StoreFault;
use self::file::Place;
use self::reading::Reading;
pub use self::salvage::{Salvaged, salvage};
pub use self::standings::Cursor;
use self::writer::{Job, Writer};
use super::change::{Account, Change, Outcome, RevocationId};
use super::entry::Revocation;
use super::ledger::Query;
use super::set::{Page, RevocationSet};
use super::store::Unavailable;
use crate::time::{Clock, UnixTime};

/// Writes that wait for the disk; more wait for their place.
const QUEUE: usize = 1024;

/// What is kept as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In this order.
    pub changes: Vec<Change>,
    /// Where a feed has been read to, in the feed's own words; `None` leaves it.
    pub position: Option<Vec<u8>>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Imported {
    pub new: u64,
    /// Were there already; their ends may have moved later.
    pub known: u64,
}

impl Imported {
    /// What became of each.
    pub(super) fn of(outcomes: impl Iterator<Item = Outcome>) -> Self {
        let mut imported = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Revoked(revoked) if revoked.is_new => imported.new += 1,
                Outcome::Revoked(_) => imported.known += 1,
                Outcome::Restored(_) | Outcome::Settled { .. } => {}
            }
        }
        imported
    }
}

/// The store.
#[derive(Debug)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// Until a journal has been opened and loaded.
#[derive(Debug)]
pub struct Opening(oneshot::Receiver<Result<(), StoreFault>>);

impl Opening {
    /// One that has ended well.
    pub fn done() -> Self {
        let (sender, receiver) = oneshot::channel();
        drop(sender.send(Ok(())));
        Self(receiver)
    }

    /// Waits for the end: everything is in force, or the store cannot be used.
    pub async fn wait(self) -> Result<(), StoreFault> {
        self.0.await.unwrap_or(Err(StoreFault::Ended))
    }

    /// The same, for who has no runtime. Never on one.
    pub fn wait_blocking(self) -> Result<(), StoreFault> {
        self.0.blocking_recv().unwrap_or(Err(StoreFault::Ended))
    }
}

/// What the writer and the readers have in common.
#[derive(Debug, Default)]
struct Shared {
    /// `None` until it is open, while it is down, and after the end.
    database: RwLock<Option<Database>>,
    /// Why nothing can be written now.
    fault: Mutex<Option<String>>,
    /// Whether it was ever opened: before, nobody shall wait for it with a request in hand.
    is_opened: AtomicBool,
    is_closing: AtomicBool,
}

impl Shared {
    fn fault(&self) -> Option<String> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone()
    }

    fn set_fault(&self, why: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn unavailable(&self) -> Unavailable {
        Unavailable(self.fault().unwrap_or_else(|| ENDED.to_owned()))
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }
}

const OPENING: &str = "the revocation store is not open yet";
const ENDED: &str = "the gateway is ending, and its revocation store is closed so that a successor can take it over; ask again";

impl Journal {
    /// Starts to open the file in `state_dir` and to load it into `set`, on a thread of its own. Where another process
    /// has the file, waits for it so long.
    pub fn start(
        state_dir: &Path,
        wait: Duration,
        set: Arc<RevocationSet>,
        clock: Clock,
    ) -> (Self, Opening) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (opened, opening) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        shared.set_fault(Some(OPENING.to_owned()));
        let writer = Writer::new(Place::new(state_dir), set, clock, Arc::clone(&shared));
        let spawned = std::thread::Builder::new()
            .name("revocations".to_owned())
            .spawn(move || writer.run(wait, opened, queue));
        if let Err(error) = spawned {
            // The thread's ends of the channels are gone: the opening fails, and so does every write.
            tracing::error!(%error, "the thread of the revocation store cannot be started");
        }
        (Self { jobs, shared }, Opening(opening))
    }

    /// Whether there is a file in `state_dir`.
    pub fn is_in(state_dir: &Path) -> bool {
        Place::new(state_dir).is_there()
    }

    /// Changes what is stored, and what is in force, in one step that survives everything once it is answered.
    pub async fn write(&self, batch: Batch) -> Result<Vec<Outcome>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Write { batch, answer }, answered).await
    }

    /// The same for very many: nothing is said of each.
    pub async fn import(&self, changes: Vec<Change>) -> Result<Imported, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Import { changes, answer }, answered).await
    }

    /// The revocation of that id.
    pub async fn get(
        &self,
        id: RevocationId,
        now: UnixTime,
    ) -> Result<Option<Revocation>, Unavailable> {
        self.read(move |reading| reading.get(id, now)).await
    }

    /// Some of them, in the order of their creation. With [`usize::MAX`] as the limit, as many as one look allows.
    pub async fn page(&self, query: Query, now: UnixTime) -> Result<Page, Unavailable> {
        self.read(move |reading| reading.page(&query, now)).await
    }

    /// Where a feed had been read to when the last batch with a position was written.
    pub async fn position(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(Reading::position).await
    }

    /// What is kept of those ids, for a feed: how each stands and what it is; nothing of what was never heard of.
    pub async fn accounts(
        &self,
        ids: Vec<RevocationId>,
        now: UnixTime,
    ) -> Result<Vec<Option<Account>>, Unavailable> {
        self.read(move |reading| reading.accounts(&ids, now)).await
    }

    /// About `limit` accounts of what has not ended, revoked or restored, and where to go on; `None` at the end.
    pub async fn accounts_after(
        &self,
        cursor: Option<Cursor>,
        limit: usize,
        now: UnixTime,
    ) -> Result<(Vec<Account>, Option<Cursor>), Unavailable> {
        self.read(move |reading| reading.accounts_after(cursor, limit, now))
            .await
    }

    /// Why nothing can be written now; `None` if it can.
    pub fn fault(&self) -> Option<String> {
        self.shared.fault()
    }

    /// Has what has ended taken off the disk, when nothing else is to be written. Where the store is down, tries again.
    pub fn sweep(&self, now: UnixTime) {
        // A full queue means that there is more urgent work; another second comes.
        drop(self.jobs.try_send(Job::Sweep { now }));
    }

    /// Keeps what was asked before, then gives the file up. What comes later is [`Unavailable`].
    pub async fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        if !self.shared.is_opened.load(Ordering::Acquire) {
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Close { answer }).await.is_ok() {
            answered.await.ok();
        }
    }

    async fn ask<T>(
        &self,
        job: Job,
        answered: oneshot::Receiver<Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        if !self.shared.is_opened.load(Ordering::Acquire) {
            return Err(self.shared.unavailable());
        }
        if self.shared.is_closing() || self.jobs.send(job).await.is_err() {
            return Err(Unavailable(ENDED.to_owned()));
        }
        let answer = answered.await;
        answer.unwrap_or_else(|_| Err(self.shared.unavailable()))
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let database = shared.database.read();
            let database = database.unwrap_or_else(PoisonError::into_inner);
            let database = database.as_ref().ok_or_else(|| shared.unavailable())?;
            Reading::new(database)
                .and_then(|reading| read(&reading))
                .map_err(|fault| {
                    Unavailable(format!("the revocation store cannot be read: {fault}"))
                })
        });
        let gone = |_| {
            Err(Unavailable(
                "the revocation store cannot be read".to_owned(),
            ))
        };
        task.await.unwrap_or_else(gone)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
