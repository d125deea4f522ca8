use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::config::Secret;
use crate::keys::provider_stub::{Answer, ProviderStub, issuer, key_set, key_set_of};

const ISSUER: &str = "https://id.example.com";

/// A clock that stands where it is put.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(seconds: i64) -> Self {
        let hand = Self::default();
        hand.put(seconds);
        hand
    }

    fn put(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Clock::from_fn(move || UnixTime::from_seconds(hand.0.load(Ordering::Relaxed)))
    }
}

fn url_issuer(stub: &ProviderStub) -> Issuer {
    issuer(KeySource::Url(stub.url("/jwks")), ISSUER)
}

fn count(keys: &IssuerKeys, wanted: RefreshResult) -> u64 {
    let status = keys.status(UnixTime::default());
    status
        .refreshes
        .iter()
        .find(|(result, _)| *result == wanted)
        .map_or(0, |(_, count)| *count)
}

/// Waits until the condition holds, by following the fetches.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bad_answer_never_replaces_good_keys() {
    let stub = ProviderStub::start().await;
    let (mut refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
    assert!(!keys.status(UnixTime::default()).tried_once);
    stub.set("/jwks", Answer::ok(key_set("a")));
    refresher.fetch_once().await.unwrap();
    for (body, result) in [
        ("", RefreshResult::Malformed),
        ("null", RefreshResult::Malformed),
        ("<html>", RefreshResult::Malformed),
        ("[]", RefreshResult::Malformed),
        (r#"{"keys":{}}"#, RefreshResult::Malformed),
        (r#"{"keys":[]}"#, RefreshResult::NoKeys),
        (
            r#"{"keys":[null,{"kty":"oct","k":"AA"}]}"#,
            RefreshResult::NoKeys,
        ),
    ] {
        stub.set("/jwks", Answer::ok(body));
        let before = count(&keys, result);
        assert!(
            refresher
                .fetch_once()
                .await
                .unwrap_err()
                .starts_with(result.name()),
            "{body}"
        );
        assert_eq!(count(&keys, result), before + 1, "{body}");
        assert_eq!(keys.snapshot().with_kid("a").len(), 1, "{body}");
    }
    assert!(keys.status(UnixTime::default()).tried_once);
}

#[tokio::test]
async fn odd_keys_are_counted_and_cost_the_others_nothing() {
    let stub = ProviderStub::start().await;
    let good: serde_json::Value =
        serde_json::from_str(&key_set_of(&[("a", 0), ("a", 1), ("b", 1), ("beyond", 0)])).unwrap();
    let mut keys = vec![serde_json::json!({"kty": "AKP"})];
    keys.extend(good["keys"].as_array().unwrap().iter().cloned());
    stub.set(
        "/jwks",
        Answer::ok(serde_json::json!({"keys": keys}).to_string()),
    );
    let (mut refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
    refresher.fetch_once().await.unwrap();
    let set = keys.snapshot();
    assert_eq!(set.all().len(), 3);
    assert_eq!(set.with_kid("a").len(), 2);
    assert_eq!(set.with_kid("beyond").len(), 0);
    assert_eq!(set.skipped().of(crate::keys::SkipReason::UnknownKind), 1);
    assert_eq!(set.skipped().of(crate::keys::SkipReason::Limit), 1);
    assert_eq!(set.skipped().total(), 2);
}

#[tokio::test]
async fn a_key_that_stays_is_the_same_object_and_one_that_goes_is_gone() {
    let stub = ProviderStub::start().await;
    let (mut refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
    stub.set(
        "/jwks",
        Answer::ok(key_set_of(&[("a", 0), ("a", 0), ("b", 1)])),
    );
    refresher.fetch_once().await.unwrap();
    let before = keys.snapshot().all().to_vec();
    assert_eq!(before.len(), 2, "a key that is repeated is held once");
    stub.set("/jwks", Answer::ok(key_set_of(&[("c", 0), ("b", 1)])));
    refresher.fetch_once().await.unwrap();
    let set = keys.snapshot();
    assert!(Arc::ptr_eq(&set.with_kid("b")[0], &before[1]));
    assert!(set.with_kid("a").is_empty());
    assert!(set.holds(&before[1]));
    stub.set("/jwks", Answer::ok(key_set("a")));
    refresher.fetch_once().await.unwrap();
    assert!(!keys.snapshot().holds(&before[1]));
}

#[tokio::test]
async fn keys_serve_for_max_stale_after_the_last_success() {
    let stub = ProviderStub::start().await;
    let hand = Hand::at(1_000_000);
    let (mut refresher, keys) = Refresher::new(&url_issuer(&stub), None, hand.clock());
    assert!(!keys.snapshot().is_usable(hand.clock().now()));
    stub.set("/jwks", Answer::ok(key_set("a")));
    refresher.fetch_once().await.unwrap();
    stub.set("/jwks", Answer::status(500, ""));
    refresher.fetch_once().await.unwrap_err();
    let day = 24 * 60 * 60;
    for (seconds, usable) in [(0, true), (day, true), (day + 1, false)] {
        let now = UnixTime::from_seconds(1_000_000 + seconds);
        assert_eq!(keys.snapshot().is_usable(now), usable, "{seconds}");
        assert_eq!(keys.status(now).usable, usable, "{seconds}");
        assert_eq!(
            keys.status(now).age,
            Some(Duration::from_secs(seconds.unsigned_abs()))
        );
    }
}

#[tokio::test]
async fn a_restart_during_an_outage_begins_with_the_last_good_keys() {
    let directory = tempfile::tempdir().unwrap();
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    let hand = Hand::at(1_000_000);
    let issuer = url_issuer(&stub);
    let (mut refresher, _) = Refresher::new(&issuer, Some(directory.path()), hand.clock());
    refresher.refresh().await.unwrap();
    hand.put(1_000_100);
    let (_restarted, keys) = Refresher::new(&issuer, Some(directory.path()), hand.clock());
    let status = keys.status(hand.clock().now());
    assert!(status.usable && !status.tried_once);
    assert_eq!(status.age, Some(Duration::from_secs(100)));
    let leeway = Duration::from_secs(30);
    let at = |seconds| Some(UnixTime::from_seconds(seconds));
    assert!(
        keys.snapshot()
            .proves_absence(keys.mark(), at(999_969), leeway)
    );
    assert!(
        !keys
            .snapshot()
            .proves_absence(keys.mark(), at(999_970), leeway)
    );
    hand.put(1_000_000 + 24 * 60 * 60 + 1);
    let (_late, keys) = Refresher::new(&issuer, Some(directory.path()), hand.clock());
    assert!(keys.snapshot().all().is_empty());
    hand.put(5);
    let (_early, keys) = Refresher::new(&issuer, Some(directory.path()), hand.clock());
    assert!(keys.snapshot().is_usable(hand.clock().now()));
    assert!(
        !keys.snapshot().proves_absence(keys.mark(), at(0), leeway),
        "a time to come proves nothing"
    );
    let mut moved = issuer.clone();
    moved.keys = KeySource::Url(stub.url("/elsewhere"));
    let (_moved, keys) = Refresher::new(&moved, Some(directory.path()), hand.clock());
    assert!(keys.snapshot().all().is_empty());
}

#[tokio::test]
async fn explain_leaves_nothing_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    let (mut refresher, _) =
        Refresher::new(&url_issuer(&stub), Some(directory.path()), Clock::system());
    refresher.fetch_once().await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_no_failure_of_the_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    let (mut refresher, keys) = Refresher::new(&url_issuer(&stub), Some(&file), Clock::system());
    refresher.refresh().await.unwrap();
    assert!(refresher.is_store_broken);
    assert_eq!(keys.snapshot().all().len(), 1);
}

#[tokio::test]
async fn a_secret_is_there_from_the_start_and_never_stale() {
    let secret = Secret::from_file_content(vec![7; 32]);
    let (refresher, keys) = Refresher::new(
        &issuer(KeySource::HmacSecret(secret), ISSUER),
        None,
        Clock::system(),
    );
    let running = tokio::spawn(refresher.run());
    assert!(keys.status(UnixTime::MAX).usable && keys.status(UnixTime::MAX).tried_once);
    let mark = keys.mark();
    keys.refreshed(mark).await;
    assert!(keys.snapshot().proves_absence(mark, None, Duration::ZERO));
    running.abort();
    let status = keys.status(UnixTime::from_seconds(4_000_000_000));
    assert_eq!(
        status.age,
        Some(Duration::ZERO),
        "a secret does not grow old"
    );
}

#[tokio::test]
async fn a_file_is_read_at_once_and_again_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let [path, first, second] = ["jwks.json", "1", "2"].map(|name| directory.path().join(name));
    std::fs::write(&first, key_set("a")).unwrap();
    std::os::unix::fs::symlink(&first, &path).unwrap();
    let (refresher, keys) = Refresher::new(
        &issuer(KeySource::File(path.clone()), ISSUER),
        None,
        Clock::system(),
    );
    assert_eq!(keys.snapshot().with_kid("a").len(), 1);
    assert!(keys.status(UnixTime::default()).tried_once);
    let running = tokio::spawn(refresher.run());
    std::fs::write(&second, key_set("b")).unwrap();
    std::os::unix::fs::symlink(&second, directory.path().join("3")).unwrap();
    std::fs::rename(directory.path().join("3"), &path).unwrap();
    keys.refreshed(keys.mark()).await;
    assert_eq!(keys.snapshot().with_kid("b").len(), 1);
    assert_eq!(
        count(&keys, RefreshResult::Success),
        2,
        "an unchanged file is no event"
    );
    running.abort();
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_being_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (refresher, keys) = Refresher::new(
        &issuer(KeySource::File(path.clone()), ISSUER),
        None,
        Clock::system(),
    );
    assert_eq!(count(&keys, RefreshResult::Unreachable), 1);
    let running = tokio::spawn(refresher.run());
    std::fs::write(&path, key_set("a")).unwrap();
    until("the file is read", || {
        keys.snapshot().with_kid("a").len() == 1
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn a_flood_of_unknown_kids_makes_one_fetch_in_a_cooldown() {
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    let mut issuer = url_issuer(&stub);
    issuer.jwks.cooldown = Duration::from_millis(200);
    let (refresher, keys) = Refresher::new(&issuer, None, Clock::system());
    let running = tokio::spawn(refresher.run());
    until("the first fetch", || keys.snapshot().all().len() == 1).await;
    let began = Instant::now();
    for _ in 0..3 {
        let mut flood = JoinSet::new();
        for _ in 0..10_000 {
            let keys = Arc::clone(&keys);
            flood.spawn(async move { keys.refreshed(keys.mark()).await });
        }
        flood.join_all().await;
    }
    let cooldowns = began.elapsed().as_millis() / 200;
    let forced = u128::try_from(stub.hits("/jwks")).unwrap() - 1;
    assert!(
        (1..=1 + cooldowns).contains(&forced),
        "{forced} fetches in {cooldowns} cooldowns"
    );
    running.abort();
}

#[tokio::test]
async fn a_request_that_comes_during_a_fetch_gets_one_that_began_after_it() {
    let stub = ProviderStub::start().await;
    let gate = Arc::new(Semaphore::new(0));
    stub.set("/jwks", Answer::ok(key_set("a")).held(&gate));
    let (refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
    let running = tokio::spawn(refresher.run());
    until("the first fetch is under way", || stub.hits("/jwks") == 1).await;
    let mark = keys.mark();
    let request = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.refreshed(mark).await }
    });
    gate.add_permits(1);
    until("the second fetch is under way", || stub.hits("/jwks") == 2).await;
    assert!(!keys.snapshot().proves_absence(mark, None, Duration::ZERO));
    assert!(!request.is_finished());
    gate.add_permits(1);
    request.await.unwrap();
    assert!(keys.snapshot().proves_absence(mark, None, Duration::ZERO));
    running.abort();
}

#[test]
fn a_request_on_another_runtime_is_served() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (send, receive) = std::sync::mpsc::channel();
    let control = std::thread::spawn(move || {
        build().block_on(async {
            let stub = ProviderStub::start().await;
            stub.set("/jwks", Answer::ok(key_set("a")));
            let (refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
            let (done, finished) = tokio::sync::oneshot::channel::<()>();
            send.send((keys, done)).unwrap();
            tokio::select! { () = refresher.run() => {}, _ = finished => {} }
        });
    });
    let (keys, done) = receive.recv().unwrap();
    let mark = keys.mark();
    build().block_on(keys.refreshed(mark));
    assert_eq!(keys.snapshot().with_kid("a").len(), 1);
    drop(done);
    control.join().unwrap();
}

#[tokio::test]
async fn a_provider_that_comes_back_is_found_without_being_asked() {
    let stub = ProviderStub::start().await;
    let (refresher, keys) = Refresher::new(&url_issuer(&stub), None, Clock::system());
    let running = tokio::spawn(refresher.run());
    until("a failure", || count(&keys, RefreshResult::Status) == 1).await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    until("the keys", || keys.snapshot().all().len() == 1).await;
    running.abort();
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_the_same_source_only() {
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok(key_set("a")));
    let issuer = url_issuer(&stub);
    let (mut old, old_keys) = Refresher::new(&issuer, None, Clock::system());
    old.fetch_once().await.unwrap();
    let (new, new_keys) = Refresher::new(&issuer, None, Clock::system());
    assert!(new.inherit(&old_keys));
    assert!(Arc::ptr_eq(
        &new_keys.snapshot().all()[0],
        &old_keys.snapshot().all()[0]
    ));
    assert!(
        !new_keys
            .snapshot()
            .proves_absence(new_keys.mark(), None, Duration::ZERO)
    );
    let mut moved = issuer.clone();
    moved.keys = KeySource::Url(stub.url("/elsewhere"));
    let (other, other_keys) = Refresher::new(&moved, None, Clock::system());
    assert!(!other.inherit(&old_keys));
    assert!(other_keys.snapshot().all().is_empty());
}
