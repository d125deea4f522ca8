//! Heads and bodies that two servers could read in two ways: refused, or sent on in one way; one request in is at most
//! one request out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::Shutdown;

use support::{Connection, Request, Response, Stage};

const OPEN: &str = "path = \"/*\"\nupstream = \"api\"\nauth = \"none\"";

/// What a second server would take for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends, and reads everything that comes back until the gateway closes.
fn converse(stage: &Stage, payload: &[u8]) -> Vec<Response> {
    let mut connection = Connection::open(stage.gateway.public);
    connection.send(payload);
    let mut answers = Vec::new();
    while let Some(answer) = connection.read(false) {
        let is_refused = answer.status >= 400;
        answers.push(answer);
        if is_refused {
            // Nothing more will be sent: this spares the wait for it.
            drop(connection.stream().shutdown(Shutdown::Write));
        }
    }
    answers
}

/// Nothing of the payload reached the upstream as a whole request, the only answer, if any, is a 4xx or 5xx of ours, and
/// the gateway goes on working.
fn assert_refused(stage: &Stage, name: &str, payload: &[u8], statuses: &[u16]) {
    let before = stage.upstream.count();
    let answers = converse(stage, payload);
    let seen: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(
        seen.len() <= 1 && seen.iter().all(|status| statuses.contains(status)),
        "{name}: {seen:?}"
    );
    for answer in &answers {
        let reason = answer.reason();
        assert!(
            reason.is_empty() || reason == "request_malformed",
            "{name}: {reason}"
        );
    }
    assert_eq!(
        stage.upstream.count(),
        before,
        "{name}: {:?}",
        stage.upstream.last()
    );
    assert_healthy(stage, name);
}

fn assert_healthy(stage: &Stage, after: &str) {
    assert_eq!(
        stage.gateway.send(&Request::get("/healthy")).status,
        200,
        "after {after}"
    );
    assert_eq!(stage.upstream.last().target, "/healthy", "after {after}");
}

fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /first HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}").into_bytes()
}

// T122
#[test]
fn a_request_has_exactly_one_host() {
    let stage = Stage::with("", OPEN);
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [not]\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:81/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answers = {
            let mut connection = Connection::open(stage.gateway.public);
            connection.send(head.as_bytes());
            connection.read(false)
        };
        let answer = answers.unwrap_or_else(|| panic!("no answer to {head:?}"));
        assert_eq!(answer.status, 400, "{head:?}");
        assert!(
            ["request_malformed", ""].contains(&answer.reason().as_str()),
            "{head:?}"
        );
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T123, T120
#[test]
fn trace_and_connect_are_refused_and_targets_are_paths() {
    let stage = Stage::with("", OPEN);
    for (head, status) in [
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (
            "TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            405,
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("trace /x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("Connect /x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ] {
        let answer = support::raw(stage.gateway.public, head.as_bytes());
        let answer = answer.unwrap_or_else(|| panic!("no answer to {head:?}"));
        // A target that is no URI at all may get a bare 400.
        let is_bare =
            answer.status == 400 && answer.reason().is_empty() && head.contains("CONNECT /x");
        assert!(
            answer.status == status || is_bare,
            "{head:?}: {}",
            answer.status
        );
        if answer.status == 405 {
            assert_eq!(answer.reason(), "method_not_allowed", "{head:?}");
            assert!(
                answer
                    .header("allow")
                    .is_some_and(|allow| !allow.contains("TRACE")),
                "{head:?}"
            );
        }
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T125, T126, T127
#[test]
fn a_transfer_encoding_is_one_chunked_and_nothing_else() {
    let stage = Stage::with("", OPEN);
    let body = format!("0\r\n\r\n{SMUGGLED}");
    for coding in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunk\u{e9}d",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\u{0}: chunked",
        "Content-Length: 4\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked\r\nContent-Length: 4",
    ] {
        assert_refused(&stage, coding, &post(coding, &body), &[400, 501]);
    }
    let old =
        format!("POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    assert_refused(&stage, "HTTP/1.0", old.as_bytes(), &[400, 501]);
}

// T124
#[test]
fn of_a_coding_and_a_length_the_upstream_sees_the_coding_alone() {
    let stage = Stage::with("", OPEN);
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 60\r\nTransfer-Encoding: Chunked",
        "Content-Length: 4\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    ] {
        let before = stage.upstream.count();
        let answers = converse(
            &stage,
            &post(lines, &format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}")),
        );
        assert!(
            answers.len() == 1 && [200, 400].contains(&answers[0].status),
            "{lines:?}: {answers:?}"
        );
        let received = stage.upstream.received().split_off(before);
        assert!(received.len() <= 1, "{lines:?}: {received:?}");
        for request in received {
            assert_eq!(request.target, "/first", "{lines:?}");
            assert_eq!(request.body, b"abc", "{lines:?}");
            assert_eq!(request.all("transfer-encoding"), ["chunked"], "{lines:?}");
            assert!(request.header("content-length").is_none(), "{lines:?}");
        }
        assert_healthy(&stage, lines);
    }
}

// T128
#[test]
fn a_content_length_is_one_plain_number() {
    let stage = Stage::with("", OPEN);
    for value in [
        "+5",
        "0x5",
        "5 5",
        "",
        "-1",
        "5.0",
        "5e0",
        "18446744073709551616",
        "99999999999999999999999",
        "five",
        "\u{b}5",
        "5;5",
        "5,6",
        "5\r\nContent-Length: 6",
        "0\r\nContent-Length: 44",
        "5\r\nContent-Length: +5",
    ] {
        let lines = format!("Content-Length: {value}");
        assert_refused(
            &stage,
            &lines,
            &post(&lines, &format!("hello{SMUGGLED}")),
            &[400],
        );
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 05",
        "content-length:5",
    ] {
        let answers = converse(
            &stage,
            &post(&format!("{lines}\r\nConnection: close"), "hello"),
        );
        assert!(
            answers.len() == 1 && [200, 400].contains(&answers[0].status),
            "{lines:?}: {answers:?}"
        );
        if answers[0].status == 200 {
            let received = stage.upstream.last();
            assert_eq!(received.body, b"hello", "{lines:?}");
            assert_eq!(received.all("content-length"), ["5"], "{lines:?}");
        }
        assert_healthy(&stage, lines);
    }
}

// T129
#[test]
fn broken_chunks_are_the_clients_fault_and_end_the_connection() {
    let stage = Stage::with("", OPEN);
    for chunks in [
        "0x2\r\nab\r\n",
        "2_\r\nab\r\n",
        "-2\r\nab\r\n",
        "+2\r\nab\r\n",
        "\r\nab\r\n",
        "10000000000000000\r\nab\r\n",
        "ffffffffffffffff1\r\nab\r\n",
        "2\nab\r\n",
        "2\r\nabX\r\n",
        "2\r\nab\n",
        "2 2\r\nab\r\n",
        "g\r\nab\r\n",
        "2\rXab\r\n",
        "1;\rx\r\na\r\n",
        "1;\nx\r\na\r\n",
    ] {
        let body = format!("{chunks}0\r\n\r\n{SMUGGLED}");
        assert_refused(
            &stage,
            chunks,
            &post("Transfer-Encoding: chunked", &body),
            &[400],
        );
    }
    let extension = format!("2;{}\r\nab\r\n0\r\n\r\n", "e".repeat(20 << 10));
    assert_refused(
        &stage,
        "an extension",
        &post("Transfer-Encoding: chunked", &extension),
        &[400],
    );
}

// T132
#[test]
fn a_body_arrives_whatever_the_method() {
    let stage = Stage::with("", OPEN);
    for method in ["GET", "DELETE", "OPTIONS", "PUT", "PROPFIND"] {
        let chunked = format!(
            "{method} /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        );
        assert_eq!(
            support::raw(stage.gateway.public, chunked.as_bytes())
                .unwrap()
                .status,
            200,
            "{method}"
        );
        let received = stage.upstream.last();
        assert_eq!(
            (received.method.as_str(), received.body.as_slice()),
            (method, &b"abcde"[..])
        );
        assert_eq!(received.all("transfer-encoding"), ["chunked"], "{method}");
        let measured = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
        assert_eq!(
            support::raw(stage.gateway.public, measured.as_bytes())
                .unwrap()
                .status,
            200,
            "{method}"
        );
        let received = stage.upstream.last();
        assert_eq!(
            (received.method.as_str(), received.body.as_slice()),
            (method, &b"abcde"[..])
        );
        assert_eq!(received.all("content-length"), ["5"], "{method}");
        assert!(received.header("transfer-encoding").is_none(), "{method}");
    }
    assert_eq!(stage.gateway.send(&Request::get("/none")).status, 200);
    let received = stage.upstream.last();
    assert!(
        received.header("content-length").is_none()
            && received.header("transfer-encoding").is_none()
    );
    let zero = "POST /zero HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        support::raw(stage.gateway.public, zero.as_bytes())
            .unwrap()
            .status,
        200
    );
    assert_eq!(stage.upstream.last().all("content-length"), ["0"]);
}

#[test]
fn what_would_frame_a_request_in_another_spelling_stays_here() {
    let stage = Stage::with("", OPEN);
    let folded = "Transfer_Encoding: chunked\r\nContent_Length: 4\r\nContent.Length: 4\r\nHost_: b\r\nProxy: http://evil.example\r\n";
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{folded}X-Kept: 1\r\n");
    let trailers = format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{folded}\r\n");
    for request in [format!("{head}\r\n"), format!("{head}{trailers}")] {
        let answer = support::raw(stage.gateway.public, request.as_bytes()).unwrap();
        assert_eq!(answer.status, 200);
        let received = stage.upstream.last();
        assert_eq!(received.header("x-kept"), Some("1"));
        for name in [
            "transfer_encoding",
            "content_length",
            "content.length",
            "host_",
            "proxy",
        ] {
            assert!(received.header(name).is_none(), "{name}");
            let is_named = |(trailer, _): &(String, String)| trailer.eq_ignore_ascii_case(name);
            assert!(!received.trailers.iter().any(is_named), "{name}");
        }
    }
}
