//! What a route asks of a verified caller: row 12 of the contract's table, and the order of the rows.

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
use support::{AUDIENCE, KID, Server, Signer, Stage, changed, claims, configuration, corp, token};

const INSUFFICIENT: &str = "403 scope_insufficient";
const DENIED: &str = "403 claim_denied";

/// A stage with one route for each name, under that name, with those lines.
fn routes(rows: &[(&str, &str)]) -> Stage {
    let sections: Vec<String> = rows
        .iter()
        .map(|(name, lines)| {
            format!("name = \"{name}\"\npath = \"/{name}/*\"\nupstream = \"api\"\n{lines}")
        })
        .collect();
    Stage::with("", &sections.join("\n[[route]]\n"))
}

fn check(stage: &Stage, target: &str, rows: &[(Value, &str)]) {
    for (changes, expected) in rows {
        let outcome = stage.gateway.get(target, &token(changes.clone())).outcome();
        assert_eq!(outcome, *expected, "{target}: {changes}");
    }
}

// T63
#[test]
fn all_scopes_are_needed_and_compared_whole() {
    let stage = routes(&[("all", "scopes = [\"orders:read\", \"profile\"]")]);
    let scopes: [(Value, &str); 19] = [
        (json!("orders:read profile"), "200"),
        (json!("profile x orders:read"), "200"),
        (json!("orders:read  profile"), "200"),
        (json!(["profile", "orders:read"]), "200"),
        (json!(["orders:read", "profile", 5, null]), "200"),
        (json!("orders:read"), INSUFFICIENT),
        (json!("orders:read profiles"), INSUFFICIENT),
        (json!("orders:read nonprofile"), INSUFFICIENT),
        (json!("orders:read Profile"), INSUFFICIENT),
        (json!("orders:read:all profile"), INSUFFICIENT),
        (json!("orders:read,profile"), INSUFFICIENT),
        (json!("orders:read\tprofile"), INSUFFICIENT),
        (json!("orders:read\nprofile"), INSUFFICIENT),
        (json!("orders:read\u{a0}profile"), INSUFFICIENT),
        (json!(["orders:read profile"]), INSUFFICIENT),
        (json!([["orders:read", "profile"]]), INSUFFICIENT),
        (json!({"orders:read": true, "profile": true}), INSUFFICIENT),
        (json!("*"), INSUFFICIENT),
        (json!(""), INSUFFICIENT),
    ];
    for (scope, expected) in scopes {
        check(
            &stage,
            "/all/x",
            &[
                (json!({"scope": scope}), expected),
                (json!({"scope": null, "scp": scope}), expected),
            ],
        );
    }
    check(
        &stage,
        "/all/x",
        &[
            (json!({"scope": null}), INSUFFICIENT),
            (
                json!({"scope": null, "scopes": ["orders:read", "profile"]}),
                "200",
            ),
            (
                json!({"scope": null, "roles": ["orders:read", "profile"]}),
                INSUFFICIENT,
            ),
            // The first one present counts, and no other.
            (
                json!({"scope": "x", "scp": "orders:read profile"}),
                INSUFFICIENT,
            ),
            (
                json!({"scope": "", "scp": "orders:read profile"}),
                INSUFFICIENT,
            ),
            (
                json!({"scope": "orders:read", "scp": "profile"}),
                INSUFFICIENT,
            ),
        ],
    );
}

#[test]
fn one_of_any_scope_is_enough_and_the_challenge_names_them_all() {
    let stage = routes(&[
        ("any", "any_scope = [\"a:read\", \"a:write\"]"),
        (
            "both",
            "scopes = [\"base\"]\nany_scope = [\"a:read\", \"a:write\"]",
        ),
        ("free", ""),
    ]);
    for (scope, any, both) in [
        ("a:read", "200", INSUFFICIENT),
        ("x a:write", "200", INSUFFICIENT),
        ("base a:read", "200", "200"),
        ("base", INSUFFICIENT, INSUFFICIENT),
        ("a", INSUFFICIENT, INSUFFICIENT),
        ("a:reads", INSUFFICIENT, INSUFFICIENT),
    ] {
        let changes = json!({"scope": scope});
        check(&stage, "/any/x", &[(changes.clone(), any)]);
        check(&stage, "/both/x", &[(changes.clone(), both)]);
        check(&stage, "/free/x", &[(changes, "200")]);
    }
    let answer = stage.gateway.get("/both/x", &token(json!({"scope": "x"})));
    let challenge = answer.all("www-authenticate");
    assert_eq!(challenge.len(), 1);
    assert!(
        challenge[0].starts_with("Bearer realm=\"portcullis\", error=\"insufficient_scope\""),
        "{challenge:?}"
    );
    assert!(
        challenge[0].ends_with("scope=\"base a:read a:write\""),
        "{challenge:?}"
    );
}

#[test]
fn an_equal_claim_is_the_same_json_scalar() {
    let stage = routes(&[
        (
            "text",
            "claims = [{ claim = \"tenant\", equals = \"acme\" }]",
        ),
        ("number", "claims = [{ claim = \"tenant\", equals = 7 }]"),
        ("truth", "claims = [{ claim = \"tenant\", equals = true }]"),
    ]);
    for (value, text, number, truth) in [
        (json!("acme"), "200", DENIED, DENIED),
        (json!("Acme"), DENIED, DENIED, DENIED),
        (json!("acme "), DENIED, DENIED, DENIED),
        (json!("acme2"), DENIED, DENIED, DENIED),
        (json!(["acme"]), DENIED, DENIED, DENIED),
        (json!({"acme": "acme"}), DENIED, DENIED, DENIED),
        (json!(7), DENIED, "200", DENIED),
        (json!("7"), DENIED, DENIED, DENIED),
        (json!(7.5), DENIED, DENIED, DENIED),
        (json!(true), DENIED, DENIED, "200"),
        (json!("true"), DENIED, DENIED, DENIED),
        (json!(1), DENIED, DENIED, DENIED),
        (json!(false), DENIED, DENIED, DENIED),
        (json!(null), DENIED, DENIED, DENIED),
    ] {
        let changes = json!({"tenant": value});
        check(&stage, "/text/x", &[(changes.clone(), text)]);
        check(&stage, "/number/x", &[(changes.clone(), number)]);
        check(&stage, "/truth/x", &[(changes, truth)]);
    }
}

#[test]
fn containing_is_having_an_element_and_never_a_substring() {
    let stage = routes(&[
        (
            "contains",
            "claims = [{ claim = \"realm_access.roles\", contains = \"clerk\" }]",
        ),
        (
            "one",
            "claims = [{ claim = \"amr\", one_of = [\"mfa\", \"hwk\"] }]",
        ),
    ]);
    let roles = |roles: Value| json!({"realm_access": {"roles": roles}});
    check(
        &stage,
        "/contains/x",
        &[
            (roles(json!(["user", "clerk"])), "200"),
            (roles(json!(["clerk"])), "200"),
            (roles(json!("clerk")), DENIED),
            (roles(json!("user clerk")), DENIED),
            (roles(json!(["clerks"])), DENIED),
            (roles(json!(["user,clerk"])), DENIED),
            (roles(json!([["clerk"]])), DENIED),
            (roles(json!({"clerk": true})), DENIED),
            (roles(json!([])), DENIED),
            (json!({"realm_access": "clerk"}), DENIED),
            (json!({"realm_access": ["clerk"]}), DENIED),
            (json!({}), DENIED),
            // One member of that name comes first, and then decides.
            (json!({"realm_access.roles": ["clerk"]}), "200"),
            (
                json!({"realm_access.roles": ["user"], "realm_access": {"roles": ["clerk"]}}),
                DENIED,
            ),
        ],
    );
    check(
        &stage,
        "/one/x",
        &[
            (json!({"amr": "mfa"}), "200"),
            (json!({"amr": ["pwd", "hwk"]}), "200"),
            (json!({"amr": ["pwd"]}), DENIED),
            (json!({"amr": "mfa hwk"}), DENIED),
            (json!({"amr": ["mfa,hwk"]}), DENIED),
            (json!({"amr": [["mfa"]]}), DENIED),
            (json!({"amr": {"mfa": 1}}), DENIED),
            (json!({}), DENIED),
        ],
    );
}

#[test]
fn an_exact_path_takes_its_members_literally() {
    let stage = routes(&[
        (
            "exact",
            "claims = [{ claim = [\"resource_access\", \"com.acme.app\", \"roles\"], contains = \"clerk\" }]",
        ),
        ("single", "claims = [{ claim = [\"a.b\"], equals = \"x\" }]"),
        (
            "every",
            "claims = [{ claim = \"tenant\", equals = \"acme\" }, { claim = \"amr\", one_of = [\"mfa\"] }]",
        ),
    ]);
    check(
        &stage,
        "/exact/x",
        &[
            (
                json!({"resource_access": {"com.acme.app": {"roles": ["clerk"]}}}),
                "200",
            ),
            (
                json!({"resource_access": {"com": {"acme": {"app": {"roles": ["clerk"]}}}}}),
                DENIED,
            ),
            (
                json!({"resource_access.com.acme.app.roles": ["clerk"]}),
                DENIED,
            ),
        ],
    );
    check(
        &stage,
        "/single/x",
        &[
            (json!({"a.b": "x"}), "200"),
            (json!({"a": {"b": "x"}}), DENIED),
        ],
    );
    check(
        &stage,
        "/every/x",
        &[
            (json!({"tenant": "acme", "amr": ["mfa"]}), "200"),
            (json!({"tenant": "acme"}), DENIED),
            (json!({"amr": ["mfa"]}), DENIED),
        ],
    );
    let answer = stage.gateway.get("/every/x", &token(json!({})));
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && !challenge.contains("scope=\""),
        "{challenge}"
    );
}

// T76
#[test]
fn each_route_judges_a_token_anew() {
    let stage = routes(&[
        (
            "mine",
            "audiences = [\"https://mine.example\", \"https://other.example\"]",
        ),
        ("usual", ""),
        ("scoped", "scopes = [\"admin\"]"),
    ]);
    let mismatch = "401 audience_mismatch";
    let usual = token(json!({}));
    let mine = token(json!({"aud": "https://mine.example"}));
    let both = token(json!({"aud": ["https://other.example", AUDIENCE]}));
    // Twice: the second time the token comes from memory.
    for round in ["new", "known"] {
        for (target, token, expected) in [
            ("/usual/x", &usual, "200"),
            ("/mine/x", &usual, mismatch),
            ("/scoped/x", &usual, INSUFFICIENT),
            ("/usual/x", &mine, mismatch),
            ("/mine/x", &mine, "200"),
            ("/usual/x", &both, "200"),
            ("/mine/x", &both, "200"),
        ] {
            assert_eq!(
                stage.gateway.get(target, token).outcome(),
                expected,
                "{target}, {round}"
            );
        }
    }
    let hits = stage.gateway.metric(
        "portcullis_verified_cache_lookups_total",
        &[("result", "hit")],
    );
    assert!(hits >= 7.0, "{hits}");
}

// T76
#[test]
fn a_route_admits_only_its_own_issuers() {
    let key = Signer::new("ES256");
    let partner = Server::keys(vec![key.jwk("partner-1")]);
    let second = format!(
        "[[issuer]]\nname = \"partner\"\nissuer = \"https://partner.example\"\njwks_uri = \"{}/jwks\"\naudiences = [\"{AUDIENCE}\"]",
        partner.url()
    );
    let route = |name: &str, issuers: &str| {
        format!(
            "name = \"{name}\"\npath = \"/{name}/*\"\nupstream = \"api\"\nissuers = [{issuers}]"
        )
    };
    let routes = [
        route("ours", "\"corp\""),
        route("theirs", "\"partner\""),
        route("both", "\"partner\", \"corp\""),
    ];
    let stage = Stage::written(vec![corp().jwk(KID)], |provider, upstream| {
        configuration(
            &second,
            provider,
            "",
            upstream,
            &routes.join("\n[[route]]\n"),
        )
    });
    let ours = token(json!({}));
    let theirs = key.sign(
        "partner-1",
        &changed(claims(), json!({"iss": "https://partner.example"})),
    );
    let unknown = "401 issuer_unknown";
    for round in ["new", "known"] {
        for (target, for_ours, for_theirs) in [
            ("/theirs/x", unknown, "200"),
            ("/ours/x", "200", unknown),
            ("/both/x", "200", "200"),
        ] {
            assert_eq!(
                stage.gateway.get(target, &ours).outcome(),
                for_ours,
                "{target}, {round}, ours"
            );
            assert_eq!(
                stage.gateway.get(target, &theirs).outcome(),
                for_theirs,
                "{target}, {round}, theirs"
            );
        }
    }
    let labels = [
        ("issuer", "partner"),
        ("reason", "issuer_unknown"),
        ("route", "ours"),
    ];
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_rejections_total", &labels)
            .to_string(),
        "2"
    );
}
