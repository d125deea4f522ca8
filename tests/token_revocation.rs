//! RFC 7009: an authorization server or a logout page posts a token as to any revocation endpoint.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use data_encoding::BASE64;
use serde_json::{Value, json};
use support::{
    AUDIENCE, Connection, Gateway, Request, Response, Signer, Stage, base64url, changed, claims,
    eventually, now, token,
};

const PATH: &str = "/oauth2/revoke";
const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const SECRET: &str = "a-long+admin%credential";

fn loopback() -> Stage {
    Stage::with("", ROUTE)
}

/// Reachable from elsewhere, with an admin token.
fn exposed() -> (tempfile::TempDir, Stage) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let admin = format!(
        "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"{}\"",
        path.display()
    );
    (folder, Stage::with_all(&admin, "", ROUTE))
}

fn form(body: &str) -> Request {
    Request::new("POST", PATH)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body.as_bytes())
}

fn of(token: &str) -> Request {
    form(&format!("token={token}"))
}

fn basic(name: &str, password: &str) -> String {
    let pair = BASE64.encode(format!("{name}:{password}").as_bytes());
    format!("Basic {pair}")
}

fn revocations(gateway: &Gateway) -> Vec<Value> {
    let request = Request::get("/api/revocations").bearer(SECRET);
    let page = request.send(gateway.admin).json();
    page["revocations"].as_array().expect("entries").clone()
}

#[track_caller]
fn assert_done(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.text(), "");
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[test]
fn a_token_that_is_posted_is_refused_on_the_next_request() {
    let stage = loopback();
    let (posted, other) = (token(json!({})), token(json!({"jti": "other"})));
    assert_eq!(stage.gateway.get("/", &posted).outcome(), "200");
    assert_done(&of(&posted).send(stage.gateway.admin));
    assert_eq!(
        stage.gateway.get("/", &posted).outcome(),
        "401 token_revoked"
    );
    assert_eq!(stage.gateway.get("/", &other).outcome(), "200");
    assert_done(&of(&posted).send(stage.gateway.admin));
    let entries = revocations(&stage.gateway);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kind"], "token");
    let record = stage
        .gateway
        .wait_for_record("revoked", |record| record["change"] == "revoked");
    assert_eq!(
        (&record["actor"], &record["kind"]),
        (&json!("loopback"), &json!("token"))
    );
    assert_eq!(record["value"], entries[0]["token_id"]);
    let log = stage.gateway.log_text();
    for part in posted.split('.') {
        assert!(!log.contains(part), "a part of the token is in the log");
    }
}

#[test]
fn the_admin_token_is_the_clients_credential_as_bearer_or_as_password() {
    let (_folder, stage) = exposed();
    let encoded = "a-long%2Badmin%25credential";
    for (how, credential) in [
        ("bearer", format!("Bearer {SECRET}")),
        ("basic", basic("client", SECRET)),
        ("nameless", basic("", SECRET)),
        ("form-encoded", basic("a%20client", encoded)),
    ] {
        let dressed = |request: Request| {
            let request = request.header("Authorization", &credential);
            request.send(stage.gateway.admin)
        };
        let token = token(json!({ "jti": how }));
        assert_done(&dressed(of(&token)));
        let outcome = stage.gateway.get("/", &token).outcome();
        assert_eq!(outcome, "401 token_revoked", "{how}");
        let elsewhere = dressed(Request::get("/api/revocations")).status;
        let expected = if how == "bearer" { 200 } else { 401 };
        assert_eq!(
            elsewhere, expected,
            "{how}: Basic is for this endpoint alone"
        );
    }
    assert!(!stage.gateway.log_text().contains("admin%credential"));
}

#[test]
fn without_a_good_credential_nothing_is_revoked() {
    let (_folder, stage) = exposed();
    let token = token(json!({}));
    for (request, scheme) in [
        (of(&token), "Bearer"),
        (of(&token).bearer("wrong"), "Bearer"),
        (of(&token).bearer(&token), "Bearer"),
        (
            of(&token).header("Authorization", &basic("client", "wrong")),
            "Basic",
        ),
        (
            of(&token).header("Authorization", &basic(SECRET, "")),
            "Basic",
        ),
        (of(&token).header("Authorization", "Basic !!!"), "Basic"),
        (of(&token).bearer(SECRET).bearer(SECRET), "Bearer"),
        (
            form(&format!("token={token}&client_id=x&client_secret={SECRET}")),
            "Bearer",
        ),
    ] {
        let response = request.send(stage.gateway.admin);
        assert_eq!(response.status, 401, "{request:?}: {}", response.text());
        assert_eq!(response.json()["error"], "invalid_client");
        let challenge = response.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with(scheme), "{request:?}: {challenge}");
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    assert_eq!(stage.gateway.get("/", &token).outcome(), "200");
}

/// §2.2: to whoever asks, a token that is of no use anyway is as good as revoked.
#[test]
fn a_token_that_is_no_good_here_anyway_is_200_and_nothing_is_kept_of_it() {
    let stage = loopback();
    let foreign = Signer::new("ES256").sign(
        "k",
        &changed(claims(), json!({"iss": "https://nobody.example"})),
    );
    let unsigned = format!(
        "e30.{}.",
        base64url(
            json!({"iss": "https://nobody.example", "exp": now() + 60})
                .to_string()
                .as_bytes()
        )
    );
    let good = token(json!({}));
    for unusable in [
        "opaque",
        "a.b.c",
        "%00%FF",
        &foreign,
        &unsigned,
        &format!("{good}.x.y"),
        &token(json!({"exp": now() - 100})),
        &token(json!({"exp": null})),
        &"x".repeat(60_000),
    ] {
        assert_done(&of(unusable).send(stage.gateway.admin));
        assert_done(
            &form(&format!("token_type_hint=access_token&token={unusable}"))
                .send(stage.gateway.admin),
        );
        assert_done(
            &form(&format!("token={unusable}&token_type_hint=what_else")).send(stage.gateway.admin),
        );
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    assert_eq!(stage.gateway.get("/", &good).outcome(), "200");
}

#[test]
fn a_refresh_token_is_an_unsupported_type_and_a_wrong_hint_saves_no_token() {
    let stage = loopback();
    let refresh =
        form("token=opaque-refresh&token_type_hint=refresh_token").send(stage.gateway.admin);
    assert_eq!(refresh.status, 400);
    assert_eq!(refresh.json()["error"], "unsupported_token_type");
    let good = token(json!({}));
    let hinted = form(&format!("token={good}&token_type_hint=refresh_token"));
    assert_done(&hinted.send(stage.gateway.admin));
    assert_eq!(stage.gateway.get("/", &good).outcome(), "401 token_revoked");
    let from_a_file = token(json!({"jti": "file"}));
    assert_done(&of(&format!("{from_a_file}%0D%0A")).send(stage.gateway.admin));
    let good = from_a_file;
    assert_eq!(stage.gateway.get("/", &good).outcome(), "401 token_revoked");
}

#[test]
fn a_request_of_another_form_is_refused_and_revokes_nothing() {
    let stage = loopback();
    let good = token(json!({}));
    let typed = |kind: &str, body: &str| {
        Request::new("POST", PATH)
            .header("Content-Type", kind)
            .body(body.as_bytes())
    };
    let query = format!("{PATH}?token={good}&callback=f");
    let as_form = "application/x-www-form-urlencoded";
    for (request, status) in [
        (Request::get(&query), 405),
        (Request::new("HEAD", &query), 405),
        (Request::new("PUT", PATH).body(b"x"), 405),
        (Request::new("OPTIONS", PATH), 405),
        (
            Request::new("POST", &query).header("Content-Type", as_form),
            400,
        ),
        (
            typed("application/json", &json!({ "token": good }).to_string()),
            415,
        ),
        (typed("text/plain", &format!("token={good}")), 415),
        (
            Request::new("POST", PATH).body(format!("token={good}").as_bytes()),
            415,
        ),
        (form(""), 400),
        (form("token="), 400),
        (form("token_type_hint=access_token"), 400),
        (form(&format!("token={good}&token={good}")), 400),
        (form(&format!("token={good}&%74oken=x")), 400),
        (
            form(&format!("token={good}&token_type_hint=a&token_type_hint=a")),
            400,
        ),
        (form(&format!("token={good}&x=1&x=2")), 400),
        (form(&format!("token={good}&{}", "x".repeat(70_000))), 413),
    ] {
        let response = request.send(stage.gateway.admin);
        assert_eq!(response.status, status, "{request:?}: {}", response.text());
        if status == 405 {
            assert_eq!(response.header("allow"), Some("POST"));
        } else {
            assert_eq!(
                response.json()["error"],
                "invalid_request",
                "{}",
                response.text()
            );
        }
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert!(!response.text().contains(&good), "a token is never echoed");
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    // Others that OAuth knows are not ours to refuse.
    assert_done(&form(&format!("client_id=x&token={good}")).send(stage.gateway.admin));
}

/// §2.2.1: the client has to take the token for good still.
#[test]
fn while_the_store_is_away_it_is_503_and_the_token_is_still_good() {
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\ndrain_delay = \"1m\"";
    let stage = Stage::with_all(top, "", ROUTE);
    // The store is handed over first, while requests are still served.
    stage.gateway.signal("TERM");
    let mut tried = 0;
    eventually("the store is closed", || {
        tried += 1;
        let token = token(json!({ "jti": format!("{tried}") }));
        let response = of(&token).send(stage.gateway.admin);
        let is_refused = response.status == 503;
        if is_refused {
            assert!(response.header("retry-after").is_some());
            assert_eq!(response.json()["error"], "temporarily_unavailable");
            assert_eq!(stage.gateway.get("/", &token).outcome(), "200");
        }
        is_refused
    });
}

/// A form is what any page can make a browser post, even to a loopback address; browsers say where it comes from.
#[test]
fn a_page_of_another_site_can_post_no_token() {
    let stage = loopback();
    let good = token(json!({}));
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost:3000"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Host", "evil.example"),
    ] {
        let response = of(&good).header(name, value).send(stage.gateway.admin);
        assert_eq!(response.status, 403, "{name}: {value}: {}", response.text());
        assert!(response.header("access-control-allow-origin").is_none());
    }
    assert_eq!(revocations(&stage.gateway), Vec::<Value>::new());
    assert_eq!(stage.gateway.get("/", &good).outcome(), "200");
}

#[test]
fn a_form_without_a_length_is_read_as_one_with_it() {
    let stage = loopback();
    let good = token(json!({"aud": AUDIENCE}));
    let body = format!("token={good}");
    let mut connection = Connection::open(stage.gateway.admin);
    connection.send(
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_done(&connection.read(false).expect("an answer"));
    assert_eq!(stage.gateway.get("/", &good).outcome(), "401 token_revoked");
}
