//! Clients that others have written, against TLS and HTTP/2: curl, h2load and openssl.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;
mod tls_support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use support::{Gateway, Server, corp, eventually, token};
use tempfile::TempDir;
use tls_support::{Authority, Pair};

const NAME: &str = "api.example.com";

/// A gateway that speaks TLS and HTTP/2, asked by programs.
struct House {
    gateway: Gateway,
    folder: Arc<TempDir>,
    upstream: Server,
    _provider: Server,
}

impl House {
    /// `server` is added to `[server]` and what follows it.
    fn new(server: &str) -> Self {
        let authority = Authority::new("Test CA");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let path = folder.path();
        authority.issue(&[NAME]).write(path, "server");
        let friend: Pair = authority.issue(&["friend"]);
        friend.write(path, "friend");
        std::fs::write(path.join("ca.crt"), &authority.certificate).unwrap();
        let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(support::KID)]));
        let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n");
        let routes = "path = \"/*\"\nupstream = \"api\"";
        let text = support::configuration(&top, &provider, "", &upstream, routes);
        let gateway = Gateway::written_in(Arc::clone(&folder), &text);
        eventually("ready", || gateway.admin_get("/readyz").status == 200);
        Self {
            gateway,
            folder,
            upstream,
            _provider: provider,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What curl prints: the version spoken, and the status.
    fn curl(&self, arguments: &[&str], scheme: &str) -> String {
        let port = self.gateway.public.port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--max-time", "20"])
            .args(["--write-out", "%{http_version} %{http_code}"])
            .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
            .args([
                "--header",
                &format!("Authorization: Bearer {}", token(json!({}))),
            ])
            .arg("--cacert")
            .arg(self.file("ca.crt"))
            .args(arguments)
            .arg(format!("{scheme}://{NAME}:{port}/orders"));
        let output = curl.output().expect("curl");
        String::from_utf8(output.stdout).unwrap()
    }
}

const TLS: &str = "[server.tls]\ncertificate = \"server.crt\"\nprivate_key = \"server.key\"";

#[test]
fn curl_speaks_every_version() {
    let house = House::new(TLS);
    assert_eq!(house.curl(&["--http2"], "https"), "2 200");
    assert_eq!(house.curl(&["--http1.1"], "https"), "1.1 200");
    assert_eq!(house.curl(&["--tls-max", "1.2"], "https"), "2 200");
    assert_eq!(house.curl(&["--tls-max", "1.1"], "https"), "0 000");
    assert_eq!(
        house.upstream.last().header("x-forwarded-proto"),
        Some("https")
    );
    let house = House::new("h2c = true");
    assert_eq!(house.curl(&["--http2-prior-knowledge"], "http"), "2 200");
    assert_eq!(house.curl(&[], "http"), "1.1 200");
    assert_eq!(
        house.curl(&["--http2"], "http"),
        "1.1 200",
        "an upgrade is not taken"
    );
}

#[test]
fn curl_sends_a_body_and_is_refused_early() {
    let house = House::new(&format!("{TLS}\n[server.limits]\nbody_bytes = \"1MiB\""));
    let file = house.file("body");
    std::fs::write(&file, vec![b'x'; 900_000]).unwrap();
    let data = format!("@{}", file.display());
    assert_eq!(house.curl(&["--data-binary", &data], "https"), "2 200");
    assert_eq!(house.upstream.last().body.len(), 900_000);
    std::fs::write(&file, vec![b'x'; 9_000_000]).unwrap();
    for version in ["--http2", "--http1.1"] {
        let said = house.curl(&[version, "--data-binary", &data], "https");
        assert!(said.ends_with(" 413"), "{said}");
    }
}

#[test]
fn curl_shows_its_certificate_where_one_is_demanded() {
    let house = House::new(&format!("{TLS}\nclient_ca = \"ca.crt\""));
    let (certificate, key) = (house.file("friend.crt"), house.file("friend.key"));
    let shown = [
        "--cert",
        certificate.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    assert_eq!(house.curl(&shown, "https"), "2 200");
    assert!(house.curl(&[], "https").ends_with(" 000"));
}

#[test]
fn h2load_asks_a_lot_at_once_and_every_answer_is_good() {
    let house = House::new(TLS);
    let h2load = Command::new("h2load")
        .args([
            "--requests=4000",
            "--clients=4",
            "--max-concurrent-streams=50",
        ])
        .arg(format!(
            "--header=authorization: Bearer {}",
            token(json!({}))
        ))
        .arg(format!("https://{}/orders", house.gateway.public))
        .output()
        .expect("h2load");
    let said = String::from_utf8(h2load.stdout).unwrap();
    assert!(said.contains("Application protocol: h2"), "{said}");
    assert!(said.contains("4000 succeeded, 0 failed"), "{said}");
    assert!(said.contains("4000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");
}

#[test]
fn openssl_resumes_its_session_and_agrees_on_a_protocol() {
    let house = House::new(TLS);
    let session = house.file("session");
    let ask = |which: &str| {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-connect", &house.gateway.public.to_string()])
            .args(["-servername", NAME, "-alpn", "h2,http/1.1", "-tls1_2"])
            .arg("-CAfile")
            .arg(house.file("ca.crt"))
            .arg(which)
            .arg(&session)
            .stdin(Stdio::null());
        let output = openssl.output().expect("openssl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = ask("-sess_out");
    assert!(first.contains("ALPN protocol: h2"), "{first}");
    assert!(first.contains("Verify return code: 0 (ok)"), "{first}");
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = ask("-sess_in");
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
}
