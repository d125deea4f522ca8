//! Hostile HTTP/2: frames that no honest client sends reach no upstream, and cost a bounded amount of memory and time.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod http2_support;
mod support;

use std::time::{Duration, Instant};

use http2_support::*;
use serde_json::json;
use support::{Reply, Stage, eventually, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

fn stage(server: &str) -> Stage {
    let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\nh2c = true\nworkers = 1\n{server}\n");
    Stage::with_all(&top, "", ROUTE)
}

fn pseudo() -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/orders"),
        (":authority", "api.example.com"),
    ]
}

/// A good request, with `more` after its pseudo-fields.
fn with<'text>(
    authorization: &'text str,
    more: &[(&'text str, &'text str)],
) -> Vec<(&'text str, &'text str)> {
    let mut lines = pseudo();
    lines.push(("authorization", authorization));
    lines.extend_from_slice(more);
    lines
}

fn credential() -> String {
    format!("Bearer {}", token(json!({})))
}

fn reason(outcome: &Result<String, u32>) -> String {
    let body = outcome.as_ref().map(String::as_str).unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

/// Memory of the gateway, in bytes.
fn memory(stage: &Stage) -> f64 {
    stage.gateway.metric("process_resident_memory_bytes", &[])
}

#[test]
fn the_hand_made_client_can_ask() {
    let stage = stage("");
    let mut raw = Raw::open(stage.gateway.public);
    raw.request(1, &with(&credential(), &[]));
    let outcome = raw.outcome(1);
    assert!(outcome.is_ok_and(|body| body.contains("/orders")));
    assert_eq!(stage.upstream.count(), 1);
}

/// Fields that make a good request malformed.
const ODD: &[&[(&str, &str)]] = &[
    &[("transfer-encoding", "chunked")],
    &[("connection", "close")],
    &[("connection", "authorization")],
    &[("keep-alive", "1")],
    &[("proxy-connection", "close")],
    &[("upgrade", "websocket")],
    &[("te", "gzip")],
    &[("X-Upper", "1")],
    &[("x", "a\r\nx-auth-subject: admin")],
    &[("x", "a\nb")],
    &[("x", "a\0b")],
    &[("x", " a")],
    &[("x", "a\t")],
    &[("a b", "1")],
    &[("x:y", "1")],
    &[(":path", "/other")],
    &[(":status", "200")],
    &[(":unknown", "1")],
    &[("content-length", "5")],
    &[("content-length", "-1")],
    &[("content-length", "1"), ("content-length", "0")],
];

/// Heads that are malformed by themselves.
const BROKEN: &[&[(&str, &str)]] = &[
    &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
    &[(":scheme", "http"), (":path", "/"), (":authority", "a")],
    &[(":method", "GET"), (":path", "/"), (":authority", "a")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", ""),
        (":authority", "a"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/a b"),
        (":authority", "a"),
    ],
    &[
        (":method", "G T"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ],
    &[
        (":method", "GET"),
        (":method", "PUT"),
        (":scheme", "http"),
        (":path", "/"),
    ],
    &[
        ("host", "a"),
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
    ],
];

#[test]
fn malformed_requests_are_stream_errors_and_reach_nobody() {
    let stage = stage("");
    let credential = credential();
    let broken = BROKEN.iter().map(|lines| {
        let mut lines = lines.to_vec();
        lines.push(("authorization", &credential));
        lines
    });
    let odd = ODD.iter().map(|more| with(&credential, more));
    for lines in odd.chain(broken) {
        let mut raw = Raw::open(stage.gateway.public);
        raw.request(1, &lines);
        let outcome = raw.outcome(1);
        let is_refused = outcome.is_err() || reason(&outcome) == "request_malformed";
        assert!(is_refused, "{lines:?}: {outcome:?}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn authority_and_host_must_agree_and_one_of_them_must_be_there() {
    let stage = stage("");
    let credential = credential();
    let ask = |authority: &[(&str, &str)], host: &[(&str, &str)]| {
        let mut lines = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/orders"),
        ];
        lines.extend_from_slice(authority);
        lines.push(("authorization", &credential));
        lines.extend_from_slice(host);
        let mut raw = Raw::open(stage.gateway.public);
        raw.request(1, &lines);
        raw.outcome(1)
    };
    for (authority, host) in [
        (
            &[(":authority", "a.example")][..],
            &[("host", "b.example")][..],
        ),
        (
            &[(":authority", "a.example")],
            &[("host", "a.example"), ("host", "b.example")],
        ),
        (&[(":authority", "user@a.example")], &[]),
        (&[], &[]),
        (&[], &[("host", "a.example"), ("host", "b.example")]),
    ] {
        let outcome = ask(authority, host);
        let is_refused = outcome.is_err() || reason(&outcome) == "request_malformed";
        assert!(is_refused, "{authority:?} {host:?}: {outcome:?}");
    }
    assert_eq!(stage.upstream.count(), 0);
    for (authority, host) in [
        (&[(":authority", "a.example")][..], &[][..]),
        (&[(":authority", "a.example")], &[("host", "a.example")]),
        (&[], &[("host", "a.example")]),
    ] {
        assert!(ask(authority, host).is_ok(), "{authority:?} {host:?}");
        assert_eq!(stage.upstream.last().all("host"), ["a.example"]);
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_no_second_request() {
    let stage = stage("");
    let credential = credential();
    let mut lines = with(&credential, &[("content-length", "3")]);
    lines[0] = (":method", "POST");
    for body in ["ab", "abcGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut raw = Raw::open(stage.gateway.public);
        raw.send(HEADERS, END_HEADERS, 1, &block(&lines));
        raw.send(DATA, END_STREAM, 1, body.as_bytes());
        assert!(raw.outcome(1).is_err() || stage.upstream.count() == 0);
    }
    let mut raw = Raw::open(stage.gateway.public);
    raw.send(HEADERS, END_HEADERS, 1, &block(&lines));
    raw.send(DATA, END_STREAM, 1, b"abc");
    assert!(raw.outcome(1).is_ok());
    let whole = stage.upstream.received();
    assert!(
        whole.iter().all(|request| request.body == b"abc"),
        "{whole:?}"
    );
    assert!(whole.iter().all(|request| request.target == "/orders"));
}

#[test]
fn connect_is_refused_in_both_its_forms() {
    let stage = stage("");
    let mut raw = Raw::open(stage.gateway.public);
    let announced = raw.settings();
    assert!(
        !announced
            .iter()
            .any(|(number, value)| *number == 8 && *value == 1),
        "extended CONNECT is not offered: {announced:?}"
    );
    raw.request(
        1,
        &[(":method", "CONNECT"), (":authority", "a.example:443")],
    );
    assert_eq!(reason(&raw.outcome(1)), "method_not_allowed");
    let mut raw = Raw::open(stage.gateway.public);
    let mut lines = pseudo();
    lines[0] = (":method", "CONNECT");
    lines.insert(1, (":protocol", "websocket"));
    raw.request(1, &lines);
    assert_eq!(raw.outcome(1), Err(PROTOCOL_ERROR));
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn the_limits_are_announced_and_kept() {
    let stage = stage("[server.limits]\nstreams = 3");
    stage.upstream.answer(|_| Reply::Hang);
    let mut raw = Raw::open(stage.gateway.public);
    let announced = raw.settings();
    assert!(announced.contains(&(3, 3)), "{announced:?}");
    assert!(announced.contains(&(6, 128 << 10)), "{announced:?}");
    let credential = credential();
    for stream in [1, 3, 5, 7] {
        raw.request(stream, &with(&credential, &[]));
    }
    assert_eq!(raw.outcome(7), Err(REFUSED_STREAM));
    stage.upstream.wait_for(3);
}

#[test]
fn heads_beyond_the_limit_get_an_answer_or_an_end_and_reach_nobody() {
    let stage = stage("");
    let credential = credential();
    let long = "v".repeat(12_000);
    let lines: Vec<_> = [("a", long.as_str()), ("b", &long), ("c", &long)].to_vec();
    let mut raw = Raw::open(stage.gateway.public);
    let whole = block(&with(&credential, &lines));
    let mut parts = whole.chunks(16_000);
    raw.send(HEADERS, END_STREAM, 1, parts.next().unwrap());
    let rest: Vec<_> = parts.collect();
    for (place, part) in rest.iter().enumerate() {
        let flags = if place + 1 == rest.len() {
            END_HEADERS
        } else {
            0
        };
        raw.send(CONTINUATION, flags, 1, part);
    }
    assert_eq!(reason(&raw.outcome(1)), "header_too_large");
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn a_head_that_never_ends_ends_the_connection() {
    let stage = stage("");
    let before = memory(&stage);
    let mut raw = Raw::open(stage.gateway.public);
    raw.send(HEADERS, END_STREAM, 1, &block(&pseudo()));
    let part = block(&[("x", &"v".repeat(16_000))]);
    let mut sent = 0;
    while raw.send(CONTINUATION, 0, 1, &part) {
        sent += part.len();
        assert!(sent < 100 << 20, "it goes on for ever");
    }
    assert!(memory(&stage) - before < f64::from(16 << 20));
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn requests_taken_back_at_once_end_the_connection() {
    let stage = stage("");
    let credential = credential();
    let head = block(&with(&credential, &[]));
    let mut raw = Raw::open(stage.gateway.public);
    let begun = Instant::now();
    let mut streams = 0;
    for stream in (1..).step_by(2).take(100_000) {
        let is_sent = raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &head)
            && raw.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if !is_sent {
            break;
        }
        streams += 1;
    }
    assert!(streams < 100_000, "never ended");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(stage.upstream.count() < 500, "{}", stage.upstream.count());
    // Nobody else is hurt.
    assert_eq!(stage.gateway.get("/orders", &token(json!({}))).status, 200);
}

#[test]
fn requests_taken_back_while_an_upstream_works_on_them_end_the_connection_too() {
    let stage = stage("");
    stage.upstream.answer(|_| Reply::Hang);
    let credential = credential();
    let mut raw = Raw::open(stage.gateway.public);
    let mut asked = 0;
    for stream in (1..).step_by(2).take(300) {
        if !raw.request(stream, &with(&credential, &[])) {
            break;
        }
        asked += 1;
        // Once the connection is closed, nothing more comes.
        let deadline = Instant::now() + Duration::from_secs(2);
        while stage.upstream.count() < asked && Instant::now() < deadline {
            std::thread::yield_now();
        }
        if stage.upstream.count() < asked {
            break;
        }
        raw.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    let asked = stage.upstream.count();
    assert!((100..110).contains(&asked), "{asked}");
}

/// Sends `frame` until the other side takes no more or ends the connection, and says whether it ever did.
fn flood(stage: &Stage, kind: u8, payload: &[u8], stream: u32) {
    let before = memory(stage);
    let mut raw = Raw::open(stage.gateway.public);
    let patience = Some(Duration::from_secs(2));
    raw.stream.set_write_timeout(patience).unwrap();
    let mut frames = 0;
    while frames < 200_000 && raw.send(kind, 0, stream, payload) {
        frames += 1;
    }
    assert!(memory(stage) - before < f64::from(32 << 20), "frame {kind}");
    drop(raw);
    assert_eq!(stage.gateway.get("/orders", &token(json!({}))).status, 200);
}

#[test]
fn floods_of_pings_and_settings_cost_no_memory() {
    let stage = stage("");
    flood(&stage, PING, &[7; 8], 0);
    flood(&stage, SETTINGS, &[0, 4, 0, 0, 255, 255], 0);
}

#[test]
fn a_small_head_that_unfolds_into_a_large_one_is_refused() {
    let stage = stage("");
    let before = memory(&stage);
    let mut raw = Raw::open(stage.gateway.public);
    let mut head = block(&pseudo());
    // One entry for the table (RFC 7541 §6.2.1), then nothing but references to it (§6.1).
    head.extend_from_slice(&[0x40, 1, b'x', 127, 0x81, 0x16]);
    head.extend_from_slice(&[b'v'; 127 + 0x81 - 0x80 + (0x16 << 7)]);
    head.resize(16_000, 0x80 + 62);
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &head);
    let outcome = raw.outcome(1);
    assert!(
        outcome.as_ref().is_ok_and(String::is_empty) || outcome.is_err(),
        "{outcome:?}"
    );
    assert!(memory(&stage) - before < f64::from(16 << 20));
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn streams_that_we_are_made_to_reset_end_the_connection() {
    let stage = stage("");
    stage.upstream.answer(|_| Reply::Hang);
    let credential = credential();
    let mut raw = Raw::open(stage.gateway.public);
    for stream in (1..).step_by(2).take(1000) {
        // An increment of nothing is a mistake for which the stream is ended (RFC 9113 §6.9).
        let is_sent = raw.request(stream, &with(&credential, &[]))
            && raw.send(WINDOW_UPDATE, 0, stream, &[0; 4]);
        if !is_sent {
            break;
        }
    }
    let end = raw.find(|frame| frame.kind == GOAWAY);
    assert!(end.is_none_or(|frame| frame.error() != NO_ERROR));
    let asked = stage.upstream.count();
    assert!(asked < 150, "{asked}");
}

#[test]
fn empty_parts_of_a_body_cost_no_memory() {
    let stage = stage("");
    let before = memory(&stage);
    let mut raw = Raw::open(stage.gateway.public);
    let credential = credential();
    let mut lines = with(&credential, &[]);
    lines[0] = (":method", "POST");
    raw.send(HEADERS, END_HEADERS, 1, &block(&lines));
    for _ in 0..100_000 {
        if !raw.send(DATA, 0, 1, &[]) {
            break;
        }
    }
    assert!(memory(&stage) - before < f64::from(16 << 20));
    assert_eq!(stage.gateway.get("/orders", &token(json!({}))).status, 200);
}

#[test]
fn window_updates_beyond_all_measure_end_the_connection() {
    let stage = stage("");
    let mut raw = Raw::open(stage.gateway.public);
    for _ in 0..3 {
        raw.send(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    }
    let end = raw.find(|frame| frame.kind == GOAWAY);
    assert!(end.is_none_or(|frame| frame.error() != NO_ERROR));
}

#[test]
fn a_client_that_reads_nothing_makes_no_answer_pile_up() {
    let stage = stage("");
    let answer = vec![b'x'; 8 << 20];
    stage.upstream.answer(move |_| {
        let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", answer.len());
        Reply::Bytes([head.into_bytes(), answer.clone()].concat())
    });
    let before = memory(&stage);
    let credential = credential();
    let mut raw = Raw::open(stage.gateway.public);
    // As much as it likes, by the windows.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(WINDOW_UPDATE, 0, 0, &0x7ff0_0000_u32.to_be_bytes());
    for stream in (1..100).step_by(2) {
        raw.request(stream, &with(&credential, &[]));
    }
    stage.upstream.wait_for(50);
    eventually("a standstill", || {
        let first = memory(&stage);
        std::thread::sleep(Duration::from_millis(200));
        (memory(&stage) - first).abs() < f64::from(1 << 20)
    });
    let grown = memory(&stage) - before;
    assert!(grown < f64::from(64 << 20), "{grown} bytes for 400 MiB");
}
