//! What a provider says has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! Owns the rules for logout tokens (§2.4, §2.6), which stand beside those for access tokens in `claims`, and what a good one
//! revokes. Issuer, algorithm, expiry, key and signature are the verifier's. Revokes nothing itself, and knows nothing of HTTP
//! beyond the path that was asked for.
//!
//! No memory of tokens seen is needed against replay: what a logout token revokes follows from the token alone. The cut-off is
//! its own `iat`, so that the same token again takes back the same again, and nothing issued since.

use super::admission::{Facts, Rejected};
use super::json::{Json, Object};
use super::jws::{Compact, Jws, bare_type, moment};
use super::{Gate, claims, target};
use crate::config::{BackchannelLogout, Issuer};
use crate::identity::{IssuerId, TokenDigest};
use crate::rejection::Rejection;
use crate::revocation::{NewRevocation, Subject};
use crate::time::UnixTime;
use http::request::Parts;

/// The member of `events` that makes a token a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Why, as the revocations say it.
const REASON: &str = "back-channel logout";

/// A logout that a provider vouches for.
#[derive(Debug)]
pub struct Logout {
    /// The configured issuer.
    pub issuer: IssuerId,
    /// Its name.
    pub issuer_name: String,
    /// The logout token.
    pub token: TokenDigest,
    /// What it takes back; at least one.
    pub revocations: Vec<NewRevocation>,
}

/// The paths of the logout endpoints.
#[derive(Debug)]
pub(super) struct Endpoints(Vec<(String, IssuerId)>);

impl Endpoints {
    /// Those of `issuers`, which are in the order of their numbers.
    pub(super) fn new(issuers: &[Issuer]) -> Self {
        let endpoint = |(id, issuer): (u32, &Issuer)| {
            let logout = issuer.backchannel_logout.as_ref()?;
            Some((format!("/{}", logout.path.join("/")), IssuerId(id)))
        };
        Self((0..).zip(issuers).filter_map(endpoint).collect())
    }
}

impl Gate {
    /// The issuer whose logout endpoint is asked for, whatever the method. A head that is not wholly clear asks for none; it is
    /// [`Gate::admit`]'s to refuse.
    pub fn logout_endpoint(&self, head: &Parts) -> Option<IssuerId> {
        if self.logouts.0.is_empty() {
            return None;
        }
        target::host(head).ok()?;
        let path = target::path(&head.method, &head.uri, self.path_rules).ok()?;
        let mut endpoints = self.logouts.0.iter();
        endpoints.find(|(own, _)| *own == path).map(|(_, id)| *id)
    }

    /// Judges a logout token that was sent to the endpoint of that issuer.
    ///
    /// # Errors
    /// The first check that fails: form, issuer, algorithm, expiry, key, signature, then what makes it a logout token.
    pub async fn logout(
        &self,
        endpoint: IssuerId,
        token: &str,
        now: UnixTime,
    ) -> Result<Logout, Box<Rejected>> {
        let mut facts = Facts::default();
        let judged = self.judge_logout(endpoint, token, now, &mut facts).await;
        judged.map_err(|reason| self.reject(facts, None, reason, false))
    }

    async fn judge_logout(
        &self,
        endpoint: IssuerId,
        token: &str,
        now: UnixTime,
        facts: &mut Facts,
    ) -> Result<Logout, Rejection> {
        if token.len() > self.token_bytes {
            return Err(Rejection::TokenTooLarge);
        }
        let decoded = Compact::cut(token)?.decode()?;
        let jws = decoded.read()?;
        facts.name(self.verifier.label_of(&jws.claims), Some(jws.digest));
        let issuer = self.verifier.allowed_issuer(&jws.claims, &[endpoint])?;
        let endpoint = issuer.config.backchannel_logout.as_ref();
        let endpoint = endpoint.ok_or(Rejection::IssuerUnknown)?;
        let algorithm = issuer.algorithm(&jws)?;
        claims::expiry(&jws.claims, &issuer.config, now)?;
        issuer.verifying_key(&jws, algorithm, now).await?;
        let issued_at = check(&jws, &issuer.config, endpoint, now)?;
        Ok(Logout {
            issuer: issuer.id,
            issuer_name: issuer.config.name.clone(),
            token: jws.digest,
            revocations: revocations(&jws.claims, &issuer.config, endpoint, issued_at, now)?,
        })
    }
}

/// What makes a signed token a logout token, and for us (§2.6); when it was issued.
fn check(
    jws: &Jws<'_>,
    issuer: &Issuer,
    endpoint: &BackchannelLogout,
    now: UnixTime,
) -> Result<UnixTime, Rejection> {
    kind(jws)?;
    if text(&jws.claims, "jti")?.is_none() {
        return Err(Rejection::ClaimMissing);
    }
    let issued_at = moment(&jws.claims, "iat").ok_or(Rejection::ClaimMissing)?;
    claims::not_before(&jws.claims, issuer, now)?;
    claims::issued(&jws.claims, issuer, now)?;
    audience(&jws.claims, &endpoint.audience)?;
    Ok(issued_at)
}

/// `typ` may be missing, as from providers older than RFC 8725, or say no more than `JWT`: the event tells the kind. A `nonce`
/// is what ID tokens have, and forbidden here so that neither passes for the other (§2.4).
fn kind(jws: &Jws<'_>) -> Result<(), Rejection> {
    let typ = jws.kind.as_deref().map(bare_type);
    let is_typed = matches!(typ.as_deref(), None | Some("jwt" | "logout+jwt"));
    let events = jws.claims.get("events");
    let is_logout = match events {
        Some(Json::Object(events)) => matches!(events.get(EVENT), Some(Json::Object(_))),
        _ => false,
    };
    if !is_typed || jws.claims.contains_key("nonce") {
        return Err(Rejection::TokenTypeMismatch);
    }
    match events {
        None => Err(Rejection::ClaimMissing),
        Some(_) if is_logout => Ok(()),
        Some(_) => Err(Rejection::TokenTypeMismatch),
    }
}

/// The client id must be in `aud`, whatever claim holds the audience of this issuer's access tokens.
fn audience(claims: &Object<'_>, client: &str) -> Result<(), Rejection> {
    let names_client = match claims.get("aud").ok_or(Rejection::ClaimMissing)? {
        Json::Array(names) => names.iter().any(|name| name.as_str() == Some(client)),
        name => name.as_str() == Some(client),
    };
    if names_client {
        Ok(())
    } else {
        Err(Rejection::AudienceMismatch)
    }
}

/// The session ends, and with it the subject's tokens up to the logout, unless the session alone is meant. Their `iat` and that
/// of the logout token come from one clock, the provider's; our own would also take back what a new login brought while the
/// message was on its way.
fn revocations(
    claims: &Object<'_>,
    issuer: &Issuer,
    endpoint: &BackchannelLogout,
    issued_at: UnixTime,
    now: UnixTime,
) -> Result<Vec<NewRevocation>, Rejection> {
    let iss = text(claims, "iss")?.ok_or(Rejection::ClaimMissing)?;
    let session = text(claims, "sid")?.map(|sid| Subject::Session(sid.into()));
    let subject = claims
        .at(&issuer.subject_claim)
        .and_then(claims::scalar_text);
    let subject = subject.filter(|subject| !subject.is_empty() && !endpoint.session_only);
    let subject = subject.map(|subject| Subject::Subject {
        subject,
        issued_before: Some(issued_at),
    });
    let revocation = |what: Subject| NewRevocation {
        issuer: iss.into(),
        expires_at: what.last_end(issuer.max_lifetime, issuer.leeway, now),
        what,
        reason: Some(REASON.into()),
    };
    let revocations: Vec<_> = session.into_iter().chain(subject).map(revocation).collect();
    if revocations.is_empty() {
        Err(Rejection::ClaimMissing)
    } else {
        Ok(revocations)
    }
}

/// The text of that name; an empty one is as if it were not there.
fn text<'claims>(
    claims: &'claims Object<'_>,
    name: &str,
) -> Result<Option<&'claims str>, Rejection> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(&**text).filter(|text| !text.is_empty())),
        Some(_) => Err(Rejection::TokenMalformed),
    }
}
