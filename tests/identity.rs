//! What the upstream learns of the caller: the identity headers and `Authorization`.

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
use support::{AUDIENCE, ISSUER, Request, Stage, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const NONE: [&str; 0] = [];

/// The values of that header which the upstream gets with that token.
fn received(stage: &Stage, token: &str, name: &str) -> Vec<String> {
    let answer = stage.gateway.get("/", token);
    assert_eq!(answer.outcome(), "200");
    stage
        .upstream
        .last()
        .all(name)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_default_headers_say_subject_issuer_client_and_scopes() {
    let stage = Stage::new();
    let spoofed = [
        "X-Auth-Subject",
        "X_Auth_Subject",
        "x.auth.issuer",
        "XAuthClient",
        "X-Auth--Scopes",
    ];
    let request = spoofed.iter().fold(
        Request::get("/").bearer(&token(json!({}))),
        |request, name| request.header(name, "forged"),
    );
    assert_eq!(stage.gateway.send(&request).outcome(), "200");
    let received = stage.upstream.last();
    assert_eq!(received.all("x-auth-subject"), ["alice"]);
    assert_eq!(received.all("x-auth-issuer"), [ISSUER]);
    assert_eq!(received.all("x-auth-client"), ["web"]);
    assert_eq!(received.all("x-auth-scopes"), ["orders:read profile"]);
    assert!(
        !received
            .headers
            .iter()
            .any(|(_, value)| value.contains("forged")),
        "{received:?}"
    );
}

#[test]
fn nothing_is_said_of_what_the_token_does_not_say() {
    let stage = Stage::new();
    let bare = json!({"sub": null, "client_id": null, "scope": null});
    for changes in [
        bare.clone(),
        json!({"sub": "", "client_id": "", "scope": ""}),
        json!({"sub": "", "client_id": [7], "scope": []}),
    ] {
        let request = Request::get("/")
            .bearer(&token(changes.clone()))
            .header("X-Auth-Subject", "forged");
        assert_eq!(stage.gateway.send(&request).outcome(), "200");
        for name in ["x-auth-subject", "x-auth-client", "x-auth-scopes"] {
            assert_eq!(stage.upstream.last().all(name), NONE, "{name}: {changes}");
        }
        assert_eq!(stage.upstream.last().all("x-auth-issuer"), [ISSUER]);
    }
}

// T59, T60
#[test]
fn a_subject_can_neither_break_out_of_its_header_nor_pass_for_another() {
    let stage = Stage::new();
    for (subject, expected) in [
        ("alice", "alice"),
        ("a\r\nX-Admin: 1", "a%0D%0AX-Admin: 1"),
        ("a\r\n\r\nGET / HTTP/1.1", "a%0D%0A%0D%0AGET / HTTP/1.1"),
        ("a\nb", "a%0Ab"),
        ("nul\u{0}", "nul%00"),
        ("tab\tbed", "tab%09bed"),
        ("del\u{7f}", "del%7F"),
        ("Zoë", "Zo%C3%AB"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("\u{2028}", "%E2%80%A8"),
        ("100%", "100%25"),
        ("a%0Ab", "a%250Ab"),
        (" admin", "%20admin"),
        ("admin ", "admin%20"),
        (" ", "%20"),
        ("a  b", "a%20%20b"),
        ("a b", "a b"),
        ("a,b", "a,b"),
        ("\"quoted\"\\", "\"quoted\"\\"),
        ("auth0|5f7c", "auth0|5f7c"),
    ] {
        let values = received(&stage, &token(json!({"sub": subject})), "x-auth-subject");
        assert_eq!(values, [expected], "{subject:?}");
        assert_eq!(stage.upstream.last().all("x-admin"), NONE, "{subject:?}");
    }
}

// T61
#[test]
fn claims_become_headers_by_their_path_and_type() {
    let headers = "[identity.headers]\nX-Value = \"value\"\nX-Nested = \"realm_access.roles\"\nX-Dotted = \"https://acme.example/tenant\"\n\
                   X-Audience = \"audience\"\nX-User = \"sub\"";
    let stage = Stage::with_all(headers, "", ROUTE);
    for (value, expected) in [
        (json!("text"), Some("text")),
        (json!(42), Some("42")),
        (json!(-1.5), Some("-1.5")),
        (json!(true), Some("true")),
        (json!(false), Some("false")),
        (json!(["a", "b c"]), Some("a,b c")),
        (json!(["a,admin", "b"]), Some("a%2Cadmin,b")),
        (json!(["a%2Cb"]), Some("a%252Cb")),
        (
            json!(["Zoë", "a\r\nX-Admin: 1"]),
            Some("Zo%C3%AB,a%0D%0AX-Admin: 1"),
        ),
        (json!([" a", "b "]), Some("%20a,b%20")),
        (json!([1, true, "x"]), Some("1,true,x")),
        (json!("a,b"), Some("a,b")),
        (json!(""), None),
        (json!([]), None),
        (json!({"a": "b"}), None),
    ] {
        let values = received(&stage, &token(json!({"value": value})), "x-value");
        assert_eq!(values.first().map(String::as_str), expected, "{value}");
        assert!(values.len() <= 1, "{value}: {values:?}");
    }
    let rows: [(Value, &str, &[&str]); 7] = [
        (
            json!({"realm_access": {"roles": ["clerk", "user"]}}),
            "x-nested",
            &["clerk,user"],
        ),
        (
            json!({"realm_access.roles": "literal", "realm_access": {"roles": ["nested"]}}),
            "x-nested",
            &["literal"],
        ),
        (json!({"realm_access": ["roles"]}), "x-nested", &[]),
        (
            json!({"https://acme.example/tenant": "acme"}),
            "x-dotted",
            &["acme"],
        ),
        (
            json!({"aud": ["x,y", AUDIENCE]}),
            "x-audience",
            &["x%2Cy,https://api.example.com"],
        ),
        (json!({}), "x-user", &["alice"]),
        // A table of one's own replaces the default.
        (json!({}), "x-auth-subject", &[]),
    ];
    for (changes, name, expected) in rows {
        assert_eq!(
            received(&stage, &token(changes.clone()), name),
            expected,
            "{name}: {changes}"
        );
    }
}

// T67
#[test]
fn the_names_of_default_headers_stay_reserved_when_others_replace_them() {
    let stage = Stage::with_all("[identity.headers]\nRemote_User = \"sub\"", "", ROUTE);
    let request = [
        "X-Auth-Subject",
        "X-Auth-Issuer",
        "Remote-User",
        "remote.user",
        "REMOTE_USER",
    ]
    .iter()
    .fold(
        Request::get("/").bearer(&token(json!({}))),
        |request, name| request.header(name, "forged"),
    );
    assert_eq!(stage.gateway.send(&request).outcome(), "200");
    let received = stage.upstream.last();
    assert!(
        !received.headers.iter().any(|(_, value)| value == "forged"),
        "{received:?}"
    );
    assert_eq!(received.all("remote_user"), ["alice"]);
}

#[test]
fn the_issuers_section_says_which_claims_are_meant() {
    let issuer = "subject_claim = \"user.id\"\nclient_claims = [\"app\", \"azp\"]\nscope_claims = [\"permissions\", \"scope\"]";
    let stage = Stage::with(issuer, ROUTE);
    let rich = token(
        json!({"user": {"id": "u-1"}, "app": "app-1", "azp": "azp-1", "permissions": ["a:read", "b c"]}),
    );
    for (name, expected) in [
        ("x-auth-subject", "u-1"),
        ("x-auth-client", "app-1"),
        ("x-auth-scopes", "a:read b%20c"),
    ] {
        assert_eq!(received(&stage, &rich, name), [expected], "{name}");
    }
    let poor = token(json!({"azp": "azp-1"}));
    for (name, expected) in [
        ("x-auth-subject", None),
        ("x-auth-client", Some("azp-1")),
        ("x-auth-scopes", Some("orders:read profile")),
    ] {
        assert_eq!(
            received(&stage, &poor, name).first().map(String::as_str),
            expected,
            "{name}"
        );
    }
}

#[test]
fn the_token_goes_on_unless_it_is_kept_back() {
    let routes = "path = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/back/*\"\nupstream = \"api\"\nforward_token = false\n\
                  [[route]]\npath = \"/on/*\"\nupstream = \"api\"\nforward_token = true";
    let good = token(json!({}));
    let value = format!("bearer  {good}");
    for (global, expected) in [
        ("true", [true, false, true]),
        ("false", [false, false, true]),
    ] {
        let stage = Stage::with_all(&format!("[identity]\nforward_token = {global}"), "", routes);
        for (target, goes_on) in ["/", "/back/x", "/on/x"].into_iter().zip(expected) {
            let answer = stage
                .gateway
                .send(&Request::get(target).header("Authorization", &value));
            assert_eq!(answer.outcome(), "200");
            let received = stage.upstream.last();
            assert_eq!(
                received.all("authorization") == [&*value],
                goes_on,
                "{target}, {global}: {received:?}"
            );
            assert_eq!(
                received.header("authorization").is_some(),
                goes_on,
                "{target}, {global}"
            );
            assert_eq!(
                received.all("x-auth-subject"),
                ["alice"],
                "{target}, {global}"
            );
        }
    }
}

#[test]
fn a_subject_or_client_that_is_a_number_or_a_boolean_is_told_as_json() {
    let stage = Stage::with("subject_claim = \"oid\"\nclient_claims = [\"app\"]", ROUTE);
    for (value, expected) in [
        (json!(1001), vec!["1001"]),
        (json!(1.5), vec!["1.5"]),
        (json!(true), vec!["true"]),
        (json!("1001"), vec!["1001"]),
        (json!([1001]), vec![]),
        (json!({"id": 1001}), vec![]),
        (json!(null), vec![]),
    ] {
        let token = token(json!({"oid": value, "app": value}));
        for name in ["x-auth-subject", "x-auth-client"] {
            assert_eq!(received(&stage, &token, name), expected, "{name}: {value}");
        }
    }
}

#[test]
fn scopes_of_an_array_can_neither_be_split_nor_be_empty() {
    let stage = Stage::with("", ROUTE);
    for (value, expected) in [
        (json!(["a", "", "b,c", "d e", ""]), vec!["a b%2Cc d%20e"]),
        (json!([""]), vec![]),
        (json!("a b,c"), vec!["a b,c"]),
    ] {
        let token = token(json!({"scope": value}));
        assert_eq!(
            received(&stage, &token, "x-auth-scopes"),
            expected,
            "{value}"
        );
    }
}
