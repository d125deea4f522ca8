//! Follows the stream: what others change comes into force here.
//!
//! Owns connecting again and again, the order of changes, and where this gateway is in it. Where a change is missing, the
//! whole state is read ([`super::reconciler`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep};

use super::place::{Kept, Place};
use super::session::{CHANGES, Fault, Session, StreamChange};
use super::{Shared, is_live, wire};
use crate::config::OnStale;
use crate::revocation::change::Account;
use crate::time::UnixTime;

/// Between two tries to connect: at first, and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often it is looked whether the copy has become too old.
const JUDGE: Duration = Duration::from_millis(100);
/// How often what has ended is swept out of Redis, by each gateway.
const SWEEP: Duration = Duration::from_secs(10);
/// The place may wait so long to be kept when nothing else is to be kept: who forgets it reads some changes again.
const KEEP_PLACE: Duration = Duration::from_secs(30);

/// What is kept of the place.
struct Keeping {
    at: Instant,
    is_current: bool,
    /// Whether the whole state was read since a place was kept: until one is, it would have to be read again.
    was_read: bool,
    /// Whether nothing was ever kept: a start without Redis would have no copy.
    is_first: bool,
}

/// One session's way through the stream.
pub(super) struct Follower<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: &'a Session,
    place: Place,
    /// How often the whole state was read in this session.
    pub(super) readings: watch::Sender<u64>,
    /// After which of them everything that Redis lacked was published.
    pub(super) published: watch::Sender<u64>,
    keeping: Keeping,
    /// Whether the journal failed: until it can be written again, changes are in force and not kept.
    is_unkept: bool,
}

impl Shared {
    /// Says again and again whether the gate may decide by this copy.
    pub(super) async fn judge_forever(self: Arc<Self>) {
        let mut tick = interval(JUDGE);
        loop {
            tick.tick().await;
            self.judge();
        }
    }

    /// Never ends.
    pub(super) async fn follow_forever(self: Arc<Self>) {
        self.begin.notified().await;
        self.find_copy().await;
        let (mut pause, longest) = PAUSES;
        loop {
            let began = Instant::now();
            let fault = match Session::connect(&self.settings, &self.scripts).await {
                Ok(session) => self.follow(Arc::new(session)).await,
                Err(fault) => fault,
            };
            self.session.store(None);
            let is_news = self.health.is_away(fault.0.clone());
            self.judge();
            if is_news {
                self.say_away(&fault);
            }
            if began.elapsed() > longest {
                (pause, _) = PAUSES;
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// Sees whether there is a copy from before.
    async fn find_copy(&self) {
        let Some(kept) = self.kept().await else {
            tracing::info!("no copy of the fleet's revocations is here yet; it comes from Redis");
            return;
        };
        let whole_at = UnixTime::from_micros(kept.whole_at);
        self.health
            .found_copy(Some(self.clock.now().since(whole_at)));
    }

    pub(super) async fn kept(&self) -> Option<Kept> {
        let bytes = self.journal.position().await.ok()??;
        Kept::read(&bytes)
    }

    async fn follow(&self, session: Arc<Session>) -> Fault {
        self.session.store(Some(Arc::clone(&session)));
        let kept = self.kept().await;
        let follower = Follower {
            shared: self,
            session: &session,
            keeping: Keeping {
                at: Instant::now(),
                is_current: true,
                was_read: false,
                is_first: kept.is_none(),
            },
            place: kept.map_or_else(Place::nowhere, |kept| kept.place),
            readings: watch::Sender::new(0),
            published: watch::Sender::new(0),
            is_unkept: false,
        };
        let (readings, published) = (follower.readings.subscribe(), follower.published.clone());
        tokio::select! {
            fault = follower.run() => fault,
            fault = self.publish_forever(&session, readings, published) => fault,
            fault = sweep_forever(self, &session) => fault,
            fault = session.failure() => fault,
        }
    }

    fn say_away(&self, fault: &Fault) {
        if self.health.is_stale() {
            tracing::error!(%fault, "the Redis of the revocations cannot be used, and what is known here is not enough: guarded requests are answered 503");
        } else {
            tracing::warn!(%fault, "the Redis of the revocations cannot be used; those known here stay in force, and changes are refused");
        }
    }

    /// Whether the gate may decide changes seldom, and is said each time.
    fn judge(&self) {
        let is_stale = self.health.is_stale();
        if self.set.set_stale(is_stale) == is_stale {
            return;
        }
        if is_stale {
            tracing::error!(
                "what is revoked is not known well enough: guarded requests are answered 503"
            );
        } else {
            tracing::info!("what is revoked is known: requests are decided");
        }
    }
}

async fn sweep_forever(shared: &Shared, session: &Session) -> Fault {
    loop {
        sleep(SWEEP.mul_f64(0.5 + fastrand::f64())).await;
        loop {
            match session.sweep(&shared.scripts).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => return fault,
            }
        }
    }
}

impl Follower<'_> {
    async fn run(mut self) -> Fault {
        loop {
            if let Err(fault) = self.step().await {
                return fault;
            }
        }
    }

    /// Takes over what there is, then waits for more, until for a while there is no more.
    async fn step(&mut self) -> Result<(), Fault> {
        let asked = Instant::now();
        let (tail, changes) = self
            .session
            .changes_after(&self.shared.scripts, &self.place)
            .await?;
        let is_all = changes.len() < CHANGES;
        let is_linked = self.take(changes).await? && (!is_all || self.place == tail);
        if !is_linked {
            self.place = self.read_all().await?;
            self.keeping.is_current = false;
            self.keeping.was_read = true;
            return Ok(());
        }
        if !is_all {
            return Ok(());
        }
        self.has_all(asked).await?;
        loop {
            let asked = Instant::now();
            let changes = self
                .session
                .wait_for_changes(&self.shared.scripts, &self.place)
                .await?;
            let count = changes.len();
            if count == 0 || !self.take(changes).await? {
                // Whether this is the end of the stream, or another stream, shows in the next step.
                return Ok(());
            }
            if count < CHANGES {
                self.has_all(asked).await?;
            }
        }
    }

    /// Takes changes over, as long as each follows the one before; whether all did.
    async fn take(&mut self, changes: Vec<StreamChange>) -> Result<bool, Fault> {
        let count = changes.len();
        let mut linked = Vec::with_capacity(count);
        let mut place = self.place.clone();
        for change in changes {
            if change.after != place.mark {
                break;
            }
            place = change.place;
            linked.push((change.id, change.line));
        }
        let is_linked = linked.len() == count;
        if !linked.is_empty() {
            self.place = place;
            self.keeping.is_current = false;
            let news = self.shared.news(&read_all(&linked)).await?;
            self.settle(news).await?;
        }
        Ok(is_linked)
    }

    /// Keeps what is new together with the place. Where it cannot be kept it is in force all the same.
    pub(super) async fn settle(&mut self, news: Vec<Account>) -> Result<(), Fault> {
        if news.is_empty() {
            return Ok(());
        }
        let (shared, now) = (self.shared, self.shared.clock.now());
        if !self.is_unkept {
            let position = self.position();
            let has_place = position.is_some();
            match shared.settle(news.clone(), now, position).await {
                Ok(()) => {
                    if has_place {
                        self.has_kept_place();
                    }
                    return Ok(());
                }
                Err(why) => {
                    self.is_unkept = true;
                    tracing::error!(%why, "revocations from the fleet are in force and cannot be kept");
                }
            }
        }
        // Restores wait until they can be kept.
        for revocation in news.iter().filter_map(|account| is_live(account, now)) {
            shared.set.put(revocation);
        }
        Ok(())
    }

    /// Up to that moment nothing is missing here.
    async fn has_all(&mut self, at: Instant) -> Result<(), Fault> {
        let shared = self.shared;
        if self.is_unkept {
            if shared.journal.fault().is_none() {
                // From the place that was kept, once more.
                return Err(Fault("this gateway's own copy is behind".to_owned()));
            }
            // Refuses what it should, but could not after a restart.
            shared.health.is_whole(at);
            shared
                .health
                .is_away(shared.journal.fault().unwrap_or_default());
        } else {
            self.keep_place().await;
            if shared.health.is_whole(at) {
                tracing::info!(
                    "the Redis of the revocations is there, and nothing is missing here"
                );
            }
        }
        shared.judge();
        Ok(())
    }

    /// Keeps the place from time to time, also where nothing else is to be kept.
    async fn keep_place(&mut self) {
        let staleness = self.shared.health.staleness();
        // With "serve" nobody asks how old a copy is.
        let (is_due, patience) = match staleness.on_stale {
            OnStale::Serve => (!self.keeping.is_current, KEEP_PLACE),
            OnStale::Refuse => (true, KEEP_PLACE.min(staleness.max_stale / 10)),
        };
        let is_urgent =
            self.keeping.is_first || (self.keeping.was_read && !self.keeping.is_current);
        if !is_urgent && (!is_due || self.keeping.at.elapsed() < patience) {
            return;
        }
        let position = match self.position() {
            Some(position) => position,
            // That there is a copy at all.
            None if self.keeping.is_first => {
                Kept::new(Place::nowhere(), self.shared.clock.now()).write()
            }
            None => return,
        };
        let is_place = self.is_published();
        let now = self.shared.clock.now();
        let kept = self.shared.settle(Vec::new(), now, Some(position)).await;
        if kept.is_ok() {
            self.keeping.is_first = false;
            if is_place {
                self.has_kept_place();
            }
        }
    }

    /// The place as it is kept; not before Redis has been told what it lacked of this copy, so that who is interrupted
    /// begins again.
    fn position(&self) -> Option<Vec<u8>> {
        let kept = || Kept::new(self.place.clone(), self.shared.clock.now());
        self.is_published().then(|| kept().write())
    }

    fn is_published(&self) -> bool {
        *self.published.borrow() == *self.readings.borrow()
    }

    fn has_kept_place(&mut self) {
        self.keeping.is_current = true;
        self.keeping.was_read = false;
        self.keeping.at = Instant::now();
    }
}

/// Reads lines; what is not as it should be is left out.
pub(super) fn read_all(lines: &[(String, String)]) -> Vec<Account> {
    let read = |(id, line): &(String, String)| {
        let account = wire::read(id, line);
        if account.is_none() {
            tracing::warn!(
                "an entry in the Redis of the revocations cannot be read, and is passed over: it was not written by Portcullis"
            );
        }
        account
    };
    lines.iter().filter_map(read).collect()
}
