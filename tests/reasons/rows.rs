//! The reasons that one gateway and one request produce.

use portcullis::rejection::Rejection;
use serde_json::{Value, json};

use super::Expected;
use crate::support::{
    AUDIENCE, Connection, Gateway, ISSUER, KID, Reply, Request, Response, Server, Signer, base64url, changed, claims, corp, now, raw,
    token,
};

/// One request, and why it is refused.
struct Row {
    expected: Expected,
    /// The bytes to send.
    request: Vec<u8>,
}

const HOST: &str = "api.example.com";

fn row(reason: Rejection, name: &'static str, labels: (&'static str, &'static str), request: Request) -> Row {
    let (route, issuer) = labels;
    Row { expected: Expected::new(reason, name, route, issuer), request: request.bytes(HOST) }
}

/// A token of the usual issuer that is not good, on the route that asks for nothing but a good one.
fn bad(reason: Rejection, name: &'static str, changes: Value) -> Row {
    row(reason, name, ("orders", "corp"), Request::get("/orders/1").bearer(&token(changes)))
}

/// A credential that is no JWT of a configured issuer.
fn odd(reason: Rejection, name: &'static str, credential: &str) -> Row {
    let request = Request::get("/orders/1").header("Authorization", credential);
    row(reason, name, ("orders", "none"), request)
}

fn all() -> Vec<Row> {
    [of_requests(), of_credentials(), of_issuers_and_keys(), of_claims(), of_policy_and_upstreams()]
        .into_iter()
        .flatten()
        .collect()
}

/// The reasons that have a row.
pub(super) fn reasons() -> Vec<Rejection> {
    all().iter().map(|row| row.expected.reason).collect()
}

fn of_requests() -> Vec<Row> {
    use Rejection::{
        BodyTooLarge, HeaderTooLarge, MethodNotAllowed, PathAmbiguous, RequestMalformed, RouteUnknown,
    };
    let unmatched = ("none", "none");
    let good = token(json!({}));
    let post = |name: &str, value: &str| Request::new("POST", "/orders/1").bearer(&good).header(name, value);
    let two_hosts = Request::get("/orders/1").header("Host", "a").header("Host", "b");
    let chunked = Row {
        expected: Expected::new(BodyTooLarge, "a chunked body beyond body_bytes", "orders", "corp"),
        request: [
            post("Transfer-Encoding", "chunked").bytes(HOST),
            format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)).into_bytes(),
        ]
        .concat(),
    };
    vec![
        row(RequestMalformed, "two Host headers", unmatched, two_hosts),
        row(RequestMalformed, "a coding other than chunked", unmatched, post("Transfer-Encoding", "gzip, chunked")),
        row(
            HeaderTooLarge,
            "a head beyond header_bytes",
            unmatched,
            Request::get("/orders/1").header("Cookie", &"x".repeat(9000)),
        ),
        row(
            BodyTooLarge,
            "an announced body beyond body_bytes",
            unmatched,
            Request::new("POST", "/orders/1").bearer(&good).body(&[b'x'; 2000]),
        ),
        chunked,
        row(PathAmbiguous, "an encoded slash", unmatched, Request::get("/orders/a%2Fb").bearer(&good)),
        row(RouteUnknown, "a path of no route", unmatched, Request::get("/nowhere").bearer(&good)),
        row(
            MethodNotAllowed,
            "a method that the route does not list",
            ("orders", "none"),
            Request::new("DELETE", "/orders/1").bearer(&good),
        ),
    ]
}

fn of_credentials() -> Vec<Row> {
    use Rejection::{
        HeaderMalformed, TokenAmbiguous, TokenEncrypted, TokenMalformed, TokenMissing, TokenOpaque, TokenTooLarge,
    };
    let good = token(json!({}));
    let twice = Request::get("/orders/1").bearer(&good).bearer(&good);
    let in_query_too = Request::get(&format!("/orders/1?access_token={good}")).bearer(&good);
    let cut_off = format!("Bearer {}", &good[..good.rfind('.').unwrap()]);
    vec![
        row(TokenMissing, "no Authorization", ("orders", "none"), Request::get("/orders/1")),
        odd(TokenMissing, "another scheme", "Basic YTpi"),
        row(TokenAmbiguous, "two Authorization headers", ("orders", "none"), twice),
        row(TokenAmbiguous, "a token in header and query", ("orders", "none"), in_query_too),
        odd(HeaderMalformed, "two words behind Bearer", "Bearer a b"),
        odd(HeaderMalformed, "nothing behind Bearer", "Bearer"),
        odd(TokenTooLarge, "a token beyond token_bytes", &format!("Bearer {}", "x".repeat(5000))),
        odd(TokenOpaque, "no dots", "Bearer 2YotnFZFEjr1zCsicMWpAA"),
        odd(TokenEncrypted, "five parts", "Bearer a.b.c.d.e"),
        odd(TokenMalformed, "two parts", &cut_off),
        odd(TokenMalformed, "three parts that are no JSON", "Bearer YQ.YQ.YQ"),
    ]
}

fn of_issuers_and_keys() -> Vec<Row> {
    use Rejection::{
        AlgorithmForbidden, ClaimMissing, IssuerUnknown, KeyUnknown, KeysUnavailable, SignatureInvalid, TokenExpired,
    };
    let bearer = |token: &str| Request::get("/orders/1").bearer(token);
    let foreign = token(json!({"iss": "https://elsewhere.example/"}));
    let unsigned = format!(
        "{}.{}.",
        base64url(br#"{"alg":"none"}"#),
        base64url(claims().to_string().as_bytes())
    );
    let hmac = Signer::hmac("HS256", b"an RSA public key, for instance").sign(KID, &claims());
    let forged = Signer::new("ES256");
    // Old enough that the keys fetched at the start are newer.
    let old = changed(claims(), json!({"iat": now() - 100}));
    let dark = token(json!({"iss": "https://dark.example/"}));
    let forged_and_late = changed(claims(), json!({"exp": now() - 100, "iat": now() - 200}));
    vec![
        row(IssuerUnknown, "an issuer nobody configured", ("orders", "unknown"), bearer(&foreign)),
        row(IssuerUnknown, "an issuer of other routes", ("orders", "dark"), bearer(&dark)),
        row(ClaimMissing, "no iss", ("orders", "none"), bearer(&token(json!({"iss": null})))),
        row(AlgorithmForbidden, "alg none", ("orders", "corp"), bearer(&unsigned)),
        row(AlgorithmForbidden, "a public key used as an HMAC secret", ("orders", "corp"), bearer(&hmac)),
        bad(TokenExpired, "exp and leeway have passed", json!({"exp": now() - 31, "iat": now() - 100})),
        row(
            TokenExpired,
            "forged and expired",
            ("orders", "corp"),
            bearer(&forged.sign(KID, &forged_and_late)),
        ),
        row(KeysUnavailable, "the provider answers 500", ("dark", "dark"), Request::get("/dark/1").bearer(&dark)),
        row(KeyUnknown, "a kid that the provider does not have", ("orders", "corp"), bearer(&corp().sign("gone", &old))),
        row(
            SignatureInvalid,
            "another key under the same kid",
            ("orders", "corp"),
            bearer(&forged.sign(KID, &claims())),
        ),
    ]
}

fn of_claims() -> Vec<Row> {
    use Rejection::{
        ClaimMissing, TokenBindingUnproven, TokenIssuedInFuture, TokenLifetimeExceeded, TokenNotYetValid, TokenRevoked,
        TokenTypeMismatch,
    };
    let of_type = |kind: &str, changes: Value| {
        let header = json!({"alg": "ES256", "kid": KID, "typ": kind});
        let token = corp().sign_with_header(&header, &changed(claims(), changes));
        Request::get("/orders/1").bearer(&token)
    };
    let future = json!({"iat": now() + 300, "exp": now() + 600});
    vec![
        bad(ClaimMissing, "no exp", json!({"exp": null})),
        bad(ClaimMissing, "no audience", json!({"aud": null})),
        bad(ClaimMissing, "no jti, which is required", json!({"jti": null})),
        row(TokenTypeMismatch, "a logout token", ("orders", "corp"), of_type("logout+jwt", json!({}))),
        row(TokenTypeMismatch, "an ID token", ("orders", "corp"), of_type("JWT", json!({"at_hash": "x"}))),
        bad(TokenBindingUnproven, "a cnf", json!({"cnf": {"jkt": "x"}})),
        bad(TokenNotYetValid, "nbf beyond the leeway", json!({"nbf": now() + 300})),
        bad(TokenIssuedInFuture, "iat beyond the leeway", future),
        bad(TokenLifetimeExceeded, "longer than max_lifetime", json!({"exp": now() + 90_000})),
        bad(TokenRevoked, "its jti is revoked", json!({"jti": "revoked-1"})),
    ]
}

fn of_policy_and_upstreams() -> Vec<Row> {
    use Rejection::{AudienceMismatch, ClaimDenied, ScopeInsufficient, UpstreamTimeout, UpstreamUnreachable};
    let to = |target: &str, changes: Value| Request::get(target).bearer(&token(changes));
    let lacks = |name, target, route, scope| {
        let mut lacks = row(ScopeInsufficient, name, (route, "corp"), to(target, json!({"scope": "profile"})));
        lacks.expected.scope = scope;
        lacks
    };
    let other_tenant = to("/acme/1", json!({"tenant": "other"}));
    vec![
        bad(AudienceMismatch, "for another API", json!({"aud": "https://other.example"})),
        lacks("all scopes are needed", "/orders/1", "orders", ", scope=\"orders:read\""),
        lacks("scopes, then any_scope", "/reports/1", "reports", ", scope=\"orders:read reports:a reports:b\""),
        row(ClaimDenied, "another tenant", ("acme", "corp"), other_tenant),
        row(UpstreamUnreachable, "nobody listens", ("down", "corp"), to("/down/1", json!({}))),
        row(UpstreamTimeout, "no answer in time", ("slow", "corp"), to("/slow/1", json!({}))),
    ]
}

const ROUTES: &str = r#"
[[route]]
name = "orders"
path = "/orders/*"
methods = ["GET", "POST"]
upstream = "api"
issuers = ["corp"]
scopes = ["orders:read"]
[[route]]
name = "reports"
path = "/reports/*"
upstream = "api"
issuers = ["corp"]
scopes = ["orders:read"]
any_scope = ["reports:a", "reports:b"]
[[route]]
name = "acme"
path = "/acme/*"
upstream = "api"
issuers = ["corp"]
claims = [{ claim = "tenant", equals = "acme" }]
[[route]]
name = "dark"
path = "/dark/*"
upstream = "api"
issuers = ["dark"]
[[route]]
name = "down"
path = "/down/*"
upstream = "down"
issuers = ["corp"]
[[route]]
name = "slow"
path = "/slow/*"
upstream = "slow"
issuers = ["corp"]
"#;

/// Servers that answer, that do not, and that are not there.
struct Surroundings {
    api: Server,
    slow: Server,
    provider: Server,
    dark: Server,
    /// Bound and not listening: connections to it are refused, and nobody else takes the port.
    down: socket2::Socket,
}

impl Surroundings {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let down = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        down.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        Self {
            api: Server::echo(),
            slow: Server::start(|_| Reply::Hang),
            provider: Server::keys(vec![corp().jwk(KID)]),
            dark: Server::start(|_| Reply::Status(500)),
            down,
        }
    }

    fn configuration(&self) -> String {
        let upstream = |name: &str, port: u16| {
            format!("[[upstream]]\nname = \"{name}\"\nservers = [\"http://127.0.0.1:{port}\"]\n")
        };
        let issuer = |name: &str, issuer: &str, provider: &Server| {
            format!(
                "[[issuer]]\nname = \"{name}\"\nissuer = \"{issuer}\"\njwks_uri = \"{}/jwks\"\n\
                 audiences = [\"{AUDIENCE}\"]\nmax_lifetime = \"24h\"\nrequired_claims = [\"jti\"]\n\
                 [issuer.jwks]\nwait = \"100ms\"\n",
                provider.url()
            )
        };
        [
            "[server.limits]\nheader_bytes = \"8KiB\"\ntoken_bytes = \"4KiB\"\nbody_bytes = \"1KiB\"\n".to_owned(),
            issuer("corp", ISSUER, &self.provider),
            issuer("dark", "https://dark.example/", &self.dark),
            upstream("api", self.api.address.port()),
            upstream("down", self.down.local_addr().unwrap().as_socket().unwrap().port()),
            upstream("slow", self.slow.address.port()) + "response_timeout = \"100ms\"\nretries = 0\n",
            ROUTES.to_owned(),
        ]
        .concat()
    }
}

fn answer(gateway: &Gateway, row: &Row) -> Response {
    raw(gateway.public, &row.request).unwrap_or_else(|| panic!("{}: no answer", row.expected.name))
}

#[test]
fn every_reason_is_answered_counted_and_logged_as_the_contract_says() {
    let surroundings = Surroundings::new();
    let gateway = Gateway::start(&surroundings.configuration());
    let revocation = json!({"jti": "revoked-1", "issuer": "corp"});
    assert_eq!(gateway.admin_post("/api/revocations", &revocation).status, 201);
    for row in all() {
        let before = row.expected.count(&gateway);
        let response = answer(&gateway, &row);
        row.expected.assert_answer(&response);
        row.expected.assert_counted_and_logged(&gateway, before, &response);
    }
}

/// A HEAD that is refused has the head of the GET that is refused, and no body.
#[test]
fn a_refused_head_has_the_head_of_the_refused_get_and_no_body() {
    let surroundings = Surroundings::new();
    let gateway = Gateway::start(&surroundings.configuration());
    for row in all().into_iter().filter(|row| row.request.starts_with(b"GET ")) {
        let name = row.expected.name;
        let get = answer(&gateway, &row);
        let request = [b"HEAD ", &row.request[4..]].concat();
        let mut connection = Connection::open(gateway.public);
        connection.send(&request);
        let head = connection.read(true).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(head.status, get.status, "{name}");
        for header in ["www-authenticate", "content-type", "cache-control", "content-length"] {
            assert_eq!(head.all(header), get.all(header), "{name}: {header}");
        }
        // Were there a body, its first bytes would stand where the next answer is looked for.
        if head.header("connection").is_none() {
            connection.send(&Request::get("/nowhere").bytes(HOST));
            assert_eq!(connection.read(false).map(|next| next.status), Some(404), "{name}");
        } else {
            assert!(connection.is_closed(), "{name}");
        }
    }
}
