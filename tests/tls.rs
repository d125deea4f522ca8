//! TLS towards clients, from outside: which certificate is shown, who may come in, and what a reload changes.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;
mod tls_support;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::json;
use support::{Connection, Gateway, Request, Response, Server, corp, eventually, token};
use tempfile::TempDir;
use tls_support::{Authority, Pair, TlsConnection, client, client_of, open, shown};

const NAME: &str = "api.example.com";

/// A gateway that speaks TLS, and what it was made from.
struct House {
    authority: Authority,
    folder: Arc<TempDir>,
    upstream: Server,
    provider: Server,
    gateway: Gateway,
}

/// A configuration whose listener speaks TLS with `server.crt`; `more` follows in `[server.tls]`, `server` in `[server]`.
fn configuration(server: &str, more: &str, provider: &Server, upstream: &Server) -> String {
    let top = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n[server.tls]\ncertificate = \"server.crt\"\nprivate_key = \"server.key\"\n{more}\n"
    );
    let routes = "path = \"/*\"\nupstream = \"api\"";
    support::configuration(&top, provider, "", upstream, routes)
}

impl House {
    fn new(server: &str, more: &str) -> Self {
        Self::prepared(server, more, |_, _| {})
    }

    /// `prepare` writes further files.
    fn prepared(server: &str, more: &str, prepare: impl FnOnce(&Authority, &TempDir)) -> Self {
        let authority = Authority::new("Test CA");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        authority.issue(&[NAME]).write(folder.path(), "server");
        prepare(&authority, &folder);
        let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(support::KID)]));
        let text = configuration(server, more, &provider, &upstream);
        let gateway = Gateway::written_in(Arc::clone(&folder), &text);
        eventually("ready", || gateway.admin_get("/readyz").status == 200);
        Self {
            authority,
            folder,
            upstream,
            provider,
            gateway,
        }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.public
    }

    fn client(&self) -> Arc<ClientConfig> {
        client(&self.authority)
    }

    fn shown(&self, name: &str) -> Option<CertificateDer<'static>> {
        shown(self.address(), &self.client(), name)
    }
}

fn ask(connection: &mut TlsConnection, request: &Request) -> Option<Response> {
    connection.send(&request.bytes(NAME));
    connection.read(false)
}

fn good() -> Request {
    Request::get("/orders").bearer(&token(json!({})))
}

#[test]
fn a_request_over_tls_is_judged_as_any_and_the_upstream_is_told_https() {
    let house = House::new("", "");
    let mut connection = open(house.address(), &house.client(), NAME);
    for _ in 0..3 {
        let response = ask(&mut connection, &good()).unwrap();
        assert_eq!(response.status, 200);
    }
    let seen = house.upstream.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some(NAME));
    let refused = ask(&mut connection, &Request::get("/orders")).unwrap();
    assert_eq!(refused.outcome(), "401 token_missing");
}

#[test]
fn the_other_family_of_headers_says_https_too() {
    let house = House::new("forwarded = \"forwarded\"", "");
    let mut connection = open(house.address(), &house.client(), NAME);
    ask(&mut connection, &good()).unwrap();
    let seen = house.upstream.last();
    let said = seen.header("forwarded").unwrap().to_owned();
    assert!(said.contains("proto=https"), "{said}");
}

#[test]
fn versions_1_2_and_1_3_are_spoken() {
    let house = House::new("", "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_of(&house.authority, &[version], None);
        let mut connection = open(house.address(), &config, NAME);
        assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
        let spoken = connection.stream().conn.protocol_version();
        assert_eq!(spoken, Some(version.version));
    }
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let mut pairs: Vec<Pair> = Vec::new();
    let sni = r#"
[[server.tls.sni]]
certificate = "shop.crt"
private_key = "shop.key"
[[server.tls.sni]]
names = ["*.tenants.example.com"]
certificate = "tenants.crt"
private_key = "tenants.key"
"#;
    let house = House::prepared("", sni, |authority, folder| {
        for (file, names) in [
            ("server", &[NAME, "other.example.com"][..]),
            ("shop", &["shop.example.com"][..]),
            ("tenants", &["*.tenants.example.com"][..]),
        ] {
            let pair = authority.issue(names);
            pair.write(folder.path(), file);
            pairs.push(pair);
        }
    });
    for (name, place) in [
        (NAME, 0),
        ("other.example.com", 0),
        ("shop.example.com", 1),
        ("SHOP.example.com", 1),
        ("a.tenants.example.com", 2),
    ] {
        assert_eq!(house.shown(name), Some(pairs[place].der()), "{name}");
    }
}

#[test]
fn sessions_are_resumed_whichever_worker_accepts() {
    let house = House::new("workers = 2", "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_of(&house.authority, &[version], None);
        let mut kinds = Vec::new();
        for _ in 0..8 {
            let mut connection = open(house.address(), &config, NAME);
            assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
            kinds.push(connection.stream().conn.handshake_kind());
        }
        let resumed = kinds.split_off(1);
        assert_eq!(kinds, [Some(HandshakeKind::Full)]);
        assert_eq!(resumed, vec![Some(HandshakeKind::Resumed); 7]);
    }
}

fn with_client_ca(demand: &str) -> (House, Pair, Pair) {
    let strangers = Authority::new("Strangers");
    let mut friend = None;
    let more = format!("client_ca = \"clients.crt\"\n{demand}");
    let house = House::prepared("workers = 1", &more, |_, folder| {
        let clients = Authority::new("Clients");
        std::fs::write(folder.path().join("clients.crt"), &clients.certificate).unwrap();
        friend = Some(clients.issue(&["friend"]));
    });
    (house, friend.unwrap(), strangers.issue(&["stranger"]))
}

#[test]
fn a_client_certificate_is_demanded_at_every_handshake() {
    let (house, friend, stranger) = with_client_ca("");
    let config = client_of(&house.authority, rustls::ALL_VERSIONS, Some(&friend));
    for _ in 0..2 {
        let mut connection = open(house.address(), &config, NAME);
        assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
        let kind = connection.stream().conn.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "nothing is resumed");
    }
    let count = house.upstream.count();
    for shown in [None, Some(&stranger)] {
        let config = client_of(&house.authority, rustls::ALL_VERSIONS, shown);
        let mut connection = open(house.address(), &config, NAME);
        assert!(ask(&mut connection, &good()).is_none());
    }
    assert_eq!(house.upstream.count(), count);
    for reason in ["client_certificate_missing", "client_certificate_invalid"] {
        eventually(reason, || failures(&house.gateway, reason) == 1);
    }
}

#[test]
fn an_optional_client_certificate_may_be_left_out_but_not_be_wrong() {
    let (house, friend, stranger) = with_client_ca("client_certificates = \"optional\"");
    for (shown, passes) in [
        (None, true),
        (Some(&friend), true),
        (Some(&stranger), false),
    ] {
        let config = client_of(&house.authority, rustls::ALL_VERSIONS, shown);
        let mut connection = open(house.address(), &config, NAME);
        assert_eq!(ask(&mut connection, &good()).is_some(), passes);
    }
}

fn failures(gateway: &Gateway, reason: &str) -> u32 {
    let count = gateway.metric(
        "portcullis_tls_handshake_failures_total",
        &[("reason", reason)],
    );
    format!("{count}").parse().unwrap()
}

fn expiry(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_tls_certificate_expiry_timestamp_seconds", &[])
}

/// Midnight of the first of January.
const YEAR_2099: f64 = 4_070_908_801.0;
const YEAR_2088: f64 = 3_723_753_601.0;

#[test]
fn a_changed_certificate_is_shown_from_then_on_and_open_connections_stay() {
    let house = House::new("", "");
    let mut connection = open(house.address(), &house.client(), NAME);
    assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
    let next = house.authority.issue_until(&[NAME], 2088);
    next.write(house.folder.path(), "server");
    eventually("the new certificate", || {
        house.shown(NAME) == Some(next.der())
    });
    assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
    eventually("its expiry", || {
        (expiry(&house.gateway) - YEAR_2088).abs() < 1.0
    });
}

#[test]
fn a_broken_new_certificate_changes_nothing_and_is_said() {
    let house = House::new("", "");
    let before = house.shown(NAME);
    let other = house.authority.issue(&[NAME]);
    std::fs::write(house.folder.path().join("server.crt"), &other.certificate).unwrap();
    let record = house.gateway.wait_for_record("the mismatch", |record| {
        record["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("the new configuration is wrong"))
    });
    let fault = record["fault"].as_str().unwrap();
    assert!(
        fault.contains(
            "server.tls.private_key: names a file that does not hold the key of the certificate"
        ),
        "{fault}"
    );
    assert_eq!(house.shown(NAME), before);
    let successful = "portcullis_config_last_reload_successful";
    eventually("the metric", || house.gateway.metric(successful, &[]) < 0.5);
    // The key comes after the certificate.
    std::fs::write(house.folder.path().join("server.key"), &other.key).unwrap();
    eventually("the new certificate", || {
        house.shown(NAME) == Some(other.der())
    });
    eventually("the metric", || house.gateway.metric(successful, &[]) > 0.5);
}

#[test]
fn expiry_is_told_by_metric_readiness_and_status() {
    let house = House::new("", "");
    assert!((expiry(&house.gateway) - YEAR_2099).abs() < 1.0);
    for path in ["/readyz", "/api/status"] {
        let document = house.gateway.admin_get(path).json();
        assert_eq!(
            document["tls_certificates"],
            json!([{ "names": [NAME], "expires_at": 4_070_908_801_i64 }]),
            "{path}"
        );
    }
}

#[test]
fn without_tls_there_is_no_expiry_to_tell() {
    let stage = support::Stage::new();
    let metrics = stage.gateway.admin_get("/metrics").text();
    assert!(!metrics.contains("tls_certificate_expiry"), "{metrics}");
    let ready = stage.gateway.admin_get("/readyz").json();
    assert!(ready.get("tls_certificates").is_none(), "{ready}");
}

#[test]
fn a_client_that_says_nothing_holds_a_place_no_longer_than_header_timeout() {
    let limits = "[server.limits]\nheader_timeout = \"300ms\"\nconnections = 1";
    let house = House::new("workers = 1", limits);
    let mut silent = Connection::open(house.address());
    let mut connection = open(house.address(), &house.client(), NAME);
    // There is one place, and the first client has it until its time is up.
    assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
    assert!(silent.is_closed());
    assert_eq!(failures(&house.gateway, "timeout"), 1);
}

#[test]
fn plain_http_gets_no_answer_and_reaches_nobody() {
    let house = House::new("", "");
    let mut plain = Connection::open(house.address());
    plain.send(&good().bytes(NAME));
    assert!(plain.is_closed());
    assert_eq!(house.upstream.count(), 0);
    eventually("counted", || failures(&house.gateway, "protocol") == 1);
}

#[test]
fn a_client_that_does_not_believe_us_is_counted() {
    let house = House::new("", "");
    let config = client(&Authority::new("Another CA"));
    assert_eq!(shown(house.address(), &config, NAME), None);
    eventually("counted", || {
        failures(&house.gateway, "refused_by_client") == 1
    });
}

#[test]
fn a_rejection_reaches_a_client_that_is_still_sending() {
    let house = House::new("", "");
    let mut connection = open(house.address(), &house.client(), NAME);
    let head = "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n";
    connection.send(head.as_bytes());
    let part = vec![b'x'; 65536];
    for _ in 0..20 {
        if !connection.send(&part) {
            break;
        }
    }
    let response = connection.read(false).unwrap();
    assert_eq!(response.outcome(), "401 token_missing");
}

#[test]
fn long_bodies_pass_both_ways() {
    let house = House::new("", "");
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let answered = body.clone();
    house.upstream.answer(move |request| {
        assert!(request.body == answered);
        let mut bytes = format!(
            "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n",
            answered.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&answered);
        support::Reply::Bytes(bytes)
    });
    let mut connection = open(house.address(), &house.client(), NAME);
    let request = Request::new("POST", "/orders")
        .bearer(&token(json!({})))
        .body(&body);
    let response = ask(&mut connection, &request).unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body == body);
}

#[test]
fn a_drain_ends_tls_connections_too() {
    let house = House::new("drain = \"10s\"", "");
    let mut connection = open(house.address(), &house.client(), NAME);
    assert_eq!(ask(&mut connection, &good()).unwrap().status, 200);
    house.gateway.signal("TERM");
    assert!(connection.is_closed());
    let House { gateway, .. } = house;
    assert!(gateway.wait().success());
}

#[test]
fn to_give_up_tls_at_a_reload_is_said_and_new_connections_are_plain() {
    let (house, ..) = with_client_ca("");
    let provider = &house.provider;
    let asks_less = configuration("workers = 1", "", provider, &house.upstream);
    house.gateway.rewrite(&asks_less);
    house.gateway.reload();
    let is_said = |what: &str| {
        let what = what.to_owned();
        move |record: &serde_json::Value| record["weakening"] == what.as_str()
    };
    house
        .gateway
        .wait_for_record("less", is_said("client certificates are asked for less"));
    let routes = "path = \"/*\"\nupstream = \"api\"";
    let plain = support::configuration("", provider, "", &house.upstream, routes);
    house.gateway.rewrite(&plain);
    house.gateway.reload();
    house
        .gateway
        .wait_for_record("plain", is_said("clients are spoken to without TLS"));
    assert_eq!(house.gateway.send(&good()).status, 200);
}
