//! Requests hidden in heads, bodies and answers: none is ever taken for a request, or an answer, of somebody else.

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
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use support::{Connection, Reply, Request, Stage};

const OPEN: &str = "path = \"/*\"\nupstream = \"api\"\nauth = \"none\"";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

// T130, T127
#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let stage = Stage::with("", OPEN);
    for head in [
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n X-B: folded\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\tfolded\r\n\r\n",
        "GET /first HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        "GET /first HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\nhello",
        "GET /first HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A: 1\u{0}2\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A\u{1}: 1\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-\u{e9}: 1\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX(A): 1\r\n\r\n",
        "GET /first HTTP/1.1\r\nHost: a\r\nX-A: \u{7f}\r\n\r\n",
        "GET /first\r\n\r\n",
        "GET /first HTTP/1.32\r\nHost: a\r\n\r\n",
        "GET /first HTTP/2.0\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /first http/1.1\r\nHost: a\r\n\r\n",
        "GET /first HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /fi rst HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /first\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T /first HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
        "\u{0}GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /first\rX HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut connection = Connection::open(stage.gateway.public);
        connection.send(head.as_bytes());
        connection.send(SMUGGLED.as_bytes());
        drop(connection.stream().shutdown(Shutdown::Write));
        if let Some(answer) = connection.read(false) {
            assert!(
                [400, 505].contains(&answer.status),
                "{head:?}: {}",
                answer.status
            );
            assert!(
                connection.read(false).is_none(),
                "{head:?}: a second answer"
            );
        }
        assert_eq!(
            stage.upstream.count(),
            0,
            "{head:?}: {:?}",
            stage.upstream.received()
        );
    }
    assert_eq!(stage.gateway.send(&Request::get("/healthy")).status, 200);
}

/// Sends a payload and one more request on the same connection, and gives the targets that reached the upstream.
fn targets_after(stage: &Stage, payload: &str) -> Vec<String> {
    let before = stage.upstream.count();
    let mut connection = Connection::open(stage.gateway.public);
    connection.send(payload.as_bytes());
    connection.send(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    while connection.read(false).is_some() {}
    stage
        .upstream
        .received()
        .split_off(before)
        .into_iter()
        .map(|request| request.target)
        .collect()
}

// T131
#[test]
fn what_stands_in_a_body_is_no_request() {
    let stage = Stage::with("", OPEN);
    let length = SMUGGLED.len();
    for method in ["GET", "OPTIONS", "POST", "DELETE", "PUT", "get"] {
        let payload = format!(
            "{method} /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        );
        assert_eq!(
            targets_after(&stage, &payload),
            ["/first", "/last"],
            "{payload:?}"
        );
        let payload = format!(
            "{method} /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x};\r\n{SMUGGLED}\r\n0\r\n\r\n"
        );
        assert_eq!(
            targets_after(&stage, &payload),
            ["/first", "/last"],
            "{payload:?}"
        );
        let bodies: Vec<_> = stage
            .upstream
            .received()
            .into_iter()
            .map(|request| request.body)
            .collect();
        assert!(
            bodies.contains(&SMUGGLED.as_bytes().to_vec()),
            "{payload:?}"
        );
    }
    let trailing = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: GET /smuggled HTTP/1.1\r\n\r\n";
    assert_eq!(targets_after(&stage, trailing), ["/first", "/last"]);
}

#[test]
fn pipelined_requests_are_answered_each_once_and_in_order() {
    let stage = Stage::with("", OPEN);
    let mut connection = Connection::open(stage.gateway.public);
    let requests = (0..20)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect::<Vec<_>>()
        .concat();
    connection.send(requests.as_bytes());
    for number in 0..20 {
        let answer = connection.read(false).unwrap();
        assert_eq!(answer.json()["target"], format!("/{number}"));
    }
    assert_eq!(stage.upstream.count(), 20);
}

#[test]
fn line_feeds_alone_end_lines_or_are_refused_and_go_on_as_proper_lines() {
    let stage = Stage::with("", OPEN);
    let mut connection = Connection::open(stage.gateway.public);
    connection.send(b"GET /first HTTP/1.1\nHost: a\nX-A: 1\nConnection: close\n\n");
    let answer = connection.read(false);
    if answer.is_some_and(|answer| answer.status == 200) {
        let received = stage.upstream.last();
        assert_eq!(
            (received.target.as_str(), received.header("x-a")),
            ("/first", Some("1"))
        );
    }
    assert!(stage.upstream.count() <= 1);
}

#[test]
fn a_rejected_requests_body_is_no_request() {
    let stage = Stage::new();
    let length = SMUGGLED.len();
    for payload in [
        format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
        format!(
            "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        ),
        format!(
            "GET /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        ),
    ] {
        let mut connection = Connection::open(stage.gateway.public);
        connection.send(payload.as_bytes());
        assert_eq!(connection.read(false).unwrap().status, 401, "{payload:?}");
        drop(connection.stream().shutdown(Shutdown::Write));
        assert!(
            connection.read(false).is_none(),
            "{payload:?}: a second answer"
        );
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T120
#[test]
fn a_method_in_lower_case_is_another_method() {
    let routes = "path = \"/some/*\"\nupstream = \"api\"\nmethods = [\"GET\"]\nauth = \"none\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"";
    let stage = Stage::with("", routes);
    let answer = stage.gateway.send(&Request::new("get", "/some/x"));
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (405, "method_not_allowed")
    );
    assert_eq!(
        stage.gateway.send(&Request::new("get", "/x")).reason(),
        "token_missing"
    );
    assert_eq!(
        stage.gateway.send(&Request::new("HEAD", "/some/x")).status,
        200
    );
    assert_eq!(stage.upstream.count(), 1);
}

/// A server that sends a body where none may be: what comes late would be the answer to whoever asks next.
#[test]
fn no_connection_is_used_again_after_a_body_was_announced_and_none_may_come() {
    for (method, head) in [
        ("HEAD", "200 OK\r\nContent-Length: 5"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked"),
        ("GET", "304 Not Modified\r\nContent-Length: 5"),
        ("GET", "204 No Content\r\nTransfer-Encoding: chunked"),
    ] {
        let top = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n";
        let stage = Stage::with_all(top, "", OPEN);
        let answer = format!("HTTP/1.1 {head}\r\n\r\n");
        stage.upstream.answer(move |request| {
            if request.target == "/plain" {
                return Reply::Json(json!({}));
            }
            Reply::Bytes(answer.clone().into_bytes())
        });
        let mut connection = Connection::open(stage.gateway.public);
        for (method, target) in [("GET", "/plain"), (method, "/"), ("GET", "/plain")] {
            connection.send(&Request::new(method, target).bytes("a"));
            assert!(connection.read(method == "HEAD").is_some(), "{head}");
        }
        let used: Vec<_> = stage
            .upstream
            .received()
            .iter()
            .map(|request| request.connection)
            .collect();
        assert_eq!(used, [0, 0, 1], "{method}: {head}");
    }
}

/// An upstream that says more than it was asked: what is too much is never the answer to the next request.
#[test]
fn an_answer_nobody_asked_for_is_given_to_nobody() {
    let stage = Stage::with_all(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n",
        "",
        OPEN,
    );
    let turn = AtomicUsize::new(0);
    stage.upstream.answer(move |request| {
        if turn.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            return Reply::Json(json!({"target": request.target}));
        }
        let body = json!({"target": request.target}).to_string();
        let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
        Reply::Bytes(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}{poison}",
                body.len()
            )
            .into_bytes(),
        )
    });
    let mut connection = Connection::open(stage.gateway.public);
    for number in 0..40 {
        let target = format!("/{number}");
        connection.send(&Request::get(&target).bytes("a"));
        let answer = connection.read(false).unwrap();
        assert!(!answer.text().contains("poison"), "{number}: {answer:?}");
        assert_eq!(answer.json()["target"], target);
    }
}
