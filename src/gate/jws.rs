//! The form of a token: a compact JWS of a claims object, or none at all (RFC 7515 §3.1, RFC 7519 §7.2).
//!
//! Owns the split, the base64url and the shape of header and claims. Nothing here is believed yet: it is
//! read in order to find the issuer and the key.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::json;
use crate::identity::TokenDigest;
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// The largest JOSE header, decoded.
const HEADER_BYTES: usize = 4096;
/// 9999-12-31T23:59:59Z, the last `exp` that makes sense.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A token of the right form, not verified.
pub(super) struct Jws<'token> {
    /// `alg`, by its exact name.
    pub(super) algorithm: String,
    /// `kid`, an opaque string.
    pub(super) kid: Option<String>,
    /// `typ`, as it stands.
    pub(super) kind: Option<String>,
    /// The claims, not verified.
    pub(super) claims: Map<String, Value>,
    /// Header and payload as signed (RFC 7515 §5.2 step 8).
    pub(super) signed: &'token str,
    /// The signature, decoded; may be empty.
    pub(super) signature: Vec<u8>,
    /// What names the token.
    pub(super) digest: TokenDigest,
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jws({})", self.digest.token_id())
    }
}

/// The signed part's digest, for tokens of three parts whatever else is wrong with them.
pub(super) fn digest_of(token: &str) -> Option<TokenDigest> {
    let (signed, _) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    (!header.is_empty() && !payload.is_empty() && !payload.contains('.')).then(|| sha256(signed))
}

fn sha256(signed: &str) -> TokenDigest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    TokenDigest(bytes)
}

/// Reads a token.
///
/// # Errors
/// `token_opaque`, `token_encrypted`, `token_malformed`.
pub(super) fn parse(token: &str) -> Result<Jws<'_>, Rejection> {
    let (signed, signature) = match token.bytes().filter(|byte| *byte == b'.').count() {
        0 => return Err(Rejection::TokenOpaque),
        4 => return Err(Rejection::TokenEncrypted),
        2 => token.rsplit_once('.').ok_or(Rejection::TokenMalformed)?,
        _ => return Err(Rejection::TokenMalformed),
    };
    read(signed, signature).ok_or(Rejection::TokenMalformed)
}

fn read<'token>(signed: &'token str, signature: &str) -> Option<Jws<'token>> {
    let (header, payload) = signed.split_once('.')?;
    // Judged before it is decoded: base64 is four characters for three bytes.
    if header.len() > HEADER_BYTES.div_ceil(3) * 4 {
        return None;
    }
    let signature = decode(signature)?;
    let header = decode(header).filter(|header| header.len() <= HEADER_BYTES)?;
    let (algorithm, key_id, kind) = read_header(json::object(&header)?)?;
    let claims = json::object(&decode(payload)?)?;
    registered_claims_are_typed(&claims).then(|| Jws {
        algorithm,
        kid: key_id,
        kind,
        claims,
        signed,
        signature,
        digest: sha256(signed),
    })
}

/// Canonical base64url: no padding, no stray characters, no trailing bits (RFC 7515 §2).
fn decode(part: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(part.as_bytes()).ok()
}

/// `alg`, `kid` and `typ`. Extensions that change what is signed or how are not understood, so they are refused
/// (RFC 7515 §4.1.11, RFC 7797 §7); key material in the header is not looked at.
fn read_header(mut header: Map<String, Value>) -> Option<(String, Option<String>, Option<String>)> {
    if ["crit", "b64", "zip", "enc"]
        .iter()
        .any(|name| header.contains_key(*name))
    {
        return None;
    }
    if header.get("cty").is_some_and(is_nested) {
        return None;
    }
    let mut text = |name: &str| match header.remove(name) {
        None => Some(None),
        Some(Value::String(value)) => Some(Some(value)),
        Some(_) => None,
    };
    Some((text("alg")??, text("kid")?, text("typ")?))
}

/// A JWT in a JWT (RFC 7519 §5.2).
fn is_nested(content_type: &Value) -> bool {
    content_type
        .as_str()
        .is_none_or(|name| matches!(bare_type(essence(name)).as_str(), "jwt"))
}

/// A media type without its parameters.
pub(super) fn essence(name: &str) -> &str {
    name.split_once(';').map_or(name, |(it, _)| it).trim()
}

/// A media type as JOSE headers shorten it: lower case, `application/` dropped (RFC 7515 §4.1.9).
pub(super) fn bare_type(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(bare) => bare.to_owned(),
        None => lower,
    }
}

/// RFC 7519 §4.1: the registered claims have the types that it gives them.
fn registered_claims_are_typed(claims: &Map<String, Value>) -> bool {
    let is = |name: &str, test: fn(&Value) -> bool| claims.get(name).is_none_or(test);
    let is_text_or_texts = |value: &Value| match value {
        Value::Array(elements) => elements.iter().all(Value::is_string),
        other => other.is_string(),
    };
    is("iss", Value::is_string)
        && is("sub", Value::is_string)
        && is("jti", Value::is_string)
        && is("aud", is_text_or_texts)
        && is("nbf", Value::is_number)
        && is("iat", Value::is_number)
        && is("exp", |value| {
            value
                .as_f64()
                .is_some_and(|seconds| (0.0..=LAST_SECOND).contains(&seconds))
        })
}

/// The `NumericDate` of that name; out of range saturates.
pub(super) fn moment(claims: &Map<String, Value>, name: &str) -> Option<UnixTime> {
    let number = claims.get(name)?;
    match number.as_i64() {
        Some(seconds) => Some(UnixTime::from_seconds(seconds)),
        None => number.as_f64().map(UnixTime::from_fractional_seconds),
    }
}
