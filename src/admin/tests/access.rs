//! Who may ask, what health says, and what attackers get.

use std::time::{Duration, Instant};

use super::*;
use crate::tls::{KeyPair, ServerTls};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn metrics_and_health_are_open_and_the_rest_needs_the_credential() {
    let gateway = Gateway::start(false).await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    for path in ["/", "/api/status", "/api/revocations", "/nothing"] {
        let reply = gateway.get(path).await;
        assert_eq!(reply.status, 401, "{path}");
        assert!(reply.head.contains("www-authenticate: bearer"));
        assert!(reply.head.contains("cache-control: no-store"));
    }
    let right = "Authorization: Bearer s3cret\r\n";
    assert_eq!(
        gateway.send("GET", "/api/status", right, "").await.status,
        200
    );
    assert_eq!(gateway.send("GET", "/nothing", right, "").await.status, 404);
    let twice = format!("{right}{right}");
    assert_eq!(
        gateway.send("GET", "/api/status", &twice, "").await.status,
        401
    );
}

#[tokio::test]
async fn on_a_loopback_address_no_credential_is_needed() {
    let gateway = Gateway::start(true).await;
    for path in ["/", "/api/status", "/api/revocations"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn guessing_keeps_its_address_out_for_a_second_with_the_right_credential_too() {
    let gateway = Gateway::start(false).await;
    let wrong = "Authorization: Bearer guess\r\n";
    let mut last = gateway.send("GET", "/api/status", wrong, "").await;
    assert_eq!(last.status, 401);
    // However slow the machine: ten a second are let through, so that a long enough burst is limited.
    for _ in 0..500 {
        last = gateway.send("GET", "/api/status", wrong, "").await;
        if last.status == 429 {
            break;
        }
    }
    assert_eq!(last.status, 429);
    assert!(last.head.contains("retry-after: 1"));
    assert_eq!(last.json()["reason"], "rate_limited");
    let right = "Authorization: Bearer s3cret\r\n";
    let mut was_kept_out = false;
    let begun = Instant::now();
    loop {
        let status = gateway.send("GET", "/api/status", right, "").await.status;
        if status == 200 {
            break;
        }
        assert_eq!(status, 429);
        was_kept_out = true;
        assert!(begun.elapsed() < PATIENCE, "it never passed again");
    }
    assert!(was_kept_out, "the right one was compared among the guesses");
    let metrics = gateway.get("/metrics").await.body;
    let counted =
        r#"portcullis_rejections_total{issuer="none",reason="rate_limited",route="none"}"#;
    assert!(metrics.contains(counted), "{metrics}");
}

/// T149: a page that rebinds its name to our address sends its own name.
#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let gateway = Gateway::start(true).await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: evil.example:9090", 403),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example", 403),
        (
            "GET /api/status HTTP/1.1\r\nHost: localhost.evil.example",
            403,
        ),
        (
            "GET /api/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            403,
        ),
        (
            "GET http://evil.example/api/status HTTP/1.1\r\nHost: localhost",
            403,
        ),
        ("GET /api/status HTTP/1.1", 403),
        ("GET /api/status HTTP/1.1\r\nHost: [::1]:9090", 200),
        ("GET /api/status HTTP/1.1\r\nHost: 10.1.2.3", 200),
        (
            "GET /api/status HTTP/1.1\r\nHost: Portcullis.internal:9090",
            200,
        ),
    ] {
        let reply = gateway
            .raw(&format!("{head}\r\nConnection: close\r\n\r\n"))
            .await;
        assert_eq!(reply.status, status, "{head}");
    }
}

/// T149: what a foreign page can send without asking first is no JSON, and what asks first gets no leave.
#[tokio::test]
async fn a_foreign_page_can_change_and_read_nothing() {
    let gateway = Gateway::start(true).await;
    let body = r#"{"subject":"alice","issuer":"corp"}"#;
    for content_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain; application/json\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
    ] {
        let reply = gateway
            .send("POST", "/api/revocations", content_type, body)
            .await;
        assert_eq!(reply.status, 415, "{content_type}");
    }
    let deletion = gateway.send("DELETE", "/api/revocations/00", "", "x").await;
    assert_eq!(deletion.status, 415);
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    for (method, headers) in [
        ("OPTIONS", preflight),
        ("GET", "Origin: http://evil.example\r\n"),
    ] {
        let reply = gateway.send(method, "/api/revocations", headers, "").await;
        assert!(!reply.head.contains("access-control"), "{}", reply.head);
    }
    let list = gateway.get("/api/revocations").await.json();
    assert_eq!(list["revocations"], json!([]));
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_refused_with_and_without_a_length() {
    let gateway = Gateway::start(true).await;
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(70_000));
    let json_type = "Content-Type: application/json\r\n";
    let reply = gateway
        .send("POST", "/api/revocations", json_type, &large)
        .await;
    assert_eq!(reply.status, 413);
    let chunked = format!(
        "POST /api/revocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{json_type}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(gateway.raw(&chunked).await.status, 413);
}

#[tokio::test]
async fn a_wrong_method_says_which_are_allowed() {
    let gateway = Gateway::start(true).await;
    for (method, path, allow) in [
        ("POST", "/metrics", "allow: get, head"),
        ("DELETE", "/api/revocations", "allow: get, head, post"),
        ("GET", "/api/revocations/00", "allow: delete"),
        ("GET", "/api/explain", "allow: post"),
    ] {
        let reply = gateway.send(method, path, "", "").await;
        assert_eq!(reply.status, 405, "{path}");
        assert!(reply.head.contains(allow), "{}", reply.head);
        assert_eq!(
            reply.json()["type"],
            "urn:portcullis:admin:method_not_allowed"
        );
    }
    let head = gateway.send("HEAD", "/healthz", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process_and_its_keys() {
    for (phase, usable, tried, status, word) in [
        (Phase::Starting, 2, true, 503, "starting"),
        (Phase::Running, 0, false, 503, "starting"),
        (Phase::Running, 2, true, 200, "ok"),
        (Phase::Running, 1, true, 200, "degraded"),
        (Phase::Running, 0, true, 503, "degraded"),
        (Phase::Draining, 2, true, 503, "draining"),
    ] {
        let gateway = Gateway::with(true, phase, usable, tried).await;
        let reply = gateway.get("/readyz").await;
        let document = reply.json();
        assert_eq!((reply.status, &document["status"]), (status, &json!(word)));
        assert_eq!(document["issuers"][0]["name"], "corp");
        assert_eq!(document["issuers"][0]["age_seconds"], 5);
        let store = json!({
            "kind": "memory", "loaded": true, "stale": false, "up": true, "fault": null, "lag_seconds": 0, "entries": 0,
        });
        assert_eq!(document["revocation_store"], store);
        assert_eq!(gateway.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_scrape_shows_the_values_of_this_moment() {
    let gateway = Gateway::start(true).await;
    let body = json!({"jti": "j-1", "issuer": "corp"});
    assert_eq!(gateway.post("/api/revocations", &body).await.status, 201);
    let reply = gateway.get("/metrics").await;
    assert!(
        reply
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    for line in [
        "portcullis_verified_cache_entries 42",
        r#"portcullis_revocations{kind="jti"} 1"#,
        r#"portcullis_revocations{kind="token"} 0"#,
        r#"portcullis_revocation_checks_total{result="clear"} 0"#,
        "portcullis_revocation_store_up 1",
        r#"portcullis_connections{listener="admin"} 1"#,
    ] {
        assert!(
            reply.body.lines().any(|one| one == line),
            "{line}\n{}",
            reply.body
        );
    }
    let status = gateway.get("/api/status").await.json();
    assert_eq!(status["revocations"]["jti"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn explain_hands_on_what_a_server_would_see() {
    let gateway = Gateway::start(true).await;
    let reply = gateway
        .post(
            "/api/explain",
            &json!({"token": "abc", "method": "POST", "url": "https://api.example.com/orders?x=1"}),
        )
        .await;
    assert_eq!(reply.status, 200);
    let wanted = json!({"length": 3, "request": ["POST", "/orders?x=1", "api.example.com"]});
    assert_eq!(reply.json(), wanted);
    let bare = gateway.post("/api/explain", &json!({"token": "abc"})).await;
    assert_eq!(bare.json()["request"], Value::Null);
    for (body, member) in [
        (json!({}), "token"),
        (json!({"token": ""}), "token"),
        (json!({"token": "a", "url": "not a url"}), "url"),
        (json!({"token": "a", "url": "/", "method": "G T"}), "method"),
        (json!({"token": "a", "extra": 1}), "extra"),
        (json!([]), "body"),
    ] {
        let reply = gateway.post("/api/explain", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.json()["member"], member, "{body}");
    }
}

#[tokio::test]
async fn the_end_closes_idle_connections() {
    let gateway = Gateway::start(true).await;
    let mut idle = TcpStream::connect(gateway.address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let address = gateway.address;
    drop(gateway);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(TcpStream::connect(address).await.is_err());
}

/// TLS with a certificate that was good once and expires at the beginning of that year.
fn tls_until(year: i32) -> ServerTls {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).unwrap().pem();
    let (certificate, key) = (certificate.as_bytes(), key.serialize_pem());
    let once = UnixTime::from_seconds(1_000_000_000);
    let key_pair = KeyPair::read(certificate, key.as_bytes(), once).unwrap();
    ServerTls::new(key_pair, Vec::new(), None).unwrap()
}

#[tokio::test]
async fn an_expired_certificate_degrades_but_takes_no_traffic_away() {
    // It is 2030.
    for (year, word) in [(2031, "ok"), (2029, "degraded")] {
        let mut config = config();
        config.server.tls = Some(tls_until(year));
        let fake = Fake::new(config, Phase::Running, 2, true);
        let gateway = Gateway::running(fake, true).await;
        let reply = gateway.get("/readyz").await;
        let document = reply.json();
        assert_eq!((reply.status, &document["status"]), (200, &json!(word)));
        assert_eq!(
            document["tls_certificates"][0]["names"],
            json!(["a.example"])
        );
    }
}
