//! The configuration, wholly valid.
//!
//! Owns the typed sections that the rest of the program is built from, and [`load`]. A value of these
//! types has passed every check; defaults are filled in. Must not know the components it configures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;

mod claim_path;
mod issuer_pattern;
mod load;
mod named_file;
mod node;
mod quantity;
mod reader;
mod report;
pub mod schema;
mod secret;
mod sections;
mod suggestion;
mod web_address;

pub use claim_path::ClaimPath;
pub use issuer_pattern::{IssuerPattern, Tenants};
pub use load::{Loaded, LoadedAdmin, load, load_admin, load_stream, load_text};
pub use report::{ContentDigest, Fault, Faults, Finding, FollowedFile, Warning};
pub use secret::Secret;

use crate::algorithm::AlgorithmSet;
use crate::identity::{ClaimSlot, IssuerId};
use crate::tls::{ClientTls, ServerTls};

/// Everything the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub log: Log,
    pub token_cache: TokenCache,
    /// In the order of the file; [`IssuerId`] is the index.
    pub issuers: Vec<Issuer>,
    /// In the order of the file; [`UpstreamId`] is the index.
    pub upstreams: Vec<Upstream>,
    /// In the order of the file; [`RouteId`] is the index.
    pub routes: Vec<Route>,
    pub identity: IdentityHeaders,
    pub revocation: Revocation,
    /// The claims that routes and identity headers refer to, without repetition; [`ClaimSlot`] is the index.
    pub claims: Vec<ClaimPath>,
}

/// Which `[[route]]`: its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The place in [`Config::routes`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which `[[upstream]]`: its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub u32);

impl UpstreamId {
    /// The place in [`Config::upstreams`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// 0: one per core.
    pub workers: usize,
    /// Printable ASCII without `"` and `\`.
    pub realm: String,
    /// Absolute, or relative to the working directory: already resolved against the file.
    pub state_dir: PathBuf,
    pub trusted_proxies: Vec<IpNet>,
    pub forwarded: Forwarded,
    pub via: bool,
    /// `encoded_slash = "keep"`
    pub keep_encoded_slash: bool,
    /// `path_parameters = "keep"`
    pub keep_path_parameters: bool,
    pub error_detail: ErrorDetail,
    pub docs_url: Option<String>,
    pub drain_delay: Duration,
    pub drain: Duration,
    /// `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    pub limits: Limits,
}

/// The family of forwarding headers that is believed from trusted proxies and written towards upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    XForwarded,
    /// RFC 7239
    Forwarded,
    None,
}

/// How much answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorDetail {
    Full,
    Minimal,
}

/// `[server.limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub header_bytes: usize,
    pub token_bytes: usize,
    /// `None`: no limit.
    pub body_bytes: Option<u64>,
    pub connections: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    pub listen: SocketAddr,
    /// The content of `token_file`, one final newline dropped.
    pub token: Option<Secret>,
    /// Lower-case names under which the listener may be called, besides address literals and `localhost`.
    pub hosts: Vec<String>,
    /// `issuer` and `scope`
    pub operators: Option<Operators>,
}

/// Whose bearer tokens are an admin credential too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operators {
    pub issuer: IssuerId,
    /// The token must have it.
    pub scope: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, already known to parse.
    pub level: String,
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// `[token_cache]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCache {
    /// 0: no cache.
    pub entries: usize,
}

/// `[[issuer]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    pub name: String,
    pub issuer: IssuerPattern,
    pub keys: KeySource,
    /// At least one.
    pub audiences: Vec<String>,
    pub algorithms: AlgorithmSet,
    /// Lower-case, `application/` dropped; empty: the contract's default rules.
    pub token_types: Vec<String>,
    /// `id_tokens = "accept"`
    pub accept_id_tokens: bool,
    pub leeway: Duration,
    pub max_lifetime: Option<Duration>,
    pub required_claims: Vec<ClaimPath>,
    pub audience_claim: ClaimPath,
    pub scope_claims: Vec<ClaimPath>,
    pub client_claims: Vec<ClaimPath>,
    pub subject_claim: ClaimPath,
    pub jwks: Jwks,
    pub backchannel_logout: Option<BackchannelLogout>,
}

/// `backchannel_logout` of an issuer (OpenID Connect Back-Channel Logout 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackchannelLogout {
    /// Of the public listener, at every host; split at slashes as [`PathPattern::Exact`] is.
    pub path: Vec<String>,
    /// The client id that logout tokens are for.
    pub audience: String,
    /// `sessions = "sid-only"`
    pub session_only: bool,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// `jwks_uri`
    Url(String),
    /// `jwks_file`, resolved against the configuration file.
    File(PathBuf),
    /// `discovery = true`
    Discovery,
    /// The content of `hmac_secret_file`, one final newline dropped.
    HmacSecret(Secret),
}

/// `[issuer.jwks]`
#[derive(Clone, Debug, PartialEq)]
pub struct Jwks {
    pub refresh: Duration,
    pub cooldown: Duration,
    pub wait: Duration,
    pub timeout: Duration,
    pub max_bytes: usize,
    pub max_keys: usize,
    pub max_stale: Duration,
    /// PEM bytes of `ca`, already known to hold a certificate.
    pub ca: Option<Vec<u8>>,
    /// `token_file`: reread at every fetch, because clusters rotate such tokens.
    pub token_file: Option<PathBuf>,
}

/// `[[upstream]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub name: String,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub keep_alive: Duration,
    pub retries: u32,
    pub host: UpstreamHost,
    /// For the servers that are spoken to by TLS; there is none otherwise.
    pub tls: Option<ClientTls>,
    /// The name that every server's certificate must be for; `None`: that of its URL.
    pub server_name: Option<String>,
}

/// One of `servers`: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// `HOST[:PORT]` as it stands in a Host header.
    pub authority: String,
    /// `https`
    pub secure: bool,
}

/// The Host that an upstream sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    Preserve,
    Upstream,
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: String,
    /// Lower-case, without port.
    pub host: Option<String>,
    pub path: PathPattern,
    /// `None`: all. Without the HEAD that GET includes.
    pub methods: Option<Vec<Method>>,
    pub upstream: UpstreamId,
    pub auth: Auth,
    /// Empty only with [`Auth::Open`].
    pub issuers: Vec<IssuerId>,
    /// Empty: the issuer's.
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
    pub any_scope: Vec<String>,
    pub claims: Vec<ClaimRule>,
    /// `preflight = "forward"`
    pub forward_preflight: bool,
    pub report_only: bool,
    /// Segments dropped from the front of the path; a prefix of `path`'s.
    pub strip_prefix: Vec<String>,
    /// Already resolved against `[identity]`.
    pub forward_token: bool,
}

/// `path` of a route, split at slashes: `/` is one empty segment, `/orders/` is `orders` and an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// `/orders`
    Exact(Vec<String>),
    /// `/orders/*` is `[orders]`; `/*` is no segment at all.
    Prefix(Vec<String>),
}

/// `auth` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Required,
    Optional,
    /// `none`
    Open,
}

/// One of a route's `claims`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRule {
    pub claim: ClaimSlot,
    pub test: ClaimTest,
}

/// What a claim must be. The values are JSON scalars.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimTest {
    /// The same scalar.
    Equals(serde_json::Value),
    /// An element of an array.
    Contains(serde_json::Value),
    /// The scalar, or any element of the array, is one of these.
    OneOf(Vec<serde_json::Value>),
}

/// `[identity]`
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityHeaders {
    /// Headers set from the identity, in the order of the file.
    pub headers: Vec<(HeaderName, IdentitySource)>,
}

/// Where the value of an identity header comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// `sub`
    Subject,
    /// `iss`
    Issuer,
    /// `client`
    Client,
    /// `scope`
    Scope,
    /// `audience`
    Audience,
    /// Any other claim.
    Claim(ClaimSlot),
}

/// `[revocation]`
#[derive(Clone, Debug, PartialEq)]
pub struct Revocation {
    pub store: RevocationStore,
    pub on_stale: OnStale,
    pub max_stale: Duration,
}

/// `store`, and what only that store is told.
#[derive(Clone, Debug, PartialEq)]
pub enum RevocationStore {
    /// Lost at a restart.
    Memory,
    /// A file in `state_dir`.
    Embedded,
    /// A Redis that a fleet shares, and a file in `state_dir` for the copy of each gateway.
    Redis(Redis),
}

/// The Redis or Valkey that a fleet of gateways shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    pub database: u32,
    /// `rediss://`
    pub tls: Option<RedisTls>,
    /// What the names of all keys begin with.
    pub prefix: String,
    pub username: Option<String>,
    /// Reread at every connection, because passwords are changed; already known to hold UTF-8.
    pub password_file: Option<PathBuf>,
}

/// How a Redis is known by TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisTls {
    /// PEM bytes of `ca`, already known to hold a certificate; `None`: the system's roots.
    pub ca: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStale {
    Serve,
    Refuse,
}
