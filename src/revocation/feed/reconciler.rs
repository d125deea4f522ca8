//! Brings a copy and Redis together where the stream does not: at first, and after either has lost something.
//!
//! Owns the reading of the whole state and the telling of what Redis lacks. Both may be interrupted at any moment and
//! begin again; both may run on several gateways at once.

use tokio::sync::watch;

use super::follower::{Follower, read_all};
use super::place::{Kept, Place};
use super::session::{Fault, Session};
use super::{STEP, Shared, wire};
use crate::revocation::change::{Account, RevocationId};
use crate::revocation::store::Unavailable;

/// What Redis and this copy lack of each other.
struct Difference {
    /// What is new here.
    news: Vec<Account>,
    /// What is new there: id and line.
    unknown: Vec<(String, String)>,
}

impl Follower<'_> {
    /// Takes over the whole state, and says from where the stream goes on.
    pub(super) async fn read_all(&mut self) -> Result<Place, Fault> {
        let (shared, session) = (self.shared, self.session);
        tracing::info!(
            "reading all revocations from Redis: its stream does not go on where this copy ends"
        );
        // Changes during the reading come in the stream, too.
        let (tail, _) = session
            .changes_after(&shared.scripts, &Place::nowhere())
            .await?;
        self.readings.send_modify(|readings| *readings += 1);
        shared.forget_place().await?;
        let mut cursor = 0;
        loop {
            let scanned = session.scan(&shared.scripts, cursor).await?;
            let difference = shared.compare(&entries_of(scanned.entries)).await?;
            for lines in difference.unknown.chunks(STEP) {
                session
                    .publish(&shared.scripts, lines, shared.clock.now())
                    .await?;
            }
            self.settle(difference.news).await?;
            cursor = scanned.cursor;
            if cursor == 0 {
                return Ok(tail);
            }
        }
    }
}

impl Shared {
    /// After each reading of the whole state, tells Redis what is here and not there. Never ends well.
    pub(super) async fn publish_forever(
        &self,
        session: &Session,
        mut readings: watch::Receiver<u64>,
        published: watch::Sender<u64>,
    ) -> Fault {
        loop {
            if readings.changed().await.is_err() {
                return std::future::pending().await;
            }
            let reading = *readings.borrow_and_update();
            match self.publish_all(session).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(
                    count,
                    "Redis lacked revocations or restores that are held here, and was told"
                ),
                Err(fault) => return fault,
            }
            published.send_replace(reading);
        }
    }

    async fn publish_all(&self, session: &Session) -> Result<u64, Fault> {
        let mut told = 0;
        let mut cursor = None;
        loop {
            let (accounts, next) = self
                .journal
                .accounts_after(cursor, STEP, self.clock.now())
                .await
                .map_err(|why| unkept(&why))?;
            let ids = accounts.iter().map(|account| account.id.to_string());
            let missing = session.missing(&self.scripts, ids).await?;
            let is_missing = |account: &&Account| missing.contains(&account.id.to_string());
            let lines: Vec<_> = accounts
                .iter()
                .filter(is_missing)
                .map(|account| (account.id.to_string(), wire::line_of(account)))
                .collect();
            if !lines.is_empty() {
                told += session
                    .publish(&self.scripts, &lines, self.clock.now())
                    .await?;
            }
            if next.is_none() {
                return Ok(told);
            }
            cursor = next;
        }
    }

    /// What of these accounts is new here.
    pub(super) async fn news(&self, accounts: &[Account]) -> Result<Vec<Account>, Fault> {
        Ok(self.compare(accounts).await?.news)
    }

    async fn compare(&self, theirs: &[Account]) -> Result<Difference, Fault> {
        let ids: Vec<RevocationId> = theirs.iter().map(|account| account.id).collect();
        // A journal that cannot be read knows nothing.
        let ours = self.journal.accounts(ids, self.clock.now()).await;
        let ours = ours.unwrap_or_else(|_| vec![None; theirs.len()]);
        let mut difference = Difference {
            news: Vec::new(),
            unknown: Vec::new(),
        };
        for (theirs, ours) in theirs.iter().zip(ours) {
            let Some(ours) = ours else {
                difference.news.push(theirs.clone());
                continue;
            };
            let joined = ours.standing.join(theirs.standing);
            if joined != ours.standing {
                difference.news.push(theirs.clone());
            }
            if joined != theirs.standing {
                difference
                    .unknown
                    .push((ours.id.to_string(), wire::line_of(&ours)));
            }
        }
        Ok(difference)
    }

    /// From now on, until a place is kept again, this copy follows no stream.
    async fn forget_place(&self) -> Result<(), Fault> {
        let Some(kept) = self.kept().await else {
            return Ok(());
        };
        let nowhere = Kept {
            place: Place::nowhere(),
            ..kept
        };
        let written = self
            .settle(Vec::new(), self.clock.now(), Some(nowhere.write()))
            .await;
        written.map_err(|why| unkept(&why))
    }
}

fn entries_of(scanned: Vec<(String, String)>) -> Vec<Account> {
    let is_entry = |(id, _): &(String, String)| RevocationId::parse(id).is_some();
    let entries: Vec<_> = scanned.into_iter().filter(is_entry).collect();
    read_all(&entries)
}

fn unkept(why: &Unavailable) -> Fault {
    Fault(format!("this gateway's own copy cannot be used: {why}"))
}
