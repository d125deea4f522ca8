//! A provider that is down, slow or out of its mind: what the gateway still does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "what a metric counts, a float holds exactly"
)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use support::{
    Gateway, ISSUER, KID, Reply, Response, Server, Signer, Stage, changed, claims, configuration,
    corp, eventually, now, token,
};
use tempfile::TempDir;

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

fn stage(jwks: &str) -> Stage {
    Stage::with(&format!("[issuer.jwks]\n{jwks}"), ROUTE)
}

fn refreshes(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("issuer", "corp"), ("result", result)];
    gateway.metric("portcullis_jwks_refreshes_total", &labels)
}

fn failures(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_jwks_refreshes_total", &[]) - refreshes(gateway, "success")
}

fn fresh(name: &str) -> String {
    token(json!({"jti": name, "iat": now()}))
}

fn assert_cannot_tell(response: &Response, what: &str) {
    assert_eq!(
        (response.status, response.reason().as_str()),
        (503, "keys_unavailable"),
        "{what}"
    );
    assert!(
        response.header("retry-after").is_some(),
        "{what}: {response:?}"
    );
    assert_eq!(response.all("www-authenticate"), [""; 0], "{what}");
}

/// The word of `/readyz`, with its status.
fn readiness(gateway: &Gateway) -> (u16, String) {
    let response = gateway.admin_get("/readyz");
    (
        response.status,
        response.json()["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

fn is(found: &(u16, String), status: u16, word: &str) -> bool {
    found.0 == status && found.1 == word
}

fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes()
}

fn with_length(head: &str, body: &str) -> Reply {
    let head = format!("{head}\r\nContent-Length: {}", body.len());
    Reply::Bytes(http(&head, body))
}

/// What to call it, what it counts as, and the answer.
type Broken = (&'static str, &'static str, Reply);

/// Answers that are slow, large, cut short or none at all.
fn broken_transport(trap: &str) -> Vec<Broken> {
    let set = json!({"keys": [Signer::new("ES256").jwk("evil")]}).to_string();
    let huge = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(8192));
    let chunks = format!("{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len());
    let chunked = http("200 OK\r\nTransfer-Encoding: chunked", &chunks);
    let boasting = http("200 OK\r\nContent-Length: 209715200", "{");
    let cut_short = http("200 OK\r\nContent-Length: 99", "{\"keys\": [");
    let elsewhere = format!("302 Found\r\nLocation: {trap}");
    vec![
        ("hangs", "timeout", Reply::Hang),
        ("drips", "timeout", Reply::Bytes(cut_short.clone())),
        ("huge", "too_large", with_length("200 OK", &huge)),
        (
            "says it is huge",
            "too_large",
            Reply::BytesAndClose(boasting),
        ),
        ("huge in chunks", "too_large", Reply::Bytes(chunked)),
        ("204", "status", Reply::Status(204)),
        ("404", "status", with_length("404 Not Found", &set)),
        ("500", "status", with_length("500 Oops", &set)),
        ("elsewhere", "redirect", with_length(&elsewhere, "")),
        ("leaves", "unreachable", Reply::Close),
        ("cut short", "unreachable", Reply::BytesAndClose(cut_short)),
    ]
}

/// Whole answers that are no key set, or one without a usable key.
fn broken_documents() -> Vec<Broken> {
    let odd = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"});
    let page = with_length("200 OK\r\nContent-Type: text/html", "<html>");
    let compressed = with_length("200 OK\r\nContent-Encoding: gzip", "\u{1f}x");
    let no_list = json!({"keys": {}});
    let odd_only = json!({"keys": [odd, null, 1]});
    vec![
        ("a page", "malformed", page),
        ("nothing", "malformed", with_length("200 OK", "")),
        ("null", "malformed", Reply::Json(Value::Null)),
        ("a list", "malformed", Reply::Json(json!([]))),
        ("keys of the wrong type", "malformed", Reply::Json(no_list)),
        ("compressed", "malformed", compressed),
        ("an empty set", "no_keys", Reply::Json(json!({"keys": []}))),
        ("odd keys only", "no_keys", Reply::Json(odd_only)),
    ]
}

// T102 to T106
#[test]
fn the_last_good_keys_serve_whatever_the_provider_answers() {
    let trap = Server::keys(vec![Signer::new("ES256").jwk("evil")]);
    let stage = stage(
        "cooldown = \"100ms\"\nrefresh = \"1s\"\nwait = \"1ms\"\ntimeout = \"1s\"\nmax_bytes = \"4KiB\"",
    );
    let cached = token(json!({}));
    let transport = broken_transport(&format!("{}/jwks", trap.url()));
    for (what, result, reply) in transport.into_iter().chain(broken_documents()) {
        let before = refreshes(&stage.gateway, result);
        stage.provider.answer(move |_| reply.clone());
        eventually(&format!("{what} counts as {result}"), || {
            let forged =
                Signer::new("ES256").sign("forged", &changed(claims(), json!({"iat": now()})));
            assert_cannot_tell(&stage.gateway.get("/", &forged), what);
            refreshes(&stage.gateway, result) > before
        });
        for good in [&cached, &fresh(what)] {
            let response = stage.gateway.get("/", good);
            assert_eq!(response.status, 200, "{what}: {}", response.text());
        }
        assert_eq!(
            stage
                .gateway
                .metric("portcullis_jwks_keys", &[("issuer", "corp")]),
            1.0,
            "{what}"
        );
    }
    assert_eq!(trap.count(), 0, "the redirect was followed");
    assert!(is(&readiness(&stage.gateway), 200, "ok"));
}

// T103
#[test]
fn a_hanging_provider_holds_up_no_request_whose_key_is_known() {
    let stage = stage("cooldown = \"100ms\"\ntimeout = \"1h\"\nwait = \"1m\"");
    stage.provider.answer(|_| Reply::Hang);
    let bad = Signer::new("ES256").sign(KID, &claims());
    assert_eq!(stage.gateway.get("/", &bad).status, 401);
    stage.provider.wait_for(2);
    for place in 0..100 {
        assert_eq!(
            stage.gateway.get("/", &fresh(&format!("{place}"))).status,
            200
        );
    }
}

/// A configuration whose provider is at that address.
fn at_address(address: SocketAddr, upstream: &Server, issuer: &str) -> String {
    let somewhere = Server::keys(Vec::new());
    let text = configuration("", &somewhere, issuer, upstream, ROUTE);
    text.replace(&somewhere.address.to_string(), &address.to_string())
}

// T101
#[test]
fn a_provider_that_is_down_at_the_start_is_waited_for() {
    let upstream = Server::echo();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gateway = Gateway::start_unready(&at_address(
        address,
        &upstream,
        "[issuer.jwks]\ncooldown = \"100ms\"",
    ));
    assert_eq!(gateway.admin_get("/healthz").status, 200);
    assert_cannot_tell(&gateway.get("/", &token(json!({}))), "nobody is there");
    eventually("it was tried", || refreshes(&gateway, "unreachable") >= 1.0);
    assert_eq!(readiness(&gateway).0, 503, "no route could admit anyone");
    assert!(gateway.metric("portcullis_jwks_age_seconds", &[("issuer", "corp")]) < 600.0);
    let provider = Server::start_at(address, |_| Reply::Status(503));
    provider.serve_keys(vec![corp().jwk(KID)]);
    eventually("it is ready by itself", || {
        is(&readiness(&gateway), 200, "ok")
    });
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
}

#[test]
fn readiness_waits_until_every_issuer_was_tried_once() {
    let (upstream, provider) = (Server::echo(), Server::start(|_| Reply::Hang));
    let text = configuration(
        "",
        &provider,
        "[issuer.jwks]\ntimeout = \"1s\"",
        &upstream,
        ROUTE,
    );
    let gateway = Gateway::start_unready(&text);
    assert!(is(&readiness(&gateway), 503, "starting"));
    eventually("it was tried", || refreshes(&gateway, "timeout") >= 1.0);
    let (status, word) = readiness(&gateway);
    assert_eq!(status, 503, "no route could admit anyone");
    assert_ne!(word, "ok");
    provider.serve_keys(vec![corp().jwk(KID)]);
    eventually("it heals", || is(&readiness(&gateway), 200, "ok"));
}

#[test]
fn one_issuer_without_keys_makes_the_gateway_degraded_and_not_unready() {
    let (upstream, provider, down) = (
        Server::echo(),
        Server::keys(vec![corp().jwk(KID)]),
        Server::start(|_| Reply::Close),
    );
    let partner = format!(
        "[[issuer]]\nname = \"partner\"\nissuer = \"https://partner.example\"\njwks_uri = \"{}/jwks\"\naudiences = [\"x\"]",
        down.url()
    );
    let both = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"partner\"]";
    let gateway = Gateway::start(&configuration("", &provider, &partner, &upstream, both));
    eventually("partner was tried", || {
        is(&readiness(&gateway), 200, "degraded")
    });
    let issuers = gateway.admin_get("/readyz").json()["issuers"].clone();
    assert!(issuers.to_string().contains("partner"), "{issuers}");
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
    assert_cannot_tell(
        &gateway.get("/", &token(json!({"iss": "https://partner.example"}))),
        "partner",
    );
}

#[test]
fn a_gateway_with_an_open_route_is_ready_without_keys() {
    let (upstream, down) = (Server::echo(), Server::start(|_| Reply::Close));
    let open = "path = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/open\"\nupstream = \"api\"\nauth = \"none\"";
    let gateway = Gateway::start(&configuration("", &down, "", &upstream, open));
    assert!(is(&readiness(&gateway), 200, "degraded"));
}

// T102: killed for the whole time that keys are kept before they are fetched again.
#[test]
fn an_outage_refuses_no_good_token_whose_key_is_known() {
    let stage = stage("refresh = \"1s\"\ncooldown = \"100ms\"");
    let cached = token(json!({}));
    assert_eq!(stage.gateway.get("/", &cached).status, 200);
    stage.provider.answer(|_| Reply::Close);
    let before = failures(&stage.gateway);
    let mut asked = 0;
    eventually("four refreshes failed", || {
        asked += 1;
        for good in [&cached, &fresh(&format!("{asked}"))] {
            let response = stage.gateway.get("/", good);
            assert_eq!(response.status, 200, "{}", response.text());
        }
        failures(&stage.gateway) >= before + 4.0
    });
    stage.provider.serve_keys(vec![corp().jwk(KID)]);
    let fetched = refreshes(&stage.gateway, "success");
    eventually("it is fetched again", || {
        refreshes(&stage.gateway, "success") > fetched
    });
}

#[test]
fn past_max_stale_nobody_can_tell_for_cached_tokens_either_and_it_heals() {
    let stage = stage("refresh = \"1s\"\nmax_stale = \"2s\"\ncooldown = \"100ms\"");
    let cached = token(json!({}));
    assert_eq!(stage.gateway.get("/", &cached).status, 200);
    stage.provider.answer(|_| Reply::Close);
    eventually("the keys are stale", || {
        let response = stage.gateway.get("/", &cached);
        assert!(matches!(response.status, 200 | 503), "{}", response.text());
        response.status == 503
    });
    assert_cannot_tell(&stage.gateway.get("/", &cached), "a cached token");
    assert_cannot_tell(&stage.gateway.get("/", &fresh("new")), "a new token");
    assert_eq!(readiness(&stage.gateway).0, 503);
    stage.provider.serve_keys(vec![corp().jwk(KID)]);
    eventually("it heals", || stage.gateway.get("/", &cached).status == 200);
    assert!(is(&readiness(&stage.gateway), 200, "ok"));
}

/// Waits until something is stored under that state directory.
fn wait_until_stored(state_dir: &Path) {
    eventually("the keys are stored", || {
        let files = std::fs::read_dir(state_dir.join("keys"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .into_iter()
            .any(|file| file.path().extension().is_some_and(|it| it == "json"))
    });
}

/// Ends the gateway and starts it again in its folder, with the provider down.
fn restarted_in_an_outage(stage: Stage, state_dir: &Path) -> (Arc<TempDir>, Server, Server) {
    wait_until_stored(state_dir);
    let folder = stage.gateway.folder();
    stage.provider.answer(|_| Reply::Close);
    drop(stage.gateway);
    (folder, stage.provider, stage.upstream)
}

#[test]
fn a_restart_during_an_outage_uses_the_stored_keys() {
    let stage = Stage::new();
    let state_dir = stage.gateway.folder().path().join("state");
    let (folder, provider, _upstream) = restarted_in_an_outage(stage, &state_dir);
    let gateway = Gateway::start_in(folder);
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
    eventually("it was tried", || refreshes(&gateway, "unreachable") >= 1.0);
    assert_eq!(readiness(&gateway).0, 200);
    assert_eq!(gateway.get("/", &fresh("later")).status, 200);
    let next = Signer::new("ES256");
    let of_next = next.sign("next", &changed(claims(), json!({"iat": now()})));
    assert_cannot_tell(&gateway.get("/", &of_next), "a key that is not stored");
    provider.serve_keys(vec![next.jwk("next")]);
    eventually("it heals", || gateway.get("/", &of_next).status == 200);
}

#[test]
fn the_state_directory_is_where_the_configuration_says() {
    let elsewhere = tempfile::tempdir().unwrap();
    let server = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"{}\"",
        elsewhere.path().display()
    );
    let stage = Stage::with_all(&server, "", ROUTE);
    let beside = stage.gateway.folder().path().join("state");
    let (folder, _provider, _upstream) = restarted_in_an_outage(stage, elsewhere.path());
    assert!(!beside.exists());
    assert_eq!(
        Gateway::start_in(folder).get("/", &token(json!({}))).status,
        200
    );
}

#[test]
fn stored_keys_that_are_stale_or_foreign_or_broken_are_not_used() {
    for what in ["stale", "of another source", "of another issuer", "broken"] {
        let stage = stage("refresh = \"1s\"\ncooldown = \"100ms\"");
        let state_dir = stage.gateway.folder().path().join("state");
        let (folder, _provider, _upstream) = restarted_in_an_outage(stage, &state_dir);
        let path = folder.path().join("portcullis.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let stored = std::fs::read_dir(state_dir.join("keys"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let issuer = if what == "of another issuer" {
            "https://other.example/"
        } else {
            ISSUER
        };
        match what {
            "stale" => {
                let written: Value =
                    serde_json::from_slice(&std::fs::read(&stored).unwrap()).unwrap();
                let old = changed(
                    written,
                    json!({"fetched_at": (now() - 100_000) * 1_000_000}),
                );
                std::fs::write(&stored, old.to_string()).unwrap();
            }
            "of another source" => std::fs::write(&path, text.replace("/jwks", "/other")).unwrap(),
            "of another issuer" => std::fs::write(&path, text.replace(ISSUER, issuer)).unwrap(),
            _ => std::fs::write(&stored, "{").unwrap(),
        }
        let gateway = Gateway::start_in(folder);
        assert_cannot_tell(&gateway.get("/", &token(json!({"iss": issuer}))), what);
    }
}

#[test]
fn a_reload_with_the_provider_down_and_nothing_stored_keeps_the_keys() {
    let state_dir = tempfile::NamedTempFile::new().unwrap();
    let server = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"{}\"\n[revocation]\nstore = \"memory\"",
        state_dir.path().display()
    );
    let stage = Stage::with_all(&server, "", ROUTE);
    let said = stage.gateway.wait_for_record("not stored", |record| {
        let message = record["message"].as_str().unwrap_or_default();
        message.contains("cannot be stored") && message.contains("state_dir")
    });
    let place = state_dir.path().display().to_string();
    assert!(said["file"].as_str().unwrap().starts_with(&place), "{said}");
    stage.provider.answer(|_| Reply::Close);
    let text = configuration(
        &server,
        &stage.provider,
        "[issuer.jwks]\nwait = \"10ms\"",
        &stage.upstream,
        ROUTE,
    );
    stage.gateway.rewrite(&text);
    stage.gateway.reload();
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_config_last_reload_successful", &[]),
        1.0
    );
    let response = stage.gateway.get("/", &token(json!({})));
    assert_eq!(response.status, 200, "{}", response.text());
}
