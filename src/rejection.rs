//! Every reason for which a request is not forwarded: one row each, and everything said about it.
//!
//! Owns the closed set that is at once the metric label, the log field, the `reason` of the answer, the
//! line of `explain` and the anchor in `docs/rejections.md`. Knows no other module. The texts are fixed:
//! nothing of a request is ever put into them. A reason never changes its name.

use std::fmt;

/// Whose move it is to mend a rejection; what `error_detail = "minimal"` still tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The HTTP request itself is at fault.
    Request,
    /// The credential is missing, or is not good.
    Credential,
    /// The credential is good, and is not enough.
    Permission,
    /// This side cannot decide at the moment; it says nothing about the token.
    Dependency,
    /// The API behind the gateway did not answer.
    Upstream,
}

impl Class {
    /// The name in minimal answers.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Credential => "credential",
            Self::Permission => "permission",
            Self::Dependency => "dependency",
            Self::Upstream => "upstream",
        }
    }

    /// The title in minimal answers.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Request => "The request was refused",
            Self::Credential => "The credential was not accepted",
            Self::Permission => "The caller may not do this",
            Self::Dependency => "The gateway cannot decide at the moment",
            Self::Upstream => "The API did not answer",
        }
    }
}

/// What the `WWW-Authenticate` header of an answer says (RFC 6750 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// No such header.
    Absent,
    /// The realm alone: nothing was sent that could be wrong (RFC 6750 §3.1).
    Bare,
    /// `error="invalid_request"`.
    InvalidRequest,
    /// `error="invalid_token"`.
    InvalidToken,
    /// `error="insufficient_scope"`, with `scope` where scopes are what lacks.
    InsufficientScope,
}

impl Challenge {
    /// The registered error code (RFC 6750 §3.1).
    pub const fn error(self) -> Option<&'static str> {
        match self {
            Self::Absent | Self::Bare => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

macro_rules! rejections {
    ($($variant:ident $code:literal $class:ident $status:literal $challenge:ident
        $title:literal, $detail:literal, $hint:literal;)*) => {
        /// Why a request was not forwarded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rejection { $(#[doc = $detail] $variant),* }

        impl Rejection {
            /// Every reason, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name: metric label, log field, member of the answer, anchor in the docs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Whose move it is.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),* }
            }

            /// The HTTP status of the answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// What the challenge says.
            pub const fn challenge(self) -> Challenge {
                match self { $(Self::$variant => Challenge::$challenge),* }
            }

            /// A few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// What is wrong, in a sentence; also the challenge's `error_description`.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail),* }
            }

            /// What the caller can do about it.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint),* }
            }
        }
    };
}

rejections! {
    HeaderTooLarge "header_too_large" Request 431 Absent
        "Request head too large",
        "The request line and headers are larger than this gateway accepts.",
        "Send fewer or smaller headers. Large cookies are the usual cause.";
    RequestMalformed "request_malformed" Request 400 Absent
        "Malformed request",
        "The HTTP request is broken or could be read in more than one way.",
        "Send exactly one valid Host header, at most one Transfer-Encoding (chunked), and a complete body; let an HTTP library build the request.";
    BodyTooLarge "body_too_large" Request 413 Absent
        "Request body too large",
        "The request body is larger than this gateway accepts.",
        "Send a smaller body, or ask the operator to raise body_bytes.";
    RateLimited "rate_limited" Request 429 Absent
        "Too many attempts",
        "Too many wrong credentials were presented to the admin listener.",
        "Wait for the time in Retry-After, then send the right credential.";
    Overloaded "overloaded" Dependency 503 Absent
        "Gateway overloaded",
        "The gateway is out of file descriptors, ports or memory for another connection; this says nothing about the token.",
        "Try again after the time in Retry-After. The operator should look at the limits of the process.";
    PathAmbiguous "path_ambiguous" Request 400 Absent
        "Ambiguous path",
        "The path could be read in more than one way by the servers behind this gateway.",
        "Send a path without encoded slashes, backslashes, control characters, dot segments, empty segments, double encoding or semicolons.";
    RouteUnknown "route_unknown" Request 404 Absent
        "No such route",
        "No route of this gateway governs that host and path.",
        "Check the host and the path; paths are case-sensitive.";
    MethodNotAllowed "method_not_allowed" Request 405 Absent
        "Method not allowed",
        "The route does not allow that method.",
        "Use one of the methods in the Allow header; methods are upper-case.";
    TokenMissing "token_missing" Credential 401 Bare
        "No bearer token",
        "The request carries no bearer token.",
        "Send the access token as Authorization: Bearer TOKEN. A token in the query, a cookie or a form is not read.";
    TokenAmbiguous "token_ambiguous" Credential 400 InvalidRequest
        "More than one credential",
        "The request carries more than one credential.",
        "Send the token once, in a single Authorization header, and no access_token in the query.";
    HeaderMalformed "header_malformed" Credential 400 InvalidRequest
        "Malformed Authorization header",
        "The Authorization header is not of the form Bearer TOKEN.",
        "Send the word Bearer, a space, and the bare token: no quotes, no commas, no line breaks, and no empty variable.";
    TokenTooLarge "token_too_large" Credential 400 InvalidRequest
        "Token too large",
        "The token is larger than this gateway accepts.",
        "Ask the provider for a smaller token (fewer groups or roles), or the operator to raise token_bytes.";
    TokenOpaque "token_opaque" Credential 401 InvalidToken
        "Opaque token",
        "The token is opaque; this gateway needs a signed JWT.",
        "Ask the provider for a JWT access token: many issue opaque ones unless the request names an audience or resource (the API's identifier).";
    TokenEncrypted "token_encrypted" Credential 401 InvalidToken
        "Encrypted token",
        "The token is encrypted (JWE); this gateway needs a signed JWT.",
        "Switch off token encryption for this API at the provider. Some providers issue encrypted tokens when the request names no audience.";
    TokenMalformed "token_malformed" Credential 401 InvalidToken
        "Malformed token",
        "The token is not a well-formed signed JWT.",
        "Send the token exactly as the provider issued it: three base64url parts joined by dots, not cut off, quoted or re-encoded.";
    IssuerUnknown "issuer_unknown" Credential 401 InvalidToken
        "Unknown issuer",
        "The token comes from an issuer that is not accepted here.",
        "Get the token from the provider, tenant and environment that this API trusts; iss must be equal to the byte, trailing slash included.";
    AlgorithmForbidden "algorithm_forbidden" Credential 401 InvalidToken
        "Algorithm not allowed",
        "The token is signed with an algorithm that is not allowed for its issuer.",
        "Have the provider sign with one of the allowed algorithms, RS256 or ES256 for instance.";
    TokenExpired "token_expired" Credential 401 InvalidToken
        "Token expired",
        "The token has expired.",
        "Get a new token (refresh it) and send the request again. If tokens expire at once, compare the clocks.";
    KeysUnavailable "keys_unavailable" Dependency 503 Absent
        "Signing keys unavailable",
        "The keys to check the token with cannot be had at the moment; this says nothing about the token.",
        "Keep the token and try again after the time in Retry-After.";
    KeyUnknown "key_unknown" Credential 401 InvalidToken
        "Unknown signing key",
        "The key that the token names is not among its issuer's keys.",
        "Get a new token: the key was withdrawn, or the token comes from another environment of the provider.";
    SignatureInvalid "signature_invalid" Credential 401 InvalidToken
        "Invalid signature",
        "The signature of the token does not verify.",
        "Send the token exactly as the provider issued it; it was changed, cut off or signed by somebody else.";
    ClaimMissing "claim_missing" Credential 401 InvalidToken
        "Claim missing",
        "The token lacks a claim that is required here.",
        "Have the provider put the claim into access tokens: iss, exp and the audience are always needed (an audience mapper or parameter often lacks).";
    TokenTypeMismatch "token_type_mismatch" Credential 401 InvalidToken
        "Wrong kind of token",
        "The token is not an access token for this API.",
        "Send the access token, not the ID token, refresh token or logout token.";
    TokenBindingUnproven "token_binding_unproven" Credential 401 InvalidToken
        "Token binding not proven",
        "The token is bound to a key whose possession this gateway cannot confirm.",
        "Ask the provider for an unbound bearer token (no DPoP, no mutual TLS) for this API.";
    TokenNotYetValid "token_not_yet_valid" Credential 401 InvalidToken
        "Token not valid yet",
        "The token is not valid yet.",
        "Wait until the time in its nbf claim; if that is now, compare the clocks of provider and gateway.";
    TokenIssuedInFuture "token_issued_in_future" Credential 401 InvalidToken
        "Token issued in the future",
        "The token says that it was issued in the future.",
        "Compare the clocks of provider and gateway; the issuer's leeway says how much they may differ.";
    TokenLifetimeExceeded "token_lifetime_exceeded" Credential 401 InvalidToken
        "Token lives too long",
        "The token is valid for longer than is accepted here.",
        "Have the provider issue access tokens with a shorter lifetime.";
    RevocationsStale "revocations_stale" Dependency 503 Absent
        "Revocations out of date",
        "The gateway cannot tell at the moment whether the token was revoked; this says nothing about the token.",
        "Keep the token and try again after the time in Retry-After.";
    TokenRevoked "token_revoked" Credential 401 InvalidToken
        "Token revoked",
        "The token was revoked.",
        "Sign in again to get a new token.";
    AudienceMismatch "audience_mismatch" Credential 401 InvalidToken
        "Wrong audience",
        "The token was issued for another audience.",
        "Ask the provider for a token for this API: name it as audience or resource, or add an audience mapper.";
    ScopeInsufficient "scope_insufficient" Permission 403 InsufficientScope
        "Insufficient scope",
        "The token lacks a scope that is needed here.",
        "Ask the provider for a token with the scopes in the challenge, and have the user or an administrator consent to them.";
    ClaimDenied "claim_denied" Permission 403 InsufficientScope
        "Claim not accepted",
        "A claim of the token does not have a value that is needed here.",
        "The caller lacks a role, tenant or property that this route asks for; ask an administrator to grant it, then get a new token.";
    UpstreamUnreachable "upstream_unreachable" Upstream 502 Absent
        "API unreachable",
        "The API behind the gateway could not be reached or broke off.",
        "The gateway let the request through. Try again later; the operator should look at the API.";
    UpstreamTimeout "upstream_timeout" Upstream 504 Absent
        "API timed out",
        "The API behind the gateway did not answer in time.",
        "The gateway let the request through. Try again later; the operator should look at the API.";
}

/// Instead of the hint of [`Rejection::TokenMissing`] where a CORS preflight was refused: browsers send no token with those.
pub const PREFLIGHT_HINT: &str = "This is a CORS preflight, and browsers send no token with those. The operator can set preflight = \"forward\" on the route.";

impl Rejection {
    /// Whether a route in `report_only` forwards the request all the same: rows 3 to 12 of the contract's table.
    pub const fn is_reportable(self) -> bool {
        match self {
            Self::HeaderTooLarge
            | Self::RequestMalformed
            | Self::BodyTooLarge
            | Self::RateLimited
            | Self::Overloaded
            | Self::PathAmbiguous
            | Self::RouteUnknown
            | Self::MethodNotAllowed
            | Self::UpstreamUnreachable
            | Self::UpstreamTimeout => false,
            Self::TokenMissing
            | Self::TokenAmbiguous
            | Self::HeaderMalformed
            | Self::TokenTooLarge
            | Self::TokenOpaque
            | Self::TokenEncrypted
            | Self::TokenMalformed
            | Self::IssuerUnknown
            | Self::AlgorithmForbidden
            | Self::TokenExpired
            | Self::KeysUnavailable
            | Self::KeyUnknown
            | Self::SignatureInvalid
            | Self::ClaimMissing
            | Self::TokenTypeMismatch
            | Self::TokenBindingUnproven
            | Self::TokenNotYetValid
            | Self::TokenIssuedInFuture
            | Self::TokenLifetimeExceeded
            | Self::RevocationsStale
            | Self::TokenRevoked
            | Self::AudienceMismatch
            | Self::ScopeInsufficient
            | Self::ClaimDenied => true,
        }
    }
}

impl serde::Serialize for Rejection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 §3: the characters allowed in `error_description`.
    fn is_describable(byte: u8) -> bool {
        matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
    }

    #[test]
    fn every_text_can_stand_in_a_challenge() {
        for rejection in Rejection::ALL {
            assert!(
                rejection.detail().bytes().all(is_describable),
                "{rejection}"
            );
            assert!(
                !rejection.title().is_empty() && !rejection.hint().is_empty(),
                "{rejection}"
            );
        }
    }

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut codes: Vec<_> = Rejection::ALL
            .iter()
            .map(|rejection| rejection.code())
            .collect();
        assert!(
            codes
                .iter()
                .all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Rejection::ALL.len());
    }

    #[test]
    fn a_401_always_carries_a_challenge_and_a_503_never() {
        for rejection in Rejection::ALL {
            match rejection.status() {
                401 | 403 => assert_ne!(rejection.challenge(), Challenge::Absent, "{rejection}"),
                503 => assert_eq!(rejection.challenge(), Challenge::Absent, "{rejection}"),
                _ => {}
            }
        }
    }
}
