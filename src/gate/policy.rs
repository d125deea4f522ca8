//! What a route asks of a verified caller: audience, scopes, claims.
//!
//! Owns the comparison of an [`Identity`] with a [`Route`]. Asked on every request, cached tokens included.
//! Knows nothing of tokens or keys.

use serde_json::Value;

use crate::config::{ClaimRule, ClaimTest, Issuer, Route};
use crate::identity::Identity;
use crate::rejection::Rejection;

/// All that the route asks.
///
/// # Errors
/// `claim_missing` or `audience_mismatch`, `scope_insufficient`, `claim_denied`, in this order.
pub(super) fn check(identity: &Identity, route: &Route, issuer: &Issuer) -> Result<(), Rejection> {
    audience(identity, route, issuer)?;
    scope(identity, route)?;
    claims(identity, route)
}

/// The audiences of which the token must name one: the route's, or else the issuer's.
pub(super) fn wanted_audiences<'config>(
    route: &'config Route,
    issuer: &'config Issuer,
) -> &'config [String] {
    if route.audiences.is_empty() {
        &issuer.audiences
    } else {
        &route.audiences
    }
}

/// RFC 7519 §4.1.3: the token names one of the audiences.
pub(super) fn audience(
    identity: &Identity,
    route: &Route,
    issuer: &Issuer,
) -> Result<(), Rejection> {
    let named = identity.audiences.as_ref().ok_or(Rejection::ClaimMissing)?;
    let is_wanted = |name: &str| {
        wanted_audiences(route, issuer)
            .iter()
            .any(|wanted| wanted == name)
    };
    if named.iter().any(|name| is_wanted(name)) {
        Ok(())
    } else {
        Err(Rejection::AudienceMismatch)
    }
}

/// All of `scopes`, and one of `any_scope` where it names any.
pub(super) fn scope(identity: &Identity, route: &Route) -> Result<(), Rejection> {
    let has = |scope: &String| identity.scopes.iter().any(|held| **held == **scope);
    let has_one = route.any_scope.is_empty() || route.any_scope.iter().any(has);
    if has_one && route.scopes.iter().all(has) {
        Ok(())
    } else {
        Err(Rejection::ScopeInsufficient)
    }
}

/// Every rule of `claims`.
pub(super) fn claims(identity: &Identity, route: &Route) -> Result<(), Rejection> {
    if route.claims.iter().all(|rule| holds(identity, rule)) {
        Ok(())
    } else {
        Err(Rejection::ClaimDenied)
    }
}

/// Whether one rule holds.
pub(super) fn holds(identity: &Identity, rule: &ClaimRule) -> bool {
    let Some(value) = identity.claim(rule.claim) else {
        return false;
    };
    match &rule.test {
        ClaimTest::Equals(wanted) => same(value, wanted),
        ClaimTest::Contains(wanted) => value
            .as_array()
            .is_some_and(|elements| elements.iter().any(|element| same(element, wanted))),
        ClaimTest::OneOf(wanted) => {
            let is_wanted = |value: &Value| wanted.iter().any(|wanted| same(value, wanted));
            match value {
                Value::Array(elements) => elements.iter().any(is_wanted),
                scalar => is_wanted(scalar),
            }
        }
    }
}

/// The same JSON scalar; numbers by value, so that `1` is `1.0`.
fn same(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Number(value), Value::Number(wanted)) => {
            value == wanted
                || (value.is_f64() != wanted.is_f64() && value.as_f64() == wanted.as_f64())
        }
        _ => value == wanted,
    }
}
