//! One revocation: what it takes back, of which issuer, and the name it goes by.
//!
//! Owns the kinds and the deterministic id. Knows nothing of how revocations are found or kept.

use aws_lc_rs::digest;

use crate::identity::{Thumbprint, TokenDigest};
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

impl RevocationKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::Jti,
        Self::Subject,
        Self::Session,
        Self::Client,
        Self::Key,
        Self::Token,
    ];

    /// The label's value, and the member of the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Subject => "subject",
            Self::Session => "session",
            Self::Client => "client",
            Self::Key => "key",
            Self::Token => "token",
        }
    }

    /// The kind of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
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

impl Subject {
    /// Which kind it is.
    pub const fn kind(&self) -> RevocationKind {
        match self {
            Self::Jti(_) => RevocationKind::Jti,
            Self::Subject { .. } => RevocationKind::Subject,
            Self::Session(_) => RevocationKind::Session,
            Self::Client(_) => RevocationKind::Client,
            Self::Key(_) => RevocationKind::Key,
            Self::Token(_) => RevocationKind::Token,
        }
    }

    /// The same of an issuer, borrowed.
    pub(super) fn target_of<'a>(&'a self, issuer: &'a str) -> Target<'a> {
        Target {
            issuer,
            kind: self.kind(),
            value: self.value(),
            issued_before: self.cut_off(),
        }
    }

    /// The bytes that a token's value must equal.
    fn value(&self) -> &[u8] {
        match self {
            Self::Jti(value) | Self::Session(value) | Self::Client(value) => value.as_bytes(),
            Self::Subject { subject, .. } => subject.as_bytes(),
            Self::Key(thumbprint) => &thumbprint.0,
            Self::Token(digest) => &digest.0,
        }
    }

    /// The cut-off of a subject, where there is one.
    const fn cut_off(&self) -> Option<UnixTime> {
        match self {
            Self::Subject { issued_before, .. } => *issued_before,
            _ => None,
        }
    }
}

/// What is asked for: a revocation before it has an id.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRevocation {
    /// The `iss` value, or the configured text of a tenanted issuer: all its tenants.
    pub issuer: Box<str>,
    pub what: Subject,
    /// `None`: until restored.
    pub expires_at: Option<UnixTime>,
    pub reason: Option<Box<str>>,
}

impl NewRevocation {
    /// What it takes back, borrowed.
    pub fn target(&self) -> Target<'_> {
        self.what.target_of(&self.issuer)
    }

    /// The end as a moment: never is the latest.
    pub(super) fn ends_at(&self) -> UnixTime {
        self.expires_at.unwrap_or(UnixTime::MAX)
    }
}

/// What a revocation takes back, borrowed: all that the gate needs to know of it, besides its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The `iss` value, or the configured text of a tenanted issuer: all its tenants.
    pub issuer: &'a str,
    pub kind: RevocationKind,
    /// The bytes that a token's value must equal: UTF-8, or the 32 bytes of a thumbprint or digest.
    pub value: &'a [u8],
    /// The cut-off of a subject, where there is one; without meaning for other kinds.
    pub issued_before: Option<UnixTime>,
}

impl Target<'_> {
    /// Its id: 16 bytes of SHA-256 over its length-prefixed parts.
    pub(super) fn id(&self) -> Id {
        // Put together first: one call into the library instead of ten.
        let mut text = Vec::with_capacity(64 + self.issuer.len() + self.value.len());
        let mut part = |bytes: &[u8]| {
            text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            text.extend_from_slice(bytes);
        };
        part(self.kind.name().as_bytes());
        part(self.issuer.as_bytes());
        part(self.value);
        match self.issued_before {
            Some(cut_off) => part(&cut_off.as_micros().to_be_bytes()),
            None => part(&[]),
        }
        let whole = digest::digest(&digest::SHA256, &text);
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        Id(id)
    }

    /// The id that it would have without a cut-off: what the gate can work out from a token alone.
    pub(super) fn id_without_cut_off(&self) -> Id {
        Self {
            issued_before: None,
            ..*self
        }
        .id()
    }
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

pub(super) const ID_BYTES: usize = 16;

/// The id in the form that the set keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub(super) [u8; ID_BYTES]);

impl Id {
    /// Reads 32 lower-case hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// 32 lower-case hexadecimal digits.
    pub(super) fn to_text(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}
