//! The answers that this gateway gives itself.
//!
//! Owns their texts, prepared once per configuration: challenge (RFC 6750 §3), problem document (RFC 9457) and the headers
//! around them. Nothing of a request is in an answer but its id.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONNECTION,
    CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::config::{Config, ErrorDetail, Route};
use crate::gate::Rejected;
use crate::rejection::{Challenge, PREFLIGHT_HINT, Rejection};
use crate::request_id::{RequestId, X_REQUEST_ID};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, Retry-After, X-Request-Id");

/// Every answer of one configuration.
#[derive(Debug)]
pub(super) struct Answers {
    /// By the number of the reason.
    texts: Vec<Text>,
    preflight: Text,
    /// By route: the challenge that names the scopes it asks for.
    scope_challenges: Vec<HeaderValue>,
}

/// What of an answer is the same for all requests.
#[derive(Debug)]
struct Text {
    status: StatusCode,
    challenge: Option<HeaderValue>,
    /// The problem document up to the request's id.
    body_start: Box<[u8]>,
}

/// What the head of an answer depends on besides its reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// The connection ends with this answer.
    pub(super) closing: bool,
    /// A page of another origin has to be able to read it.
    pub(super) cross_origin: bool,
}

/// RFC 9457 §3.1, and three members of ours.
#[derive(Serialize)]
struct Problem<'text> {
    r#type: String,
    title: &'text str,
    status: u16,
    detail: &'text str,
    reason: &'text str,
    hint: &'text str,
    request_id: &'text str,
}

/// What an empty `request_id` leaves at the end of the document.
const BODY_END: &[u8] = b"\"}";

impl Answers {
    /// Prepares the answers of `config`.
    pub(super) fn new(config: &Config) -> Self {
        let text = |reason: Rejection, hint| Text::new(config, reason, hint);
        Self {
            texts: Rejection::ALL
                .iter()
                .map(|reason| text(*reason, reason.hint()))
                .collect(),
            preflight: text(Rejection::TokenMissing, PREFLIGHT_HINT),
            scope_challenges: config
                .routes
                .iter()
                .map(|route| scope_challenge(config, route))
                .collect(),
        }
    }

    /// The answer to a request that was rejected. `headers`, which are none yet, lend their memory.
    pub(super) fn answer(
        &self,
        rejected: &Rejected,
        id: &RequestId,
        circumstances: Circumstances,
        headers: HeaderMap,
    ) -> Response<Bytes> {
        let Some(text) = self.text(rejected) else {
            // Out of reach: there is a text for every reason.
            return Response::new(Bytes::new());
        };
        let mut body = Vec::with_capacity(text.body_start.len() + id.as_str().len() + 2);
        body.extend_from_slice(&text.body_start);
        body.extend_from_slice(id.as_str().as_bytes());
        body.extend_from_slice(BODY_END);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = text.status;
        *response.headers_mut() = headers;
        self.write_headers(response.headers_mut(), text, rejected, circumstances);
        response.headers_mut().insert(X_REQUEST_ID, id.header());
        response
    }

    fn text(&self, rejected: &Rejected) -> Option<&Text> {
        if rejected.preflight && rejected.reason == Rejection::TokenMissing {
            return Some(&self.preflight);
        }
        self.texts.get(rejected.reason as usize)
    }

    fn write_headers(
        &self,
        headers: &mut HeaderMap,
        text: &Text,
        rejected: &Rejected,
        circumstances: Circumstances,
    ) {
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(challenge) = self.challenge(text, rejected) {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if matches!(text.status.as_u16(), 429 | 503) {
            let seconds = rejected.retry_after.unwrap_or(1).max(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let allow = rejected.allow.as_deref();
        if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if circumstances.cross_origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        if circumstances.closing {
            headers.insert(CONNECTION, CLOSE);
        }
    }

    fn challenge<'answers>(
        &'answers self,
        text: &'answers Text,
        rejected: &Rejected,
    ) -> Option<&'answers HeaderValue> {
        if rejected.reason == Rejection::ScopeInsufficient
            && let Some(route) = rejected.route
        {
            return self.scope_challenges.get(route.index());
        }
        text.challenge.as_ref()
    }
}

impl Text {
    fn new(config: &Config, reason: Rejection, hint: &'static str) -> Self {
        Self {
            status: StatusCode::from_u16(reason.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            challenge: challenge(config, reason, ""),
            body_start: body_start(config, reason, hint),
        }
    }
}

fn body_start(config: &Config, reason: Rejection, hint: &'static str) -> Box<[u8]> {
    let class = reason.class();
    let (code, title, detail, hint) = match config.server.error_detail {
        ErrorDetail::Full => (reason.code(), reason.title(), reason.detail(), hint),
        ErrorDetail::Minimal => (class.code(), class.title(), class.title(), class.title()),
    };
    let problem = Problem {
        r#type: match &config.server.docs_url {
            Some(base) => format!("{base}#{code}"),
            None => format!("urn:portcullis:rejection:{code}"),
        },
        title,
        status: reason.status(),
        detail,
        reason: code,
        hint,
        request_id: "",
    };
    let mut text = serde_json::to_vec(&problem).unwrap_or_default();
    text.truncate(text.len().saturating_sub(BODY_END.len()));
    text.into_boxed_slice()
}

/// `extra` follows the fixed parameters, its comma included.
fn challenge(config: &Config, reason: Rejection, extra: &str) -> Option<HeaderValue> {
    if reason.challenge() == Challenge::Absent {
        return None;
    }
    let description = match config.server.error_detail {
        ErrorDetail::Full => reason.detail(),
        ErrorDetail::Minimal => reason.class().title(),
    };
    let mut text = format!("Bearer realm=\"{}\"", config.server.realm);
    if let Some(error) = reason.challenge().error() {
        text.push_str(", error=\"");
        text.push_str(error);
        text.push_str("\", error_description=\"");
        text.push_str(description);
        text.push('"');
    }
    text.push_str(extra);
    // The realm is printable ASCII; should it not be, a 401 still needs its challenge.
    Some(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"\"")))
}

fn scope_challenge(config: &Config, route: &Route) -> HeaderValue {
    let scopes: Vec<&str> = route
        .scopes
        .iter()
        .chain(&route.any_scope)
        .map(String::as_str)
        .collect();
    let scope = format!(", scope=\"{}\"", scopes.join(" "));
    let challenge = challenge(config, Rejection::ScopeInsufficient, &scope);
    challenge.unwrap_or(HeaderValue::from_static("Bearer realm=\"\""))
}

/// Asks for the connection to end with a response.
pub(super) fn close_after(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, CLOSE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RouteId;
    use crate::proxy::testing;

    fn id() -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("id-1"));
        RequestId::of(&headers)
    }

    fn answer(config: &Config, rejected: &Rejected) -> (Response<Bytes>, serde_json::Value) {
        let response = Answers::new(config).answer(
            rejected,
            &id(),
            Circumstances::default(),
            HeaderMap::new(),
        );
        let body = serde_json::from_slice(response.body()).unwrap();
        (response, body)
    }

    fn rejected(reason: Rejection) -> Rejected {
        Rejected {
            route: Some(RouteId(0)),
            ..testing::rejected(reason)
        }
    }

    fn header(response: &Response<Bytes>, name: &http::HeaderName) -> Option<String> {
        let mut values = response.headers().get_all(name).iter();
        let value = values.next()?.to_str().unwrap().to_owned();
        assert!(values.next().is_none(), "{name} is repeated");
        Some(value)
    }

    #[test]
    fn every_reason_has_its_status_challenge_and_problem() {
        let config = testing::config();
        for reason in Rejection::ALL {
            let (response, body) = answer(&config, &rejected(*reason));
            assert_eq!(response.status().as_u16(), reason.status(), "{reason}");
            assert_eq!(body["status"], reason.status());
            assert_eq!(body["reason"], reason.code());
            assert_eq!(body["title"], reason.title());
            assert_eq!(body["detail"], reason.detail());
            assert_eq!(body["hint"], reason.hint());
            assert_eq!(body["request_id"], "id-1");
            let urn = format!("urn:portcullis:rejection:{reason}");
            assert_eq!(body["type"], urn.as_str());
            let challenge = header(&response, &WWW_AUTHENTICATE);
            assert_eq!(
                challenge.is_some(),
                reason.challenge() != Challenge::Absent,
                "{reason}"
            );
            if let Some(error) = reason.challenge().error() {
                assert!(challenge.unwrap().contains(&format!("error=\"{error}\"")));
            }
            assert_eq!(header(&response, &CACHE_CONTROL).unwrap(), "no-store");
            assert_eq!(header(&response, &X_REQUEST_ID).unwrap(), "id-1");
            let has_retry_after = header(&response, &RETRY_AFTER).is_some();
            assert_eq!(has_retry_after, matches!(reason.status(), 429 | 503));
        }
    }

    #[test]
    fn challenges_say_what_the_contract_says() {
        let config = testing::config();
        let challenge = |reason| {
            let (response, _) = answer(&config, &rejected(reason));
            header(&response, &WWW_AUTHENTICATE).unwrap()
        };
        assert_eq!(
            challenge(Rejection::TokenMissing),
            "Bearer realm=\"portcullis\""
        );
        assert_eq!(
            challenge(Rejection::TokenExpired),
            "Bearer realm=\"portcullis\", error=\"invalid_token\", error_description=\"The token has expired.\""
        );
        let scope = challenge(Rejection::ScopeInsufficient);
        assert!(
            scope.ends_with(", scope=\"orders:read orders:any\""),
            "{scope}"
        );
        assert!(!challenge(Rejection::ClaimDenied).contains("scope=\""));
    }

    #[test]
    fn minimal_answers_name_only_the_class() {
        let mut config = testing::config();
        config.server.error_detail = ErrorDetail::Minimal;
        config.server.docs_url = Some("https://docs.example/r".to_owned());
        let (response, body) = answer(&config, &rejected(Rejection::TokenExpired));
        assert_eq!(response.status(), 401);
        assert_eq!(body["reason"], "credential");
        assert_eq!(body["type"], "https://docs.example/r#credential");
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        let challenge = header(&response, &WWW_AUTHENTICATE).unwrap();
        assert!(!text.contains("expired") && !challenge.contains("expired"));
        assert!(challenge.contains("error=\"invalid_token\""));
    }

    #[test]
    fn retry_after_allow_and_preflight_come_from_the_rejection() {
        let config = testing::config();
        let waiting = Rejected {
            retry_after: Some(7),
            ..rejected(Rejection::KeysUnavailable)
        };
        let (response, _) = answer(&config, &waiting);
        assert_eq!(header(&response, &RETRY_AFTER).unwrap(), "7");
        let method = Rejected {
            allow: Some("GET, HEAD".to_owned()),
            ..rejected(Rejection::MethodNotAllowed)
        };
        let (response, _) = answer(&config, &method);
        assert_eq!(header(&response, &ALLOW).unwrap(), "GET, HEAD");
        let preflight = Rejected {
            preflight: true,
            ..rejected(Rejection::TokenMissing)
        };
        let (_, body) = answer(&config, &preflight);
        assert!(body["hint"].as_str().unwrap().contains("preflight"));
    }

    #[test]
    fn circumstances_add_cors_and_close() {
        let answers = Answers::new(&testing::config());
        let circumstances = Circumstances {
            closing: true,
            cross_origin: true,
        };
        let rejected = rejected(Rejection::TokenMissing);
        let response = answers.answer(&rejected, &id(), circumstances, HeaderMap::new());
        assert_eq!(header(&response, &CONNECTION).unwrap(), "close");
        assert_eq!(
            header(&response, &ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(),
            "*"
        );
        assert_eq!(
            header(&response, &ACCESS_CONTROL_EXPOSE_HEADERS).unwrap(),
            "WWW-Authenticate, Retry-After, X-Request-Id"
        );
    }
}
