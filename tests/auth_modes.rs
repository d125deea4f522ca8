//! Routes that do not ask for a token, or ask without refusing: `auth`, `report_only` and CORS preflights.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{Request, Response, Signer, Stage, claims, now, token};

const NONE: [&str; 0] = [];
const EXPOSED: &str = "WWW-Authenticate, Retry-After, X-Request-Id";

fn stage(lines: &str) -> Stage {
    Stage::with(
        "",
        &format!("name = \"r\"\npath = \"/*\"\nupstream = \"api\"\n{lines}"),
    )
}

fn counted(stage: &Stage, name: &str, labels: &[(&str, &str)]) -> String {
    stage
        .gateway
        .metric(&format!("portcullis_{name}"), labels)
        .to_string()
}

/// A request with that `Authorization`, and a forged identity.
fn with_credential(credential: Option<&str>) -> Request {
    let request = Request::get("/").header("X-Auth-Subject", "forged");
    match credential {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

#[test]
fn an_optional_route_lets_the_anonymous_pass() {
    let stage = stage("auth = \"optional\"\nscopes = [\"profile\"]");
    let good = format!("Bearer {}", token(json!({})));
    let glued = good.replace(' ', "");
    for (credential, subject) in [
        (None, None),
        (Some("Basic YTpi"), None),
        (Some(glued.as_str()), None),
        (Some(good.as_str()), Some("alice")),
    ] {
        let answer = stage.gateway.send(&with_credential(credential));
        assert_eq!(answer.outcome(), "200", "{credential:?}");
        let received = stage.upstream.last();
        assert_eq!(received.header("x-auth-subject"), subject, "{credential:?}");
        assert_eq!(
            received.header("authorization"),
            credential,
            "{credential:?}"
        );
    }
    // T12: no credential, so not even one too many.
    let query = stage.gateway.send(&Request::get("/?access_token=x"));
    assert_eq!(query.outcome(), "200");
    for (issuer, via, count) in [("none", "anonymous", "4"), ("corp", "verified", "1")] {
        let labels = [("issuer", issuer), ("route", "r"), ("via", via)];
        assert_eq!(counted(&stage, "admissions_total", &labels), count, "{via}");
    }
}

#[test]
fn an_optional_route_refuses_a_bad_credential() {
    let stage = stage("auth = \"optional\"\nscopes = [\"profile\"]");
    let bearer = |changes: Value| format!("Bearer {}", token(changes));
    for (credential, expected) in [
        ("Bearer".to_owned(), "400 header_malformed"),
        ("Bearer x".to_owned(), "401 token_opaque"),
        (bearer(json!({"exp": now() - 99})), "401 token_expired"),
        (bearer(json!({"aud": "x"})), "401 audience_mismatch"),
        (bearer(json!({"scope": "x"})), "403 scope_insufficient"),
    ] {
        let answer = stage.gateway.send(&with_credential(Some(&credential)));
        assert_eq!(answer.outcome(), expected);
    }
    let two = Request::get("/").bearer("x").bearer("x");
    assert_eq!(stage.gateway.send(&two).outcome(), "400 token_ambiguous");
    assert_eq!(stage.upstream.count(), 0);
}

// T115
#[test]
fn an_open_route_does_not_look_at_authorization_and_passes_it_on_unchanged() {
    let stage = Stage::with_all(
        "[identity]\nforward_token = false",
        "",
        "path = \"/open/*\"\nupstream = \"api\"\nauth = \"none\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"",
    );
    let expired = format!("Bearer {}", token(json!({"exp": 1})));
    let good = format!("Bearer {}", token(json!({})));
    for values in [
        vec![],
        vec!["Basic YTpi"],
        vec!["Bearer  x y, \"z\""],
        vec![&*expired],
        vec![&*good],
        vec!["Bearer a", "Basic b"],
    ] {
        let request = values
            .iter()
            .fold(Request::get("/open/x?access_token=1"), |request, value| {
                request.header("Authorization", value)
            })
            .header("X-Auth-Subject", "forged");
        assert_eq!(stage.gateway.send(&request).outcome(), "200", "{values:?}");
        let received = stage.upstream.last();
        assert_eq!(received.all("authorization"), values);
        assert_eq!(
            received.all("x-auth-subject"),
            NONE,
            "nobody is known on an open route"
        );
        assert_eq!(received.target, "/open/x?access_token=1");
    }
    assert_eq!(
        stage.gateway.send(&Request::get("/guarded")).outcome(),
        "401 token_missing"
    );
}

/// Requests that rows 3 to 12 refuse, each with its reason and whether the identity is known all the same.
fn refusable() -> Vec<(&'static str, Request, bool)> {
    let get = || Request::get("/r");
    let with = |changes: Value| get().bearer(&token(changes));
    vec![
        ("token_missing", get(), false),
        ("token_ambiguous", get().bearer("a").bearer("b"), false),
        (
            "header_malformed",
            get().header("Authorization", "Bearer"),
            false,
        ),
        ("token_too_large", get().bearer(&"a".repeat(17_000)), false),
        ("token_opaque", get().bearer("x"), false),
        ("token_encrypted", get().bearer("a.b.c.d.e"), false),
        ("token_malformed", get().bearer("a.b.c"), false),
        ("issuer_unknown", with(json!({"iss": "x"})), false),
        ("token_expired", with(json!({"exp": 1})), false),
        (
            "signature_invalid",
            get().bearer(&Signer::new("ES256").sign("corp-1", &claims())),
            false,
        ),
        (
            "token_not_yet_valid",
            with(json!({"nbf": now() + 999})),
            false,
        ),
        ("token_revoked", with(json!({"jti": "revoked"})), false),
        ("audience_mismatch", with(json!({"aud": "x"})), false),
        ("scope_insufficient", with(json!({"scope": "x"})), true),
        ("claim_denied", with(json!({"tenant": "x"})), true),
    ]
}

#[test]
fn a_reporting_route_forwards_what_it_would_refuse_and_counts_it_there_alone() {
    let stage = stage(
        "report_only = true\nscopes = [\"profile\"]\nclaims = [{ claim = \"tenant\", equals = \"acme\" }]",
    );
    let answer = stage.gateway.admin_post(
        "/api/revocations",
        &json!({"jti": "revoked", "issuer": "corp"}),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    for (reason, request, is_known) in refusable() {
        let answer = stage
            .gateway
            .send(&request.header("X-Auth-Subject", "forged"));
        assert_eq!(answer.outcome(), "200", "{reason}");
        let subject = is_known.then_some("alice");
        assert_eq!(
            stage.upstream.last().header("x-auth-subject"),
            subject,
            "{reason}"
        );
        assert_eq!(answer.all("www-authenticate"), NONE, "{reason}");
        assert_eq!(
            counted(
                &stage,
                "would_reject_total",
                &[("reason", reason), ("route", "r")]
            ),
            "1",
            "{reason}"
        );
    }
    assert_eq!(counted(&stage, "rejections_total", &[]), "0");
    assert_eq!(counted(&stage, "admissions_total", &[]), "0");
    assert_eq!(
        stage
            .gateway
            .get("/r", &token(json!({"tenant": "acme"})))
            .outcome(),
        "200"
    );
    assert_eq!(
        stage.upstream.last().header("x-auth-subject"),
        Some("alice")
    );
    assert_eq!(
        counted(&stage, "would_reject_total", &[]),
        refusable().len().to_string()
    );
    assert_eq!(counted(&stage, "admissions_total", &[]), "1");
}

#[test]
fn a_reporting_route_still_refuses_what_the_first_two_rows_refuse() {
    let stage = stage("report_only = true\nmethods = [\"GET\"]");
    for (row, request, expected) in [
        ("path", Request::get("/a//b"), "400 path_ambiguous"),
        (
            "method",
            Request::new("POST", "/a"),
            "405 method_not_allowed",
        ),
        (
            "TRACE",
            Request::new("TRACE", "/a"),
            "405 method_not_allowed",
        ),
        (
            "Host",
            Request::get("/a").header("Host", "a b"),
            "400 request_malformed",
        ),
    ] {
        assert_eq!(stage.gateway.send(&request).outcome(), expected, "{row}");
    }
    assert_eq!(stage.upstream.count(), 0);
    assert_eq!(counted(&stage, "would_reject_total", &[]), "0");
}

fn preflight(target: &str, method: &str) -> Request {
    Request::new("OPTIONS", target)
        .header("Origin", "https://app.example.com")
        .header("Access-Control-Request-Method", method)
}

fn hint(answer: &Response) -> String {
    answer.json()["hint"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

// T120
#[test]
fn a_guarded_preflight_is_refused_and_the_hint_says_what_to_do() {
    let stage = stage("methods = [\"GET\", \"PUT\"]");
    for method in ["GET", "HEAD", "PUT"] {
        let answer = stage.gateway.send(&preflight("/x", method));
        assert_eq!(answer.outcome(), "401 token_missing", "{method}");
        assert!(
            hint(&answer).contains("preflight"),
            "{method}: {}",
            hint(&answer)
        );
        assert_eq!(answer.all("access-control-allow-origin"), NONE, "{method}");
    }
    assert_eq!(
        stage.gateway.send(&preflight("/x", "DELETE")).outcome(),
        "405 method_not_allowed"
    );
    let plain = stage
        .gateway
        .send(&Request::get("/x").header("Origin", "https://app.example.com"));
    assert_eq!(plain.outcome(), "401 token_missing");
    assert!(!hint(&plain).contains("preflight"), "{}", hint(&plain));
    assert_eq!(plain.all("access-control-allow-origin"), NONE);
    assert_eq!(stage.upstream.count(), 0);
}

// T120
#[test]
fn a_forwarded_preflight_needs_no_token() {
    let stage = stage("methods = [\"GET\", \"PUT\"]\npreflight = \"forward\"");
    for method in ["GET", "PUT"] {
        let request = preflight("/x?y=z", method)
            .header("X-Auth-Subject", "forged")
            .header("Access-Control-Request-Headers", "authorization");
        let answer = stage.gateway.send(&request);
        assert_eq!(answer.outcome(), "200", "{method}");
        let received = stage.upstream.last();
        assert_eq!(
            (&*received.method, &*received.target),
            ("OPTIONS", "/x?y=z")
        );
        assert_eq!(received.all("access-control-request-method"), [method]);
        assert_eq!(
            received.all("access-control-request-headers"),
            ["authorization"]
        );
        assert_eq!(received.all("x-auth-subject"), NONE);
        // The API answers for itself; the gateway adds nothing to what it lets through.
        assert_eq!(answer.all("access-control-allow-origin"), NONE);
    }
}

// T120
#[test]
fn what_is_no_preflight_passes_for_none() {
    const OTHER: &str = "405 method_not_allowed";
    let stage = stage("methods = [\"GET\", \"PUT\"]\npreflight = \"forward\"");
    let asking = |request: Request| request.header("Access-Control-Request-Method", "GET");
    let from_origin = |method| Request::new(method, "/x").header("Origin", "https://a.example");
    for (row, request, expected) in [
        ("a method not listed", preflight("/x", "DELETE"), OTHER),
        ("CONNECT", preflight("/x", "CONNECT"), OTHER),
        ("lower case", preflight("/x", "put"), OTHER),
        ("two methods", asking(preflight("/x", "PUT")), OTHER),
        ("no Origin", asking(Request::new("OPTIONS", "/x")), OTHER),
        ("no method", from_origin("OPTIONS"), OTHER),
        ("GET", asking(from_origin("GET")), "401 token_missing"),
        ("PUT", from_origin("PUT"), "401 token_missing"),
        ("path", preflight("/x/../y", "GET"), "400 path_ambiguous"),
    ] {
        assert_eq!(stage.gateway.send(&request).outcome(), expected, "{row}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn a_forwarded_preflight_carries_no_body_no_credential_and_no_other_method() {
    let stage = stage("preflight = \"forward\"");
    let laden = preflight("/x", "PUT")
        .bearer("anything")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("X_Method_Override", "DELETE")
        .header("Content-Length", "0");
    assert_eq!(stage.gateway.send(&laden).outcome(), "200");
    let received = stage.upstream.last();
    for name in [
        "authorization",
        "x-http-method-override",
        "x_method_override",
    ] {
        assert_eq!(received.all(name), NONE, "{name}");
    }
    let with_body = preflight("/x", "PUT").body(b"delete everything");
    let chunked = "OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\
                   Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for answer in [
        stage.gateway.send(&with_body),
        support::raw(stage.gateway.public, chunked.as_bytes()).unwrap(),
    ] {
        assert_eq!(answer.outcome(), "401 token_missing");
    }
    assert_eq!(stage.upstream.count(), 1);
}

#[test]
fn a_preflight_is_routed_by_the_method_that_it_asks_for() {
    let stage = Stage::with(
        "",
        "name = \"read\"\npath = \"/x\"\nmethods = [\"GET\"]\nupstream = \"api\"\npreflight = \"forward\"\n\
         [[route]]\nname = \"write\"\npath = \"/x\"\nmethods = [\"PUT\", \"OPTIONS\"]\nupstream = \"api\"",
    );
    assert_eq!(stage.gateway.send(&preflight("/x", "GET")).outcome(), "200");
    assert_eq!(
        stage.gateway.send(&preflight("/x", "PUT")).outcome(),
        "401 token_missing"
    );
    assert_eq!(
        stage.gateway.send(&Request::new("OPTIONS", "/x")).outcome(),
        "401 token_missing"
    );
    assert_eq!(
        counted(&stage, "admissions_total", &[("route", "read")]),
        "1"
    );
    assert_eq!(
        counted(&stage, "rejections_total", &[("route", "write")]),
        "2"
    );
}

#[test]
fn browsers_can_read_the_rejections_of_a_forwarding_route() {
    let stage = stage("scopes = [\"profile\"]\npreflight = \"forward\"");
    for (changes, expected) in [
        (json!({"exp": 1}), "401 token_expired"),
        (json!({"scope": "x"}), "403 scope_insufficient"),
        (json!({"aud": "x"}), "401 audience_mismatch"),
    ] {
        let request = Request::get("/x").bearer(&token(changes));
        let plain = stage.gateway.send(&request);
        assert_eq!(plain.outcome(), expected);
        assert_eq!(
            plain.all("access-control-allow-origin"),
            NONE,
            "{expected}: no Origin"
        );
        let answer = stage
            .gateway
            .send(&request.header("Origin", "https://app.example.com"));
        assert_eq!(answer.outcome(), expected);
        assert_eq!(
            answer.all("access-control-allow-origin"),
            ["*"],
            "{expected}"
        );
        assert_eq!(
            answer.all("access-control-expose-headers"),
            [EXPOSED],
            "{expected}"
        );
        assert_eq!(
            answer.all("access-control-allow-credentials"),
            NONE,
            "{expected}"
        );
    }
    let answer = stage
        .gateway
        .send(&Request::get("/x").header("Origin", "null"));
    assert_eq!(
        (
            answer.outcome().as_str(),
            answer.all("access-control-allow-origin")
        ),
        ("401 token_missing", vec!["*"])
    );
}
