//! What the claims of a token say, and whether it may be believed now.
//!
//! Owns the claim rules that follow the signature (row 10 of the contract's table) and the making of an
//! [`Identity`]. Time is an argument. Knows nothing of keys, routes or HTTP.

use std::sync::Arc;

use super::json::{Json, Object};
use super::jws::{Jws, bare_type, essence, moment};
use super::verifier::Trusted;
use crate::config::{ClaimPath, Issuer};
use crate::identity::{Identity, Thumbprint};
use crate::rejection::Rejection;
use crate::time::UnixTime;

type Claims<'token> = Object<'token>;

/// Every rule of row 10, in its order.
///
/// # Errors
/// `claim_missing`, `token_type_mismatch`, `token_binding_unproven`, `token_not_yet_valid`,
/// `token_issued_in_future`, `token_lifetime_exceeded`.
pub(super) fn check(jws: &Jws<'_>, issuer: &Issuer, now: UnixTime) -> Result<(), Rejection> {
    required(&jws.claims, issuer)?;
    kind(jws, issuer)?;
    binding(&jws.claims)?;
    not_before(&jws.claims, issuer, now)?;
    issued(&jws.claims, issuer, now)?;
    lifetime(&jws.claims, issuer, now)
}

/// `exp`, and that it has not come (RFC 7519 §4.1.4).
pub(super) fn expiry(
    claims: &Claims<'_>,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<UnixTime, Rejection> {
    let expires_at = moment(claims, "exp").ok_or(Rejection::ClaimMissing)?;
    if has_expired(expires_at, issuer, now) {
        Err(Rejection::TokenExpired)
    } else {
        Ok(expires_at)
    }
}

/// Whether a token that expires then is of no use now.
pub(super) fn has_expired(expires_at: UnixTime, issuer: &Issuer, now: UnixTime) -> bool {
    now >= expires_at.plus(issuer.leeway)
}

/// The claims that the issuer's section requires besides the usual ones.
pub(super) fn required(claims: &Claims<'_>, issuer: &Issuer) -> Result<(), Rejection> {
    match missing(claims, issuer) {
        Some(_) => Err(Rejection::ClaimMissing),
        None => Ok(()),
    }
}

/// The first required claim that the token lacks.
pub(super) fn missing<'issuer>(
    claims: &Claims<'_>,
    issuer: &'issuer Issuer,
) -> Option<&'issuer ClaimPath> {
    issuer
        .required_claims
        .iter()
        .find(|path| claims.at(path).is_none())
}

/// Whether the token is an access token (RFC 8725 §3.11, RFC 9068 §4, and what providers do instead).
pub(super) fn kind(jws: &Jws<'_>, issuer: &Issuer) -> Result<(), Rejection> {
    let is_wanted = if issuer.token_types.is_empty() {
        // Whoever tells kinds apart by their parameters must not get one past us.
        let kind = jws.kind.as_deref().map(|kind| bare_type(essence(kind)));
        !kind.is_some_and(|kind| is_other_jwt(&kind))
            && !tells_of_event(&jws.claims)
            && claims_fit_access_token(&jws.claims, issuer)
    } else {
        let kind = jws.kind.as_deref().map(bare_type);
        kind.is_some_and(|kind| issuer.token_types.contains(&kind))
    };
    if is_wanted {
        Ok(())
    } else {
        Err(Rejection::TokenTypeMismatch)
    }
}

/// A JWT that is explicitly typed as something else: `logout+jwt`, `dpop+jwt`, `secevent+jwt` and their kin.
/// Every structured suffix but that of access tokens names another kind, those not invented yet included.
fn is_other_jwt(kind: &str) -> bool {
    (kind.ends_with("+jwt") && kind != "at+jwt") || kind.ends_with("+sd-jwt")
}

/// A security event or logout token by its claims (RFC 8417 §2.2, OpenID Connect Back-Channel Logout 1.0 §2.4).
fn tells_of_event(claims: &Claims<'_>) -> bool {
    const FAMILIES: [&str; 2] = [
        "http://schemas.openid.net/event/",
        "https://schemas.openid.net/secevent/",
    ];
    let is_event = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family));
    match claims.get("events") {
        Some(Json::Object(events)) => events.names().any(is_event),
        _ => false,
    }
}

fn claims_fit_access_token(claims: &Claims<'_>, issuer: &Issuer) -> bool {
    let mut stated = ["token_use", "typ"]
        .into_iter()
        .filter_map(|name| claims.get(name).filter(|value| **value != Json::Null))
        .peekable();
    if stated.peek().is_some() {
        return stated.all(|kind| stated_kind_passes(kind, issuer));
    }
    issuer.accept_id_tokens || !looks_like_id_token(claims)
}

/// Cognito's `token_use` and Keycloak's `typ`.
fn stated_kind_passes(kind: &Json<'_>, issuer: &Issuer) -> bool {
    let Some(kind) = kind.as_str() else {
        return false;
    };
    match kind.to_ascii_lowercase().as_str() {
        "id" => issuer.accept_id_tokens,
        "refresh" | "offline" | "logout" => false,
        _ => true,
    }
}

/// An ID token by its claims (OpenID Connect Core 1.0 §2, §3.1.3.6).
fn looks_like_id_token(claims: &Claims<'_>) -> bool {
    let has = |name: &str| claims.contains_key(name);
    let is_for_client = || {
        ["scope", "scp", "client_id", "azp", "cid"]
            .into_iter()
            .any(has)
    };
    has("at_hash") || has("c_hash") || (has("nonce") && !is_for_client())
}

/// A token bound to a key (RFC 7800 §3.1) is refused while nothing here can confirm the binding.
pub(super) fn binding(claims: &Claims<'_>) -> Result<(), Rejection> {
    match claims.get("cnf") {
        None | Some(Json::Null) => Ok(()),
        Some(_) => Err(Rejection::TokenBindingUnproven),
    }
}

/// RFC 7519 §4.1.5
pub(super) fn not_before(
    claims: &Claims<'_>,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<(), Rejection> {
    match moment(claims, "nbf") {
        Some(not_before) if now < not_before.minus(issuer.leeway) => {
            Err(Rejection::TokenNotYetValid)
        }
        _ => Ok(()),
    }
}

/// RFC 7519 §4.1.6
pub(super) fn issued(claims: &Claims<'_>, issuer: &Issuer, now: UnixTime) -> Result<(), Rejection> {
    match moment(claims, "iat") {
        Some(issued_at) if issued_at > now.plus(issuer.leeway) => {
            Err(Rejection::TokenIssuedInFuture)
        }
        _ => Ok(()),
    }
}

/// `max_lifetime`, counted from `iat`, or from now where the token does not say when it was issued.
pub(super) fn lifetime(
    claims: &Claims<'_>,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<(), Rejection> {
    let Some(longest) = issuer.max_lifetime else {
        return Ok(());
    };
    let starts_at = moment(claims, "iat").unwrap_or(now);
    match moment(claims, "exp") {
        Some(expires_at) if expires_at.since(starts_at) > longest => {
            Err(Rejection::TokenLifetimeExceeded)
        }
        _ => Ok(()),
    }
}

/// Resolves what the configuration refers to: `paths` are its claim table.
pub(super) fn identify(
    jws: &Jws<'_>,
    issuer: &Trusted,
    paths: &[ClaimPath],
    key: Thumbprint,
) -> Arc<Identity> {
    let (claims, config) = (&jws.claims, &issuer.config);
    let text = |value: Option<&Json<'_>>| value.and_then(Json::as_str).map(Box::from);
    let scopes = first(claims, &config.scope_claims);
    let audiences = claims.at(&config.audience_claim);
    Arc::new(Identity {
        issuer: issuer.id,
        iss: issuer
            .texts
            .iss(claims.get("iss").and_then(Json::as_str).unwrap_or_default()),
        subject: claims.at(&config.subject_claim).and_then(scalar_text),
        client: first(claims, &config.client_claims).and_then(scalar_text),
        session: text(claims.get("sid")),
        jti: text(claims.get("jti")),
        scopes: issuer.texts.scopes(scopes.into_iter().flat_map(scopes_of)),
        scopes_are_elements: scopes.is_some_and(|scopes| scopes.as_array().is_some()),
        audiences: audiences.map(|audiences| issuer.texts.audiences(texts_of(audiences))),
        issued_at: moment(claims, "iat"),
        expires_at: moment(claims, "exp").unwrap_or(UnixTime::MIN),
        key,
        digest: jws.digest,
        claims: paths
            .iter()
            .map(|path| claims.at(path).map(Json::to_value))
            .collect(),
    })
}

/// A string as it is, numbers and booleans as JSON; anything else names nobody.
pub(super) fn scalar_text(value: &Json<'_>) -> Option<Box<str>> {
    match value {
        Json::Text(text) => Some(Box::from(&**text)),
        Json::Number(number) => Some(number.to_string().into_boxed_str()),
        Json::Bool(truth) => Some(truth.to_string().into_boxed_str()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// The first of the claims that is present counts, whatever it holds.
fn first<'claims, 'token>(
    claims: &'claims Claims<'token>,
    paths: &[ClaimPath],
) -> Option<&'claims Json<'token>> {
    paths.iter().find_map(|path| claims.at(path))
}

/// RFC 6749 §3.3 has scopes in one string; several providers have an array.
fn scopes_of<'claims>(value: &'claims Json<'_>) -> impl Iterator<Item = &'claims str> + Clone {
    let in_one = value.as_str().unwrap_or_default().split(' ');
    in_one
        .chain(elements_of(value))
        .filter(|scope| !scope.is_empty())
}

/// A string, or the strings of an array; anything else holds none.
fn texts_of<'claims>(value: &'claims Json<'_>) -> impl Iterator<Item = &'claims str> + Clone {
    value.as_str().into_iter().chain(elements_of(value))
}

fn elements_of<'claims>(value: &'claims Json<'_>) -> impl Iterator<Item = &'claims str> + Clone {
    let elements = value.as_array().unwrap_or_default();
    elements.iter().filter_map(Json::as_str)
}
