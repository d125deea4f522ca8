//! How long a token may be, and of how many parts it is: rows 3 and 4 of the contract's table.

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
use support::{AUDIENCE, Gateway, Request, Stage, token};

/// Sends GETs, each with one `Authorization`, and compares what comes of them.
fn check(gateway: &Gateway, rows: &[(&str, String, &str)]) {
    for (row, value, expected) in rows {
        let request = Request::get("/").header("Authorization", value);
        assert_eq!(gateway.send(&request).outcome(), *expected, "{row}");
    }
}

/// The longest good token of at most that length; base64 cannot have every length.
fn longest_token(limit: usize) -> String {
    let padded = |bytes: usize| token(json!({"pad": "x".repeat(bytes)}));
    let most = (limit - padded(0).len()) * 3 / 4;
    let fitting = (most - 6..most + 6)
        .rev()
        .map(padded)
        .find(|token| token.len() <= limit);
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
            (
                "opaque, at the limit",
                format!("Bearer {}", "a".repeat(limit)),
                "401 token_opaque",
            ),
            (
                "one over",
                format!("Bearer {}", "a".repeat(limit + 1)),
                "400 token_too_large",
            ),
            (
                "good and one over",
                format!("Bearer {too_long}"),
                "400 token_too_large",
            ),
            (
                "broken and too long",
                format!("Bearer {},", "a".repeat(limit)),
                "400 header_malformed",
            ),
            (
                "beyond the head",
                format!("Bearer {}", "a".repeat(64 * 1024)),
                "431 header_too_large",
            ),
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
            (
                "at a small limit",
                format!("Bearer {}", "a".repeat(64)),
                "401 token_opaque",
            ),
            (
                "over a small limit",
                format!("Bearer {}", "a".repeat(65)),
                "400 token_too_large",
            ),
            (
                "an ordinary token",
                format!("Bearer {}", token(json!({}))),
                "400 token_too_large",
            ),
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
    let malformed = "401 token_malformed";
    let encrypted = "401 token_encrypted";
    for (row, token, expected) in [
        ("a word", "undefined".to_owned(), "401 token_opaque"),
        ("a password", "YTpiOmM=".to_owned(), "401 token_opaque"),
        ("one part", header.to_owned(), "401 token_opaque"),
        ("two parts", signed.to_owned(), malformed),
        (
            "no signature",
            format!("{signed}."),
            "401 signature_invalid",
        ),
        ("four parts", format!("{good}."), malformed),
        ("four full parts", format!("{good}.{signature}"), malformed),
        ("five parts", format!("{good}.{payload}.x"), encrypted),
        ("five empty parts", "....".to_owned(), encrypted),
        ("six parts", ".....".to_owned(), malformed),
        ("dots", ".".repeat(8 * 1024), malformed),
        ("two dots", "..".to_owned(), malformed),
        ("no header", format!(".{payload}.{signature}"), malformed),
        ("no payload", format!("{header}..{signature}"), malformed),
        ("a dot in front", format!(".{good}"), malformed),
    ] {
        assert_eq!(stage.gateway.get("/", &token).outcome(), expected, "{row}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T146
#[test]
fn refused_credentials_leave_no_trace_in_answers_and_logs() {
    let stage = Stage::new();
    let marked = token(json!({"sub": "trace-me", "aud": format!("{AUDIENCE}/other")}));
    let (signed, signature) = marked.rsplit_once('.').unwrap();
    for value in [
        format!("Bearer {marked}"),
        format!("Bearer {marked} x"),
        format!("Bearer {signed}"),
    ] {
        let request = Request::get("/?secret=query-value")
            .header("Authorization", &value)
            .header("Cookie", "c=secret-cookie");
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
