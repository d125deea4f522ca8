//! The forms that answers take.
//!
//! Owns their headers: nothing may be stored, and no other origin may read them. Problems are RFC 9457.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::rejection::Rejection;
use crate::request_id::RequestId;

pub(super) type Answer = Response<Full<Bytes>>;

/// Why the admin listener refuses, apart from the rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    HostRefused,
    CredentialRequired,
    UnknownPath,
    MethodNotAllowed(&'static str),
    NotJson,
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
            Self::CredentialRequired => "credential_required",
            Self::UnknownPath => "path_unknown",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NotJson => "body_not_json",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::Member { .. } => "member_invalid",
            Self::UnknownRevocation => "revocation_unknown",
            Self::StoreUnavailable(_) => "revocation_store_unavailable",
            Self::RateLimited => Rejection::RateLimited.code(),
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::HostRefused => StatusCode::FORBIDDEN,
            Self::CredentialRequired => StatusCode::UNAUTHORIZED,
            Self::UnknownPath | Self::UnknownRevocation => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyIncomplete | Self::Member { .. } => StatusCode::BAD_REQUEST,
            Self::StoreUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::HostRefused => "Host not accepted",
            Self::CredentialRequired => "Admin credential required",
            Self::UnknownPath => "No such path",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::NotJson => "Body is not JSON",
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
            Self::CredentialRequired => {
                "Send the content of [admin] token_file as Authorization: Bearer TOKEN."
            }
            Self::UnknownPath => {
                "The admin listener serves /metrics, /healthz, /readyz, /api/status, /api/explain and /api/revocations."
            }
            Self::MethodNotAllowed(_) => "Use one of the methods in the Allow header.",
            Self::NotJson => "Send a body of Content-Type: application/json.",
            Self::BodyTooLarge => "A body may have 64 KiB.",
            Self::BodyIncomplete => "The body did not arrive whole and in time.",
            Self::Member { detail, .. } | Self::StoreUnavailable(detail) => detail,
            Self::UnknownRevocation => {
                "There is no revocation of that id; it has ended, was restored, or never was."
            }
            Self::RateLimited => Rejection::RateLimited.detail(),
        }
    }

    fn document(&self, id: &RequestId) -> Value {
        let kind = match self {
            Self::RateLimited => "rejection",
            _ => "admin",
        };
        let mut document = json!({
            "type": format!("urn:portcullis:{kind}:{}", self.code()),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "request_id": id.as_str(),
        });
        match self {
            Self::Member { member, .. } => {
                insert(&mut document, "member", Value::from(member.as_str()));
            }
            Self::RateLimited => {
                insert(&mut document, "reason", Value::from(self.code()));
                insert(
                    &mut document,
                    "hint",
                    Value::from(Rejection::RateLimited.hint()),
                );
            }
            _ => {}
        }
        document
    }

    /// The answer to the request of that id.
    pub(super) fn to_answer(&self, id: &RequestId) -> Answer {
        let body = self.document(id).to_string();
        let answer = answer(self.status(), "application/problem+json", body);
        match self {
            Self::MethodNotAllowed(allow) => with(answer, ALLOW, allow),
            Self::CredentialRequired => with(
                answer,
                WWW_AUTHENTICATE,
                "Bearer realm=\"portcullis admin\"",
            ),
            Self::RateLimited | Self::StoreUnavailable(_) => with(answer, RETRY_AFTER, "1"),
            _ => answer,
        }
    }
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
