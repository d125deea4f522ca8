//! Every check on a token, one after another, with what it found: the gate's own checks, run on past a failure.
//!
//! Owns [`Explanation`]. One line a reason of the contract's table, in its order. Claims that are shown come from
//! the token and may not be verified; the signature is never shown.

mod checks;
mod rows;
mod values;

use http::request::Parts;
use serde::Serialize;

pub use checks::{Check, CheckResult};

use super::Gate;
use super::jws::{Compact, Decoded};
use crate::identity::IssuerId;
use crate::rejection::{Class, Rejection};
use crate::revocation::Verdict;
use crate::time::UnixTime;
use rows::Examination;

/// What is asked of [`Gate::explain`].
#[derive(Debug)]
pub struct Inquiry<'inquiry> {
    /// The token, without `Bearer`.
    pub token: &'inquiry str,
    /// Method, host and path that choose the route; without it routes and their policy are skipped.
    pub request: Option<&'inquiry Parts>,
    /// Who knows what was revoked.
    pub revocations: RevocationSource<'inquiry>,
}

/// Where the answer to row 11 comes from.
#[derive(Clone, Copy, Debug)]
pub enum RevocationSource<'inquiry> {
    /// This gate's own set.
    Own,
    /// A running gateway was asked.
    Answered(Verdict),
    /// Nobody could be asked, and why.
    Unknown(&'inquiry str),
}

/// How all checks together ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Admitted,
    Rejected,
    /// This side cannot tell.
    Undecided,
}

/// What `explain` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub outcome: Outcome,
    /// The first check that failed.
    pub reason: Option<Rejection>,
    /// The status that the caller would get.
    pub status: Option<u16>,
    /// The token's name in logs.
    pub token_id: Option<String>,
    /// The configured issuer's name.
    pub issuer: Option<String>,
    /// The route's name.
    pub route: Option<String>,
    pub checks: Vec<Check>,
    /// What the checks do not say: what was not judged, and what the route makes of it all.
    pub notes: Vec<String>,
}

impl Explanation {
    /// Draws the conclusion from the checks: the first that failed is the reason.
    pub fn conclude(&mut self) {
        let failed = self
            .checks
            .iter()
            .find(|check| check.result == CheckResult::Fail);
        self.reason = failed.map(|check| check.reason);
        self.status = self.reason.map(Rejection::status);
        self.outcome = match self.reason.map(Rejection::class) {
            None => Outcome::Admitted,
            Some(Class::Dependency | Class::Upstream) => Outcome::Undecided,
            Some(Class::Request | Class::Credential | Class::Permission) => Outcome::Rejected,
        };
    }
}

impl Gate {
    /// The configured issuer that a token says it comes from; nothing is verified.
    pub fn claimed_issuer(&self, token: &str) -> Option<IssuerId> {
        let decoded = Compact::cut(token).and_then(Compact::decode).ok()?;
        let jws = decoded.read().ok()?;
        Some(self.verifier.issuer_of(&jws.claims)?.id)
    }

    /// Runs every check on a token and says what each found, past the first failure where that makes sense.
    /// The verified-token cache is left out.
    pub async fn explain(&self, inquiry: Inquiry<'_>, now: UnixTime) -> Explanation {
        let mut examination = Examination::new(self, &inquiry, now);
        let route = examination.request();
        let compact = Compact::cut(inquiry.token);
        let decoded = compact.and_then(Compact::decode);
        let read = decoded.as_ref().map_err(|reason| *reason);
        let jws = examination.token(read.and_then(Decoded::read));
        let issuer = jws
            .as_ref()
            .and_then(|jws| self.verifier.issuer_of(&jws.claims));
        if let Some(jws) = &jws {
            examination.issuer(jws, issuer, route);
            match issuer {
                Some(issuer) => examination.rules(jws, issuer, route).await,
                None => examination.no_issuer(),
            }
        }
        let mut explanation = Explanation {
            outcome: Outcome::Undecided,
            reason: None,
            status: None,
            token_id: compact
                .ok()
                .and_then(|token| token.digest())
                .map(|digest| digest.token_id().to_string()),
            issuer: issuer.map(|issuer| issuer.config.name.clone()),
            route: route.map(|route| route.name.clone()),
            checks: examination.checks.0,
            notes: examination.notes,
        };
        explanation.conclude();
        explanation
    }
}
