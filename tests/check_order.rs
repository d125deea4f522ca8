//! In which order a token is judged: the contract's table from row 4 to row 12.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::json;
use support::{ISSUER, KID, Signer, Stage, changed, claims, corp, now, raw};

const INSUFFICIENT: &str = "403 scope_insufficient";
const DENIED: &str = "403 claim_denied";

/// A stage with one route for each name, under that name, with those lines.
fn routes(rows: &[(&str, &str)]) -> Stage {
    let sections: Vec<String> = rows
        .iter()
        .map(|(name, lines)| {
            format!("name = \"{name}\"\npath = \"/{name}/*\"\nupstream = \"api\"\n{lines}")
        })
        .collect();
    Stage::with("", &sections.join("\n[[route]]\n"))
}

/// A token with every fault that is named; the first of the table's order must be the reason.
fn faulty(faults: &[&str]) -> String {
    let has = |fault: &str| faults.contains(&fault);
    let mut changes = json!({});
    for (fault, name, value) in [
        ("issuer", "iss", json!("https://evil.example")),
        ("expiry", "exp", json!(now() - 3600)),
        ("binding", "cnf", json!({"jkt": "x"})),
        ("kind", "token_use", json!("id")),
        ("early", "nbf", json!(now() + 3600)),
        ("future", "iat", json!(now() + 3000)),
        ("lifetime", "exp", json!(now() + 200_000)),
        ("audience", "aud", json!("https://other.example")),
        ("scope", "scope", json!("")),
    ] {
        if has(fault) {
            changes[name] = value;
        }
    }
    let claims = changed(
        claims(),
        changed(
            json!({"tenant": if has("claim") { "other" } else { "acme" }, "jti": "order"}),
            changes,
        ),
    );
    let algorithm = if has("algorithm") { "none" } else { "ES256" };
    let header = json!({"alg": algorithm, "kid": KID, "zip": has("form").then_some("DEF")});
    let header = changed(json!({}), header);
    if has("signature") {
        Signer::new("ES256").sign_with_header(&header, &claims)
    } else {
        corp().sign_with_header(&header, &claims)
    }
}

#[test]
fn the_first_fault_in_the_order_of_the_checks_is_the_reason() {
    let stage = routes(&[(
        "r",
        "scopes = [\"profile\"]\nclaims = [{ claim = \"tenant\", equals = \"acme\" }]",
    )]);
    assert_eq!(stage.gateway.get("/r/x", &faulty(&[])).outcome(), "200");
    let order = [
        ("form", "401 token_malformed"),
        ("issuer", "401 issuer_unknown"),
        ("algorithm", "401 algorithm_forbidden"),
        ("expiry", "401 token_expired"),
        ("signature", "401 signature_invalid"),
        ("kind", "401 token_type_mismatch"),
        ("binding", "401 token_binding_unproven"),
        ("early", "401 token_not_yet_valid"),
        ("future", "401 token_issued_in_future"),
        ("audience", "401 audience_mismatch"),
        ("scope", INSUFFICIENT),
        ("claim", DENIED),
    ];
    for (place, (fault, expected)) in order.iter().enumerate() {
        let faults: Vec<&str> = order[place..].iter().map(|(fault, _)| *fault).collect();
        let all = stage.gateway.get("/r/x", &faulty(&faults)).outcome();
        assert_eq!(all, *expected, "{fault} and all that come later");
        assert_eq!(
            stage.gateway.get("/r/x", &faulty(&[fault])).outcome(),
            *expected,
            "{fault} alone"
        );
    }
    let lifetime = stage
        .gateway
        .get("/r/x", &faulty(&["lifetime", "audience"]))
        .outcome();
    assert_eq!(lifetime, "401 token_lifetime_exceeded");
}

// T69
#[test]
fn a_revoked_token_is_revoked_before_its_audience_is_asked() {
    let stage = routes(&[("r", "scopes = [\"profile\"]")]);
    let rows = [
        ("audience", "401 audience_mismatch"),
        ("scope", INSUFFICIENT),
    ];
    for (fault, before) in rows {
        assert_eq!(
            stage.gateway.get("/r/x", &faulty(&[fault])).outcome(),
            before
        );
    }
    let answer = stage.gateway.admin_post(
        "/api/revocations",
        &json!({"jti": "order", "issuer": ISSUER}),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    for (fault, _) in rows {
        assert_eq!(
            stage.gateway.get("/r/x", &faulty(&[fault])).outcome(),
            "401 token_revoked",
            "{fault}"
        );
    }
    for (fault, expected) in [
        ("kind", "401 token_type_mismatch"),
        ("signature", "401 signature_invalid"),
        ("expiry", "401 token_expired"),
    ] {
        assert_eq!(
            stage.gateway.get("/r/x", &faulty(&[fault])).outcome(),
            expected,
            "{fault}"
        );
    }
}

#[test]
fn the_first_row_goes_from_malformed_to_too_large_to_ambiguous() {
    let limits = "[server.limits]\nheader_bytes = \"4KiB\"\nbody_bytes = \"10B\"\n";
    let stage = Stage::with_all(limits, "", "path = \"/*\"\nupstream = \"api\"");
    let (long, large) = (
        format!("X-Long: {}\r\n", "a".repeat(5000)),
        "Content-Length: 11\r\n",
    );
    let (host, options) = ("Host: a\r\n", vec!["x"; 65].join(","));
    for (line, headers, expected) in [
        (
            "GET /a;b",
            format!("{long}{large}"),
            "400 request_malformed",
        ),
        (
            "GET /a;b",
            format!("{host}{host}{long}{large}"),
            "400 request_malformed",
        ),
        (
            "GET /a;b",
            format!("{host}{long}Transfer-Encoding: gzip, chunked\r\n"),
            "400 request_malformed",
        ),
        (
            "GET /a;b",
            format!("{host}{long}Connection: {options}\r\n"),
            "400 request_malformed",
        ),
        (
            "GET *",
            format!("{host}{long}{large}"),
            "400 request_malformed",
        ),
        (
            "GET ftp://a/a;b",
            format!("{host}{long}{large}"),
            "400 request_malformed",
        ),
        (
            "TRACE /a;b",
            format!("{host}{long}{large}"),
            "431 header_too_large",
        ),
        ("TRACE /a;b", format!("{host}{large}"), "413 body_too_large"),
        ("TRACE /a;b", host.to_owned(), "400 path_ambiguous"),
        ("TRACE /a", host.to_owned(), "405 method_not_allowed"),
    ] {
        let request = format!("{line} HTTP/1.1\r\n{headers}\r\n");
        let answer = raw(stage.gateway.public, request.as_bytes()).unwrap();
        assert_eq!(answer.outcome(), expected, "{line} {headers:.40}");
    }
    assert_eq!(stage.upstream.count(), 0);
}
