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
use support::{AUDIENCE, Gateway, Request, Stage, raw, token};

/// Sends GETs, each with one `Authorization`, and compares what comes of them.
fn check(gateway: &Gateway, rows: &[(&str, String, &str)]) {
    for (row, value, expected) in rows {
        let request = Request::get("/").header("Authorization", value);
        assert_eq!(gateway.send(&request).outcome(), *expected, "{row}");
    }
}

// T2, T3, T4, T5, T6, T7, T9, T10, T11, T20
#[test]
fn only_the_word_bearer_spaces_and_one_b64token_make_a_credential() {
    let stage = Stage::new();
    let good = token(json!({}));
    let rows = [
        ("another scheme", "Basic YTpi".to_owned(), "401 token_missing"),
        ("an empty header", String::new(), "401 token_missing"),
        ("a bare token", good.clone(), "401 token_missing"),
        ("the scheme of DPoP", format!("DPoP {good}"), "401 token_missing"),
        ("glued to the scheme", format!("Bearer{good}"), "401 token_missing"),
        ("a colon", format!("Bearer: {good}"), "401 token_missing"),
        ("an equals sign", format!("Bearer={good}"), "401 token_missing"),
        ("nothing behind", "Bearer".to_owned(), "400 header_malformed"),
        ("a space behind", "Bearer ".to_owned(), "400 header_malformed"),
        ("as usual", format!("Bearer {good}"), "200"),
        ("lower case", format!("bearer {good}"), "200"),
        ("upper case", format!("BEARER {good}"), "200"),
        ("mixed case", format!("bEaReR {good}"), "200"),
        ("many spaces", format!("Bearer     {good}"), "200"),
        ("a tab", format!("Bearer\t{good}"), "400 header_malformed"),
        ("a space and a tab", format!("Bearer \t{good}"), "400 header_malformed"),
        ("something behind", format!("Bearer {good} extra"), "400 header_malformed"),
        ("a word between", format!("Bearer token {good}"), "400 header_malformed"),
        ("the scheme twice", format!("Bearer Bearer {good}"), "400 header_malformed"),
        ("a comma inside", format!("Bearer {good},{good}"), "400 header_malformed"),
        ("a comma behind", format!("Bearer {good},"), "400 header_malformed"),
        ("joined, good first", format!("Bearer {good}, Basic YTpi"), "400 header_malformed"),
        ("joined, good twice", format!("Bearer {good}, Bearer {good}"), "400 header_malformed"),
        ("joined, good last", format!("Basic YTpi, Bearer {good}"), "400 token_ambiguous"),
        ("double quotes", format!("Bearer \"{good}\""), "400 header_malformed"),
        ("single quotes", format!("Bearer '{good}'"), "400 header_malformed"),
        ("angle brackets", format!("Bearer <{good}>"), "400 header_malformed"),
        ("not ASCII", format!("Bearer {good}\u{e9}"), "400 header_malformed"),
        ("a space not ASCII", format!("Bearer\u{a0}{good}"), "401 token_missing"),
        ("padding alone", "Bearer ==".to_owned(), "400 header_malformed"),
        ("padding inside", "Bearer a=b.c.d".to_owned(), "400 header_malformed"),
        ("percent-escapes", format!("Bearer {}", good.replace('.', "%2E")), "400 header_malformed"),
        ("JSON", r#"Bearer {"payload":"e30","signature":"x"}"#.to_owned(), "400 header_malformed"),
        ("a parameter", format!("Bearer token=\"{good}\""), "400 header_malformed"),
    ];
    check(&stage.gateway, &rows);
    assert_eq!(stage.upstream.count(), 5, "only the good ones went on");
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
    assert_eq!(answer.all("www-authenticate"), ["Bearer realm=\"portcullis\""]);
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
            let request = Request::get("/").header("authorization", first).header(name, second);
            let answer = stage.gateway.send(&request);
            assert_eq!(answer.outcome(), "400 token_ambiguous", "{row}, {name}");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.contains("error=\"invalid_request\""), "{row}: {challenge}");
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
        (format!("a=b&access_token={good}&c=d"), "400 token_ambiguous"),
        (format!("access_token={good}&access_token={good}"), "400 token_ambiguous"),
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
        assert_eq!(stage.gateway.get(&target, &good).outcome(), with_header, "beside: {query}");
    }
}

// T14
#[test]
fn a_token_anywhere_else_is_not_looked_at() {
    let stage = Stage::new();
    let good = token(json!({}));
    for (name, value) in [
        ("Cookie", format!("access_token={good}; token={good}; Authorization=Bearer {good}")),
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
    assert_eq!(stage.gateway.send(&form).outcome(), "401 token_missing", "a form");
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
        .fold(Request::get("/").bearer(&good), |request, name| request.header(name, "Bearer forged"))
        .header("X-Harmless", "stays");
    assert_eq!(stage.gateway.send(&request).outcome(), "200");
    let received = stage.upstream.last();
    for name in names {
        assert_eq!(received.all(name), [""; 0], "{name}");
    }
    assert_eq!(received.all("authorization"), [format!("Bearer {good}")]);
    assert_eq!(received.all("x-harmless"), ["stays"]);
}

/// The longest good token of at most that length; base64 cannot have every length.
fn longest_token(limit: usize) -> String {
    let padded = |bytes: usize| token(json!({"pad": "x".repeat(bytes)}));
    let most = (limit - padded(0).len()) * 3 / 4;
    let fitting = (most - 6..most + 6).rev().map(padded).find(|token| token.len() <= limit);
    fitting.expect("a token that fits")
}

// T16
#[test]
fn a_token_may_be_as_long_as_the_limit_and_no_longer() {
    let stage = Stage::new();
    let limit = 16 * 1024;
    let longest = longest_token(limit);
    let too_long = format!("{longest:=<width$}", width = limit + 1);
    assert!(longest.len() + 1 >= limit, "{}", longest.len());
    check(
        &stage.gateway,
        &[
            ("at the limit", format!("Bearer {longest}"), "200"),
            ("opaque, at the limit", format!("Bearer {}", "a".repeat(limit)), "401 token_opaque"),
            ("one over", format!("Bearer {}", "a".repeat(limit + 1)), "400 token_too_large"),
            ("good and one over", format!("Bearer {too_long}"), "400 token_too_large"),
            ("broken and too long", format!("Bearer {},", "a".repeat(limit)), "400 header_malformed"),
            ("beyond the head", format!("Bearer {}", "a".repeat(64 * 1024)), "431 header_too_large"),
        ],
    );
    let small = Stage::with_all(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nlimits = { token_bytes = \"64B\" }",
        "",
        "path = \"/*\"\nupstream = \"api\"",
    );
    check(
        &small.gateway,
        &[
            ("at a small limit", format!("Bearer {}", "a".repeat(64)), "401 token_opaque"),
            ("over a small limit", format!("Bearer {}", "a".repeat(65)), "400 token_too_large"),
            ("an ordinary token", format!("Bearer {}", token(json!({}))), "400 token_too_large"),
        ],
    );
}

// T17, T18, T19
#[test]
fn a_token_has_three_parts() {
    let stage = Stage::new();
    let good = token(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let bearer = |token: String| format!("Bearer {token}");
    check(
        &stage.gateway,
        &[
            ("a word", bearer("undefined".to_owned()), "401 token_opaque"),
            ("a user and password", bearer("YTpiOmM=".to_owned()), "401 token_opaque"),
            ("one part", bearer(header.to_owned()), "401 token_opaque"),
            ("two parts", bearer(signed.to_owned()), "401 token_malformed"),
            ("an empty third part", bearer(format!("{signed}.")), "401 signature_invalid"),
            ("four parts", bearer(format!("{good}.")), "401 token_malformed"),
            ("four full parts", bearer(format!("{good}.{signature}")), "401 token_malformed"),
            ("five parts", bearer(format!("{good}.{payload}.{signature}")), "401 token_encrypted"),
            ("five empty parts", bearer("....".to_owned()), "401 token_encrypted"),
            ("six parts", bearer(".....".to_owned()), "401 token_malformed"),
            ("dots", bearer(".".repeat(8 * 1024)), "401 token_malformed"),
            ("two dots", bearer("..".to_owned()), "401 token_malformed"),
            ("no header", bearer(format!(".{payload}.{signature}")), "401 token_malformed"),
            ("no payload", bearer(format!("{header}..{signature}")), "401 token_malformed"),
            ("a dot in front", bearer(format!(".{good}")), "401 token_malformed"),
        ],
    );
    assert_eq!(stage.upstream.count(), 0);
}

// T146
#[test]
fn refused_credentials_leave_no_trace_in_answers_and_logs() {
    let stage = Stage::new();
    let marked = token(json!({"sub": "trace-me", "aud": format!("{AUDIENCE}/other")}));
    let (signed, signature) = marked.rsplit_once('.').unwrap();
    for value in [format!("Bearer {marked}"), format!("Bearer {marked} x"), format!("Bearer {signed}")] {
        let request = Request::get("/?secret=query-value").header("Authorization", &value).header("Cookie", "c=secret-cookie");
        let answer = stage.gateway.send(&request);
        assert!(answer.status >= 400, "{}", answer.status);
        let id = answer.header("x-request-id").expect("an id").to_owned();
        stage.gateway.record(&id);
        assert!(!format!("{answer:?}").contains(signature), "in the answer");
    }
    let log = stage.gateway.log_text();
    for secret in [signature, signed, "secret-cookie", "query-value"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}
