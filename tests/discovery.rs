//! Finding an issuer's keys through its metadata, which may not send the gateway anywhere else (T107, T110).

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

use serde_json::{Value, json};
use support::{AUDIENCE, Gateway, KID, Received, Reply, Server, corp, eventually, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

/// One issuer whose keys are to be found; `jwks` goes into its `[issuer.jwks]`.
fn configuration(issuer: &str, jwks: &str, upstream: &Server) -> String {
    format!(
        "[[issuer]]\nname = \"corp\"\nissuer = \"{issuer}\"\ndiscovery = true\naudiences = [\"{AUDIENCE}\"]\n\
         [issuer.jwks]\n{jwks}\n[[upstream]]\nname = \"api\"\nservers = [\"{}\"]\n[[route]]\n{ROUTE}\n",
        upstream.url()
    )
}

fn token_of(issuer: &str) -> String {
    token(json!({ "iss": issuer }))
}

fn refreshes(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("issuer", "corp"), ("result", result)];
    gateway.metric("portcullis_jwks_refreshes_total", &labels)
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

fn authorization(request: &Received) -> Vec<String> {
    request
        .all("authorization")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Serves metadata at `place` and the usual key at `/jwks`.
fn serve_metadata(provider: &Server, place: &str, metadata: Value) {
    let place = place.to_owned();
    provider.answer(move |request| match request.target.as_str() {
        "/jwks" => Reply::Json(json!({ "keys": [corp().jwk(KID)] })),
        target if target == place => Reply::Json(metadata.clone()),
        _ => Reply::Status(404),
    });
}

#[test]
fn metadata_is_found_in_the_openid_form_and_then_in_that_of_rfc_8414() {
    let upstream = Server::echo();
    for (path, place) in [
        ("", "/.well-known/openid-configuration"),
        ("/", "/.well-known/openid-configuration"),
        ("/realms/a", "/realms/a/.well-known/openid-configuration"),
        ("/realms/a/", "/realms/a/.well-known/openid-configuration"),
        ("", "/.well-known/oauth-authorization-server"),
        (
            "/realms/a",
            "/.well-known/oauth-authorization-server/realms/a",
        ),
    ] {
        let provider = Server::keys(Vec::new());
        let issuer = format!("{}{path}", provider.url());
        let jwks_uri = format!("{}/jwks", provider.url());
        serve_metadata(
            &provider,
            place,
            json!({ "issuer": issuer, "jwks_uri": jwks_uri }),
        );
        let gateway = Gateway::start(&configuration(&issuer, "", &upstream));
        let response = gateway.get("/", &token_of(&issuer));
        assert_eq!(
            response.status,
            200,
            "{path:?} at {place}: {}",
            response.text()
        );
        assert_eq!(refreshes(&gateway, "success"), 1.0, "{path:?} at {place}");
    }
}

// T110
#[test]
fn metadata_of_another_issuer_is_refused_and_its_keys_are_not_asked_for() {
    let upstream = Server::echo();
    for wrong in ["https://evil.example.com", "SLASH", "UPPER"] {
        let provider = Server::keys(Vec::new());
        let (issuer, jwks_uri) = (provider.url(), format!("{}/jwks", provider.url()));
        let named = match wrong {
            "SLASH" => format!("{issuer}/"),
            "UPPER" => issuer.to_uppercase(),
            other => other.to_owned(),
        };
        let place = "/.well-known/openid-configuration";
        serve_metadata(
            &provider,
            place,
            json!({ "issuer": named, "jwks_uri": jwks_uri }),
        );
        let text = configuration(&issuer, "cooldown = \"100ms\"", &upstream);
        let gateway = Gateway::start_unready(&text);
        eventually("the mismatch is counted", || {
            refreshes(&gateway, "issuer_mismatch") >= 1.0
        });
        let response = gateway.get("/", &token_of(&issuer));
        assert_eq!(
            (response.status, response.reason().as_str()),
            (503, "keys_unavailable"),
            "{wrong}"
        );
        let asked: Vec<String> = provider
            .received()
            .into_iter()
            .map(|it| it.target)
            .collect();
        assert!(
            !asked.iter().any(|target| target == "/jwks"),
            "{wrong}: {asked:?}"
        );

        serve_metadata(
            &provider,
            place,
            json!({ "issuer": issuer, "jwks_uri": jwks_uri }),
        );
        eventually("it heals", || {
            gateway.get("/", &token_of(&issuer)).status == 200
        });
    }
}

// T107
#[test]
fn metadata_may_not_send_the_gateway_into_the_network_it_runs_in() {
    let upstream = Server::echo();
    let (loopback, neighbour) = (Trap::at("127.0.0.1"), Trap::at("127.0.0.2"));
    for jwks_uri in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/jwks".to_owned(),
        "http://[::ffff:169.254.169.254]/jwks".to_owned(),
        "http://keys.example.net/jwks".to_owned(),
        format!("http://localhost:{}/jwks", loopback.port()),
        format!("https://localhost:{}/jwks", loopback.port()),
        format!("https://[::ffff:127.0.0.1]:{}/jwks", loopback.port()),
        format!("http://127.0.0.2:{}/jwks", neighbour.port()),
        format!("https://127.0.0.2:{}/jwks", neighbour.port()),
        "https://10.0.0.1/jwks".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let provider = Server::keys(Vec::new());
        let issuer = provider.url();
        let metadata = json!({ "issuer": issuer, "jwks_uri": jwks_uri });
        serve_metadata(&provider, "/.well-known/openid-configuration", metadata);
        let gateway = Gateway::start_unready(&configuration(&issuer, "", &upstream));
        eventually(&format!("{jwks_uri} is refused"), || {
            refreshes(&gateway, "forbidden_address") >= 1.0
        });
        assert!(
            loopback.is_untouched() && neighbour.is_untouched(),
            "{jwks_uri} was connected to"
        );
        assert_eq!(
            gateway.get("/", &token_of(&issuer)).status,
            503,
            "{jwks_uri}"
        );
    }
}

#[test]
fn the_token_file_goes_to_the_configured_origin_alone() {
    let (upstream, provider) = (Server::echo(), Server::keys(Vec::new()));
    let keys = Server::keys(vec![corp().jwk(KID)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "provider-token-of-ours").unwrap();
    let issuer = provider.url();
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{}/jwks", keys.url()) });
    serve_metadata(&provider, "/.well-known/openid-configuration", metadata);
    let jwks = format!("token_file = \"{}\"", path.display());
    let gateway = Gateway::start(&configuration(&issuer, &jwks, &upstream));
    assert_eq!(gateway.get("/", &token_of(&issuer)).status, 200);
    assert_eq!(
        authorization(&provider.last()),
        ["Bearer provider-token-of-ours"]
    );
    assert_eq!(authorization(&keys.last()), [""; 0]);
}
