//! Which path answers what, and in which order a request is judged.
//!
//! The order: called by a name of ours and by no page of another site, an open path or the credential, the path, the method,
//! the body.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Incoming;

use super::AdminState;
use super::answer::{Answer, Problem, json, text};
use super::body::{self, Members};
use super::guard::{Caller, Schemes, authenticate, check_host, check_origin};
use super::{health, revocations, token_revocation};
use crate::request_id::{RequestId, X_REQUEST_ID};

const INDEX: &str = "Portcullis admin listener\n\n/metrics\n/healthz\n/readyz\n/api/status\n/api/revocations\n/api/revocations/export\n/api/revocations/import (POST)\n/api/explain (POST)\n/oauth2/revoke (POST)\n";
const GET: &str = "GET, HEAD";

#[derive(Clone, Copy)]
enum Endpoint<'path> {
    Metrics,
    Health,
    Readiness,
    Index,
    Status,
    Explain,
    Revocations,
    Export,
    Import,
    Revocation(&'path str),
    TokenRevocation,
}

impl<'path> Endpoint<'path> {
    fn at(path: &'path str) -> Option<Self> {
        Some(match path {
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            "/" => Self::Index,
            "/api/status" => Self::Status,
            "/api/explain" => Self::Explain,
            "/api/revocations" => Self::Revocations,
            "/api/revocations/export" => Self::Export,
            "/api/revocations/import" => Self::Import,
            "/oauth2/revoke" => Self::TokenRevocation,
            _ => Self::Revocation(
                path.strip_prefix("/api/revocations/")
                    .filter(|id| !id.is_empty() && !id.contains('/'))?,
            ),
        })
    }

    /// Whether anyone may ask.
    const fn is_open(self) -> bool {
        matches!(self, Self::Metrics | Self::Health | Self::Readiness)
    }

    const fn schemes(self) -> Schemes {
        match self {
            Self::TokenRevocation => Schemes::BearerOrBasic,
            _ => Schemes::Bearer,
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Metrics
            | Self::Health
            | Self::Readiness
            | Self::Index
            | Self::Status
            | Self::Export => GET,
            Self::Explain | Self::Import | Self::TokenRevocation => "POST",
            Self::Revocations => "GET, HEAD, POST",
            Self::Revocation(_) => "DELETE",
        }
    }
}

/// Answers a request, whatever it is. Every answer carries the request's id.
pub(super) async fn answer(state: &AdminState, request: Request<Incoming>) -> Answer {
    let id = RequestId::of(request.headers());
    let (parts, mut body) = request.into_parts();
    let endpoint = Endpoint::at(parts.uri.path());
    let mut answer = match judge(state, &parts, &mut body, endpoint, &id).await {
        Ok(answer) => answer,
        Err(problem) => {
            // Whoever waits for leave to send the body gets the answer at once.
            if !parts.headers.contains_key(EXPECT) {
                body::drain(&mut body).await;
            }
            match endpoint {
                Some(Endpoint::TokenRevocation) => problem.to_oauth_answer(&id),
                _ => problem.to_answer(&id),
            }
        }
    };
    answer.headers_mut().insert(X_REQUEST_ID, id.header());
    answer
}

async fn judge(
    state: &AdminState,
    parts: &Parts,
    body: &mut Incoming,
    endpoint: Option<Endpoint<'_>>,
    id: &RequestId,
) -> Result<Answer, Problem> {
    check_host(parts, &state.runtime.config().admin.hosts)?;
    check_origin(parts)?;
    let caller = if endpoint.is_some_and(Endpoint::is_open) {
        Caller::Anyone
    } else {
        let schemes = endpoint.map_or(Schemes::Bearer, Endpoint::schemes);
        authenticate(state, parts, schemes).await?
    };
    let endpoint = endpoint.ok_or(Problem::UnknownPath)?;
    let allowed = endpoint.allowed();
    if !allowed
        .split(", ")
        .any(|method| method == parts.method.as_str())
    {
        return Err(Problem::MethodNotAllowed(allowed));
    }
    if parts.method != Method::POST && has_body(parts) {
        body::check_json(&parts.headers)?;
    }
    let request = revocations::Request {
        caller,
        id: id.clone(),
    };
    match endpoint {
        Endpoint::Metrics => Ok(health::metrics(state)),
        Endpoint::Health => Ok(text("text/plain; charset=utf-8", "ok\n")),
        Endpoint::Readiness => Ok(health::readiness(state)),
        Endpoint::Index => Ok(text("text/plain; charset=utf-8", INDEX)),
        Endpoint::Status => Ok(health::status(state)),
        Endpoint::Explain => explain(state, body::read(&parts.headers, body).await?).await,
        Endpoint::Revocations if parts.method == Method::POST => {
            revocations::create(state, request, body::read(&parts.headers, body).await?).await
        }
        Endpoint::Revocations => {
            revocations::list(state, parts.uri.query().unwrap_or_default()).await
        }
        Endpoint::Export => revocations::export(state, parts.uri.query().unwrap_or_default()).await,
        Endpoint::Import => revocations::import(state, request, &parts.headers, body).await,
        Endpoint::Revocation(id) => revocations::delete(state, request, id).await,
        Endpoint::TokenRevocation => {
            let form = body::read_form(&parts.headers, body).await?;
            token_revocation::revoke(state, request, &form).await
        }
    }
}

fn has_body(parts: &Parts) -> bool {
    parts.headers.contains_key(TRANSFER_ENCODING)
        || parts
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

/// `POST /api/explain`
async fn explain(state: &AdminState, mut members: Members) -> Result<Answer, Problem> {
    let token = members.take_text("token")?;
    let token = token.ok_or_else(|| Problem::member("token", "token is needed."))?;
    let method = members.take_text("method")?;
    let url = members.take_text("url")?;
    members.finish()?;
    let request = match url {
        Some(url) => Some(request_for(method.as_deref(), &url)?),
        None => None,
    };
    let explanation = state.runtime.explain(&token, request).await;
    Ok(json(StatusCode::OK, &explanation))
}

/// The request that the question is about, as a server sees it. Without a host, the path alone chooses the route.
fn request_for(method: Option<&str>, url: &str) -> Result<Parts, Problem> {
    let wrong_method = |_| Problem::member("method", "method must be an HTTP method.");
    let wrong_url = || Problem::member("url", "url must be http(s)://HOST/PATH or /PATH.");
    let method = Method::from_bytes(method.unwrap_or("GET").as_bytes()).map_err(wrong_method)?;
    let url: Uri = url.parse().map_err(|_| wrong_url())?;
    let target = url
        .path_and_query()
        .filter(|target| target.as_str().starts_with('/'))
        .ok_or_else(wrong_url)?;
    let host = url.authority().map_or("localhost", |it| it.as_str());
    let host = HeaderValue::from_str(host).map_err(|_| wrong_url())?;
    let request = Request::builder()
        .method(method)
        .uri(target.as_str())
        .header(HOST, host)
        .body(())
        .map_err(|_| wrong_url())?;
    Ok(request.into_parts().0)
}
