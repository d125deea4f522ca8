//! The revocation API: takes back, lists, restores.
//!
//! Owns the reading of what is asked and the form of the answers. What a revocation means is the set's.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::AdminState;
use super::answer::{Answer, Problem, insert, json, no_content};
use super::body::Members;
use super::issuers;
use crate::config::Config;
use crate::revocation::{Query, Revocation, RevocationKind, Subject, Unavailable};
use crate::time::UnixTime;

mod creation;
mod transfer;

pub(super) use transfer::{export, import};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// `POST /api/revocations`
pub(super) async fn create(state: &AdminState, members: Members) -> Result<Answer, Problem> {
    let config = state.runtime.config();
    let now = state.clock.now();
    let new = creation::read(members, &config, state.runtime.as_ref(), now)?;
    let revoked = state.revocations.revoke(new, now).await?;
    let status = if revoked.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    audit(state, &config, "revoked", &revoked.revocation);
    Ok(json(status, &document(&config, &revoked.revocation)))
}

/// `DELETE /api/revocations/ID`
pub(super) async fn delete(state: &AdminState, id: &str) -> Result<Answer, Problem> {
    let restored = state.revocations.restore(id, state.clock.now()).await?;
    let restored = restored.ok_or(Problem::UnknownRevocation)?;
    audit(state, &state.runtime.config(), "restored", &restored);
    Ok(no_content())
}

/// `GET /api/revocations`
pub(super) async fn list(state: &AdminState, query: &str) -> Result<Answer, Problem> {
    let config = state.runtime.config();
    let parameters = Parameters::read(query)?;
    let wanted = parameters.issuer.map(Cow::into_owned);
    let in_force = Arc::clone(&config);
    let query = Query {
        kind: parameters.kind,
        wants_issuer: Box::new(move |text| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text == wanted || name_of(&in_force, text) == wanted)
        }),
        cursor: parameters.cursor,
        limit: parameters.limit,
    };
    let page = state.revocations.list(query, state.clock.now()).await?;
    let revocations: Vec<Value> = page
        .revocations
        .iter()
        .map(|revocation| document(&config, revocation))
        .collect();
    let cursor = page.cursor.map(|cursor| cursor.to_string());
    let document = json!({ "revocations": revocations, "cursor": cursor });
    Ok(json(StatusCode::OK, &document))
}

impl From<Unavailable> for Problem {
    fn from(why: Unavailable) -> Self {
        Self::StoreUnavailable(why.0)
    }
}

struct Parameters<'query> {
    kind: Option<RevocationKind>,
    issuer: Option<Cow<'query, str>>,
    limit: usize,
    cursor: Option<u64>,
}

impl<'query> Parameters<'query> {
    /// A parameter without a value is as if it were not there.
    fn read(query: &'query str) -> Result<Self, Problem> {
        let mut parameters = Self {
            kind: None,
            issuer: None,
            limit: DEFAULT_LIMIT,
            cursor: None,
        };
        let given = form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
        for (name, value) in given {
            match &*name {
                "kind" => {
                    let kind = RevocationKind::from_name(&value);
                    let wrong = || Problem::member("kind", kinds());
                    parameters.kind = Some(kind.ok_or_else(wrong)?);
                }
                "issuer" => parameters.issuer = Some(value),
                "limit" => {
                    let limit = value.parse().ok();
                    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let wrong = || Problem::member("limit", "limit must be 1 to 1000.");
                    parameters.limit = limit.ok_or_else(wrong)?;
                }
                "cursor" => {
                    let wrong =
                        |_| Problem::member("cursor", "cursor must be one that a page gave.");
                    parameters.cursor = Some(value.parse().map_err(wrong)?);
                }
                _ => return Err(Problem::member(&name, "There is no such parameter.")),
            }
        }
        Ok(parameters)
    }
}

fn kinds() -> String {
    let names = RevocationKind::ALL.map(RevocationKind::name);
    format!("kind must be one of {}.", names.join(", "))
}

/// The configured name of the issuer that `text` belongs to; of one no longer configured, the text.
fn name_of<'a>(config: &'a Config, text: &'a str) -> &'a str {
    issuers::by_value(config, text).map_or(text, |named| named.issuer.name.as_str())
}

fn document(config: &Config, revocation: &Revocation) -> Value {
    let mut document = json!({
        "id": revocation.id,
        "kind": revocation.what.kind().name(),
        "issuer": name_of(config, &revocation.issuer),
        "iss": &*revocation.issuer,
        "expires_at": revocation.expires_at.map(UnixTime::as_seconds),
        "created_at": revocation.created_at.as_seconds(),
    });
    let (name, value) = match &revocation.what {
        Subject::Jti(jti) => ("jti", json!(&**jti)),
        Subject::Subject { subject, .. } => ("subject", json!(&**subject)),
        Subject::Session(session) => ("session", json!(&**session)),
        Subject::Client(client) => ("client", json!(&**client)),
        Subject::Key(thumbprint) => ("key", json!(thumbprint.to_string())),
        Subject::Token(digest) => ("token_id", json!(digest.token_id().as_str())),
    };
    insert(&mut document, name, value);
    if let Subject::Subject {
        issued_before: Some(cut_off),
        ..
    } = &revocation.what
    {
        insert(&mut document, "issued_before", json!(cut_off.as_seconds()));
    }
    if let Some(reason) = &revocation.reason {
        insert(&mut document, "reason", json!(&**reason));
    }
    document
}

/// Every change leaves a record; what is in a token never does.
fn audit(state: &AdminState, config: &Config, change: &'static str, revocation: &Revocation) {
    tracing::info!(
        target: "portcullis::audit",
        actor = state.actor(),
        change,
        kind = revocation.what.kind().name(),
        id = revocation.id,
        issuer = name_of(config, &revocation.issuer),
        reason = revocation.reason.as_deref(),
        "revocation"
    );
}
