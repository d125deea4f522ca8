//! The end: open requests finish, and nobody is turned away who need not be.

use std::net::TcpStream;

use serde_json::json;

use crate::support::{Connection, Gateway, Request, Server, configuration, eventually, token};
use crate::{Barrier, ROUTE, provider, slow_api};

/// A gateway in front of that API, with those settings of `[server]`.
fn gateway(api: &Server, settings: &str) -> Gateway {
    let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{settings}");
    Gateway::start(&configuration(&top, &provider(), "", api, ROUTE))
}

/// A request that is open at the API.
fn open_request(gateway: &Gateway, api: &Server) -> Connection {
    let before = api.count();
    let mut connection = Connection::open(gateway.public);
    assert!(connection.send(&Request::get("/slow").bearer(&token(json!({}))).bytes("a")));
    api.wait_for(before + 1);
    connection
}

fn is_refused(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.public).is_err()
}

fn readiness(gateway: &Gateway) -> (u16, String) {
    let answer = gateway.admin_get("/readyz");
    (
        answer.status,
        answer.json()["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

#[test]
fn sigterm_lets_open_requests_finish_and_readiness_falls_first() {
    let barrier = Barrier::default();
    let api = slow_api(&barrier);
    let gateway = gateway(&api, "drain_delay = \"3s\"\ndrain = \"60s\"");
    let good = token(json!({}));
    let mut open = open_request(&gateway, &api);
    let mut kept = Connection::open(gateway.public);
    assert!(kept.send(&Request::get("/").bearer(&good).bytes("a")));
    assert_eq!(kept.read(false).expect("an answer").status, 200);

    gateway.signal("TERM");
    eventually("not ready", || {
        readiness(&gateway) == (503, "draining".to_owned())
    });
    assert_eq!(
        gateway.get("/", &good).status,
        200,
        "connections are still accepted"
    );
    assert!(kept.send(&Request::get("/").bearer(&good).bytes("a")));
    assert_eq!(
        kept.read(false).expect("an answer").status,
        200,
        "and those that are open go on"
    );

    eventually("new connections are refused", || is_refused(&gateway));
    assert_eq!(readiness(&gateway), (503, "draining".to_owned()));
    assert_eq!(gateway.admin_get("/healthz").status, 200);
    assert!(kept.is_closed(), "idle connections are closed");
    barrier.open();
    let finished = open.read(false).expect("the open request's answer");
    assert_eq!(
        (finished.status, finished.header("connection")),
        (200, Some("close"))
    );
    let stopped = gateway.wait_for_record("stopped", |record| record["message"] == "stopped");
    assert_eq!(stopped["cut_off"], 0);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn requests_still_open_at_the_end_of_drain_are_cut_and_counted_and_the_exit_code_is_0() {
    let barrier = Barrier::default();
    let api = slow_api(&barrier);
    let gateway = gateway(&api, "drain = \"300ms\"");
    let mut open: Vec<_> = (0..3).map(|_| open_request(&gateway, &api)).collect();
    let mut idle = Connection::open(gateway.public);
    gateway.signal("TERM");
    for connection in &mut open {
        assert!(connection.read(false).is_none(), "an answer came after all");
    }
    assert!(idle.is_closed());
    let stopped = gateway.wait_for_record("stopped", |record| record["message"] == "stopped");
    assert_eq!(stopped["cut_off"], 3);
    // They did not leave: 499 would say so.
    let slow = gateway.wait_for_record("its record", |record| record["path"] == "/slow");
    assert_eq!(
        (&slow["status"], &slow["reason"]),
        (&json!(503), &json!(null)),
        "{slow}"
    );
    assert_eq!(gateway.wait().code(), Some(0));
    barrier.open();
}

/// Ctrl-C in a terminal: nobody looks at readiness. `drain_delay` is longer than the test's patience.
#[test]
fn sigint_skips_drain_delay_and_still_lets_requests_finish() {
    let barrier = Barrier::default();
    let api = slow_api(&barrier);
    let gateway = gateway(&api, "drain_delay = \"60s\"\ndrain = \"60s\"");
    let mut open = open_request(&gateway, &api);
    gateway.signal("INT");
    eventually("new connections are refused", || is_refused(&gateway));
    barrier.open();
    assert_eq!(open.read(false).expect("an answer").status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
}

/// Both waits are longer than the test's patience.
#[test]
fn a_second_signal_ends_at_once() {
    let barrier = Barrier::default();
    let api = slow_api(&barrier);
    for (first, second) in [
        ("TERM", "TERM"),
        ("TERM", "INT"),
        ("INT", "INT"),
        ("INT", "TERM"),
    ] {
        let gateway = gateway(&api, "drain_delay = \"60s\"\ndrain = \"60s\"");
        let mut open = open_request(&gateway, &api);
        gateway.signal(first);
        gateway.wait_for_record("draining", |record| record["message"] == "draining");
        gateway.signal(second);
        gateway.wait_for_record("stopped", |record| {
            let message = record["message"].as_str().unwrap_or_default();
            message.starts_with("stopped by a second signal")
        });
        assert_eq!(gateway.wait().code(), Some(1), "{first}, {second}");
        assert!(open.read(false).is_none(), "{first}, {second}");
    }
    barrier.open();
}

/// A body on its way down is a request that is open, too.
#[test]
fn a_request_whose_body_is_still_coming_is_finished() {
    let api = Server::echo();
    let gateway = gateway(&api, "drain = \"60s\"");
    let mut open = Connection::open(gateway.public);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n",
        token(json!({}))
    );
    assert!(open.send(format!("{head}Content-Length: 10\r\n\r\n01234").as_bytes()));
    let is_open = |gateway: &Gateway| {
        gateway.metric("portcullis_admissions_total", &[("via", "verified")]) > 0.5
    };
    eventually("admitted", || is_open(&gateway));
    gateway.signal("TERM");
    eventually("new connections are refused", || is_refused(&gateway));
    assert!(open.send(b"56789"));
    let answer = open.read(false).expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["body_bytes"]),
        (200, &json!(10))
    );
    assert_eq!(gateway.wait().code(), Some(0));
}
