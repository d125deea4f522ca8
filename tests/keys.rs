//! Where keys come from, and which keys of a set count, as seen from outside.

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

use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use support::{
    AUDIENCE, Gateway, ISSUER, KID, Received, Reply, Request, Server, Signer, Stage, base64url,
    changed, claims, corp, eventually, token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

/// One issuer with that source of keys; `jwks` goes into its `[issuer.jwks]`.
fn configuration(issuer: &str, source: &str, jwks: &str, upstream: &Server) -> String {
    format!(
        "[[issuer]]\nname = \"corp\"\nissuer = \"{issuer}\"\n{source}\naudiences = [\"{AUDIENCE}\"]\n\
         [issuer.jwks]\n{jwks}\n[[upstream]]\nname = \"api\"\nservers = [\"{}\"]\n[[route]]\n{ROUTE}\n",
        upstream.url()
    )
}

fn refreshes(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("issuer", "corp"), ("result", result)];
    gateway.metric("portcullis_jwks_refreshes_total", &labels)
}

fn keys(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_jwks_keys", &[("issuer", "corp")])
}

/// A port on which nobody may knock.
struct Trap(TcpListener);

impl Trap {
    fn at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn is_untouched(&self) -> bool {
        self.0.accept().is_err()
    }
}

#[test]
fn a_key_file_is_reread_when_it_changes_and_when_a_symlink_is_swapped() {
    let (upstream, folder) = (Server::echo(), tempfile::tempdir().unwrap());
    let [second, third] = [Signer::new("ES256"), Signer::new("ES256")];
    let write = |version: &str, keys: &[Value]| {
        let place = folder.path().join(version);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("jwks.json"), json!({ "keys": keys }).to_string()).unwrap();
    };
    write("one", &[corp().jwk(KID)]);
    swap(folder.path(), "one");
    let source = format!(
        "jwks_file = \"{}\"",
        folder.path().join("current/jwks.json").display()
    );
    let gateway = Gateway::start(&configuration(ISSUER, &source, "", &upstream));
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);

    write("one", &[corp().jwk(KID), second.jwk("second")]);
    eventually("the change is seen", || keys(&gateway) == 2.0);
    assert_eq!(
        gateway.get("/", &second.sign("second", &claims())).status,
        200
    );

    write("two", &[third.jwk("third")]);
    swap(folder.path(), "two");
    eventually("the swap is seen", || keys(&gateway) == 1.0);
    assert_eq!(
        gateway.get("/", &third.sign("third", &claims())).status,
        200
    );
    assert_ne!(
        gateway.get("/", &second.sign("second", &claims())).status,
        200
    );

    std::fs::write(folder.path().join("two/jwks.json"), "{\"keys\": [").unwrap();
    eventually("the broken file is counted", || {
        refreshes(&gateway, "malformed") >= 1.0
    });
    std::fs::remove_file(folder.path().join("two/jwks.json")).unwrap();
    eventually("the missing file is counted", || {
        refreshes(&gateway, "unreachable") >= 1.0
    });
    let response = gateway.get(
        "/",
        &third.sign("third", &changed(claims(), json!({"jti": "new"}))),
    );
    assert_eq!(response.status, 200, "the last good keys serve");
}

/// Points `current` at that version in one step, as a mounted volume does.
fn swap(folder: &Path, version: &str) {
    std::os::unix::fs::symlink(folder.join(version), folder.join("next")).unwrap();
    std::fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

#[test]
fn a_key_that_only_a_file_holds_by_now_is_found_by_the_first_request() {
    let (upstream, folder) = (Server::echo(), tempfile::tempdir().unwrap());
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": [corp().jwk(KID)] }).to_string()).unwrap();
    let source = format!("jwks_file = \"{}\"", path.display());
    let gateway = Gateway::start(&configuration(ISSUER, &source, "wait = \"10s\"", &upstream));
    let next = Signer::new("ES256");
    std::fs::write(&path, json!({ "keys": [next.jwk("next")] }).to_string()).unwrap();
    assert_eq!(gateway.get("/", &next.sign("next", &claims())).status, 200);
}

#[test]
fn keys_that_share_a_kid_are_all_tried() {
    let stage = Stage::new();
    // More of one kind than a token without `kid` would be tried on.
    let mut sharing = vec![Signer::new("RS256"), Signer::new("EdDSA")];
    sharing.extend((0..12).map(|_| Signer::new("ES256")));
    stage
        .provider
        .serve_keys(sharing.iter().map(|signer| signer.jwk("shared")).collect());
    for (place, signer) in sharing.iter().enumerate() {
        let response = stage.gateway.get("/", &signer.sign("shared", &claims()));
        assert_eq!(response.status, 200, "key {place}: {}", response.text());
    }
    let stranger = stage
        .gateway
        .get("/", &Signer::new("ES256").sign("shared", &claims()));
    assert_eq!(
        (stranger.status, stranger.reason().as_str()),
        (401, "signature_invalid")
    );
}

#[test]
fn a_token_without_kid_is_tried_on_the_first_eight_fitting_keys() {
    let stage = Stage::new();
    let fitting: Vec<Signer> = (0..9).map(|_| Signer::new("ES256")).collect();
    let mut set: Vec<Value> = vec![
        Signer::new("EdDSA").jwk("other"),
        Signer::new("ES384").jwk("curve"),
    ];
    set.extend(
        fitting
            .iter()
            .enumerate()
            .map(|(place, signer)| signer.jwk(&format!("key-{place}"))),
    );
    stage.provider.serve_keys(set);
    let warm_up = fitting[0].sign("key-0", &claims());
    assert_eq!(
        stage.gateway.get("/", &warm_up).status,
        200,
        "the set is taken over"
    );
    for (place, signer) in fitting.iter().enumerate() {
        let token = signer.sign_with_header(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims());
        let response = stage.gateway.get("/", &token);
        let expected = if place < 8 {
            (200, "")
        } else {
            (401, "signature_invalid")
        };
        assert_eq!(
            (response.status, response.reason().as_str()),
            expected,
            "key {place}"
        );
    }
}

#[test]
fn a_kid_never_matches_a_key_without_one() {
    let stage = Stage::new();
    let nameless = Signer::new("ES256");
    stage.provider.serve_keys(vec![
        corp().jwk(KID),
        changed(nameless.jwk(""), json!({"kid": null})),
    ]);
    let named = stage
        .gateway
        .get("/", &nameless.sign("undefined", &claims()));
    assert_eq!(
        (named.status, named.reason().as_str()),
        (401, "key_unknown")
    );
    let header = json!({"alg": "ES256", "typ": "at+jwt"});
    assert_eq!(
        stage
            .gateway
            .get("/", &nameless.sign_with_header(&header, &claims()))
            .status,
        200
    );
}

// T105
#[test]
fn an_odd_key_is_skipped_and_counted_and_does_not_take_the_set_down() {
    let odd = Signer::new("ES256");
    let weak = base64url(&[0xff; 128]);
    let point = odd.jwk("x")["x"].clone();
    let rows = [
        (
            "unknown_kind",
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "akp"}),
        ),
        (
            "unknown_kind",
            json!({"kty": "EC", "crv": "secp256k1", "kid": "k1", "x": point, "y": point}),
        ),
        (
            "weak",
            json!({"kty": "RSA", "kid": "weak", "n": weak, "e": "AQAB"}),
        ),
        ("private", changed(odd.jwk("private"), json!({"d": "AAAA"}))),
        (
            "symmetric",
            json!({"kty": "oct", "kid": "oct", "k": base64url(&[7; 32])}),
        ),
        ("use", changed(odd.jwk("enc"), json!({"use": "enc"}))),
        ("use", changed(odd.jwk("ops"), json!({"key_ops": ["sign"]}))),
        (
            "algorithm",
            changed(odd.jwk("alg"), json!({"alg": "RS256"})),
        ),
        ("malformed", changed(odd.jwk("bad"), json!({"x": "!"}))),
        ("malformed", json!("a string")),
    ];
    let mut set: Vec<Value> = rows.iter().map(|(_, jwk)| jwk.clone()).collect();
    set.push(corp().jwk(KID));
    let (upstream, provider) = (Server::echo(), Server::keys(set));
    let source = format!("jwks_uri = \"{}/jwks\"", provider.url());
    let gateway = Gateway::start(&configuration(ISSUER, &source, "", &upstream));
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
    assert_eq!(keys(&gateway), 1.0);
    let changed = gateway.wait_for_record("keys", |record| record["message"] == "keys changed");
    assert_eq!(changed["skipped"], rows.len(), "a number: {changed}");
    for (reason, _) in &rows {
        let expected = rows.iter().filter(|(other, _)| other == reason).count();
        let skipped = gateway.metric(
            "portcullis_jwks_keys_skipped",
            &[("issuer", "corp"), ("reason", reason)],
        );
        assert_eq!(skipped, expected as f64, "{reason}");
        let counted = format!("{reason}:{expected}");
        let is_told = |one: &str| one == counted;
        let reasons = changed["skipped_reasons"].as_str().expect("reasons");
        assert_eq!(
            reasons.split(' ').any(is_told),
            expected > 0,
            "{counted}: {changed}"
        );
    }
    assert!(gateway.metric("portcullis_jwks_age_seconds", &[("issuer", "corp")]) < 600.0);
}

// T104
#[test]
fn keys_beyond_max_keys_are_not_used() {
    let (upstream, beyond) = (Server::echo(), Signer::new("ES256"));
    let provider = Server::keys(vec![
        corp().jwk(KID),
        Signer::new("ES256").jwk("b"),
        beyond.jwk("c"),
    ]);
    let source = format!("jwks_uri = \"{}/jwks\"", provider.url());
    let gateway = Gateway::start(&configuration(
        ISSUER,
        &source,
        "max_keys = 2\nwait = \"10s\"",
        &upstream,
    ));
    assert_eq!(keys(&gateway), 2.0);
    let skipped = gateway.metric(
        "portcullis_jwks_keys_skipped",
        &[("issuer", "corp"), ("reason", "limit")],
    );
    assert_eq!(skipped, 1.0);
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
    let response = gateway.get("/", &beyond.sign("c", &claims()));
    assert_eq!(
        (response.status, response.reason().as_str()),
        (401, "key_unknown")
    );
}

fn authorization(request: &Received) -> Vec<String> {
    request
        .all("authorization")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_token_file_is_sent_with_each_fetch_as_it_is_then() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first-provider-token\n").unwrap();
    let source = format!("jwks_uri = \"{}/jwks\"", provider.url());
    let jwks = format!(
        "cooldown = \"100ms\"\nwait = \"10s\"\ntoken_file = \"{}\"",
        path.display()
    );
    let gateway = Gateway::start(&configuration(ISSUER, &source, &jwks, &upstream));
    assert_eq!(
        authorization(&provider.last()),
        ["Bearer first-provider-token"]
    );
    std::fs::write(&path, "second-provider-token").unwrap();
    let forged = Signer::new("ES256").sign("forged", &claims());
    assert_eq!(gateway.get("/", &forged).status, 401);
    assert_eq!(
        authorization(&provider.last()),
        ["Bearer second-provider-token"]
    );
    assert!(
        !gateway.log_text().contains("provider-token"),
        "it is in the log"
    );
}

#[test]
fn a_token_header_chooses_neither_an_address_nor_a_key() {
    let stage = Stage::new();
    let (trap, stranger) = (Trap::at("127.0.0.1"), Signer::new("ES256"));
    let address = format!("http://127.0.0.1:{}/jwks", trap.port());
    for (member, value) in [
        ("jku", json!(address)),
        ("x5u", json!(address)),
        ("jwk", stranger.jwk(KID)),
        ("x5c", json!(["AAAA"])),
    ] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": KID, member: value});
        let response = stage
            .gateway
            .get("/", &stranger.sign_with_header(&header, &claims()));
        assert_eq!(
            (response.status, response.reason().as_str()),
            (401, "signature_invalid"),
            "{member}"
        );
        assert!(trap.is_untouched(), "{member} was followed");
    }
    let foreign = token(json!({ "iss": address }));
    let response = stage.gateway.send(&Request::get("/").bearer(&foreign));
    assert_eq!(
        (response.status, response.reason().as_str()),
        (401, "issuer_unknown")
    );
    assert!(trap.is_untouched(), "iss was followed");
}

#[test]
fn a_redirect_within_the_origin_is_followed() {
    let (upstream, provider) = (Server::echo(), Server::keys(Vec::new()));
    provider.answer(|request| match request.target.as_str() {
        "/jwks" => Reply::Bytes(
            b"HTTP/1.1 307 X\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        _ => Reply::Json(json!({ "keys": [corp().jwk(KID)] })),
    });
    let source = format!("jwks_uri = \"{}/jwks\"", provider.url());
    let gateway = Gateway::start(&configuration(ISSUER, &source, "", &upstream));
    assert_eq!(gateway.get("/", &token(json!({}))).status, 200);
}
