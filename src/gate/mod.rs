//! The decision: a request's head in, [`Admission`] or [`Rejected`] out.
//!
//! Owns the order of the checks. Knows no sockets, no metrics and no clock; its one await is the bounded
//! wait for an issuer's single-flight refresh.

use std::sync::Arc;

use http::request::Parts;

use crate::config::{Config, Route, RouteId};
use crate::identity::{Identity, IssuerLabel, TokenDigest, Via};
use crate::keys::IssuerKeys;
use crate::rejection::Rejection;
use crate::revocation::RevocationSet;
use crate::time::UnixTime;

/// Proof that a request may go upstream: only the gate makes one, and forwarding takes it by value.
#[derive(Debug)]
pub struct Admission {
    route: RouteId,
    via: Via,
    issuer: IssuerLabel,
    token: Option<TokenDigest>,
    identity: Option<Arc<Identity>>,
    would_reject: Option<Rejection>,
}

impl Admission {
    /// The route that governs the request.
    pub fn route(&self) -> RouteId {
        self.route
    }
    /// How it came about.
    pub fn via(&self) -> Via {
        self.via
    }
    /// The issuer of the token.
    pub fn issuer(&self) -> IssuerLabel {
        self.issuer
    }
    /// The token, where there was a readable one.
    pub fn token(&self) -> Option<TokenDigest> {
        self.token
    }
    /// Who the caller is: `None` for anonymous requests and, on `report_only` routes, after a failed credential.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
    /// On `report_only` routes: why the request would have been refused. Then it counts as neither admission nor rejection.
    pub fn would_reject(&self) -> Option<Rejection> {
        self.would_reject
    }
}

/// A request that is not forwarded, and what its answer, its record and its count need.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub reason: Rejection,
    /// The route, where one matched (also for 405).
    pub route: Option<RouteId>,
    /// The issuer of the token.
    pub issuer: IssuerLabel,
    /// The token, where there was one of three parts.
    pub token: Option<TokenDigest>,
    /// Who the caller is, where the token was verified.
    pub identity: Option<Arc<Identity>>,
    /// For 405: the methods that are allowed, as an Allow header says it.
    pub allow: Option<String>,
    /// For 503 of this gate: seconds after which another try makes sense.
    pub retry_after: Option<u32>,
    /// A CORS preflight was refused for want of a token: the hint names `preflight`.
    pub preflight: bool,
}

/// The whole decision, built once per configuration.
#[derive(Debug)]
pub struct Gate {}

impl Gate {
    /// Builds the gate: `keys` by issuer.
    pub fn new(
        _config: &Config,
        _keys: Vec<Arc<IssuerKeys>>,
        _revocations: Arc<RevocationSet>,
    ) -> Self {
        todo!()
    }
    /// Decides on a request: Host and path, route, credential, token, revocation, policy.
    /// Framing (Transfer-Encoding, Connection, sizes) is the edge's to check before.
    pub async fn admit(&self, _head: &Parts, _now: UnixTime) -> Result<Admission, Box<Rejected>> {
        todo!()
    }
    /// The route of that number.
    pub fn route(&self, _route: RouteId) -> &Route {
        todo!()
    }
    /// Verified tokens kept at the moment.
    pub fn cached_tokens(&self) -> usize {
        todo!()
    }
    /// Hits and misses of the verified-token cache since start: `verified_cache_lookups_total{result}`.
    pub fn cache_lookups(&self) -> (u64, u64) {
        todo!()
    }
    /// Runs every check on `token` and says what each found, without the cache. `request`: method, path and host to choose the
    /// route by; without it the policy is skipped. JSON-serialisable; never holds the signature.
    pub async fn explain(
        &self,
        _token: &str,
        _request: Option<&Parts>,
        _now: UnixTime,
    ) -> Explanation {
        todo!()
    }
}

/// What `explain` prints.
#[derive(Debug, serde::Serialize)]
pub struct Explanation {}
