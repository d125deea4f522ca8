//! Revocations in bulk: pages of lines out, and lines in as a whole.
//!
//! Owns the two endpoints. The form of a line is the revocations' own.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::timeout;

use super::{Parameters, Request, to_the_end};
use crate::admin::AdminState;
use crate::admin::answer::{Answer, Problem, json, text};
use crate::admin::body;
use crate::admin::issuers;
use crate::revocation::{Query, audit_import, lines};

/// Of one import: some million lines. They are in memory while they are read.
const MAX_IMPORT_BYTES: usize = 1 << 30;
/// How long a body may stand still.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Lines of one answer.
const EXPORT_LINES: usize = 10_000;

/// Where the next page of an export begins; absent on the last.
pub(in crate::admin) const NEXT: HeaderName = HeaderName::from_static("x-portcullis-next-cursor");

/// `GET /api/revocations/export`
pub(in crate::admin) async fn export(state: &AdminState, query: &str) -> Result<Answer, Problem> {
    let parameters = Parameters::read(query)?;
    let query = Query {
        kind: None,
        wants_issuer: Box::new(|_| true),
        cursor: parameters.cursor,
        limit: EXPORT_LINES,
    };
    let page = state.revocations.list(query, state.clock.now()).await?;
    let mut body = String::new();
    for revocation in &page.revocations {
        body += &lines::write(revocation);
        body.push('\n');
    }
    let mut answer = text("application/x-ndjson", body);
    if let Some(next) = page.cursor {
        answer.headers_mut().insert(NEXT, HeaderValue::from(next));
    }
    Ok(answer)
}

/// `POST /api/revocations/import`
pub(in crate::admin) async fn import(
    state: &AdminState,
    request: Request,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Answer, Problem> {
    body::check_json(headers)?;
    let content = read_whole(body).await?;
    let config = state.runtime.config();
    let (now, in_force) = (state.clock.now(), Arc::clone(&config));
    let read = tokio::task::spawn_blocking(move || {
        let named = |name: &str| issuers::by_name_or_value(&in_force, name).map(|named| named.text);
        lines::read(&*content, &named, now)
    });
    let read = read.await.map_err(|_| Problem::BodyIncomplete)?;
    let lines = read.map_err(|fault| {
        let detail = format!("Nothing was imported: {fault}.");
        Problem::member(&format!("line {}", fault.number), detail)
    })?;
    let (ledger, ended) = (Arc::clone(&state.revocations), lines.ended);
    let imported = to_the_end(async move {
        let imported = ledger.import(lines.changes).await?;
        let actor = request.actor(&config);
        audit_import(
            actor,
            imported.new,
            imported.known,
            ended,
            request.id.as_str(),
        );
        Ok(imported)
    });
    let imported = imported.await?;
    let document = json!({ "new": imported.new, "known": imported.known, "ended": ended });
    Ok(json(StatusCode::OK, &document))
}

async fn read_whole(body: &mut Incoming) -> Result<Bytes, Problem> {
    let mut content = BytesMut::new();
    loop {
        match timeout(STANDSTILL, body.frame()).await {
            Ok(None) => return Ok(content.freeze()),
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                if content.len() + data.len() > MAX_IMPORT_BYTES {
                    return Err(Problem::BodyTooLarge);
                }
                content.extend_from_slice(&data);
            }
            Ok(Some(Err(_))) | Err(_) => return Err(Problem::BodyIncomplete),
        }
    }
}
