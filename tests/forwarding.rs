//! What reaches an upstream of an admitted request: names that only the gateway may set, and hop-by-hop headers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::json;
use support::{Connection, Request, Stage, token};

/// A guarded, an open and an optional route, and an identity header of the configuration's own.
const ROUTES: &str = r#"
path = "/guarded/*"
upstream = "api"
[[route]]
path = "/open/*"
upstream = "api"
auth = "none"
[[route]]
path = "/optional/*"
upstream = "api"
auth = "optional"
[[route]]
path = "/restricted/*"
upstream = "api"
methods = ["GET", "POST"]
auth = "none"
[identity.headers]
X-Auth-Subject = "sub"
X-Tenant = "tenant"
"#;

const SPOOFED: [&str; 32] = [
    "X-Auth-Subject",
    "x_auth_subject",
    "X.Auth.Subject",
    "X--Auth-Subject",
    "XAUTHSUBJECT",
    "X-Auth_Subject",
    "X!Auth~Subject",
    "X-Auth-Issuer",
    "x_auth_issuer",
    "X-Auth-Client",
    "X.Auth.Client",
    "X-Auth-Scopes",
    "x_auth_scopes",
    "X-Tenant",
    "x_tenant",
    "XTenant",
    "Forwarded",
    "X-Forwarded-For",
    "x_forwarded_for",
    "X-Forwarded-Host",
    "X.Forwarded.Host",
    "X-Forwarded-Proto",
    "X_Forwarded-Proto",
    "X-Original-URL",
    "x_original_url",
    "X-Rewrite-URL",
    "X.Rewrite.URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Method",
    "x_forwarded_method",
];

fn stage() -> Stage {
    Stage::with("", ROUTES)
}

// T115, T118
#[test]
fn reserved_headers_of_a_client_reach_no_upstream_in_any_spelling() {
    let stage = stage();
    for (target, token) in [
        ("/guarded/1", Some(token(json!({})))),
        ("/open/1", None),
        ("/open/2", Some("whatever".to_owned())),
        ("/optional/1", None),
        ("/optional/2", Some(token(json!({"tenant": "acme"})))),
    ] {
        let spoof =
            |request: Request, name: &&str| request.header(name, &format!("spoofed {name}"));
        let mut request = SPOOFED.iter().fold(Request::get(target), spoof);
        if let Some(token) = &token {
            request = request.bearer(token);
        }
        assert_eq!(stage.gateway.send(&request).status, 200, "{target}");
        let received = stage.upstream.last();
        let spoofed: Vec<_> = received
            .headers
            .iter()
            .filter(|(_, value)| value.contains("spoofed"))
            .collect();
        assert!(spoofed.is_empty(), "{target}: {spoofed:?}");
        let subject = (token.is_some() && !target.starts_with("/open")).then_some("alice");
        assert_eq!(received.header("x-auth-subject"), subject, "{target}");
        let tenant = (target == "/optional/2").then_some("acme");
        assert_eq!(received.header("x-tenant"), tenant, "{target}");
    }
}

#[test]
fn default_identity_headers_tell_who_the_caller_is_and_break_out_of_nothing() {
    let stage = Stage::new();
    for (subject, written) in [
        ("alice", "alice"),
        ("Zo\u{eb}", "Zo%C3%AB"),
        ("a\r\nX-Admin: 1", "a%0D%0AX-Admin: 1"),
        ("100%", "100%25"),
        (" a  b ", "%20a%20%20b%20"),
    ] {
        let token = token(json!({"sub": subject, "scope": "a:read b"}));
        assert_eq!(stage.gateway.get("/", &token).status, 200, "{subject:?}");
        let received = stage.upstream.last();
        assert_eq!(received.all("x-auth-subject"), [written], "{subject:?}");
        assert_eq!(received.all("x-auth-issuer"), [support::ISSUER]);
        assert_eq!(received.all("x-auth-client"), ["web"]);
        assert_eq!(received.all("x-auth-scopes"), ["a:read b"]);
        assert!(received.header("x-admin").is_none(), "{subject:?}");
    }
}

// T113, T114
#[test]
fn connection_may_not_name_what_the_gateway_needs_or_sets() {
    let stage = stage();
    for (target, value) in [
        ("/open/1", "close, X-Auth-Subject"),
        ("/guarded/1", "close, X-Auth-Subject"),
        ("/guarded/1", "x_auth_subject"),
        ("/guarded/1", "X-Tenant"),
        ("/guarded/1", "X-Auth-Issuer"),
        ("/guarded/1", "Authorization"),
        ("/guarded/1", "AUTHORIZATION,close"),
        ("/open/1", "authorization"),
        ("/open/1", "host"),
        ("/open/1", "keep-alive,Content-Length"),
        ("/open/1", "X-Forwarded-For"),
        ("/open/1", "forwarded"),
        ("/open/1", "keep-alive\r\nConnection: Authorization"),
        ("/open/1", "X-Own\r\nAccept: */*\r\nconnection: ,, Host ,"),
    ] {
        let request = Request::get(target)
            .bearer(&token(json!({})))
            .header("Connection", value);
        let answer = stage.gateway.send(&request);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "request_malformed"),
            "{target} {value:?}"
        );
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn what_any_connection_line_names_goes_no_further() {
    let stage = stage();
    let request = Request::get("/open/1")
        .header("X-One", "1")
        .header("Connection", "keep-alive, x-one")
        .header("X-Two", "2")
        .header("X-Three", "3")
        .header("Connection", "X-TWO,")
        .header("X-Two", "again")
        .header("X-Kept", "4");
    assert_eq!(stage.gateway.send(&request).status, 200);
    let received = stage.upstream.last();
    for gone in ["x-one", "x-two", "connection"] {
        assert!(received.header(gone).is_none(), "{gone}: {received:?}");
    }
    assert_eq!(received.header("x-three"), Some("3"));
    assert_eq!(received.header("x-kept"), Some("4"));
}

// T134
#[test]
fn hop_by_hop_headers_and_upgrades_to_http2_go_no_further() {
    let stage = stage();
    let hops = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers, deflate"),
    ];
    let request = hops
        .iter()
        .fold(Request::get("/open/1"), |request, (name, value)| {
            request.header(name, value)
        });
    assert_eq!(
        stage.gateway.send(&request.header("Accept", "*/*")).status,
        200
    );
    let without_connection = hops[1..].iter();
    let request = without_connection.fold(Request::get("/open/2"), |request, (name, value)| {
        request.header(name, value)
    });
    assert_eq!(
        stage.gateway.send(&request.header("Accept", "*/*")).status,
        200
    );
    let received = stage.upstream.received();
    assert_eq!(received.len(), 2);
    for request in received {
        for (gone, _) in hops {
            assert!(request.header(gone).is_none(), "{gone}: {request:?}");
        }
        assert_eq!(request.header("accept"), Some("*/*"));
    }
}

// T117
#[test]
fn method_overrides_stop_at_routes_that_restrict_methods() {
    let stage = stage();
    let names = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "x_http_method_override",
    ];
    for (target, passes) in [("/restricted/1", false), ("/open/1", true)] {
        let request = names
            .iter()
            .fold(Request::new("POST", target), |request, name| {
                request.header(name, "DELETE")
            });
        assert_eq!(stage.gateway.send(&request).status, 200);
        let received = stage.upstream.last();
        for name in names {
            assert_eq!(received.header(name).is_some(), passes, "{target} {name}");
        }
    }
}

// T116
#[test]
fn trailers_with_reserved_names_are_dropped_and_others_passed() {
    let stage = stage();
    for target in ["/guarded/1", "/open/1"] {
        let head = Request::new("POST", target)
            .bearer(&token(json!({})))
            .header("Transfer-Encoding", "chunked")
            .header("Trailer", "X-Checksum, X-Auth-Subject, x_tenant, X-Forwarded-For, Authorization, Host, Content-Length")
            .bytes("gateway");
        let mut connection = Connection::open(stage.gateway.public);
        connection.send(&head);
        connection.send(
            b"3\r\nabc\r\n0\r\nX-Auth-Subject: admin\r\nx_tenant: evil\r\nX.Auth_Scopes: all\r\nX-Forwarded-For: 6.6.6.6\r\n\
            X-Original-URL: /admin\r\nAuthorization: Bearer evil\r\nHost: evil\r\nContent-Length: 99\r\nX-Checksum: good\r\n\r\n",
        );
        assert_eq!(connection.read(false).unwrap().status, 200, "{target}");
        let received = stage.upstream.last();
        assert_eq!(received.body, b"abc");
        let names: Vec<_> = received
            .trailers
            .iter()
            .map(|(name, _)| name.to_lowercase())
            .collect();
        assert_eq!(names, ["x-checksum"], "{target}");
    }
}

#[test]
fn authorization_goes_on_unless_the_configuration_says_otherwise() {
    let routes = "path = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/kept/*\"\nupstream = \"api\"\nforward_token = true\n\
        [[route]]\npath = \"/open/*\"\nupstream = \"api\"\nauth = \"none\"\n[identity]\nforward_token = false";
    let stage = Stage::with("", routes);
    let good = format!("Bearer {}", token(json!({})));
    for (target, given, sent) in [
        ("/", good.as_str(), None),
        ("/kept/", good.as_str(), Some(good.as_str())),
        ("/open/", "Basic dTpw", Some("Basic dTpw")),
        ("/open/", "Bearer \u{e9}, odd", Some("Bearer \u{e9}, odd")),
    ] {
        let answer = stage
            .gateway
            .send(&Request::get(target).header("Authorization", given));
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(
            stage.upstream.last().header("authorization"),
            sent,
            "{target} {given}"
        );
    }
}

#[test]
fn what_concerns_the_upstream_alone_passes_untouched() {
    let stage = stage();
    let sent = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1"),
        ("Cookie", "a=b"),
        ("Cookie", "c=d"),
        ("Accept-Encoding", "gzip"),
        ("X-Auth-Token", "not reserved"),
        ("X-Empty", ""),
    ];
    let request = sent
        .iter()
        .fold(Request::get("/open/1"), |request, (name, value)| {
            request.header(name, value)
        });
    assert_eq!(stage.gateway.send(&request).status, 200);
    let received = stage.upstream.last();
    for (name, value) in sent {
        assert!(received.all(name).contains(&value), "{name}: {received:?}");
    }
    assert_eq!(received.all("cookie").len(), 2);
    assert!(received.header("via").is_none());
}

#[test]
fn a_request_has_one_name_in_answer_and_upstream_request() {
    let stage = stage();
    let longest = "a".repeat(128);
    let too_long = "a".repeat(129);
    for (given, is_kept) in [
        (Some("Ab9._-"), true),
        (Some(longest.as_str()), true),
        (Some(too_long.as_str()), false),
        (Some("a b"), false),
        (Some("a\"}"), false),
        (Some("\u{e9}"), false),
        (Some(""), false),
        (None, false),
    ] {
        for (target, status) in [("/open/1", 200), ("/guarded/1", 401), ("/nowhere", 404)] {
            let mut request = Request::get(target);
            if let Some(given) = given {
                request = request.header("X-Request-Id", given);
            }
            let answer = stage.gateway.send(&request);
            assert_eq!(answer.status, status);
            let ids = answer.all("x-request-id");
            assert_eq!(ids.len(), 1, "{target} {given:?}");
            assert_eq!(given == Some(ids[0]), is_kept, "{target} {given:?}");
            if status == 200 {
                assert_eq!(stage.upstream.last().all("x-request-id"), ids, "{given:?}");
            } else {
                assert_eq!(answer.json()["request_id"], ids[0], "{given:?}");
            }
        }
    }
}
