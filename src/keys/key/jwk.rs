//! From a JSON Web Key (RFC 7517) to a prepared key.
//!
//! Owns every check on a key of a set. `jsonwebtoken`'s types split the kinds; what they do not look at (private
//! members, `use`, lengths, leading zeros) is asked of the raw value, because their own reading of the common
//! members fails on what RFC 7517 §5 wants skipped.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, OctetKeyPairParameters,
    RSAKeyParameters,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{SkipReason, VerificationKey, Verifier, thumbprint_from};
use crate::algorithm::Algorithm;

const RSA_ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
];
const EDWARDS_ALGORITHMS: [Algorithm; 2] = [Algorithm::EdDsa, Algorithm::Ed25519];
/// The private members of RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2 and of the `AKP` kind.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "seed"];

type Verifiers = Box<[(Algorithm, Verifier)]>;

/// What the public part of a key gave: its verifiers, and the text that its thumbprint hashes.
struct PublicPart {
    verifiers: Verifiers,
    /// RFC 7638 §3: the required members in lexical order, without white space.
    canonical: String,
}

/// Prepares one member of `keys`.
pub(super) fn prepare(jwk: &Value) -> Result<VerificationKey, SkipReason> {
    let members = jwk.as_object().ok_or(SkipReason::Malformed)?;
    let family = text(members, "kty")?.ok_or(SkipReason::Malformed)?;
    if family == "oct" || is_present(members, "k") {
        return Err(SkipReason::Symmetric);
    }
    if !matches!(family, "RSA" | "EC" | "OKP") {
        return Err(SkipReason::UnknownKind);
    }
    if PRIVATE_MEMBERS.iter().any(|name| is_present(members, name)) {
        return Err(SkipReason::Private);
    }
    if !is_for_verifying(members) {
        return Err(SkipReason::Use);
    }
    let kid = text(members, "kid")?.map(Box::from);
    let parameters = AlgorithmParameters::deserialize(jwk).map_err(|_| SkipReason::Malformed)?;
    let part = match parameters {
        AlgorithmParameters::RSA(parameters) => rsa(&parameters, members)?,
        AlgorithmParameters::EllipticCurve(parameters) => elliptic_curve(&parameters, members)?,
        AlgorithmParameters::OctetKeyPair(parameters) => edwards(&parameters, members)?,
        _ => return Err(why_unread(family, members)),
    };
    let digest = digest::digest(&digest::SHA256, part.canonical.as_bytes());
    Ok(VerificationKey {
        kid,
        thumbprint: thumbprint_from(digest),
        verifiers: part.verifiers,
    })
}

/// A known `kty` that was not read: either its curve is not known here, or a member is missing.
fn why_unread(family: &str, members: &Map<String, Value>) -> SkipReason {
    let curve = members.get("crv").and_then(Value::as_str);
    let is_unknown_curve = match family {
        "EC" => curve.is_some_and(|curve| !matches!(curve, "P-256" | "P-384" | "P-521")),
        "OKP" => curve.is_some_and(|curve| curve != "Ed25519"),
        _ => false,
    };
    if is_unknown_curve {
        SkipReason::UnknownKind
    } else {
        SkipReason::Malformed
    }
}

/// JSON `null` counts as absent: some providers write every member of their class.
fn is_present(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(|value| !value.is_null())
}

fn text<'jwk>(
    members: &'jwk Map<String, Value>,
    name: &str,
) -> Result<Option<&'jwk str>, SkipReason> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SkipReason::Malformed),
    }
}

/// RFC 7517 §4.2 and §4.3: `use`, where given, is `sig`; `key_ops`, where given, holds `verify`.
fn is_for_verifying(members: &Map<String, Value>) -> bool {
    let purpose = match members.get("use") {
        None | Some(Value::Null) => true,
        Some(purpose) => purpose == "sig",
    };
    let operations = match members.get("key_ops") {
        None | Some(Value::Null) => true,
        Some(Value::Array(operations)) => operations.iter().any(|one| one == "verify"),
        Some(operation) => operation == "verify",
    };
    purpose && operations
}

/// Which of the algorithms that the key's kind allows it serves, by its `alg`.
fn served(
    members: &Map<String, Value>,
    allowed: &[Algorithm],
) -> Result<Vec<Algorithm>, SkipReason> {
    let name = match members.get("alg") {
        None | Some(Value::Null) => return Ok(allowed.to_vec()),
        Some(Value::String(name)) => name,
        Some(_) => return Err(SkipReason::Algorithm),
    };
    let algorithm = Algorithm::from_name(name)
        .filter(|algorithm| allowed.contains(algorithm))
        .ok_or(SkipReason::Algorithm)?;
    // RFC 9864 §2.2: for an Ed25519 key `EdDSA` and `Ed25519` name the same algorithm.
    if EDWARDS_ALGORITHMS.contains(&algorithm) {
        return Ok(EDWARDS_ALGORITHMS.to_vec());
    }
    Ok(vec![algorithm])
}

fn rsa(
    parameters: &RSAKeyParameters,
    members: &Map<String, Value>,
) -> Result<PublicPart, SkipReason> {
    let allowed = RSA_ALGORITHMS.map(|(algorithm, _)| algorithm);
    let served = served(members, &allowed)?;
    let (n, e) = (decode(&parameters.n)?, decode(&parameters.e)?);
    let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
    let (size, exponent_size) = (bits(n), bits(e));
    if size < 2048 {
        return Err(if size == 0 {
            SkipReason::Malformed
        } else {
            SkipReason::Weak
        });
    }
    // An even modulus or exponent is no RSA key, and 1 would let everybody sign. aws-lc refuses more than 8192 and 33
    // bits, but only when it verifies: such a key would turn every token into a bad signature.
    if size > 8192 || !(2..=33).contains(&exponent_size) || !is_odd(n) || !is_odd(e) {
        return Err(SkipReason::Malformed);
    }
    let components = RsaPublicKeyComponents { n, e };
    let verifiers = RSA_ALGORITHMS
        .iter()
        .filter(|(algorithm, _)| served.contains(algorithm))
        .map(|(algorithm, parameters)| {
            components
                .to_parsed_public_key(parameters)
                .map(|key| (*algorithm, Verifier::Public(key)))
                .map_err(|_| SkipReason::Malformed)
        })
        .collect::<Result<_, _>>()?;
    Ok(PublicPart {
        verifiers,
        canonical: format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
    })
}

fn elliptic_curve(
    parameters: &EllipticCurveKeyParameters,
    members: &Map<String, Value>,
) -> Result<PublicPart, SkipReason> {
    let (curve, algorithm, scheme, size): (_, _, &'static dyn VerificationAlgorithm, _) =
        match parameters.curve {
            EllipticCurve::P256 => (
                "P-256",
                Algorithm::Es256,
                &signature::ECDSA_P256_SHA256_FIXED,
                32,
            ),
            EllipticCurve::P384 => (
                "P-384",
                Algorithm::Es384,
                &signature::ECDSA_P384_SHA384_FIXED,
                48,
            ),
            EllipticCurve::P521 => (
                "P-521",
                Algorithm::Es512,
                &signature::ECDSA_P521_SHA512_FIXED,
                66,
            ),
            _ => return Err(SkipReason::UnknownKind),
        };
    let served = served(members, &[algorithm])?;
    let x = coordinate(&parameters.x, size)?;
    let y = coordinate(&parameters.y, size)?;
    // SEC 1 §2.3.3, uncompressed; parsing checks that the point is on the curve.
    let point = [&[4][..], &x, &y].concat();
    Ok(PublicPart {
        verifiers: parsed(scheme, &point, &served)?,
        canonical: format!(
            r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#,
            encode(&x),
            encode(&y)
        ),
    })
}

fn edwards(
    parameters: &OctetKeyPairParameters,
    members: &Map<String, Value>,
) -> Result<PublicPart, SkipReason> {
    if parameters.curve != EllipticCurve::Ed25519 {
        return Err(SkipReason::UnknownKind);
    }
    let served = served(members, &EDWARDS_ALGORITHMS)?;
    let point: [u8; 32] = decode(&parameters.x)?
        .try_into()
        .map_err(|_| SkipReason::Malformed)?;
    if is_of_small_order(point) {
        return Err(SkipReason::Weak);
    }
    Ok(PublicPart {
        verifiers: parsed(&signature::ED25519, &point, &served)?,
        canonical: format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            encode(&point)
        ),
    })
}

fn parsed(
    scheme: &'static dyn VerificationAlgorithm,
    point: &[u8],
    served: &[Algorithm],
) -> Result<Verifiers, SkipReason> {
    let key = ParsedPublicKey::new(scheme, point).map_err(|_| SkipReason::Malformed)?;
    Ok(served
        .iter()
        .map(|algorithm| (*algorithm, Verifier::Public(key.clone())))
        .collect())
}

/// Base64url; the padding that some providers add is forgiven.
fn decode(text: &str) -> Result<Vec<u8>, SkipReason> {
    data_encoding::BASE64URL_NOPAD
        .decode(text.trim_end_matches('=').as_bytes())
        .map_err(|_| SkipReason::Malformed)
}

fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

/// A coordinate at the full size of its field (RFC 7518 §6.2.1.2), whether zeros were dropped or added in front.
fn coordinate(text: &str, size: usize) -> Result<Vec<u8>, SkipReason> {
    let bytes = decode(text)?;
    let significant = without_leading_zeros(&bytes);
    let padding = size
        .checked_sub(significant.len())
        .filter(|_| !bytes.is_empty())
        .ok_or(SkipReason::Malformed)?;
    let mut full = vec![0; padding];
    full.extend_from_slice(significant);
    Ok(full)
}

fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The size in bits of a big-endian number without leading zeros.
fn bits(bytes: &[u8]) -> usize {
    bytes.first().map_or(0, |first| {
        (bytes.len() * 8).saturating_sub(first.leading_zeros() as usize)
    })
}

fn is_odd(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|last| last % 2 == 1)
}

/// Whether an Ed25519 point is one of the few under which a signature can be made without the private key.
fn is_of_small_order(mut point: [u8; 32]) -> bool {
    // y of the points of order 8; those of order 1, 2 and 4 are 1, p - 1 and 0, and each may be written plus p.
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    // The top bit is the sign of x, not part of y.
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    if ORDER_EIGHT.contains(&point) {
        return true;
    }
    match point {
        [0 | 1, rest @ ..] if rest == [0; 31] => true,
        // p is 2^255 - 19, ed ff … ff 7f in little-endian.
        [0xec..=0xee, middle @ .., 0x7f] => middle == [0xff; 30],
        _ => false,
    }
}
