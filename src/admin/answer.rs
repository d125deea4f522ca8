//! The forms that answers take.
//!
//! Owns their headers: nothing may be stored, and no other origin may read them. Problems are RFC 9457.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Refusal;
use crate::rejection::{Challenge, Rejection};
use crate::request_id::RequestId;

pub(super) type Answer = Response<Full<Bytes>>;

/// Why the admin listener refuses, apart from the rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    HostRefused,
    OriginRefused,
    CredentialRequired,
    /// Basic, with a wrong password.
    PasswordRefused,
    /// The gate refused an operator's token. `scope`: that which it lacks.
    TokenRefused {
        refusal: Refusal,
        scope: Option<String>,
    },
    UnknownPath,
    MethodNotAllowed(&'static str),
    NotJson,
    NotForm,
    /// A refresh token, which no gateway is ever shown (RFC 7009 §2.2.1).
    UnsupportedTokenType,
    BodyTooLarge,
    BodyIncomplete,
    /// A member of the body, or a parameter of the query, is wrong.
    Member {
        member: String,
        detail: String,
    },
    UnknownRevocation,
    /// Revocations can be neither changed nor read now; why.
    StoreUnavailable(String),
    RateLimited,
}

impl Problem {
    /// `member` is what is wrong; `detail` says what is expected.
    pub(super) fn member(member: &str, detail: impl Into<String>) -> Self {
        Self::Member {
            member: member.chars().take(64).collect(),
            detail: detail.into(),
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::HostRefused => "host_refused",
            Self::OriginRefused => "origin_refused",
            Self::CredentialRequired | Self::PasswordRefused => "credential_required",
            Self::TokenRefused { refusal, .. } => refusal.reason.code(),
            Self::UnknownPath => "path_unknown",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NotJson => "body_not_json",
            Self::NotForm => "body_not_form",
            Self::UnsupportedTokenType => "token_type_unsupported",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::Member { .. } => "member_invalid",
            Self::UnknownRevocation => "revocation_unknown",
            Self::StoreUnavailable(_) => "revocation_store_unavailable",
            Self::RateLimited => Rejection::RateLimited.code(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::HostRefused | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::CredentialRequired | Self::PasswordRefused => StatusCode::UNAUTHORIZED,
            Self::TokenRefused { refusal, .. } => StatusCode::from_u16(refusal.reason.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::UnknownPath | Self::UnknownRevocation => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson | Self::NotForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyIncomplete | Self::Member { .. } | Self::UnsupportedTokenType => {
                StatusCode::BAD_REQUEST
            }
            Self::StoreUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::HostRefused => "Host not accepted",
            Self::OriginRefused => "Origin not accepted",
            Self::CredentialRequired | Self::PasswordRefused => "Admin credential required",
            Self::TokenRefused { refusal, .. } => refusal.reason.title(),
            Self::UnknownPath => "No such path",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::NotJson => "Body is not JSON",
            Self::NotForm => "Body is not a form",
            Self::UnsupportedTokenType => "Unsupported token type",
            Self::BodyTooLarge => "Body too large",
            Self::BodyIncomplete => "Body incomplete",
            Self::Member { .. } => "Invalid request",
            Self::UnknownRevocation => "No such revocation",
            Self::StoreUnavailable(_) => "Revocation store unavailable",
            Self::RateLimited => Rejection::RateLimited.title(),
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::HostRefused => {
                "Call the admin listener by address, as localhost, or under one of the names in [admin] hosts."
            }
            Self::OriginRefused => {
                "A page of another origin asked for this; changes are not for pages of other sites."
            }
            Self::TokenRefused { refusal, .. } => refusal.reason.detail(),
            Self::PasswordRefused => {
                "Send the content of [admin] token_file as the password, or as Authorization: Bearer TOKEN."
            }
            Self::CredentialRequired => {
                "Send the content of [admin] token_file, or a token of [admin] issuer with its scope, as Authorization: Bearer TOKEN."
            }
            Self::UnknownPath => {
                "The admin listener serves /metrics, /healthz, /readyz, /api/status, /api/explain, /api/revocations and /oauth2/revoke."
            }
            Self::MethodNotAllowed(_) => "Use one of the methods in the Allow header.",
            Self::NotJson => "Send a body of Content-Type: application/json.",
            Self::NotForm => "Send a body of Content-Type: application/x-www-form-urlencoded.",
            Self::UnsupportedTokenType => {
                "Refresh tokens cannot be revoked here; only the authorization server knows them."
            }
            Self::BodyTooLarge => "A body may have 64 KiB.",
            Self::BodyIncomplete => "The body did not arrive whole and in time.",
            Self::Member { detail, .. } | Self::StoreUnavailable(detail) => detail,
            Self::UnknownRevocation => {
                "There is no revocation of that id; it has ended, was restored, or never was."
            }
            Self::RateLimited => Rejection::RateLimited.detail(),
        }
    }

    /// The rejection that it is.
    const fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::RateLimited => Some(Rejection::RateLimited),
            Self::TokenRefused { refusal, .. } => Some(refusal.reason),
            _ => None,
        }
    }

    /// `error` as OAuth says it (RFC 6749 §5.2, RFC 7009 §2.2.1).
    fn oauth_error(&self) -> &'static str {
        match (self, self.status()) {
            (Self::UnsupportedTokenType, _) => "unsupported_token_type",
            (_, StatusCode::UNAUTHORIZED) => "invalid_client",
            (Self::TokenRefused { .. }, StatusCode::FORBIDDEN) => "unauthorized_client",
            (_, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                "temporarily_unavailable"
            }
            _ => "invalid_request",
        }
    }

    fn document(&self, id: &RequestId) -> Value {
        let rejection = self.rejection();
        let kind = if rejection.is_some() {
            "rejection"
        } else {
            "admin"
        };
        let mut document = json!({
            "type": format!("urn:portcullis:{kind}:{}", self.code()),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "request_id": id.as_str(),
        });
        if let Self::Member { member, .. } = self {
            insert(&mut document, "member", Value::from(member.as_str()));
        }
        if let Some(rejection) = rejection {
            insert(&mut document, "reason", Value::from(rejection.code()));
            insert(&mut document, "hint", Value::from(rejection.hint()));
        }
        document
    }

    /// The answer to the request of that id.
    pub(super) fn to_answer(&self, id: &RequestId) -> Answer {
        let body = self.document(id).to_string();
        self.with_headers(answer(self.status(), "application/problem+json", body))
    }

    /// The same for a client that reads OAuth errors.
    pub(super) fn to_oauth_answer(&self, id: &RequestId) -> Answer {
        let mut body = self.document(id);
        insert(&mut body, "error", Value::from(self.oauth_error()));
        insert(&mut body, "error_description", Value::from(self.detail()));
        self.with_headers(json(self.status(), &body))
    }

    fn with_headers(&self, mut answer: Answer) -> Answer {
        if let Some(challenge) = self.challenge() {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        match self {
            Self::MethodNotAllowed(allow) => with(answer, ALLOW, allow),
            Self::RateLimited | Self::StoreUnavailable(_) => with(answer, RETRY_AFTER, "1"),
            Self::TokenRefused { refusal, .. }
                if self.status() == StatusCode::SERVICE_UNAVAILABLE =>
            {
                let seconds = HeaderValue::from(refusal.retry_after.unwrap_or(1));
                answer.headers_mut().insert(RETRY_AFTER, seconds);
                answer
            }
            _ => answer,
        }
    }

    /// Basic is asked of nobody who did not begin with it: a browser would keep the password, and send it for other sites' pages.
    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::CredentialRequired => Some(HeaderValue::from_static(
                "Bearer realm=\"portcullis admin\"",
            )),
            Self::PasswordRefused => {
                Some(HeaderValue::from_static("Basic realm=\"portcullis admin\""))
            }
            Self::TokenRefused { refusal, scope } => {
                token_challenge(refusal.reason, scope.as_deref())
            }
            _ => None,
        }
    }
}

/// RFC 6750 §3
fn token_challenge(reason: Rejection, scope: Option<&str>) -> Option<HeaderValue> {
    if reason.challenge() == Challenge::Absent {
        return None;
    }
    let error = reason.challenge().error().map(|error| {
        let detail = reason.detail();
        format!(", error=\"{error}\", error_description=\"{detail}\"")
    });
    let scope = scope.map(|scope| format!(", scope=\"{scope}\""));
    let (error, scope) = (error.unwrap_or_default(), scope.unwrap_or_default());
    HeaderValue::try_from(format!("Bearer realm=\"portcullis admin\"{error}{scope}")).ok()
}

/// Adds a member to a JSON object.
pub(super) fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

pub(super) fn json(status: StatusCode, document: &Value) -> Answer {
    answer(status, "application/json", document.to_string())
}

pub(super) fn text(content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, content_type, content)
}

pub(super) fn no_content() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    with(answer, CACHE_CONTROL, "no-store")
}

fn answer(status: StatusCode, content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let answer = with(answer, CONTENT_TYPE, content_type);
    let answer = with(answer, CACHE_CONTROL, "no-store");
    with(
        answer,
        HeaderName::from_static("x-content-type-options"),
        "nosniff",
    )
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}
