//! The keys of one issuer as the gate reads them, and how a request asks for newer ones.
//!
//! Owns [`IssuerKeys`]: the current snapshot, the count of fetches and the rule that at most one forced refresh starts
//! in a cooldown. Does no fetching: the refresher does, on a runtime of its own, so that a client that leaves
//! cancels nothing. Readers of the snapshot never wait; only a request whose key is unknown touches the short lock
//! inside the `watch` channel, which nobody holds across an await.

mod set;
#[cfg(test)]
mod tests;

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

pub use set::KeySet;

use super::document::SkipCounts;
use super::last_good::Owner;
use super::outcome::RefreshResult;
use crate::time::UnixTime;

/// How many fetches had begun at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchMark(pub u64);

/// The keys of one issuer.
pub struct IssuerKeys {
    owner: Owner,
    current: ArcSwap<KeySet>,
    /// How many fetches have begun.
    begun: AtomicU64,
    progress: watch::Sender<Progress>,
    cooldown: Duration,
    wait: Duration,
    started: UnixTime,
    tried_once: AtomicBool,
    refreshes: [AtomicU64; RefreshResult::COUNT],
}

/// Where the refresher is.
#[derive(Clone, Copy, Debug)]
struct Progress {
    phase: Phase,
    /// The number of the last fetch that ended, well or not.
    completed: FetchMark,
    /// Before this no further refresh may be forced.
    next_forced: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between fetches.
    Idle,
    /// A forced refresh is about to begin.
    Asked,
    /// A fetch is under way.
    Fetching,
    /// Nobody fetches: there is nothing to fetch, or the refresher is gone.
    Stopped,
}

/// What metrics, readiness and the status page tell of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysStatus {
    /// Whether a first fetch has ended, well or not.
    pub tried_once: bool,
    /// Whether tokens can be verified now.
    pub usable: bool,
    /// Time since the last success.
    pub age: Option<Duration>,
    /// Usable keys.
    pub keys: usize,
    /// Keys of the current document that are not used.
    pub skipped: SkipCounts,
    /// Fetches by result, in the order of [`RefreshResult::ALL`].
    pub refreshes: [(RefreshResult, u64); RefreshResult::COUNT],
    /// Time since the keys were set up: what stands for `age` until the first success.
    pub since_start: Duration,
}

impl IssuerKeys {
    /// Keys that nobody has fetched yet.
    pub(super) fn new(owner: Owner, cooldown: Duration, wait: Duration, now: UnixTime) -> Self {
        let idle = Progress {
            phase: Phase::Idle,
            completed: FetchMark(0),
            next_forced: None,
        };
        Self {
            owner,
            current: ArcSwap::default(),
            begun: AtomicU64::new(0),
            progress: watch::Sender::new(idle),
            cooldown,
            wait,
            started: now,
            tried_once: AtomicBool::new(false),
            refreshes: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The keys as they are now; wait-free.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.current.load()
    }

    /// Marks this moment among the fetches.
    pub fn mark(&self) -> FetchMark {
        FetchMark(self.begun.load(Ordering::SeqCst))
    }

    /// What the keys are for and where they come from.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Asks for a forced refresh if the cooldown permits, and does not wait: a bad signature under a known key.
    pub fn suspect(&self) {
        self.ask();
    }

    /// Asks for a forced refresh if the cooldown permits, then waits at most the issuer's `wait` until a fetch completes that
    /// began after `mark`, or that was under way. Returns at once if nothing is under way and nothing is permitted.
    pub async fn refreshed(&self, mark: FetchMark) {
        // Outlasting `wait` is an answer like any other: the caller looks at the snapshot either way.
        drop(tokio::time::timeout(self.wait, self.settled(mark)).await);
    }

    /// What metrics and readiness tell.
    pub fn status(&self, now: UnixTime) -> KeysStatus {
        let set = self.snapshot();
        KeysStatus {
            tried_once: self.tried_once.load(Ordering::Relaxed),
            usable: set.is_usable(now),
            age: set.fetched_at.map(|fetched_at| now.since(fetched_at)),
            keys: set.all().len(),
            skipped: set.skipped(),
            refreshes: array::from_fn(|place| self.count_at(place)),
            since_start: now.since(self.started),
        }
    }

    fn count_at(&self, place: usize) -> (RefreshResult, u64) {
        let result = RefreshResult::ALL.get(place).copied();
        let count = self.refreshes.get(place);
        (
            result.unwrap_or(RefreshResult::Success),
            count.map_or(0, |count| count.load(Ordering::Relaxed)),
        )
    }

    async fn settled(&self, mark: FetchMark) {
        let mut progress = self.progress.subscribe();
        loop {
            let seen = *progress.borrow_and_update();
            let under_way = match seen.phase {
                Phase::Stopped => return,
                Phase::Idle if seen.completed > mark => return,
                Phase::Idle => self.ask(),
                Phase::Asked | Phase::Fetching => true,
            };
            if !under_way || progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks for a forced refresh where the cooldown permits; says whether one is now to come or under way.
    fn ask(&self) -> bool {
        let now = Instant::now();
        let mut under_way = false;
        self.progress.send_if_modified(|progress| {
            let permitted = progress.next_forced.is_none_or(|next| next <= now);
            let granted = permitted && progress.phase == Phase::Idle;
            if granted {
                progress.phase = Phase::Asked;
            }
            under_way = matches!(progress.phase, Phase::Asked | Phase::Fetching);
            granted
        });
        under_way
    }

    /// Notes that a fetch begins, before its first byte is sent, and gives its number.
    pub(super) fn begin(&self) -> FetchMark {
        let number = FetchMark(self.begun.fetch_add(1, Ordering::SeqCst) + 1);
        let next_forced = Instant::now() + self.cooldown;
        self.progress.send_modify(|progress| {
            if progress.phase == Phase::Asked {
                progress.next_forced = Some(next_forced);
            }
            progress.phase = Phase::Fetching;
        });
        number
    }

    /// Replaces the keys. To be called before [`Self::complete`], so that whoever waited sees them.
    pub(super) fn publish(&self, set: KeySet) {
        self.current.store(Arc::new(set));
    }

    /// Notes that a fetch ended.
    pub(super) fn complete(&self, number: FetchMark, result: Option<RefreshResult>) {
        let count = result.and_then(|result| self.refreshes.get(result as usize));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.tried_once.store(true, Ordering::Relaxed);
        self.progress.send_modify(|progress| {
            progress.phase = Phase::Idle;
            progress.completed = number;
        });
    }

    /// Notes that there is nothing to try: a secret is there from the start.
    pub(super) fn settle_for_good(&self) {
        self.tried_once.store(true, Ordering::Relaxed);
        self.stop();
    }

    /// Lets nobody wait for fetches that will not come.
    pub(super) fn stop(&self) {
        self.progress
            .send_modify(|progress| progress.phase = Phase::Stopped);
    }

    /// Sleeps for `pause`, or until a forced refresh is asked for.
    pub(super) async fn asked_within(&self, pause: Duration) {
        let mut progress = self.progress.subscribe();
        let asked = progress.wait_for(|progress| progress.phase == Phase::Asked);
        drop(tokio::time::timeout(pause, asked).await);
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuerKeys")
            .field("keys", &self.snapshot().all().len())
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}
