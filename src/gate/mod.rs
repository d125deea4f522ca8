//! The decision: a request's head in, [`Admission`] or [`Rejected`] out.
//!
//! Owns the order of the checks. Knows no sockets, no metrics and no clock; its one await is the bounded
//! wait for an issuer's single-flight refresh.

mod admission;
mod claims;
mod credential;
mod explain;
mod json;
mod jws;
mod logout;
mod operators;
mod policy;
mod route;
mod shared_texts;
mod target;
mod verified_cache;
mod verifier;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

pub use admission::{Admission, Rejected};
pub use explain::{Check, CheckResult, Explanation, Inquiry, Outcome, RevocationSource};
pub use logout::Logout;

use crate::config::{Auth, Config, Route, RouteId};
use crate::identity::{IssuerLabel, Via};
use crate::keys::IssuerKeys;
use crate::rejection::Rejection;
use crate::revocation::{RevocationSet, Verdict};
use crate::time::UnixTime;
use admission::Facts;
use credential::Credential;
use jws::Compact;
use logout::Endpoints;
use route::{Found, RouteTable};
use target::PathRules;
use verified_cache::{CacheKey, Verified, VerifiedCache};
use verifier::{Trusted, Verifier};

/// Seconds after which a client may ask again when revocations are out of date.
const RETRY_STALE: u32 = 5;

/// The whole decision, built once per configuration.
#[derive(Debug)]
pub struct Gate {
    routes: Vec<Route>,
    table: RouteTable,
    path_rules: PathRules,
    token_bytes: usize,
    verifier: Verifier,
    cache: Arc<VerifiedCache>,
    revocations: Arc<RevocationSet>,
    /// What an operator's token is held to; it is in no table, and no request goes anywhere by it.
    operators: Option<Route>,
    logouts: Endpoints,
}

/// A request that found its route.
struct Routed<'gate> {
    id: RouteId,
    route: &'gate Route,
    /// A CORS preflight; it was routed by the method that it asks for.
    preflight: bool,
}

impl Gate {
    /// Builds the gate; `keys` are those of the issuers, in the same order.
    pub fn new(
        config: &Config,
        keys: Vec<Arc<IssuerKeys>>,
        revocations: Arc<RevocationSet>,
    ) -> Self {
        Self {
            table: RouteTable::new(&config.routes),
            routes: config.routes.clone(),
            path_rules: PathRules {
                keep_encoded_slash: config.server.keep_encoded_slash,
                keep_path_parameters: config.server.keep_path_parameters,
            },
            token_bytes: config.server.limits.token_bytes,
            verifier: Verifier::new(config, keys),
            cache: Arc::new(VerifiedCache::new(config.token_cache.entries)),
            revocations,
            operators: config.admin.operators.as_ref().map(operators::rule),
            logouts: Endpoints::new(&config.issuers),
        }
    }

    /// Goes on with the verified tokens of the gate before, if the claims that are kept and the rules by which
    /// they were verified are the same; `previous` was built from the configuration `before`.
    #[must_use]
    pub fn keeping_tokens_of(mut self, previous: &Self, before: &Config, config: &Config) -> Self {
        let is_same = before.issuers == config.issuers
            && before.claims == config.claims
            && before.token_cache == config.token_cache;
        if is_same {
            self.cache = Arc::clone(&previous.cache);
        }
        self
    }

    /// Decides on a request: Host and path, route, credential, token, revocation, policy. Framing (sizes,
    /// `Transfer-Encoding`, `Connection`) is the edge's to judge before.
    ///
    /// # Errors
    /// The first check that fails, in the order of the contract's table.
    pub async fn admit(&self, head: &Parts, now: UnixTime) -> Result<Admission, Box<Rejected>> {
        let routed = self.route_of(head)?;
        let mut facts = Facts::default();
        match self.decide(head, &routed, now, &mut facts).await {
            Ok(via) => Ok(facts.admit(routed.id, via)),
            Err(reason) if routed.route.report_only && reason.is_reportable() => {
                Ok(facts.admit_reported(routed.id, reason))
            }
            Err(reason) => {
                let preflight = reason == Rejection::TokenMissing && routed.preflight;
                Err(self.reject(facts, Some(routed.id), reason, preflight))
            }
        }
    }

    /// The reason why a request is refused whose frame was found faulty for `reason`: what is malformed comes before
    /// what is too large.
    pub fn first_fault(&self, head: &Parts, reason: Rejection) -> Rejection {
        let is_malformed = || {
            target::host(head).is_err()
                || target::path(&head.method, &head.uri, self.path_rules)
                    == Err(Rejection::RequestMalformed)
        };
        if is_malformed() {
            Rejection::RequestMalformed
        } else {
            reason
        }
    }

    /// The route of that number.
    pub fn route(&self, route: RouteId) -> Option<&Route> {
        self.routes.get(route.index())
    }

    /// Verified tokens kept at the moment.
    pub fn cached_tokens(&self) -> usize {
        self.cache.len()
    }

    /// Hits and misses of the verified-token cache since this gate was built.
    pub fn cache_lookups(&self) -> (u64, u64) {
        self.cache.lookups()
    }

    /// Rows 1 and 2, as far as they are the gate's.
    fn route_of(&self, head: &Parts) -> Result<Routed<'_>, Box<Rejected>> {
        let asked = preflight_method(head);
        let method = asked.as_ref().unwrap_or(&head.method);
        let host = target::host(head).map_err(Rejected::before_route)?;
        let path = target::path(&head.method, &head.uri, self.path_rules)
            .map_err(Rejected::before_route)?;
        if target::is_for_a_hop(&head.method) {
            return Err(self.never_routed(host, &path, &head.method));
        }
        match self.table.find(host, &path, method) {
            Found::Route(id) => {
                let route = self
                    .route(id)
                    .ok_or_else(|| Rejected::before_route(Rejection::RouteUnknown))?;
                let preflight = asked.is_some();
                Ok(Routed {
                    id,
                    route,
                    preflight,
                })
            }
            Found::OtherMethods(id, allow) => Err(Rejected::method(Some(id), allow)),
            Found::Nothing => Err(Rejected::before_route(Rejection::RouteUnknown)),
        }
    }

    /// TRACE and CONNECT. What the routes of that path allow instead is said all the same.
    fn never_routed(&self, host: &str, path: &str, method: &Method) -> Box<Rejected> {
        match self.table.find(host, path, method) {
            Found::OtherMethods(_, allow) => Rejected::method(None, allow),
            Found::Route(_) | Found::Nothing => Rejected::method(None, ""),
        }
    }

    /// Rows 3 to 12.
    async fn decide(
        &self,
        head: &Parts,
        routed: &Routed<'_>,
        now: UnixTime,
        facts: &mut Facts,
    ) -> Result<Via, Rejection> {
        let route = routed.route;
        if route.auth == Auth::Open {
            return Ok(Via::Anonymous);
        }
        if routed.preflight && route.forward_preflight {
            facts.spare_credential();
            return Ok(Via::Anonymous);
        }
        let credential = match credential::extract(&head.headers, &head.uri, self.token_bytes) {
            Err(Rejection::TokenMissing) if route.auth == Auth::Optional => {
                return Ok(Via::Anonymous);
            }
            found => found?,
        };
        let (_, via) = self.judge(credential, route, now, facts).await?;
        Ok(via)
    }

    /// Rows 4 to 12.
    async fn judge(
        &self,
        credential: Credential<'_>,
        route: &Route,
        now: UnixTime,
        facts: &mut Facts,
    ) -> Result<(Verified, Via), Rejection> {
        let (verified, via) = self.verified(credential, route, now, facts).await?;
        facts.know(&verified.identity);
        let issuer = self.issuer_of(&verified)?;
        self.check_revocation(&verified, issuer, now)?;
        policy::check(&verified.identity, route, &issuer.config)?;
        Ok((verified, via))
    }

    /// Rows 4 to 10, or what is left of them for a token that was verified before: 5 for the route, 7 for
    /// the clock, and that the key is still there.
    async fn verified(
        &self,
        credential: Credential<'_>,
        route: &Route,
        now: UnixTime,
        facts: &mut Facts,
    ) -> Result<(Verified, Via), Rejection> {
        let token = Compact::cut(credential.token())?;
        let key = CacheKey::of(&token);
        if let Some(verified) = self
            .cache
            .find(&key, |verified| self.is_current(verified, now))
        {
            let issuer = self.issuer_of(&verified)?;
            facts.name(
                IssuerLabel::Known(issuer.id),
                Some(verified.identity.digest),
            );
            if !route.issuers.contains(&issuer.id) {
                return Err(Rejection::IssuerUnknown);
            }
            if claims::has_expired(verified.identity.expires_at, &issuer.config, now) {
                return Err(Rejection::TokenExpired);
            }
            return Ok((verified, Via::Cache));
        }
        facts.name(IssuerLabel::None, token.digest());
        let decoded = token.decode()?;
        let jws = decoded.read()?;
        facts.name(self.verifier.label_of(&jws.claims), Some(jws.digest));
        let verified = self.verifier.verify(&jws, &route.issuers, now).await?;
        self.cache.keep(key, verified.clone());
        Ok((verified, Via::Verified))
    }

    /// Whether the issuer's keys, not past their age, still hold the key that verified the token.
    fn is_current(&self, verified: &Verified, now: UnixTime) -> bool {
        self.verifier
            .issuer(verified.identity.issuer)
            .is_some_and(|issuer| issuer.still_holds(&verified.key, now))
    }

    fn issuer_of(&self, verified: &Verified) -> Result<&Trusted, Rejection> {
        self.verifier
            .issuer(verified.identity.issuer)
            .ok_or(Rejection::IssuerUnknown)
    }

    /// Row 11.
    fn check_revocation(
        &self,
        verified: &Verified,
        issuer: &Trusted,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let configured = issuer.config.issuer.as_str();
        match self.revocations.check(&verified.identity, configured, now) {
            Verdict::Clear => Ok(()),
            Verdict::Revoked => Err(Rejection::TokenRevoked),
            Verdict::Stale => Err(Rejection::RevocationsStale),
        }
    }

    fn reject(
        &self,
        facts: Facts,
        route: Option<RouteId>,
        reason: Rejection,
        preflight: bool,
    ) -> Box<Rejected> {
        let retry_after = match reason {
            Rejection::KeysUnavailable => Some(self.retry_keys(facts.issuer())),
            Rejection::RevocationsStale => Some(RETRY_STALE),
            _ => None,
        };
        facts.reject(reason, route, retry_after, preflight)
    }

    /// Seconds until the issuer's keys may be asked for again.
    fn retry_keys(&self, issuer: IssuerLabel) -> u32 {
        let cooldown = match issuer {
            IssuerLabel::Known(id) => self
                .verifier
                .issuer(id)
                .map(|issuer| issuer.config.jwks.cooldown),
            IssuerLabel::None | IssuerLabel::Unknown => None,
        };
        let seconds = cooldown.map_or(1, |cooldown| {
            cooldown.as_secs() + u64::from(cooldown.subsec_nanos() > 0)
        });
        u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
    }
}

/// The method that a CORS preflight asks for (Fetch §3.2.2); `None` for every other request. A browser sends no body with
/// one; what has a body asks for more than a permission.
fn preflight_method(head: &Parts) -> Option<Method> {
    if head.method != Method::OPTIONS
        || !head.headers.contains_key(header::ORIGIN)
        || has_body(&head.headers)
    {
        return None;
    }
    single(&head.headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?
        .parse()
        .ok()
}

/// The framing announces a body (RFC 9112 §6.3).
fn has_body(headers: &HeaderMap) -> bool {
    let is_empty = |length: &HeaderValue| length.as_bytes().iter().all(|digit| *digit == b'0');
    headers.contains_key(header::TRANSFER_ENCODING)
        || !headers.get_all(header::CONTENT_LENGTH).iter().all(is_empty)
}

fn single<'head>(headers: &'head HeaderMap, name: &header::HeaderName) -> Option<&'head str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
