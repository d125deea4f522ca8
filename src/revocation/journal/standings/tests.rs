use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::revocation::change::Change;
use crate::revocation::entry::Subject;
use crate::revocation::journal::{Batch, Journal};
use crate::revocation::ledger::Query;
use crate::revocation::set::RevocationSet;
use crate::revocation::standing::from_millis;
use crate::time::Clock;

const NOW: UnixTime = UnixTime::from_seconds(1_000);

fn revocation(name: &str, ends_at: UnixTime) -> Revocation {
    let new = NewRevocation {
        issuer: "https://id.example.com/".into(),
        what: Subject::Jti(name.into()),
        expires_at: (ends_at != UnixTime::MAX).then_some(ends_at),
        reason: None,
    };
    Revocation {
        id: RevocationId::of(&new).to_string(),
        issuer: new.issuer,
        what: new.what,
        expires_at: new.expires_at,
        created_at: NOW,
        reason: None,
    }
}

fn account(name: &str, standing: Standing) -> Account {
    let revocation = revocation(name, standing.ends_at);
    Account {
        id: RevocationId::parse(&revocation.id).unwrap(),
        standing,
        revocation: standing.is_revoked().then_some(revocation),
    }
}

struct Copy {
    journal: Journal,
    set: Arc<RevocationSet>,
    _folder: tempfile::TempDir,
}

impl Copy {
    async fn new() -> Self {
        let (set, folder) = (Arc::new(RevocationSet::new()), tempfile::tempdir().unwrap());
        let clock = Clock::from_fn(|| NOW);
        let (journal, opening) =
            Journal::start(folder.path(), Duration::ZERO, Arc::clone(&set), clock);
        opening.wait().await.unwrap();
        Self {
            journal,
            set,
            _folder: folder,
        }
    }

    async fn change(&self, changes: Vec<Change>) {
        let position = None;
        self.journal
            .write(Batch { changes, position })
            .await
            .unwrap();
    }

    async fn settle(&self, account: Account) {
        self.change(vec![Change::Settle { account, at: NOW }]).await;
    }

    async fn standing(&self, name: &str) -> Option<Standing> {
        self.standing_at(name, NOW).await
    }

    async fn standing_at(&self, name: &str, now: UnixTime) -> Option<Standing> {
        let id = account(name, Standing::unnumbered(UnixTime::MAX)).id;
        let found = self.journal.accounts(vec![id], now).await.unwrap();
        found[0].as_ref().map(|account| account.standing)
    }

    async fn listed(&self) -> usize {
        let query = Query {
            kind: None,
            wants_issuer: Box::new(|_| true),
            cursor: None,
            limit: 100,
        };
        self.journal
            .page(query, NOW)
            .await
            .unwrap()
            .revocations
            .len()
    }

    async fn walk(&self) -> Vec<Account> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (accounts, next) = self.journal.accounts_after(cursor, 2, NOW).await.unwrap();
            all.extend(accounts);
            if next.is_none() {
                return all;
            }
            cursor = next;
        }
    }
}

fn standing(revoked: u64, restored: u64, seconds: i64) -> Standing {
    Standing {
        revoked,
        restored,
        ends_at: from_millis(seconds * 1_000),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever accounts come, and in which order: what is kept is their join, and what is in force and listed agrees.
    #[test]
    fn what_is_kept_is_the_join_of_all_accounts(
        accounts in proptest::collection::vec((0..4_u64, 0..4_u64, 999..1_003_i64), 1..12),
    ) {
        block_on(async {
            let copy = Copy::new().await;
            let mut expected: Option<Standing> = None;
            for (revoked, restored, end) in accounts {
                let told = standing(revoked, restored, end);
                copy.settle(account("a", told)).await;
                // What ended unrestored counts as it was: the journal may have dropped it already.
                expected = Some(expected.map_or(told, |before| before.join(told)));
                let is_live = expected.unwrap().is_live(NOW);
                assert_eq!(copy.set.len(), usize::from(is_live), "{expected:?}");
                assert_eq!(copy.listed().await, usize::from(is_live));
                assert_eq!(copy.standing("a").await, expected);
            }
        });
    }
}

#[tokio::test]
async fn a_revocation_that_came_by_another_way_counts_as_the_oldest() {
    let copy = Copy::new().await;
    let found = revocation("a", UnixTime::MAX);
    let new = renewed(&found, UnixTime::MAX);
    copy.change(vec![Change::Revoke { new, at: NOW }]).await;
    let unnumbered = Standing::unnumbered(UnixTime::MAX);
    assert_eq!(copy.standing("a").await, Some(unnumbered));
    // A feed knows that it was restored; somebody revokes it again without the feed.
    copy.settle(account("a", standing(7, 7, 2_000))).await;
    assert_eq!((copy.set.len(), copy.listed().await), (0, 0));
    let new = renewed(&found, from_millis(3_000_000));
    copy.change(vec![Change::Revoke { new, at: NOW }]).await;
    assert_eq!(copy.standing("a").await, Some(standing(8, 7, 3_000)));
    // And restores it without the feed.
    let id = account("a", unnumbered).id;
    copy.settle(account("a", standing(9, 7, 3_000))).await;
    copy.change(vec![Change::Restore { id, at: NOW }]).await;
    assert_eq!(copy.standing("a").await, Some(standing(9, 9, 3_000)));
}

#[tokio::test]
async fn a_walk_comes_by_everything_that_has_not_ended() {
    let copy = Copy::new().await;
    for number in 0..5 {
        copy.settle(account(&format!("live-{number}"), standing(5, 0, 2_000)))
            .await;
        copy.settle(account(
            &format!("restored-{number}"),
            standing(5, 5, 2_000),
        ))
        .await;
        copy.settle(account(&format!("ended-{number}"), standing(5, 0, 999)))
            .await;
    }
    let all = copy.walk().await;
    let live = all
        .iter()
        .filter(|account| account.revocation.is_some())
        .count();
    assert_eq!((live, all.len()), (5, 10));
}

#[tokio::test]
async fn a_standing_outlives_its_entry_by_as_much_as_clocks_may_differ() {
    let copy = Copy::new().await;
    copy.settle(account("a", standing(5, 0, 1_001))).await;
    copy.journal.sweep(from_millis(1_001_000));
    while copy.listed().await > 0 {
        tokio::task::yield_now().await;
    }
    // By a clock that is behind it has not ended: then it is as if nothing were known, and never as if it were restored.
    assert_eq!(copy.standing("a").await, None);
    let later = from_millis(1_001_000);
    let kept = Some(standing(5, 0, 1_001));
    assert_eq!(copy.standing_at("a", later).await, kept);
    copy.settle(account("a", standing(5, 0, 1_001))).await;
    assert_eq!(copy.listed().await, 1);
    copy.journal.sweep(later.plus(GRACE));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while copy.standing_at("a", later).await.is_some() {
        assert!(std::time::Instant::now() < deadline, "never forgotten");
        tokio::task::yield_now().await;
    }
}
