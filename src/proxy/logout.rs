//! The logout endpoints: where a provider says that somebody has logged out (OpenID Connect Back-Channel Logout 1.0 §2.5, §2.8).
//!
//! Owns the form of that request and the answers to it. Whether the logout token is good is the gate's to say, and what it ends
//! is put in force through [`Logouts`]: unlike every other request on this listener, this one waits for it.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::json;

use crate::config::{ErrorDetail, Limits};
use crate::gate::{Logout, Rejected};
use crate::identity::IssuerId;
use crate::rejection::Rejection;

use super::Proxy;
use super::body::{RequestBody, ResponseBody};
use super::exchange::Exchange;
use super::worker::View;

/// A logout token has less than a tenth of that.
const MAX_BODY_BYTES: u64 = 64 << 10;
/// Seconds after which a provider may try again when revocations cannot be kept.
const RETRY_UNKEPT: u32 = 5;

/// Puts logouts in force. Implemented by the composition root.
pub trait Logouts: Debug + Send + Sync {
    /// Revokes what `logout` says; `Ok` once that would survive what every revocation survives. `request_id` is of the request
    /// that brought it.
    fn end<'a>(
        &'a self,
        logout: Logout,
        request_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unkept>> + Send + 'a>>;
}

/// Revocations cannot be kept now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkept;

/// Why a logout failed.
enum Failure {
    Rejected(Box<Rejected>),
    Unkept,
}

impl From<Box<Rejected>> for Failure {
    fn from(rejected: Box<Rejected>) -> Self {
        Self::Rejected(rejected)
    }
}

/// Answers a request to the logout endpoint of that issuer.
pub(super) async fn answer(
    proxy: &Proxy,
    view: &Rc<View>,
    issuer: IssuerId,
    (head, body): (&Parts, Incoming),
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let failure = match end(proxy, view, issuer, (head, body), &mut exchange).await {
        Ok(()) => return exchange.answer(Response::new(Bytes::new())),
        Err(failure) => failure,
    };
    let (status, detail, retry_after) = match &failure {
        Failure::Unkept => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Revocations cannot be kept at the moment.",
            RETRY_UNKEPT,
        ),
        Failure::Rejected(rejected) => {
            exchange.note_rejection(rejected);
            let reason = rejected.reason;
            let detail = match view.snapshot.error_detail {
                ErrorDetail::Full => reason.detail(),
                ErrorDetail::Minimal => reason.class().title(),
            };
            (status_of(reason), detail, rejected.retry_after.unwrap_or(1))
        }
    };
    let mut response = error(status, detail, exchange.id().as_str());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = HeaderValue::from(retry_after);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, post);
    }
    exchange.answer(response)
}

async fn end(
    proxy: &Proxy,
    view: &View,
    issuer: IssuerId,
    (head, body): (&Parts, Incoming),
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let token = read(proxy, view, head, body)
        .await
        .map_err(|reason| exchange.rejected(reason))?;
    let gate = &view.snapshot.gate;
    let logout = gate.logout(issuer, &token, exchange.wall_clock()).await?;
    exchange.name_token(logout.issuer, logout.token);
    let ended = proxy.worker.logouts().end(logout, exchange.id().as_str());
    ended.await.map_err(|Unkept| Failure::Unkept)
}

/// The logout token of the form.
async fn read(
    proxy: &Proxy,
    view: &View,
    head: &Parts,
    body: Incoming,
) -> Result<String, Rejection> {
    if head.method != Method::POST {
        return Err(Rejection::MethodNotAllowed);
    }
    if body.size_hint().lower() > MAX_BODY_BYTES {
        return Err(Rejection::BodyTooLarge);
    }
    if !is_form(&head.headers) {
        return Err(Rejection::RequestMalformed);
    }
    let limits = Limits {
        body_bytes: Some(MAX_BODY_BYTES),
        ..view.snapshot.limits
    };
    let open = || proxy.activity.open();
    let mut body = RequestBody::new(body, &limits, &view.snapshot.reserved, open);
    let progress = body.progress();
    let mut form = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(progress.fault().unwrap_or(Rejection::RequestMalformed));
        };
        form.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    logout_token(&form)
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return false;
    };
    content_type
        .to_str()
        .ok()
        .and_then(|content_type| content_type.split(';').next())
        .is_some_and(|essence| {
            essence
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// The one parameter of that name; others are ignored (§2.5).
fn logout_token(form: &[u8]) -> Result<String, Rejection> {
    let mut tokens = form_urlencoded::parse(form)
        .filter_map(|(name, value)| (name == "logout_token").then_some(value));
    match (tokens.next(), tokens.next()) {
        (_, Some(_)) => Err(Rejection::TokenAmbiguous),
        (Some(token), None) if !token.is_empty() => Ok(token.into_owned()),
        _ => Err(Rejection::TokenMissing),
    }
}

/// Whatever is wrong with the token is 400 here (§2.8): no caller is asked for a credential.
fn status_of(reason: Rejection) -> StatusCode {
    match reason.status() {
        405 => StatusCode::METHOD_NOT_ALLOWED,
        413 => StatusCode::PAYLOAD_TOO_LARGE,
        503 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// RFC 6749 §5.2, as §2.8 wants it.
fn error(status: StatusCode, detail: &str, request_id: &str) -> Response<Bytes> {
    let error = if status == StatusCode::SERVICE_UNAVAILABLE {
        "temporarily_unavailable"
    } else {
        "invalid_request"
    };
    let document = json!({
        "error": error,
        "error_description": detail,
        "request_id": request_id,
    });
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_logout_token_is_read_and_other_parameters_are_ignored() {
        for (form, found) in [
            ("logout_token=a.b.c", Ok("a.b.c")),
            ("x=1&logout_token=a.b.c&x=2", Ok("a.b.c")),
            ("logout%5Ftoken=a%2Eb.c", Ok("a.b.c")),
            ("", Err(Rejection::TokenMissing)),
            ("logout_token", Err(Rejection::TokenMissing)),
            ("Logout_Token=a", Err(Rejection::TokenMissing)),
            ("token=a", Err(Rejection::TokenMissing)),
            (
                "logout_token=a&logout_token=a",
                Err(Rejection::TokenAmbiguous),
            ),
            (
                "logout_token=a&logout%5ftoken=",
                Err(Rejection::TokenAmbiguous),
            ),
        ] {
            let read = logout_token(form.as_bytes());
            assert_eq!(read.as_deref().map_err(|reason| *reason), found, "{form}");
        }
    }

    #[test]
    fn only_one_form_type_is_a_form() {
        for (types, expected) in [
            (&["application/x-www-form-urlencoded"][..], true),
            (&["Application/X-WWW-Form-Urlencoded; charset=utf-8"], true),
            (&[], false),
            (&["application/json"], false),
            (&["text/plain; application/x-www-form-urlencoded"], false),
            (&["application/x-www-form-urlencoded", "text/plain"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(is_form(&headers), expected, "{types:?}");
        }
    }
}
