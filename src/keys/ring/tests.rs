use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

const COOLDOWN: Duration = Duration::from_mins(1);

fn keys(cooldown: Duration, wait: Duration) -> IssuerKeys {
    IssuerKeys::new(Owner::new("", ""), cooldown, wait, UnixTime::default())
}

/// Whether the future is done when polled once.
fn is_ready<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(future.poll(&mut context), Poll::Ready(_))
}

fn fetched_at(began: i64, number: u64) -> KeySet {
    KeySet {
        fetch_number: FetchMark(number),
        fetch_began: UnixTime::from_seconds(began),
        ..KeySet::default()
    }
}

#[test]
fn absence_is_proved_by_a_later_fetch_or_by_an_older_token() {
    let set = fetched_at(1000, 3);
    let leeway = Duration::from_secs(30);
    let issued = |seconds| Some(UnixTime::from_seconds(seconds));
    assert!(set.proves_absence(FetchMark(2), None, leeway));
    assert!(!set.proves_absence(FetchMark(3), None, leeway));
    assert!(set.proves_absence(FetchMark(3), issued(969), leeway));
    assert!(!set.proves_absence(FetchMark(3), issued(970), leeway));
    assert!(!KeySet::default().proves_absence(FetchMark(0), issued(0), leeway));
}

#[tokio::test]
async fn a_request_waits_for_the_fetch_that_it_asked_for() {
    let keys = keys(COOLDOWN, COOLDOWN);
    let mut waiting = pin!(keys.refreshed(keys.mark()));
    assert!(!is_ready(waiting.as_mut()));
    keys.asked_within(COOLDOWN).await;
    let number = keys.begin();
    assert!(!is_ready(waiting.as_mut()));
    keys.complete(number, Some(RefreshResult::Success));
    assert!(is_ready(waiting.as_mut()));
}

#[tokio::test]
async fn within_the_cooldown_a_request_does_not_wait() {
    let keys = keys(COOLDOWN, COOLDOWN);
    keys.suspect();
    let number = keys.begin();
    keys.complete(number, Some(RefreshResult::Status));
    let mut late = pin!(keys.refreshed(keys.mark()));
    assert!(is_ready(late.as_mut()));
}

#[tokio::test]
async fn a_background_fetch_does_not_use_up_the_forced_one() {
    let keys = keys(COOLDOWN, COOLDOWN);
    let number = keys.begin();
    let mut waiting = pin!(keys.refreshed(keys.mark()));
    assert!(!is_ready(waiting.as_mut()));
    keys.complete(number, Some(RefreshResult::Success));
    assert!(
        !is_ready(waiting.as_mut()),
        "that one began before the request"
    );
    let number = keys.begin();
    keys.complete(number, Some(RefreshResult::Success));
    assert!(is_ready(waiting.as_mut()));
    let next = keys.progress.borrow().next_forced;
    assert!(next.is_some(), "the second one was forced");
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_may() {
    let keys = keys(COOLDOWN, Duration::from_millis(20));
    keys.refreshed(keys.mark()).await;
    assert_eq!(
        keys.progress.borrow().phase,
        Phase::Asked,
        "the refresh is still wanted"
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_nothing_with_it() {
    let keys = keys(COOLDOWN, COOLDOWN);
    {
        let mut waiting = pin!(keys.refreshed(keys.mark()));
        assert!(!is_ready(waiting.as_mut()));
    }
    keys.asked_within(COOLDOWN).await;
    assert_eq!(keys.progress.borrow().phase, Phase::Asked);
}

#[tokio::test]
async fn nobody_waits_for_a_refresher_that_is_gone() {
    let keys = keys(COOLDOWN, COOLDOWN);
    let mut waiting = pin!(keys.refreshed(keys.mark()));
    assert!(!is_ready(waiting.as_mut()));
    keys.stop();
    assert!(is_ready(waiting.as_mut()));
    let mut late = pin!(keys.refreshed(keys.mark()));
    assert!(is_ready(late.as_mut()));
}
