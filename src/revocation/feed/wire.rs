//! How accounts of entries are written in Redis.
//!
//! Owns the text `REVOKED RESTORED END PAYLOAD` and the JSON of the payload, which the scripts hand on unread. What
//! comes from Redis may have been written by anyone who has its password: it is read as if by a stranger.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::identity::{Thumbprint, TokenDigest};
use crate::revocation::change::{Account, RevocationId};
use crate::revocation::entry::{NewRevocation, Revocation, RevocationKind, Subject};
use crate::revocation::standing::{Standing, from_millis, millis};
use crate::time::UnixTime;

/// How an end that never comes is written.
const NEVER: &str = "-";

/// What is revoked, and what operators are told of it.
#[derive(Serialize, Deserialize)]
struct Payload<'text> {
    kind: Cow<'text, str>,
    issuer: Cow<'text, str>,
    /// The value itself; base64url of a thumbprint or a digest.
    value: Cow<'text, str>,
    /// In microseconds, as all moments here.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<i64>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'text, str>>,
}

/// The line of a revocation that has no number yet.
pub(super) fn line_of_new(new: &NewRevocation, at: UnixTime) -> String {
    let payload = payload(&new.issuer, &new.what, at, new.reason.as_deref());
    line(
        Standing {
            revoked: 0,
            restored: 0,
            ends_at: new.ends_at(),
        },
        &payload,
    )
}

/// The line of an account.
pub(super) fn line_of(account: &Account) -> String {
    let payload = account.revocation.as_ref().map(|revocation| {
        let Revocation {
            issuer,
            what,
            created_at,
            reason,
            ..
        } = revocation;
        payload(issuer, what, *created_at, reason.as_deref())
    });
    line(account.standing, &payload.unwrap_or_default())
}

/// Reads a line that stands under `id`. A restored entry may have no payload; any other must be what its id says.
pub(super) fn read(id: &str, line: &str) -> Option<Account> {
    let id = RevocationId::parse(id)?;
    let mut parts = line.splitn(4, ' ');
    let standing = Standing {
        revoked: parts.next()?.parse().ok()?,
        restored: parts.next()?.parse().ok()?,
        ends_at: match parts.next()? {
            NEVER => UnixTime::MAX,
            end => from_millis(end.parse().ok()?),
        },
    };
    let revocation = match parts.next()? {
        "" => None,
        payload => Some(read_payload(id, payload, standing.ends_at)?),
    };
    let is_whole = revocation.is_some() || !standing.is_revoked();
    is_whole.then_some(Account {
        id,
        standing,
        revocation,
    })
}

fn line(standing: Standing, payload: &str) -> String {
    let Standing {
        revoked,
        restored,
        ends_at,
    } = standing;
    match millis(ends_at) {
        Some(end) => format!("{revoked} {restored} {end} {payload}"),
        None => format!("{revoked} {restored} {NEVER} {payload}"),
    }
}

fn payload(issuer: &str, what: &Subject, created_at: UnixTime, reason: Option<&str>) -> String {
    let (value, issued_before) = match what {
        Subject::Jti(value) | Subject::Session(value) | Subject::Client(value) => {
            (Cow::Borrowed(&**value), None)
        }
        Subject::Subject {
            subject,
            issued_before,
        } => (Cow::Borrowed(&**subject), *issued_before),
        Subject::Key(thumbprint) => (Cow::Owned(BASE64URL_NOPAD.encode(&thumbprint.0)), None),
        Subject::Token(digest) => (Cow::Owned(BASE64URL_NOPAD.encode(&digest.0)), None),
    };
    let payload = Payload {
        kind: what.kind().name().into(),
        issuer: issuer.into(),
        value,
        issued_before: issued_before.map(UnixTime::as_micros),
        created_at: created_at.as_micros(),
        reason: reason.map(Into::into),
    };
    // Strings and numbers alone: nothing in it can fail.
    serde_json::to_string(&payload).unwrap_or_default()
}

fn read_payload(id: RevocationId, text: &str, ends_at: UnixTime) -> Option<Revocation> {
    let payload: Payload<'_> = serde_json::from_str(text).ok()?;
    let value = &*payload.value;
    let hash = || <[u8; 32]>::try_from(BASE64URL_NOPAD.decode(value.as_bytes()).ok()?).ok();
    let what = match RevocationKind::from_name(&payload.kind)? {
        RevocationKind::Jti => Subject::Jti(value.into()),
        RevocationKind::Session => Subject::Session(value.into()),
        RevocationKind::Client => Subject::Client(value.into()),
        RevocationKind::Subject => Subject::Subject {
            subject: value.into(),
            issued_before: payload.issued_before.map(UnixTime::from_micros),
        },
        RevocationKind::Key => Subject::Key(Thumbprint(hash()?)),
        RevocationKind::Token => Subject::Token(TokenDigest(hash()?)),
    };
    let new = NewRevocation {
        issuer: (&*payload.issuer).into(),
        what,
        expires_at: (ends_at != UnixTime::MAX).then_some(ends_at),
        reason: payload.reason.as_deref().map(Into::into),
    };
    (RevocationId::of(&new) == id).then(|| Revocation {
        id: id.to_string(),
        issuer: new.issuer,
        what: new.what,
        expires_at: new.expires_at,
        created_at: UnixTime::from_micros(payload.created_at),
        reason: new.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixTime = UnixTime::from_micros(1_700_000_000_123_456);

    fn every_kind() -> Vec<Subject> {
        vec![
            Subject::Jti("a \"quoted\"\nvalue".into()),
            Subject::Session("ş-1".into()),
            Subject::Client("shop".into()),
            Subject::Key(Thumbprint([7; 32])),
            Subject::Token(TokenDigest([0xff; 32])),
            Subject::Subject {
                subject: "alice".into(),
                issued_before: None,
            },
            Subject::Subject {
                subject: "alice".into(),
                issued_before: Some(AT),
            },
        ]
    }

    fn account(what: Subject, expires_at: Option<UnixTime>) -> Account {
        let new = NewRevocation {
            issuer: "https://id.example.com/".into(),
            what,
            expires_at,
            reason: Some("lost laptop".into()),
        };
        let id = RevocationId::of(&new);
        Account {
            id,
            standing: Standing {
                revoked: 9,
                restored: 2,
                ends_at: new.ends_at(),
            },
            revocation: Some(Revocation {
                id: id.to_string(),
                issuer: new.issuer,
                what: new.what,
                expires_at,
                created_at: AT,
                reason: new.reason,
            }),
        }
    }

    #[test]
    fn an_account_is_read_as_it_was_written() {
        for what in every_kind() {
            for end in [None, Some(UnixTime::from_seconds(2_000_000_000))] {
                let written = account(what.clone(), end);
                let read = read(&written.id.to_string(), &line_of(&written));
                assert_eq!(read, Some(written));
            }
        }
    }

    #[test]
    fn a_line_under_another_id_is_not_believed() {
        let one = account(Subject::Jti("1".into()), None);
        let other = account(Subject::Jti("2".into()), None);
        assert_eq!(read(&other.id.to_string(), &line_of(&one)), None);
    }

    #[test]
    fn what_is_revoked_must_be_said_and_what_is_restored_need_not() {
        let id = account(Subject::Jti("1".into()), None).id;
        assert_eq!(read(&id.to_string(), "2 1 - "), None);
        let restored = read(&id.to_string(), "2 2 1000 ").unwrap();
        assert_eq!(restored.revocation, None);
        assert_eq!(restored.standing.ends_at, UnixTime::from_seconds(1));
    }

    #[test]
    fn nonsense_is_not_read() {
        let id = account(Subject::Jti("1".into()), None).id.to_string();
        for line in [
            "",
            "1",
            "1 2 3",
            "x 0 - {}",
            "1 0 x {}",
            "1 0 - {}",
            "-1 0 - {}",
            "1 0 - null",
        ] {
            assert_eq!(read(&id, line), None, "{line:?}");
        }
        assert_eq!(read("tail", "1 1 - "), None);
    }
}
