//! One verification key, prepared once so that verifying neither parses nor looks anything up.
//!
//! Owns [`VerificationKey`] and why a key is not used ([`SkipReason`]). Knows nothing of sets, fetching or tokens.

mod jwk;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::config::Secret;
use crate::identity::Thumbprint;

/// What a signature is over, with its SHA-256: that names the token as well, and is made once for both.
#[derive(Clone, Copy, Debug)]
pub struct SignedPart<'token> {
    bytes: &'token [u8],
    sha256: Digest,
}

impl<'token> SignedPart<'token> {
    /// Hashes it.
    pub fn of(bytes: &'token [u8]) -> Self {
        Self {
            bytes,
            sha256: digest::digest(&digest::SHA256, bytes),
        }
    }

    /// SHA-256 of it.
    pub fn sha256(&self) -> [u8; 32] {
        bytes_of(self.sha256)
    }
}

/// One prepared public key (or secret) with the algorithms it may serve.
pub struct VerificationKey {
    kid: Option<Box<str>>,
    thumbprint: Thumbprint,
    /// One entry for each algorithm; six at most, so a walk is the fastest look-up.
    verifiers: Box<[(Algorithm, Verifier)]>,
}

enum Verifier {
    Public(ParsedPublicKey),
    /// Boxed, because it is twenty times the size of the other.
    Secret(Box<hmac::Key>),
}

/// The `SHA-256` prefix that keeps a secret's thumbprint apart from any other hash of the same bytes.
const SECRET_PREFIX: &[u8] = b"portcullis hmac secret\0";

impl VerificationKey {
    /// Prepares one member of a key set's `keys`.
    pub fn from_jwk(jwk: &Value) -> Result<Self, SkipReason> {
        jwk::prepare(jwk)
    }

    /// Prepares a shared secret. It has no kid and serves HS256, HS384 and HS512, each where the secret is at least as
    /// long as the hash (RFC 7518 §3.2).
    pub fn from_secret(secret: &Secret) -> Self {
        let bytes = secret.expose();
        let verifiers = [
            (Algorithm::Hs256, hmac::HMAC_SHA256),
            (Algorithm::Hs384, hmac::HMAC_SHA384),
            (Algorithm::Hs512, hmac::HMAC_SHA512),
        ]
        .into_iter()
        .filter(|(_, hash)| bytes.len() >= hash.digest_algorithm().output_len())
        .map(|(algorithm, hash)| {
            (
                algorithm,
                Verifier::Secret(Box::new(hmac::Key::new(hash, bytes))),
            )
        })
        .collect();
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(SECRET_PREFIX);
        context.update(bytes);
        Self {
            kid: None,
            thumbprint: thumbprint_from(context.finish()),
            verifiers,
        }
    }

    /// Whether the key may verify that algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|served| served == algorithm)
    }

    /// Whether `signature` is that of `signed` under this key. False where the key does not fit the algorithm.
    pub fn verifies(
        &self,
        algorithm: Algorithm,
        signed: &SignedPart<'_>,
        signature: &[u8],
    ) -> bool {
        self.verifiers
            .iter()
            .find(|(served, _)| *served == algorithm)
            .is_some_and(|(_, verifier)| match verifier {
                Verifier::Public(key) if algorithm.hashes_with_sha256() => {
                    key.verify_digest_sig(&signed.sha256, signature).is_ok()
                }
                Verifier::Public(key) => key.verify_sig(signed.bytes, signature).is_ok(),
                Verifier::Secret(key) => hmac::verify(key, signed.bytes, signature).is_ok(),
            })
    }

    /// RFC 7638 thumbprint; of a secret: SHA-256 over a fixed prefix and the secret.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The kid of the set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms it serves.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether the other is the same key under the same kid, serving the same algorithms.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint
            && self.kid == other.kid
            && self.algorithms().eq(other.algorithms())
    }
}

/// Shows neither the secret nor the kid, which is the provider's text.
impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.algorithms().collect();
        formatter
            .debug_struct("VerificationKey")
            .field("thumbprint", &self.thumbprint)
            .field("algorithms", &algorithms)
            .finish_non_exhaustive()
    }
}

fn thumbprint_from(digest: Digest) -> Thumbprint {
    Thumbprint(bytes_of(digest))
}

fn bytes_of(sha256: Digest) -> [u8; 32] {
    sha256.as_ref().first_chunk().copied().unwrap_or_default()
}

macro_rules! skip_reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal),* $(,)?) => {
        /// Why a key of a set is not used: the `reason` label of `jwks_keys_skipped`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SkipReason { $($(#[$doc])* $variant),* }

        impl SkipReason {
            /// Every reason, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many reasons there are.
            pub(super) const COUNT: usize = Self::ALL.len();

            /// The label's value.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

skip_reasons! {
    /// A `kty` or `crv` this gateway does not know.
    UnknownKind "unknown_kind",
    /// RSA under 2048 bits, or a point of small order.
    Weak "weak",
    /// It holds its private part.
    Private "private",
    /// A shared secret has no place in a key set.
    Symmetric "symmetric",
    /// `use` or `key_ops` is not for verifying.
    Use "use",
    /// `alg` is unknown, or does not fit the kind of key.
    Algorithm "algorithm",
    /// Not a key: a member is missing, of the wrong type or out of range.
    Malformed "malformed",
    /// Beyond `max_keys`.
    Limit "limit",
}
