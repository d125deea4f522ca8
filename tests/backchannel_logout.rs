//! Back-channel logout: a provider says that somebody has logged out, and what was issued until then is refused (T97).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "backchannel_logout/refused.rs"]
mod refused;

use serde_json::{Value, json};
use support::{
    AUDIENCE, Gateway, ISSUER, KID, Request, Response, Server, Signer, Stage, changed,
    configuration, corp, eventually, now, raw, token,
};

const PATH: &str = "/backchannel-logout";
const ENDPOINT: &str =
    "backchannel_logout = { path = \"/backchannel-logout\", audience = \"web\" }";
const SESSION_ONLY: &str = "backchannel_logout = { path = \"/backchannel-logout\", audience = \"web\", sessions = \"sid-only\" }";
const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn stage() -> Stage {
    Stage::with(ENDPOINT, ROUTE)
}

/// Claims as OpenID Connect Back-Channel Logout 1.0 §2.4 has them.
fn logout_claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "sid": "session-1", "aud": "web", "jti": "logout-1",
        "iat": now() - 5, "exp": now() + 115, "events": { EVENT: {} },
    })
}

fn signed(header: Value, claims: &Value) -> String {
    let header = changed(
        json!({"alg": "ES256", "kid": KID, "typ": "logout+jwt"}),
        header,
    );
    corp().sign_with_header(&header, claims)
}

/// A good logout token with other claims; `null` removes one.
fn logout_token(changes: Value) -> String {
    signed(json!({}), &changed(logout_claims(), changes))
}

fn form(body: &str) -> Request {
    Request::new("POST", PATH)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body.as_bytes())
}

fn post(gateway: &Gateway, token: &str) -> Response {
    gateway.send(&form(&format!("logout_token={token}")))
}

fn revocations(gateway: &Gateway) -> Vec<Value> {
    let page = gateway.admin_get("/api/revocations").json();
    page["revocations"].as_array().expect("entries").clone()
}

#[track_caller]
fn assert_ended(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.header("x-request-id").is_some());
    assert_eq!(response.text(), "");
}

/// Tokens of the person and of others, issued before and after the second of the logout, and whether a logout of session and subject ends them.
fn tokens(second: i64) -> Vec<(&'static str, String, bool)> {
    let of = token;
    vec![
        (
            "of the session",
            of(json!({"sid": "session-1", "sub": "bob"})),
            true,
        ),
        ("of the subject", of(json!({"sub": "alice"})), true),
        ("without iat", of(json!({"iat": null})), true),
        ("of the very second", of(json!({ "iat": second })), true),
        (
            "of another session",
            of(json!({"sid": "session-2", "sub": "bob"})),
            false,
        ),
        ("of another subject", of(json!({"sub": "bob"})), false),
        ("issued since", of(json!({"iat": second + 1})), false),
    ]
}

#[test]
fn a_logout_ends_the_session_and_what_the_subject_had_until_then() {
    let stage = stage();
    let second = now() - 2;
    let tokens = tokens(second);
    for (which, token, _) in &tokens {
        assert_eq!(stage.gateway.get("/", token).outcome(), "200", "{which}");
    }
    let forwarded = stage.upstream.count();
    assert_ended(&post(
        &stage.gateway,
        &logout_token(json!({ "iat": second })),
    ));
    assert_eq!(stage.upstream.count(), forwarded, "a logout reaches no API");
    for (which, token, ends) in &tokens {
        let expected = if *ends { "401 token_revoked" } else { "200" };
        assert_eq!(stage.gateway.get("/", token).outcome(), expected, "{which}");
    }
}

#[test]
fn sid_only_leaves_the_tokens_of_the_subjects_other_sessions() {
    let stage = Stage::with(SESSION_ONLY, ROUTE);
    let (session, other) = (
        token(json!({"sid": "session-1"})),
        token(json!({"sid": "session-2"})),
    );
    let bare = token(json!({"jti": "bare"}));
    assert_ended(&post(&stage.gateway, &logout_token(json!({}))));
    assert_eq!(
        stage.gateway.get("/", &session).outcome(),
        "401 token_revoked"
    );
    assert_eq!(stage.gateway.get("/", &other).outcome(), "200");
    assert_eq!(stage.gateway.get("/", &bare).outcome(), "200");
    // Nothing that it may act on.
    let response = post(
        &stage.gateway,
        &logout_token(json!({"sid": null, "jti": "2"})),
    );
    assert_eq!(response.status, 400, "{}", response.text());
    assert_eq!(revocations(&stage.gateway).len(), 1);
}

#[test]
fn either_of_sid_and_sub_is_enough() {
    let stage = stage();
    let session = token(json!({"sid": "session-1", "sub": "bob"}));
    let subject = token(json!({"sub": "alice"}));
    assert_ended(&post(&stage.gateway, &logout_token(json!({"sub": null}))));
    assert_eq!(
        stage.gateway.get("/", &session).outcome(),
        "401 token_revoked"
    );
    assert_eq!(stage.gateway.get("/", &subject).outcome(), "200");
    assert_ended(&post(&stage.gateway, &logout_token(json!({"sid": null}))));
    assert_eq!(
        stage.gateway.get("/", &subject).outcome(),
        "401 token_revoked"
    );
}

#[test]
fn the_type_may_be_left_out_or_spelt_as_media_types_are() {
    let stage = stage();
    for typ in [
        json!("logout+jwt"),
        json!("LOGOUT+JWT"),
        json!("application/logout+jwt"),
        json!("JWT"),
        Value::Null,
    ] {
        let token = signed(json!({ "typ": typ }), &logout_claims());
        assert_ended(&post(&stage.gateway, &token));
    }
    for event in [json!({}), json!({"more": 1})] {
        let events = json!({ EVENT: event, "https://other.example/event": {} });
        assert_ended(&post(
            &stage.gateway,
            &logout_token(json!({ "events": events })),
        ));
    }
    let audiences = logout_token(json!({"aud": ["other", "web"]}));
    assert_ended(&post(&stage.gateway, &audiences));
}

// A captured logout token: what it takes back follows from it alone, so that again is the same.
#[test]
fn a_replay_does_nothing() {
    let stage = stage();
    let logout = logout_token(json!({}));
    assert_ended(&post(&stage.gateway, &logout));
    let first = revocations(&stage.gateway);
    let ids = |entries: &[Value]| {
        entries
            .iter()
            .map(|it| it["id"].clone())
            .collect::<Vec<_>>()
    };
    let again = token(json!({"iat": now(), "sid": "session-2"}));
    assert_eq!(
        stage.gateway.get("/", &again).outcome(),
        "200",
        "signed in again"
    );
    for _ in 0..20 {
        assert_ended(&post(&stage.gateway, &logout));
        assert_eq!(stage.gateway.get("/", &again).outcome(), "200");
    }
    assert_eq!(ids(&revocations(&stage.gateway)), ids(&first));
    let expired = logout_token(json!({"exp": now() - 31, "sub": "bob"}));
    assert_eq!(post(&stage.gateway, &expired).status, 400);
}

#[test]
fn an_entry_lives_as_long_as_a_token_that_was_issued_before_the_logout_can() {
    const LONGEST: i64 = 86_400 + 30;
    let stage = stage();
    assert_ended(&post(&stage.gateway, &logout_token(json!({}))));
    let entries = revocations(&stage.gateway);
    assert_eq!(entries.len(), 2, "{entries:#?}");
    for entry in entries {
        let end = entry["expires_at"].as_i64().expect("an end");
        assert!((end - now() - LONGEST).abs() < 30, "{entry}");
        assert_eq!(entry["reason"], "back-channel logout");
    }
}

#[test]
fn while_keys_are_away_it_is_503_and_the_provider_may_try_again() {
    let stage = stage();
    let stranger = Signer::new("ES256");
    stage.provider.answer(|_| support::Reply::Status(500));
    let token = stranger.sign_with_header(
        &json!({"alg": "ES256", "kid": "new", "typ": "logout+jwt"}),
        &logout_claims(),
    );
    let response = post(&stage.gateway, &token);
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(response.header("retry-after").is_some());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    stage
        .provider
        .serve_keys(vec![corp().jwk(KID), stranger.jwk("new")]);
    eventually("the provider is back", || {
        post(&stage.gateway, &token).status == 200
    });
}

#[test]
fn while_the_store_is_away_it_is_503_and_nothing_has_ended() {
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\ndrain_delay = \"1m\"";
    let stage = Stage::with_all(top, ENDPOINT, ROUTE);
    let token = token(json!({}));
    // The store is handed over first, while requests are still served.
    stage.gateway.signal("TERM");
    let mut answer = None;
    let mut seen = 0;
    eventually("the store is closed", || {
        seen += 1;
        let jti = json!({ "jti": seen.to_string(), "issuer": "corp" });
        stage.gateway.admin_post("/api/revocations", &jti).status == 503
    });
    eventually("refused", || {
        let response = post(&stage.gateway, &logout_token(json!({})));
        let is_refused = response.status == 503;
        answer = Some(response);
        is_refused
    });
    let answer = answer.expect("an answer");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert_eq!(stage.gateway.get("/", &token).outcome(), "200");
    let record = stage.gateway.record(answer.header("x-request-id").unwrap());
    assert_eq!(record["status"], 503, "{record:#}");
}

#[test]
fn only_the_exact_path_is_the_endpoint_and_it_is_one_at_every_host() {
    let stage = stage();
    let body = format!("logout_token={}", logout_token(json!({})));
    let at = |path: &str, host: &str| {
        Request::new("POST", path)
            .header("Host", host)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.as_bytes())
            .send(stage.gateway.public)
    };
    for path in [
        "/backchannel-logout/",
        "/Backchannel-Logout",
        "/backchannel-logout/x",
        "/x/backchannel-logout",
    ] {
        assert_eq!(
            at(path, "a.example").outcome(),
            "401 token_missing",
            "{path}"
        );
    }
    for path in [
        "//backchannel-logout",
        "/./backchannel-logout",
        "/backchannel-logout;x=1",
        "/x/../backchannel-logout",
    ] {
        assert_eq!(
            at(path, "a.example").outcome(),
            "400 path_ambiguous",
            "{path}"
        );
    }
    assert_eq!(at(PATH, "a b").outcome(), "400 request_malformed");
    let two = "POST /backchannel-logout HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(
        raw(stage.gateway.public, two.as_bytes())
            .expect("an answer")
            .status,
        400
    );
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    for (path, host) in [
        (PATH, "a.example"),
        (PATH, "b.example:8443"),
        ("/backchannel%2Dlogout", "a.example"),
    ] {
        assert_ended(&at(path, host));
    }
}

#[test]
fn a_logout_is_counted_and_recorded_like_every_request_and_audited() {
    let stage = stage();
    let token = logout_token(json!({}));
    let response = post(&stage.gateway, &token);
    assert_ended(&response);
    let id = response.header("x-request-id").unwrap().to_owned();
    let record = stage.gateway.record(&id);
    assert_eq!(
        (
            &record["status"],
            &record["route"],
            &record["issuer"],
            &record["path"]
        ),
        (&json!(200), &json!("none"), &json!("corp"), &json!(PATH)),
        "{record:#}"
    );
    let counted = [("route", "none"), ("status", "200")];
    eventually("counted", || {
        stage.gateway.metric("portcullis_requests_total", &counted) > 0.5
    });
    for kind in ["session", "subject"] {
        let audit = stage.gateway.wait_for_record(kind, |record| {
            record["change"] == "revoked" && record["kind"] == kind
        });
        assert_eq!(audit["actor"], "provider", "{audit:#}");
        assert_eq!(audit["actor_issuer"], "corp", "{audit:#}");
        assert_eq!(audit["actor_token_id"], record["token_id"], "{audit:#}");
        assert_eq!(audit["actor_request_id"], id.as_str(), "{audit:#}");
        assert_eq!(audit["reason"], "back-channel logout", "{audit:#}");
    }
    for part in token.split('.') {
        assert!(
            !stage.gateway.log_text().contains(part),
            "a part of the token is in the log"
        );
    }
}

#[test]
fn each_issuer_has_an_endpoint_of_its_own() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let other = format!(
        "{ENDPOINT}\n[[issuer]]\nname = \"other\"\nissuer = \"https://other.example\"\njwks_uri = \"{}/jwks\"\n\
         audiences = [\"{AUDIENCE}\"]\nbackchannel_logout = {{ path = \"/other-logout\", audience = \"web\" }}",
        provider.url()
    );
    let route = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"other\"]";
    let gateway = Gateway::start(&configuration("", &provider, &other, &upstream, route));
    let of_other = logout_token(json!({"iss": "https://other.example"}));
    assert_eq!(
        post(&gateway, &of_other).status,
        400,
        "at the endpoint of another"
    );
    assert_eq!(revocations(&gateway), Vec::<Value>::new());
    let at_other = Request::new("POST", "/other-logout")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("logout_token={of_other}").as_bytes());
    assert_ended(&gateway.send(&at_other));
    let mine = token(json!({"sid": "session-1"}));
    let theirs = token(json!({"sid": "session-1", "iss": "https://other.example"}));
    assert_eq!(
        gateway.get("/", &mine).outcome(),
        "200",
        "sessions are scoped by issuer"
    );
    assert_eq!(gateway.get("/", &theirs).outcome(), "401 token_revoked");
}

#[test]
fn the_subject_is_what_the_issuers_section_says() {
    let stage = Stage::with(&format!("{ENDPOINT}\nsubject_claim = \"oid\""), ROUTE);
    let of_alice = token(json!({"oid": "o-1"}));
    let same_sub = token(json!({"oid": "o-2"}));
    // The provider names nobody by the claim that counts here, and no session.
    let response = post(&stage.gateway, &logout_token(json!({"sid": null})));
    assert_eq!(response.status, 400, "{}", response.text());
    assert_ended(&post(&stage.gateway, &logout_token(json!({"oid": "o-1"}))));
    assert_eq!(
        stage.gateway.get("/", &of_alice).outcome(),
        "401 token_revoked"
    );
    assert_eq!(stage.gateway.get("/", &same_sub).outcome(), "200");
}

#[test]
fn with_minimal_detail_nothing_is_said_of_why() {
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\nerror_detail = \"minimal\"";
    let stage = Stage::with_all(top, ENDPOINT, ROUTE);
    let response = post(&stage.gateway, &logout_token(json!({"aud": "other"})));
    assert_eq!(response.status, 400);
    let said = response.text().to_lowercase();
    assert!(!said.contains("audience"), "{said}");
}

#[test]
fn without_an_endpoint_its_path_is_a_path_like_any() {
    let stage = Stage::with("", ROUTE);
    assert_eq!(
        post(&stage.gateway, &logout_token(json!({}))).outcome(),
        "401 token_missing"
    );
    // A logout token is no access token either (T65).
    let response = stage
        .gateway
        .get("/", &logout_token(json!({"aud": AUDIENCE})));
    assert_eq!(response.outcome(), "401 token_type_mismatch");
}
