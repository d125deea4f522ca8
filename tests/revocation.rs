//! Revocation as callers of the API see it: which tokens a revocation takes back, how soon, and for how long.

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

use std::sync::OnceLock;

use serde_json::{Value, json};
use support::{
    AUDIENCE, Connection, Gateway, ISSUER, KID, Request, Response, Server, Signer, Stage, changed,
    claims, configuration, corp, eventually, now, token,
};

const PARTNER: &str = "https://partner.example";
const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"partner\"]";

fn partner() -> &'static Signer {
    static PARTNER: OnceLock<Signer> = OnceLock::new();
    PARTNER.get_or_init(|| Signer::new("ES256"))
}

/// The same claims from the other issuer.
fn partner_token(changes: Value) -> String {
    let claims = changed(changed(claims(), changes), json!({ "iss": PARTNER }));
    partner().sign("partner-1", &claims)
}

/// Two issuers, and a second key that corp signs with.
struct Two {
    gateway: Gateway,
    second: Signer,
    _servers: [Server; 2],
}

fn two() -> Two {
    let second = Signer::new("ES256");
    let keys = vec![
        corp().jwk(KID),
        second.jwk("corp-2"),
        partner().jwk("partner-1"),
    ];
    let (upstream, provider) = (Server::echo(), Server::keys(keys));
    let section = format!(
        "[[issuer]]\nname = \"partner\"\nissuer = \"{PARTNER}\"\njwks_uri = \"{}/jwks\"\naudiences = [\"{AUDIENCE}\"]",
        provider.url()
    );
    let gateway = Gateway::start(&configuration("", &provider, &section, &upstream, ROUTE));
    Two {
        gateway,
        second,
        _servers: [upstream, provider],
    }
}

fn revoke(gateway: &Gateway, body: &Value) -> Value {
    let response = gateway.admin_post("/api/revocations", body);
    assert_eq!(response.status, 201, "{body}: {}", response.text());
    response.json()
}

fn restore(gateway: &Gateway, revoked: &Value) -> Response {
    let id = revoked["id"].as_str().expect("an id");
    Request::new("DELETE", &format!("/api/revocations/{id}")).send(gateway.admin)
}

fn assert_revoked(gateway: &Gateway, token: &str, what: &str) {
    let response = gateway.get("/", token);
    assert_eq!(
        (response.status, response.reason().as_str()),
        (401, "token_revoked"),
        "{what}"
    );
    let challenge = response.all("www-authenticate");
    assert_eq!(challenge.len(), 1, "{what}");
    assert!(
        challenge[0].contains("error=\"invalid_token\""),
        "{what}: {challenge:?}"
    );
}

fn assert_passes(gateway: &Gateway, token: &str, what: &str) {
    let response = gateway.get("/", token);
    assert_eq!(response.status, 200, "{what}: {}", response.text());
}

/// A revocation, tokens that it takes back, and tokens that it does not touch.
struct Row {
    body: Value,
    hit: Vec<String>,
    spared: Vec<String>,
}

/// By jti and by subject.
fn subject_rows() -> Vec<Row> {
    let cut_off = now() - 100;
    vec![
        Row {
            body: json!({"jti": "token-1", "issuer": "corp"}),
            hit: vec![token(json!({})), token(json!({"sub": "bob"}))],
            // T70, T72
            spared: vec![
                partner_token(json!({})),
                token(json!({"jti": "token-11"})),
                token(json!({"jti": null})),
                token(json!({"jti": "TOKEN-1"})),
            ],
        },
        Row {
            body: json!({"subject": "alice", "issuer": "corp"}),
            hit: vec![
                token(json!({})),
                token(json!({"iat": now() + 5})),
                token(json!({"iat": null})),
            ],
            spared: vec![
                partner_token(json!({})),
                token(json!({"sub": "alice2"})),
                token(json!({"sub": null})),
            ],
        },
        Row {
            body: json!({"subject": "alice", "issuer": "corp", "issued_before": cut_off}),
            hit: vec![
                token(json!({"iat": cut_off})),
                token(json!({"iat": cut_off - 1})),
                token(json!({"iat": null})),
            ],
            spared: vec![
                token(json!({"iat": cut_off + 1})),
                token(json!({"sub": "bob", "iat": cut_off})),
                partner_token(json!({"iat": cut_off})),
            ],
        },
    ]
}

/// By session, client and token, and of the other issuer.
fn other_rows() -> Vec<Row> {
    vec![
        Row {
            body: json!({"session": "s-1", "issuer": ISSUER}),
            hit: vec![
                token(json!({"sid": "s-1"})),
                token(json!({"sid": "s-1", "sub": "bob"})),
            ],
            spared: vec![
                token(json!({})),
                token(json!({"sid": "s-2"})),
                partner_token(json!({"sid": "s-1"})),
            ],
        },
        Row {
            body: json!({"client": "web", "issuer": "corp"}),
            hit: vec![
                token(json!({})),
                token(json!({"client_id": null, "azp": "web"})),
                token(json!({"client_id": null, "cid": "web"})),
            ],
            spared: vec![
                token(json!({"client_id": "app"})),
                token(json!({"client_id": "app", "azp": "web"})),
                partner_token(json!({})),
            ],
        },
        Row {
            body: json!({"client": "1001", "issuer": "corp"}),
            hit: vec![
                token(json!({"client_id": 1001})),
                token(json!({"client_id": "1001"})),
            ],
            spared: vec![
                token(json!({"client_id": 10010})),
                token(json!({"client_id": [1001]})),
                token(json!({"client_id": {"id": 1001}})),
            ],
        },
        Row {
            body: json!({"jti": "token-1", "issuer": PARTNER}),
            hit: vec![partner_token(json!({}))],
            spared: vec![token(json!({}))],
        },
        Row {
            body: json!({"token": token(json!({"jti": "by-token"}))}),
            hit: Vec::new(),
            spared: vec![token(json!({"jti": "by-token", "nonce": "another"}))],
        },
    ]
}

#[test]
fn a_revocation_takes_back_what_it_names_and_nothing_else_until_it_is_restored() {
    let two = two();
    let gateway = &two.gateway;
    for mut row in subject_rows().into_iter().chain(other_rows()) {
        if let Some(posted) = row.body["token"].as_str() {
            row.hit.push(posted.to_owned());
        }
        let what = row.body.to_string();
        // Half of the tokens are in the cache by then.
        for token in row.hit.iter().step_by(2).chain(&row.spared) {
            assert_passes(gateway, token, &what);
        }
        let revoked = revoke(gateway, &row.body);
        for (place, token) in row.hit.iter().enumerate() {
            assert_revoked(gateway, token, &format!("{what}, token {place}"));
        }
        for (place, token) in row.spared.iter().enumerate() {
            assert_passes(gateway, token, &format!("{what} spares token {place}"));
        }
        assert_eq!(restore(gateway, &revoked).status, 204, "{what}");
        for (place, token) in row.hit.iter().enumerate() {
            assert_passes(gateway, token, &format!("{what} restored, token {place}"));
        }
    }
}

#[test]
fn a_key_is_revoked_by_its_kid_or_its_thumbprint() {
    let two = two();
    let gateway = &two.gateway;
    let (first, second) = (token(json!({})), two.second.sign("corp-2", &claims()));
    let by_kid = revoke(gateway, &json!({"key": "corp-2", "issuer": "corp"}));
    assert_passes(gateway, &first, "the other key");
    assert_passes(gateway, &partner_token(json!({})), "the other issuer");
    assert_revoked(gateway, &second, "by kid");
    let nameless = two
        .second
        .sign_with_header(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims());
    assert_revoked(
        gateway,
        &nameless,
        "the key that verified counts, not what the token says",
    );
    assert_eq!(by_kid["expires_at"], Value::Null);
    assert_eq!(restore(gateway, &by_kid).status, 204);
    assert_passes(gateway, &second, "restored");

    let thumbprint = thumbprint(&two.second.jwk("corp-2"));
    let by_thumbprint = revoke(gateway, &json!({"key": thumbprint, "issuer": "corp"}));
    assert_eq!(
        by_thumbprint["id"], by_kid["id"],
        "it is the same revocation"
    );
    assert_revoked(gateway, &second, "by thumbprint");
    assert_passes(gateway, &first, "the other key");
}

/// RFC 7638 §3 for an elliptic curve key.
fn thumbprint(jwk: &Value) -> String {
    let member = |name: &str| jwk[name].as_str().expect("text").to_owned();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
        member("crv"),
        member("x"),
        member("y")
    );
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    support::base64url(digest.as_ref())
}

// T71: an ES256 signature can be rewritten into another that verifies; the signed part cannot.
#[test]
fn a_revoked_token_does_not_come_back_with_another_signature() {
    let two = two();
    let good = token(json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let twin = format!(
        "{signed}.{}",
        support::base64url(&corp().signature(signed.as_bytes()))
    );
    assert_ne!(good, twin);
    assert_passes(&two.gateway, &twin, "the twin is cached");
    revoke(&two.gateway, &json!({ "token": good }));
    assert_revoked(&two.gateway, &good, "the token");
    assert_revoked(&two.gateway, &twin, "its twin");
}

#[test]
fn a_revocation_holds_from_the_very_next_request_on_an_open_connection() {
    let stage = Stage::new();
    let (revoked, other) = (token(json!({"jti": "r"})), token(json!({"jti": "o"})));
    let mut connection = Connection::open(stage.gateway.public);
    let mut ask = |token: &str| {
        connection.send(&Request::get("/").bearer(token).bytes("localhost"));
        connection
            .read(false)
            .expect("an answer on the same connection")
    };
    for round in 0..20 {
        for token in [&revoked, &other, &revoked] {
            assert_eq!(ask(token).status, 200, "round {round}");
        }
        let entry = revoke(&stage.gateway, &json!({"jti": "r", "issuer": "corp"}));
        let response = ask(&revoked);
        assert_eq!(
            (response.status, response.reason().as_str()),
            (401, "token_revoked"),
            "round {round}"
        );
        assert_eq!(ask(&other).status, 200, "round {round}");
        assert_eq!(restore(&stage.gateway, &entry).status, 204);
    }
}

#[test]
fn an_entry_leaves_when_it_ends() {
    let stage = Stage::new();
    let held = |kind: &str| {
        stage
            .gateway
            .metric("portcullis_revocations", &[("kind", kind)])
    };
    let good = token(json!({}));
    let entry = revoke(
        &stage.gateway,
        &json!({"jti": "token-1", "issuer": "corp", "expires_at": now() + 2}),
    );
    assert_eq!(held("jti"), 1.0);
    eventually("the token passes again", || {
        let response = stage.gateway.get("/", &good);
        assert!(
            response.status == 200 || response.reason() == "token_revoked",
            "{}",
            response.text()
        );
        response.status == 200
    });
    assert!(
        now() >= entry["expires_at"].as_i64().unwrap(),
        "not before its end"
    );
    eventually("it is swept out", || held("jti") == 0.0);
    let list = stage.gateway.admin_get("/api/revocations").json();
    assert_eq!(list["revocations"], json!([]));
    assert_eq!(restore(&stage.gateway, &entry).status, 404);
}

#[test]
fn revocation_is_judged_before_policy_and_counted() {
    let stage = Stage::with(
        "",
        "path = \"/*\"\nupstream = \"api\"\nscopes = [\"orders:admin\"]",
    );
    let good = token(json!({}));
    assert_eq!(stage.gateway.get("/", &good).reason(), "scope_insufficient");
    revoke(
        &stage.gateway,
        &json!({"subject": "alice", "issuer": "corp"}),
    );
    assert_revoked(&stage.gateway, &good, "row 11 comes before row 12");
    let labels = [
        ("route", "/*"),
        ("issuer", "corp"),
        ("reason", "token_revoked"),
    ];
    assert_eq!(
        stage.gateway.metric("portcullis_rejections_total", &labels),
        1.0
    );
    let checks = |result: &str| {
        stage
            .gateway
            .metric("portcullis_revocation_checks_total", &[("result", result)])
    };
    assert_eq!((checks("clear"), checks("revoked")), (1.0, 1.0));
    assert_eq!(
        stage.gateway.metric("portcullis_revocation_store_up", &[]),
        1.0
    );
}

const TENANT: &str = "8d2f0000-0000-4000-8000-000000000001";
const OTHER_TENANT: &str = "8d2f0000-0000-4000-8000-000000000002";

#[test]
fn a_tenanted_issuer_is_revoked_for_one_tenant_or_for_all() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let text = configuration(
        "",
        &provider,
        "tenants = [\"*\"]",
        &upstream,
        "path = \"/*\"\nupstream = \"api\"",
    );
    let gateway = Gateway::start(&text.replace(ISSUER, "https://login.example/{tid}/v2"));
    let of = |tenant: &str| {
        token(json!({"iss": format!("https://login.example/{tenant}/v2"), "tid": tenant}))
    };
    let (one, other) = (of(TENANT), of(OTHER_TENANT));
    assert_passes(&gateway, &one, "one");
    assert_passes(&gateway, &other, "other");
    let iss = format!("https://login.example/{TENANT}/v2");
    let entry = revoke(&gateway, &json!({"jti": "token-1", "issuer": iss}));
    assert_eq!(entry["issuer"], "corp");
    assert_revoked(&gateway, &one, "its tenant");
    assert_passes(&gateway, &other, "another tenant");
    for issuer in ["corp", "https://login.example/{tid}/v2"] {
        let entry = revoke(&gateway, &json!({"subject": "alice", "issuer": issuer}));
        assert_revoked(&gateway, &other, issuer);
        assert_eq!(restore(&gateway, &entry).status, 204);
        assert_passes(&gateway, &other, issuer);
    }
    let unknown = json!({"jti": "x", "issuer": "https://login.example/nobody/v2"});
    assert_eq!(gateway.admin_post("/api/revocations", &unknown).status, 400);
}

#[test]
fn revocation_uses_the_claims_that_the_issuer_section_names() {
    let stage = Stage::with(
        "subject_claim = \"oid\"\nclient_claims = [\"app\"]",
        "path = \"/*\"\nupstream = \"api\"",
    );
    let good = token(json!({"oid": "o-1", "app": "a-1"}));
    for (body, is_hit) in [
        (json!({"subject": "alice", "issuer": "corp"}), false),
        (json!({"client": "web", "issuer": "corp"}), false),
        (json!({"subject": "o-1", "issuer": "corp"}), true),
        (json!({"client": "a-1", "issuer": "corp"}), true),
    ] {
        let entry = revoke(&stage.gateway, &body);
        if is_hit {
            assert_revoked(&stage.gateway, &good, &body.to_string());
        } else {
            assert_passes(&stage.gateway, &good, &body.to_string());
        }
        assert_eq!(restore(&stage.gateway, &entry).status, 204);
    }
}

#[test]
fn revocations_outlive_a_reload() {
    let stage = Stage::new();
    let good = token(json!({}));
    revoke(&stage.gateway, &json!({"jti": "token-1", "issuer": "corp"}));
    let text = configuration(
        "",
        &stage.provider,
        "leeway = \"20s\"",
        &stage.upstream,
        "path = \"/*\"\nupstream = \"api\"",
    );
    stage.gateway.rewrite(&text);
    stage.gateway.reload();
    assert_revoked(&stage.gateway, &good, "after a reload");
}
