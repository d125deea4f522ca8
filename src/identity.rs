//! Who the caller is, after verification.
//!
//! Owns [`Identity`]: only the claims that the configuration refers to, resolved once when the token
//! was verified. Knows nothing of HTTP, keys or configuration beyond the numbers that index it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::time::UnixTime;

/// Which `[[issuer]]` of the running configuration: its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub u32);

impl IssuerId {
    /// The place in the list of issuers.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the metrics and logs call the issuer of a request's token: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerLabel {
    /// No readable token.
    None,
    /// A readable token whose `iss` is not configured.
    Unknown,
    /// A configured issuer; nothing says yet that the token is really its.
    Known(IssuerId),
}

/// How an admission came about: the `via` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The token had been verified before.
    Cache,
    /// The token was verified for this request.
    Verified,
    /// No token was needed.
    Anonymous,
}

impl Via {
    /// Every way, in the order of the enum.
    pub const ALL: [Self; 3] = [Self::Cache, Self::Verified, Self::Anonymous];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Verified => "verified",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Which of the claims that routes and identity headers refer to: its place in the configuration's claim table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimSlot(pub u32);

impl ClaimSlot {
    /// The place in [`Identity::claims`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// RFC 7638 SHA-256 thumbprint of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl fmt::Display for Thumbprint {
    /// Writes base64url without padding, as RFC 7638 §3.1 shows it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Thumbprint({self})")
    }
}

/// SHA-256 of a token's signed part, header and payload.
///
/// It names a token, where the whole text would not: a signature can be rewritten and still verify.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The first 16 hexadecimal digits, by which logs and `explain` mention the token.
    pub fn token_id(&self) -> TokenId {
        let mut id = [0; 16];
        let [
            first,
            second,
            third,
            fourth,
            fifth,
            sixth,
            seventh,
            eighth,
            ..,
        ] = self.0;
        let head = [first, second, third, fourth, fifth, sixth, seventh, eighth];
        data_encoding::HEXLOWER.encode_mut(&head, &mut id);
        TokenId(id)
    }
}

/// By what name logs and `explain` mention a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// 16 hexadecimal digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenDigest({})", self.token_id())
    }
}

/// What a verified token says of its bearer. What most tokens of an issuer have in common they may share.
#[derive(Debug, PartialEq)]
pub struct Identity {
    /// The configured issuer that vouches for it.
    pub issuer: IssuerId,
    /// The token's own `iss`; differs from the configured text where that names tenants.
    pub iss: Arc<str>,
    /// The issuer's subject claim.
    pub subject: Option<Box<str>>,
    /// The first of the issuer's client claims that is present.
    pub client: Option<Box<str>>,
    /// `sid`, the session at the provider (OpenID Connect Front-Channel Logout 1.0 §3).
    pub session: Option<Box<str>>,
    /// `jti` (RFC 7519 §4.1.7).
    pub jti: Option<Box<str>>,
    /// The first of the issuer's scope claims that is present, split.
    pub scopes: Arc<[Box<str>]>,
    /// They were the elements of an array, in which a comma separates nothing.
    pub scopes_are_elements: bool,
    /// The issuer's audience claim; absent is `None`, a wrong type is empty.
    pub audiences: Option<Arc<[Box<str>]>>,
    /// `iat`.
    pub issued_at: Option<UnixTime>,
    /// `exp`.
    pub expires_at: UnixTime,
    /// The key that verified the signature.
    pub key: Thumbprint,
    /// The token's signed part.
    pub digest: TokenDigest,
    /// The claims that routes and identity headers refer to, by [`ClaimSlot`].
    pub claims: Box<[Option<Value>]>,
}

impl Identity {
    /// The claim in that slot, if the token has it.
    pub fn claim(&self, slot: ClaimSlot) -> Option<&Value> {
        self.claims.get(slot.index())?.as_ref()
    }
}
