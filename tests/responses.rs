//! What a client gets of an upstream's answer, and bodies that are passed on as they come, both ways.

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

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use serde_json::json;
use support::{Connection, Gateway, Reply, Request, Response, Stage};

const OPEN: &str = "path = \"/*\"\nupstream = \"api\"\nauth = \"none\"";

/// The answer to one request where the upstream sends those bytes.
fn answer_to(stage: &Stage, method: &str, bytes: &str) -> Response {
    let bytes = bytes.as_bytes().to_vec();
    stage
        .upstream
        .answer(move |_| Reply::BytesAndClose(bytes.clone()));
    stage.gateway.send(&Request::new(method, "/"))
}

#[test]
fn hop_by_hop_headers_of_an_answer_stop_here() {
    let stage = Stage::with("", OPEN);
    let answer = answer_to(
        &stage,
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: close, X-Internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\nConnection: x_two\r\n\
        X_Two: 2\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nTE: trailers\r\nX-Kept: 3\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
        X-Request-Id: theirs\r\nServer: api\r\nContent-Length: 2\r\n\r\nok",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for gone in [
        "x-internal",
        "x_two",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
    ] {
        assert!(answer.header(gone).is_none(), "{gone}: {answer:?}");
    }
    assert_eq!(answer.header("x-kept"), Some("3"));
    assert_eq!(answer.header("server"), Some("api"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    let ids = answer.all("x-request-id");
    assert_eq!(ids, stage.upstream.last().all("x-request-id"));
}

#[test]
fn an_upstreams_own_rejections_are_its_own() {
    let stage = Stage::with("", OPEN);
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "500 Oops",
        "503 Busy",
        "418 I'm a teapot",
        "299 Odd",
    ] {
        let challenge = "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Bearer realm=\"theirs\", error=\"invalid_token\"";
        let bytes = format!(
            "HTTP/1.1 {status}\r\n{challenge}\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbody"
        );
        let answer = answer_to(&stage, "GET", &bytes);
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.text(), "body");
        assert_eq!(
            answer.all("www-authenticate"),
            [
                "Basic realm=\"a\"",
                "Bearer realm=\"theirs\", error=\"invalid_token\""
            ]
        );
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert!(answer.header("cache-control").is_none());
    }
    assert_eq!(
        stage.gateway.metric("portcullis_rejections_total", &[]),
        0.0
    );
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_requests_total", &[("status", "401")]),
        1.0
    );
}

const FRAMES: &[(&str, &str, &str, u16, &str)] = &[
    (
        "with a length",
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
        "hello",
    ),
    (
        "empty",
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        200,
        "",
    ),
    (
        "in chunks",
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        200,
        "hello",
    ),
    (
        "to the end",
        "GET",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        200,
        "hello",
    ),
    (
        "HTTP/1.0",
        "GET",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        200,
        "hello",
    ),
    (
        "two frames",
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        200,
        "hello",
    ),
    ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    (
        "304",
        "GET",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n",
        304,
        "",
    ),
    (
        "after 100",
        "POST",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
        "hello",
    ),
    (
        "after 103",
        "GET",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
        "hello",
    ),
];

#[test]
fn answers_of_every_frame_arrive_whole() {
    let stage = Stage::with("", OPEN);
    for (name, method, bytes, status, body) in FRAMES.iter().copied() {
        let answer = answer_to(&stage, method, bytes);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, body),
            "{name}"
        );
        assert!(
            answer.header("content-length").is_none()
                || answer.header("transfer-encoding").is_none(),
            "{name}: {answer:?}"
        );
        let ids = answer.all("x-request-id").len();
        assert_eq!(ids, 1, "{name}");
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_in_order() {
    let stage = Stage::with("", OPEN);
    stage.upstream.answer(|request| {
        let head = match request.target.as_str() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Is: head\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
        };
        Reply::Bytes(head.as_bytes().to_vec())
    });
    let mut connection = Connection::open(stage.gateway.public);
    for _ in 0..2 {
        for (method, target, status) in [
            ("HEAD", "/head", 200),
            ("GET", "/204", 204),
            ("GET", "/304", 304),
        ] {
            connection.send(&Request::new(method, target).bytes("a"));
            let answer = connection.read(method == "HEAD").unwrap();
            assert_eq!(answer.status, status, "{target}");
            if target == "/head" {
                assert_eq!(answer.header("content-length"), Some("5"));
            }
            connection.send(&Request::get("/").bytes("a"));
            assert_eq!(
                connection.read(false).unwrap().text(),
                "done",
                "after {target}"
            );
        }
    }
    // A rejection of a HEAD has no body either.
    let guarded = Stage::new();
    let mut connection = Connection::open(guarded.gateway.public);
    for _ in 0..2 {
        connection.send(&Request::new("HEAD", "/").bytes("a"));
        assert_eq!(connection.read(true).unwrap().status, 401);
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().zip(1_u64..).fold(0, |sum, (byte, place)| {
        sum.wrapping_add(u64::from(*byte).wrapping_mul(place))
    })
}

#[test]
fn twenty_megabytes_pass_unchanged_both_ways() {
    let stage = Stage::with("", OPEN);
    let body: Vec<u8> = (0..5_u32 << 20)
        .flat_map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let copy = body.clone();
    stage.upstream.answer(move |request| {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nX-Length: {}\r\nX-Sum: {}\r\nContent-Length: {}\r\n\r\n",
            request.body.len(),
            sum(&request.body),
            copy.len()
        )
        .into_bytes();
        answer.extend_from_slice(&copy);
        Reply::Bytes(answer)
    });
    let mut chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let measured = Request::new("POST", "/").body(&body).bytes("a");
    let wanted = sum(&body).to_string();
    for (name, payload) in [("with a length", measured), ("in chunks", chunked)] {
        let answer = support::raw(stage.gateway.public, &payload).unwrap();
        assert_eq!(answer.header("x-length"), Some("20971520"), "{name}");
        assert_eq!(answer.header("x-sum"), Some(wanted.as_str()), "{name}");
        assert!(answer.body == body, "{name}: the answer's body was changed");
    }
}

/// A gateway before an upstream that is this thread itself.
fn before_this_thread() -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(&format!(
        "[[upstream]]\nname = \"api\"\nservers = [\"http://{}\"]\n[[route]]\n{OPEN}\n",
        listener.local_addr().unwrap()
    ));
    (gateway, listener)
}

fn read_head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    head
}

fn read_until(reader: &mut impl Read, end: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

#[test]
fn an_answer_is_passed_on_while_it_still_comes() {
    for head in [
        "Transfer-Encoding: chunked",
        "Content-Length: 29",
        "Content-Type: text/event-stream",
    ] {
        let (gateway, listener) = before_this_thread();
        let mut client = TcpStream::connect(gateway.public).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut upstream = BufReader::new(listener.accept().unwrap().0);
        read_head(&mut upstream);
        let stream = upstream.get_mut();
        write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n").unwrap();
        // The head alone, then each part before the next is sent.
        read_until(&mut client, "\r\n\r\n");
        for word in ["b\r\nfirst words\r\n", "b\r\nother words\r\n"] {
            let part = if head.starts_with("Transfer") {
                word
            } else {
                &word[3..14]
            };
            stream.write_all(part.as_bytes()).unwrap();
            read_until(&mut client, &word[3..14]);
        }
    }
}

#[test]
fn an_upload_is_passed_on_while_it_still_comes() {
    let (gateway, listener) = before_this_thread();
    let mut client = Connection::open(gateway.public);
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut upstream = BufReader::new(listener.accept().unwrap().0);
    let head = read_head(&mut upstream);
    assert!(
        head.to_lowercase()
            .contains("\r\ntransfer-encoding: chunked\r\n"),
        "{head}"
    );
    for word in ["first words", "other words"] {
        client.send(format!("b\r\n{word}\r\n").as_bytes());
        read_until(&mut upstream, word);
    }
    client.send(b"0\r\n\r\n");
    read_until(&mut upstream, "0\r\n\r\n");
    upstream
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert_eq!(client.read(false).unwrap().text(), "ok");
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let (gateway, listener) = before_this_thread();
    let (told, hears) = mpsc::channel();
    let upstream = std::thread::spawn(move || {
        let mut upstream = BufReader::new(listener.accept().unwrap().0);
        read_head(&mut upstream);
        told.send(()).unwrap();
        // The gateway closes: nobody waits for the answer any more.
        let mut rest = Vec::new();
        drop(upstream.read_to_end(&mut rest));
    });
    let mut client = Connection::open(gateway.public);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: left\r\n\r\n");
    hears.recv().unwrap();
    drop(client);
    upstream.join().unwrap();
    assert_eq!(gateway.record("left")["path"], json!("/"));
}
