//! Where a token may stand in a request and of what form it is: rows 3 and 4 of the contract's table.

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
use support::{Gateway, Request, Stage, raw, token};

/// Sends GETs, each with one `Authorization`, and compares what comes of them.
fn check(gateway: &Gateway, rows: &[(&str, String)], expected: &str) {
    for (row, value) in rows {
        let request = Request::get("/").header("Authorization", value);
        assert_eq!(gateway.send(&request).outcome(), expected, "{row}");
    }
}

// T4, T5
#[test]
fn the_word_bearer_in_any_case_and_any_spaces_lead_a_token() {
    let stage = Stage::new();
    let good = token(json!({}));
    let rows = [
        ("as usual", format!("Bearer {good}")),
        ("lower case", format!("bearer {good}")),
        ("upper case", format!("BEARER {good}")),
        ("mixed case", format!("bEaReR {good}")),
        ("many spaces", format!("Bearer     {good}")),
    ];
    check(&stage.gateway, &rows, "200");
    assert_eq!(stage.upstream.count(), rows.len());
}

// T2, T10
#[test]
fn another_scheme_is_no_credential() {
    let stage = Stage::new();
    let good = token(json!({}));
    let rows = [
        ("Basic", "Basic YTpi".to_owned()),
        ("nothing", String::new()),
        ("a bare token", good.clone()),
        ("DPoP", format!("DPoP {good}")),
        ("glued to the scheme", format!("Bearer{good}")),
        ("a colon behind the scheme", format!("Bearer: {good}")),
    ];
    check(&stage.gateway, &rows, "401 token_missing");
    assert_eq!(stage.upstream.count(), 0);
}

// T3, T6, T7, T9, T10, T11, T20
#[test]
fn behind_bearer_there_is_one_b64token_and_nothing_else() {
    let stage = Stage::new();
    let good = token(json!({}));
    let rows = [
        ("nothing behind", "Bearer".to_owned()),
        ("a space behind", "Bearer ".to_owned()),
        ("a tab", format!("Bearer\t{good}")),
        ("a space and a tab", format!("Bearer \t{good}")),
        ("something behind", format!("Bearer {good} extra")),
        ("a word between", format!("Bearer token {good}")),
        ("the scheme twice", format!("Bearer Bearer {good}")),
        ("a comma inside", format!("Bearer {good},{good}")),
        ("a comma behind", format!("Bearer {good},")),
        ("joined, good first", format!("Bearer {good}, Basic YTpi")),
        ("joined, twice", format!("Bearer {good}, Bearer {good}")),
        ("double quotes", format!("Bearer \"{good}\"")),
        ("single quotes", format!("Bearer '{good}'")),
        ("angle brackets", format!("Bearer <{good}>")),
        ("not ASCII", format!("Bearer {good}\u{e9}")),
        ("padding alone", "Bearer ==".to_owned()),
        ("padding inside", "Bearer a=b.c.d".to_owned()),
        ("escapes", format!("Bearer {}", good.replace('.', "%2E"))),
        ("JSON", r#"Bearer {"payload":"e30"}"#.to_owned()),
        ("a parameter", format!("Bearer token=\"{good}\"")),
    ];
    check(&stage.gateway, &rows, "400 header_malformed");
    // As an intermediary joins two header lines: more than one credential.
    let joined = [("joined, good last", format!("Basic YTpi, Bearer {good}"))];
    check(&stage.gateway, &joined, "400 token_ambiguous");
    assert_eq!(stage.upstream.count(), 0);
}

// T11
#[test]
fn control_bytes_in_the_header_are_refused() {
    let stage = Stage::new();
    for byte in [0_u8, 1, 8, 11, 27, 127] {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a".to_vec();
        bytes.push(byte);
        bytes.extend_from_slice(b"b.c\r\n\r\n");
        let answer = raw(stage.gateway.public, &bytes).expect("an answer");
        assert_eq!(answer.status, 400, "{byte}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T1
#[test]
fn no_credential_is_challenged_without_an_error() {
    let stage = Stage::new();
    let answer = stage.gateway.send(&Request::get("/"));
    assert_eq!(answer.outcome(), "401 token_missing");
    assert_eq!(
        answer.all("www-authenticate"),
        ["Bearer realm=\"portcullis\""]
    );
}

// T8
#[test]
fn two_authorization_headers_are_ambiguous_whatever_they_hold() {
    let stage = Stage::new();
    let good = format!("Bearer {}", token(json!({})));
    let basic = "Basic YTpi".to_owned();
    for (row, first, second) in [
        ("the same twice", &good, &good),
        ("another scheme first", &basic, &good),
        ("another scheme last", &good, &basic),
        ("another scheme twice", &basic, &basic),
        ("an empty one last", &good, &String::new()),
        ("an empty one first", &String::new(), &good),
    ] {
        for name in ["Authorization", "AUTHORIZATION"] {
            let request = Request::get("/")
                .header("authorization", first)
                .header(name, second);
            let answer = stage.gateway.send(&request);
            assert_eq!(answer.outcome(), "400 token_ambiguous", "{row}, {name}");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(
                challenge.contains("error=\"invalid_request\""),
                "{row}: {challenge}"
            );
        }
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T12, T13
#[test]
fn a_token_in_the_query_is_no_credential_and_beside_a_header_one_too_many() {
    let stage = Stage::new();
    let good = token(json!({}));
    for (query, with_header) in [
        (format!("access_token={good}"), "400 token_ambiguous"),
        (
            format!("a=b&access_token={good}&c=d"),
            "400 token_ambiguous",
        ),
        (
            format!("access_token={good}&access_token={good}"),
            "400 token_ambiguous",
        ),
        (format!("access%5Ftoken={good}"), "400 token_ambiguous"),
        (format!("%61ccess_toke%6e={good}"), "400 token_ambiguous"),
        ("access_token=".to_owned(), "400 token_ambiguous"),
        ("access_token".to_owned(), "400 token_ambiguous"),
        (format!("ACCESS_TOKEN={good}"), "200"),
        ("x=access_token".to_owned(), "200"),
        ("my_access_token=1&access_token2=1".to_owned(), "200"),
        ("id_token=1&token=2".to_owned(), "200"),
    ] {
        let target = format!("/?{query}");
        let alone = stage.gateway.send(&Request::get(&target));
        assert_eq!(alone.outcome(), "401 token_missing", "alone: {query}");
        assert_eq!(
            stage.gateway.get(&target, &good).outcome(),
            with_header,
            "beside: {query}"
        );
    }
}

// T14
#[test]
fn a_token_anywhere_else_is_not_looked_at() {
    let stage = Stage::new();
    let good = token(json!({}));
    for (name, value) in [
        (
            "Cookie",
            format!("access_token={good}; token={good}; Authorization=Bearer {good}"),
        ),
        ("X-Access-Token", good.clone()),
        ("Access-Token", good.clone()),
        ("X-Auth-Token", good.clone()),
        ("X-Authorization", format!("Bearer {good}")),
        ("Proxy-Authorization", format!("Bearer {good}")),
        ("X-Original-Authorization", format!("Bearer {good}")),
        ("X-Forwarded-Authorization", format!("Bearer {good}")),
        ("X-Forwarded-Access-Token", good.clone()),
        ("Sec-WebSocket-Protocol", format!("bearer, {good}")),
        ("X_Authorization", format!("Bearer {good}")),
        ("Authorization_", format!("Bearer {good}")),
        ("DPoP", good.clone()),
    ] {
        let answer = stage.gateway.send(&Request::get("/").header(name, &value));
        assert_eq!(answer.outcome(), "401 token_missing", "{name}");
    }
    let form = Request::new("POST", "/")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("access_token={good}").as_bytes());
    assert_eq!(
        stage.gateway.send(&form).outcome(),
        "401 token_missing",
        "a form"
    );
    assert_eq!(stage.upstream.count(), 0);
}

// T15
#[test]
fn headers_that_pass_for_the_original_credential_do_not_reach_the_upstream() {
    let stage = Stage::new();
    let good = token(json!({}));
    let names = [
        "X-Original-Authorization",
        "X_Original_Authorization",
        "x-originalauthorization",
        "X-Forwarded-Authorization",
        "X-Forwarded-Access-Token",
        "X_Forwarded_Access_Token",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "Proxy-Authorization",
    ];
    let request = names
        .iter()
        .fold(Request::get("/").bearer(&good), |request, name| {
            request.header(name, "Bearer forged")
        })
        .header("X-Harmless", "stays");
    assert_eq!(stage.gateway.send(&request).outcome(), "200");
    let received = stage.upstream.last();
    for name in names {
        assert_eq!(received.all(name), [""; 0], "{name}");
    }
    assert_eq!(received.all("authorization"), [format!("Bearer {good}")]);
    assert_eq!(received.all("x-harmless"), ["stays"]);
}
