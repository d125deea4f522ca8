//! Key rotation, and forged key ids that try to look like one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "what a metric counts, a float holds exactly"
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Connection, KID, Reply, Request, Response, Server, Signer, Stage, base64url, changed, claims,
    corp, eventually, now, token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

fn stage(jwks: &str) -> Stage {
    Stage::with(&format!("[issuer.jwks]\n{jwks}"), ROUTE)
}

/// A token of a key that never was; its signature is never looked at.
fn forged(kid: &str, changes: Value) -> String {
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
    let payload = changed(claims(), changes).to_string();
    let signature = base64url(&[1; 64]);
    format!(
        "{}.{}.{signature}",
        base64url(header.as_bytes()),
        base64url(payload.as_bytes())
    )
}

fn answer(response: &Response) -> (u16, String) {
    (response.status, response.reason())
}

fn assert_cannot_tell(response: &Response, what: &str) {
    assert_eq!(
        answer(response),
        (503, "keys_unavailable".to_owned()),
        "{what}"
    );
    let seconds: u64 = response
        .header("retry-after")
        .unwrap_or_default()
        .parse()
        .unwrap_or_default();
    assert!(seconds > 0, "{what}: {response:?}");
    assert_eq!(response.all("www-authenticate"), [""; 0], "{what}");
}

#[test]
fn a_rotation_refuses_nobody_and_costs_one_fetch() {
    let stage = stage("wait = \"15s\"");
    let next = Signer::new("ES256");
    stage
        .provider
        .serve_keys(vec![corp().jwk(KID), next.jwk("next")]);
    let barrier = Barrier::new(16);
    std::thread::scope(|scope| {
        for place in 0..16 {
            let (stage, next, barrier) = (&stage, &next, &barrier);
            scope.spawn(move || {
                let token = next.sign(
                    "next",
                    &changed(claims(), json!({"jti": format!("{place}"), "iat": now()})),
                );
                barrier.wait();
                let response = stage.gateway.get("/", &token);
                assert_eq!(response.status, 200, "request {place}: {}", response.text());
            });
        }
    });
    assert_eq!(
        stage.provider.count(),
        2,
        "one fetch at the start, one for the rotation"
    );
    assert_eq!(
        stage.gateway.get("/", &token(json!({}))).status,
        200,
        "the old key still counts"
    );
}

// T99
#[test]
fn a_forged_kid_is_401_only_where_a_fetch_has_shown_that_the_key_does_not_exist() {
    let stage = stage("cooldown = \"1h\"\nwait = \"15s\"");
    let old = json!({"iat": now() - 300});
    let response = stage.gateway.get("/", &forged("f-0", old.clone()));
    assert_eq!(
        answer(&response),
        (401, "key_unknown".to_owned()),
        "older than the fetch at the start"
    );
    assert_eq!(stage.provider.count(), 1, "no fetch for it");

    let response = stage
        .gateway
        .get("/", &forged("f-1", json!({"iat": now()})));
    assert_eq!(
        answer(&response),
        (401, "key_unknown".to_owned()),
        "after one fetch"
    );
    assert_eq!(stage.provider.count(), 2);

    for (what, changes) in [
        ("issued now", json!({"iat": now()})),
        (
            "issued within the leeway before the fetch",
            json!({"iat": now() - 10}),
        ),
        ("without iat", json!({"iat": null})),
    ] {
        assert_cannot_tell(
            &stage.gateway.get("/", &forged("f-2", changes.clone())),
            what,
        );
        assert_cannot_tell(&stage.gateway.get("/", &forged("f-1", changes)), what);
    }
    let response = stage.gateway.get("/", &forged("f-3", old));
    assert_eq!(
        answer(&response),
        (401, "key_unknown".to_owned()),
        "issued long before the fetch"
    );
    assert!(
        response
            .header("www-authenticate")
            .unwrap_or_default()
            .contains("error=\"invalid_token\"")
    );
    assert_eq!(
        stage.gateway.get("/", &token(json!({}))).status,
        200,
        "good tokens are not affected"
    );
    assert_eq!(stage.provider.count(), 2, "the cooldown holds");
}

// T112
#[test]
fn a_key_swapped_under_its_kid_heals_and_the_old_signature_is_refused() {
    let stage = stage("cooldown = \"100ms\"");
    let swapped = Signer::new("ES256");
    let (old, new) = (token(json!({})), swapped.sign(KID, &claims()));
    assert_eq!(stage.gateway.get("/", &old).status, 200);
    stage.provider.serve_keys(vec![swapped.jwk(KID)]);
    eventually("the new key is in force", || {
        let response = stage.gateway.get("/", &new);
        assert!(matches!(response.status, 200 | 401), "{}", response.text());
        response.status == 200
    });
    let response = stage.gateway.get("/", &old);
    assert_eq!(
        answer(&response),
        (401, "signature_invalid".to_owned()),
        "it was cached"
    );
}

#[test]
fn a_bad_signature_does_not_wait_for_the_refresh_that_it_asks_for() {
    let stage = stage("wait = \"1m\"\ntimeout = \"1m\"");
    stage.provider.answer(|_| Reply::Hang);
    let bad = Signer::new("ES256").sign(KID, &claims());
    for _ in 0..2 {
        assert_eq!(
            answer(&stage.gateway.get("/", &bad)),
            (401, "signature_invalid".to_owned())
        );
    }
    stage.provider.wait_for(2);
    assert_eq!(stage.provider.count(), 2, "one refresh is under way");
}

#[test]
fn a_refresh_that_outlasts_wait_is_no_verdict() {
    let stage = stage("wait = \"50ms\"\ntimeout = \"1m\"");
    stage.provider.answer(|_| Reply::Hang);
    assert_cannot_tell(
        &stage.gateway.get("/", &forged("f", json!({"iat": now()}))),
        "while it hangs",
    );
    assert_eq!(stage.gateway.get("/", &token(json!({}))).status, 200);
}

/// Lets the provider's answers through one by one.
fn held_back(provider: &Server, keys: Vec<Value>) -> Sender<()> {
    let (release, held) = channel();
    let held = Mutex::new(held);
    provider.answer(move |_| {
        held.lock().unwrap().recv().unwrap_or_default();
        Reply::Json(json!({ "keys": keys }))
    });
    release
}

#[test]
fn a_client_that_leaves_does_not_cancel_the_refresh_it_caused() {
    let stage = stage("cooldown = \"1h\"\nwait = \"15s\"");
    let next = Signer::new("ES256");
    let release = held_back(&stage.provider, vec![corp().jwk(KID), next.jwk("next")]);
    let token = next.sign("next", &claims());
    let mut leaving = Connection::open(stage.gateway.public);
    leaving.send(&Request::get("/").bearer(&token).bytes("localhost"));
    stage.provider.wait_for(2);
    drop(leaving);
    release.send(()).unwrap();
    eventually("the keys came", || {
        stage.gateway.metric("portcullis_jwks_keys", &[]) == 2.0
    });
    assert_eq!(stage.gateway.get("/", &token).status, 200);
    assert_eq!(stage.provider.count(), 2);
}

// T100
#[test]
fn a_rotation_is_seen_by_the_background_refresh_though_forged_kids_use_up_the_cooldown() {
    let stage = stage("cooldown = \"1h\"\nrefresh = \"1s\"\nwait = \"15s\"");
    let response = stage.gateway.get("/", &forged("f", json!({"iat": now()})));
    assert_eq!(answer(&response), (401, "key_unknown".to_owned()));
    let next = Signer::new("ES256");
    stage.provider.serve_keys(vec![next.jwk("next")]);
    eventually("the new key is in force", || {
        let response = stage.gateway.get(
            "/",
            &next.sign("next", &changed(claims(), json!({"iat": now()}))),
        );
        assert!(matches!(response.status, 200 | 503), "{}", response.text());
        response.status == 200
    });
}

// T99: the cooldown does not depend on what the set holds.
#[test]
fn an_empty_answer_does_not_lift_the_cooldown() {
    let stage = stage("cooldown = \"1h\"\nwait = \"15s\"");
    stage
        .provider
        .answer(|_| Reply::Json(json!({ "keys": [] })));
    let failed = |result: &str| {
        stage
            .gateway
            .metric("portcullis_jwks_refreshes_total", &[("result", result)])
    };
    assert_cannot_tell(
        &stage.gateway.get("/", &forged("f", json!({"iat": now()}))),
        "the refresh failed",
    );
    let began = Instant::now();
    for place in 0..50 {
        let response = stage
            .gateway
            .get("/", &forged(&format!("f-{place}"), json!({"iat": now()})));
        assert_cannot_tell(&response, "in the cooldown");
    }
    // What failed is tried again in the background: after 1, 2, 4 ... seconds, a tenth less at most.
    let background = began.elapsed().as_secs() + 1;
    assert!(
        failed("no_keys") <= 1.0 + background as f64,
        "{}",
        failed("no_keys")
    );
}

const FLOODERS: usize = 4;
const FLOOD: usize = 10_000;
const COOLDOWN: Duration = Duration::from_millis(500);

/// One request after another on a kept connection.
struct Caller<'stage> {
    stage: &'stage Stage,
    connection: Connection,
}

impl<'stage> Caller<'stage> {
    fn new(stage: &'stage Stage) -> Self {
        let connection = Connection::open(stage.gateway.public);
        Self { stage, connection }
    }

    fn ask(&mut self, token: &str) -> Response {
        let bytes = Request::get("/").bearer(token).bytes("localhost");
        self.connection.send(&bytes);
        if let Some(response) = self.connection.read(false) {
            return response;
        }
        self.connection = Connection::open(self.stage.gateway.public);
        self.connection.send(&bytes);
        self.connection.read(false).expect("an answer")
    }
}

/// Runs `flood` requests of that kind from several threads, `beside` them in a further thread until they are done.
fn flooded(
    stage: &Stage,
    done: &AtomicUsize,
    flood: usize,
    one: impl Fn(usize, &mut Caller<'_>) + Sync,
    beside: impl FnOnce(&AtomicBool) + Send,
) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| beside(&over));
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|thread| {
                let one = &one;
                scope.spawn(move || {
                    let mut caller = Caller::new(stage);
                    for place in 0..flood / FLOODERS {
                        one(thread * flood + place, &mut caller);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = flooders
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::SeqCst);
        watcher.join().expect("good requests are answered well");
        for outcome in outcomes {
            outcome.expect("forged requests are answered well");
        }
    });
}

/// Good requests of both keys until the flood is over: how long each with the old key took.
fn good_requests(
    stage: &Stage,
    next: &Signer,
    is_rotated: &AtomicBool,
    over: &AtomicBool,
) -> Vec<Duration> {
    let (mut caller, mut took) = (Caller::new(stage), Vec::new());
    let cached = token(json!({}));
    let mut healed = false;
    while !over.load(Ordering::SeqCst) || took.len() < 100 {
        let fresh = token(json!({"jti": format!("good-{}", took.len())}));
        for good in [&cached, &fresh] {
            let began = Instant::now();
            let response = caller.ask(good);
            took.push(began.elapsed());
            assert_eq!(
                response.status,
                200,
                "a good token was refused: {}",
                response.text()
            );
        }
        if is_rotated.load(Ordering::SeqCst) {
            let response =
                caller.ask(&next.sign("next", &changed(claims(), json!({"iat": now()}))));
            assert!(
                !healed || response.status == 200,
                "the new key is known by now: {}",
                response.text()
            );
            healed = response.status == 200;
            if !healed {
                assert_cannot_tell(&response, "a good token of the new key");
            }
        }
    }
    took.sort();
    took
}

// T99, T100: 10,000 forged key ids, a rotation in their midst, and a provider that takes its time.
#[test]
fn a_flood_of_forged_kids_refuses_and_slows_nobody() {
    let stage = stage("cooldown = \"500ms\"\nwait = \"1s\"");
    let (next, is_rotated, done) = (
        Signer::new("ES256"),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let mut calm = Vec::new();
    let missing = |_: usize, caller: &mut Caller<'_>| assert_eq!(caller.ask("!").status, 400);
    flooded(&stage, &done, FLOOD / 4, missing, |over| {
        calm = good_requests(&stage, &next, &is_rotated, over);
    });

    slowly(&stage.provider, vec![corp().jwk(KID)]);
    let (before, began) = (stage.provider.count(), Instant::now());
    done.store(0, Ordering::SeqCst);
    let (refused, undecided) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let forge = |place: usize, caller: &mut Caller<'_>| {
        if done.load(Ordering::SeqCst) >= FLOOD / 2 && !is_rotated.load(Ordering::SeqCst) {
            slowly(&stage.provider, vec![corp().jwk(KID), next.jwk("next")]);
            is_rotated.store(true, Ordering::SeqCst);
        }
        let response = caller.ask(&forged(&format!("forged-{place}"), json!({"iat": now()})));
        match (response.status, response.reason().as_str()) {
            (401, "key_unknown") => refused.fetch_add(1, Ordering::SeqCst),
            (503, "keys_unavailable") => undecided.fetch_add(1, Ordering::SeqCst),
            _ => panic!("{response:?}"),
        };
    };
    let mut stormy = Vec::new();
    flooded(&stage, &done, FLOOD, forge, |over| {
        stormy = good_requests(&stage, &next, &is_rotated, over);
    });
    let (fetches, elapsed) = (stage.provider.count() - before, began.elapsed());

    assert!(refused.into_inner() > 0 && undecided.into_inner() > 0);
    let permitted = 1 + elapsed.as_millis() / COOLDOWN.as_millis();
    assert!(
        fetches as u128 <= permitted,
        "{fetches} fetches in {elapsed:?}"
    );
    assert!(fetches > 0, "forged kids asked for none");
    eventually("the rotation is through", || {
        stage.gateway.get("/", &next.sign("next", &claims())).status == 200
    });
    // A gateway that lets good requests wait for the fetch is slower by the factor of a hundred.
    let median = |took: &[Duration]| took[took.len() / 2];
    assert!(
        median(&stormy) < median(&calm) * 20,
        "{:?} after {:?}",
        median(&stormy),
        median(&calm)
    );
}

/// A provider that needs most of the cooldown for an answer.
fn slowly(provider: &Server, keys: Vec<Value>) {
    provider.answer(move |_| {
        std::thread::sleep(COOLDOWN.mul_f64(0.7));
        Reply::Json(json!({ "keys": keys }))
    });
}
