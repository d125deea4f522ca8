//! How the feed does: whether Redis is there, how old this gateway's copy is, and whether the gate may trust it.
//!
//! Owns the rule of `on_stale`. Knows nothing of how Redis is asked.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Staleness;
use crate::config::OnStale;
use crate::revocation::store::Unavailable;

/// At a start with a copy, Redis may take so long to be asked once; then the copy has to do.
const FIRST_TRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Health {
    staleness: Staleness,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Why Redis cannot be used now; `None` if it can.
    fault: Option<String>,
    /// When it was last known that nothing was missing; `None` if that is not known of any moment.
    whole_at: Option<Instant>,
    /// Whether this gateway has ever had the whole state.
    has_copy: bool,
    /// Whether Redis has been asked once, well or badly.
    is_tried: bool,
}

impl Health {
    pub(super) fn new(staleness: Staleness) -> Self {
        Self {
            staleness,
            started: Instant::now(),
            inner: Mutex::new(Inner {
                fault: Some("it was not asked yet".to_owned()),
                whole_at: None,
                has_copy: false,
                is_tried: false,
            }),
        }
    }

    /// Whether revocations are in force here as far as they can be.
    pub(super) fn is_loaded(&self) -> bool {
        let inner = self.lock();
        inner.has_copy && self.is_tried(&inner)
    }

    /// Why Redis cannot be used now; `None` if it can.
    pub(super) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// How old this copy may be.
    pub(super) fn lag(&self) -> Duration {
        self.lock().whole_at.unwrap_or(self.started).elapsed()
    }

    /// Whether the gate must not decide by this copy.
    pub(super) fn is_stale(&self) -> bool {
        let inner = self.lock();
        let is_too_old = || {
            let age = inner.whole_at.map(|at| at.elapsed());
            self.staleness.on_stale == OnStale::Refuse
                && age.is_none_or(|age| age > self.staleness.max_stale)
        };
        !inner.has_copy || !self.is_tried(&inner) || is_too_old()
    }

    pub(super) const fn staleness(&self) -> Staleness {
        self.staleness
    }

    pub(super) fn unavailable(&self) -> Unavailable {
        let why = self.fault().unwrap_or_default();
        Unavailable(format!(
            "the Redis of the revocations cannot be used: {why}"
        ))
    }

    /// A copy was found that was whole so long ago.
    pub(super) fn found_copy(&self, age: Option<Duration>) {
        let mut inner = self.lock();
        inner.has_copy = true;
        inner.whole_at = age.and_then(|age| Instant::now().checked_sub(age));
    }

    /// Nothing was missing at that moment. Whether this is news: Redis was away until now.
    pub(super) fn is_whole(&self, at: Instant) -> bool {
        let mut inner = self.lock();
        inner.has_copy = true;
        inner.is_tried = true;
        inner.whole_at = Some(at);
        inner.fault.take().is_some()
    }

    /// Redis cannot be used. Whether this is news: it could until now, or for another reason.
    pub(super) fn is_away(&self, why: String) -> bool {
        let mut inner = self.lock();
        inner.is_tried = true;
        let is_news = inner.fault.as_ref() != Some(&why);
        inner.fault = Some(why);
        is_news
    }

    fn is_tried(&self, inner: &Inner) -> bool {
        inner.is_tried || self.started.elapsed() > FIRST_TRY
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn health(on_stale: OnStale) -> Health {
        Health::new(Staleness {
            on_stale,
            max_stale: MINUTE,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn without_copy_and_redis_nothing_can_be_told() {
        let health = health(OnStale::Serve);
        health.is_away("refused".to_owned());
        advance(10 * MINUTE).await;
        assert!(health.is_stale() && !health.is_loaded());
        assert_eq!(health.lag(), 10 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_has_to_do_once_redis_was_asked_or_takes_too_long() {
        let health = health(OnStale::Serve);
        health.found_copy(None);
        assert!(health.is_stale(), "Redis may know more");
        advance(FIRST_TRY + Duration::from_millis(1)).await;
        assert!(!health.is_stale());
        let health = self::health(OnStale::Serve);
        health.found_copy(None);
        health.is_away("refused".to_owned());
        assert!(!health.is_stale() && health.is_loaded());
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_copy_is_trusted_or_not_as_configured() {
        for (on_stale, refuses) in [(OnStale::Serve, false), (OnStale::Refuse, true)] {
            let health = health(on_stale);
            assert!(health.is_whole(Instant::now()));
            health.is_away("refused".to_owned());
            advance(MINUTE).await;
            assert!(!health.is_stale(), "{on_stale:?}");
            advance(Duration::from_millis(1)).await;
            assert_eq!(health.is_stale(), refuses, "{on_stale:?}");
            assert!(health.is_whole(Instant::now()));
            assert!(!health.is_stale());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_does_not_make_an_old_copy_young() {
        let health = health(OnStale::Refuse);
        health.is_away("refused".to_owned());
        health.found_copy(Some(MINUTE / 2));
        assert!(!health.is_stale());
        advance(MINUTE).await;
        assert!(health.is_stale());
        health.found_copy(None);
        assert!(health.is_stale(), "of unknown age");
    }

    #[test]
    fn the_same_news_twice_is_no_news() {
        let health = health(OnStale::Serve);
        assert!(health.is_away("refused".to_owned()));
        assert!(!health.is_away("refused".to_owned()));
        assert!(health.is_away("loading".to_owned()));
        assert!(health.is_whole(Instant::now()));
        assert!(!health.is_whole(Instant::now()));
    }
}
