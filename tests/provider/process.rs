//! The provider of `server.mjs` as a child process, and the tokens that it issues.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;

use super::support::{Request, now};

/// What the usual route is for.
pub(super) const ORDERS: &str = "https://orders.example.com";
/// Another API of the same provider.
pub(super) const INVOICES: &str = "https://invoices.example.com";
/// Tokens for this one live a second.
pub(super) const BRIEF: &str = "https://brief.example.com";

/// A running provider. It ends with this value.
pub(super) struct Provider {
    pub(super) issuer: String,
    address: SocketAddr,
    authorization: String,
    child: Mutex<Child>,
    conversation: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Provider {
    /// Never skips: what is missing is said, and fails.
    pub(super) fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provider");
        assert!(
            folder.join("node_modules/oidc-provider").is_dir(),
            "tests/provider/node_modules is missing: run scripts/test"
        );
        let mut child = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .env("NODE_NO_WARNINGS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is missing: run scripts/test");
        let stdin = child.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = read(&mut lines);
        let text = |member: &str| first[member].as_str().expect(member).to_owned();
        let issuer = text("issuer");
        let credentials = format!("{}:{}", text("client"), text("secret"));
        Self {
            address: issuer
                .trim_start_matches("http://")
                .parse()
                .expect("an address"),
            authorization: format!("Basic {}", BASE64.encode(credentials.as_bytes())),
            issuer,
            child: Mutex::new(child),
            conversation: Mutex::new((stdin, lines)),
        }
    }

    /// A token of the client-credentials grant; without a resource it is opaque.
    pub(super) fn token(&self, resource: Option<&str>) -> String {
        let resource =
            resource.map_or_else(String::new, |resource| format!("&resource={resource}"));
        let form = format!("grant_type=client_credentials&scope=orders:read{resource}");
        let response = Request::new("POST", "/token")
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.as_bytes())
            .send(self.address);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// A token for the usual route.
    pub(super) fn orders_token(&self) -> String {
        self.token(Some(ORDERS))
    }

    /// A new key signs from now on; the old ones stay published.
    pub(super) fn rotate(&self) {
        self.command("rotate");
    }

    /// Only the key that signs stays published.
    pub(super) fn drop_old(&self) {
        self.command("drop-old");
    }

    /// Logout tokens for the web shop go to that URL.
    pub(super) fn log_out_to(&self, url: &str) {
        self.command(&format!("logout-to {url}"));
    }

    /// A browser signs alice in at the web shop; her access token for the usual route.
    pub(super) fn sign_in(&self) -> String {
        let answer = self.ask("sign-in");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// That browser signs her out; what became of each logout token that the provider sent: "accepted", or what it says.
    pub(super) fn sign_out(&self) -> Vec<String> {
        let answer = self.ask("sign-out");
        let delivered = answer["delivered"].as_array().expect("a list");
        let outcome = |outcome: &Value| outcome.as_str().expect("text").to_owned();
        delivered.iter().map(outcome).collect()
    }

    fn command(&self, command: &str) {
        let answer = self.ask(command);
        assert!(answer["kids"].is_array(), "{answer}");
    }

    fn ask(&self, command: &str) -> Value {
        let mut conversation = self.conversation.lock().expect("a lock");
        let (stdin, lines) = &mut *conversation;
        writeln!(stdin, "{command}").expect("a provider that listens");
        read(lines)
    }

    pub(super) fn kill(&self) {
        let mut child = self.child.lock().expect("a lock");
        child.kill().expect("a child");
        child.wait().expect("an end");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let Ok(child) = self.child.get_mut() else {
            return;
        };
        drop(child.kill());
        drop(child.wait());
    }
}

fn read(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = lines.next().expect("a provider that runs").expect("text");
    serde_json::from_str(&line).expect("JSON")
}

/// The parts of a token: header, payload, signature.
pub(super) fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

fn member(part: &str, name: &str) -> Value {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    let document: Value = serde_json::from_slice(&json).expect("JSON");
    document[name].clone()
}

pub(super) fn kid(token: &str) -> String {
    member(parts(token)[0], "kid")
        .as_str()
        .expect("a kid")
        .to_owned()
}

pub(super) fn claims(token: &str) -> Value {
    let json = BASE64URL_NOPAD
        .decode(parts(token)[1].as_bytes())
        .expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

/// With a second of leeway, the least that covers that `iat` and `exp` are whole seconds.
pub(super) fn has_expired(token: &str) -> bool {
    now() > member(parts(token)[1], "exp").as_i64().expect("a time") + 1
}
