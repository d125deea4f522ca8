//! The rows of the contract's table, each asked of the gate's own functions.

use super::checks::Checks;
use super::values::{claim_text, list, moment_text, shown, test_text};
use super::{Inquiry, RevocationSource};
use crate::config::{Auth, Route};
use crate::gate::jws::{Jws, moment};
use crate::gate::verified_cache::Verified;
use crate::gate::verifier::{Lookup, Trusted};
use crate::gate::{Gate, claims, credential, policy};
use crate::identity::{Identity, IssuerId, Thumbprint};
use crate::rejection::Rejection;
use crate::revocation::Verdict;
use crate::time::UnixTime;

const REQUEST: [(Rejection, &str); 4] = [
    (Rejection::RequestMalformed, "one valid host"),
    (
        Rejection::PathAmbiguous,
        "a path that every server reads alike",
    ),
    (Rejection::RouteUnknown, "a route for that host and path"),
    (
        Rejection::MethodNotAllowed,
        "a method that the route allows",
    ),
];
const FORM: [(Rejection, &str); 3] = [
    (Rejection::TokenOpaque, "a JWT, not an opaque token"),
    (
        Rejection::TokenEncrypted,
        "a signed JWT, not an encrypted one",
    ),
    (
        Rejection::TokenMalformed,
        "three canonical base64url parts; header and claims JSON objects",
    ),
];
const KEY: [(Rejection, &str); 3] = [
    (
        Rejection::KeysUnavailable,
        "keys of the issuer, not too old",
    ),
    (
        Rejection::KeyUnknown,
        "a kid that is among the issuer's keys",
    ),
    (Rejection::SignatureInvalid, "a signature by that key"),
];
const POLICY: [Rejection; 3] = [
    Rejection::AudienceMismatch,
    Rejection::ScopeInsufficient,
    Rejection::ClaimDenied,
];

/// One token under examination.
pub(super) struct Examination<'gate> {
    gate: &'gate Gate,
    inquiry: &'gate Inquiry<'gate>,
    now: UnixTime,
    pub(super) checks: Checks,
    pub(super) notes: Vec<String>,
}

impl<'gate> Examination<'gate> {
    pub(super) fn new(gate: &'gate Gate, inquiry: &'gate Inquiry<'gate>, now: UnixTime) -> Self {
        Self {
            gate,
            inquiry,
            now,
            checks: Checks::default(),
            notes: Vec::new(),
        }
    }

    /// Rows 1 and 2.
    pub(super) fn request(&mut self) -> Option<&'gate Route> {
        let Some(head) = self.inquiry.request else {
            self.checks
                .skip(REQUEST.map(|(reason, _)| reason), "no --url was given");
            return None;
        };
        let found = format!("{} {}", shown(head.method.as_str()), shown(head.uri.path()));
        match self.gate.route_of(head) {
            Ok(routed) => {
                let found = format!("{found}: route {}", routed.route.name);
                self.checks.sequence(&REQUEST, None, &found);
                self.note_openness(routed.route);
                Some(routed.route)
            }
            Err(rejected) => {
                self.checks
                    .sequence(&REQUEST, Some(rejected.reason), &found);
                None
            }
        }
    }

    /// Whether the route lets through what the checks refuse.
    fn note_openness(&mut self, route: &Route) {
        if route.auth == Auth::Open {
            self.notes.push(format!(
                "route {} is open (auth = \"none\"): the gateway does not look at the token there",
                route.name
            ));
        } else if route.report_only {
            self.notes.push(format!(
                "route {} only reports (report_only): what the token or the policy fails at is forwarded all the same",
                route.name
            ));
        }
    }

    /// Rows 3 and 4.
    pub(super) fn token<'token>(
        &mut self,
        outcome: Result<Jws<'token>, Rejection>,
    ) -> Option<Jws<'token>> {
        let token = self.inquiry.token;
        self.credential(token);
        if token.is_empty() {
            self.unreadable();
            return None;
        }
        let parts = token.split('.').count();
        let found = if parts == 1 {
            "no dots".to_owned()
        } else {
            format!("{parts} parts")
        };
        self.checks
            .sequence(&FORM, outcome.as_ref().err().copied(), &found);
        if outcome.is_err() {
            self.unreadable();
        }
        outcome.ok()
    }

    fn credential(&mut self, token: &str) {
        let found = format!("{} characters", token.len());
        self.checks.judge(
            Rejection::TokenMissing,
            !token.is_empty(),
            &*found,
            "a token",
        );
        let is_token = credential::is_b64token(token);
        let wanted = "letters, digits and -._~+/ with = at the end only";
        self.checks
            .judge(Rejection::HeaderMalformed, is_token, &*found, wanted);
        let limit = self.gate.token_bytes;
        let wanted = format!("at most {limit} bytes (token_bytes)");
        self.checks.judge(
            Rejection::TokenTooLarge,
            token.len() <= limit,
            found,
            wanted,
        );
    }

    fn unreadable(&mut self) {
        let behind = Rejection::ALL
            .iter()
            .copied()
            .filter(|reason| (Rejection::IssuerUnknown..=Rejection::ClaimDenied).contains(reason));
        self.checks.skip(behind, "the token cannot be read");
    }

    /// The rules are the issuer's: without one there is nothing more to check by.
    pub(super) fn no_issuer(&mut self) {
        let behind = Rejection::ALL.iter().copied().filter(|reason| {
            (Rejection::AlgorithmForbidden..=Rejection::ClaimDenied).contains(reason)
        });
        self.checks
            .skip(behind, "the rules are the issuer's, and it is not known");
    }

    /// Row 5.
    pub(super) fn issuer(
        &mut self,
        jws: &Jws<'_>,
        issuer: Option<&Trusted>,
        route: Option<&Route>,
    ) {
        let verifier = &self.gate.verifier;
        let allowed: Vec<IssuerId> = match route {
            Some(route) if !route.issuers.is_empty() => route.issuers.clone(),
            _ => verifier.all().map(|issuer| issuer.id).collect(),
        };
        let texts = allowed
            .iter()
            .filter_map(|id| verifier.issuer(*id))
            .map(|issuer| issuer.config.issuer.as_str().to_owned());
        let wanted = format!("iss equal to the byte to: {}", list(texts));
        let name = issuer.map_or("not configured", |issuer| &issuer.config.name);
        let found = format!("{} ({name})", claim_text(&jws.claims, "iss"));
        let outcome = verifier.allowed_issuer(&jws.claims, &allowed);
        let reason = outcome
            .as_ref()
            .err()
            .copied()
            .unwrap_or(Rejection::IssuerUnknown);
        self.checks.judge(reason, outcome.is_ok(), found, wanted);
    }

    /// Rows 6 to 12.
    pub(super) async fn rules(&mut self, jws: &Jws<'_>, issuer: &Trusted, route: Option<&Route>) {
        self.algorithm(jws, issuer);
        self.expiry(jws, issuer);
        let verified = self.key(jws, issuer).await;
        self.claims(jws, issuer);
        self.times(jws, issuer);
        // Without a key the claims are still worth a look; the check of the key has said what they are worth.
        let identity = match verified {
            Some(verified) => verified.identity,
            None => self
                .gate
                .verifier
                .identify(jws, issuer, Thumbprint([0; 32])),
        };
        self.revocation(&identity, issuer);
        if let Some(route) = route {
            self.policy(&identity, issuer, route);
        } else {
            self.checks.skip(POLICY, "no route is known");
            self.note_audience(&identity, issuer);
        }
    }

    /// Which route is meant is not known; that none can be meant can be said all the same.
    fn note_audience(&mut self, identity: &Identity, issuer: &Trusted) {
        let trusts = |route: &&Route| route.issuers.contains(&issuer.id);
        let mut trusting = self.gate.routes.iter().filter(trusts).peekable();
        if trusting.peek().is_none()
            || trusting.any(|route| policy::audience(identity, route, &issuer.config).is_ok())
        {
            return;
        }
        let found = match &identity.audiences {
            Some(audiences) => list(audiences.iter().map(|audience| shown(audience))),
            None => format!("no {}", issuer.config.audience_claim),
        };
        self.notes.push(format!(
            "no route takes a token for this audience ({found}): every one would refuse it"
        ));
    }

    fn algorithm(&mut self, jws: &Jws<'_>, issuer: &Trusted) {
        let wanted = list(
            issuer
                .config
                .algorithms
                .iter()
                .map(|algorithm| algorithm.name().to_owned()),
        );
        let passes = issuer.algorithm(jws).is_ok();
        self.checks.judge(
            Rejection::AlgorithmForbidden,
            passes,
            shown(&jws.algorithm),
            wanted,
        );
    }

    fn expiry(&mut self, jws: &Jws<'_>, issuer: &Trusted) {
        let leeway = issuer.config.leeway;
        let wanted = format!(
            "exp after {} (leeway {leeway:?})",
            self.now.minus(leeway).to_rfc3339()
        );
        let outcome = claims::expiry(&jws.claims, &issuer.config, self.now);
        let reason = outcome.err().unwrap_or(Rejection::TokenExpired);
        let found = moment_text(&jws.claims, "exp", self.now);
        self.checks.judge(reason, outcome.is_ok(), found, wanted);
    }

    /// Rows 8 and 9: what the gate itself would say, waiting for a refresh as it would.
    async fn key(&mut self, jws: &Jws<'_>, issuer: &Trusted) -> Option<Verified> {
        let Ok(algorithm) = issuer.algorithm(jws) else {
            self.checks.skip(
                KEY.map(|(reason, _)| reason),
                "the algorithm is not allowed",
            );
            return None;
        };
        let outcome = match issuer.look_up(jws, algorithm, self.now) {
            Lookup::Verified(key) => Ok(key),
            _ => issuer.verifying_key(jws, algorithm, self.now).await,
        };
        let kid = jws
            .kid
            .as_deref()
            .map_or_else(|| "no kid".to_owned(), |kid| format!("kid {}", shown(kid)));
        let found = match issuer.keys.snapshot().all().len() {
            1 => format!("{kid}; 1 key at hand"),
            keys => format!("{kid}; {keys} keys at hand"),
        };
        self.checks
            .sequence(&KEY, outcome.as_ref().err().copied(), &found);
        Some(self.gate.verifier.verified(jws, issuer, outcome.ok()?))
    }

    /// Row 10, as far as it is not about time.
    fn claims(&mut self, jws: &Jws<'_>, issuer: &Trusted) {
        let config = &issuer.config;
        let missing = claims::missing(&jws.claims, config);
        let found =
            missing.map_or_else(|| "none is missing".to_owned(), |path| format!("no {path}"));
        let wanted = format!(
            "required_claims: {}",
            list(config.required_claims.iter().map(ToString::to_string))
        );
        self.checks
            .judge(Rejection::ClaimMissing, missing.is_none(), found, wanted);

        let found = jws.kind.as_deref().map_or_else(
            || "no typ".to_owned(),
            |kind| format!("typ {}", shown(kind)),
        );
        let wanted = if config.token_types.is_empty() {
            "an access token by typ, token_use and claims".to_owned()
        } else {
            format!("typ {}", list(config.token_types.iter().cloned()))
        };
        self.checks.judge(
            Rejection::TokenTypeMismatch,
            claims::kind(jws, config).is_ok(),
            found,
            wanted,
        );

        let passes = claims::binding(&jws.claims).is_ok();
        let found = if jws.claims.contains_key("cnf") {
            "a cnf claim"
        } else {
            "no cnf"
        };
        let wanted = "no cnf: bindings cannot be confirmed here";
        self.checks
            .judge(Rejection::TokenBindingUnproven, passes, found, wanted);
    }

    /// Row 10, as far as it is about time.
    fn times(&mut self, jws: &Jws<'_>, issuer: &Trusted) {
        let (claims, config, now) = (&jws.claims, &issuer.config, self.now);
        let latest = format!(
            "{} (leeway {:?})",
            now.plus(config.leeway).to_rfc3339(),
            config.leeway
        );
        let passes = claims::not_before(claims, config, now).is_ok();
        let found = moment_text(claims, "nbf", now);
        self.checks.judge(
            Rejection::TokenNotYetValid,
            passes,
            found,
            format!("nbf not after {latest}"),
        );

        let passes = claims::issued(claims, config, now).is_ok();
        let found = moment_text(claims, "iat", now);
        self.checks.judge(
            Rejection::TokenIssuedInFuture,
            passes,
            found,
            format!("iat not after {latest}"),
        );

        let passes = claims::lifetime(claims, config, now).is_ok();
        let found = moment(claims, "exp").map_or_else(
            || "no exp".to_owned(),
            |exp| format!("{:?}", exp.since(moment(claims, "iat").unwrap_or(now))),
        );
        let wanted = config.max_lifetime.map_or_else(
            || "any lifetime".to_owned(),
            |longest| format!("at most {longest:?} (max_lifetime)"),
        );
        self.checks
            .judge(Rejection::TokenLifetimeExceeded, passes, found, wanted);
    }

    /// Row 11.
    fn revocation(&mut self, identity: &Identity, issuer: &Trusted) {
        let verdict = match self.inquiry.revocations {
            RevocationSource::Own => {
                let configured = issuer.config.issuer.as_str();
                self.gate.revocations.check(identity, configured, self.now)
            }
            RevocationSource::Answered(verdict) => verdict,
            RevocationSource::Unknown(why) => {
                return self
                    .checks
                    .skip([Rejection::RevocationsStale, Rejection::TokenRevoked], why);
            }
        };
        let is_current = verdict != Verdict::Stale;
        let found = if is_current {
            "up to date"
        } else {
            "out of date"
        };
        let wanted = "current revocations";
        self.checks
            .judge(Rejection::RevocationsStale, is_current, found, wanted);
        if !is_current {
            return self.checks.skip([Rejection::TokenRevoked], "not reached");
        }
        let passes = verdict == Verdict::Clear;
        let found = if passes { "not revoked" } else { "revoked" };
        let wanted = "no revocation of the token, its subject, session, client or key";
        self.checks
            .judge(Rejection::TokenRevoked, passes, found, wanted);
    }

    /// Row 12.
    fn policy(&mut self, identity: &Identity, issuer: &Trusted, route: &Route) {
        let outcome = policy::audience(identity, route, &issuer.config);
        let reason = outcome.err().unwrap_or(Rejection::AudienceMismatch);
        let found = match &identity.audiences {
            Some(audiences) => list(audiences.iter().map(|audience| shown(audience))),
            None => format!("no {}", issuer.config.audience_claim),
        };
        let wanted = format!(
            "one of: {}",
            list(
                policy::wanted_audiences(route, &issuer.config)
                    .iter()
                    .cloned()
            )
        );
        self.checks.judge(reason, outcome.is_ok(), found, wanted);

        let found = list(identity.scopes.iter().map(|scope| shown(scope)));
        let (all, any) = (
            list(route.scopes.iter().cloned()),
            list(route.any_scope.iter().cloned()),
        );
        let passes = policy::scope(identity, route).is_ok();
        self.checks.judge(
            Rejection::ScopeInsufficient,
            passes,
            found,
            format!("all of: {all}; one of: {any}"),
        );

        let failed = route
            .claims
            .iter()
            .find(|rule| !policy::holds(identity, rule));
        let (found, wanted) = match failed {
            None => (
                "every rule holds".to_owned(),
                format!("{} rules", route.claims.len()),
            ),
            Some(rule) => {
                let value = identity.claim(rule.claim);
                let value =
                    value.map_or_else(|| "absent".to_owned(), |value| shown(&value.to_string()));
                let path = self.gate.verifier.path(rule.claim).map(ToString::to_string);
                (
                    format!("{}: {value}", path.unwrap_or_default()),
                    test_text(&rule.test),
                )
            }
        };
        self.checks
            .judge(Rejection::ClaimDenied, failed.is_none(), found, wanted);
    }
}
