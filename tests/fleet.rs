//! A fleet of gateways and the Redis that they share, from outside: a real redis-server that is killed, paused, emptied and
//! replaced, and a network that is slow, silent, or cut. What was acknowledged holds on every gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "fleet/access.rs"]
mod access;
#[path = "fleet/chaos.rs"]
mod chaos;
#[path = "fleet/loss.rs"]
mod loss;
#[path = "fleet/outage.rs"]
mod outage;
#[path = "fleet/server.rs"]
mod server;
#[path = "fleet/speed.rs"]
mod speed;
#[path = "fleet/wire.rs"]
mod wire;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{Gateway, KID, Request, Response, Server, configuration, corp, eventually, token};
use tempfile::TempDir;

/// The provider and the API that all gateways of a test share.
struct Site {
    provider: Server,
    upstream: Server,
}

impl Site {
    fn new() -> Self {
        Self {
            provider: Server::keys(vec![corp().jwk(KID)]),
            upstream: Server::echo(),
        }
    }

    /// What a gateway is told, with more of `[revocation]`.
    fn configuration(&self, url: &str, more: &str) -> String {
        let top = format!("[revocation]\nstore = \"redis\"\nurl = \"{url}\"\n{more}\n");
        let routes = "path = \"/*\"\nupstream = \"api\"";
        configuration(&top, &self.provider, "", &self.upstream, routes)
    }

    fn gateway(&self, url: &str) -> Gateway {
        Gateway::start(&self.configuration(url, ""))
    }

    /// Several at once.
    fn gateways<const N: usize>(&self, url: &str) -> [Gateway; N] {
        std::array::from_fn(|_| self.gateway(url))
    }
}

/// SIGKILL; what is in its folder stays.
fn kill(gateway: Gateway) -> Arc<TempDir> {
    let folder = gateway.folder();
    drop(gateway);
    folder
}

/// With what is in that folder.
fn restart(folder: Arc<TempDir>) -> Gateway {
    let gateway = Gateway::start_in(folder);
    eventually("ready", || gateway.admin_get("/readyz").status == 200);
    gateway
}

fn jti(name: &str) -> Value {
    json!({ "jti": name, "issuer": "corp" })
}

fn token_of(name: &str) -> String {
    token(json!({ "jti": name }))
}

fn revoke(gateway: &Gateway, name: &str) -> Response {
    gateway.admin_post("/api/revocations", &jti(name))
}

/// Revokes, and says under which id.
fn must_revoke(gateway: &Gateway, name: &str) -> String {
    let response = revoke(gateway, name);
    assert!(matches!(response.status, 200 | 201), "{response:?}");
    response.json()["id"].as_str().expect("an id").to_owned()
}

fn restore(gateway: &Gateway, id: &str) -> Response {
    Request::new("DELETE", &format!("/api/revocations/{id}")).send(gateway.admin)
}

fn must_restore(gateway: &Gateway, id: &str) {
    let response = restore(gateway, id);
    assert_eq!(response.status, 204, "{response:?}");
}

/// What becomes of a request with a token of that `jti`.
fn outcome(gateway: &Gateway, name: &str) -> String {
    gateway.get("/", &token_of(name)).outcome()
}

fn is_refused(gateway: &Gateway, name: &str) -> bool {
    match &*outcome(gateway, name) {
        "401 token_revoked" => true,
        "200" => false,
        other => panic!("{name}: {other}"),
    }
}

/// Every gateway comes to refuse it.
fn refused_by_all(gateways: &[&Gateway], name: &str) {
    for (number, gateway) in gateways.iter().enumerate() {
        eventually(&format!("gateway {number} refuses {name}"), || {
            is_refused(gateway, name)
        });
    }
}

/// Every gateway comes to let it pass.
fn passed_by_all(gateways: &[&Gateway], name: &str) {
    for (number, gateway) in gateways.iter().enumerate() {
        eventually(&format!("gateway {number} passes {name}"), || {
            !is_refused(gateway, name)
        });
    }
}

fn is_up(gateway: &Gateway) -> bool {
    gateway.metric("portcullis_revocation_store_up", &[]) > 0.5
}

fn all_up(gateways: &[&Gateway]) {
    for gateway in gateways {
        eventually("the store is up", || is_up(gateway));
    }
}

fn all_down(gateways: &[&Gateway]) {
    for gateway in gateways {
        eventually("the store is down", || !is_up(gateway));
    }
}
