//! Tokens as the common providers issue them, judged with that provider's settings: all behind one gateway.

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
use support::{KID, Received, Server, Stage, changed, corp, now};

const TENANT: &str = "8d2f0c5e-1111-4222-8333-0123456789ab";
const STRANGER: &str = "11111111-2222-4333-8444-555555555555";

/// Name of issuer and route, the issuer's section, the route's own lines.
const PROVIDERS: [(&str, &str, &str); 8] = [
    (
        "keycloak",
        "issuer = \"https://sso.example.com/realms/acme\"\naudiences = [\"orders-api\"]",
        "claims = [{ claim = \"realm_access.roles\", contains = \"clerk\" },\n\
         { claim = [\"resource_access\", \"com.acme.app\", \"roles\"], contains = \"reader\" }]\nscopes = [\"email\"]",
    ),
    (
        "auth0",
        "issuer = \"https://acme.eu.auth0.com/\"\naudiences = [\"https://orders.acme.example\"]\nscope_claims = [\"permissions\", \"scope\"]",
        "scopes = [\"orders:read\"]",
    ),
    (
        "entra",
        "issuer = \"https://login.microsoftonline.com/{tid}/v2.0\"\ntenants = [\"8D2F0C5E-1111-4222-8333-0123456789AB\"]\n\
         audiences = [\"6e74172b-be56-4843-9ff4-e66a39bb12e3\"]\nsubject_claim = \"oid\"",
        "scopes = [\"access_as_user\"]\nclaims = [{ claim = \"roles\", contains = \"Orders.Read\" }]",
    ),
    (
        "entra-any",
        "issuer = \"https://login.partner.microsoftonline.cn/{tid}/v2.0\"\ntenants = [\"*\"]\naudiences = [\"6e74172b-be56-4843-9ff4-e66a39bb12e3\"]",
        "",
    ),
    (
        "entra-v1",
        "issuer = \"https://sts.windows.net/{tid}/\"\ntenants = [\"8d2f0c5e-1111-4222-8333-0123456789ab\"]\n\
         audiences = [\"api://orders\"]\nsubject_claim = \"oid\"",
        "",
    ),
    (
        "okta",
        "issuer = \"https://acme.okta.com/oauth2/aus1\"\naudiences = [\"api://orders\"]\nsubject_claim = \"uid\"",
        "scopes = [\"orders:read\", \"openid\"]",
    ),
    (
        "cognito",
        "issuer = \"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC\"\naudience_claim = \"client_id\"\naudiences = [\"1example23456789\"]",
        "claims = [{ claim = \"cognito:groups\", contains = \"clerks\" }]\nany_scope = [\"orders/read\", \"orders/write\"]",
    ),
    (
        "google",
        "issuer = \"https://accounts.google.com\"\naudiences = [\"407.apps.googleusercontent.com\"]",
        "",
    ),
];

fn configuration(provider: &Server, upstream: &Server) -> String {
    let mut text = format!(
        "[[upstream]]\nname = \"api\"\nservers = [\"{}\"]\n",
        upstream.url()
    );
    for (name, issuer, route) in PROVIDERS {
        let sections = format!(
            "[[issuer]]\nname = \"{name}\"\njwks_uri = \"{}/jwks\"\n{issuer}\n\
             [[route]]\nname = \"{name}\"\npath = \"/{name}/*\"\nupstream = \"api\"\nissuers = [\"{name}\"]\n{route}\n",
            provider.url()
        );
        text.push_str(&sections);
    }
    text
}

fn stage() -> Stage {
    Stage::written(vec![corp().jwk(KID)], configuration)
}

/// As most providers head their tokens.
fn signed(claims: &Value) -> String {
    corp().sign_with_header(&json!({"alg": "ES256", "typ": "JWT", "kid": KID}), claims)
}

fn outcome(stage: &Stage, provider: &str, claims: &Value) -> String {
    stage
        .gateway
        .get(&format!("/{provider}/x"), &signed(claims))
        .outcome()
}

/// Asserts that the token is admitted and gives what the upstream got.
fn admitted(stage: &Stage, provider: &str, claims: &Value) -> Received {
    assert_eq!(
        outcome(stage, provider, claims),
        "200",
        "{provider}: {claims}"
    );
    stage.upstream.last()
}

fn refused(stage: &Stage, provider: &str, claims: &Value, rows: &[(Value, &str)]) {
    for (changes, expected) in rows {
        assert_eq!(
            outcome(stage, provider, &changed(claims.clone(), changes.clone())),
            *expected,
            "{provider}: {changes}"
        );
    }
}

#[test]
fn a_keycloak_access_token_is_accepted_and_its_other_tokens_are_not() {
    let stage = stage();
    let claims = json!({
        "exp": now() + 300, "iat": now(), "auth_time": now() - 60, "jti": "onrtac:0c6e", "typ": "Bearer", "azp": "web-app",
        "iss": "https://sso.example.com/realms/acme", "aud": ["orders-api", "account"], "sub": "f:5d1:alice", "sid": "s-1",
        "session_state": "s-1", "acr": "1", "allowed-origins": ["https://app.example.com"], "nonce": "n-1",
        "realm_access": {"roles": ["default-roles-acme", "offline_access", "clerk"]},
        "resource_access": {"account": {"roles": ["manage-account"]}, "com.acme.app": {"roles": ["reader"]}},
        "scope": "openid email profile", "email_verified": true, "name": "Alice Zoë", "preferred_username": "alice",
    });
    let received = admitted(&stage, "keycloak", &claims);
    assert_eq!(received.all("x-auth-subject"), ["f:5d1:alice"]);
    assert_eq!(received.all("x-auth-client"), ["web-app"]);
    assert_eq!(received.all("x-auth-scopes"), ["openid email profile"]);
    let lightweight =
        json!({"sub": null, "name": null, "email_verified": null, "aud": "orders-api"});
    admitted(&stage, "keycloak", &changed(claims.clone(), lightweight));
    let other = "401 token_type_mismatch";
    refused(
        &stage,
        "keycloak",
        &claims,
        &[
            (
                json!({"typ": "ID", "aud": "orders-api", "at_hash": "h"}),
                other,
            ),
            (
                json!({"typ": "Refresh", "aud": "https://sso.example.com/realms/acme"}),
                other,
            ),
            (json!({"typ": "Offline"}), other),
            (json!({"typ": "Logout"}), other),
            (json!({"aud": "account"}), "401 audience_mismatch"),
            (json!({"aud": null}), "401 claim_missing"),
            (
                json!({"iss": "https://sso.example.com/realms/other"}),
                "401 issuer_unknown",
            ),
            (
                json!({"realm_access": {"roles": ["clerks", "cler"]}}),
                "403 claim_denied",
            ),
            (
                json!({"resource_access": {"com": {"acme": {"app": {"roles": ["reader"]}}}}}),
                "403 claim_denied",
            ),
            (
                json!({"scope": "openid email_verified"}),
                "403 scope_insufficient",
            ),
            (
                json!({"cnf": {"jkt": "x"}, "typ": "DPoP"}),
                "401 token_binding_unproven",
            ),
        ],
    );
}

#[test]
fn an_auth0_access_token_is_accepted_for_the_api() {
    let stage = stage();
    let claims = json!({
        "iss": "https://acme.eu.auth0.com/", "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "azp": "my_client_id",
        "aud": ["https://orders.acme.example", "https://acme.eu.auth0.com/userinfo"], "iat": now(), "exp": now() + 86400,
        "scope": "openid profile email offline_access", "permissions": ["orders:read", "orders:write"], "org_id": "org_1",
        "https://acme.example/roles": ["clerk"],
    });
    let received = admitted(&stage, "auth0", &claims);
    assert_eq!(
        received.all("x-auth-subject"),
        ["auth0|5f7c8ec7c33c6c004bbafe82"]
    );
    assert_eq!(received.all("x-auth-client"), ["my_client_id"]);
    assert_eq!(received.all("x-auth-scopes"), ["orders:read orders:write"]);
    let machine = json!({"sub": "my_client_id@clients", "gty": "client-credentials", "aud": "https://orders.acme.example",
                         "permissions": null, "scope": "orders:read"});
    admitted(&stage, "auth0", &changed(claims.clone(), machine));
    refused(
        &stage,
        "auth0",
        &claims,
        &[
            (
                json!({"aud": "https://acme.eu.auth0.com/userinfo"}),
                "401 audience_mismatch",
            ),
            (
                json!({"permissions": [], "scope": "orders:read"}),
                "403 scope_insufficient",
            ),
            (
                json!({"permissions": ["orders:read:all"]}),
                "403 scope_insufficient",
            ),
            (
                json!({"iss": "https://acme.eu.auth0.com"}),
                "401 issuer_unknown",
            ),
            (
                json!({"aud": "my_client_id", "nonce": "n", "azp": null, "scope": null, "permissions": null, "sid": "s"}),
                "401 token_type_mismatch",
            ),
        ],
    );
}

fn entra(iss: &str, tenant: &str) -> Value {
    json!({
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "iss": iss, "iat": now(), "nbf": now(), "exp": now() + 4500,
        "aio": "AXQAi/8IAAAA", "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "azpacr": "0", "name": "Alice",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "preferred_username": "alice@acme.example", "rh": "I",
        "roles": ["Orders.Read"], "scp": "access_as_user profile", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": tenant, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
    })
}

fn entra_issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

#[test]
fn an_entra_token_is_accepted_from_a_tenant_that_is_let_in() {
    let stage = stage();
    let claims = entra(&entra_issuer(TENANT), TENANT);
    let received = admitted(&stage, "entra", &claims);
    assert_eq!(
        received.all("x-auth-subject"),
        ["690222be-ff1a-4d56-abd1-7e4f7d38e474"]
    );
    assert_eq!(received.all("x-auth-issuer"), [entra_issuer(TENANT)]);
    assert_eq!(
        received.all("x-auth-client"),
        ["6e74172b-be56-4843-9ff4-e66a39bb12e3"]
    );
    assert_eq!(received.all("x-auth-scopes"), ["access_as_user profile"]);
    let unknown = "401 issuer_unknown";
    refused(
        &stage,
        "entra",
        &claims,
        &[
            (
                json!({"iss": entra_issuer(STRANGER), "tid": STRANGER}),
                unknown,
            ),
            (json!({"tid": STRANGER}), unknown),
            (json!({"iss": entra_issuer(STRANGER)}), unknown),
            (json!({"tid": null}), unknown),
            (json!({"tid": 5}), unknown),
            (json!({"tid": [TENANT]}), unknown),
            (json!({"tid": ""}), unknown),
            (
                json!({"iss": entra_issuer("{tid}"), "tid": "{tid}"}),
                unknown,
            ),
            (
                json!({"iss": entra_issuer("common"), "tid": "common"}),
                unknown,
            ),
            (json!({"iss": entra_issuer(""), "tid": ""}), unknown),
            (
                json!({"iss": entra_issuer(&format!("{TENANT}/x")), "tid": format!("{TENANT}/x")}),
                unknown,
            ),
            (
                json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/")}),
                unknown,
            ),
            (
                json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0"}),
                unknown,
            ),
            (json!({"aud": "api://orders"}), "401 audience_mismatch"),
            (json!({"scp": "access_as_users"}), "403 scope_insufficient"),
            (json!({"roles": ["Orders.ReadWrite"]}), "403 claim_denied"),
            (
                json!({"scp": null, "azp": null, "nonce": "n"}),
                "401 token_type_mismatch",
            ),
        ],
    );
}

#[test]
fn any_entra_tenant_is_let_in_by_a_star_but_only_as_itself() {
    let stage = stage();
    let issuer = |tenant: &str| format!("https://login.partner.microsoftonline.cn/{tenant}/v2.0");
    for tenant in [TENANT, STRANGER] {
        let received = admitted(&stage, "entra-any", &entra(&issuer(tenant), tenant));
        assert_eq!(received.all("x-auth-issuer"), [issuer(tenant)]);
    }
    for (iss, tid) in [
        (issuer(TENANT), STRANGER),
        (issuer("organizations"), "organizations"),
        (issuer("*"), "*"),
        (issuer("{tid}"), "{tid}"),
        (entra_issuer(TENANT), TENANT),
    ] {
        assert_eq!(
            outcome(&stage, "entra-any", &entra(&iss, tid)),
            "401 issuer_unknown",
            "{iss} {tid}"
        );
    }
}

#[test]
fn an_entra_v1_token_is_accepted_from_its_own_issuer() {
    let stage = stage();
    let changes = json!({"ver": "1.0", "azp": null, "azpacr": null, "appid": "c44b4083", "appidacr": "1", "aud": "api://orders"});
    let iss = format!("https://sts.windows.net/{TENANT}/");
    let claims = changed(entra(&iss, TENANT), changes);
    let received = admitted(&stage, "entra-v1", &claims);
    assert_eq!(received.all("x-auth-client"), ["c44b4083"]);
    refused(
        &stage,
        "entra-v1",
        &claims,
        &[(json!({"iss": entra_issuer(TENANT)}), "401 issuer_unknown")],
    );
    // The same token is none of the v2 issuer's.
    assert_eq!(outcome(&stage, "entra", &claims), "401 issuer_unknown");
}

#[test]
fn an_okta_token_of_a_custom_server_is_accepted() {
    let stage = stage();
    let claims = json!({
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": "https://acme.okta.com/oauth2/aus1",
        "aud": "api://orders", "iat": now(), "exp": now() + 3600, "cid": "0oabcdef", "uid": "00u1", "sub": "alice@acme.example",
        "scp": ["openid", "orders:read"], "auth_time": now() - 60, "Groups": ["Everyone"],
    });
    let received = admitted(&stage, "okta", &claims);
    assert_eq!(received.all("x-auth-subject"), ["00u1"]);
    assert_eq!(received.all("x-auth-client"), ["0oabcdef"]);
    assert_eq!(received.all("x-auth-scopes"), ["openid orders:read"]);
    refused(
        &stage,
        "okta",
        &claims,
        &[
            (
                json!({"iss": "https://acme.okta.com", "aud": "https://acme.okta.com"}),
                "401 issuer_unknown",
            ),
            (json!({"scp": ["openid"]}), "403 scope_insufficient"),
            (json!({"scp": "openid orders:read"}), "200"),
            (
                json!({"jti": "ID.x", "cid": null, "scp": null, "aud": "0oabcdef", "at_hash": "h", "amr": ["pwd"]}),
                "401 token_type_mismatch",
            ),
        ],
    );
}

#[test]
fn a_cognito_access_token_is_accepted_by_its_client_id() {
    let stage = stage();
    let claims = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["clerks", "readers"], "device_key": "k",
        "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC", "version": 2, "client_id": "1example23456789",
        "origin_jti": "o", "event_id": "e", "token_use": "access", "scope": "phone openid orders/read", "auth_time": now(),
        "exp": now() + 3600, "iat": now(), "jti": "j", "username": "alice",
    });
    let received = admitted(&stage, "cognito", &claims);
    assert_eq!(received.all("x-auth-client"), ["1example23456789"]);
    refused(
        &stage,
        "cognito",
        &claims,
        &[
            (json!({"client_id": "another"}), "401 audience_mismatch"),
            (json!({"client_id": null}), "401 claim_missing"),
            (
                json!({"client_id": null, "aud": "1example23456789"}),
                "401 claim_missing",
            ),
            (json!({"client_id": 5}), "401 audience_mismatch"),
            (
                json!({"token_use": "id", "client_id": null, "aud": "1example23456789", "scope": null, "cognito:username": "alice"}),
                "401 token_type_mismatch",
            ),
            (json!({"cognito:groups": null}), "403 claim_denied"),
            (
                json!({"scope": "aws.cognito.signin.user.admin"}),
                "403 scope_insufficient",
            ),
            (json!({"scope": "orders/write"}), "200"),
        ],
    );
}

// T64
#[test]
fn a_google_id_token_is_refused() {
    let stage = stage();
    let claims = json!({
        "iss": "https://accounts.google.com", "azp": "407.apps.googleusercontent.com", "aud": "407.apps.googleusercontent.com",
        "sub": "110169484474386276334", "hd": "acme.example", "email": "alice@acme.example", "email_verified": true,
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "nonce": "n", "iat": now(), "exp": now() + 3600,
    });
    assert_eq!(
        outcome(&stage, "google", &claims),
        "401 token_type_mismatch"
    );
    let without_hash = changed(claims, json!({"at_hash": null, "azp": null}));
    assert_eq!(
        outcome(&stage, "google", &without_hash),
        "401 token_type_mismatch"
    );
}
