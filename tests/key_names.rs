//! Which keys of a set a token's header can mean: by `kid`, of its own issuer, and from nowhere else.

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
    AUDIENCE, KID, Received, Server, Signer, Stage, changed, claims, configuration, corp, now,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

/// Claims of a token so old that a key it names and the set lacks is unknown for sure.
fn settled_claims() -> Value {
    changed(claims(), json!({"iat": now() - 120}))
}

/// A gateway whose provider has those keys.
fn stage_of(keys: Vec<Value>) -> Stage {
    Stage::written(keys, |provider, upstream| {
        configuration("", provider, "", upstream, ROUTE)
    })
}

fn check(stage: &Stage, rows: &[(&str, String, &str)]) {
    for (row, token, expected) in rows {
        assert_eq!(stage.gateway.get("/", token).outcome(), *expected, "{row}");
    }
}

/// A token of the usual key with that header as it stands.
fn headed(header: &str) -> String {
    corp().sign_text(header, &settled_claims().to_string())
}

// T26
#[test]
fn keys_and_addresses_in_the_header_are_not_looked_at() {
    let stage = Stage::new();
    let thief = Signer::new("ES256");
    let lure = Server::keys(vec![thief.jwk(KID), thief.jwk("lure")]);
    let fetched = stage.provider.count();
    let url = format!("{}/jwks", lure.url());
    let extras = [
        ("jwk", json!({"jwk": thief.jwk(KID)})),
        ("jku", json!({"jku": url})),
        ("x5u", json!({"x5u": url})),
        (
            "x5c",
            json!({"x5c": [BASE64.encode(&thief.public_key())], "x5t": "AA", "x5t#S256": "AA"}),
        ),
        (
            "all",
            json!({"jwk": thief.jwk(KID), "jku": url, "x5u": url}),
        ),
    ];
    let known = json!({"alg": "ES256", "typ": "at+jwt", "kid": KID});
    let nameless = json!({"alg": "ES256", "typ": "at+jwt"});
    for (row, extra) in &extras {
        // Nothing of it makes a good token bad; that comes first, while nothing has asked for a refresh.
        let good = corp().sign_with_header(&changed(known.clone(), extra.clone()), &claims());
        check(&stage, &[(row, good, "200")]);
    }
    assert_eq!(stage.provider.count(), fetched, "good tokens fetch nothing");
    for (row, extra) in &extras {
        let forge = |header: &Value| {
            thief.sign_with_header(&changed(header.clone(), extra.clone()), &settled_claims())
        };
        let (by_name, without_name) = (forge(&known), forge(&nameless));
        check(
            &stage,
            &[
                (row, by_name, "401 signature_invalid"),
                (row, without_name, "401 signature_invalid"),
            ],
        );
    }
    assert_eq!(lure.count(), 0, "nobody went where the header pointed");
    let elsewhere = |request: Received| request.target != "/jwks";
    assert!(
        !stage.provider.received().into_iter().any(elsewhere),
        "only the key set is fetched"
    );
}

// T27
#[test]
fn strange_key_names_name_no_key() {
    let stage = Stage::new();
    let long = "k".repeat(3000);
    for kid in [
        "../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "|id",
        "nul\u{0}",
        "corp-1\u{0}",
        "corp-1 ",
        "CORP-1",
        "corp",
        "",
        "ключ",
        "line\nfeed",
        "https://evil.example/jwks",
        &long,
    ] {
        let outcome = stage
            .gateway
            .get("/", &corp().sign(kid, &settled_claims()))
            .outcome();
        assert_eq!(outcome, "401 key_unknown", "{kid:.20}");
    }
    for kid in ["1", "null", "true", r#"["corp-1"]"#, r#"{"corp-1":1}"#] {
        let token = headed(&format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":{kid}}}"#));
        check(&stage, &[(kid, token, "401 token_malformed")]);
    }
    let huge = headed(&json!({"alg": "ES256", "kid": "k".repeat(5000)}).to_string());
    check(
        &stage,
        &[("a header over 4 KiB", huge, "401 token_malformed")],
    );
    check(&stage, &[("no name", headed(r#"{"alg":"ES256"}"#), "200")]);
    check(
        &stage,
        &[(
            "the name",
            headed(r#"{"alg":"ES256","kid":"\u0063orp-1"}"#),
            "200",
        )],
    );
}

// T28
#[test]
fn one_name_under_two_issuers_is_two_keys() {
    let (ours, theirs) = (Signer::new("ES256"), Signer::new("ES256"));
    let other = Server::keys(vec![theirs.jwk(KID), theirs.jwk("theirs-only")]);
    let second = format!(
        "[[issuer]]\nname = \"other\"\nissuer = \"https://other.example\"\njwks_uri = \"{}/jwks\"\naudiences = [\"{}\"]",
        other.url(),
        AUDIENCE
    );
    let route = format!("{ROUTE}\nissuers = [\"corp\", \"other\"]");
    let stage = Stage::written(vec![ours.jwk(KID)], |provider, upstream| {
        configuration(&second, provider, "", upstream, &route)
    });
    let of_other = changed(settled_claims(), json!({"iss": "https://other.example"}));
    check(
        &stage,
        &[
            ("ours for ours", ours.sign(KID, &settled_claims()), "200"),
            ("theirs for theirs", theirs.sign(KID, &of_other), "200"),
            (
                "theirs for ours",
                theirs.sign(KID, &settled_claims()),
                "401 signature_invalid",
            ),
            (
                "ours for theirs",
                ours.sign(KID, &of_other),
                "401 signature_invalid",
            ),
            (
                "theirs alone for ours",
                theirs.sign("theirs-only", &settled_claims()),
                "401 key_unknown",
            ),
        ],
    );
}

#[test]
fn a_token_without_a_kid_is_tried_on_eight_fitting_keys() {
    let signers: Vec<Signer> = (0..9).map(|_| Signer::new("ES256")).collect();
    let mut keys: Vec<Value> = (0..9)
        .map(|place| signers[place].jwk(&format!("k{place}")))
        .collect();
    // Keys that do not fit are not among the eight.
    keys.insert(0, Signer::new("ES384").jwk("other"));
    let stage = stage_of(keys);
    for (place, signer) in signers.iter().enumerate() {
        let nameless = signer.sign_with_header(&json!({"alg": "ES256"}), &claims());
        let expected = if place < 8 {
            "200"
        } else {
            "401 signature_invalid"
        };
        check(
            &stage,
            &[
                (
                    &format!("{place}, named"),
                    signer.sign(&format!("k{place}"), &claims()),
                    "200",
                ),
                (&format!("{place}, nameless"), nameless, expected),
            ],
        );
    }
}

// T44
#[test]
fn keys_that_share_a_kid_are_all_tried_and_a_nameless_key_answers_to_no_kid() {
    let (first, second, nameless) = (
        Signer::new("ES256"),
        Signer::new("ES256"),
        Signer::new("ES256"),
    );
    let stage = stage_of(vec![
        first.jwk("same"),
        second.jwk("same"),
        changed(nameless.jwk(""), json!({"kid": null})),
    ]);
    let old = changed(claims(), json!({"iat": now() - 120}));
    check(
        &stage,
        &[
            ("the first", first.sign("same", &old), "200"),
            ("the second", second.sign("same", &old), "200"),
            (
                "nameless key, nameless token",
                nameless.sign_with_header(&json!({"alg": "ES256"}), &old),
                "200",
            ),
            (
                "nameless key, a named token",
                nameless.sign("same", &old),
                "401 signature_invalid",
            ),
            (
                "nameless key, an empty name",
                nameless.sign("", &old),
                "401 key_unknown",
            ),
            (
                "nameless key, another name",
                nameless.sign("other", &old),
                "401 key_unknown",
            ),
        ],
    );
}
