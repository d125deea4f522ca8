//! The revocation API's lists, page by page, and what is left of an entry that was restored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{AUDIENCE, Gateway, KID, Request, Response, Server, configuration, corp};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"endless\"]";

/// `corp` limits the lifetime of its tokens to a day, `endless` does not.
struct Two {
    gateway: Gateway,
    _servers: [Server; 2],
}

fn two() -> Two {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let endless = format!(
        "[[issuer]]\nname = \"endless\"\nissuer = \"https://endless.example\"\njwks_uri = \"{}/jwks\"\naudiences = [\"{AUDIENCE}\"]",
        provider.url()
    );
    let gateway = Gateway::start(&configuration("", &provider, &endless, &upstream, ROUTE));
    Two {
        gateway,
        _servers: [upstream, provider],
    }
}

fn post(gateway: &Gateway, body: &Value) -> Response {
    gateway.admin_post("/api/revocations", body)
}

fn delete(gateway: &Gateway, id: &str) -> Response {
    Request::new("DELETE", &format!("/api/revocations/{id}")).send(gateway.admin)
}

fn list(gateway: &Gateway, query: &str) -> Value {
    let response = gateway.admin_get(&format!("/api/revocations?{query}"));
    assert_eq!(response.status, 200, "{query}: {}", response.text());
    response.json()
}

fn ids(page: &Value) -> Vec<String> {
    let entries = page["revocations"].as_array().expect("entries");
    entries
        .iter()
        .map(|entry| entry["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn pages_hold_every_entry_once() {
    let two = two();
    let mut created = Vec::new();
    for place in 0..25 {
        let issuer = if place % 5 == 0 { "endless" } else { "corp" };
        let body = json!({"jti": format!("j-{place}"), "issuer": issuer, "reason": "stolen"});
        created.push(
            post(&two.gateway, &body).json()["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..10 {
        let page = list(&two.gateway, &format!("limit=10&cursor={cursor}"));
        let entries = ids(&page);
        assert!(entries.len() <= 10);
        found.extend(entries);
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(found.len(), 25);
    assert_eq!(
        found.iter().collect::<BTreeSet<_>>(),
        created.iter().collect::<BTreeSet<_>>()
    );
    let entry = list(&two.gateway, "limit=1")["revocations"][0].clone();
    assert_eq!(
        (&entry["jti"], &entry["reason"], &entry["kind"]),
        (&json!("j-0"), &json!("stolen"), &json!("jti"))
    );
}

#[test]
fn a_list_is_narrowed_by_kind_and_issuer() {
    let two = two();
    for issuer in ["corp", "endless"] {
        for kind in ["jti", "subject", "session", "client"] {
            assert_eq!(
                post(&two.gateway, &json!({kind: "x", "issuer": issuer})).status,
                201
            );
        }
    }
    for (query, count) in [
        ("", 8),
        ("kind=jti", 2),
        ("kind=client&issuer=corp", 1),
        ("issuer=corp", 4),
        ("issuer=https%3A%2F%2Fid.example.com%2F", 4),
        ("kind=&issuer=&limit=&cursor=", 8),
        ("kind=key", 0),
        ("issuer=nobody", 0),
    ] {
        assert_eq!(ids(&list(&two.gateway, query)).len(), count, "{query}");
    }
    for wrong in [
        "kind=tokens",
        "limit=0",
        "limit=x",
        "limit=-1",
        "cursor=x",
        "page=2",
    ] {
        let response = two.gateway.admin_get(&format!("/api/revocations?{wrong}"));
        let member = wrong.split_once('=').unwrap().0;
        assert_eq!(
            (response.status, &response.json()["member"]),
            (400, &json!(member)),
            "{wrong}"
        );
    }
}

#[test]
fn a_restored_revocation_is_gone() {
    let two = two();
    let entry = post(&two.gateway, &json!({"jti": "j", "issuer": "corp"})).json();
    let id = entry["id"].as_str().unwrap();
    for unknown in [
        "0",
        "00000000000000000000000000000000",
        "%20",
        "x/y",
        &id.to_uppercase(),
        &id[1..],
    ] {
        assert_eq!(delete(&two.gateway, unknown).status, 404, "{unknown}");
    }
    let restored = delete(&two.gateway, id);
    assert_eq!((restored.status, restored.body.len()), (204, 0));
    assert_eq!(delete(&two.gateway, id).status, 404);
    assert_eq!(ids(&list(&two.gateway, "")), [""; 0]);
    let again = post(&two.gateway, &json!({"jti": "j", "issuer": "corp"}));
    assert_eq!(again.status, 201, "it may be revoked again");
}
