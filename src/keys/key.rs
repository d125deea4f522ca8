//! One verification key: from a JWK to something that verifies without parsing anything again.
//!
//! Owns which keys are fit for use, and which algorithms a key serves. `jsonwebtoken::DecodingKey` is not used:
//! it is rebuilt at every verification. Knows nothing of where keys come from.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::algorithm::{Algorithm, Family};
use crate::config::Secret;
use crate::identity::Thumbprint;

/// RFC 7518 §3.3 asks for 2048 bits at least; the library takes 8192 at most.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key of a set is not used: the `reason` label of `jwks_keys_skipped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// A kind or curve that this gateway does not know.
    UnknownKind,
    /// RSA with fewer than 2048 bits, or a broken exponent.
    Weak,
    /// The private part is in it: whoever reads the set can sign.
    Private,
    /// A shared secret has no place in a key set.
    Symmetric,
    /// `use` or `key_ops` say that it is not for verifying.
    Use,
    /// `alg` is unknown, or none of the key's kind.
    Algorithm,
    /// Members are missing, of the wrong type, or do not make a key.
    Malformed,
    /// Beyond `max_keys`.
    Limit,
}

impl SkipReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::UnknownKind,
        Self::Weak,
        Self::Private,
        Self::Symmetric,
        Self::Use,
        Self::Algorithm,
        Self::Malformed,
        Self::Limit,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownKind => "unknown_kind",
            Self::Weak => "weak",
            Self::Private => "private",
            Self::Symmetric => "symmetric",
            Self::Use => "use",
            Self::Algorithm => "algorithm",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
        }
    }
}

/// One prepared key with the algorithms that it serves.
pub struct VerificationKey {
    kid: Option<Box<str>>,
    thumbprint: Thumbprint,
    prepared: Vec<(Algorithm, Prepared)>,
}

/// A key, ready for one algorithm.
enum Prepared {
    Public(ParsedPublicKey),
    Secret(hmac::Key),
}

impl VerificationKey {
    /// Whether the key may verify that algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.prepared_for(algorithm).is_some()
    }

    /// Whether `signature` is that of `signed` under this key.
    pub fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self.prepared_for(algorithm) {
            Some(Prepared::Public(key)) => key.verify_sig(signed, signature).is_ok(),
            Some(Prepared::Secret(key)) => hmac::verify(key, signed, signature).is_ok(),
            None => false,
        }
    }

    /// RFC 7638; of a secret, the digest of a fixed prefix and the secret.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The key's name in its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the other is this very key: same material, same name, same algorithms.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let algorithms = |key: &Self| {
            key.prepared
                .iter()
                .map(|(algorithm, _)| *algorithm)
                .collect::<Vec<_>>()
        };
        self.thumbprint == other.thumbprint
            && self.kid == other.kid
            && algorithms(self) == algorithms(other)
    }

    fn prepared_for(&self, algorithm: Algorithm) -> Option<&Prepared> {
        self.prepared
            .iter()
            .find(|(served, _)| *served == algorithm)
            .map(|(_, prepared)| prepared)
    }

    /// Prepares a shared secret for the HMAC algorithms.
    pub(super) fn from_secret(secret: &Secret) -> Self {
        let kinds = [
            (Algorithm::Hs256, hmac::HMAC_SHA256),
            (Algorithm::Hs384, hmac::HMAC_SHA384),
            (Algorithm::Hs512, hmac::HMAC_SHA512),
        ];
        let prepared = kinds
            .map(|(algorithm, kind)| {
                (
                    algorithm,
                    Prepared::Secret(hmac::Key::new(kind, secret.expose())),
                )
            })
            .into();
        let mut named = b"portcullis shared secret\0".to_vec();
        named.extend_from_slice(secret.expose());
        Self {
            kid: None,
            thumbprint: sha256(&named),
            prepared,
        }
    }

    /// Prepares one element of a key set (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
    ///
    /// # Errors
    /// Why the key is not used.
    pub fn from_jwk(jwk: &Value) -> Result<Self, SkipReason> {
        let members = jwk.as_object().ok_or(SkipReason::Malformed)?;
        let kind = text(members, "kty")?.ok_or(SkipReason::Malformed)?;
        match kind {
            "RSA" | "EC" | "OKP" => {}
            "oct" => return Err(SkipReason::Symmetric),
            _ => return Err(SkipReason::UnknownKind),
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|name| members.contains_key(*name))
        {
            return Err(SkipReason::Private);
        }
        is_for_verifying(members)?;
        let kid = text(members, "kid")?.map(Box::from);
        let (thumbprint, mut prepared) = match kind {
            "RSA" => rsa(members)?,
            "EC" => elliptic(members)?,
            _ => edwards(members)?,
        };
        if let Some(only) = text(members, "alg")? {
            prepared.retain(|(algorithm, _)| is_served(*algorithm, only));
        }
        if prepared.is_empty() {
            return Err(SkipReason::Algorithm);
        }
        Ok(Self {
            kid,
            thumbprint,
            prepared,
        })
    }
}

/// Never shows key material: of a shared secret there is nothing else.
impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerificationKey({})", self.thumbprint)
    }
}

/// Whether a key whose `alg` is `only` serves `algorithm`; `EdDSA` and `Ed25519` are two names of one (RFC 9864 §2.2).
fn is_served(algorithm: Algorithm, only: &str) -> bool {
    algorithm.name() == only
        || (algorithm.family() == Family::Edwards && matches!(only, "EdDSA" | "Ed25519"))
}

/// RFC 7517 §4.2, §4.3
fn is_for_verifying(members: &Map<String, Value>) -> Result<(), SkipReason> {
    if text(members, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(SkipReason::Use);
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations))
            if operations.iter().any(|operation| operation == "verify") =>
        {
            Ok(())
        }
        Some(Value::Array(_)) => Err(SkipReason::Use),
        Some(_) => Err(SkipReason::Malformed),
    }
}

type Parts = (Thumbprint, Vec<(Algorithm, Prepared)>);

fn rsa(members: &Map<String, Value>) -> Result<Parts, SkipReason> {
    let modulus = unsigned(members, "n")?;
    let exponent = unsigned(members, "e")?;
    if !RSA_BITS.contains(&bits(&modulus)) || !is_sound_exponent(&exponent) {
        return Err(SkipReason::Weak);
    }
    let kinds: [(Algorithm, &'static RsaParameters); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    let components = PublicKeyComponents {
        n: &modulus,
        e: &exponent,
    };
    let prepare = |(algorithm, parameters)| {
        let key = components
            .to_parsed_public_key(parameters)
            .map_err(|_| SkipReason::Malformed)?;
        Ok((algorithm, Prepared::Public(key)))
    };
    let prepared = kinds.into_iter().map(prepare).collect::<Result<_, _>>()?;
    let (e, n) = (
        BASE64URL_NOPAD.encode(&exponent),
        BASE64URL_NOPAD.encode(&modulus),
    );
    Ok((
        sha256(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#).as_bytes()),
        prepared,
    ))
}

fn elliptic(members: &Map<String, Value>) -> Result<Parts, SkipReason> {
    let curve = text(members, "crv")?.ok_or(SkipReason::Malformed)?;
    let (algorithm, verification, length): (_, &'static dyn VerificationAlgorithm, _) = match curve
    {
        "P-256" => (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return Err(SkipReason::UnknownKind),
    };
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    if x.len() != length || y.len() != length {
        return Err(SkipReason::Malformed);
    }
    let mut point = vec![4];
    point.extend_from_slice(&x);
    point.extend_from_slice(&y);
    let key = ParsedPublicKey::new(verification, point).map_err(|_| SkipReason::Malformed)?;
    let (x, y) = (BASE64URL_NOPAD.encode(&x), BASE64URL_NOPAD.encode(&y));
    let canonical = format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok((
        sha256(canonical.as_bytes()),
        vec![(algorithm, Prepared::Public(key))],
    ))
}

fn edwards(members: &Map<String, Value>) -> Result<Parts, SkipReason> {
    if text(members, "crv")?.ok_or(SkipReason::Malformed)? != "Ed25519" {
        return Err(SkipReason::UnknownKind);
    }
    let x = bytes(members, "x")?;
    if x.len() != 32 {
        return Err(SkipReason::Malformed);
    }
    let key = ParsedPublicKey::new(&signature::ED25519, &x).map_err(|_| SkipReason::Malformed)?;
    let prepared = vec![
        (Algorithm::EdDsa, Prepared::Public(key.clone())),
        (Algorithm::Ed25519, Prepared::Public(key)),
    ];
    let canonical = format!(
        r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
        BASE64URL_NOPAD.encode(&x)
    );
    Ok((sha256(canonical.as_bytes()), prepared))
}

/// A member that is a string if it is there at all.
fn text<'jwk>(
    members: &'jwk Map<String, Value>,
    name: &str,
) -> Result<Option<&'jwk str>, SkipReason> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SkipReason::Malformed),
    }
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, SkipReason> {
    let text = text(members, name)?.ok_or(SkipReason::Malformed)?;
    let text = text.trim_end_matches('=');
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| SkipReason::Malformed)
}

/// A number without leading zeroes: some providers send them, and the library then refuses every signature.
fn unsigned(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, SkipReason> {
    let number = bytes(members, name)?;
    let significant: Vec<u8> = number.into_iter().skip_while(|byte| *byte == 0).collect();
    if significant.is_empty() {
        return Err(SkipReason::Malformed);
    }
    Ok(significant)
}

fn bits(number: &[u8]) -> usize {
    let first = number
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - first
}

/// Odd, at least 3, at most 33 bits, as the library asks.
fn is_sound_exponent(exponent: &[u8]) -> bool {
    let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    is_odd && exponent != [1] && bits(exponent) <= 33
}

fn sha256(text: &[u8]) -> Thumbprint {
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    Thumbprint(thumbprint)
}
