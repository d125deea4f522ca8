//! Which kinds of token pass, by their `typ` and by their claims: "Kinds of token" of the contract.

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
use support::{KID, Stage, changed, claims, corp};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const OTHER: &str = "401 token_type_mismatch";

/// A token with that `typ` (null: none) and those changes of the claims.
fn typed(kind: &Value, changes: Value) -> String {
    let header = changed(json!({"alg": "ES256", "kid": KID}), json!({"typ": kind}));
    corp().sign_with_header(&header, &changed(claims(), changes))
}

fn check_types(stage: &Stage, rows: &[(Value, &str)]) {
    for (kind, expected) in rows {
        let outcome = stage.gateway.get("/", &typed(kind, json!({}))).outcome();
        assert_eq!(outcome, *expected, "typ {kind}");
    }
}

fn check_claims(stage: &Stage, rows: &[(Value, &str)]) {
    for (changes, expected) in rows {
        let outcome = stage
            .gateway
            .get("/", &typed(&json!("JWT"), changes.clone()))
            .outcome();
        assert_eq!(outcome, *expected, "{changes}");
    }
}

// T65
#[test]
fn tokens_that_are_typed_as_something_else_are_refused() {
    let stage = Stage::new();
    check_types(
        &stage,
        &[
            (json!(null), "200"),
            (json!("JWT"), "200"),
            (json!("jwt"), "200"),
            (json!("at+jwt"), "200"),
            (json!("AT+JWT"), "200"),
            (json!("application/at+jwt"), "200"),
            (json!("Application/AT+JWT"), "200"),
            (json!(1), "401 token_malformed"),
            (json!(["at+jwt"]), "401 token_malformed"),
        ],
    );
    for kind in [
        "dpop+jwt;x",
        "logout+jwt; charset=utf-8",
        " secevent+jwt ",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "statuslist+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "entity-statement+jwt",
        "kb+jwt",
    ] {
        for spelling in [
            kind.to_owned(),
            kind.to_uppercase(),
            format!("application/{kind}"),
            format!("APPLICATION/{kind}"),
        ] {
            check_types(&stage, &[(json!(spelling), OTHER)]);
        }
    }
    assert_eq!(stage.upstream.count(), 7);
}

#[test]
fn listed_types_are_the_only_ones_and_must_be_there() {
    let stage = Stage::with("token_types = [\"at+jwt\"]", ROUTE);
    check_types(
        &stage,
        &[
            (json!("at+jwt"), "200"),
            (json!("AT+jwt"), "200"),
            (json!("application/at+jwt"), "200"),
            (json!(null), OTHER),
            (json!(""), OTHER),
            (json!("JWT"), OTHER),
            (json!("at+jwt "), OTHER),
            (json!("at"), OTHER),
            (json!("application/application/at+jwt"), OTHER),
            (json!("logout+jwt"), OTHER),
        ],
    );
    let stage = Stage::with("token_types = [\"JWT\", \"application/at+JWT\"]", ROUTE);
    check_types(
        &stage,
        &[
            (json!("jwt"), "200"),
            (json!("at+jwt"), "200"),
            (json!(null), OTHER),
            (json!("x"), OTHER),
        ],
    );
}

// T64, T66
#[test]
fn what_a_token_says_it_is_decides_alone() {
    let stage = Stage::new();
    check_claims(
        &stage,
        &[
            (json!({"token_use": "access"}), "200"),
            (json!({"token_use": "id"}), OTHER),
            (json!({"token_use": "ID"}), OTHER),
            (json!({"typ": "Bearer"}), "200"),
            (json!({"typ": "DPoP"}), "200"),
            (json!({"typ": "ID"}), OTHER),
            (json!({"typ": "Refresh"}), OTHER),
            (json!({"typ": "Offline"}), OTHER),
            (json!({"typ": "Logout"}), OTHER),
            (json!({"typ": "Bearer", "token_use": "id"}), OTHER),
            (json!({"typ": "Refresh", "token_use": "access"}), OTHER),
            // It says that it is an access token, so what looks like an ID token is none.
            (
                json!({"typ": "Bearer", "nonce": "n", "client_id": null, "scope": null, "azp": "web"}),
                "200",
            ),
            (
                json!({"typ": "Bearer", "at_hash": "h", "nonce": "n"}),
                "200",
            ),
            (
                json!({"token_use": "access", "at_hash": "h", "client_id": null, "scope": null}),
                "200",
            ),
        ],
    );
}

// T64
#[test]
fn what_says_nothing_is_an_id_token_by_its_hashes_or_a_bare_nonce() {
    let stage = Stage::new();
    let bare = |changes: Value| changed(json!({}), changes);
    check_claims(
        &stage,
        &[
            (json!({"at_hash": "h"}), OTHER),
            (json!({"c_hash": "h"}), OTHER),
            (json!({"at_hash": "h", "nonce": "n", "azp": "web"}), OTHER),
            (json!({"s_hash": "h"}), "200"),
            (json!({"nonce": "n"}), "200"),
            (
                bare(json!({"auth_time": 1, "amr": ["pwd"], "acr": "1"})),
                "200",
            ),
        ],
    );
    // A nonce beside none of the claims of access tokens; each of them alone makes it one.
    let without = json!({"scope": Value::Null, "client_id": Value::Null, "nonce": "n"});
    check_claims(&stage, &[(without.clone(), OTHER)]);
    for (name, value) in [
        ("scope", "openid"),
        ("scp", "read"),
        ("client_id", "web"),
        ("azp", "web"),
        ("cid", "web"),
    ] {
        let mut changes = without.clone();
        changes[name] = json!(value);
        check_claims(&stage, &[(changes, "200")]);
    }
    check_claims(
        &stage,
        &[(json!({"scope": null, "client_id": null}), "200")],
    );
}

#[test]
fn id_tokens_pass_where_they_are_accepted_and_other_kinds_do_not() {
    let stage = Stage::with("id_tokens = \"accept\"", ROUTE);
    check_claims(
        &stage,
        &[
            (
                json!({"at_hash": "h", "nonce": "n", "scope": null, "client_id": null}),
                "200",
            ),
            (json!({"c_hash": "h"}), "200"),
            (
                json!({"nonce": "n", "scope": null, "client_id": null}),
                "200",
            ),
            (json!({"token_use": "id"}), "200"),
            (json!({"typ": "ID"}), "200"),
            (json!({"typ": "Bearer"}), "200"),
            (json!({"typ": "Refresh"}), OTHER),
            (json!({"typ": "Offline"}), OTHER),
            (json!({"typ": "Logout"}), OTHER),
        ],
    );
    check_types(
        &stage,
        &[
            (json!("logout+jwt"), OTHER),
            (json!("dpop+jwt"), OTHER),
            (json!("JWT"), "200"),
        ],
    );
}

#[test]
fn a_token_that_tells_of_an_event_is_no_access_token() {
    let stage = Stage::new();
    let event = |name: &str| json!({"events": {name: {}}});
    check_claims(
        &stage,
        &[
            (
                event("http://schemas.openid.net/event/backchannel-logout"),
                "401 token_type_mismatch",
            ),
            (
                event("https://schemas.openid.net/secevent/caep/event-type/session-revoked"),
                "401 token_type_mismatch",
            ),
            (
                changed(
                    json!({"token_use": "access"}),
                    event("http://schemas.openid.net/event/backchannel-logout"),
                ),
                "401 token_type_mismatch",
            ),
            (event("https://example.com/concert"), "200"),
            (
                json!({"events": ["http://schemas.openid.net/event/x"]}),
                "200",
            ),
        ],
    );
}
