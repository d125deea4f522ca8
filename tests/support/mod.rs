//! What the tests from outside share: the real binary, an API behind it, a provider beside it, and the keys to sign with.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "each suite takes what it needs, and a test fails by panicking"
)]

pub mod gateway;
pub mod http;
pub mod server;
pub mod signer;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

pub use gateway::{Gateway, command, eventually};
pub use http::{Connection, Request, Response, raw};
pub use server::{Received, Reply, Server};
pub use signer::{Signer, base64url, changed, corp};

/// The issuer that most tests configure.
pub const ISSUER: &str = "https://id.example.com/";
/// Its audience.
pub const AUDIENCE: &str = "https://api.example.com";
/// The name of its key.
pub const KID: &str = "corp-1";

#[allow(
    clippy::disallowed_methods,
    reason = "the gateway under test reads the system's clock, and so do its tokens"
)]
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds")
}

/// Claims as a good token of the usual issuer has them.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "client_id": "web", "scope": "orders:read profile",
        "jti": "token-1", "iat": now() - 10, "exp": now() + 600,
    })
}

/// A good token of the usual issuer with other claims; `null` removes one.
pub fn token(changes: Value) -> String {
    corp().sign(KID, &changed(claims(), changes))
}

/// An API, a provider of the usual key, and a gateway between them.
pub struct Stage {
    pub upstream: Server,
    pub provider: Server,
    pub gateway: Gateway,
}

impl Stage {
    /// With the usual issuer and one route for everything.
    pub fn new() -> Self {
        Self::with("", "path = \"/*\"\nupstream = \"api\"")
    }

    /// `issuer` is added to the issuer's section, `routes` is the body of the first `[[route]]` and what follows it.
    pub fn with(issuer: &str, routes: &str) -> Self {
        Self::with_all("", issuer, routes)
    }

    /// `top` comes first: other sections.
    pub fn with_all(top: &str, issuer: &str, routes: &str) -> Self {
        Self::written(vec![corp().jwk(KID)], |provider, upstream| {
            configuration(top, provider, issuer, upstream, routes)
        })
    }

    /// With those keys and a configuration of the caller's, who is told the provider and the upstream.
    pub fn written(keys: Vec<Value>, write: impl FnOnce(&Server, &Server) -> String) -> Self {
        let (upstream, provider) = (Server::echo(), Server::keys(keys));
        let gateway = Gateway::start(&write(&provider, &upstream));
        Self {
            upstream,
            provider,
            gateway,
        }
    }
}

/// The configuration of a stage.
pub fn configuration(
    top: &str,
    provider: &Server,
    issuer: &str,
    upstream: &Server,
    routes: &str,
) -> String {
    format!(
        r#"
{top}
[[issuer]]
name = "corp"
issuer = "{ISSUER}"
jwks_uri = "{}/jwks"
audiences = ["{AUDIENCE}"]
max_lifetime = "24h"
{issuer}
[[upstream]]
name = "api"
servers = ["{}"]
[[route]]
{routes}
"#,
        provider.url(),
        upstream.url()
    )
}
