//! The one thread that writes the journal.
//!
//! Owns the order of things: everything that waits goes into one transaction, the transaction to the disk, its changes
//! into the set, and only then the answers out. After an error the file is closed, and opened anew before the next try:
//! what is in memory of a failed transaction is never trusted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, StoreFault};
use super::file::{Lock, Place};
use super::reading::Reading;
use super::tables::{self, Issuers, Writing};
use super::{Batch, ENDED, Imported, Shared};
use crate::revocation::change::{Change, Outcome, RevocationId};
use crate::revocation::set::RevocationSet;
use crate::revocation::store::Unavailable;
use crate::time::{Clock, UnixTime};

/// Batches that share a transaction.
const MOST_TOGETHER: usize = 1024;
/// Rows taken out in one transaction of a sweep: some milliseconds, for which a write may have to wait.
const SWEEP_STEP: usize = 2048;
/// Transactions of one sweep: with one sweep a second, ten million that end at once are gone in three minutes.
const SWEEP_STEPS: usize = 32;
/// After an error the file is opened anew at most so often: that reads all of it.
const RETRY: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, Unavailable>>;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Job {
    Write {
        batch: Batch,
        answer: Answer<Vec<Outcome>>,
    },
    Import {
        changes: Vec<Change>,
        answer: Answer<Imported>,
    },
    Sweep {
        now: UnixTime,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
}

pub(super) struct Writer {
    place: Place,
    set: Arc<RevocationSet>,
    clock: Clock,
    shared: Arc<Shared>,
    lock: Option<Lock>,
    issuers: Issuers,
    /// What is left of the sweep under way.
    sweep: Option<(UnixTime, usize)>,
    /// What a transaction that failed may have left behind all the same.
    doubtful: Vec<RevocationId>,
    tried_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        set: Arc<RevocationSet>,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            place,
            set,
            clock,
            shared,
            lock: None,
            issuers: Issuers::default(),
            sweep: None,
            doubtful: Vec::new(),
            tried_at: None,
        }
    }

    /// Opens, loads, then does what it is asked until nobody can ask any more.
    pub(super) fn run(
        mut self,
        wait: Duration,
        opened: oneshot::Sender<Result<(), StoreFault>>,
        mut queue: mpsc::Receiver<Job>,
    ) {
        let outcome = self.begin(wait);
        let is_open = outcome.is_ok();
        drop(opened.send(outcome));
        if !is_open {
            return;
        }
        let mut waiting = None;
        while let Some(job) = waiting.take().or_else(|| self.next(&mut queue)) {
            match job {
                Job::Write { batch, answer } => {
                    waiting = self.write_together(batch, answer, &mut queue);
                }
                Job::Import { changes, answer } => drop(answer.send(self.import(&changes))),
                Job::Sweep { now } => self.begin_sweep(now),
                Job::Close { answer } => {
                    queue.close();
                    self.end();
                    answer.send(()).ok();
                }
            }
        }
        self.end();
    }

    fn begin(&mut self, wait: Duration) -> Result<(), StoreFault> {
        let lock = self.place.lock(wait, || self.shared.is_closing())?;
        let database = self.place.open(&lock)?;
        let load = || {
            let reading = Reading::new(&database)?;
            let loaded = reading.load(self.set.loader(), self.clock.now())?;
            Ok((reading.issuers()?, loaded))
        };
        let begun = Instant::now();
        let sort = |fault: Fault| StoreFault::of(self.place.file().to_owned(), &fault);
        let (issuers, loaded) = load().map_err(sort)?;
        tracing::info!(file = %self.place.file().display(), revocations = loaded, took = ?begun.elapsed(), "revocations loaded");
        self.issuers = issuers;
        self.lock = Some(lock);
        self.keep(Some(database));
        self.shared.set_fault(None);
        self.shared.is_opened.store(true, Ordering::Release);
        Ok(())
    }

    /// What to do next: what waits, else a step of the sweep, else what will come.
    fn next(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while self.sweep.is_some() {
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Empty) => self.sweep_step(),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
        queue.blocking_recv()
    }

    /// Writes a batch together with those that wait behind it, up to the first job of another kind, which it gives back.
    fn write_together(
        &mut self,
        batch: Batch,
        answer: Answer<Vec<Outcome>>,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Option<Job> {
        let mut batches = vec![batch];
        let mut answers = vec![answer];
        let mut other = None;
        while batches.len() < MOST_TOGETHER {
            match queue.try_recv() {
                Ok(Job::Write { batch, answer }) => {
                    batches.push(batch);
                    answers.push(answer);
                }
                Ok(job) => {
                    other = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.commit(&batches) {
            Ok(outcomes) => {
                for (answer, outcomes) in answers.into_iter().zip(outcomes) {
                    drop(answer.send(Ok(outcomes)));
                }
            }
            Err(why) => {
                for answer in answers {
                    drop(answer.send(Err(why.clone())));
                }
            }
        }
        other
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Vec<Outcome>>, Unavailable> {
        let outcomes = self.transact(|writing| {
            let outcomes = batches.iter().map(|batch| {
                let outcomes = batch.changes.iter().map(|change| writing.apply(change));
                let outcomes = outcomes.collect::<Result<Vec<_>, Fault>>()?;
                if let Some(position) = &batch.position {
                    writing.set_position(position)?;
                }
                Ok(outcomes)
            });
            outcomes.collect::<Result<Vec<_>, Fault>>()
        });
        match outcomes {
            Ok(outcomes) => {
                for outcome in outcomes.iter().flatten() {
                    self.set.enforce(outcome);
                }
                Ok(outcomes)
            }
            Err(why) => {
                self.doubt(batches.iter().flat_map(|batch| &batch.changes));
                Err(why)
            }
        }
    }

    fn import(&mut self, changes: &[Change]) -> Result<Imported, Unavailable> {
        let imported = self.transact(|writing| writing.put_all(changes));
        match imported {
            Ok(imported) => {
                let mut loader = self.set.loader();
                for change in changes {
                    if let Change::Revoke { new, .. } = change {
                        loader.add(new.target(), new.ends_at());
                    }
                }
                loader.finish();
                Ok(imported)
            }
            Err(why) => {
                self.doubt(changes);
                Err(why)
            }
        }
    }

    fn begin_sweep(&mut self, now: UnixTime) {
        self.sweep = Some((now, SWEEP_STEPS));
        if self.shared.fault().is_some() {
            // Down: whether it can be written again shows by writing.
            drop(self.transact(|_| Ok(())));
        }
    }

    fn sweep_step(&mut self) {
        let Some((now, steps)) = self.sweep.take() else {
            return;
        };
        let is_due = |reading: &Reading| reading.has_ended(now);
        let is_due = self.with_reading(is_due).unwrap_or(false);
        if !is_due || steps == 0 {
            return;
        }
        let removed = self.transact(|writing| writing.remove_ended(now, SWEEP_STEP));
        if removed.is_ok_and(|removed| removed == SWEEP_STEP) {
            self.sweep = Some((now, steps - 1));
        }
    }

    /// Runs one durable transaction; nothing of it is kept unless it is `Ok`.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, Fault>,
    ) -> Result<T, Unavailable> {
        self.see_to_open()?;
        let shared = Arc::clone(&self.shared);
        let database = shared.database.read();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        let Some(open) = database.as_ref() else {
            return Err(shared.unavailable());
        };
        let outcome = tables::transact(open, &mut self.issuers, work);
        drop(database);
        match outcome {
            Ok(done) => {
                if shared.fault().is_some() {
                    shared.set_fault(None);
                    tracing::info!("the revocation store can be written again");
                }
                Ok(done)
            }
            Err(fault) => Err(self.fail(&fault.to_string())),
        }
    }

    fn with_reading<T>(&self, read: impl FnOnce(&Reading) -> Result<T, Fault>) -> Option<T> {
        let database = self.shared.database.read();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        let reading = Reading::new(database.as_ref()?);
        reading.and_then(|reading| read(&reading)).ok()
    }

    /// Opens the file anew after an error, but not too often.
    fn see_to_open(&mut self) -> Result<(), Unavailable> {
        let is_open = self
            .shared
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if is_open {
            return Ok(());
        }
        let Some(lock) = &self.lock else {
            return Err(Unavailable(ENDED.to_owned()));
        };
        if self.tried_at.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Err(self.shared.unavailable());
        }
        self.tried_at = Some(Instant::now());
        let database = self.place.open(lock);
        let database = database.map_err(|fault| self.fail(&fault.to_string()))?;
        let issuers = Reading::new(&database).and_then(|reading| {
            for id in self.doubtful.drain(..) {
                // It was answered as not kept and is there all the same: then it is in force, here as after a restart.
                if let Some(revocation) = reading.get(id, self.clock.now())? {
                    self.set.put(&revocation);
                }
            }
            reading.issuers()
        });
        self.issuers = issuers.map_err(|fault| self.fail(&fault.to_string()))?;
        self.keep(Some(database));
        Ok(())
    }

    fn doubt<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        let ids = changes.into_iter().map(|change| match change {
            Change::Revoke { new, .. } => RevocationId::of(new),
            Change::Restore { id, .. } => *id,
            Change::Settle { account, .. } => account.id,
        });
        self.doubtful.extend(ids);
    }

    fn fail(&mut self, why: &str) -> Unavailable {
        let why = format!(
            "the revocation store {} cannot be written: {why}",
            self.place.file().display()
        );
        if self.shared.fault().as_ref() != Some(&why) {
            tracing::error!(
                why,
                "revocations cannot be stored; those in force stay in force"
            );
        }
        self.keep(None);
        self.tried_at = Some(Instant::now());
        self.shared.set_fault(Some(why.clone()));
        Unavailable(why)
    }

    fn end(&mut self) {
        self.sweep = None;
        if self.lock.is_some() {
            self.shared.set_fault(Some(ENDED.to_owned()));
            self.keep(None);
            self.lock = None;
            tracing::info!(file = %self.place.file().display(), "revocation store closed");
        }
    }

    /// Exchanges the open file; the one before is closed.
    fn keep(&self, database: Option<redb::Database>) {
        let slot = self.shared.database.write();
        let before =
            std::mem::replace(&mut *slot.unwrap_or_else(PoisonError::into_inner), database);
        if let Some(before) = before
            && let Err(error) = before.close()
        {
            tracing::warn!(%error, "the revocation store could not be closed in order; its next opening checks it");
        }
    }
}
