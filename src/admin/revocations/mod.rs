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
use super::guard::Caller;
use super::issuers;
use crate::config::Config;
use crate::request_id::RequestId;
use crate::revocation::{
    Act, Actor, NewRevocation, Query, Revocation, RevocationKind, Revoked, Subject, Unavailable,
    audit,
};
use crate::time::UnixTime;

mod creation;
mod transfer;

pub(super) use transfer::{export, import};

pub(super) use creation::of_token;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Who asks for a change, and in which request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) id: RequestId,
}

impl Request {
    fn actor<'a>(&'a self, config: &'a Config) -> Actor<'a> {
        match &self.caller {
            Caller::Anyone => Actor::Loopback,
            Caller::AdminToken => Actor::AdminToken,
            Caller::Operator(identity) => Actor::Operator {
                issuer: name_of(config, &identity.iss),
                subject: identity.subject.as_deref(),
                client: identity.client.as_deref(),
                token: identity.digest,
            },
        }
    }
}

/// `POST /api/revocations`
pub(super) async fn create(
    state: &AdminState,
    request: Request,
    members: Members,
) -> Result<Answer, Problem> {
    let config = state.runtime.config();
    let new = creation::read(members, &config, state.runtime.as_ref(), state.clock.now())?;
    let revoked = revoke(state, request, &config, new).await?;
    let status = if revoked.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(json(status, &document(&config, &revoked.revocation)))
}

/// `DELETE /api/revocations/ID`
pub(super) async fn delete(
    state: &AdminState,
    request: Request,
    id: &str,
) -> Result<Answer, Problem> {
    let (ledger, config) = (Arc::clone(&state.revocations), state.runtime.config());
    let (id, now) = (id.to_owned(), state.clock.now());
    let restored = to_the_end(async move {
        let restored = ledger.restore(&id, now).await?;
        if let Some(restored) = &restored {
            record(&request, &config, Act::Restored, restored);
        }
        Ok(restored)
    });
    restored.await?.ok_or(Problem::UnknownRevocation)?;
    Ok(no_content())
}

/// The way that every revocation takes from here.
pub(super) async fn revoke(
    state: &AdminState,
    request: Request,
    config: &Arc<Config>,
    new: NewRevocation,
) -> Result<Revoked, Problem> {
    let (ledger, config) = (Arc::clone(&state.revocations), Arc::clone(config));
    let now = state.clock.now();
    to_the_end(async move {
        let revoked = ledger.revoke(new, now).await?;
        let act = Act::of_revoking(revoked.is_new);
        record(&request, &config, act, &revoked.revocation);
        Ok(revoked)
    })
    .await
}

/// Makes a change even if whoever asked for it leaves in the middle: what is kept shall be on record.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Unavailable>> + Send + 'static,
) -> Result<T, Problem> {
    let broke_off = |_| Unavailable("the change broke off".to_owned());
    Ok(tokio::spawn(change).await.map_err(broke_off)??)
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

/// Every change leaves a record.
fn record(request: &Request, config: &Config, act: Act, revocation: &Revocation) {
    let issuer = name_of(config, &revocation.issuer);
    let actor = request.actor(config);
    audit(actor, act, revocation, issuer, request.id.as_str());
}
