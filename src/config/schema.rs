//! JSON Schema of the configuration file, for editors.
//!
//! Owns the descriptions that an editor shows. The rules are the sections'; a test holds the two
//! together key by key, default by default.
//!
//! These types only describe: nothing is ever read into them.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::algorithm::Algorithm;

/// The schema as JSON text, with a final newline.
pub fn text() -> String {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    let schema = settings.into_generator().into_root_schema_for::<File>();
    format!("{:#}\n", schema.as_value())
}

/// TOML has no null: a key that may be absent is only absent.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [only] = choices.as_slice() {
        let only = Value::Array(vec![only.clone()]);
        schema.remove("anyOf");
        schema.insert("allOf".to_owned(), only);
    }
}

/// A duration: one number and one unit, such as "250ms", "30s", "10m", "24h".
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct Duration(#[schemars(regex(pattern = r"^[0-9]+(ms|s|m|h)$"))] pub String);

/// A size: one number and one unit, such as "512B", "32KiB", "1MiB".
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct Size(#[schemars(regex(pattern = r"^[0-9]+(B|KiB|MiB|GiB)$"))] pub String);

/// The registered name of a signature algorithm.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct AlgorithmName(#[schemars(transform = only_algorithms)] pub String);

fn only_algorithms(schema: &mut Schema) {
    let names = Algorithm::ALL.iter().map(|algorithm| algorithm.name());
    schema.insert("enum".to_owned(), names.collect());
}

/// A claim: its name, tried as one member first, then split at dots; or its exact path.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Claim {
    Name(String),
    Path(#[schemars(length(min = 1))] Vec<String>),
}

/// A JSON scalar.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Scalar {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// Configuration of Portcullis, a gateway that checks every bearer token.
#[derive(JsonSchema)]
#[schemars(title = "Portcullis configuration", deny_unknown_fields)]
pub struct File {
    pub server: Server,
    pub admin: Option<Admin>,
    pub log: Option<Log>,
    pub token_cache: Option<TokenCache>,
    /// Whose tokens are good.
    pub issuer: Option<Vec<Issuer>>,
    /// Where good requests go.
    pub upstream: Option<Vec<Upstream>>,
    /// Which requests go where, and what they need.
    #[schemars(length(min = 1))]
    pub route: Vec<Route>,
    pub identity: Option<Identity>,
    pub revocation: Option<Revocation>,
}

/// The listener for clients.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Server {
    /// Addresses to listen on, such as "0.0.0.0:8080".
    #[schemars(length(min = 1))]
    pub listen: Vec<String>,
    /// Worker threads; 0: one per core.
    #[schemars(range(max = 1024), extend("default" = 0))]
    pub workers: Option<u32>,
    /// The realm of every challenge.
    #[schemars(extend("default" = "portcullis"))]
    pub realm: Option<String>,
    /// What must survive a restart; default: `$STATE_DIRECTORY` if set, else "state" beside this file.
    pub state_dir: Option<String>,
    /// CIDRs of the proxies whose forwarding headers are believed.
    #[schemars(extend("default" = []))]
    pub trusted_proxies: Option<Vec<String>>,
    /// The one family of forwarding headers that is believed, and written towards upstreams.
    #[schemars(extend("default" = "x-forwarded", "enum" = ["x-forwarded", "forwarded", "none"]))]
    pub forwarded: Option<String>,
    /// Add Via towards upstreams; it stops some servers from compressing.
    #[schemars(extend("default" = false))]
    pub via: Option<bool>,
    /// %2F in a path: refuse, or keep as an ordinary character, never a separator.
    #[schemars(extend("default" = "refuse", "enum" = ["refuse", "keep"]))]
    pub encoded_slash: Option<String>,
    /// `;` in a path, raw or encoded: refuse or keep.
    #[schemars(extend("default" = "refuse", "enum" = ["refuse", "keep"]))]
    pub path_parameters: Option<String>,
    /// How much rejections tell: all, or only their class.
    #[schemars(extend("default" = "full", "enum" = ["full", "minimal"]))]
    pub error_detail: Option<String>,
    /// Base of the `type` links in rejections; default: urn:portcullis:rejection:REASON.
    #[schemars(extend("format" = "uri"))]
    pub docs_url: Option<String>,
    /// After SIGTERM: readiness is already 503, connections are still accepted.
    #[schemars(extend("default" = "0s"))]
    pub drain_delay: Option<Duration>,
    /// Then open requests may finish.
    #[schemars(extend("default" = "20s"))]
    pub drain: Option<Duration>,
    pub tls: Option<Tls>,
    pub limits: Option<Limits>,
}

/// TLS towards clients; absent: plain HTTP. A change of the files is a change of the configuration.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate, those of its issuers after it.
    #[schemars(length(min = 1))]
    pub certificate: String,
    /// PEM file of the certificate's private key, not encrypted.
    #[schemars(length(min = 1))]
    pub private_key: String,
    /// Ask clients for certificates of these authorities (PEM file).
    pub client_ca: Option<String>,
    /// Whether a client may come without one.
    #[schemars(extend("enum" = ["required", "optional"]))]
    pub client_certificates: Option<String>,
    /// Further certificates, for clients that ask for their names.
    pub sni: Option<Vec<Sni>>,
}

/// A certificate for certain names.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sni {
    /// Names such as "api.example.com" or "*.example.com"; default: those of the certificate.
    pub names: Option<Vec<String>>,
    /// PEM file of the certificate, those of its issuers after it.
    #[schemars(length(min = 1))]
    pub certificate: String,
    /// PEM file of the certificate's private key, not encrypted.
    #[schemars(length(min = 1))]
    pub private_key: String,
}

/// What one client may take.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Of a request head; beyond: 431.
    #[schemars(extend("default" = "32KiB"))]
    pub header_bytes: Option<Size>,
    /// Of a credential; beyond: 400 `token_too_large`.
    #[schemars(extend("default" = "16KiB"))]
    pub token_bytes: Option<Size>,
    /// Of a request body; beyond: 413. 0: no limit.
    #[schemars(extend("default" = "0B"))]
    pub body_bytes: Option<Size>,
    /// Open connections; at the limit, accepting pauses.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10000))]
    pub connections: Option<u32>,
    /// From a head's first byte to its end.
    #[schemars(extend("default" = "10s"))]
    pub header_timeout: Option<Duration>,
    /// A request body that stands still this long is cut off.
    #[schemars(extend("default" = "30s"))]
    pub body_timeout: Option<Duration>,
    /// Between the requests of a connection.
    #[schemars(extend("default" = "75s"))]
    pub idle_timeout: Option<Duration>,
}

/// The listener for operators: metrics, health, status, revocation.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Admin {
    /// Address to listen on.
    #[schemars(extend("default" = "127.0.0.1:9090"))]
    pub listen: Option<String>,
    /// File with the credential for more than metrics and health.
    pub token_file: Option<String>,
    /// Names, besides addresses and localhost, under which it may be called.
    #[schemars(extend("default" = []))]
    pub hosts: Option<Vec<String>>,
    /// The name of an issuer whose bearer tokens are a credential too, if they have `scope`.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
    /// The scope that they need.
    #[schemars(length(min = 1))]
    pub scope: Option<String>,
}

/// What is logged.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Log {
    #[schemars(extend("default" = "text", "enum" = ["text", "json"]))]
    pub format: Option<String>,
    /// A level, or a `tracing` filter such as "info,portcullis=debug".
    #[schemars(extend("default" = "info"))]
    pub level: Option<String>,
    /// One record per request.
    #[schemars(extend("default" = true))]
    pub access: Option<bool>,
}

/// The memory of verified tokens.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TokenCache {
    /// Verified tokens kept, in all; 0 switches the cache off.
    #[schemars(range(max = 100_000_000), extend("default" = 100_000))]
    pub entries: Option<u32>,
}

/// Somebody whose tokens are good. Exactly one of `jwks_uri`, `jwks_file`, `discovery`, `hmac_secret_file` says where the keys are.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Issuer {
    /// A label of your own, for metrics, logs and routes.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Must equal the token's `iss`, byte for byte; may hold {tid} once, which stands for the token's `tid`.
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// What {tid} may be: GUIDs, or only `"*"` for any.
    #[schemars(length(min = 1))]
    pub tenants: Option<Vec<String>>,
    /// URL of the key set.
    #[schemars(extend("format" = "uri"))]
    pub jwks_uri: Option<String>,
    /// File with the key set; reread when it changes.
    pub jwks_file: Option<String>,
    /// Find the key set by the issuer's metadata.
    #[schemars(extend("default" = false))]
    pub discovery: Option<bool>,
    /// File with a shared secret, raw bytes, at least as long as the hash; the only way to allow HS256, HS384, HS512.
    pub hmac_secret_file: Option<String>,
    /// The token must be for one of these.
    #[schemars(length(min = 1))]
    pub audiences: Vec<String>,
    /// Signature algorithms allowed; default: all asymmetric ones, with `hmac_secret_file` HS256.
    #[schemars(length(min = 1))]
    pub algorithms: Option<Vec<AlgorithmName>>,
    /// Values of `typ` allowed, such as "at+jwt"; empty: every kind of access token.
    #[schemars(extend("default" = []))]
    pub token_types: Option<Vec<String>>,
    /// Whether ID tokens pass too.
    #[schemars(extend("default" = "refuse", "enum" = ["refuse", "accept"]))]
    pub id_tokens: Option<String>,
    /// Clock skew allowed on exp, nbf and iat; at most 5m.
    #[schemars(extend("default" = "30s"))]
    pub leeway: Option<Duration>,
    /// The longest life a token may have; 0s: no limit.
    #[schemars(extend("default" = "0s"))]
    pub max_lifetime: Option<Duration>,
    /// Claims that must be there, besides iss, exp and the audience.
    #[schemars(extend("default" = []))]
    pub required_claims: Option<Vec<Claim>>,
    /// The claim that holds the audience; `client_id` for Cognito.
    #[schemars(extend("default" = "aud"))]
    pub audience_claim: Option<Claim>,
    /// The first one present counts.
    #[schemars(extend("default" = ["scope", "scp", "scopes"]))]
    pub scope_claims: Option<Vec<Claim>>,
    /// The first one present is the client.
    #[schemars(extend("default" = ["client_id", "azp", "cid", "appid"]))]
    pub client_claims: Option<Vec<Claim>>,
    /// The claim that holds the subject; `oid` for Entra ID.
    #[schemars(extend("default" = "sub"))]
    pub subject_claim: Option<Claim>,
    pub jwks: Option<Jwks>,
    pub backchannel_logout: Option<BackchannelLogout>,
}

/// Where the provider may say that somebody has logged out (OpenID Connect Back-Channel Logout 1.0).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BackchannelLogout {
    /// Exact path on the listener for clients; no route may have it.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The client id that logout tokens are for.
    #[schemars(length(min = 1))]
    pub audience: String,
    /// Whether the subject's tokens issued up to then end as well, or those of the session alone.
    #[schemars(extend("default" = "all", "enum" = ["all", "sid-only"]))]
    pub sessions: Option<String>,
}

/// How an issuer's keys are fetched.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Jwks {
    /// Background refresh; max-age may shorten it.
    #[schemars(extend("default" = "10m"))]
    pub refresh: Option<Duration>,
    /// At most one forced refresh in this time.
    #[schemars(extend("default" = "10s"))]
    pub cooldown: Option<Duration>,
    /// How long a request whose key is unknown waits for a refresh.
    #[schemars(extend("default" = "1s"))]
    pub wait: Option<Duration>,
    /// Of one fetch, all in.
    #[schemars(extend("default" = "5s"))]
    pub timeout: Option<Duration>,
    #[schemars(extend("default" = "1MiB"))]
    pub max_bytes: Option<Size>,
    #[schemars(range(min = 1, max = 100_000), extend("default" = 256))]
    pub max_keys: Option<u32>,
    /// The last good keys serve this long after the last success.
    #[schemars(extend("default" = "24h"))]
    pub max_stale: Option<Duration>,
    /// PEM file of certificates to trust instead of the system's roots.
    pub ca: Option<String>,
    /// File with a bearer token to send with the fetch.
    pub token_file: Option<String>,
}

/// One API, on one or more servers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// The name by which routes refer to it.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// `http://HOST[:PORT]` or `https://HOST[:PORT]`
    #[schemars(length(min = 1))]
    pub servers: Vec<String>,
    #[schemars(extend("default" = "2s"))]
    pub connect_timeout: Option<Duration>,
    /// Until the response head; bodies and streams have no limit.
    #[schemars(extend("default" = "30s"))]
    pub response_timeout: Option<Duration>,
    /// Idle time of a pooled connection.
    #[schemars(extend("default" = "4s"))]
    pub keep_alive: Option<Duration>,
    /// Before any byte of the request was written: any method; afterwards: idempotent and without a body.
    #[schemars(range(max = 10), extend("default" = 1))]
    pub retries: Option<u32>,
    /// The Host that the upstream sees: the client's, or its own.
    #[schemars(extend("default" = "preserve", "enum" = ["preserve", "upstream"]))]
    pub host: Option<String>,
    /// PEM file of certificates to trust instead of the system's roots; only with `https://`.
    pub ca: Option<String>,
    /// PEM file of a certificate to show to servers that ask for one; only with `https://`.
    pub client_certificate: Option<String>,
    /// PEM file of its private key.
    pub client_key: Option<String>,
    /// The name that the servers' certificates must be for; default: the host of the URL.
    pub server_name: Option<String>,
}

/// Which requests go where, and what their tokens must be.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// The label in metrics and logs; default: the path.
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,
    /// Default: any.
    pub host: Option<String>,
    /// Exact, or a prefix ending in /*.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// Default: all; GET includes HEAD.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<String>>,
    /// The name of an upstream.
    pub upstream: String,
    /// Whether a token is needed, checked only if present, or not looked at.
    #[schemars(extend("default" = "required", "enum" = ["required", "optional", "none"]))]
    pub auth: Option<String>,
    /// Whose tokens are good here; default: the only issuer.
    pub issuers: Option<Vec<String>>,
    /// Instead of the issuer's.
    #[schemars(extend("default" = []))]
    pub audiences: Option<Vec<String>>,
    /// All needed.
    #[schemars(extend("default" = []))]
    pub scopes: Option<Vec<String>>,
    /// At least one needed.
    #[schemars(extend("default" = []))]
    pub any_scope: Option<Vec<String>>,
    /// What claims must be.
    #[schemars(extend("default" = []))]
    pub claims: Option<Vec<ClaimRule>>,
    /// forward: a CORS preflight passes without a token, and rejections can be read by browsers.
    #[schemars(extend("default" = "guard", "enum" = ["guard", "forward"]))]
    pub preflight: Option<String>,
    /// true: what would be refused is counted and logged, and forwarded.
    #[schemars(extend("default" = false))]
    pub report_only: Option<bool>,
    /// Whole segments from the front of the path, dropped before forwarding.
    #[schemars(extend("default" = ""))]
    pub strip_prefix: Option<String>,
    /// Instead of `[identity]`'s.
    pub forward_token: Option<bool>,
}

/// What a claim must be: exactly one of `equals`, `contains`, `one_of`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClaimRule {
    pub claim: Claim,
    /// The same scalar.
    pub equals: Option<Scalar>,
    /// An element of an array, never a substring.
    pub contains: Option<Scalar>,
    /// The scalar, or any element of the array, is one of these.
    #[schemars(length(min = 1))]
    pub one_of: Option<Vec<Scalar>>,
}

/// What upstreams learn of the caller.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Identity {
    /// Authorization goes on to the upstream.
    #[schemars(extend("default" = true))]
    pub forward_token: Option<bool>,
    /// Header name to claim; sub, iss, client, scope and audience mean what the issuer's section says.
    #[schemars(extend("default" = {
        "X-Auth-Subject": "sub", "X-Auth-Issuer": "iss", "X-Auth-Client": "client", "X-Auth-Scopes": "scope"
    }))]
    pub headers: Option<BTreeMap<String, Claim>>,
}

/// Where revocations are kept.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Revocation {
    /// memory: lost at a restart; embedded: a file in `state_dir`; redis: a fleet shares a Redis or Valkey, and each gateway
    /// keeps a copy in `state_dir`.
    #[schemars(extend("default" = "embedded", "enum" = ["memory", "embedded", "redis"]))]
    pub store: Option<String>,
    /// `redis://HOST[:PORT][/DATABASE]`, or `rediss://` for TLS; required with store = "redis".
    #[schemars(regex(pattern = "^[Rr][Ee][Dd][Ii][Ss]{1,2}://[^@?#,]+$"))]
    pub url: Option<String>,
    /// What the names of all keys in Redis begin with.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._:{}-]+$"), extend("default" = "portcullis"))]
    pub prefix: Option<String>,
    /// A user of the ACL; with `password_file`.
    pub username: Option<String>,
    /// File with the password; reread at every connection.
    pub password_file: Option<String>,
    /// PEM file: trust this instead of the system's roots, with `rediss://`.
    pub ca: Option<String>,
    /// What happens while the store is out of reach.
    #[schemars(extend("default" = "serve", "enum" = ["serve", "refuse"]))]
    pub on_stale: Option<String>,
    /// When "refuse" begins.
    #[schemars(extend("default" = "5m"))]
    pub max_stale: Option<Duration>,
}
