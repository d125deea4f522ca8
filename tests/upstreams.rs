//! Upstreams that are away, slow, broken or restarted: who is asked again, what the client gets, what is counted.

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

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::json;
use support::{Connection, Gateway, Received, Reply, Request, Response, Server, eventually};

/// An open gateway without issuers before the servers at those addresses.
fn gateway(servers: &[SocketAddr], upstream: &str) -> Gateway {
    let servers: Vec<_> = servers
        .iter()
        .map(|address| format!("\"http://{address}\""))
        .collect();
    Gateway::start(&format!(
        "[[upstream]]\nname = \"api\"\nservers = [{}]\n{upstream}\n[[route]]\npath = \"/*\"\nupstream = \"api\"\nauth = \"none\"\n",
        servers.join(", ")
    ))
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// One client connection is served by one worker, and so from one pool.
fn ask(connection: &mut Connection, request: &Request) -> Option<Response> {
    connection.send(&request.bytes("a"));
    connection.read(false)
}

fn post(target: &str) -> Request {
    Request::new("POST", target).body(b"once")
}

fn reason(answer: &Response) -> (u16, String) {
    (answer.status, answer.reason())
}

fn errors(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metric(
        "portcullis_upstream_errors_total",
        &[("kind", kind), ("upstream", "api")],
    )
}

/// As an API behaves in the middle of a request: answers `/fine`, does otherwise on the first request for anything else.
fn faulty(times: usize, fault: Reply) -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
    let asked = AtomicUsize::new(0);
    move |request| {
        if request.target != "/fine" && asked.fetch_add(1, Ordering::SeqCst) < times {
            return fault.clone();
        }
        Reply::Json(json!({"method": request.method}))
    }
}

#[test]
fn an_upstream_that_is_away_is_a_502() {
    let gateway = gateway(&[nobody()], "retries = 1");
    for request in [Request::get("/"), post("/")] {
        let answer = gateway.send(&request);
        assert_eq!(reason(&answer), (502, "upstream_unreachable".to_owned()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("www-authenticate").is_none());
    }
    assert_eq!(errors(&gateway, "connect"), 4.0, "each attempt counts");
    let rejected = gateway.metric(
        "portcullis_rejections_total",
        &[("reason", "upstream_unreachable")],
    );
    assert_eq!(rejected, 2.0);
}

#[test]
fn an_upstream_that_does_not_answer_is_a_504_and_not_asked_again() {
    let server = Server::start(|_| Reply::Hang);
    let gateway = gateway(
        &[server.address],
        "retries = 3\nresponse_timeout = \"200ms\"",
    );
    let answer = gateway.send(&Request::get("/"));
    assert_eq!(reason(&answer), (504, "upstream_timeout".to_owned()));
    assert_eq!(server.count(), 1);
    assert_eq!(errors(&gateway, "response_timeout"), 1.0);
    let rejected = gateway.metric(
        "portcullis_rejections_total",
        &[("reason", "upstream_timeout")],
    );
    assert_eq!(rejected, 1.0);
}

#[test]
fn connections_to_upstreams_are_used_again() {
    let server = Server::echo();
    let gateway = gateway(&[server.address], "");
    let mut connection = Connection::open(gateway.public);
    for request in [
        Request::get("/1"),
        post("/2"),
        Request::new("PUT", "/3").body(b"x"),
        Request::get("/4"),
    ] {
        assert_eq!(ask(&mut connection, &request).unwrap().status, 200);
    }
    let connections: Vec<_> = server
        .received()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections, [0, 0, 0, 0]);
}

#[test]
fn a_connection_that_idles_for_too_long_is_left() {
    let server = Server::echo();
    let gateway = gateway(&[server.address], "keep_alive = \"1ms\"");
    let mut connection = Connection::open(gateway.public);
    let mut used = Vec::new();
    eventually("another connection", || {
        assert_eq!(
            ask(&mut connection, &Request::get("/")).unwrap().status,
            200
        );
        used.push(server.last().connection);
        used.first() != used.last()
    });
}

/// The upstream has hung up before the request comes, so that nothing need be sent twice.
#[test]
fn a_post_after_a_restart_goes_over_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(&[listener.local_addr().unwrap()], "retries = 0");
    let (hung_up, hangs_up) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .unwrap();
            drop(reader);
            hung_up.send(()).unwrap();
        }
    });
    let mut connection = Connection::open(gateway.public);
    for number in 0..5 {
        let request = Request::new("POST", "/");
        assert_eq!(
            ask(&mut connection, &request).unwrap().status,
            200,
            "{number}"
        );
        hangs_up.recv().unwrap();
    }
}

#[test]
fn a_restart_of_the_upstream_costs_no_request() {
    let server = Server::start(|_| {
        Reply::BytesAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    });
    let gateway = gateway(&[server.address], "");
    let mut connection = Connection::open(gateway.public);
    for number in 0..20 {
        let request = if number % 2 == 0 {
            Request::get("/")
        } else {
            Request::new("DELETE", "/")
        };
        assert_eq!(
            ask(&mut connection, &request).unwrap().status,
            200,
            "{number}"
        );
    }
    assert_eq!(server.count(), 20);
}

/// A request with these settings to an upstream that hangs up so many times: the status, and how often it is asked.
struct HangUp {
    settings: &'static str,
    faults: usize,
    method: &'static str,
    body: &'static str,
    status: u16,
    asked: usize,
}

const fn hang_up(
    settings: &'static str,
    faults: usize,
    (method, body): (&'static str, &'static str),
    (status, asked): (u16, usize),
) -> HangUp {
    HangUp {
        settings,
        faults,
        method,
        body,
        status,
        asked,
    }
}

const HANG_UPS: [HangUp; 11] = [
    hang_up("", 1, ("GET", ""), (200, 2)),
    hang_up("", 1, ("OPTIONS", ""), (200, 2)),
    hang_up("", 1, ("DELETE", ""), (200, 2)),
    hang_up("", 2, ("GET", ""), (502, 2)),
    hang_up("retries = 2", 2, ("GET", ""), (200, 3)),
    hang_up("retries = 0", 1, ("GET", ""), (502, 1)),
    hang_up("", 1, ("POST", "once"), (502, 1)),
    hang_up("", 1, ("POST", ""), (502, 1)),
    hang_up("", 1, ("PATCH", ""), (502, 1)),
    hang_up("retries = 3", 1, ("PUT", "x"), (502, 1)),
    hang_up("retries = 3", 1, ("GET", "x"), (502, 1)),
];

#[test]
fn only_what_may_be_repeated_is_repeated_when_an_upstream_hangs_up() {
    for row in HANG_UPS {
        let name = format!("{} {:?} with {:?}", row.method, row.body, row.settings);
        let request = Request::new(row.method, "/x").body(row.body.as_bytes());
        for pooled in [true, false] {
            let server = Server::start(faulty(row.faults, Reply::Close));
            let gateway = gateway(&[server.address], row.settings);
            let mut connection = Connection::open(gateway.public);
            if pooled {
                assert_eq!(
                    ask(&mut connection, &Request::get("/fine")).unwrap().status,
                    200
                );
            }
            let answer = ask(&mut connection, &request).unwrap();
            assert_eq!(answer.status, row.status, "{name}, pooled: {pooled}");
            assert_eq!(
                server.count() - usize::from(pooled),
                row.asked,
                "{name}, pooled: {pooled}"
            );
            if row.status == 502 {
                assert_eq!(answer.reason(), "upstream_unreachable", "{name}");
            }
        }
    }
}

#[test]
fn nothing_is_repeated_once_a_byte_of_an_answer_came() {
    for (kind, bytes) in [
        ("reset", &b"HTTP/1.1 20"[..]),
        ("reset", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("protocol", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("protocol", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        ("protocol", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        (
            "protocol",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
    ] {
        let text = String::from_utf8_lossy(bytes);
        let server = Server::start(faulty(1, Reply::BytesAndClose(bytes.to_vec())));
        let gateway = gateway(&[server.address], "retries = 3");
        let answer = gateway.send(&Request::get("/x"));
        assert_eq!(
            reason(&answer),
            (502, "upstream_unreachable".to_owned()),
            "{text:?}"
        );
        assert_eq!(server.count(), 1, "{text:?}");
        let seen = ["reset", "protocol"].map(|kind| errors(&gateway, kind));
        assert_eq!(seen[0] + seen[1], 1.0, "{text:?}: {seen:?}");
        assert_eq!(errors(&gateway, kind), 1.0, "{text:?}: {seen:?}");
    }
}

#[test]
fn servers_take_turns_and_one_that_is_down_is_passed_over() {
    let servers = [Server::echo(), Server::echo()];
    let gateway = gateway(
        &[servers[0].address, nobody(), servers[1].address],
        "retries = 1",
    );
    let mut connection = Connection::open(gateway.public);
    for number in 0..30 {
        let request = if number % 2 == 0 {
            Request::get("/")
        } else {
            post("/")
        };
        assert_eq!(
            ask(&mut connection, &request).unwrap().status,
            200,
            "{number}"
        );
    }
    let counts = servers.each_ref().map(Server::count);
    assert!(
        counts[0] + counts[1] == 30 && counts.iter().all(|count| *count >= 8),
        "{counts:?}"
    );
    assert!(errors(&gateway, "connect") >= 8.0);
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    for (name, bytes) in [
        (
            "with a length",
            &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"[..],
        ),
        (
            "in chunks",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n",
        ),
        (
            "in half a chunk",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nstart",
        ),
        (
            "with a broken chunk",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\nxx\r\n",
        ),
    ] {
        let server = Server::start(faulty(1, Reply::BytesAndClose(bytes.to_vec())));
        let gateway = gateway(&[server.address], "retries = 3");
        let mut connection = Connection::open(gateway.public);
        assert!(
            ask(&mut connection, &Request::get("/x")).is_none(),
            "{name}: taken for a whole answer"
        );
        assert!(connection.is_closed(), "{name}");
        assert_eq!(server.count(), 1, "{name}");
        assert_eq!(gateway.send(&Request::get("/fine")).status, 200, "{name}");
    }
}

#[test]
fn a_body_that_is_broken_from_its_first_byte_is_a_502() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\nstart\r\n0\r\n\r\n";
    let server = Server::start(move |_| Reply::Bytes(bytes.to_vec()));
    let gateway = gateway(&[server.address], "");
    let answer = gateway.send(&Request::get("/x"));
    assert_eq!(reason(&answer), (502, "upstream_unreachable".to_owned()));
    assert_eq!(errors(&gateway, "protocol"), 1.0);
}

#[test]
fn the_record_of_an_answer_that_broke_off_says_so() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\nxx\r\n";
    let server = Server::start(move |_| Reply::BytesAndClose(bytes.to_vec()));
    let gateway = gateway(&[server.address], "");
    let mut connection = Connection::open(gateway.public);
    let request = Request::get("/x").header("X-Request-Id", "broken");
    assert!(ask(&mut connection, &request).is_none());
    let record = gateway.record("broken");
    assert_eq!(record["reason"], "upstream_unreachable", "{record}");
}

#[test]
fn an_upstream_may_answer_before_it_has_read_everything() {
    let server = Server::start(|_| Reply::Status(413));
    let gateway = gateway(&[server.address], "");
    let answer = gateway.send(&Request::new("POST", "/").body(&vec![b'a'; 2 << 20]));
    assert_eq!((answer.status, answer.reason().as_str()), (413, ""));
}
