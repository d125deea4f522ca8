//! The form of a token: a compact JWS of a claims object, or none at all (RFC 7515 §3.1, RFC 7519 §7.2).
//!
//! Owns the split, the base64url and the shape of header and claims. Nothing here is believed yet: it is
//! read in order to find the issuer and the key.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use super::json::{self, Json, Object};
use crate::identity::TokenDigest;
use crate::keys::SignedPart;
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// The largest JOSE header, decoded.
const HEADER_BYTES: usize = 4096;
/// 9999-12-31T23:59:59Z, the last `exp` that makes sense.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A token cut at its last dot, and hashed.
#[derive(Clone, Copy)]
pub(super) struct Compact<'token> {
    /// Header and payload as signed (RFC 7515 §5.2 step 8).
    pub(super) signed: SignedPart<'token>,
    /// The signature as it stands.
    pub(super) signature: &'token str,
    text: &'token str,
}

/// Its three parts, decoded.
pub(super) struct Decoded<'token> {
    compact: Compact<'token>,
    /// Header, payload and signature, one behind the other: one allocation for all.
    bytes: Vec<u8>,
    header: usize,
    payload: usize,
}

/// A token of the right form, not verified.
pub(super) struct Jws<'token> {
    /// `alg`, by its exact name.
    pub(super) algorithm: Cow<'token, str>,
    /// `kid`, an opaque string.
    pub(super) kid: Option<Cow<'token, str>>,
    /// `typ`, as it stands.
    pub(super) kind: Option<Cow<'token, str>>,
    /// The claims, not verified.
    pub(super) claims: Object<'token>,
    /// What the signature is over.
    pub(super) signed: SignedPart<'token>,
    /// The signature, decoded; may be empty.
    pub(super) signature: &'token [u8],
    /// What names the token.
    pub(super) digest: TokenDigest,
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jws({})", self.digest.token_id())
    }
}

impl<'token> Compact<'token> {
    /// Cuts a token.
    ///
    /// # Errors
    /// `token_opaque`: it has no dots at all.
    pub(super) fn cut(token: &'token str) -> Result<Self, Rejection> {
        let (text, signature) = token.rsplit_once('.').ok_or(Rejection::TokenOpaque)?;
        Ok(Self {
            signed: SignedPart::of(text.as_bytes()),
            signature,
            text,
        })
    }

    /// The signed part's digest, for tokens of three parts whatever else is wrong with them.
    pub(super) fn digest(&self) -> Option<TokenDigest> {
        let (header, payload) = self.text.split_once('.')?;
        (!header.is_empty() && !payload.is_empty() && !payload.contains('.'))
            .then(|| TokenDigest(self.signed.sha256()))
    }

    /// Decodes the three parts.
    ///
    /// # Errors
    /// `token_encrypted`, `token_malformed`.
    pub(super) fn decode(self) -> Result<Decoded<'token>, Rejection> {
        match self.text.bytes().filter(|byte| *byte == b'.').count() {
            1 => Decoded::of(self).ok_or(Rejection::TokenMalformed),
            3 => Err(Rejection::TokenEncrypted),
            _ => Err(Rejection::TokenMalformed),
        }
    }
}

impl<'token> Decoded<'token> {
    fn of(compact: Compact<'token>) -> Option<Self> {
        let (header, payload) = compact.text.split_once('.')?;
        // Judged before it is decoded: base64 is four characters for three bytes.
        if header.len() > HEADER_BYTES.div_ceil(3) * 4 {
            return None;
        }
        let mut bytes = vec![0; (compact.text.len() + compact.signature.len()) / 4 * 3 + 3];
        let header = decode(header, &mut bytes, 0)?;
        let payload = decode(payload, &mut bytes, header)?;
        let end = decode(compact.signature, &mut bytes, payload)?;
        bytes.truncate(end);
        Some(Self {
            compact,
            bytes,
            header,
            payload,
        })
    }

    /// Reads header and claims.
    ///
    /// # Errors
    /// `token_malformed`.
    pub(super) fn read(&self) -> Result<Jws<'_>, Rejection> {
        self.objects().ok_or(Rejection::TokenMalformed)
    }

    fn objects(&self) -> Option<Jws<'_>> {
        let (header, rest) = self.bytes.split_at_checked(self.header)?;
        let (payload, signature) = rest.split_at_checked(self.payload.checked_sub(self.header)?)?;
        if header.len() > HEADER_BYTES {
            return None;
        }
        let (algorithm, key_id, kind) = read_header(&json::object(header)?)?;
        let claims = json::object(payload)?;
        registered_claims_are_typed(&claims).then(|| Jws {
            algorithm,
            kid: key_id,
            kind,
            claims,
            signed: self.compact.signed,
            signature,
            digest: TokenDigest(self.compact.signed.sha256()),
        })
    }
}

/// Decodes canonical base64url (no padding, no stray characters, no trailing bits: RFC 7515 §2) into `bytes` from `start`
/// on, and says where it ends.
fn decode(part: &str, bytes: &mut [u8], start: usize) -> Option<usize> {
    let end = start + BASE64URL_NOPAD.decode_len(part.len()).ok()?;
    let place = bytes.get_mut(start..end)?;
    BASE64URL_NOPAD.decode_mut(part.as_bytes(), place).ok()?;
    Some(end)
}

type HeaderTexts<'token> = (
    Cow<'token, str>,
    Option<Cow<'token, str>>,
    Option<Cow<'token, str>>,
);

/// `alg`, `kid` and `typ`. Extensions that change what is signed or how are not understood, so they are refused
/// (RFC 7515 §4.1.11, RFC 7797 §7); key material in the header is not looked at.
fn read_header<'token>(header: &Object<'token>) -> Option<HeaderTexts<'token>> {
    if ["crit", "b64", "zip", "enc"]
        .iter()
        .any(|name| header.contains_key(name))
    {
        return None;
    }
    if header.get("cty").is_some_and(is_nested) {
        return None;
    }
    let text = |name: &str| match header.get(name) {
        None => Some(None),
        Some(Json::Text(value)) => Some(Some(value.clone())),
        Some(_) => None,
    };
    Some((text("alg")??, text("kid")?, text("typ")?))
}

/// A JWT in a JWT (RFC 7519 §5.2).
fn is_nested(content_type: &Json<'_>) -> bool {
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
fn registered_claims_are_typed(claims: &Object<'_>) -> bool {
    let is = |name: &str, test: fn(&Json<'_>) -> bool| claims.get(name).is_none_or(test);
    let is_text = |value: &Json<'_>| value.as_str().is_some();
    let is_number = |value: &Json<'_>| value.as_number().is_some();
    let is_text_or_texts = |value: &Json<'_>| match value {
        Json::Array(elements) => elements.iter().all(|element| element.as_str().is_some()),
        other => other.as_str().is_some(),
    };
    is("iss", is_text)
        && is("sub", is_text)
        && is("jti", is_text)
        && is("aud", is_text_or_texts)
        && is("nbf", is_number)
        && is("iat", is_number)
        && is("exp", |value| {
            value
                .as_number()
                .and_then(serde_json::Number::as_f64)
                .is_some_and(|seconds| (0.0..=LAST_SECOND).contains(&seconds))
        })
}

/// The `NumericDate` of that name; out of range saturates.
pub(super) fn moment(claims: &Object<'_>, name: &str) -> Option<UnixTime> {
    let number = claims.get(name)?.as_number()?;
    match number.as_i64() {
        Some(seconds) => Some(UnixTime::from_seconds(seconds)),
        None => number.as_f64().map(UnixTime::from_fractional_seconds),
    }
}
