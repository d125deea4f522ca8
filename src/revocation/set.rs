//! stub
use crate::identity::{Identity, Thumbprint, TokenDigest};
use crate::time::UnixTime;

/// The kinds of revocation: the `kind` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevocationKind {
    Jti,
    Subject,
    Session,
    Client,
    Key,
    Token,
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Jti(Box<str>),
    /// `issued_before`: tokens with `iat` at or before it, or without `iat`; absent: all, future ones too.
    Subject {
        subject: Box<str>,
        issued_before: Option<UnixTime>,
    },
    Session(Box<str>),
    Client(Box<str>),
    Key(Thumbprint),
    Token(TokenDigest),
}

/// One revocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Revocation {
    /// 32 hex digits, the same for the same revocation on every gateway.
    pub id: String,
    /// The `iss` value, or the configured text of a tenanted issuer: all its tenants.
    pub issuer: Box<str>,
    pub what: Subject,
    /// `None`: until restored.
    pub expires_at: Option<UnixTime>,
    pub created_at: UnixTime,
    pub reason: Option<Box<str>>,
}

/// The answer to "was this taken back?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clear,
    Revoked,
    Stale,
}

/// Outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    pub revocation: Revocation,
    pub is_new: bool,
}

/// The set.
#[derive(Debug, Default)]
pub struct RevocationSet {}

impl RevocationSet {
    /// An empty set.
    pub fn new() -> Self {
        todo!()
    }
    /// Whether `identity`, of the issuer configured as `issuer`, was revoked.
    pub fn check(&self, _identity: &Identity, _issuer: &str, _now: UnixTime) -> Verdict {
        todo!()
    }
}
