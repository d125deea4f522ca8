//! The closed set of reasons, from outside: what a caller, an operator and a scraper see of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "reasons/answers.rs"]
mod answers;
#[path = "reasons/odd.rs"]
mod odd;
#[path = "reasons/rows.rs"]
mod rows;
#[path = "reasons/table.rs"]
mod table;

use std::collections::BTreeSet;

use portcullis::rejection::{Challenge, Rejection};
use serde_json::Value;
use support::{Gateway, Response};

/// What one rejection is expected to be like, besides what [`Rejection`] says of it.
struct Expected {
    reason: Rejection,
    /// The row's name, for messages.
    name: &'static str,
    route: &'static str,
    issuer: &'static str,
    /// The end of the challenge that names scopes.
    scope: &'static str,
}

impl Expected {
    fn new(
        reason: Rejection,
        name: &'static str,
        route: &'static str,
        issuer: &'static str,
    ) -> Self {
        Self {
            reason,
            name,
            route,
            issuer,
            scope: "",
        }
    }

    fn count(&self, gateway: &Gateway) -> f64 {
        let labels = [
            ("route", self.route),
            ("issuer", self.issuer),
            ("reason", self.reason.code()),
        ];
        gateway.metric("portcullis_rejections_total", &labels)
    }

    /// The caller's view: status, challenge, problem document and the headers around it.
    fn assert_answer(&self, response: &Response) {
        let (reason, name) = (self.reason, self.name);
        assert_eq!(response.reason(), reason.code(), "{name}: {response:?}");
        assert_eq!(response.status, reason.status(), "{name}");
        let challenges = response.all("www-authenticate");
        match self.challenge() {
            Some(challenge) => assert_eq!(challenges, [challenge], "{name}"),
            None => assert_eq!(challenges, [""; 0], "{name}"),
        }
        assert_eq!(
            response.all("content-type"),
            ["application/problem+json"],
            "{name}"
        );
        assert_eq!(response.all("cache-control"), ["no-store"], "{name}");
        let retry_after: Option<u32> = response.header("retry-after").map(|it| it.parse().unwrap());
        match reason.status() {
            429 | 503 => assert!(retry_after.is_some_and(|seconds| seconds > 0), "{name}"),
            _ => assert_eq!(retry_after, None, "{name}"),
        }
        assert_eq!(
            response.header("allow").is_some(),
            reason.status() == 405,
            "{name}"
        );
        self.assert_problem(response);
    }

    fn assert_problem(&self, response: &Response) {
        let (reason, name, problem) = (self.reason, self.name, response.json());
        let members: BTreeSet<&str> = problem
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let wanted = [
            "type",
            "title",
            "status",
            "detail",
            "reason",
            "hint",
            "request_id",
        ];
        assert_eq!(members, BTreeSet::from(wanted), "{name}");
        assert_eq!(
            problem["type"],
            format!("urn:portcullis:rejection:{reason}"),
            "{name}"
        );
        assert_eq!(problem["title"], reason.title(), "{name}");
        assert_eq!(problem["status"], reason.status(), "{name}");
        assert_eq!(problem["detail"], reason.detail(), "{name}");
        assert_eq!(problem["hint"], reason.hint(), "{name}");
        let ids = response.all("x-request-id");
        assert_eq!(ids.len(), 1, "{name}");
        assert_eq!(problem["request_id"], ids[0], "{name}");
    }

    /// Written out here, so that the table in the product cannot be wrong together with what it produces.
    fn challenge(&self) -> Option<String> {
        let error = match (self.reason.status(), self.reason.challenge()) {
            (_, Challenge::Absent) => return None,
            (401, Challenge::Bare) => return Some("Bearer realm=\"portcullis\"".to_owned()),
            (400, Challenge::InvalidRequest) => "invalid_request",
            (401, Challenge::InvalidToken) => "invalid_token",
            (403, Challenge::InsufficientScope) => "insufficient_scope",
            (status, challenge) => panic!("{}: {status} with {challenge:?}", self.name),
        };
        let (detail, scope) = (self.reason.detail(), self.scope);
        Some(format!(
            "Bearer realm=\"portcullis\", error=\"{error}\", error_description=\"{detail}\"{scope}"
        ))
    }

    /// The operator's view: one count and one record, under the same names.
    fn assert_counted_and_logged(&self, gateway: &Gateway, before: f64, response: &Response) {
        let name = self.name;
        let added = self.count(gateway) - before;
        assert!(
            (added - 1.0).abs() < f64::EPSILON,
            "{name}: {added} more were counted"
        );
        let record = gateway.record(response.header("x-request-id").unwrap());
        assert_eq!(record["reason"], self.reason.code(), "{name}: {record}");
        assert_eq!(record["status"], self.reason.status(), "{name}: {record}");
        assert_eq!(record["route"], self.route, "{name}: {record}");
        assert_eq!(record["issuer"], self.issuer, "{name}: {record}");
    }
}

/// The contract's table by itself: reason, status, and the `error` of the challenge (`-`: no challenge, `bare`: no error).
const CONTRACT: &str = "
    request_malformed 400 -                    header_too_large 431 -
    body_too_large 413 -                       rate_limited 429 -
    overloaded 503 -                           path_ambiguous 400 -
    route_unknown 404 -                        method_not_allowed 405 -
    token_missing 401 bare                     token_ambiguous 400 invalid_request
    header_malformed 400 invalid_request       token_too_large 400 invalid_request
    token_opaque 401 invalid_token             token_encrypted 401 invalid_token
    token_malformed 401 invalid_token          issuer_unknown 401 invalid_token
    algorithm_forbidden 401 invalid_token      token_expired 401 invalid_token
    keys_unavailable 503 -                     key_unknown 401 invalid_token
    signature_invalid 401 invalid_token        claim_missing 401 invalid_token
    token_type_mismatch 401 invalid_token      token_binding_unproven 401 invalid_token
    token_not_yet_valid 401 invalid_token      token_issued_in_future 401 invalid_token
    token_lifetime_exceeded 401 invalid_token  revocations_stale 503 -
    token_revoked 401 invalid_token            audience_mismatch 401 invalid_token
    scope_insufficient 403 insufficient_scope  claim_denied 403 insufficient_scope
    upstream_unreachable 502 -                 upstream_timeout 504 -";

#[test]
fn reasons_have_the_names_statuses_and_errors_of_the_contract() {
    let words: Vec<&str> = CONTRACT.split_whitespace().collect();
    let rows: BTreeSet<_> = words.chunks(3).map(|row| row.join(" ")).collect();
    let said = |reason: &Rejection| {
        let error = match reason.challenge() {
            Challenge::Absent => "-",
            Challenge::Bare => "bare",
            other => other.error().unwrap(),
        };
        format!("{reason} {} {error}", reason.status())
    };
    assert_eq!(rows, Rejection::ALL.iter().map(said).collect());
}

#[test]
fn every_reason_is_produced() {
    let mut covered: BTreeSet<Rejection> = rows::reasons().into_iter().collect();
    covered.extend(odd::REASONS);
    assert_eq!(covered, Rejection::ALL.iter().copied().collect());
}

/// `null`, a missing member and another text are all not it.
fn text<'value>(value: &'value Value, member: &str) -> &'value str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {value}"))
}
