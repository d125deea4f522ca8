//! Every row through one gateway.

use serde_json::json;

use super::rows::{DARK, HOST, REVOKED, Row, all};
use crate::support::{
    AUDIENCE, Connection, Gateway, ISSUER, KID, Reply, Request, Response, Server, corp, raw,
};

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
        down.bind(
            &"127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        )
        .unwrap();
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
            issuer("dark", DARK, &self.dark),
            upstream("api", self.api.address.port()),
            upstream("down", self.down.local_addr().unwrap().as_socket().unwrap().port()),
            upstream("slow", self.slow.address.port()) + "response_timeout = \"100ms\"\nretries = 0\n",
            ROUTES.to_owned(),
        ]
        .concat()
    }
}

/// Servers, the gateway among them, and the one token that was revoked.
fn start() -> (Surroundings, Gateway) {
    let surroundings = Surroundings::new();
    let gateway = Gateway::start(&surroundings.configuration());
    let revocation = json!({"jti": REVOKED, "issuer": "corp"});
    assert_eq!(
        gateway.admin_post("/api/revocations", &revocation).status,
        201
    );
    (surroundings, gateway)
}

fn answer(gateway: &Gateway, row: &Row) -> Response {
    raw(gateway.public, &row.request).unwrap_or_else(|| panic!("{}: no answer", row.expected.name))
}

#[test]
fn every_reason_is_answered_counted_and_logged_as_the_contract_says() {
    let (_surroundings, gateway) = start();
    for row in all() {
        let before = row.expected.count(&gateway);
        let response = answer(&gateway, &row);
        row.expected.assert_answer(&response);
        row.expected
            .assert_counted_and_logged(&gateway, before, &response);
    }
}

/// A HEAD that is refused has the head of the GET that is refused, and no body.
#[test]
fn a_refused_head_has_the_head_of_the_refused_get_and_no_body() {
    let (_surroundings, gateway) = start();
    for row in all()
        .into_iter()
        .filter(|row| row.request.starts_with(b"GET "))
    {
        let name = row.expected.name;
        let get = answer(&gateway, &row);
        let request = [b"HEAD ", &row.request[4..]].concat();
        let mut connection = Connection::open(gateway.public);
        connection.send(&request);
        let head = connection
            .read(true)
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(head.status, get.status, "{name}");
        for header in [
            "www-authenticate",
            "content-type",
            "cache-control",
            "content-length",
        ] {
            assert_eq!(head.all(header), get.all(header), "{name}: {header}");
        }
        // Were there a body, its first bytes would stand where the next answer is looked for.
        if head.header("connection").is_none() {
            connection.send(&Request::get("/nowhere").bytes(HOST));
            assert_eq!(
                connection.read(false).map(|next| next.status),
                Some(404),
                "{name}"
            );
        } else {
            assert!(connection.is_closed(), "{name}");
        }
    }
}
