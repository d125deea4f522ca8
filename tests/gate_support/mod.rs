//! A gate without sockets, and keys that sign for it: shared by the gate's tests and benches.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "each user of this module takes what it needs, and a test fails by panicking"
)]

#[path = "../support/signer.rs"]
mod signer;

use std::path::Path;
use std::sync::Arc;

use http::request::Parts;
use portcullis::config::{self, Config};
use portcullis::gate::Gate;
use portcullis::keys::Refresher;
use portcullis::revocation::RevocationSet;
use portcullis::time::{Clock, UnixTime};
use serde_json::{Value, json};

pub use signer::Signer;

/// The moment at which everything here happens.
pub const NOW: i64 = 1_790_000_000;

pub fn now() -> UnixTime {
    UnixTime::from_seconds(NOW)
}

/// Claims as a good token has them; `serial` makes tokens differ.
pub fn claims(serial: usize) -> Value {
    json!({
        "iss": "https://id.example.com/", "sub": "248289761001", "aud": "https://api.example.com",
        "client_id": "web-frontend", "scope": "orders:read orders:write profile", "jti": format!("token-{serial}"),
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3600,
    })
}

/// A configuration whose issuer `corp` has those keys; `more` is appended.
pub fn configuration(folder: &Path, keys: &[Value], cache_entries: usize, more: &str) -> Config {
    let jwks = folder.join("jwks.json");
    std::fs::write(&jwks, json!({ "keys": keys }).to_string()).expect("a writable folder");
    let text = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
[revocation]
store = "memory"
[token_cache]
entries = {cache_entries}
[[issuer]]
name = "corp"
issuer = "https://id.example.com/"
jwks_file = "jwks.json"
audiences = ["https://api.example.com"]
max_lifetime = "24h"
[[upstream]]
name = "api"
servers = ["http://127.0.0.1:9"]
[[route]]
name = "orders"
path = "/orders/*"
upstream = "api"
scopes = ["orders:read"]
{more}
"#
    );
    config::load_text(&text, &folder.join("portcullis.toml"))
        .unwrap_or_else(|faults| panic!("{faults}"))
        .config
}

/// The gate of that configuration, its keys read.
pub async fn gate(config: &Config) -> (Gate, Arc<RevocationSet>) {
    let clock = Clock::from_fn(now);
    let mut all_keys = Vec::new();
    for issuer in &config.issuers {
        let (mut refresher, keys) = Refresher::new(issuer, None, clock.clone());
        refresher.fetch_once().await.expect("keys");
        all_keys.push(keys);
    }
    let revocations = Arc::new(RevocationSet::new());
    (
        Gate::new(config, all_keys, Arc::clone(&revocations)),
        revocations,
    )
}

/// The head of a request for that target with that token.
pub fn head(target: &str, token: Option<&str>) -> Parts {
    let mut request = http::Request::builder()
        .uri(target)
        .header("host", "api.example.com");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(()).expect("a request").into_parts().0
}
