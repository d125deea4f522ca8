//! A gateway that shows every metric there is, and the requests that do it.

use std::net::TcpListener;

use serde_json::json;

use super::support::{
    AUDIENCE, Gateway, KID, Request, Server, Signer, changed, claims, corp, now, token,
};

/// The metrics of the contract, and those of the process.
pub(super) const CONTRACT: [&str; 29] = [
    "portcullis_requests_total",
    "portcullis_rejections_total",
    "portcullis_admissions_total",
    "portcullis_would_reject_total",
    "portcullis_request_duration_seconds",
    "portcullis_admission_duration_seconds",
    "portcullis_upstream_duration_seconds",
    "portcullis_upstream_errors_total",
    "portcullis_upstream_server_healthy",
    "portcullis_connections",
    "portcullis_jwks_refreshes_total",
    "portcullis_jwks_keys",
    "portcullis_jwks_keys_skipped",
    "portcullis_jwks_age_seconds",
    "portcullis_verified_cache_lookups_total",
    "portcullis_verified_cache_entries",
    "portcullis_revocations",
    "portcullis_revocation_checks_total",
    "portcullis_revocation_lag_seconds",
    "portcullis_revocation_store_up",
    "portcullis_log_records_dropped_total",
    "portcullis_config_last_reload_successful",
    "portcullis_config_last_reload_timestamp_seconds",
    "portcullis_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

/// The issuer of which nobody is let in.
const PARTNER: &str = "https://partner.example.com/";
/// The issuer whose keys cannot be fetched.
const AWAY: &str = "https://away.example.com/";
/// How many of a kind are a spike: more than half a request a second in five minutes.
const FLOOD: usize = 200;

/// A gateway with three issuers, and an API that is there beside one that is not.
pub(super) struct House {
    pub(super) gateway: Gateway,
    revoked: String,
    _upstream: Server,
    _provider: Server,
}

impl House {
    pub(super) fn new() -> Self {
        let weak = json!({"kty": "oct", "kid": "odd", "k": "c2VjcmV0"});
        let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID), weak]));
        let gateway = Gateway::start(&configuration(&provider, &upstream));
        let revoked = token(json!({"jti": "revoked"}));
        let body = json!({ "token": revoked });
        let answer = gateway.admin_post("/api/revocations", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        Self {
            gateway,
            revoked,
            _upstream: upstream,
            _provider: provider,
        }
    }

    /// A request for each metric, and for most reasons.
    pub(super) fn send_of_every_kind(&self) {
        for (target, token, outcome) in self.kinds() {
            self.send(target, &token, outcome);
        }
        self.send_without_token();
        let nowhere = Request::get("/nowhere");
        assert_eq!(self.gateway.send(&nowhere).outcome(), "404 route_unknown");
    }

    /// Enough of each for what counts as a spike.
    pub(super) fn send_a_flood_of_every_kind(&self) {
        for (target, token, outcome) in self.kinds() {
            for _ in 0..FLOOD {
                self.send(target, &token, outcome);
            }
        }
        // More than a fifth of all.
        for _ in 0..4 * FLOOD {
            self.send_without_token();
        }
    }

    fn send_without_token(&self) {
        let missing = Request::get("/orders/1");
        assert_eq!(self.gateway.send(&missing).outcome(), "401 token_missing");
    }

    fn send(&self, target: &str, token: &str, outcome: &str) {
        let response = self.gateway.get(target, token);
        assert_eq!(response.outcome(), outcome, "{}", response.text());
    }

    fn kinds(&self) -> Vec<(&'static str, String, &'static str)> {
        let stranger = Signer::new("ES256");
        let aged = changed(claims(), json!({"iat": now() - 300}));
        let partner = json!({"iss": PARTNER, "aud": "elsewhere"});
        let away = changed(claims(), json!({"iss": AWAY}));
        vec![
            ("/orders/1", token(json!({})), "200"),
            ("/trial/1", token(json!({"aud": "elsewhere"})), "200"),
            ("/dead/1", token(json!({})), "502 upstream_unreachable"),
            (
                "/orders/1",
                stranger.sign(KID, &claims()),
                "401 signature_invalid",
            ),
            (
                "/orders/1",
                stranger.sign("nobody", &aged),
                "401 key_unknown",
            ),
            (
                "/orders/1",
                token(json!({"exp": now() - 100, "iat": now() - 200})),
                "401 token_expired",
            ),
            (
                "/orders/1",
                token(json!({"iat": now() + 300})),
                "401 token_issued_in_future",
            ),
            ("/orders/1", self.revoked.clone(), "401 token_revoked"),
            ("/orders/1", token(partner), "401 audience_mismatch"),
            (
                "/orders/1",
                corp().sign("away-1", &away),
                "503 keys_unavailable",
            ),
        ]
    }

    /// The gateway reads a configuration that is wrong.
    pub(super) fn break_the_configuration(&self) {
        self.gateway.rewrite("no = \"configuration\"");
        self.gateway.reload();
    }
}

/// Nobody listens there; nobody else will soon, because the port was just given out.
fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn configuration(provider: &Server, upstream: &Server) -> String {
    let issuer = |name: &str, issuer: &str, keys: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"{issuer}\"\njwks_uri = \"{keys}/jwks\"\n\
             audiences = [\"{AUDIENCE}\"]\nmax_lifetime = \"24h\"\njwks = {{ cooldown = \"1s\", wait = \"100ms\" }}\n"
        )
    };
    let route = |name: &str, upstream: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}/*\"\nupstream = \"{upstream}\"\n\
             issuers = [\"corp\", \"partner\", \"away\"]\n{more}\n"
        )
    };
    let upstream_section =
        |name: &str, url: &str| format!("[[upstream]]\nname = \"{name}\"\nservers = [\"{url}\"]\n");
    let dead = dead();
    [
        issuer("corp", super::support::ISSUER, &provider.url()),
        issuer("partner", PARTNER, &provider.url()),
        issuer("away", AWAY, &dead),
        upstream_section("api", &upstream.url()),
        upstream_section("dead", &dead),
        route("orders", "api", ""),
        route("dead", "dead", ""),
        route("trial", "api", "report_only = true"),
    ]
    .concat()
}
