//! Reads what is to be revoked, and for how long.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::admin::Runtime;
use crate::admin::answer::Problem;
use crate::admin::body::Members;
use crate::admin::issuers::{self, Named};
use crate::admin::timestamp;
use crate::config::{Config, Issuer};
use crate::identity::{Thumbprint, TokenDigest};
use crate::revocation::{NewRevocation, RevocationKind, Subject};
use crate::time::UnixTime;

const MAX_REASON_CHARACTERS: usize = 1024;

/// What is asked for, or the member that is wrong.
pub(super) fn read(
    mut members: Members,
    config: &Config,
    runtime: &dyn Runtime,
    now: UnixTime,
) -> Result<NewRevocation, Problem> {
    let (kind, value) = take_value(&mut members)?;
    let issuer = members.take_text("issuer")?;
    let mut time = |name| match members.take(name) {
        Some(value) => timestamp::read(name, &value).map(Some),
        None => Ok(None),
    };
    let issued_before = time("issued_before")?;
    let given_end = time("expires_at")?;
    let reason = members.take_text("reason")?;
    members.finish()?;
    if issued_before.is_some() && kind != RevocationKind::Subject {
        let detail = "issued_before goes with subject alone.";
        return Err(Problem::member("issued_before", detail));
    }
    if given_end.is_some_and(|end| end <= now) {
        let detail = "expires_at must lie in the future.";
        return Err(Problem::member("expires_at", detail));
    }
    if reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > MAX_REASON_CHARACTERS)
    {
        let detail = "reason may have 1024 characters.";
        return Err(Problem::member("reason", detail));
    }
    let (named, what, token_end) = if kind == RevocationKind::Token {
        let token = Token::read(&value, config)?;
        check_same_issuer(config, issuer.as_deref(), &token.named)?;
        (
            token.named,
            Subject::Token(token.digest),
            Some(token.expires_at),
        )
    } else {
        let named = find_issuer(config, issuer.as_deref())?;
        let what = subject(kind, &value, issued_before, &named, runtime)?;
        (named, what, None)
    };
    let expires_at = match (given_end, token_end) {
        (Some(end), _) => Some(end),
        (None, Some(exp)) => Some(end_of_token(exp, named.issuer, now)?),
        (None, None) => what.last_end(named.issuer.max_lifetime, named.issuer.leeway, now),
    };
    Ok(NewRevocation {
        issuer: named.text,
        what,
        expires_at,
        reason: reason.map(Into::into),
    })
}

/// The revocation of one token, or why it is none that could be good here.
pub(in crate::admin) fn of_token(
    token: &str,
    config: &Config,
    now: UnixTime,
) -> Result<NewRevocation, Problem> {
    let token = Token::read(token, config)?;
    Ok(NewRevocation {
        expires_at: Some(end_of_token(token.expires_at, token.named.issuer, now)?),
        issuer: token.named.text,
        what: Subject::Token(token.digest),
        reason: None,
    })
}

/// The one member that says what is revoked.
fn take_value(members: &mut Members) -> Result<(RevocationKind, String), Problem> {
    let mut taken = None;
    for kind in RevocationKind::ALL {
        let Some(value) = members.take_text(kind.name())? else {
            continue;
        };
        if taken.replace((kind, value)).is_some() {
            let detail = "Only one of jti, subject, session, client, key and token may be given.";
            return Err(Problem::member(kind.name(), detail));
        }
    }
    taken.ok_or_else(|| {
        let detail = "One of jti, subject, session, client, key and token is needed.";
        Problem::member("jti", detail)
    })
}

fn find_issuer<'config>(
    config: &'config Config,
    named: Option<&str>,
) -> Result<Named<'config>, Problem> {
    named
        .and_then(|named| issuers::by_name_or_value(config, named))
        .ok_or_else(|| {
            let detail = "issuer must be the name or the iss value of a configured issuer.";
            Problem::member("issuer", detail)
        })
}

/// With a token the issuer may be left out; one that is given must be the token's.
fn check_same_issuer(
    config: &Config,
    given: Option<&str>,
    of_token: &Named<'_>,
) -> Result<(), Problem> {
    match given {
        None => Ok(()),
        Some(given) if find_issuer(config, Some(given))?.id == of_token.id => Ok(()),
        Some(_) => Err(Problem::member("issuer", "The token is of another issuer.")),
    }
}

fn subject(
    kind: RevocationKind,
    value: &str,
    issued_before: Option<UnixTime>,
    named: &Named<'_>,
    runtime: &dyn Runtime,
) -> Result<Subject, Problem> {
    Ok(match kind {
        RevocationKind::Jti => Subject::Jti(value.into()),
        RevocationKind::Subject => Subject::Subject {
            subject: value.into(),
            issued_before,
        },
        RevocationKind::Session => Subject::Session(value.into()),
        RevocationKind::Client => Subject::Client(value.into()),
        RevocationKind::Key => Subject::Key(key(value, named, runtime)?),
        RevocationKind::Token => return Err(Problem::member("token", "token is not a JWT.")),
    })
}

fn key(name: &str, named: &Named<'_>, runtime: &dyn Runtime) -> Result<Thumbprint, Problem> {
    match runtime.keys_named(named.id, name).as_slice() {
        [thumbprint] => Ok(*thumbprint),
        [] => Err(Problem::member(
            "key",
            "key must be the kid or the RFC 7638 thumbprint of a key in the issuer's current set.",
        )),
        _ => Err(Problem::member(
            "key",
            "Several keys share this kid; give the RFC 7638 thumbprint of the one that is meant.",
        )),
    }
}

fn end_of_token(exp: UnixTime, issuer: &Issuer, now: UnixTime) -> Result<UnixTime, Problem> {
    let end = exp.plus(issuer.leeway);
    if end > now {
        Ok(end)
    } else {
        Err(Problem::member(
            "token",
            "The token has expired already; nothing is left to revoke.",
        ))
    }
}

/// A token as far as revoking it needs; nothing is verified, because nothing is granted.
struct Token<'config> {
    named: Named<'config>,
    digest: TokenDigest,
    expires_at: UnixTime,
}

impl<'config> Token<'config> {
    fn read(text: &str, config: &'config Config) -> Result<Self, Problem> {
        let wrong = |detail: &str| Problem::member("token", detail);
        let (signed, claims) = split(text).ok_or_else(|| {
            wrong("token must be three parts of base64url with a JSON object in the second.")
        })?;
        let named = claims
            .get("iss")
            .and_then(Value::as_str)
            .and_then(|iss| issuers::by_value(config, iss))
            .ok_or_else(|| wrong("The iss of the token is not that of a configured issuer."))?;
        let expires_at = claims
            .get("exp")
            .filter(|exp| exp.is_number())
            .and_then(|exp| timestamp::read("token", exp).ok())
            .ok_or_else(|| wrong("The token has no numeric exp."))?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, signed.as_bytes()).as_ref());
        Ok(Self {
            named,
            digest: TokenDigest(bytes),
            expires_at,
        })
    }
}

/// The signed part, and the claims.
fn split(token: &str) -> Option<(&str, Map<String, Value>)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
    decode(signature)?;
    serde_json::from_slice::<Map<String, Value>>(&decode(header)?).ok()?;
    let claims = serde_json::from_slice(&decode(payload)?).ok()?;
    Some((signed, claims))
}
