//! The verified-token cache: it may never admit what the full check would refuse (T75 to T78).

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

use serde_json::json;
use support::{
    AUDIENCE, Gateway, ISSUER, KID, Signer, Stage, base64url, changed, claims, configuration, corp,
    eventually, now, token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

fn admissions(gateway: &Gateway, via: &str) -> f64 {
    gateway.metric("portcullis_admissions_total", &[("via", via)])
}

fn entries(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_verified_cache_entries", &[])
}

fn answer(gateway: &Gateway, target: &str, token: &str) -> (u16, String) {
    let response = gateway.get(target, token);
    (response.status, response.reason())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Sends the token twice, so that the second is a cache hit.
fn warm_up(gateway: &Gateway, token: &str) {
    let before = admissions(gateway, "cache");
    for _ in 0..2 {
        assert_eq!(answer(gateway, "/", token), refused(200, ""));
    }
    assert_eq!(
        admissions(gateway, "cache"),
        before + 1.0,
        "the second is a hit"
    );
}

#[test]
fn the_second_use_of_a_token_is_a_hit() {
    let gateway = Stage::new();
    let gateway = &gateway.gateway;
    warm_up(gateway, &token(json!({})));
    assert_eq!(admissions(gateway, "verified"), 1.0);
    assert_eq!(entries(gateway), 1.0);
    let hits = gateway.metric(
        "portcullis_verified_cache_lookups_total",
        &[("result", "hit")],
    );
    assert_eq!(hits, 1.0);
}

// T76
#[test]
fn a_cached_token_is_judged_anew_on_every_route() {
    let partner = format!(
        "[[issuer]]\nname = \"partner\"\nissuer = \"https://partner.example\"\nhmac_secret_file = \"$FOLDER/portcullis.toml\"\naudiences = [\"{AUDIENCE}\"]"
    );
    let routes = r#"path = "/*"
upstream = "api"
issuers = ["corp", "partner"]
[[route]]
path = "/scoped"
upstream = "api"
issuers = ["corp"]
scopes = ["orders:admin"]
[[route]]
path = "/any"
upstream = "api"
issuers = ["corp"]
any_scope = ["x", "profile"]
[[route]]
path = "/claims"
upstream = "api"
issuers = ["corp"]
claims = [{ claim = "tenant", equals = "acme" }]
[[route]]
path = "/audience"
upstream = "api"
issuers = ["corp"]
audiences = ["https://other.example"]
[[route]]
path = "/partner"
upstream = "api"
issuers = ["partner"]
"#;
    let stage = Stage::with(&partner, routes);
    let good = token(json!({}));
    warm_up(&stage.gateway, &good);
    for _ in 0..2 {
        for (target, expected) in [
            ("/", refused(200, "")),
            ("/any", refused(200, "")),
            ("/scoped", refused(403, "scope_insufficient")),
            ("/claims", refused(403, "claim_denied")),
            ("/audience", refused(401, "audience_mismatch")),
            ("/partner", refused(401, "issuer_unknown")),
        ] {
            assert_eq!(answer(&stage.gateway, target, &good), expected, "{target}");
        }
    }
    assert_eq!(
        admissions(&stage.gateway, "verified"),
        1.0,
        "verified once only"
    );
}

#[test]
fn a_token_that_was_refused_by_policy_first_is_good_elsewhere() {
    let routes = "path = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/s\"\nupstream = \"api\"\nscopes = [\"x\"]";
    let stage = Stage::with("", routes);
    let good = token(json!({}));
    assert_eq!(
        answer(&stage.gateway, "/s", &good),
        refused(403, "scope_insufficient")
    );
    assert_eq!(answer(&stage.gateway, "/", &good), refused(200, ""));
}

// T77
#[test]
fn a_token_expires_while_it_is_cached() {
    let stage = Stage::with("leeway = \"0s\"", ROUTE);
    let short = token(json!({"exp": now() + 3}));
    warm_up(&stage.gateway, &short);
    eventually("it has expired", || {
        let found = answer(&stage.gateway, "/", &short);
        assert!(
            found == refused(200, "") || found == refused(401, "token_expired"),
            "{found:?}"
        );
        found.0 == 401
    });
}

// T78
#[test]
fn a_token_whose_key_is_withdrawn_is_refused_though_it_is_cached() {
    let stage = Stage::with("[issuer.jwks]\ncooldown = \"100ms\"\nwait = \"15s\"", ROUTE);
    let (old, next) = (token(json!({"iat": now() - 300})), Signer::new("ES256"));
    warm_up(&stage.gateway, &old);
    stage.provider.serve_keys(vec![next.jwk("next")]);
    let response = stage.gateway.get("/", &next.sign("next", &claims()));
    assert_eq!(
        response.status,
        200,
        "the new set is in force: {}",
        response.text()
    );
    assert_eq!(
        answer(&stage.gateway, "/", &old),
        refused(401, "key_unknown")
    );

    stage
        .provider
        .serve_keys(vec![corp().jwk(KID), next.jwk("next")]);
    // Only a token that asks for a refresh brings the key back: this one is known to be older than the last.
    let bad = Signer::new("ES256").sign("next", &claims());
    eventually("it is good again with its key", || {
        assert_eq!(stage.gateway.get("/", &bad).status, 401);
        stage.gateway.get("/", &old).status == 200
    });
}

// T75
#[test]
fn a_tampered_twin_of_a_cached_token_is_not_the_token() {
    let stage = Stage::new();
    let good = token(json!({}));
    warm_up(&stage.gateway, &good);
    let (signed, last) = good.split_at(good.len() - 1);
    // 64 bytes end in a character of two bits, so that four last characters are canonical.
    for other in ["A", "Q", "g", "w"]
        .into_iter()
        .filter(|other| *other != last)
    {
        let found = answer(&stage.gateway, "/", &format!("{signed}{other}"));
        assert_eq!(found, refused(401, "signature_invalid"), "ends in {other}");
    }
    let (parts, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = parts.split_once('.').unwrap();
    let payload = base64url(
        changed(claims(), json!({"sub": "mallory"}))
            .to_string()
            .as_bytes(),
    );
    let forged = format!("{header}.{payload}.{signature}");
    for (what, twin, reason) in [
        ("not canonical", format!("{signed}B"), "token_malformed"),
        ("one character short", signed.to_owned(), "token_malformed"),
        (
            "without signature",
            format!("{parts}."),
            "signature_invalid",
        ),
        ("another payload", forged, "signature_invalid"),
    ] {
        assert_eq!(
            answer(&stage.gateway, "/", &twin),
            refused(401, reason),
            "{what}"
        );
    }
    assert_eq!(entries(&stage.gateway), 1.0, "none of them is kept");
}

// T79
#[test]
fn tokens_that_fail_are_not_kept() {
    let stage = Stage::with("", ROUTE);
    for place in 0..50 {
        let forged =
            Signer::new("ES256").sign(KID, &changed(claims(), json!({"jti": format!("{place}")})));
        assert_eq!(
            answer(&stage.gateway, "/", &forged),
            refused(401, "signature_invalid")
        );
    }
    assert_eq!(
        answer(&stage.gateway, "/", &token(json!({"exp": now() - 60}))),
        refused(401, "token_expired")
    );
    assert_eq!(entries(&stage.gateway), 0.0);
}

#[test]
fn a_new_configuration_holds_for_cached_tokens_too() {
    for (what, instead, expected) in [
        ("leeway = \"29s\"", ("", ""), refused(200, "")),
        (
            "",
            (AUDIENCE, "https://other.example"),
            refused(401, "audience_mismatch"),
        ),
        (
            "required_claims = [\"email\"]",
            ("", ""),
            refused(401, "claim_missing"),
        ),
        ("required_claims = [\"jti\"]", ("", ""), refused(200, "")),
        (
            "algorithms = [\"RS256\"]",
            ("", ""),
            refused(401, "algorithm_forbidden"),
        ),
        (
            "token_types = [\"jwt\"]",
            ("", ""),
            refused(401, "token_type_mismatch"),
        ),
        (
            "",
            ("max_lifetime = \"24h\"", "max_lifetime = \"1m\""),
            refused(401, "token_lifetime_exceeded"),
        ),
        (
            "audience_claim = \"client_id\"",
            ("", ""),
            refused(401, "audience_mismatch"),
        ),
        (
            "",
            (ISSUER, "https://other.example/"),
            refused(401, "issuer_unknown"),
        ),
    ] {
        let stage = Stage::new();
        let good = token(json!({}));
        warm_up(&stage.gateway, &good);
        let mut text = configuration("", &stage.provider, what, &stage.upstream, ROUTE);
        if !instead.0.is_empty() {
            text = text.replace(instead.0, instead.1);
        }
        stage.gateway.rewrite(&text);
        stage.gateway.reload();
        assert_eq!(
            answer(&stage.gateway, "/", &good),
            expected,
            "{what} {instead:?}"
        );
    }
}

#[test]
fn a_new_configuration_reads_other_claims_of_cached_tokens() {
    let stage = Stage::new();
    let good = token(json!({"email": "alice@example.com", "roles": ["orders:admin"]}));
    warm_up(&stage.gateway, &good);
    assert_eq!(stage.upstream.last().all("x-auth-subject"), ["alice"]);
    let issuer = "subject_claim = \"email\"\nscope_claims = [\"roles\"]\nclient_claims = [\"jti\"]";
    let top = "[identity.headers]\nX-Auth-Subject = \"sub\"\nX-Auth-Mail = \"email\"\nX-Auth-Client = \"client\"";
    let routes = "path = \"/*\"\nupstream = \"api\"\nscopes = [\"orders:admin\"]";
    stage.gateway.rewrite(&configuration(
        top,
        &stage.provider,
        issuer,
        &stage.upstream,
        routes,
    ));
    stage.gateway.reload();
    assert_eq!(answer(&stage.gateway, "/", &good), refused(200, ""));
    let seen = stage.upstream.last();
    for (name, value) in [
        ("x-auth-subject", "alice@example.com"),
        ("x-auth-mail", "alice@example.com"),
        ("x-auth-client", "token-1"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
    assert_eq!(seen.all("x-auth-issuer"), [""; 0]);
}

#[test]
fn a_reload_that_changes_nothing_about_tokens_keeps_the_cache() {
    let stage = Stage::new();
    let good = token(json!({}));
    warm_up(&stage.gateway, &good);
    let routes = "path = \"/*\"\nupstream = \"api\"\nscopes = [\"orders:read\"]";
    stage.gateway.rewrite(&configuration(
        "",
        &stage.provider,
        "",
        &stage.upstream,
        routes,
    ));
    stage.gateway.reload();
    let before = admissions(&stage.gateway, "cache");
    assert_eq!(answer(&stage.gateway, "/", &good), refused(200, ""));
    assert_eq!(admissions(&stage.gateway, "cache"), before + 1.0);
}

#[test]
fn without_entries_every_use_is_verified() {
    let stage = Stage::with_all("[token_cache]\nentries = 0", "", ROUTE);
    let good = token(json!({}));
    for _ in 0..3 {
        assert_eq!(answer(&stage.gateway, "/", &good), refused(200, ""));
    }
    assert_eq!(admissions(&stage.gateway, "verified"), 3.0);
    assert_eq!(admissions(&stage.gateway, "cache"), 0.0);
    assert_eq!(entries(&stage.gateway), 0.0);
}

#[test]
fn the_cache_does_not_outgrow_its_bound() {
    let stage = Stage::with_all("[token_cache]\nentries = 100", "", ROUTE);
    for place in 0..1000 {
        let good = token(json!({"jti": format!("token-{place}")}));
        assert_eq!(answer(&stage.gateway, "/", &good), refused(200, ""));
    }
    let kept = entries(&stage.gateway);
    assert!(kept <= 100.0 && kept > 0.0, "{kept}");
}
