//! The record that every change of revocations leaves: who, what and why; when is the log's.
//!
//! Owns its fields, the same wherever a change comes from. No credential and nothing secret of a token is among them: a token
//! goes by its id.

use super::entry::{Revocation, Subject};
use crate::identity::{TokenDigest, TokenId};

/// Values are cut at so many characters: what is revoked may be as long as a request allows.
const LONGEST_VALUE: usize = 256;

/// Who changes something, by the credential that was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// Whoever reaches the admin listener on a loopback address, without a credential.
    Loopback,
    /// Whoever holds the content of `[admin] token_file`.
    AdminToken,
    /// The bearer of a token of the issuer of that name.
    Operator {
        issuer: &'a str,
        subject: Option<&'a str>,
        client: Option<&'a str>,
        token: TokenDigest,
    },
    /// The issuer of that name, by a logout token.
    Provider { issuer: &'a str, token: TokenDigest },
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Revoked,
    /// It was revoked already; at most its end moved.
    Confirmed,
    Restored,
}

impl Act {
    /// What a write that asked for a revocation has done.
    pub const fn of_revoking(is_new: bool) -> Self {
        if is_new {
            Self::Revoked
        } else {
            Self::Confirmed
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Confirmed => "confirmed",
            Self::Restored => "restored",
        }
    }
}

impl<'a> Actor<'a> {
    const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::AdminToken => "admin_token",
            Self::Operator { .. } => "operator",
            Self::Provider { .. } => "provider",
        }
    }

    const fn issuer(self) -> Option<&'a str> {
        match self {
            Self::Loopback | Self::AdminToken => None,
            Self::Operator { issuer, .. } | Self::Provider { issuer, .. } => Some(issuer),
        }
    }

    const fn subject(self) -> Option<&'a str> {
        match self {
            Self::Operator { subject, .. } => subject,
            _ => None,
        }
    }

    const fn client(self) -> Option<&'a str> {
        match self {
            Self::Operator { client, .. } => client,
            _ => None,
        }
    }

    fn token_id(self) -> Option<TokenId> {
        match self {
            Self::Loopback | Self::AdminToken => None,
            Self::Operator { token, .. } | Self::Provider { token, .. } => Some(token.token_id()),
        }
    }
}

/// Writes the record. `issuer`: the configured name of the revocation's issuer, or its `iss`; `actor_request_id`: of the request
/// that asked for the change.
pub fn audit(
    actor: Actor<'_>,
    act: Act,
    revocation: &Revocation,
    issuer: &str,
    actor_request_id: &str,
) {
    tracing::info!(
        target: "portcullis::audit",
        actor = actor.name(),
        actor_issuer = actor.issuer(),
        actor_subject = actor.subject(),
        actor_client = actor.client(),
        actor_token_id = actor.token_id().as_ref().map(TokenId::as_str),
        actor_request_id,
        change = act.name(),
        kind = revocation.what.kind().name(),
        id = revocation.id,
        issuer,
        value = value_of(&revocation.what),
        reason = revocation.reason.as_deref(),
        "revocation"
    );
}

/// The same of many at once, of which only the numbers are told: `known` were there already, `ended` were not taken.
pub fn audit_import(actor: Actor<'_>, new: u64, known: u64, ended: u64, actor_request_id: &str) {
    tracing::info!(
        target: "portcullis::audit",
        actor = actor.name(),
        actor_issuer = actor.issuer(),
        actor_subject = actor.subject(),
        actor_client = actor.client(),
        actor_token_id = actor.token_id().as_ref().map(TokenId::as_str),
        actor_request_id,
        change = "imported",
        new,
        known,
        ended,
        "revocations"
    );
}

fn value_of(what: &Subject) -> String {
    match what {
        Subject::Jti(value) | Subject::Session(value) | Subject::Client(value) => cut(value),
        Subject::Subject { subject, .. } => cut(subject),
        Subject::Key(thumbprint) => thumbprint.to_string(),
        Subject::Token(digest) => digest.token_id().to_string(),
    }
}

fn cut(value: &str) -> String {
    value.chars().take(LONGEST_VALUE).collect()
}
