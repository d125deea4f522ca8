//! What settings make of an answer: `error_detail`, `docs_url`, `realm`, and the headers that belong to one status.

use serde_json::json;

use super::text;
use crate::support::{KID, Reply, Request, Response, Server, Stage, corp, now, token};

const ROUTES: &str = r#"
name = "orders"
path = "/orders/*"
methods = ["GET", "PUT"]
upstream = "api"
scopes = ["orders:write"]
[[upstream]]
name = "silent"
servers = ["http://127.0.0.1:1"]
[[route]]
name = "silent"
path = "/silent"
upstream = "silent"
auth = "none"
"#;

fn stage(server: &str) -> Stage {
    let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{server}");
    Stage::with_all(&top, "", ROUTES)
}

/// One request for each class, with the status, the class's name and the challenge's error.
fn one_of_each_class() -> Vec<(Request, u16, &'static str, &'static str)> {
    let expired = token(json!({"exp": now() - 100, "iat": now() - 200}));
    let good = token(json!({}));
    let stranger = corp().sign("unknown", &crate::support::claims());
    vec![
        (Request::get("/nowhere"), 404, "request", ""),
        (Request::new("POST", "/orders/1"), 405, "request", ""),
        (Request::get("/orders/a%2Fb"), 400, "request", ""),
        (Request::get("/orders/1"), 401, "credential", "none"),
        (
            Request::get("/orders/1").bearer(&expired),
            401,
            "credential",
            "invalid_token",
        ),
        (
            Request::get("/orders/1").bearer("a b"),
            400,
            "credential",
            "invalid_request",
        ),
        (
            Request::get("/orders/1").bearer(&good),
            403,
            "permission",
            "insufficient_scope",
        ),
        (
            Request::get("/orders/1").bearer(&stranger),
            503,
            "dependency",
            "",
        ),
        (Request::get("/silent"), 502, "upstream", ""),
    ]
}

/// The words by which a reason could still be told.
const GIVEAWAYS: [&str; 9] = [
    "expired",
    "scope=",
    "slash",
    "route",
    "malformed",
    "scope ",
    "key",
    "path",
    "Bearer TOKEN",
];

fn assert_minimal(response: &Response, status: u16, class: &str, error: &str) {
    let problem = response.json();
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(text(&problem, "reason"), class, "{response:?}");
    assert_eq!(
        text(&problem, "type"),
        format!("https://docs.example/rejections#{class}")
    );
    assert_eq!(problem["status"], status);
    let title = text(&problem, "title");
    assert_eq!(
        (text(&problem, "detail"), text(&problem, "hint")),
        (title, title)
    );
    let challenge = response.header("www-authenticate").unwrap_or_default();
    match error {
        "" => assert_eq!(challenge, ""),
        "none" => assert_eq!(challenge, "Bearer realm=\"orders api\""),
        _ => {
            let start = format!(
                "Bearer realm=\"orders api\", error=\"{error}\", error_description=\"{title}\""
            );
            assert!(challenge.starts_with(&start), "{challenge}");
        }
    }
    let body = response.text();
    for word in GIVEAWAYS.into_iter().filter(|word| *word != "scope=") {
        assert!(!body.contains(word), "{word}: {body}");
    }
}

/// T150
#[test]
fn minimal_answers_name_the_class_and_nothing_more() {
    let stage = stage(
        "realm = \"orders api\"\nerror_detail = \"minimal\"\ndocs_url = \"https://docs.example/rejections\"",
    );
    // From here on the provider is away, so that an unknown key cannot be looked for.
    stage.provider.answer(|_| Reply::Status(500));
    for (request, status, class, error) in one_of_each_class() {
        let response = stage.gateway.send(&request);
        assert_minimal(&response, status, class, error);
    }
}

/// What the operator sees stays whole.
#[test]
fn minimal_answers_are_logged_and_counted_with_their_reason() {
    let stage = stage("error_detail = \"minimal\"");
    let response = stage.gateway.send(&Request::get("/orders/1"));
    assert_eq!(response.reason(), "credential");
    let record = stage
        .gateway
        .record(response.header("x-request-id").unwrap());
    assert_eq!(record["reason"], "token_missing");
    let labels = [
        ("route", "orders"),
        ("issuer", "none"),
        ("reason", "token_missing"),
    ];
    assert!(stage.gateway.metric("portcullis_rejections_total", &labels) > 0.5);
}

#[test]
fn full_answers_link_to_the_reason_in_docs_url() {
    let stage = stage("docs_url = \"https://docs.example/rejections\"");
    let problem = stage.gateway.send(&Request::get("/orders/1")).json();
    assert_eq!(
        text(&problem, "type"),
        "https://docs.example/rejections#token_missing"
    );
}

/// T123
#[test]
fn a_405_names_the_methods_of_that_path_and_get_brings_head() {
    let stage = stage("");
    let response = stage.gateway.send(&Request::new("DELETE", "/orders/1"));
    assert_eq!(response.status, 405);
    let mut allowed: Vec<&str> = response.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
    for method in ["TRACE", "CONNECT"] {
        let target = if method == "CONNECT" {
            "api.example.com:443"
        } else {
            "/orders/1"
        };
        let response = stage
            .gateway
            .send(&Request::new(method, target).header("Host", "api.example.com:443"));
        assert_eq!(
            (response.status, response.all("allow").len()),
            (405, 1),
            "{method}"
        );
        let names_the_routes = response.header("allow") == Some("GET, HEAD, PUT");
        assert_eq!(names_the_routes, method == "TRACE", "{response:?}");
    }
}

#[test]
fn retry_after_is_the_cooldown_of_the_issuers_keys() {
    let stage = Stage::with(
        "[issuer.jwks]\nwait = \"50ms\"\ncooldown = \"7s\"",
        "path = \"/*\"\nupstream = \"api\"",
    );
    stage.provider.answer(|_| Reply::Status(500));
    let stranger = corp().sign("unknown", &crate::support::claims());
    let response = stage.gateway.get("/", &stranger);
    assert_eq!(response.reason(), "keys_unavailable");
    assert_eq!(response.all("retry-after"), ["7"]);
    assert_eq!(response.all("www-authenticate"), [""; 0]);
}

/// The client's name for a request is kept where it is harmless.
#[test]
fn a_rejection_carries_the_clients_request_id_or_a_new_one() {
    let stage = Stage::new();
    let id_of = |given: &str| {
        let response = stage
            .gateway
            .send(&Request::get("/").header("X-Request-Id", given));
        assert_eq!(
            response.json()["request_id"],
            response.header("x-request-id").unwrap()
        );
        response.header("x-request-id").unwrap().to_owned()
    };
    for kept in ["a", "Ab9._-", &"x".repeat(128)] {
        assert_eq!(id_of(kept), kept);
    }
    for replaced in ["", "a b", "a\"}", &"x".repeat(129), "ü"] {
        assert_ne!(id_of(replaced), replaced);
    }
}

/// T144: the answer comes although the client is still sending, and can be read.
#[test]
fn a_rejection_reaches_a_client_that_is_still_sending() {
    let stage = Stage::new();
    let mut connection = crate::support::Connection::open(stage.gateway.public);
    assert!(connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc"));
    let response = connection.read(false).expect("an answer");
    assert_eq!(
        (response.status, response.reason().as_str()),
        (401, "token_missing")
    );
    assert_eq!(stage.upstream.count(), 0);
}

/// T101: a provider that is away is no fault of the token: there is no challenge.
#[test]
fn a_503_says_nothing_about_the_token() {
    let provider = Server::start(|_| Reply::Status(500));
    let upstream = Server::echo();
    let text = crate::support::configuration(
        "",
        &provider,
        "",
        &upstream,
        "path = \"/*\"\nupstream = \"api\"",
    );
    let gateway = crate::support::Gateway::start_unready(&text);
    let response = gateway.get("/", &corp().sign(KID, &crate::support::claims()));
    assert_eq!(
        (response.status, response.reason().as_str()),
        (503, "keys_unavailable")
    );
    assert_eq!(response.all("www-authenticate"), [""; 0]);
    assert!(
        response.json()["detail"]
            .as_str()
            .unwrap()
            .contains("says nothing about the token")
    );
}
