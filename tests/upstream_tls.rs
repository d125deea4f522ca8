//! TLS towards upstreams, from outside: whom the gateway believes, what it shows of itself, and what it says where that fails.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;
mod tls_support;

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use support::{Gateway, Received, Reply, Request, Response, Server, corp, eventually, token};
use tempfile::TempDir;
use tls_support::{Authority, Pair, acceptor};

/// A gateway before one upstream, with `upstream` in its section; files lie in `folder`.
struct House {
    gateway: Gateway,
    _provider: Server,
}

/// What is made before the gateway starts.
struct Site {
    authority: Authority,
    folder: Arc<TempDir>,
}

impl Site {
    fn new() -> Self {
        let authority = Authority::new("Upstream CA");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ca.crt"), &authority.certificate).unwrap();
        Self { authority, folder }
    }

    fn gateway(&self, server: &str, upstream: &str) -> House {
        let provider = Server::keys(vec![corp().jwk(support::KID)]);
        let somewhere = Server::echo();
        let routes = "path = \"/*\"\nupstream = \"api\"";
        let text = support::configuration("", &provider, "", &somewhere, routes).replace(
            &format!("servers = [\"{}\"]", somewhere.url()),
            &format!("servers = [\"{server}\"]\n{upstream}"),
        );
        let gateway = Gateway::written_in(Arc::clone(&self.folder), &text);
        eventually("ready", || gateway.admin_get("/readyz").status == 200);
        House {
            gateway,
            _provider: provider,
        }
    }
}

impl House {
    fn ask(&self) -> Response {
        self.gateway.get("/orders", &token(json!({})))
    }

    fn errors(&self, kind: &str) -> f64 {
        let labels = [("upstream", "api"), ("kind", kind)];
        self.gateway
            .metric("portcullis_upstream_errors_total", &labels)
    }
}

fn api(pair: &Pair, clients: Option<&Authority>) -> Server {
    api_answering(pair, clients, |_| Reply::Json(json!({ "is": "well" })))
}

fn api_answering(
    pair: &Pair,
    clients: Option<&Authority>,
    handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
) -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    Server::start_over(address, acceptor(pair, clients), handler)
}

fn secure(server: &Server, host: &str) -> String {
    format!("https://{host}:{}", server.address.port())
}

const OWN: &str = "ca = \"ca.crt\"";

#[test]
fn a_server_of_our_own_authority_is_asked_over_one_connection() {
    let site = Site::new();
    let api = api(&site.authority.issue(&["localhost", "127.0.0.1"]), None);
    for host in ["localhost", "127.0.0.1"] {
        let server = secure(&api, host);
        let upstream = format!("{OWN}\nkeep_alive = \"1m\"");
        let house = site.gateway(&server, &format!("{upstream}\nhost = \"upstream\""));
        let first = house.ask();
        assert_eq!(first.status, 200, "{first:?}");
        let connection = api.last().connection;
        let seen = api.last();
        assert_eq!(seen.header("host"), server.strip_prefix("https://"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
        // One worker or the other may open its own; each then keeps to it.
        for _ in 0..10 {
            assert_eq!(house.ask().status, 200);
        }
        let opened = api.last().connection - connection;
        assert!(opened < 8, "{opened} connections for ten requests");
        assert!(house.errors("reset") < 0.5 && house.errors("tls") < 0.5);
    }
}

#[test]
fn one_worker_asks_ten_times_over_one_connection_that_tickets_do_not_spoil() {
    let site = Site::new();
    let api = api(&site.authority.issue(&["localhost"]), None);
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n";
    let provider = Server::keys(vec![corp().jwk(support::KID)]);
    let routes = "path = \"/*\"\nupstream = \"api\"";
    let text = support::configuration(top, &provider, "", &api, routes)
        .replace(&api.url(), &secure(&api, "localhost"))
        .replace(
            "name = \"api\"",
            "name = \"api\"\nca = \"ca.crt\"\nretries = 0\nkeep_alive = \"1m\"",
        );
    let gateway = Gateway::written_in(Arc::clone(&site.folder), &text);
    eventually("ready", || gateway.admin_get("/readyz").status == 200);
    for _ in 0..10 {
        let post = Request::new("POST", "/orders")
            .bearer(&token(json!({})))
            .body(b"x");
        assert_eq!(gateway.send(&post).status, 200);
    }
    assert_eq!(api.count(), 10);
    assert_eq!(api.last().connection, 0);
}

#[test]
fn an_unknown_authority_is_unreachable_and_said_once() {
    let site = Site::new();
    let stranger = Authority::new("Stranger");
    let api = api(&stranger.issue(&["localhost"]), None);
    let house = site.gateway(&secure(&api, "localhost"), OWN);
    for _ in 0..3 {
        assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    }
    assert_eq!(api.count(), 0);
    assert!(house.errors("tls") >= 3.0);
    let record = house.gateway.wait_for_record("a warning", |record| {
        record["message"] == "no TLS with an upstream server"
    });
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.contains("UnknownIssuer"), "{reason}");
    assert_eq!(record["level"], "WARN");
}

#[test]
fn the_systems_roots_do_not_believe_a_stranger() {
    let site = Site::new();
    let api = api(&site.authority.issue(&["localhost"]), None);
    let house = site.gateway(&secure(&api, "localhost"), "");
    assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    assert_eq!(api.count(), 0);
}

#[test]
fn an_expired_certificate_is_unreachable() {
    let site = Site::new();
    let api = api(&site.authority.issue_until(&["localhost"], 2001), None);
    let house = site.gateway(&secure(&api, "localhost"), OWN);
    assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    let record = house.gateway.wait_for_record("a warning", |record| {
        record["message"] == "no TLS with an upstream server"
    });
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.contains("expired"), "{reason}");
}

#[test]
fn a_certificate_must_be_for_the_host_or_for_server_name() {
    let site = Site::new();
    let api = api(&site.authority.issue(&["orders.internal"]), None);
    let server = secure(&api, "127.0.0.1");
    let wrong = site.gateway(&server, OWN);
    assert_eq!(wrong.ask().outcome(), "502 upstream_unreachable");
    drop(wrong);
    let named = format!("{OWN}\nserver_name = \"orders.internal\"");
    assert_eq!(site.gateway(&server, &named).ask().status, 200);
}

#[test]
fn a_server_that_asks_is_shown_our_certificate() {
    let site = Site::new();
    let clients = Authority::new("Clients");
    clients.issue(&["gateway"]).write(site.folder.path(), "own");
    let api = api(&site.authority.issue(&["localhost"]), Some(&clients));
    let server = secure(&api, "localhost");
    let shown = format!("{OWN}\nclient_certificate = \"own.crt\"\nclient_key = \"own.key\"");
    assert_eq!(site.gateway(&server, &shown).ask().status, 200);
    let house = site.gateway(&server, OWN);
    assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    assert_eq!(api.count(), 1);
}

#[test]
fn a_new_authority_is_believed_without_a_restart() {
    let site = Site::new();
    let next = Authority::new("Next CA");
    let api = api(&next.issue(&["localhost"]), None);
    let house = site.gateway(&secure(&api, "localhost"), OWN);
    assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    std::fs::write(site.folder.path().join("ca.crt"), &next.certificate).unwrap();
    eventually("belief", || house.ask().status == 200);
}

#[test]
fn long_bodies_pass_both_ways() {
    let site = Site::new();
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let expected = body.clone();
    let api = api_answering(
        &site.authority.issue(&["localhost"]),
        None,
        move |request| {
            assert!(request.body == expected);
            let length = expected.len();
            let mut bytes =
                format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            bytes.extend_from_slice(&expected);
            Reply::Bytes(bytes)
        },
    );
    let house = site.gateway(&secure(&api, "localhost"), OWN);
    for _ in 0..2 {
        let request = Request::new("POST", "/orders")
            .bearer(&token(json!({})))
            .body(&body);
        let response = house.gateway.send(&request);
        assert_eq!(response.status, 200);
        assert!(response.body == body);
    }
}

#[test]
fn a_handshake_that_stands_still_ends_with_connect_timeout() {
    let site = Site::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in silent.incoming() {
            std::thread::spawn(move || {
                let mut rest = Vec::new();
                drop(stream.unwrap().read_to_end(&mut rest));
            });
        }
    });
    let upstream = format!("{OWN}\nconnect_timeout = \"200ms\"");
    let house = site.gateway(&format!("https://localhost:{port}"), &upstream);
    assert_eq!(house.ask().outcome(), "504 upstream_timeout");
    assert!(house.errors("connect_timeout") > 0.5);
}

#[test]
fn a_server_that_speaks_plainly_is_unreachable() {
    let site = Site::new();
    let plain = Server::echo();
    let house = site.gateway(&secure(&plain, "localhost"), OWN);
    assert_eq!(house.ask().outcome(), "502 upstream_unreachable");
    assert!(house.errors("tls") > 0.5);
}
