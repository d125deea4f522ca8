//! Operators: callers whose bearer token is an admin credential.
//!
//! Owns what such a token is held to, which is what a route asks of its callers: the issuer, its audience, and one scope. The
//! checks are those of every request, rows 3 to 12, revocation included. Knows nothing of what operators may do.

use std::sync::Arc;

use http::request::Parts;

use super::admission::{Facts, Rejected};
use super::{Gate, credential};
use crate::config::{Auth, Operators, PathPattern, Route, UpstreamId};
use crate::identity::Identity;
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// The demands on an operator's token in the form of a route, which leads nowhere.
pub(super) fn rule(operators: &Operators) -> Route {
    Route {
        name: String::new(),
        host: None,
        path: PathPattern::Exact(Vec::new()),
        methods: None,
        upstream: UpstreamId(u32::MAX),
        auth: Auth::Required,
        issuers: vec![operators.issuer],
        audiences: Vec::new(),
        scopes: vec![operators.scope.clone()],
        any_scope: Vec::new(),
        claims: Vec::new(),
        forward_preflight: false,
        report_only: false,
        strip_prefix: Vec::new(),
        forward_token: false,
    }
}

impl Gate {
    /// Who the operator is whose token is in `head`.
    ///
    /// # Errors
    /// The first check that fails, rows 3 to 12 of the contract's table; `token_missing` where no token makes an operator.
    pub async fn operator(
        &self,
        head: &Parts,
        now: UnixTime,
    ) -> Result<Arc<Identity>, Box<Rejected>> {
        let Some(rule) = &self.operators else {
            return Err(Rejected::before_route(Rejection::TokenMissing));
        };
        let mut facts = Facts::default();
        let outcome = match credential::extract(&head.headers, &head.uri, self.token_bytes) {
            Ok(credential) => self.judge(credential, rule, now, &mut facts).await,
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok((verified, _)) => Ok(verified.identity),
            Err(reason) => Err(self.reject(facts, None, reason, false)),
        }
    }
}
