//! What is no logout: refused, said why, and without effect.

use serde_json::{Value, json};

use super::support::{
    AUDIENCE, Connection, KID, Request, Signer, base64url, changed, claims, corp, now, token,
};
use super::{
    EVENT, PATH, assert_ended, form, logout_claims, logout_token, post, revocations, signed, stage,
};

/// Signed by the provider, and no logout token for this gateway.
fn wrong_claims() -> Vec<(&'static str, Value)> {
    vec![
        ("token_type_mismatch", json!({"nonce": "n"})),
        ("token_type_mismatch", json!({"nonce": ""})),
        ("claim_missing", json!({"events": null})),
        ("token_type_mismatch", json!({"events": [EVENT]})),
        ("token_type_mismatch", json!({"events": EVENT})),
        ("token_type_mismatch", json!({"events": {}})),
        ("token_type_mismatch", json!({"events": {EVENT: []}})),
        ("token_type_mismatch", json!({"events": {EVENT: true}})),
        (
            "token_type_mismatch",
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout/": {}}}),
        ),
        ("claim_missing", json!({"sub": null, "sid": null})),
        ("claim_missing", json!({"sub": "", "sid": ""})),
        ("token_malformed", json!({"sub": 7})),
        ("token_malformed", json!({"sid": ["session-1"]})),
        ("claim_missing", json!({"jti": null})),
        ("claim_missing", json!({"jti": ""})),
        ("claim_missing", json!({"iat": null})),
        ("claim_missing", json!({"exp": null})),
        ("claim_missing", json!({"aud": null})),
        ("audience_mismatch", json!({"aud": "other"})),
        ("audience_mismatch", json!({"aud": AUDIENCE})),
        ("audience_mismatch", json!({"aud": []})),
        ("audience_mismatch", json!({"aud": ["web2", "we"]})),
        ("issuer_unknown", json!({"iss": "https://id.example.com"})),
        ("issuer_unknown", json!({"iss": "https://other.example"})),
        ("claim_missing", json!({"iss": null})),
        ("token_expired", json!({"exp": now() - 31})),
        ("token_issued_in_future", json!({"iat": now() + 60})),
        ("token_not_yet_valid", json!({"nbf": now() + 60})),
    ]
}

/// What is no logout token by its header, its signature or its form.
fn wrong_tokens() -> Vec<(&'static str, String)> {
    let good = logout_token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let none = base64url(
        json!({"alg": "none", "typ": "logout+jwt"})
            .to_string()
            .as_bytes(),
    );
    let other = base64url(
        changed(logout_claims(), json!({"sub": "bob"}))
            .to_string()
            .as_bytes(),
    );
    let of = |header: Value| signed(header, &logout_claims());
    let id_token = changed(
        claims(),
        json!({"aud": "web", "scope": null, "client_id": null}),
    );
    let stranger = Signer::new("ES256");
    let old = changed(logout_claims(), json!({"iat": now() - 100}));
    let secret = Signer::hmac("HS256", corp().jwk(KID).to_string().as_bytes());
    let header = json!({"alg": "HS256", "kid": KID, "typ": "logout+jwt"});
    vec![
        ("algorithm_forbidden", format!("{none}.{}.", parts[1])),
        (
            "algorithm_forbidden",
            format!("{none}.{}.{}", parts[1], parts[2]),
        ),
        (
            "algorithm_forbidden",
            secret.sign_with_header(&header, &logout_claims()),
        ),
        (
            "signature_invalid",
            format!("{}.{other}.{}", parts[0], parts[2]),
        ),
        ("signature_invalid", format!("{}.{}.", parts[0], parts[1])),
        ("signature_invalid", stranger.sign(KID, &logout_claims())),
        ("key_unknown", stranger.sign("nobody", &old)),
        ("token_type_mismatch", of(json!({"typ": "at+jwt"}))),
        ("token_type_mismatch", of(json!({"typ": "secevent+jwt"}))),
        ("token_malformed", of(json!({"crit": ["x"]}))),
        // An access token, and an ID token.
        ("token_type_mismatch", token(json!({"aud": "web"}))),
        ("claim_missing", signed(json!({"typ": "JWT"}), &id_token)),
        (
            "token_type_mismatch",
            signed(
                json!({"typ": "JWT"}),
                &changed(id_token, json!({"nonce": "n"})),
            ),
        ),
        ("token_opaque", "x-y-z".to_owned()),
        ("token_malformed", "a.b.c".to_owned()),
        ("token_encrypted", format!("{good}.a.b")),
        (
            "token_too_large",
            format!("{}.{}.{}", parts[0], "A".repeat(20_000), parts[2]),
        ),
    ]
}

#[test]
fn whatever_is_no_good_logout_token_is_400_and_changes_nothing() {
    let stage = stage();
    let claims = wrong_claims()
        .into_iter()
        .map(|(reason, changes)| (reason, logout_token(changes)));
    for (reason, token) in claims.chain(wrong_tokens()) {
        let counted = [("route", "none"), ("reason", reason)];
        let before = stage
            .gateway
            .metric("portcullis_rejections_total", &counted);
        let response = post(&stage.gateway, &token);
        let said = response.text();
        assert_eq!(response.status, 400, "{reason}: {said}");
        assert_eq!(response.json()["error"], "invalid_request", "{reason}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("www-authenticate"), None, "{reason}");
        let record = stage
            .gateway
            .record(response.header("x-request-id").unwrap());
        assert_eq!(record["reason"], reason, "{token}: {record:#}");
        assert_eq!(record["status"], 400, "{record:#}");
        let after = stage
            .gateway
            .metric("portcullis_rejections_total", &counted);
        assert!((after - before - 1.0).abs() < 0.5, "{reason}");
        assert!(!said.contains(&token), "{said}");
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    assert_eq!(stage.gateway.get("/", &token(json!({}))).outcome(), "200");
}

#[test]
fn a_request_of_another_form_is_refused_and_changes_nothing() {
    let stage = stage();
    let good = logout_token(json!({}));
    let body = format!("logout_token={good}");
    let typed = |kind: &str| {
        Request::new("POST", PATH)
            .header("Content-Type", kind)
            .body(body.as_bytes())
    };
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let target = format!("{PATH}?logout_token={good}");
        let response = Request::new(method, &target).send(stage.gateway.public);
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("POST"), "{method}");
        assert_eq!(
            response.header("cache-control"),
            Some("no-store"),
            "{method}"
        );
    }
    let query = Request::new("POST", &format!("{PATH}?logout_token={good}"))
        .header("Content-Type", "application/x-www-form-urlencoded");
    for request in [
        Request::new("POST", PATH).body(body.as_bytes()),
        typed("application/json"),
        typed("text/plain"),
        typed("multipart/form-data; boundary=x"),
        typed("application/x-www-form-urlencoded").header("Content-Type", "text/plain"),
        query,
        Request::new("POST", PATH).bearer(&good),
        form(""),
        form("logout_token="),
        form(&format!("token={good}")),
        form(&format!("{body}&logout_token={good}")),
        form(&format!("{body}&logout%5Ftoken=")),
        form(&format!("{body}%20")),
        form(&format!("logout_token=+{good}")),
    ] {
        let response = stage.gateway.send(&request);
        assert_eq!(response.status, 400, "{request:?}: {}", response.text());
        assert_eq!(response.json()["error"], "invalid_request");
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    // What the specification lets a provider add is not looked at.
    let more = form(&format!("state=1&{body}&state=2"));
    assert_ended(&stage.gateway.send(&more));
}

#[test]
fn a_body_too_large_is_413_with_and_without_a_length() {
    let stage = stage();
    let large = format!(
        "x={}&logout_token={}",
        "x".repeat(1 << 20),
        logout_token(json!({}))
    );
    let response = stage.gateway.send(&form(&large));
    assert_eq!(response.status, 413, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let mut connection = Connection::open(stage.gateway.public);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    connection.send(head.as_bytes());
    assert_eq!(connection.read(false).expect("an answer").status, 413);
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
}
