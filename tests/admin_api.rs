//! The revocation API to the letter: bodies, answers, lifetimes, pages, records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{
    AUDIENCE, Gateway, ISSUER, KID, Request, Response, Server, Stage, base64url, changed,
    configuration, corp, now, token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"endless\"]";
const DAY: i64 = 86_400;
const LEEWAY: i64 = 30;

/// `corp` limits the lifetime of its tokens to a day, `endless` does not.
struct Two {
    gateway: Gateway,
    _servers: [Server; 2],
}

fn two() -> Two {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let endless = format!(
        "[[issuer]]\nname = \"endless\"\nissuer = \"https://endless.example\"\njwks_uri = \"{}/jwks\"\naudiences = [\"{AUDIENCE}\"]",
        provider.url()
    );
    let gateway = Gateway::start(&configuration("", &provider, &endless, &upstream, ROUTE));
    Two {
        gateway,
        _servers: [upstream, provider],
    }
}

fn post(gateway: &Gateway, body: &Value) -> Response {
    gateway.admin_post("/api/revocations", body)
}

fn delete(gateway: &Gateway, id: &str) -> Response {
    Request::new("DELETE", &format!("/api/revocations/{id}")).send(gateway.admin)
}

fn list(gateway: &Gateway, query: &str) -> Value {
    let response = gateway.admin_get(&format!("/api/revocations?{query}"));
    assert_eq!(response.status, 200, "{query}: {}", response.text());
    response.json()
}

fn ids(page: &Value) -> Vec<String> {
    let entries = page["revocations"].as_array().expect("entries");
    entries
        .iter()
        .map(|entry| entry["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn a_revocation_is_created_once_and_confirmed_afterwards() {
    let two = two();
    let before = now();
    for (kind, body) in [
        ("jti", json!({"jti": "j", "issuer": "corp"})),
        ("subject", json!({"subject": "s", "issuer": "corp"})),
        (
            "subject",
            json!({"subject": "s", "issuer": "corp", "issued_before": 1_700_000_000}),
        ),
        ("session", json!({"session": "s", "issuer": "corp"})),
        ("client", json!({"client": "c", "issuer": "corp"})),
        ("key", json!({"key": KID, "issuer": "corp"})),
        ("token", json!({"token": token(json!({}))})),
        (
            "token",
            json!({"token": token(json!({"jti": "t"})), "issuer": "corp"}),
        ),
    ] {
        let created = post(&two.gateway, &body);
        assert_eq!(created.status, 201, "{body}: {}", created.text());
        let entry = created.json();
        assert_eq!(entry["kind"], kind, "{body}");
        assert_eq!(entry["issuer"], "corp", "{body}");
        assert!(
            entry["id"].as_str().is_some_and(|id| !id.is_empty()),
            "{body}"
        );
        assert!(
            (before..=now()).contains(&entry["created_at"].as_i64().unwrap()),
            "{body}: {entry}"
        );
        assert!(entry.get("expires_at").is_some(), "{body}");
        let again = post(&two.gateway, &body);
        assert_eq!(again.status, 200, "{body}: {}", again.text());
        assert_eq!(again.json()["id"], entry["id"], "{body}");
    }
    let all = list(&two.gateway, "");
    assert_eq!(
        ids(&all).into_iter().collect::<BTreeSet<_>>().len(),
        8,
        "eight different ids"
    );
}

#[test]
fn an_issuer_goes_by_its_name_or_its_iss() {
    let two = two();
    let by_name = post(&two.gateway, &json!({"jti": "j", "issuer": "corp"})).json();
    let by_value = post(&two.gateway, &json!({"jti": "j", "issuer": ISSUER}));
    assert_eq!(by_value.status, 200);
    assert_eq!(by_value.json()["id"], by_name["id"]);
    let other = post(&two.gateway, &json!({"jti": "j", "issuer": "endless"}));
    assert_eq!(other.status, 201);
    assert_ne!(other.json()["id"], by_name["id"]);
}

/// A good body with other members.
fn with(members: Value) -> Value {
    changed(json!({"jti": "j", "issuer": "corp"}), members)
}

/// Bodies that name nothing to revoke, too much, or nothing that can be; and the member that the answer must name.
fn wrong_subjects() -> Vec<(&'static str, Value)> {
    let no_slash = ISSUER.trim_end_matches('/');
    vec![
        ("issuer", json!({"jti": "j"})),
        ("issuer", with(json!({"issuer": "nobody"}))),
        ("issuer", with(json!({"issuer": ""}))),
        ("issuer", with(json!({"issuer": 1}))),
        ("issuer", with(json!({"issuer": no_slash}))),
        ("jti", with(json!({"jti": ""}))),
        ("jti", with(json!({"jti": 7}))),
        ("jti", json!({"jti": null, "issuer": "corp"})),
        ("subject", json!({"subject": ["s"], "issuer": "corp"})),
        ("subject", with(json!({"subject": "s"}))),
        ("session", json!({"session": {}, "issuer": "corp"})),
        ("client", json!({"client": true, "issuer": "corp"})),
        ("key", json!({"key": "unknown", "issuer": "corp"})),
        ("key", json!({"key": "", "issuer": "corp"})),
        ("sub", with(json!({"sub": "s"}))),
    ]
}

/// The same for tokens, times and what comes with them.
fn wrong_details() -> Vec<(&'static str, Value)> {
    let unsigned = |claims: Value| format!("e30.{}.", base64url(claims.to_string().as_bytes()));
    let expired = token(json!({"exp": now() - 100}));
    let endless = unsigned(json!({"iss": ISSUER}));
    let vague = unsigned(json!({"iss": ISSUER, "exp": "soon"}));
    let foreign = unsigned(json!({"iss": "https://nobody.example", "exp": now() + 60}));
    let of_corp = token(json!({}));
    let cut_off = |at: Value| json!({"subject": "s", "issuer": "corp", "issued_before": at});
    vec![
        ("token", json!({"token": "not.a.token"})),
        ("token", json!({"token": "opaque"})),
        ("token", json!({"token": 1})),
        ("token", json!({ "token": expired })),
        ("token", json!({ "token": endless })),
        ("token", json!({ "token": vague })),
        ("token", json!({ "token": foreign })),
        ("issuer", json!({"token": of_corp, "issuer": "endless"})),
        ("issued_before", cut_off(json!("yesterday"))),
        ("issued_before", cut_off(json!(-1))),
        ("issued_before", with(json!({"issued_before": 1}))),
        ("expires_at", with(json!({"expires_at": now() - 1}))),
        ("expires_at", with(json!({"expires_at": "2030-01-01"}))),
        ("expires_at", with(json!({"expires_at": true}))),
        ("expires_at", with(json!({"expires_at": 1e300}))),
        ("reason", with(json!({"reason": 1}))),
        ("reason", with(json!({"reason": "x".repeat(1025)}))),
        ("expire_at", with(json!({"expire_at": now() + 60}))),
    ]
}

#[test]
fn a_wrong_body_is_400_and_names_the_member() {
    let two = two();
    for (member, body) in wrong_subjects().into_iter().chain(wrong_details()) {
        let response = post(&two.gateway, &body);
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert_eq!(
            response.json()["member"],
            member,
            "{body}: {}",
            response.text()
        );
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json"),
            "{body}"
        );
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"jti\":\"a\",\"jti\":\"b\",\"issuer\":\"corp\"}",
        "{} {}",
    ] {
        let request =
            Request::new("POST", "/api/revocations").header("Content-Type", "application/json");
        let response = request.body(text.as_bytes()).send(two.gateway.admin);
        assert_eq!(response.status, 400, "{text}: {}", response.text());
    }
    assert_eq!(post(&two.gateway, &json!({"issuer": "corp"})).status, 400);
    assert_eq!(ids(&list(&two.gateway, "")), [""; 0], "nothing was revoked");
}

/// Bodies, and when the entry must end.
fn lifetimes() -> Vec<(Value, Option<i64>)> {
    let (day, soon) = (now() + DAY + LEEWAY, now() + 100);
    let (past, future) = (now() - 1000, now() + 1000);
    let of = |kind: &str, issuer: &str| json!({kind: "x", "issuer": issuer});
    let cut_off =
        |at: i64, issuer: &str| changed(of("subject", issuer), json!({"issued_before": at}));
    let given =
        |kind: &str, issuer: &str| json!({kind: "given", "issuer": issuer, "expires_at": soon});
    let (long, short) = (
        token(json!({"exp": now() + 3000})),
        token(json!({"jti": "g"})),
    );
    vec![
        (of("jti", "corp"), Some(day)),
        (of("session", "corp"), Some(day)),
        (cut_off(past, "corp"), Some(day - 1000)),
        (cut_off(future, "corp"), Some(day + 1000)),
        (json!({ "token": long }), Some(now() + 3000 + LEEWAY)),
        (of("subject", "corp"), None),
        (of("client", "corp"), None),
        (json!({"key": KID, "issuer": "corp"}), None),
        (of("jti", "endless"), None),
        (of("session", "endless"), None),
        (cut_off(past, "endless"), None),
        (given("jti", "corp"), Some(soon)),
        (given("client", "corp"), Some(soon)),
        (given("jti", "endless"), Some(soon)),
        (json!({"token": short, "expires_at": soon}), Some(soon)),
    ]
}

#[test]
fn an_entry_lives_as_long_as_a_token_that_it_covers_can() {
    let two = two();
    for (body, expected) in lifetimes() {
        let response = post(&two.gateway, &body);
        assert_eq!(response.status, 201, "{body}: {}", response.text());
        let found = response.json()["expires_at"].as_i64();
        // The clock goes on between our look at it and the gateway's.
        let is_near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 20,
            (found, expected) => found == expected,
        };
        assert!(is_near, "{body}: {found:?} instead of {expected:?}");
    }
}

#[test]
fn times_are_unix_seconds_or_rfc_3339() {
    let two = two();
    for (place, (given, seconds)) in [
        (json!(4_102_444_800_i64), 4_102_444_800_i64),
        (json!("2100-01-01T00:00:00Z"), 4_102_444_800),
        (json!("2100-01-01T01:30:00+01:30"), 4_102_444_800),
        (json!("2099-12-31t19:00:00.000-05:00"), 4_102_444_800),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"jti": format!("{place}"), "issuer": "corp", "expires_at": given});
        assert_eq!(
            post(&two.gateway, &body).json()["expires_at"],
            seconds,
            "{given}"
        );
    }
    let first = post(
        &two.gateway,
        &json!({"subject": "s", "issuer": "corp", "issued_before": 1_893_456_000}),
    );
    let second = post(
        &two.gateway,
        &json!({"subject": "s", "issuer": "corp", "issued_before": "2030-01-01T00:00:00Z"}),
    );
    assert_eq!(
        (first.status, second.status),
        (201, 200),
        "{}",
        second.text()
    );
    assert_eq!(first.json()["id"], second.json()["id"]);
}

#[test]
fn every_change_leaves_a_record_and_no_token_is_in_it() {
    let stage = Stage::new();
    let secret = token(json!({}));
    let body = json!({"token": secret, "reason": "laptop lost"});
    let entry = post(&stage.gateway, &body).json();
    let id = entry["id"].as_str().unwrap().to_owned();
    let of_change = |change: &str| {
        stage.gateway.wait_for_record(change, |record| {
            record["id"] == id.as_str() && record["change"] == change
        })
    };
    let revoked = of_change("revoked");
    assert_eq!(
        (&revoked["kind"], &revoked["issuer"], &revoked["reason"]),
        (&json!("token"), &json!("corp"), &json!("laptop lost"))
    );
    assert_eq!(delete(&stage.gateway, &id).status, 204);
    of_change("restored");
    let listed = stage.gateway.admin_get("/api/revocations").text();
    for part in secret.split('.') {
        assert!(
            !stage.gateway.log_text().contains(part),
            "a part of the token is in the log"
        );
        assert!(
            !listed.contains(part) && !entry.to_string().contains(part),
            "a part of the token is in an answer"
        );
    }
}

#[test]
fn a_token_goes_by_the_same_id_in_the_list_and_in_the_log() {
    let stage = Stage::new();
    let good = token(json!({}));
    let response = stage.gateway.get("/", &good);
    let record = stage
        .gateway
        .record(response.header("x-request-id").unwrap());
    post(&stage.gateway, &json!({ "token": good }));
    let entry = list(&stage.gateway, "kind=token")["revocations"][0].clone();
    assert_eq!(entry["token_id"], record["token_id"]);
    assert_eq!(entry["token_id"].as_str().map(str::len), Some(16));
}
