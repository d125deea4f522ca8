//! A real OpenID provider (`tests/provider`, run by node) issues the tokens, the gateway finds its keys by discovery.
//!
//! Needs what `scripts/test` installs, and so the feature `external`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "provider/process.rs"]
mod process;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use process::{BRIEF, INVOICES, ORDERS, Provider, claims, has_expired, kid, parts};
use serde_json::{Value, json};
use support::{
    Gateway, Request, Response, Server, Signer, base64url, changed, command, eventually, now,
};

/// An API, the gateway, and the real provider.
struct House {
    upstream: Server,
    provider: Provider,
    gateway: Gateway,
    /// The same configuration under the address at which the gateway's admin listener is found.
    found: String,
}

impl House {
    fn new() -> Self {
        let (upstream, provider) = (Server::echo(), Provider::start());
        let text = configuration(&provider, &upstream);
        let gateway = Gateway::start(&text);
        let found = gateway.folder().path().join("found.toml");
        let admin = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"{}\"\n",
            gateway.admin
        );
        std::fs::write(&found, admin + &text).expect("a writable folder");
        let found = found.display().to_string();
        Self {
            upstream,
            provider,
            gateway,
            found,
        }
    }

    /// What `explain --json` says of that token for that path, and its exit code.
    fn explain(&self, path: &str, token: &str) -> (Value, Option<i32>) {
        let output = command(
            &["explain", "--config", &self.found, "--url", path, "--json"],
            token,
        );
        let said = serde_json::from_slice(&output.stdout);
        let said = said.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (said, output.status.code())
    }

    fn rejections(&self, reason: &str) -> f64 {
        self.gateway
            .metric("portcullis_rejections_total", &[("reason", reason)])
    }
}

fn configuration(provider: &Provider, upstream: &Server) -> String {
    format!(
        r#"
[[issuer]]
name = "provider"
issuer = "{}"
discovery = true
audiences = ["{ORDERS}"]
leeway = "1s"
max_lifetime = "1h"
backchannel_logout = {{ path = "/backchannel-logout", audience = "web-shop" }}
[issuer.jwks]
cooldown = "1s"
[[upstream]]
name = "api"
servers = ["{}"]
[[route]]
path = "/orders/*"
upstream = "api"
scopes = ["orders:read"]
[[route]]
path = "/shipments/*"
upstream = "api"
scopes = ["orders:write"]
"#,
        provider.issuer,
        upstream.url()
    )
}

#[test]
fn a_token_of_the_provider_passes_and_the_api_learns_whose_it_is() {
    let house = House::new();
    let token = house.provider.orders_token();
    let response = house.gateway.get("/orders/1", &token);
    assert_eq!(response.status, 200, "{}", response.text());
    let received = house.upstream.last();
    assert_eq!(
        received.header("x-auth-issuer"),
        Some(house.provider.issuer.as_str())
    );
    assert_eq!(
        received.header("x-auth-subject"),
        claims(&token)["sub"].as_str()
    );
    assert_eq!(received.header("x-auth-client"), Some("batch-job"));
    assert_eq!(received.header("x-auth-scopes"), Some("orders:read"));
    assert_eq!(
        received.header("authorization"),
        Some(format!("Bearer {token}").as_str())
    );
    let (said, code) = house.explain("/orders/1", &token);
    assert_eq!(
        (said["outcome"].as_str(), code),
        (Some("admitted"), Some(0)),
        "{said:#}"
    );
}

/// A real token, spoilt in one way.
struct Spoilt {
    how: &'static str,
    path: &'static str,
    request: Request,
    /// What `explain` is given; nothing where the fault is the request's and not the token's.
    explained: Option<String>,
    status: u16,
    reason: &'static str,
}

impl Spoilt {
    fn token(how: &'static str, token: String, status: u16, reason: &'static str) -> Self {
        let request = Request::get("/orders/1").bearer(&token);
        Self {
            explained: Some(token),
            ..Self::request(how, request, status, reason)
        }
    }

    fn request(how: &'static str, request: Request, status: u16, reason: &'static str) -> Self {
        Self {
            how,
            path: "/orders/1",
            request,
            explained: None,
            status,
            reason,
        }
    }
}

/// Tokens that the provider never signed so.
fn forged(house: &House) -> Vec<Spoilt> {
    let (token, other) = (house.provider.orders_token(), house.provider.orders_token());
    let [header, payload, signature] = parts(&token);
    let richer = changed(claims(&token), json!({"scope": "orders:read orders:write"}));
    let richer = base64url(richer.to_string().as_bytes());
    let none = base64url(
        json!({"alg": "none", "typ": "at+jwt"})
            .to_string()
            .as_bytes(),
    );
    let invalid = [
        ("tampered payload", format!("{header}.{richer}.{signature}")),
        ("signature cut short", token[..token.len() - 2].to_owned()),
        ("signature missing", format!("{header}.{payload}.")),
        (
            "signature of another",
            format!("{header}.{payload}.{}", parts(&other)[2]),
        ),
        (
            "signed by a stranger",
            stranger().sign(&kid(&token), &claims(&token)),
        ),
    ];
    let half = token[..token.len() / 2].to_owned();
    let none = format!("{none}.{payload}.");
    let mut forged = vec![
        Spoilt::token("cut in the middle", half, 401, "token_malformed"),
        Spoilt::token("alg none", none, 401, "algorithm_forbidden"),
    ];
    forged.extend(invalid.map(|(how, token)| Spoilt::token(how, token, 401, "signature_invalid")));
    forged
}

/// Tokens that a stranger signed under a name of his own.
fn strange(house: &House) -> [Spoilt; 2] {
    let real = claims(&house.provider.orders_token());
    let elsewhere = changed(
        real.clone(),
        json!({"iss": "https://elsewhere.example.com"}),
    );
    let sign = |claims| stranger().sign("nobody", &claims);
    [
        Spoilt::token("unpublished key", sign(real), 401, "key_unknown"),
        Spoilt::token("unknown issuer", sign(elsewhere), 401, "issuer_unknown"),
    ]
}

fn stranger() -> Signer {
    Signer::new("ES256")
}

/// Tokens as the provider issued them, at the wrong time or place.
fn misplaced(house: &House) -> Vec<Spoilt> {
    let provider = &house.provider;
    let brief = provider.token(Some(BRIEF));
    eventually("the brief token expires", || has_expired(&brief));
    let revoked = provider.orders_token();
    assert_eq!(house.gateway.get("/orders/1", &revoked).status, 200);
    let body = json!({"token": revoked});
    let answer = house.gateway.admin_post("/api/revocations", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (other, opaque) = (provider.token(Some(INVOICES)), provider.token(None));
    let elsewhere = Spoilt {
        path: "/shipments/1",
        request: Request::get("/shipments/1").bearer(&provider.orders_token()),
        ..Spoilt::token(
            "other scope",
            provider.orders_token(),
            403,
            "scope_insufficient",
        )
    };
    vec![
        Spoilt::token("expired", brief, 401, "token_expired"),
        Spoilt::token("for another API", other, 401, "audience_mismatch"),
        Spoilt::token("revoked", revoked, 401, "token_revoked"),
        Spoilt::token("opaque", opaque, 401, "token_opaque"),
        elsewhere,
    ]
}

/// A token that is good, presented as none may be.
fn mispresented(token: &str) -> Vec<Spoilt> {
    let get = || Request::get("/orders/1");
    let basic = get().header("Authorization", &format!("Basic {token}"));
    let query = Request::get(&format!("/orders/1?access_token={token}"));
    let quoted = get().bearer(&format!("\"{token}\""));
    let twice = get().bearer(token).bearer(token);
    vec![
        Spoilt::request("sent twice", twice, 400, "token_ambiguous"),
        Spoilt::request("as Basic", basic, 401, "token_missing"),
        Spoilt::request("in the query", query, 401, "token_missing"),
        Spoilt::request("in quotes", quoted, 400, "header_malformed"),
    ]
}

/// The reason is one and the same in the answer, the access log, the metric and `explain`.
fn assert_said_everywhere(house: &House, spoilt: &Spoilt) {
    let Spoilt { how, reason, .. } = *spoilt;
    let before = house.rejections(reason);
    let response = house.gateway.send(&spoilt.request);
    assert_eq!(
        (response.status, response.reason().as_str()),
        (spoilt.status, reason),
        "{how}: {}",
        response.text()
    );
    let challenges = response.all("www-authenticate").len();
    assert_eq!(challenges, 1, "{how}");
    let record = house.gateway.record(&request_id(&response));
    assert_eq!(record["reason"], reason, "{how}: {record:#}");
    assert_eq!(record["status"], spoilt.status, "{how}: {record:#}");
    eventually(how, || {
        (house.rejections(reason) - before - 1.0).abs() < f64::EPSILON
    });
    if let Some(token) = &spoilt.explained {
        let (said, code) = house.explain(spoilt.path, token);
        assert_eq!(
            (said["reason"].as_str(), code),
            (Some(reason), Some(1)),
            "{how}: {said:#}"
        );
        assert_eq!(said["status"], spoilt.status, "{how}");
    }
}

fn request_id(response: &Response) -> String {
    response.header("x-request-id").expect("an id").to_owned()
}

#[test]
fn a_forged_token_is_refused_and_the_reason_is_said_everywhere() {
    let house = House::new();
    // The stranger's first: a bad signature asks for a refresh too, and the next has to keep its distance.
    for spoilt in strange(&house).into_iter().chain(forged(&house)) {
        assert_said_everywhere(&house, &spoilt);
    }
    assert_eq!(house.upstream.count(), 0, "nothing forged reaches the API");
}

#[test]
fn a_misused_token_is_refused_and_the_reason_is_said_everywhere() {
    let house = House::new();
    let mut spoilt = misplaced(&house);
    spoilt.extend(mispresented(&house.provider.orders_token()));
    let before = house.upstream.count();
    for spoilt in &spoilt {
        assert_said_everywhere(&house, spoilt);
    }
    assert_eq!(
        house.upstream.count(),
        before,
        "nothing misused reaches the API"
    );
    let log = house.gateway.log_text();
    for token in spoilt
        .iter()
        .filter_map(|spoilt| spoilt.explained.as_deref())
    {
        let last = token.rsplit('.').next().expect("a part");
        assert!(!log.contains(last), "a token is in the log");
    }
}

/// Sends real tokens, a new one and `old` by turns, until enough were of a key other than that of `old`. Returns the
/// reasons of those that were refused.
fn send_across_a_rotation(house: &House, old: &str, requests: &AtomicUsize) -> Vec<String> {
    const ENOUGH: usize = 20;
    const TOO_MANY: usize = 5000;
    let mut refused = Vec::new();
    let mut of_new_key = 0;
    for _ in 0..TOO_MANY {
        let fresh = house.provider.orders_token();
        for token in [&fresh, old] {
            let response = house.gateway.get("/orders/1", token);
            if response.status != 200 {
                refused.push(format!("{}: {}", kid(token), response.reason()));
            }
            requests.fetch_add(1, Ordering::Relaxed);
        }
        of_new_key += usize::from(kid(&fresh) != kid(old));
        if of_new_key == ENOUGH {
            return refused;
        }
    }
    panic!("the provider never signed with another key");
}

// A key that has begun to sign, and that the gateway has not heard of yet.
#[test]
fn a_rotation_of_the_providers_key_refuses_nobody() {
    const SENDERS: usize = 4;
    let house = House::new();
    let old = house.provider.orders_token();
    let requests = AtomicUsize::new(0);
    let refused: Vec<String> = std::thread::scope(|scope| {
        let send = || send_across_a_rotation(&house, &old, &requests);
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        let enough = || requests.load(Ordering::Relaxed) > 10 * SENDERS;
        eventually("all send", enough);
        house.provider.rotate();
        let join = |sender: ScopedJoinHandle<'_, _>| sender.join().expect("a sender");
        senders.into_iter().flat_map(join).collect()
    });
    assert!(refused.is_empty(), "{refused:#?}");
    let keys = house.gateway.metric("portcullis_jwks_keys", &[]);
    assert!((keys - 2.0).abs() < 0.5, "{keys} keys are known");
}

#[test]
fn a_key_that_the_provider_drops_takes_its_tokens_along() {
    let house = House::new();
    let old = house.provider.orders_token();
    assert_eq!(house.gateway.get("/orders/1", &old).status, 200);
    house.provider.rotate();
    house.provider.drop_old();
    // A token of the new key brings the new set; refreshes keep their distance, and until then it is 503.
    let new = house.provider.orders_token();
    eventually("the new key is known", || {
        house.gateway.get("/orders/1", &new).status == 200
    });
    // Just issued, it is 503 until the next refresh is permitted: only that one proves that its key is gone.
    eventually("the old key is known to be gone", || {
        let response = house.gateway.get("/orders/1", &old);
        let found = (response.status, response.reason());
        assert!(
            found == (401, "key_unknown".to_owned())
                || found == (503, "keys_unavailable".to_owned()),
            "{found:?}"
        );
        found.0 == 401
    });
}

#[test]
fn the_end_of_the_provider_refuses_no_token_of_a_known_key() {
    let house = House::new();
    let (seen, unseen) = (house.provider.orders_token(), house.provider.orders_token());
    assert_eq!(house.gateway.get("/orders/1", &seen).status, 200);
    house.provider.kill();
    // One that makes the gateway look for the provider, in vain.
    let forged = stranger().sign("nobody", &claims(&seen));
    let started = std::time::Instant::now();
    let response = house.gateway.get("/orders/1", &forged);
    assert_eq!(
        (response.status, response.reason().as_str()),
        (503, "keys_unavailable")
    );
    assert!(response.header("retry-after").is_some());
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it does not wait longer than `wait`"
    );
    for token in [&seen, &unseen, &seen] {
        let response = house.gateway.get("/orders/1", token);
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(house.gateway.admin_get("/readyz").status, 200);
}

#[test]
fn a_logout_at_the_provider_is_in_force_at_the_gateway_before_the_next_request() {
    let house = House::new();
    let (provider, gateway) = (&house.provider, &house.gateway);
    provider.log_out_to(&format!("http://{}/backchannel-logout", gateway.public));
    let (hers, of_a_job) = (provider.sign_in(), provider.orders_token());
    for token in [&hers, &of_a_job] {
        assert_eq!(gateway.get("/orders/1", token).outcome(), "200");
    }
    assert_eq!(provider.sign_out(), ["accepted"]);
    let asked = house.upstream.count();
    assert_eq!(
        gateway.get("/orders/1", &hers).outcome(),
        "401 token_revoked"
    );
    assert_eq!(house.upstream.count(), asked);
    assert_eq!(gateway.get("/orders/1", &of_a_job).outcome(), "200");
    // She signs in again, once the second of the logout is over: what was issued in it is gone too.
    let second = claims(&hers)["iat"].as_i64().expect("a time").max(now());
    eventually("the next second", || now() > second);
    let again = provider.sign_in();
    assert_eq!(gateway.get("/orders/1", &again).outcome(), "200");
    assert_eq!(
        gateway.get("/orders/1", &hers).outcome(),
        "401 token_revoked"
    );
}

#[test]
fn a_logout_that_is_meant_for_another_client_is_refused_and_the_provider_learns_it() {
    let house = House::new();
    let path = house.gateway.path();
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let elsewhere = text.replace("audience = \"web-shop\"", "audience = \"another\"");
    std::fs::write(&path, elsewhere).expect("a writable folder");
    house.gateway.reload();
    let url = format!("http://{}/backchannel-logout", house.gateway.public);
    house.provider.log_out_to(&url);
    let hers = house.provider.sign_in();
    let delivered = house.provider.sign_out();
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert!(delivered[0].contains("400"), "{delivered:?}");
    assert_eq!(house.gateway.get("/orders/1", &hers).outcome(), "200");
    assert!(house.rejections("audience_mismatch") > 0.5);
}
