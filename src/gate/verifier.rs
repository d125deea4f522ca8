//! HOT PATH on a cache miss: from the text of a token to a verified identity.
//!
//! Owns issuer, algorithm, key and signature: rows 5 to 9 of the contract's table. Does no I/O and takes no
//! lock; only a key that is not there makes it wait, bounded, for the issuer's single-flight refresh.

use std::collections::HashMap;
use std::sync::Arc;

use super::claims;
use super::json::{Json, Object};
use super::jws::{Jws, moment};
use super::shared_texts::SharedTexts;
use super::verified_cache::Verified;
use crate::algorithm::Algorithm;
use crate::config::{ClaimPath, Config, Issuer, IssuerPattern, KeySource};
use crate::identity::{ClaimSlot, Identity, IssuerId, IssuerLabel, Thumbprint};
use crate::keys::{FetchMark, IssuerKeys, KeySet, VerificationKey};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// A token without `kid` is tried on so many fitting keys at most, so that it costs a bounded time. Of those that share a
/// `kid` all are tried: `max_keys` bounds them.
const KEYS_TRIED: usize = 8;

/// The configured issuers with their keys.
#[derive(Debug)]
pub(super) struct Verifier {
    issuers: Vec<Trusted>,
    by_iss: HashMap<String, IssuerId>,
    tenanted: Vec<IssuerId>,
    paths: Vec<ClaimPath>,
}

/// One configured issuer.
#[derive(Debug)]
pub(super) struct Trusted {
    /// Its place in the file.
    pub(super) id: IssuerId,
    /// Its section.
    pub(super) config: Issuer,
    /// Its keys.
    pub(super) keys: Arc<IssuerKeys>,
    /// What its tokens have in common is kept once.
    pub(super) texts: SharedTexts,
}

/// The outcome of one look at the keys.
pub(super) enum Lookup {
    /// A key that verifies the token.
    Verified(Arc<VerificationKey>),
    /// Keys that fit, and none of them verifies it.
    Invalid,
    /// The token names a key that is not there.
    Unknown,
    /// There are no keys to look at.
    Unavailable,
}

impl Verifier {
    /// Prepares the issuers of `config`; `keys` are theirs, in the same order.
    pub(super) fn new(config: &Config, keys: Vec<Arc<IssuerKeys>>) -> Self {
        let mut by_iss = HashMap::new();
        let mut tenanted = Vec::new();
        let mut issuers = Vec::with_capacity(config.issuers.len());
        for ((id, issuer), keys) in (0..).map(IssuerId).zip(&config.issuers).zip(keys) {
            match &issuer.issuer {
                IssuerPattern::Exact(iss) => {
                    by_iss.insert(iss.clone(), id);
                }
                IssuerPattern::Tenanted { .. } => tenanted.push(id),
            }
            issuers.push(Trusted {
                id,
                config: issuer.clone(),
                keys,
                texts: SharedTexts::default(),
            });
        }
        Self {
            issuers,
            by_iss,
            tenanted,
            paths: config.claims.clone(),
        }
    }

    /// The issuer of that number.
    pub(super) fn issuer(&self, id: IssuerId) -> Option<&Trusted> {
        self.issuers.get(id.index())
    }

    /// The configured issuer whose `iss` the claims bear; equal to the byte (RFC 7519 §4.1.1, RFC 8414 §3.3).
    pub(super) fn issuer_of(&self, claims: &Object<'_>) -> Option<&Trusted> {
        let iss = claims.get("iss")?.as_str()?;
        match self.by_iss.get(iss) {
            Some(id) => self.issuer(*id),
            None => self
                .tenanted
                .iter()
                .filter_map(|id| self.issuer(*id))
                .find(|issuer| is_of_tenant(iss, claims, &issuer.config.issuer)),
        }
    }

    /// The issuer as metrics and logs name it, from claims that are not verified.
    pub(super) fn label_of(&self, claims: &Object<'_>) -> IssuerLabel {
        match self.issuer_of(claims) {
            Some(issuer) => IssuerLabel::Known(issuer.id),
            None if claims.contains_key("iss") => IssuerLabel::Unknown,
            None => IssuerLabel::None,
        }
    }

    /// Row 5: the issuer, if it is one of `allowed`.
    pub(super) fn allowed_issuer(
        &self,
        claims: &Object<'_>,
        allowed: &[IssuerId],
    ) -> Result<&Trusted, Rejection> {
        if !claims.contains_key("iss") {
            return Err(Rejection::ClaimMissing);
        }
        self.issuer_of(claims)
            .filter(|issuer| allowed.contains(&issuer.id))
            .ok_or(Rejection::IssuerUnknown)
    }

    /// Rows 5 to 10: who the bearer of the token is.
    pub(super) async fn verify(
        &self,
        jws: &Jws<'_>,
        allowed: &[IssuerId],
        now: UnixTime,
    ) -> Result<Verified, Rejection> {
        let issuer = self.allowed_issuer(&jws.claims, allowed)?;
        let algorithm = issuer.algorithm(jws)?;
        claims::expiry(&jws.claims, &issuer.config, now)?;
        let key = issuer.verifying_key(jws, algorithm, now).await?;
        claims::check(jws, &issuer.config, now)?;
        Ok(self.verified(jws, issuer, key))
    }

    /// What is kept of a token that passed every check.
    pub(super) fn verified(
        &self,
        jws: &Jws<'_>,
        issuer: &Trusted,
        key: Arc<VerificationKey>,
    ) -> Verified {
        let identity = self.identify(jws, issuer, key.thumbprint());
        Verified { identity, key }
    }

    /// Who the claims say the bearer is.
    pub(super) fn identify(
        &self,
        jws: &Jws<'_>,
        issuer: &Trusted,
        key: Thumbprint,
    ) -> Arc<Identity> {
        claims::identify(jws, issuer, &self.paths, key)
    }

    /// Every issuer.
    pub(super) fn all(&self) -> impl Iterator<Item = &Trusted> {
        self.issuers.iter()
    }

    /// The path of the claim in that slot.
    pub(super) fn path(&self, slot: ClaimSlot) -> Option<&ClaimPath> {
        self.paths.get(slot.index())
    }
}

impl Trusted {
    /// Row 6: the algorithm, if this issuer may use it (RFC 8725 §3.1).
    pub(super) fn algorithm(&self, jws: &Jws<'_>) -> Result<Algorithm, Rejection> {
        Algorithm::from_name(&jws.algorithm)
            .filter(|algorithm| self.config.algorithms.contains(*algorithm))
            .ok_or(Rejection::AlgorithmForbidden)
    }

    /// Rows 8 and 9: the key that verifies the signature.
    ///
    /// # Errors
    /// `keys_unavailable`, `key_unknown`, `signature_invalid`.
    pub(super) async fn verifying_key(
        &self,
        jws: &Jws<'_>,
        algorithm: Algorithm,
        now: UnixTime,
    ) -> Result<Arc<VerificationKey>, Rejection> {
        let mark = self.keys.mark();
        let first = self.look_up(jws, algorithm, now);
        let needs_refresh = match &first {
            Lookup::Verified(_) | Lookup::Invalid => false,
            Lookup::Unknown => !self.proves_absence(jws, mark),
            Lookup::Unavailable => true,
        };
        let outcome = if needs_refresh {
            // Boxed, because hardly any request waits, and every idle connection would keep the room for it.
            Box::pin(self.keys.refreshed(mark)).await;
            self.look_up(jws, algorithm, now)
        } else {
            first
        };
        match outcome {
            Lookup::Verified(key) => Ok(key),
            Lookup::Invalid => {
                // A key may have been replaced under its old name; whoever asks next finds out.
                self.keys.suspect();
                Err(Rejection::SignatureInvalid)
            }
            Lookup::Unknown if self.proves_absence(jws, mark) => Err(Rejection::KeyUnknown),
            Lookup::Unknown | Lookup::Unavailable => Err(Rejection::KeysUnavailable),
        }
    }

    /// One look at the keys as they are.
    pub(super) fn look_up(&self, jws: &Jws<'_>, algorithm: Algorithm, now: UnixTime) -> Lookup {
        let set = self.keys.snapshot();
        if !set.is_usable(now) {
            return Lookup::Unavailable;
        }
        let candidates = self.candidates(&set, jws);
        if candidates.is_empty() && jws.kid.is_some() && !self.has_secret() {
            return Lookup::Unknown;
        }
        let tried = jws.kid.as_ref().map_or(KEYS_TRIED, |_| usize::MAX);
        candidates
            .iter()
            .filter(|key| key.fits(algorithm))
            .take(tried)
            .find(|key| key.verifies(algorithm, &jws.signed, jws.signature))
            .map_or(Lookup::Invalid, |key| Lookup::Verified(Arc::clone(key)))
    }

    /// The keys that the token may mean. A shared secret has no name of its own, so a `kid` says nothing about it.
    pub(super) fn candidates<'set>(
        &self,
        set: &'set KeySet,
        jws: &Jws<'_>,
    ) -> &'set [Arc<VerificationKey>] {
        match &jws.kid {
            Some(kid) if !self.has_secret() => set.with_kid(kid),
            _ => set.all(),
        }
    }

    fn has_secret(&self) -> bool {
        matches!(self.config.keys, KeySource::HmacSecret(_))
    }

    /// Whether the keys at hand are new enough to say that the token's key does not exist.
    pub(super) fn proves_absence(&self, jws: &Jws<'_>, mark: FetchMark) -> bool {
        let issued_at = moment(&jws.claims, "iat");
        self.keys
            .snapshot()
            .proves_absence(mark, issued_at, self.config.leeway)
    }

    /// Whether a cached token still has its key: the set is not past its age and holds the very key.
    pub(super) fn still_holds(&self, key: &Arc<VerificationKey>, now: UnixTime) -> bool {
        let set = self.keys.snapshot();
        set.is_usable(now) && set.holds(key)
    }
}

/// Whether `iss` is the template with the token's own tenant in it, and the tenant is let in.
fn is_of_tenant(iss: &str, claims: &Object<'_>, pattern: &IssuerPattern) -> bool {
    let tenant = pattern.tenant_of(iss);
    tenant.is_some() && claims.get("tid").and_then(Json::as_str) == tenant
}
