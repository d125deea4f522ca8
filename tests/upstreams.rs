//! Upstreams that are away, slow, broken or restarted: who is asked again, what the client gets, what is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

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

#[test]
fn an_upstream_that_hung_up_between_requests_costs_no_request() {
    let server = Server::start(|_| {
        Reply::BytesAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    });
    let gateway = gateway(&[server.address], "retries = 0");
    let mut connection = Connection::open(gateway.public);
    for number in 0..20 {
        let request = if number % 2 == 0 {
            Request::get("/")
        } else {
            Request::new("DELETE", "/")
        };
        let answer = ask(&mut connection, &request).unwrap();
        // Without retries only what was never written may be sent again.
        assert!(answer.status == 200 || answer.status == 502, "{answer:?}");
    }
    assert!(server.count() <= 20);
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

#[test]
fn only_what_may_be_repeated_is_repeated_when_an_upstream_hangs_up() {
    for (name, settings, faults, request, status, asked) in [
        ("GET", "", 1, Request::get("/x"), 200, 2),
        (
            "HEAD-like OPTIONS",
            "",
            1,
            Request::new("OPTIONS", "/x"),
            200,
            2,
        ),
        (
            "DELETE without a body",
            "",
            1,
            Request::new("DELETE", "/x"),
            200,
            2,
        ),
        ("GET, twice", "", 2, Request::get("/x"), 502, 2),
        (
            "GET, twice, two retries",
            "retries = 2",
            2,
            Request::get("/x"),
            200,
            3,
        ),
        (
            "GET without retries",
            "retries = 0",
            1,
            Request::get("/x"),
            502,
            1,
        ),
        ("POST", "", 1, post("/x"), 502, 1),
        (
            "POST without a body",
            "",
            1,
            Request::new("POST", "/x"),
            502,
            1,
        ),
        ("PATCH", "", 1, Request::new("PATCH", "/x"), 502, 1),
        (
            "PUT with a body",
            "retries = 3",
            1,
            Request::new("PUT", "/x").body(b"x"),
            502,
            1,
        ),
        (
            "GET with a body",
            "retries = 3",
            1,
            Request::get("/x").body(b"x"),
            502,
            1,
        ),
    ] {
        for pooled in [true, false] {
            let server = Server::start(faulty(faults, Reply::Close));
            let gateway = gateway(&[server.address], settings);
            let mut connection = Connection::open(gateway.public);
            if pooled {
                assert_eq!(
                    ask(&mut connection, &Request::get("/fine")).unwrap().status,
                    200
                );
            }
            let answer = ask(&mut connection, &request).unwrap();
            assert_eq!(answer.status, status, "{name}, pooled: {pooled}");
            assert_eq!(
                server.count() - usize::from(pooled),
                asked,
                "{name}, pooled: {pooled}"
            );
            if status == 502 {
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
fn an_upstream_may_answer_before_it_has_read_everything() {
    let server = Server::start(|_| Reply::Status(413));
    let gateway = gateway(&[server.address], "");
    let answer = gateway.send(&Request::new("POST", "/").body(&vec![b'a'; 2 << 20]));
    assert_eq!((answer.status, answer.reason().as_str()), (413, ""));
}
