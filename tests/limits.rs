//! Limits of size and time, and that what is refused for them, or for anything else, still gets its answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod support;

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use support::{Connection, Reply, Request, Stage, eventually, token};

const OPEN: &str = "path = \"/open/*\"\nupstream = \"api\"\nauth = \"none\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"";

fn stage(limits: &str) -> Stage {
    Stage::with_all(&format!("[server.limits]\n{limits}\n"), "", OPEN)
}

fn with_headers(count: usize, value: &str) -> Request {
    (0..count).fold(Request::get("/open/"), |request, number| {
        request.header(&format!("X-{number}"), value)
    })
}

/// What it is, the request, how it may be answered, and whether it may be refused unread.
fn too_large() -> Vec<(&'static str, Request, &'static [u16], bool)> {
    vec![
        (
            "one long header",
            Request::get("/open/").header("X-Long", &"a".repeat(4096)),
            &[431],
            false,
        ),
        (
            "many small headers",
            with_headers(60, &"a".repeat(80)),
            &[431],
            false,
        ),
        (
            "a long target",
            Request::get(&format!("/open/{}", "a".repeat(4096))),
            &[431, 414],
            false,
        ),
        (
            "a long query",
            Request::get(&format!("/open/?{}", "a".repeat(4096))),
            &[431, 414],
            false,
        ),
        (
            "a long method",
            Request::new(&"M".repeat(4096), "/open/"),
            &[431, 400],
            true,
        ),
        ("101 headers", with_headers(101, ""), &[431], true),
        (
            "70 KiB of target",
            Request::get(&format!("/open/{}", "a".repeat(70 << 10))),
            &[431, 414],
            true,
        ),
        (
            "100 KiB of header",
            Request::get("/open/").header("X-Long", &"a".repeat(100 << 10)),
            &[431],
            true,
        ),
        (
            "1 MiB of header",
            Request::get("/open/").header("X-Long", &"a".repeat(1 << 20)),
            &[431],
            true,
        ),
    ]
}

// T139
#[test]
fn heads_beyond_the_limit_are_refused() {
    let stage = stage("header_bytes = \"4KiB\"");
    let fits = Request::get("/open/").header("X-Long", &"a".repeat(3800));
    assert_eq!(stage.gateway.send(&fits).status, 200);
    assert_eq!(stage.gateway.send(&with_headers(90, "")).status, 200);
    let sent = stage.upstream.count();
    for (name, request, statuses, may_be_bare) in too_large() {
        let answer = stage.gateway.send(&request);
        assert!(
            statuses.contains(&answer.status),
            "{name}: {}",
            answer.status
        );
        assert!(
            answer.reason() == "header_too_large" || (may_be_bare && answer.reason().is_empty()),
            "{name}: {answer:?}"
        );
    }
    assert_eq!(stage.upstream.count(), sent);
}

#[test]
fn a_head_that_cannot_be_read_is_counted_and_recorded() {
    let stage = stage("header_bytes = \"4KiB\"");
    let long = Request::get("/open/").header("X-Long", &"a".repeat(1 << 20));
    for (bytes, status, reason) in [
        (
            b"GET /open/ HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(),
            400,
            "request_malformed",
        ),
        (long.bytes("a"), 431, "header_too_large"),
    ] {
        let answer = support::raw(stage.gateway.public, &bytes).unwrap();
        assert_eq!(answer.status, status);
        let labels = [("status", status.to_string())];
        let labels = labels.each_ref().map(|(name, value)| (*name, &**value));
        eventually("counted", || {
            let counted = |name, labels: &[(&str, &str)]| stage.gateway.metric(name, labels);
            counted("portcullis_requests_total", &labels) == 1.0
                && counted("portcullis_rejections_total", &[("reason", reason)]) == 1.0
        });
        let record = stage
            .gateway
            .wait_for_record(reason, |record| record["reason"] == reason);
        assert_eq!(
            (&record["status"], &record["client"], &record["route"]),
            (&json!(status), &json!("127.0.0.1"), &json!("none"))
        );
    }
}

#[test]
fn bodies_beyond_the_limit_are_refused_however_they_are_framed() {
    let stage = stage("body_bytes = \"1KiB\"");
    let chunked = |chunks: &[usize]| {
        let body = chunks
            .iter()
            .map(|size| format!("{size:x}\r\n{}\r\n", "a".repeat(*size)))
            .collect::<Vec<_>>()
            .concat();
        format!(
            "POST /open/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        )
    };
    let measured = |size: usize| {
        format!(
            "POST /open/ HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}",
            "a".repeat(size)
        )
    };
    for (name, payload, status) in [
        ("just fits", measured(1024), 200),
        ("one too many", measured(1025), 413),
        ("far too many", measured(300_000), 413),
        ("chunks that fit", chunked(&[1000, 24]), 200),
        ("chunks with one too many", chunked(&[1000, 25]), 413),
        ("one long chunk", chunked(&[5000]), 413),
    ] {
        let before = stage.upstream.count();
        let answer = support::raw(stage.gateway.public, payload.as_bytes())
            .unwrap_or_else(|| panic!("no answer: {name}"));
        let reason = if status == 413 { "body_too_large" } else { "" };
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{name}"
        );
        assert_eq!(
            stage.upstream.count() - before,
            usize::from(status == 200),
            "{name}"
        );
    }
    assert_eq!(
        stage.gateway.metric(
            "portcullis_rejections_total",
            &[("reason", "body_too_large")]
        ),
        4.0
    );
}

// T138
#[test]
fn a_head_that_does_not_end_and_a_connection_that_does_nothing_are_closed() {
    let stage = stage("header_timeout = \"200ms\"\nidle_timeout = \"400ms\"");
    for (name, bytes) in [
        ("nothing at all", &b""[..]),
        ("half a line", b"GET /open/ HT"),
        ("half a head", b"GET /open/ HTTP/1.1\r\nHost: a\r\nX-A"),
        (
            "a whole request, then nothing",
            b"GET /open/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "a whole request, then half a head",
            b"GET /open/ HTTP/1.1\r\nHost: a\r\n\r\nGET /op",
        ),
    ] {
        let mut connection = Connection::open(stage.gateway.public);
        connection.send(bytes);
        if name.starts_with("a whole request") {
            assert_eq!(connection.read(false).unwrap().status, 200, "{name}");
        }
        assert!(connection.is_closed(), "{name}");
    }
    eventually("all are closed", || {
        stage
            .gateway
            .metric("portcullis_connections", &[("listener", "public")])
            == 0.0
    });
}

#[test]
fn a_head_that_trickles_is_cut_off_although_bytes_keep_coming() {
    let stage = stage("header_timeout = \"300ms\"\nidle_timeout = \"60s\"");
    let mut connection = Connection::open(stage.gateway.public);
    connection.send(b"GET /open/ HTTP/1.1\r\nHost: a\r\n");
    eventually("closed", || !connection.send(b"X-A: 1\r\n"));
    assert_eq!(stage.upstream.count(), 0);
}

// T138
#[test]
fn a_body_that_stands_still_is_cut_off() {
    let stage = stage("body_timeout = \"200ms\"");
    for (name, start) in [
        ("with a length", "Content-Length: 10\r\n\r\nhello"),
        (
            "in chunks",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "in half a chunk",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ),
    ] {
        let mut connection = Connection::open(stage.gateway.public);
        connection.send(format!("POST /open/ HTTP/1.1\r\nHost: a\r\n{start}").as_bytes());
        if let Some(answer) = connection.read(false) {
            assert!(
                (400..500).contains(&answer.status),
                "{name}: {}",
                answer.status
            );
        }
        assert!(connection.is_closed(), "{name}");
        assert_eq!(stage.upstream.count(), 0, "{name}");
    }
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_upstream_errors_total", &[]),
        0.0
    );
}

#[test]
fn no_limit_touches_an_open_request() {
    let stage =
        stage("header_timeout = \"100ms\"\nidle_timeout = \"200ms\"\nbody_timeout = \"200ms\"");
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    stage.upstream.answer(move |_| {
        released.lock().unwrap().recv().unwrap();
        Reply::Json(json!({"late": true}))
    });
    let mut waiting = Connection::open(stage.gateway.public);
    waiting.send(b"GET /open/ HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.upstream.wait_for(1);
    // All limits have been reached, more than once, when these are closed.
    for _ in 0..3 {
        assert!(Connection::open(stage.gateway.public).is_closed());
    }
    release.send(()).unwrap();
    assert_eq!(waiting.read(false).unwrap().status, 200);
}

// T141
#[test]
fn at_the_limit_of_connections_accepting_pauses() {
    let stage = stage("connections = 2");
    let request = b"GET /open/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = Connection::open(stage.gateway.public);
    let mut second = Connection::open(stage.gateway.public);
    for connection in [&mut first, &mut second] {
        connection.send(request);
        assert_eq!(connection.read(false).unwrap().status, 200);
    }
    let mut third = Connection::open(stage.gateway.public);
    third.send(request);
    third
        .stream()
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let waiting = third.stream().read(&mut [0]).unwrap_err().kind();
    assert!(
        matches!(
            waiting,
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{waiting}"
    );
    assert_eq!(stage.upstream.count(), 2);
    // The open ones go on, and so does the admin listener.
    second.send(request);
    assert_eq!(second.read(false).unwrap().status, 200);
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_connections", &[("listener", "public")]),
        2.0
    );
    drop(first);
    third
        .stream()
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(third.read(false).unwrap().status, 200);
}

// T144
#[test]
fn a_rejected_upload_gets_its_answer() {
    let stage = Stage::new();
    let body = vec![b'a'; 20 << 20];
    let measured = Request::new("POST", "/upload").body(&body).bytes("a");
    let mut chunked =
        b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(1 << 20) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for (name, payload) in [("with a length", measured), ("in chunks", chunked)] {
        let mut connection = Connection::open(stage.gateway.public);
        assert!(
            connection.send(&payload),
            "{name}: the client could not send everything"
        );
        let answer = connection
            .read(false)
            .unwrap_or_else(|| panic!("no answer: {name}"));
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "token_missing"),
            "{name}"
        );
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
    }
    assert_eq!(stage.upstream.count(), 0);
    assert_eq!(stage.gateway.get("/", &token(json!({}))).status, 200);
}

/// The status of every head that comes, 1xx included, until the gateway closes.
fn statuses(connection: &Connection) -> Vec<String> {
    let mut text = String::new();
    connection.stream().read_to_string(&mut text).unwrap();
    text.lines()
        .filter(|line| line.starts_with("HTTP/1.1 "))
        .map(|line| line[9..12].to_owned())
        .collect()
}

// T144
#[test]
fn only_an_admitted_upload_is_asked_for() {
    let stage = Stage::new();
    let head = |token: &str| {
        Request::new("POST", "/upload")
            .bearer(token)
            .header("Expect", "100-continue")
            .header("Content-Length", "5")
            .header("Connection", "close")
            .bytes("a")
    };
    let mut rejected = Connection::open(stage.gateway.public);
    rejected.send(&head("not.a.token"));
    drop(rejected.stream().shutdown(std::net::Shutdown::Write));
    assert_eq!(statuses(&rejected), ["401"]);

    let mut admitted = Connection::open(stage.gateway.public);
    admitted.send(&head(&token(json!({}))));
    let mut interim = [0; 25];
    admitted.stream().read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    admitted.send(b"hello");
    assert_eq!(statuses(&admitted), ["200"]);
    assert_eq!(stage.upstream.last().body, b"hello");
}
