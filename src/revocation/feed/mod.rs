//! The fleet's feed: a Redis or Valkey in which every change of every gateway stands in order.
//!
//! Owns the fleet's side of a revocation. A write is made in Redis first, by a script that numbers it and puts it into a
//! hash (the state) and a stream (the changes) in one step, then into this gateway's own journal and set, and only then
//! answered. A follower takes what others change out of the stream into the same journal and set. The gate never asks Redis.
//!
//! The copies only converge: what one account of an entry adds to another is joined to it ([`Standing`]), in Redis and in
//! each journal. So an entry leaves by its end or by a restore, never because Redis lost it; and a gateway that finds
//! Redis without something that it holds tells it. Knows nothing of HTTP.
//!
//! [`Standing`]: super::standing::Standing

mod follower;
mod health;
mod place;
mod reconciler;
mod script;
mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::health::Health;
use self::script::Scripts;
use self::session::{Fault, Session};
use super::change::{Account, Change, Outcome, RevocationId, Revoked};
use super::entry::{NewRevocation, Revocation};
use super::journal::{Batch, Journal};
use super::set::RevocationSet;
use super::store::Unavailable;
use crate::config::{OnStale, Redis};
use crate::time::{Clock, UnixTime};

/// Changes that Redis makes in one step; it does nothing else meanwhile.
const STEP: usize = 500;

/// When a copy is too old to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    pub on_stale: OnStale,
    pub max_stale: Duration,
}

/// What the tasks and the callers share.
#[derive(Debug)]
struct Shared {
    settings: Redis,
    scripts: Scripts,
    journal: Journal,
    set: Arc<RevocationSet>,
    clock: Clock,
    /// `None` while Redis is away.
    session: ArcSwapOption<Session>,
    health: Health,
    /// Given when the journal is open and loaded.
    begin: Notify,
}

/// The feed.
#[derive(Debug)]
pub(super) struct Feed {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

impl Drop for Feed {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Feed {
    /// Will follow into that journal, and the set that it is loaded into. The set is stale until there is a copy, and
    /// Redis was asked once.
    pub(super) fn start(
        settings: Redis,
        staleness: Staleness,
        journal: Journal,
        set: Arc<RevocationSet>,
        clock: Clock,
    ) -> Self {
        let shared = Arc::new(Shared {
            scripts: Scripts::new(&settings.prefix),
            settings,
            journal,
            set,
            clock,
            session: ArcSwapOption::empty(),
            health: Health::new(staleness),
            begin: Notify::new(),
        });
        let judge = tokio::spawn(Arc::clone(&shared).judge_forever());
        let follow = tokio::spawn(Arc::clone(&shared).follow_forever());
        Self {
            shared,
            tasks: [judge.abort_handle(), follow.abort_handle()],
        }
    }

    /// The journal is open and loaded.
    pub(super) fn begin(&self) {
        self.shared.begin.notify_one();
    }

    /// This gateway's own copy.
    pub(super) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Whether revocations are in force here as far as they can be.
    pub(super) fn is_loaded(&self) -> bool {
        self.shared.health.is_loaded()
    }

    /// Why nothing can be written now; `None` if it can.
    pub(super) fn fault(&self) -> Option<String> {
        let journal = self.shared.journal.fault();
        let name = |fault| format!("the Redis of the revocations cannot be used: {fault}");
        journal.or_else(|| self.shared.health.fault().map(name))
    }

    /// How old what is in force here may be.
    pub(super) fn lag(&self) -> Duration {
        self.shared.health.lag()
    }

    /// Makes changes in Redis, then here. Those of one step of Redis are made as a whole or not at all.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Unavailable> {
        let shared = &self.shared;
        let session = shared.session.load_full();
        let session = session.ok_or_else(|| shared.health.unavailable())?;
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut waiting = Asked::default();
        for change in changes {
            match change {
                Change::Revoke { new, at } => {
                    if !waiting.restores.is_empty() || waiting.revocations.len() == STEP {
                        outcomes.extend(shared.make(&session, std::mem::take(&mut waiting)).await?);
                    }
                    waiting.revocations.push((new, at));
                }
                Change::Restore { id, at, .. } => {
                    if !waiting.revocations.is_empty() || waiting.restores.len() == STEP {
                        outcomes.extend(shared.make(&session, std::mem::take(&mut waiting)).await?);
                    }
                    waiting.restores.push((id, at));
                }
                // Accounts come out of the stream, and do not go into it this way.
                Change::Settle { .. } => {}
            }
        }
        outcomes.extend(shared.make(&session, waiting).await?);
        Ok(outcomes)
    }
}

/// Changes of one kind, for one step.
#[derive(Default)]
struct Asked {
    revocations: Vec<(NewRevocation, UnixTime)>,
    restores: Vec<(RevocationId, UnixTime)>,
}

impl Shared {
    async fn make(&self, session: &Session, asked: Asked) -> Result<Vec<Outcome>, Unavailable> {
        let mut outcomes = self.revoke(session, asked.revocations).await?;
        outcomes.extend(self.restore(session, asked.restores).await?);
        Ok(outcomes)
    }

    async fn revoke(
        &self,
        session: &Session,
        wanted: Vec<(NewRevocation, UnixTime)>,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let Some((_, now)) = wanted.first() else {
            return Ok(Vec::new());
        };
        let ids: Vec<_> = wanted
            .iter()
            .map(|(new, _)| RevocationId::of(new))
            .collect();
        let known = self.known(&ids).await?;
        let lines = wanted
            .iter()
            .zip(&ids)
            .zip(known)
            .map(|(((new, at), id), known)| (id.to_string(), known, wire::line_of_new(new, *at)));
        let lines: Vec<_> = lines.collect();
        let answers = session.revoke(&self.scripts, &lines, *now).await;
        let answers = answers.map_err(|fault| refused(&fault))?;
        let read = |(id, (is_new, line)): (&RevocationId, (bool, String))| {
            Some((is_new, wire::read(&id.to_string(), &line)?))
        };
        let made: Option<Vec<_>> = ids.iter().zip(answers).map(read).collect();
        let made = made.ok_or_else(|| Unavailable("Redis gave a strange answer".to_owned()))?;
        self.settle(
            made.iter().map(|(_, account)| account.clone()).collect(),
            *now,
            None,
        )
        .await?;
        let outcome = |(is_new, account): (bool, Account)| {
            let revocation = account.revocation?;
            Some(Outcome::Revoked(Revoked { revocation, is_new }))
        };
        Ok(made.into_iter().filter_map(outcome).collect())
    }

    async fn restore(
        &self,
        session: &Session,
        wanted: Vec<(RevocationId, UnixTime)>,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let Some((_, now)) = wanted.first() else {
            return Ok(Vec::new());
        };
        let ids: Vec<_> = wanted.iter().map(|(id, _)| *id).collect();
        let known = self.known(&ids).await?;
        let lines: Vec<_> = ids.iter().map(ToString::to_string).zip(known).collect();
        let answers = session.restore(&self.scripts, &lines, *now).await;
        let answers = answers.map_err(|fault| refused(&fault))?;
        let read = |(id, line): (&RevocationId, Option<String>)| {
            line.and_then(|line| wire::read(&id.to_string(), &line))
        };
        let made: Vec<_> = ids.iter().zip(answers).map(read).collect();
        self.settle(made.iter().flatten().cloned().collect(), *now, None)
            .await?;
        let restored =
            |account: Option<Account>| Outcome::Restored(account.and_then(|it| it.revocation));
        Ok(made.into_iter().map(restored).collect())
    }

    /// The lines of what this copy says of those ids; nothing for what it does not know.
    async fn known(&self, ids: &[RevocationId]) -> Result<Vec<String>, Unavailable> {
        let accounts = self
            .journal
            .accounts(ids.to_vec(), self.clock.now())
            .await?;
        Ok(accounts
            .iter()
            .map(|account| account.as_ref().map(wire::line_of).unwrap_or_default())
            .collect())
    }

    /// Joins accounts to this copy, durably and in force.
    async fn settle(
        &self,
        accounts: Vec<Account>,
        now: UnixTime,
        position: Option<Vec<u8>>,
    ) -> Result<(), Unavailable> {
        if accounts.is_empty() && position.is_none() {
            return Ok(());
        }
        let changes = accounts
            .into_iter()
            .map(|account| Change::Settle { account, at: now });
        let batch = Batch {
            changes: changes.collect(),
            position,
        };
        self.journal.write(batch).await.map(drop)
    }
}

fn refused(fault: &Fault) -> Unavailable {
    Unavailable(format!(
        "the Redis of the revocations did not take the change: {fault}; if it took it all the same, it will show: ask again"
    ))
}

/// The revocation of an account that refuses tokens.
fn is_live(account: &Account, now: UnixTime) -> Option<&Revocation> {
    account
        .revocation
        .as_ref()
        .filter(|_| account.standing.is_live(now))
}
