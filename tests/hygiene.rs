//! What logs and metrics never hold: secrets at any level, raw control characters, labels that a client chooses.

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
use support::{KID, Request, Signer, Stage, changed, claims, corp, token};

const ROUTES: &str = r#"
path = "/guarded/*"
upstream = "api"
[[route]]
path = "/scoped/*"
upstream = "api"
scopes = ["admin"]
[[route]]
path = "/open/*"
upstream = "api"
auth = "none"
[[route]]
path = "/lenient/*"
upstream = "api"
report_only = true
[[route]]
path = "/away/*"
upstream = "away"
auth = "none"
[[upstream]]
name = "away"
servers = ["http://127.0.0.1:9"]
"#;

/// A token of each kind that ends another way.
fn tokens() -> Vec<String> {
    let header = |header: Value| corp().sign_with_header(&header, &claims());
    let good = token(json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    vec![
        good.clone(),
        token(json!({"exp": 1})),
        token(json!({"iss": "https://other.example/secretissuer"})),
        token(json!({"aud": "other"})),
        token(json!({"scope": null, "nbf": "wrong"})),
        format!("{signed}.{}", support::base64url(&[7; 64])),
        Signer::new("ES256").sign(KID, &claims()),
        Signer::new("ES256").sign("other-kid", &claims()),
        header(json!({"alg": "none"})),
        header(json!({"alg": "HS256", "kid": KID})),
        format!("{good}.five.parts"),
        "opaquesecretopaquesecret".to_owned(),
        format!("{signed}."),
    ]
}

/// A request that holds a secret wherever one can be.
fn laden(token: &str, target: &str) -> Request {
    Request::new("POST", target)
        .bearer(token)
        .header("Cookie", "session=cookiesecret")
        .header("Proxy-Authorization", "Basic proxysecret")
        .header("X-Api-Key", "headersecret")
        .header("Referer", "https://app.example/?t=referersecret")
        .body(b"password=bodysecret")
}

/// Admitted and refused in every way.
const PATHS: [&str; 7] = [
    "/guarded/x",
    "/scoped/x",
    "/open/x",
    "/lenient/x",
    "/nowhere",
    "/away/x",
    "/a;b",
];

// T146
#[test]
fn no_secret_of_a_request_is_ever_logged() {
    let top = "[log]\nformat = \"json\"\nlevel = \"trace\"\n";
    let stage = Stage::with_all(top, "", ROUTES);
    let tokens = tokens();
    for (token, path) in tokens
        .iter()
        .flat_map(|token| PATHS.map(|path| (token, path)))
    {
        stage
            .gateway
            .send(&laden(token, &format!("{path}?code=querysecret")));
    }
    stage
        .gateway
        .send(&laden(&tokens[0], "/guarded/x?access_token=querysecret"));
    stage.gateway.send(
        &Request::get("/guarded/x").header("Authorization", "Basic dXNlcjpiYXNpY3NlY3JldA=="),
    );
    stage
        .gateway
        .send(&Request::get("/guarded/x").header("Authorization", "Bearer two secretwords"));
    stage
        .gateway
        .send(&Request::get("http://user:urlsecret@a/").header("Host", "a"));
    stage
        .gateway
        .send(&Request::get("/").header("Host", "user:hostsecret@a"));
    // A path is no place for a token, and some clients put one there.
    stage
        .gateway
        .send(&Request::get(&format!("/open/{}/x", tokens[0])));
    stage
        .gateway
        .send(&Request::get("/open/last").header("X-Request-Id", "last"));
    stage.gateway.record("last");
    let admitted = Request::get("/guarded/x")
        .bearer(&tokens[0])
        .header("X-Request-Id", "admitted");
    stage.gateway.send(&admitted);
    let record = stage.gateway.record("admitted");
    let log = stage.gateway.log_as_written();
    let metrics = stage.gateway.admin_get("/metrics").text();
    for text in [&log, &metrics] {
        for token in &tokens {
            for part in token.split('.').filter(|part| part.len() > 12) {
                assert!(!text.contains(part), "{part} of {token}");
            }
        }
        for word in ["secret", "dXNlcjpi", "access_token", "Bearer ey"] {
            let line = text.lines().find(|line| line.contains(word));
            assert!(line.is_none(), "{word}: {line:?}");
        }
    }
    // A trace of it there is: the record, and the token's digest.
    assert_eq!(record["token_id"].as_str().unwrap().len(), 16);
    assert_eq!(record["path"], "/guarded/x");
}

// T145
#[test]
fn no_client_can_write_a_log_line_of_its_own() {
    let stage = Stage::with_all("[log]\nformat = \"json\"\nlevel = \"debug\"\n", "", ROUTES);
    let nasty = "a\n{\"message\":\"forged\"}\r\u{1b}[31m\u{2028}\u{85}\u{0}";
    let subject = token(json!({"sub": nasty, "jti": nasty, "client_id": nasty}));
    let kid = corp().sign_with_header(&json!({"alg": "ES256", "kid": nasty}), &claims());
    let issuer = token(json!({"iss": nasty}));
    let lengthy = token(json!({"sub": "s".repeat(6000)}));
    for token in [&subject, &kid, &issuer, &lengthy] {
        stage.gateway.get("/guarded/x", token);
    }
    let paths = [
        "/open/%0a%7b%22forged%22",
        "/open/%1b[31m",
        "/open/%E2%80%A8forged",
        "/open/\"},{\"message\":\"forged\"",
        "/open/x",
    ];
    for path in paths {
        stage.gateway.send(
            &Request::get(path)
                .header("User-Agent", "\u{1b}[31m")
                .header("X-Request-Id", "a\"b"),
        );
    }
    stage
        .gateway
        .send(&Request::get(&format!("/open/{}", "p".repeat(20_000))));
    stage
        .gateway
        .send(&Request::new("FOR\"GED", "/open/x").header("Host", "a"));
    stage
        .gateway
        .send(&Request::get("/open/last").header("X-Request-Id", "last"));
    stage.gateway.record("last");
    let log = stage.gateway.log_as_written();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert!(entry.is_object(), "no record of ours: {line}");
        assert_ne!(entry["message"], "forged", "{line}");
        assert!(
            !line.contains(['\u{1b}', '\u{2028}', '\u{85}', '\u{0}', '\r']),
            "{line:?}"
        );
        assert!(
            line.len() < 8 << 10,
            "a line of {} bytes: {}",
            line.len(),
            &line[..200]
        );
    }
}

/// Every series by its name and labels.
fn series(stage: &Stage) -> BTreeSet<String> {
    let text = stage.gateway.admin_get("/metrics").text();
    let is_series = |line: &&str| !line.starts_with('#') && !line.is_empty();
    text.lines()
        .filter(is_series)
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

/// One request of each outcome; `salt` makes everything that a client may choose another.
fn flood(stage: &Stage, salt: &str) {
    let issuer = format!("https://{salt}.example/");
    let kid = format!("kid-{salt}");
    let header = json!({"alg": format!("X{salt}"), "kid": kid, "typ": salt});
    let subject = json!({"sub": salt, "client_id": salt, "jti": salt, "scope": salt, salt: salt});
    for token in [
        token(json!({"iss": issuer})),
        // Issued long enough before the last fetch for that to answer whether there is such a key.
        corp().sign(
            &kid,
            &changed(claims(), json!({"iat": support::now() - 300})),
        ),
        Signer::hmac("HS256", salt.as_bytes()).sign_with_header(&header, &claims()),
        corp().sign(KID, &changed(claims(), subject)),
        salt.to_owned(),
    ] {
        for target in [
            "/guarded/x",
            "/scoped/x",
            "/open/x",
            "/lenient/x",
            "/nowhere/x",
        ] {
            let request = Request::new("GET", &format!("{target}/{salt}?{salt}={salt}"));
            let request = request
                .header("Host", &format!("{salt}.example"))
                .header(&format!("X-{salt}"), salt);
            stage
                .gateway
                .send(&request.bearer(&token).header("X-Request-Id", salt));
        }
    }
    stage
        .gateway
        .send(&Request::new(&format!("M{salt}"), "/open/x"));
    stage
        .gateway
        .send(&Request::new(&format!("M{salt}"), "/guarded/x"));
    stage.gateway.send(&Request::get(&format!("/{salt};a")));
    stage
        .gateway
        .send(&Request::get("/").header("Host", &format!("{salt},a")));
    stage.gateway.send(&Request::get(&format!("/away/{salt}")));
}

// T147
#[test]
fn no_client_can_add_a_series_to_the_metrics() {
    let stage = Stage::with("", ROUTES);
    flood(&stage, "warmup");
    let before = series(&stage);
    for number in 0..20 {
        flood(&stage, &format!("salt{number}"));
    }
    let after = series(&stage);
    let added: Vec<_> = after.difference(&before).collect();
    assert!(added.is_empty(), "{added:#?}");
    let named: Vec<_> = after
        .iter()
        .filter(|line| line.contains("salt") || line.contains("warmup"))
        .collect();
    assert!(named.is_empty(), "{named:#?}");
    assert!(
        stage.gateway.metric(
            "portcullis_rejections_total",
            &[("issuer", "unknown"), ("reason", "issuer_unknown")]
        ) >= 42.0
    );
    assert!(
        stage.gateway.metric(
            "portcullis_requests_total",
            &[("route", "none"), ("status", "404")]
        ) >= 21.0
    );
}
