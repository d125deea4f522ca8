//! One revocation: what it takes back, of which issuer, and the name it goes by.
//!
//! Owns the kinds, the deterministic id and the compact form that the set keeps. Knows nothing of how
//! revocations are found.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{self, Context};

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

    /// The bytes that a token's value must equal.
    pub(super) fn value(&self) -> &[u8] {
        match self {
            Self::Jti(value) | Self::Session(value) | Self::Client(value) => value.as_bytes(),
            Self::Subject { subject, .. } => subject.as_bytes(),
            Self::Key(thumbprint) => &thumbprint.0,
            Self::Token(digest) => &digest.0,
        }
    }

    /// The cut-off of a subject, where there is one.
    pub(super) const fn cut_off(&self) -> Option<UnixTime> {
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
    /// The id that it will have: 16 bytes of SHA-256 over its length-prefixed parts.
    pub(super) fn id(&self) -> Id {
        let mut context = Context::new(&digest::SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(self.what.kind().name().as_bytes());
        part(self.issuer.as_bytes());
        part(self.what.value());
        match self.what.cut_off() {
            Some(cut_off) => part(&cut_off.as_micros().to_be_bytes()),
            None => part(&[]),
        }
        let whole = context.finish();
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        Id(id)
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

const ID_BYTES: usize = 16;

/// The id in the form that the set keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id([u8; ID_BYTES]);

impl Id {
    /// Reads 32 lower-case hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn to_text(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

/// A revocation as the set keeps it; shared by its indexes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    /// Shared by all entries of the issuer.
    pub(super) issuer: Arc<str>,
    pub(super) what: Subject,
    /// Place in the order of creation.
    pub(super) sequence: u64,
    pub(super) created_at: UnixTime,
    reason: Option<Box<str>>,
    /// Microseconds since the epoch; `i64::MAX` for never. Atomic, so that an extension is seen without a new entry.
    expires_at: AtomicI64,
}

impl Entry {
    pub(super) fn new(
        new: NewRevocation,
        id: Id,
        issuer: Arc<str>,
        sequence: u64,
        now: UnixTime,
    ) -> Self {
        Self {
            id,
            issuer,
            sequence,
            created_at: now,
            expires_at: AtomicI64::new(as_moment(new.expires_at).as_micros()),
            what: new.what,
            reason: new.reason,
        }
    }

    /// When it ends; [`UnixTime::MAX`] if it does not.
    pub(super) fn ends_at(&self) -> UnixTime {
        let micros = self.expires_at.load(Ordering::Relaxed);
        let distance = Duration::from_micros(micros.unsigned_abs());
        let epoch = UnixTime::from_seconds(0);
        if micros < 0 {
            epoch.minus(distance)
        } else {
            epoch.plus(distance)
        }
    }

    /// Whether it still refuses.
    pub(super) fn is_live(&self, now: UnixTime) -> bool {
        now < self.ends_at()
    }

    /// Moves the end; only the set's writer does.
    pub(super) fn extend(&self, ends_at: UnixTime) {
        self.expires_at
            .store(ends_at.as_micros(), Ordering::Relaxed);
    }

    /// As callers see it.
    pub(super) fn to_revocation(&self) -> Revocation {
        let ends_at = self.ends_at();
        Revocation {
            id: self.id.to_text(),
            issuer: Box::from(&*self.issuer),
            what: self.what.clone(),
            expires_at: (ends_at != UnixTime::MAX).then_some(ends_at),
            created_at: self.created_at,
            reason: self.reason.clone(),
        }
    }
}

/// The end as a moment: never is the latest.
pub(super) fn as_moment(expires_at: Option<UnixTime>) -> UnixTime {
    expires_at.unwrap_or(UnixTime::MAX)
}
