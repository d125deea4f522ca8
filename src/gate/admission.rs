//! What the gate answers.
//!
//! Owns [`Admission`], which nobody else can make, and [`Rejected`].

use std::sync::Arc;

use crate::config::RouteId;
use crate::identity::{Identity, IssuerLabel, TokenDigest, Via};
use crate::rejection::Rejection;

/// What Allow says where no route restricts the methods: TRACE and CONNECT are never among them.
const ORDINARY_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Proof that a request may go upstream: only the gate makes one, and forwarding takes it by value.
#[derive(Debug)]
pub struct Admission {
    route: RouteId,
    via: Via,
    facts: Facts,
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
        self.facts.issuer
    }

    /// The token, where there was a readable one.
    pub fn token(&self) -> Option<TokenDigest> {
        self.facts.token
    }

    /// Who the caller is: `None` for anonymous requests and, on `report_only` routes, after a failed credential.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.facts.identity.as_ref()
    }

    /// A CORS preflight that passes without a look at its credential: it may say no more than a preflight does.
    pub fn is_preflight(&self) -> bool {
        self.facts.is_preflight
    }

    /// On `report_only` routes: why the request would have been refused. It then counts neither as an
    /// admission nor as a rejection.
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
    /// For 503 of the gate: seconds after which another try makes sense.
    pub retry_after: Option<u32>,
    /// A CORS preflight was refused for want of a token: the hint names `preflight`.
    pub preflight: bool,
}

impl Rejected {
    /// Refused before a route was known.
    pub fn before_route(reason: Rejection) -> Box<Self> {
        Box::new(Self {
            reason,
            route: None,
            issuer: IssuerLabel::None,
            token: None,
            identity: None,
            allow: None,
            retry_after: None,
            preflight: false,
        })
    }

    /// Refused for its method; `allow` lists the others, and is empty where none is restricted.
    pub(super) fn method(route: Option<RouteId>, allow: &str) -> Box<Self> {
        let allow = if allow.is_empty() {
            ORDINARY_METHODS
        } else {
            allow
        };
        let mut rejected = Self::before_route(Rejection::MethodNotAllowed);
        rejected.route = route;
        rejected.allow = Some(allow.to_owned());
        rejected
    }
}

/// What the checks learned of a request on their way.
#[derive(Debug)]
pub(super) struct Facts {
    issuer: IssuerLabel,
    token: Option<TokenDigest>,
    identity: Option<Arc<Identity>>,
    is_preflight: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            issuer: IssuerLabel::None,
            token: None,
            identity: None,
            is_preflight: false,
        }
    }
}

impl Facts {
    pub(super) fn issuer(&self) -> IssuerLabel {
        self.issuer
    }

    /// The token was read.
    pub(super) fn name(&mut self, issuer: IssuerLabel, token: Option<TokenDigest>) {
        self.issuer = issuer;
        self.token = token;
    }

    /// It is a preflight, let in as such.
    pub(super) fn spare_credential(&mut self) {
        self.is_preflight = true;
    }

    /// The token was verified.
    pub(super) fn know(&mut self, identity: &Arc<Identity>) {
        self.identity = Some(Arc::clone(identity));
    }

    pub(super) fn admit(self, route: RouteId, via: Via) -> Admission {
        Admission {
            route,
            via,
            facts: self,
            would_reject: None,
        }
    }

    /// Lets a request through that a `report_only` route would refuse. Only a permission that lacks leaves
    /// the caller's identity standing.
    pub(super) fn admit_reported(mut self, route: RouteId, reason: Rejection) -> Admission {
        if !matches!(
            reason,
            Rejection::ScopeInsufficient | Rejection::ClaimDenied
        ) {
            self.identity = None;
        }
        Admission {
            route,
            via: Via::Anonymous,
            facts: self,
            would_reject: Some(reason),
        }
    }

    pub(super) fn reject(
        self,
        reason: Rejection,
        route: Option<RouteId>,
        retry_after: Option<u32>,
        preflight: bool,
    ) -> Box<Rejected> {
        Box::new(Rejected {
            reason,
            route,
            issuer: self.issuer,
            token: self.token,
            identity: self.identity,
            allow: None,
            retry_after,
            preflight,
        })
    }
}
