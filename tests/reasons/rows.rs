//! The reasons that one gateway and one request produce.

use portcullis::rejection::Rejection;
use serde_json::{Value, json};

use super::Expected;
use crate::support::{KID, Request, Signer, base64url, changed, claims, corp, now, token};

/// One request, and why it is refused.
pub(super) struct Row {
    pub(super) expected: Expected,
    /// The bytes to send.
    pub(super) request: Vec<u8>,
}

/// The Host of every request.
pub(super) const HOST: &str = "api.example.com";
/// The issuer whose provider answers 500.
pub(super) const DARK: &str = "https://dark.example/";
/// The `jti` of the one token that was revoked.
pub(super) const REVOKED: &str = "revoked-1";

#[expect(clippy::needless_pass_by_value, reason = "rows are easier to read so")]
fn row(
    reason: Rejection,
    name: &'static str,
    labels: (&'static str, &'static str),
    request: Request,
) -> Row {
    let (route, issuer) = labels;
    Row {
        expected: Expected::new(reason, name, route, issuer),
        request: request.bytes(HOST),
    }
}

/// A token of the usual issuer that is not good, on the route that asks for nothing but a good one.
fn bad(reason: Rejection, name: &'static str, changes: Value) -> Row {
    row(
        reason,
        name,
        ("orders", "corp"),
        Request::get("/orders/1").bearer(&token(changes)),
    )
}

/// The same, from a token that was signed by hand.
fn signed(reason: Rejection, name: &'static str, token: &str) -> Row {
    let request = Request::get("/orders/1").bearer(token);
    row(reason, name, ("orders", "corp"), request)
}

/// A request that is refused before a route is found for it.
fn unmatched(reason: Rejection, name: &'static str, request: Request) -> Row {
    row(reason, name, ("none", "none"), request)
}

/// A credential that is no JWT of a configured issuer.
fn odd(reason: Rejection, name: &'static str, credential: &str) -> Row {
    let request = Request::get("/orders/1").header("Authorization", credential);
    row(reason, name, ("orders", "none"), request)
}

/// Every row, in the order of the contract's table as far as that matters.
pub(super) fn all() -> Vec<Row> {
    let rows = [
        of_frames(),
        of_routing(),
        of_credentials(),
        of_issuers(),
        of_keys(),
        of_claims(),
        of_policy_and_upstreams(),
    ];
    rows.into_iter().flatten().collect()
}

/// The reasons that have a row.
pub(super) fn reasons() -> Vec<Rejection> {
    all().iter().map(|row| row.expected.reason).collect()
}

/// T122, T125, T139
fn of_frames() -> Vec<Row> {
    use Rejection::{BodyTooLarge, HeaderTooLarge, RequestMalformed};
    let good = token(json!({}));
    let post = || Request::new("POST", "/orders/1").bearer(&good);
    let get = Request::get("/orders/1");
    let two_hosts = get.clone().header("Host", "a").header("Host", "b");
    let two_codings = post().header("Transfer-Encoding", "gzip, chunked");
    let large_head = get.header("Cookie", &"x".repeat(9000));
    let large_body = post().body(&[b'x'; 2000]);
    let chunked = post().header("Transfer-Encoding", "chunked");
    let name = "a chunked body beyond body_bytes";
    let mut chunked = row(BodyTooLarge, name, ("orders", "corp"), chunked);
    let chunk = format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800));
    chunked.request.extend(chunk.into_bytes());
    vec![
        unmatched(RequestMalformed, "two Host headers", two_hosts),
        unmatched(RequestMalformed, "a coding besides chunked", two_codings),
        unmatched(HeaderTooLarge, "a head beyond header_bytes", large_head),
        unmatched(BodyTooLarge, "an announced body too large", large_body),
        chunked,
    ]
}

/// T121, T123
fn of_routing() -> Vec<Row> {
    use Rejection::{MethodNotAllowed, PathAmbiguous, RouteUnknown};
    let good = token(json!({}));
    let get = |target| Request::get(target).bearer(&good);
    let delete = Request::new("DELETE", "/orders/1").bearer(&good);
    let name = "a method that the route does not list";
    vec![
        unmatched(PathAmbiguous, "an encoded slash", get("/orders/a%2Fb")),
        unmatched(RouteUnknown, "a path of no route", get("/nowhere")),
        row(MethodNotAllowed, name, ("orders", "none"), delete),
    ]
}

/// T1, T2, T3, T7, T8, T12, T16, T18, T19
fn of_credentials() -> Vec<Row> {
    use Rejection::{
        HeaderMalformed, TokenAmbiguous, TokenEncrypted, TokenMalformed, TokenMissing, TokenOpaque,
        TokenTooLarge,
    };
    let good = token(json!({}));
    let (route, get) = (("orders", "none"), Request::get("/orders/1"));
    let twice = get.clone().bearer(&good).bearer(&good);
    let in_query_too = Request::get(&format!("/orders/1?access_token={good}")).bearer(&good);
    let cut_off = format!("Bearer {}", &good[..good.rfind('.').unwrap()]);
    let large = format!("Bearer {}", "x".repeat(5000));
    vec![
        row(TokenMissing, "no Authorization", route, get),
        odd(TokenMissing, "another scheme", "Basic YTpi"),
        row(TokenAmbiguous, "two Authorization headers", route, twice),
        row(TokenAmbiguous, "one more in the query", route, in_query_too),
        odd(HeaderMalformed, "two words behind Bearer", "Bearer a b"),
        odd(HeaderMalformed, "nothing behind Bearer", "Bearer"),
        odd(TokenTooLarge, "a token beyond token_bytes", &large),
        odd(TokenOpaque, "no dots", "Bearer 2YotnFZFEjr1zCsicMWpAA"),
        odd(TokenEncrypted, "five parts", "Bearer a.b.c.d.e"),
        odd(TokenMalformed, "two parts", &cut_off),
        odd(TokenMalformed, "parts that are no JSON", "Bearer YQ.YQ.YQ"),
    ]
}

/// T21, T22, T52
fn of_issuers() -> Vec<Row> {
    use Rejection::{AlgorithmForbidden, ClaimMissing, IssuerUnknown, TokenExpired};
    let of = |iss: Value| Request::get("/orders/1").bearer(&token(json!({ "iss": iss })));
    let (foreign, dark) = (of(json!("https://elsewhere.example/")), of(json!(DARK)));
    let payload = base64url(claims().to_string().as_bytes());
    let unsigned = format!("{}.{payload}.", base64url(br#"{"alg":"none"}"#));
    let hmac = Signer::hmac("HS256", b"an RSA public key, for instance").sign(KID, &claims());
    let late = json!({"exp": now() - 31, "iat": now() - 100});
    let forged = Signer::new("ES256").sign(KID, &changed(claims(), late.clone()));
    let (none, unknown, other) = (
        ("orders", "none"),
        ("orders", "unknown"),
        ("orders", "dark"),
    );
    vec![
        row(IssuerUnknown, "not configured", unknown, foreign),
        row(IssuerUnknown, "an issuer of other routes", other, dark),
        row(ClaimMissing, "no iss", none, of(Value::Null)),
        signed(AlgorithmForbidden, "alg none", &unsigned),
        signed(AlgorithmForbidden, "a key used as an HMAC secret", &hmac),
        bad(TokenExpired, "exp and leeway have passed", late),
        signed(TokenExpired, "forged and expired", &forged),
    ]
}

/// T99, T101
fn of_keys() -> Vec<Row> {
    use Rejection::{KeyUnknown, KeysUnavailable, SignatureInvalid};
    // Old enough that the keys fetched at the start are newer.
    let old = corp().sign("gone", &changed(claims(), json!({"iat": now() - 100})));
    let forged = Signer::new("ES256").sign(KID, &claims());
    let dark = Request::get("/dark/1").bearer(&token(json!({ "iss": DARK })));
    let name = "the provider answers 500";
    vec![
        row(KeysUnavailable, name, ("dark", "dark"), dark),
        signed(KeyUnknown, "a kid that the provider has not", &old),
        signed(SignatureInvalid, "another key of the same kid", &forged),
    ]
}

/// T45, T47, T48, T50, T64, T65, T69, T82
fn of_claims() -> Vec<Row> {
    use Rejection::{
        ClaimMissing, TokenBindingUnproven, TokenIssuedInFuture, TokenLifetimeExceeded,
        TokenNotYetValid, TokenRevoked, TokenTypeMismatch,
    };
    let of_type = |kind: &str, changes: Value| {
        let header = json!({"alg": "ES256", "kid": KID, "typ": kind});
        corp().sign_with_header(&header, &changed(claims(), changes))
    };
    let (logout, id) = (
        of_type("logout+jwt", json!({})),
        of_type("JWT", json!({"at_hash": "x"})),
    );
    let future = json!({"iat": now() + 300, "exp": now() + 600});
    let (late, long) = (json!({"nbf": now() + 300}), json!({"exp": now() + 90_000}));
    let bound = json!({"cnf": {"jkt": "x"}});
    let revoked = json!({"jti": REVOKED});
    vec![
        bad(ClaimMissing, "no exp", json!({"exp": null})),
        bad(ClaimMissing, "no audience", json!({"aud": null})),
        bad(ClaimMissing, "no required claim", json!({"jti": null})),
        signed(TokenTypeMismatch, "a logout token", &logout),
        signed(TokenTypeMismatch, "an ID token", &id),
        bad(TokenBindingUnproven, "a cnf", bound),
        bad(TokenNotYetValid, "nbf beyond the leeway", late),
        bad(TokenIssuedInFuture, "iat beyond the leeway", future),
        bad(TokenLifetimeExceeded, "beyond max_lifetime", long),
        bad(TokenRevoked, "its jti is revoked", revoked),
    ]
}

fn of_policy_and_upstreams() -> Vec<Row> {
    use Rejection::{
        AudienceMismatch, ClaimDenied, ScopeInsufficient, UpstreamTimeout, UpstreamUnreachable,
    };
    let to = |target: &str, changes: Value| Request::get(target).bearer(&token(changes));
    let lacks = |name, target, route, scope| {
        let mut lacks = row(
            ScopeInsufficient,
            name,
            (route, "corp"),
            to(target, json!({"scope": "profile"})),
        );
        lacks.expected.scope = scope;
        lacks
    };
    let other_tenant = to("/acme/1", json!({"tenant": "other"}));
    vec![
        bad(
            AudienceMismatch,
            "for another API",
            json!({"aud": "https://other.example"}),
        ),
        lacks(
            "all scopes are needed",
            "/orders/1",
            "orders",
            ", scope=\"orders:read\"",
        ),
        lacks(
            "scopes, then any_scope",
            "/reports/1",
            "reports",
            ", scope=\"orders:read reports:a reports:b\"",
        ),
        row(
            ClaimDenied,
            "another tenant",
            ("acme", "corp"),
            other_tenant,
        ),
        row(
            UpstreamUnreachable,
            "nobody listens",
            ("down", "corp"),
            to("/down/1", json!({})),
        ),
        row(
            UpstreamTimeout,
            "no answer in time",
            ("slow", "corp"),
            to("/slow/1", json!({})),
        ),
    ]
}
