//! Revocations as text, one JSON object a line: what `export` writes and `import` reads.
//!
//! Owns the form. Nothing is lost on the way: moments keep their microseconds, and tokens their whole digest. Knows
//! nothing of stores.

use std::borrow::Cow;
use std::io::BufRead;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::change::{Change, RevocationId};
use super::entry::{NewRevocation, Revocation, RevocationKind, Subject};
use crate::identity::{Thumbprint, TokenDigest};
use crate::time::UnixTime;

const MICROS_PER_SECOND: i64 = 1_000_000;
const LONGEST_REASON: usize = 1024;

/// What a file of lines asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// To be made as a whole.
    pub changes: Vec<Change>,
    /// Lines of what has ended already.
    pub ended: u64,
}

/// A line that is wrong; nothing of the file may be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {why}")]
pub struct LineFault {
    pub number: u64,
    pub why: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'line> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    iss: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    jti: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'line, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_before: Option<Moment>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    session: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'line, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    token_sha256: Option<Cow<'line, str>>,
    /// Must be there; `null` is "until restored".
    expires_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<Moment>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'line, str>>,
}

/// Unix seconds, with a fraction where there is one.
#[derive(Clone, Copy, Debug)]
struct Moment(UnixTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = self.0.as_micros();
        if micros % MICROS_PER_SECOND == 0 {
            serializer.serialize_i64(micros / MICROS_PER_SECOND)
        } else {
            #[expect(
                clippy::cast_precision_loss,
                reason = "exact to the microsecond until the year 2255"
            )]
            serializer.serialize_f64(micros as f64 / 1e6)
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..253_402_300_800.0).contains(&seconds) {
            return Err(D::Error::custom("a moment must be Unix seconds"));
        }
        // Half a microsecond, so that what was exact in decimals is exact again.
        Ok(Self(UnixTime::from_fractional_seconds(seconds + 5e-7)))
    }
}

/// The line of a revocation, without its end.
pub fn write(revocation: &Revocation) -> String {
    let mut line = Line {
        id: Some(revocation.id.as_str().into()),
        kind: Some(revocation.what.kind().name().into()),
        iss: Some((&*revocation.issuer).into()),
        expires_at: revocation.expires_at.map(Moment),
        created_at: Some(Moment(revocation.created_at)),
        reason: revocation.reason.as_deref().map(Into::into),
        ..Line::default()
    };
    match &revocation.what {
        Subject::Jti(jti) => line.jti = Some((&**jti).into()),
        Subject::Subject {
            subject,
            issued_before,
        } => {
            line.subject = Some((&**subject).into());
            line.issued_before = issued_before.map(Moment);
        }
        Subject::Session(session) => line.session = Some((&**session).into()),
        Subject::Client(client) => line.client = Some((&**client).into()),
        Subject::Key(key) => line.key = Some(key.to_string().into()),
        Subject::Token(token) => line.token_sha256 = Some(HEXLOWER.encode(&token.0).into()),
    }
    serde_json::to_string(&line).unwrap_or_default()
}

/// Reads lines; empty ones are passed over. `issuer_named` gives the `iss` of a configured name.
pub fn read(
    mut lines: impl BufRead,
    issuer_named: &dyn Fn(&str) -> Option<Box<str>>,
    now: UnixTime,
) -> Result<Lines, LineFault> {
    let mut read = Lines::default();
    let mut text = String::new();
    for number in 1.. {
        let fault = |why: String| LineFault { number, why };
        text.clear();
        let length = lines.read_line(&mut text);
        if length.map_err(|error| fault(error.to_string()))? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let (new, at) = read_line(&text, issuer_named, now).map_err(fault)?;
        if new.expires_at.is_some_and(|end| end <= now) {
            read.ended += 1;
        } else {
            read.changes.push(Change::Revoke { new, at });
        }
    }
    Ok(read)
}

fn read_line(
    text: &str,
    issuer_named: &dyn Fn(&str) -> Option<Box<str>>,
    now: UnixTime,
) -> Result<(NewRevocation, UnixTime), String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| said_of(&error))?;
    if !text.contains("\"expires_at\"") {
        return Err("expires_at is missing; null means until restored".to_owned());
    }
    let issuer = match (line.iss.as_deref(), line.issuer.as_deref()) {
        (Some(iss), _) if !iss.is_empty() => iss.into(),
        (_, Some(name)) => {
            issuer_named(name).ok_or("issuer must be the name or the iss of a configured issuer")?
        }
        _ => return Err("iss is missing".to_owned()),
    };
    let reason = line.reason.as_deref().filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err("reason may have 1024 characters".to_owned());
    }
    let new = NewRevocation {
        issuer,
        what: what(&line)?,
        expires_at: line.expires_at.map(|end| end.0),
        reason: reason.map(Into::into),
    };
    let is_kind = |kind: &str| kind == new.what.kind().name();
    if line.kind.as_deref().is_some_and(|kind| !is_kind(kind)) {
        return Err("kind is not that of the value beside it".to_owned());
    }
    let id = RevocationId::of(&new).to_string();
    if line.id.as_deref().is_some_and(|given| given != id) {
        return Err(
            "id is not that of what the line revokes; leave it out of a line that was changed"
                .to_owned(),
        );
    }
    Ok((new, line.created_at.map_or(now, |at| at.0.min(now))))
}

fn what(line: &Line<'_>) -> Result<Subject, String> {
    let values = [
        (RevocationKind::Jti, &line.jti),
        (RevocationKind::Subject, &line.subject),
        (RevocationKind::Session, &line.session),
        (RevocationKind::Client, &line.client),
        (RevocationKind::Key, &line.key),
        (RevocationKind::Token, &line.token_sha256),
    ];
    let mut given = values
        .into_iter()
        .filter_map(|(kind, value)| Some((kind, value.as_deref()?)));
    let (Some((kind, value)), None) = (given.next(), given.next()) else {
        return Err(
            "exactly one of jti, subject, session, client, key and token_sha256 is needed"
                .to_owned(),
        );
    };
    if value.is_empty() {
        return Err(format!("{} is empty", kind.name()));
    }
    if line.issued_before.is_some() && kind != RevocationKind::Subject {
        return Err("issued_before goes with subject alone".to_owned());
    }
    let hash = |bytes: Option<Vec<u8>>, expected: &str| {
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.ok_or_else(|| format!("{} must be {expected}", kind.name()))
    };
    Ok(match kind {
        RevocationKind::Jti => Subject::Jti(value.into()),
        RevocationKind::Subject => Subject::Subject {
            subject: value.into(),
            issued_before: line.issued_before.map(|cut_off| cut_off.0),
        },
        RevocationKind::Session => Subject::Session(value.into()),
        RevocationKind::Client => Subject::Client(value.into()),
        RevocationKind::Key => {
            let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok();
            Subject::Key(Thumbprint(hash(bytes, "an RFC 7638 thumbprint")?))
        }
        RevocationKind::Token => {
            let bytes = HEXLOWER.decode(value.as_bytes()).ok();
            Subject::Token(TokenDigest(hash(bytes, "64 hexadecimal digits")?))
        }
    })
}

/// The parser's words without its place, which is always on the first line; and without what was in the line.
fn said_of(error: &serde_json::Error) -> String {
    if error.is_data() {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        return text.to_owned();
    }
    format!("it is no JSON object (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn named(name: &str) -> Option<Box<str>> {
        (name == "corp").then(|| "https://id.example.com/".into())
    }

    fn parsed(text: &str) -> Result<Lines, LineFault> {
        read(text.as_bytes(), &named, at(1000))
    }

    #[test]
    fn what_is_written_is_read_to_the_microsecond() {
        let cut_off = UnixTime::from_micros(1_700_000_000_123_457);
        let all = [
            Subject::Jti("j \"1\"\n".into()),
            Subject::Session("s".into()),
            Subject::Client("ş".into()),
            Subject::Key(Thumbprint([7; 32])),
            Subject::Token(TokenDigest([0xfe; 32])),
            Subject::Subject {
                subject: "alice".into(),
                issued_before: None,
            },
            Subject::Subject {
                subject: "alice".into(),
                issued_before: Some(cut_off),
            },
        ];
        for (what, end) in all
            .into_iter()
            .zip([None, Some(cut_off)].into_iter().cycle())
        {
            let new = NewRevocation {
                issuer: "https://id.example.com/".into(),
                what: what.clone(),
                expires_at: end,
                reason: Some("because".into()),
            };
            let revocation = Revocation {
                id: RevocationId::of(&new).to_string(),
                issuer: new.issuer.clone(),
                what,
                expires_at: end,
                created_at: UnixTime::from_micros(999_999_999),
                reason: new.reason.clone(),
            };
            let lines = parsed(&write(&revocation)).unwrap();
            let at = revocation.created_at;
            assert_eq!(lines.changes, [Change::Revoke { new, at }]);
        }
    }

    #[test]
    fn the_first_line_that_is_wrong_is_named_and_nothing_comes_of_the_rest() {
        let good = r#"{"jti":"a","iss":"x","expires_at":null}"#;
        for (bad, why) in [
            ("{", "no JSON object"),
            ("[]", "invalid"),
            (r#"{"jti":"a","iss":"x"}"#, "expires_at is missing"),
            (r#"{"jti":"a","expires_at":null}"#, "iss is missing"),
            (
                r#"{"jti":"a","issuer":"other","expires_at":null}"#,
                "configured issuer",
            ),
            (
                r#"{"jti":"a","session":"b","iss":"x","expires_at":null}"#,
                "exactly one",
            ),
            (r#"{"jti":"","iss":"x","expires_at":null}"#, "empty"),
            (
                r#"{"jti":"a","jti":"b","iss":"x","expires_at":null}"#,
                "duplicate",
            ),
            (
                r#"{"jti":"a","iss":"x","expires_at":null,"x":1}"#,
                "unknown field",
            ),
            (
                r#"{"jti":"a","iss":"x","expires_at":"soon"}"#,
                "invalid type",
            ),
            (r#"{"jti":"a","iss":"x","expires_at":-1}"#, "Unix seconds"),
            (
                r#"{"jti":"a","issued_before":1,"iss":"x","expires_at":null}"#,
                "subject alone",
            ),
            (r#"{"key":"a","iss":"x","expires_at":null}"#, "thumbprint"),
            (
                r#"{"token_sha256":"aa","iss":"x","expires_at":null}"#,
                "64 hex",
            ),
            (
                r#"{"jti":"a","kind":"key","iss":"x","expires_at":null}"#,
                "kind",
            ),
            (
                r#"{"jti":"a","id":"00","iss":"x","expires_at":null}"#,
                "id is not",
            ),
        ] {
            let fault = parsed(&format!("{good}\n\n{bad}\n{good}")).unwrap_err();
            assert_eq!(fault.number, 3, "{bad}");
            assert!(fault.why.contains(why), "{bad}: {}", fault.why);
        }
    }

    #[test]
    fn names_are_looked_up_and_what_has_ended_is_counted() {
        let lines = parsed(
            "{\"jti\":\"a\",\"issuer\":\"corp\",\"expires_at\":2000}\n{\"jti\":\"b\",\"iss\":\"x\",\"expires_at\":1000}\n",
        )
        .unwrap();
        assert_eq!((lines.changes.len(), lines.ended), (1, 1));
        let Change::Revoke { new, at: created } = &lines.changes[0] else {
            panic!("{lines:?}");
        };
        assert_eq!(&*new.issuer, "https://id.example.com/");
        assert_eq!(*created, at(1000));
    }
}
