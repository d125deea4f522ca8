//! The admin listener: who may ask what, health, status and `explain` (T148, T149).

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

use serde_json::{Value, json};
use support::{Connection, Gateway, KID, Request, Signer, Stage, claims, eventually, now, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const SECRET: &str = "a-long-admin-credential";

/// Bound to every address; `credential` is what the section says of the credential.
fn exposed(credential: &str) -> Stage {
    let admin =
        format!("[admin]\nlisten = \"0.0.0.0:0\"\nhosts = [\"portcullis.internal\"]\n{credential}");
    Stage::with_all(&admin, "", ROUTE)
}

fn with_secret() -> (tempfile::TempDir, Stage) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let stage = exposed(&format!("token_file = \"{}\"", path.display()));
    (folder, stage)
}

/// More idle connections than there are places: whoever comes then is answered all the same, and at once.
#[test]
fn idle_connections_keep_nobody_out() {
    let stage = Stage::new();
    let mut idle: Vec<_> = (0..300)
        .map(|_| Connection::open(stage.gateway.admin))
        .collect();
    let begun = std::time::Instant::now();
    assert_eq!(stage.gateway.admin_get("/healthz").status, 200);
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    // Those that say nothing do not stay.
    assert!(idle[0].is_closed());
    assert!(idle[299].is_closed());
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

/// Every guarded question, with a good body.
fn guarded() -> Vec<Request> {
    vec![
        Request::get("/"),
        Request::get("/api/status"),
        Request::get("/api/revocations"),
        Request::new("POST", "/api/explain").json(&json!({ "token": "x" })),
        Request::new("POST", "/api/revocations").json(&json!({"jti": "j", "issuer": "corp"})),
        Request::new(
            "DELETE",
            "/api/revocations/00000000000000000000000000000000",
        ),
        Request::get("/api/unknown"),
    ]
}

fn assert_open_paths_are_open(gateway: &Gateway) {
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(gateway.admin_get(path).status, 200, "{path}");
    }
}

#[test]
fn beyond_loopback_only_metrics_and_health_are_open() {
    let (_folder, stage) = with_secret();
    let gateway = &stage.gateway;
    assert_open_paths_are_open(gateway);
    for request in guarded() {
        let response = request.send(gateway.admin);
        assert_eq!(response.status, 401, "{request:?}");
        assert!(
            response
                .header("www-authenticate")
                .unwrap_or_default()
                .starts_with("Bearer"),
            "{request:?}"
        );
        let right = request.clone().bearer(SECRET).send(gateway.admin);
        assert!(
            !matches!(right.status, 401 | 403),
            "{request:?}: {}",
            right.text()
        );
    }
    assert!(!gateway.log_text().contains(SECRET));
}

#[test]
fn a_wrong_admin_credential_is_401() {
    let (_folder, stage) = with_secret();
    for wrong in [
        "Bearer a-long-admin-credentia".to_owned(),
        format!("Bearer {SECRET}x"),
        format!("Basic {SECRET}"),
        SECRET.to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {}", token(json!({}))),
    ] {
        let request = Request::get("/api/revocations").header("Authorization", &wrong);
        assert_eq!(request.send(stage.gateway.admin).status, 401, "{wrong}");
    }
    let twice = Request::get("/api/status").bearer(SECRET).bearer(SECRET);
    assert_eq!(
        twice.send(stage.gateway.admin).status,
        401,
        "two credentials"
    );
    let in_query = Request::get(&format!("/api/status?access_token={SECRET}"));
    assert_eq!(
        in_query.send(stage.gateway.admin).status,
        401,
        "in the query"
    );
    assert_eq!(
        Request::get("/api/status")
            .bearer(SECRET)
            .send(stage.gateway.admin)
            .status,
        200
    );
}

#[test]
fn beyond_loopback_without_a_credential_nobody_may_do_more_than_look_at_health() {
    let stage = exposed("");
    assert_open_paths_are_open(&stage.gateway);
    for request in guarded() {
        for asked in [
            request.clone(),
            request.clone().bearer(""),
            request.bearer("anything"),
        ] {
            let status = asked.send(stage.gateway.admin).status;
            assert!(matches!(status, 401 | 403 | 429), "{asked:?}: {status}");
        }
    }
}

// T149: a page that rebinds its name to our address sends that name.
#[test]
fn only_an_own_name_is_answered() {
    let (_folder, stage) = with_secret();
    let asked = |host: &str| {
        let request = Request::get("/metrics").header("Host", host);
        request.send(stage.gateway.admin).status
    };
    for good in [
        "127.0.0.1",
        "127.0.0.1:9090",
        "[::1]:9090",
        "10.1.2.3",
        "localhost",
        "LOCALHOST:1",
        "portcullis.internal",
        "Portcullis.Internal:9090",
    ] {
        assert_eq!(asked(good), 200, "{good}");
    }
    for bad in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "portcullis.internal.evil.example",
        "",
    ] {
        let status = asked(bad);
        assert!((400..500).contains(&status), "{bad}: {status}");
    }
    let twice = Request::get("/metrics")
        .header("Host", "localhost")
        .header("Host", "evil.example");
    assert!(
        (400..500).contains(&twice.send(stage.gateway.admin).status),
        "two hosts"
    );
    let absolute = Request::get("http://evil.example/metrics").header("Host", "localhost");
    assert!(
        (400..500).contains(&absolute.send(stage.gateway.admin).status),
        "absolute form"
    );
    let mut none = Connection::open(stage.gateway.admin);
    none.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(
        none.read(false)
            .is_none_or(|response| response.status >= 400),
        "no host"
    );
}

#[test]
fn bodies_must_be_json_and_small() {
    let stage = Stage::new();
    let body = json!({"jti": "j", "issuer": "corp"}).to_string();
    for path in ["/api/revocations", "/api/explain"] {
        for wrong in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/jsonp"),
            Some("multipart/form-data"),
        ] {
            let mut request = Request::new("POST", path).body(body.as_bytes());
            if let Some(wrong) = wrong {
                request = request.header("Content-Type", wrong);
            }
            let status = request.send(stage.gateway.admin).status;
            assert!((400..500).contains(&status), "{path} {wrong:?}: {status}");
        }
    }
    let charset = Request::new("POST", "/api/revocations")
        .header("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(
        charset
            .body(body.as_bytes())
            .send(stage.gateway.admin)
            .status,
        201
    );

    let huge = json!({"jti": "x".repeat(1 << 20), "issuer": "corp"});
    let length = huge.to_string().len();
    let head = format!(
        "POST /api/revocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut connection = Connection::open(stage.gateway.admin);
    connection.send(head.as_bytes());
    assert_eq!(
        connection.read(false).expect("an answer").status,
        413,
        "by its length"
    );
    let mut chunked = Connection::open(stage.gateway.admin);
    chunked.send(b"POST /api/revocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Just over the limit, so that it fits into the socket and the answer is not lost to a reset.
    chunked.send(format!("10001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10001)).as_bytes());
    assert_eq!(
        chunked.read(false).expect("an answer").status,
        413,
        "in chunks"
    );
    assert_eq!(stage.gateway.metric("portcullis_revocations", &[]), 1.0);
}

#[test]
fn no_other_origin_may_read_or_change_anything() {
    let stage = Stage::new();
    for request in [
        Request::get("/api/status"),
        Request::get("/metrics"),
        Request::new("OPTIONS", "/api/revocations").header("Access-Control-Request-Method", "POST"),
        Request::new("POST", "/api/revocations").json(&json!({"jti": "j", "issuer": "nobody"})),
    ] {
        let response = request
            .clone()
            .header("Origin", "https://evil.example")
            .send(stage.gateway.admin);
        let cors = response
            .headers
            .iter()
            .find(|(name, _)| name.to_lowercase().starts_with("access-control-"));
        assert_eq!(cors, None, "{request:?}");
        if format!("{request:?}").contains("OPTIONS") {
            assert!(response.status >= 400, "{request:?}");
        }
    }
}

#[test]
fn wrong_methods_and_paths_are_said_so() {
    let stage = Stage::new();
    for (method, path, status) in [
        ("POST", "/metrics", 405),
        ("PUT", "/api/revocations", 405),
        ("GET", "/api/explain", 405),
        ("GET", "/api/revocations/x", 405),
        ("DELETE", "/api/revocations", 405),
        ("GET", "/api/", 404),
        ("GET", "/debug", 404),
        ("GET", "/metrics/", 404),
        ("GET", "//metrics", 404),
        ("HEAD", "/healthz", 200),
    ] {
        let mut connection = Connection::open(stage.gateway.admin);
        connection.send(&Request::new(method, path).bytes("localhost"));
        let response = connection.read(method == "HEAD").expect("an answer");
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.header("allow").is_some(),
            status == 405,
            "{method} {path}"
        );
    }
}

// T148
#[test]
fn the_public_listener_serves_nothing_of_the_admin_listener() {
    let stage = Stage::with("", "path = \"/orders/*\"\nupstream = \"api\"");
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/status",
        "/api/revocations",
        "/api/explain",
        "/admin",
        "/debug/pprof",
    ] {
        let response = stage.gateway.get(path, &token(json!({})));
        assert_eq!(
            (response.status, response.reason().as_str()),
            (404, "route_unknown"),
            "{path}"
        );
    }
    let body = json!({"jti": "j", "issuer": "corp"});
    let posted = Request::new("POST", "/api/revocations")
        .json(&body)
        .send(stage.gateway.public);
    assert_eq!(posted.status, 404);
    assert_eq!(stage.gateway.metric("portcullis_revocations", &[]), 0.0);
    assert_eq!(stage.upstream.count(), 0);
}

fn explain(gateway: &Gateway, body: &Value) -> Value {
    let response = gateway.admin_post("/api/explain", body);
    assert_eq!(response.status, 200, "{body}: {}", response.text());
    response.json()
}

fn explained(explanation: &Value) -> (&str, &str) {
    let word = |name: &str| explanation[name].as_str().unwrap_or_default();
    (word("outcome"), word("reason"))
}

#[test]
fn explain_says_what_the_gateway_would_do() {
    let stage = Stage::with(
        "",
        "path = \"/orders/*\"\nmethods = [\"GET\"]\nupstream = \"api\"\nscopes = [\"orders:read\"]",
    );
    let gateway = &stage.gateway;
    let (good, url) = (token(json!({})), "http://localhost/orders/1");
    let forged = Signer::new("ES256").sign(KID, &claims());
    for (what, body, expected) in [
        (
            "good",
            json!({"token": good, "method": "GET", "url": url}),
            ("admitted", ""),
        ),
        ("without url", json!({"token": good}), ("admitted", "")),
        (
            "a path alone",
            json!({"token": good, "url": "/orders/1"}),
            ("admitted", ""),
        ),
        (
            "expired",
            json!({"token": token(json!({"exp": now() - 60})), "url": url}),
            ("rejected", "token_expired"),
        ),
        (
            "forged",
            json!({"token": forged, "url": url}),
            ("rejected", "signature_invalid"),
        ),
        (
            "opaque",
            json!({"token": "opaque", "url": url}),
            ("rejected", "token_opaque"),
        ),
        (
            "scope",
            json!({"token": token(json!({"scope": "x"})), "url": url}),
            ("rejected", "scope_insufficient"),
        ),
        (
            "route",
            json!({"token": good, "url": "/x"}),
            ("rejected", "route_unknown"),
        ),
        (
            "method",
            json!({"token": good, "url": url, "method": "POST"}),
            ("rejected", "method_not_allowed"),
        ),
    ] {
        let explanation = explain(gateway, &body);
        assert_eq!(explained(&explanation), expected, "{what}: {explanation}");
        let signature = body["token"]
            .as_str()
            .unwrap()
            .rsplit_once('.')
            .map_or("-", |(_, signature)| signature);
        assert!(
            !explanation.to_string().contains(signature) || signature == "-",
            "{what}: the signature is printed"
        );
    }
    assert_eq!(
        gateway
            .admin_post(
                "/api/revocations",
                &json!({"jti": "token-1", "issuer": "corp"})
            )
            .status,
        201
    );
    let explanation = explain(gateway, &json!({"token": good, "url": url}));
    assert_eq!(
        explained(&explanation),
        ("rejected", "token_revoked"),
        "{explanation}"
    );
    let count = gateway.metric("portcullis_rejections_total", &[]);
    assert_eq!(count, 0.0, "a question is no request");
    assert!(!gateway.log_text().contains(&good));
}

#[test]
fn a_wrong_question_is_400_and_names_the_member() {
    let stage = Stage::new();
    for (member, body) in [
        ("token", json!({})),
        ("token", json!({"token": ""})),
        ("token", json!({"token": 1})),
        ("method", json!({"token": "x", "url": "/", "method": "G T"})),
        ("url", json!({"token": "x", "url": "not a url"})),
        ("url", json!({"token": "x", "url": 7})),
        ("extra", json!({"token": "x", "extra": 1})),
    ] {
        let response = stage.gateway.admin_post("/api/explain", &body);
        assert_eq!(
            (response.status, &response.json()["member"]),
            (400, &json!(member)),
            "{body}"
        );
    }
}

#[test]
fn status_shows_what_readiness_knows_and_more() {
    let stage = Stage::new();
    assert_eq!(stage.gateway.get("/", &token(json!({}))).status, 200);
    let ready = stage.gateway.admin_get("/readyz").json();
    let status = stage.gateway.admin_get("/api/status").json();
    assert_eq!(ready["status"], "ok");
    for document in [&ready, &status] {
        assert_eq!(document["status"], "ok");
        assert_eq!(document["issuers"][0]["name"], "corp", "{document}");
        assert!(
            document["issuers"][0]["age_seconds"].is_number(),
            "{document}"
        );
        assert!(document["revocation_store"].is_object(), "{document}");
    }
    assert_eq!(status["verified_cache_entries"], 1, "{status}");
    let page = stage.gateway.admin_get("/");
    assert_eq!(page.status, 200);
    assert_eq!(stage.gateway.admin_get("/healthz").status, 200);
}

#[test]
fn readiness_falls_at_once_when_draining_while_requests_are_still_served() {
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\ndrain_delay = \"1h\"";
    let stage = Stage::with_all(server, "", ROUTE);
    stage.gateway.signal("TERM");
    eventually("it is draining", || {
        let response = stage.gateway.admin_get("/readyz");
        response.status == 503 && response.json()["status"] == "draining"
    });
    assert_eq!(
        stage.gateway.admin_get("/healthz").status,
        200,
        "the process lives"
    );
    assert_eq!(stage.gateway.get("/", &token(json!({}))).status, 200);
    stage.gateway.signal("TERM");
}
