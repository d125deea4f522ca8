//! Operators: who may change revocations by a bearer token, and whose browser cannot be made to (T149).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{
    AUDIENCE, Gateway, KID, Reply, Request, Response, Server, Signer, Stage, base64url, changed,
    claims, command, configuration, corp, eventually, now, token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"\nissuers = [\"corp\", \"other\"]";
const OPERATORS: &str = "issuer = \"corp\"\nscope = \"portcullis:admin\"";
const SECRET: &str = "a-long-admin-credential";

/// An admin listener on that address with those lines; tokens of `other` are good for the API, and make no operator.
fn stage(address: &str, lines: &str) -> Stage {
    Stage::written(vec![corp().jwk(KID)], |provider, upstream| {
        let admin = format!("[admin]\nlisten = \"{address}:0\"\n{lines}");
        configuration(&admin, provider, &other(provider), upstream, ROUTE)
    })
}

fn other(provider: &Server) -> String {
    format!(
        "[issuer.jwks]\ncooldown = \"1s\"\n[[issuer]]\nname = \"other\"\nissuer = \"https://other.example\"\n\
         jwks_uri = \"{}/jwks\"\naudiences = [\"{AUDIENCE}\"]",
        provider.url()
    )
}

fn exposed() -> Stage {
    stage("0.0.0.0", OPERATORS)
}

fn with_secret(lines: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let lines = format!("token_file = \"{}\"\n{lines}", path.display());
    (folder, lines)
}

/// A good operator's token with other claims.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is called with what json! makes"
)]
fn operator(changes: Value) -> String {
    let mut all = json!({"scope": "openid portcullis:admin", "sub": "olga", "client_id": "console", "jti": "operator"});
    let members = all.as_object_mut().expect("an object");
    members.extend(changes.as_object().expect("an object").clone());
    token(all)
}

fn revoke() -> Request {
    Request::new("POST", "/api/revocations")
        .json(&json!({"jti": "token-1", "issuer": "corp", "reason": "laptop lost"}))
}

/// Sends until the answer is not that there were too many wrong ones.
fn patiently(gateway: &Gateway, request: &Request) -> Response {
    let mut answer = None;
    eventually("not limited any more", || {
        let response = request.send(gateway.admin);
        let is_limited = response.status == 429;
        answer = Some(response);
        !is_limited
    });
    answer.unwrap()
}

fn count(gateway: &Gateway) -> usize {
    let request = Request::get("/api/revocations").bearer(&operator(json!({})));
    let page = request.send(gateway.admin);
    assert_eq!(page.status, 200, "{}", page.text());
    page.json()["revocations"]
        .as_array()
        .expect("entries")
        .len()
}

#[test]
fn a_token_of_the_issuer_with_the_scope_may_revoke_and_restore_and_is_named() {
    let stage = exposed();
    let (gateway, good) = (&stage.gateway, token(json!({})));
    assert_eq!(gateway.get("/", &good).outcome(), "200");
    let created = revoke().bearer(&operator(json!({}))).send(gateway.admin);
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(gateway.get("/", &good).outcome(), "401 token_revoked");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let record = gateway.wait_for_record("revoked", |record| record["change"] == "revoked");
    for (field, value) in [
        ("actor", "operator"),
        ("actor_issuer", "corp"),
        ("actor_subject", "olga"),
        ("actor_client", "console"),
        ("actor_request_id", created.header("x-request-id").unwrap()),
        ("kind", "jti"),
        ("value", "token-1"),
        ("id", id.as_str()),
        ("issuer", "corp"),
        ("reason", "laptop lost"),
        ("target", "portcullis::audit"),
    ] {
        assert_eq!(record[field], value, "{field}: {record:#}");
    }
    assert_eq!(record["actor_token_id"].as_str().map(str::len), Some(16));
    assert!(record["timestamp"].is_string());
    let again = revoke().bearer(&operator(json!({}))).send(gateway.admin);
    assert_eq!(again.status, 200);
    gateway.wait_for_record("confirmed", |record| record["change"] == "confirmed");
    let delete = Request::new("DELETE", &format!("/api/revocations/{id}"));
    let restored = delete
        .bearer(&operator(json!({"jti": "2"})))
        .send(gateway.admin);
    assert_eq!(restored.status, 204, "{}", restored.text());
    let record = gateway.wait_for_record("restored", |record| record["change"] == "restored");
    assert_eq!(
        (&record["actor_subject"], &record["value"]),
        (&json!("olga"), &json!("token-1"))
    );
    assert_eq!(gateway.get("/", &good).outcome(), "200");
}

/// Signed by the issuer, and good for no operator: the claims, and what the gate says.
fn wrong_claims() -> Vec<(&'static str, Value)> {
    vec![
        ("401 token_expired", json!({"exp": now() - 31})),
        ("401 token_not_yet_valid", json!({"nbf": now() + 60})),
        ("401 token_issued_in_future", json!({"iat": now() + 60})),
        (
            "401 token_lifetime_exceeded",
            json!({"exp": now() + 90_000}),
        ),
        (
            "401 audience_mismatch",
            json!({"aud": "https://other.example"}),
        ),
        ("401 claim_missing", json!({"aud": null})),
        (
            "401 issuer_unknown",
            json!({"iss": "https://other.example"}),
        ),
        (
            "401 issuer_unknown",
            json!({"iss": "https://nobody.example"}),
        ),
        ("401 token_type_mismatch", json!({"token_use": "id"})),
        ("401 token_binding_unproven", json!({"cnf": {"jkt": "x"}})),
        (
            "403 scope_insufficient",
            json!({"scope": "openid portcullis:administrator"}),
        ),
        ("403 scope_insufficient", json!({"scope": null})),
    ]
}

/// Not even signed by the issuer, or something else.
fn wrong_tokens() -> Vec<(&'static str, String)> {
    let good = operator(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let header = json!({"alg": "none", "typ": "at+jwt"}).to_string();
    let none = base64url(header.as_bytes());
    let stranger = Signer::new("ES256");
    let old = changed(claims(), json!({"iat": now() - 300}));
    let logout = json!({"alg": "ES256", "kid": KID, "typ": "logout+jwt"});
    vec![
        ("401 algorithm_forbidden", format!("{none}.{}.", parts[1])),
        ("401 signature_invalid", stranger.sign(KID, &claims())),
        (
            "401 signature_invalid",
            format!("{}.{}.", parts[0], parts[1]),
        ),
        ("401 key_unknown", stranger.sign("nobody", &old)),
        (
            "401 token_type_mismatch",
            corp().sign_with_header(&logout, &claims()),
        ),
        ("401 token_opaque", "x-y-z".to_owned()),
        ("401 token_malformed", "a.b.c".to_owned()),
        ("400 header_malformed", "a b".to_owned()),
    ]
}

#[test]
fn every_check_of_the_gate_is_made_on_an_operators_token() {
    let stage = exposed();
    let claims = wrong_claims()
        .into_iter()
        .map(|(outcome, claims)| (outcome, operator(claims)));
    for (outcome, token) in claims.chain(wrong_tokens()) {
        let response = patiently(&stage.gateway, &revoke().bearer(&token));
        assert_eq!(response.outcome(), outcome, "{}", response.text());
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let challenges = response.all("www-authenticate");
        assert_eq!(challenges.len(), 1, "{outcome}");
        assert!(challenges[0].starts_with("Bearer realm="), "{challenges:?}");
        assert!(challenges[0].contains("error=\""), "{challenges:?}");
        if outcome.starts_with("403") {
            assert!(
                challenges[0].ends_with("scope=\"portcullis:admin\""),
                "{challenges:?}"
            );
        }
        let counted = [("route", "none"), ("reason", &outcome[4..])];
        assert!(
            stage
                .gateway
                .metric("portcullis_rejections_total", &counted)
                > 0.5,
            "{outcome}"
        );
        assert!(!response.text().contains(&token), "{outcome}");
    }
    assert_eq!(count(&stage.gateway), 0, "nothing was changed");
}

#[test]
fn a_token_elsewhere_than_in_one_authorization_header_makes_no_operator() {
    let stage = exposed();
    let good = operator(json!({}));
    for request in [
        revoke(),
        revoke().header(
            "Cookie",
            &format!("token={good}; Authorization=Bearer {good}"),
        ),
        revoke().header("X-Authorization", &format!("Bearer {good}")),
        revoke().header("Authorization", &format!("Basic {good}")),
        revoke().bearer(&good).bearer(&good),
        Request::get(&format!("/api/revocations?access_token={good}")),
    ] {
        let response = patiently(&stage.gateway, &request);
        assert_eq!(response.status, 401, "{request:?}: {}", response.text());
    }
    let ambiguous = Request::get("/api/revocations?access_token=x").bearer(&good);
    assert_eq!(
        patiently(&stage.gateway, &ambiguous).outcome(),
        "400 token_ambiguous"
    );
    assert_eq!(count(&stage.gateway), 0);
}

#[test]
fn a_revoked_operators_token_is_refused_at_once() {
    let stage = exposed();
    let (lost, kept) = (
        operator(json!({"jti": "lost"})),
        operator(json!({"jti": "kept"})),
    );
    let asked = |token: &str| {
        Request::get("/api/revocations")
            .bearer(token)
            .send(stage.gateway.admin)
    };
    assert_eq!(asked(&lost).status, 200);
    let request = Request::new("POST", "/api/revocations").json(&json!({ "token": lost }));
    assert_eq!(request.bearer(&kept).send(stage.gateway.admin).status, 201);
    assert_eq!(asked(&lost).outcome(), "401 token_revoked");
    assert_eq!(asked(&kept).status, 200);
    let all = Request::new("POST", "/api/revocations")
        .json(&json!({"subject": "olga", "issuer": "corp"}));
    assert_eq!(all.bearer(&kept).send(stage.gateway.admin).status, 201);
    assert_eq!(
        asked(&kept).outcome(),
        "401 token_revoked",
        "its bearer took it back herself"
    );
}

#[test]
fn wrong_tokens_are_slowed_down_and_good_ones_never() {
    let stage = exposed();
    let bad = revoke().bearer(&operator(json!({"scope": "openid"})));
    let good = Request::get("/api/revocations").bearer(&operator(json!({})));
    let mut limited = false;
    for _ in 0..200 {
        let response = bad.send(stage.gateway.admin);
        limited |= response.status == 429;
        if response.status == 429 {
            assert!(response.header("retry-after").is_some());
        }
        assert_eq!(good.send(stage.gateway.admin).status, 200);
    }
    assert!(limited, "two hundred wrong ones in a row");
}

#[test]
fn what_cannot_be_told_is_503_and_no_wrong_attempt() {
    let stage = exposed();
    stage.provider.answer(|_| Reply::Status(500));
    let token = Signer::new("ES256").sign("new", &claims());
    for _ in 0..15 {
        let response = revoke().bearer(&token).send(stage.gateway.admin);
        assert_eq!(response.outcome(), "503 keys_unavailable");
        assert!(response.header("retry-after").is_some());
        assert_eq!(response.header("www-authenticate"), None);
    }
    assert_eq!(count(&stage.gateway), 0);
}

#[test]
fn the_admin_token_goes_on_beside_it() {
    let (_folder, lines) = with_secret(OPERATORS);
    let stage = stage("0.0.0.0", &lines);
    assert_eq!(
        revoke().bearer(SECRET).send(stage.gateway.admin).status,
        201
    );
    let record = stage
        .gateway
        .wait_for_record("revoked", |record| record["change"] == "revoked");
    assert_eq!(record["actor"], "admin_token", "{record:#}");
    assert_eq!(record.get("actor_subject"), None);
    assert_eq!(
        revoke()
            .bearer(&operator(json!({})))
            .send(stage.gateway.admin)
            .status,
        200
    );
    let wrong = revoke()
        .bearer("a-long-admin-credentia")
        .send(stage.gateway.admin);
    assert_eq!(wrong.outcome(), "401 token_opaque");
    let log = stage.gateway.log_text();
    assert!(!log.contains(SECRET));
}

#[test]
fn on_loopback_no_credential_is_needed_and_one_that_is_sent_must_be_good() {
    let stage = stage("127.0.0.1", OPERATORS);
    let gateway = &stage.gateway;
    assert_eq!(revoke().send(gateway.admin).status, 201);
    let record = gateway.wait_for_record("revoked", |record| record["change"] == "revoked");
    assert_eq!(record["actor"], "loopback", "{record:#}");
    let expired = revoke()
        .bearer(&operator(json!({"exp": now() - 31})))
        .send(gateway.admin);
    assert_eq!(expired.outcome(), "401 token_expired");
    assert_eq!(
        revoke()
            .bearer(&operator(json!({})))
            .send(gateway.admin)
            .status,
        200
    );
    let record = gateway.wait_for_record("confirmed", |record| record["change"] == "confirmed");
    assert_eq!(record["actor_subject"], "olga", "{record:#}");
}

/// What a browser adds to what a page of another site makes it send, and no page can leave out.
fn of_a_foreign_page() -> Vec<(&'static str, &'static str)> {
    vec![
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ]
}

#[test]
fn a_page_of_another_site_can_change_nothing_with_anybodys_credential() {
    for (stage, credential) in [
        (stage("127.0.0.1", OPERATORS), None),
        (exposed(), Some(operator(json!({})))),
    ] {
        let dressed = |request: Request| match &credential {
            Some(token) => request.bearer(token),
            None => request,
        };
        let gateway = &stage.gateway;
        let created = dressed(revoke()).send(gateway.admin);
        let id = created.json()["id"].as_str().expect("an id").to_owned();
        let delete = Request::new("DELETE", &format!("/api/revocations/{id}"));
        let other =
            Request::new("POST", "/api/revocations").json(&json!({"jti": "x", "issuer": "corp"}));
        for (name, value) in of_a_foreign_page() {
            for request in [&other, &delete] {
                let response = dressed(request.clone().header(name, value)).send(gateway.admin);
                assert_eq!(response.status, 403, "{name}: {value}: {}", response.text());
                assert!(response.headers.iter().all(|(name, _)| {
                    !name.to_ascii_lowercase().starts_with("access-control-")
                }));
            }
            // What pages may send without asking first.
            for kind in [
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data",
            ] {
                let simple = Request::new("POST", "/api/revocations")
                    .header("Content-Type", kind)
                    .body(b"{\"jti\":\"x\",\"issuer\":\"corp\"}");
                let response = dressed(simple.clone()).send(gateway.admin);
                assert_eq!(response.status, 415, "{kind}");
                assert_eq!(
                    dressed(simple.header(name, value))
                        .send(gateway.admin)
                        .status,
                    403
                );
            }
        }
        // A name of theirs that leads to our address.
        let rebound = dressed(other.clone().header("Host", "evil.example")).send(gateway.admin);
        assert_eq!(rebound.status, 403);
        assert_eq!(count(gateway), 1, "only our own");
        let own = format!("http://{}", gateway.admin);
        let response = dressed(delete.clone().header("Origin", &own)).send(gateway.admin);
        assert_eq!(response.status, 204, "a page of this very listener");
    }
}

#[test]
fn explain_asks_as_an_operator_and_says_when_it_was_not_let_in() {
    let stage = exposed();
    let lost = token(json!({"jti": "lost"}));
    let request = Request::new("POST", "/api/revocations")
        .json(&json!({"jti": "lost", "issuer": "corp"}))
        .bearer(&operator(json!({})));
    assert_eq!(request.send(stage.gateway.admin).status, 201);

    let folder = tempfile::tempdir().unwrap();
    let port = stage.gateway.admin.port();
    let admin = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"0.0.0.0:{port}\"\n{OPERATORS}"
    );
    let provider = &stage.provider;
    let text = configuration(&admin, provider, &other(provider), &stage.upstream, ROUTE);
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let config = write("portcullis.toml", &text);
    let credential = write("operator.token", &operator(json!({})));

    let asked = ["explain", "--config", &config];
    let outside = command(&asked, &lost);
    let errors = String::from_utf8_lossy(&outside.stderr);
    assert!(errors.is_empty(), "{errors}");
    let said = String::from_utf8_lossy(&outside.stdout);
    assert!(said.contains("answered 401"), "{said}");
    let inside = command(
        &[&asked[..], &["--admin-token-file", &credential]].concat(),
        &lost,
    );
    let said = String::from_utf8_lossy(&inside.stdout);
    assert_eq!(inside.status.code(), Some(1), "{said}");
    assert!(said.contains("token_revoked"), "{said}");
}
