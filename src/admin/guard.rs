//! Who may ask: the name the listener is called by, the page that asks, and the admin credential.
//!
//! Owns the defence against other sites' pages and DNS rebinding, and what is compared with what. Knows no endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::answer::Problem;
use super::attempts::Noted;
use super::{AdminState, Refusal};
use crate::config::Secret;
use crate::identity::{Identity, IssuerLabel};
use crate::rejection::Rejection;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Without a credential, where none is needed: at an open path, or on a loopback address.
    Anyone,
    /// With the content of `token_file`.
    AdminToken,
    /// With a bearer token of an issuer.
    Operator(Arc<Identity>),
}

/// How a credential may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schemes {
    Bearer,
    /// Basic too, with the admin token as the password: what OAuth clients do (RFC 6749 §2.3.1).
    BearerOrBasic,
}

/// The credential that is in a request.
enum Presented<'head> {
    Nothing,
    /// Several: to choose one would be guessing.
    Several,
    Bearer(&'head [u8]),
    Basic(&'head [u8]),
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

/// Finds out who asks. On a loopback address no credential is needed; one that is sent must be good all the same, where there
/// is one to compare it with.
pub(super) async fn authenticate(
    state: &AdminState,
    parts: &Parts,
    schemes: Schemes,
) -> Result<Caller, Problem> {
    let config = state.runtime.config();
    let admin = &config.admin;
    let presented = presented(&parts.headers, schemes);
    let is_judged = admin.token.is_some() || admin.operators.is_some();
    if state.is_loopback && (!is_judged || matches!(presented, Presented::Nothing)) {
        return Ok(Caller::Anyone);
    }
    let client = client_of(parts);
    // A signature cannot be guessed, so that operators behind one address with a guesser are not kept out.
    let may_guess = !state.attempts.are_exceeded(client, Instant::now());
    let secret = admin.token.as_ref().filter(|_| may_guess);
    let problem = match presented {
        Presented::Nothing | Presented::Several => return Err(Problem::CredentialRequired),
        Presented::Bearer(token) if is_secret(token, secret) => return Ok(Caller::AdminToken),
        Presented::Basic(pair) if is_password(pair, secret) => return Ok(Caller::AdminToken),
        Presented::Basic(_) => Problem::PasswordRefused,
        Presented::Bearer(_) => match &admin.operators {
            None => Problem::CredentialRequired,
            Some(operators) => match state.runtime.operator(parts).await {
                Ok(identity) => return Ok(Caller::Operator(identity)),
                Err(refusal) => refused(refusal, &operators.scope),
            },
        },
    };
    Err(limited(state, client, problem))
}

fn refused(refusal: Refusal, scope: &str) -> Problem {
    let scope = (refusal.reason == Rejection::ScopeInsufficient).then(|| scope.to_owned());
    Problem::TokenRefused { refusal, scope }
}

/// A server always knows; who does not is one address like another.
fn client_of(parts: &Parts) -> IpAddr {
    let client = parts.extensions.get::<Client>();
    client.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |client| client.0)
}

/// A wrong credential counts, and is told no more than that if there were too many from its address. Good ones never come here,
/// and it is nobody's fault that it cannot be told.
fn limited(state: &AdminState, client: IpAddr, problem: Problem) -> Problem {
    let metrics = state.runtime.metrics();
    let now = Instant::now();
    if problem.status() != StatusCode::SERVICE_UNAVAILABLE {
        if state.attempts.are_exceeded(client, now) {
            metrics.rejection(None, IssuerLabel::None, Rejection::RateLimited);
            return Problem::RateLimited;
        }
        if state.attempts.note(client, now) == Noted::Last {
            tracing::warn!(%client, "too many wrong credentials on the admin listener; their address is kept out for a second");
        }
    }
    if let Problem::TokenRefused { refusal, .. } = &problem {
        metrics.rejection(None, refusal.issuer, refusal.reason);
    }
    problem
}

/// Another scheme than those is no credential here.
fn presented(headers: &HeaderMap, schemes: Schemes) -> Presented<'_> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let credential = match (credentials.next(), credentials.next()) {
        (None, _) => return Presented::Nothing,
        (Some(_), Some(_)) => return Presented::Several,
        (Some(credential), None) => credential.as_bytes(),
    };
    let after = |scheme: &[u8]| {
        let (start, rest) = credential.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    if let Some(token) = after(b"Bearer ") {
        return Presented::Bearer(token);
    }
    match after(b"Basic ") {
        Some(pair) if schemes == Schemes::BearerOrBasic => Presented::Basic(pair),
        _ => Presented::Nothing,
    }
}

/// The password of `NAME:PASSWORD`, as it stands or form-encoded as RFC 6749 §2.3.1 has it. The name does not matter: there is
/// one credential.
fn is_password(pair: &[u8], secret: Option<&Secret>) -> bool {
    let Ok(pair) = BASE64.decode(pair) else {
        return false;
    };
    let mut parts = pair.splitn(2, |byte| *byte == b':');
    let (Some(_), Some(password)) = (parts.next(), parts.next()) else {
        return false;
    };
    // One word, in which neither sign would stand as it is.
    let is_word = !password.iter().any(|byte| matches!(byte, b'&' | b'='));
    let decoded = form_urlencoded::parse(password).next();
    is_secret(password, secret)
        || decoded.is_some_and(|(word, _)| is_word && is_secret(word.as_bytes(), secret))
}

fn is_secret(token: &[u8], secret: Option<&Secret>) -> bool {
    let Some(secret) = secret.map(Secret::expose).filter(|it| !it.is_empty()) else {
        return false;
    };
    // Digests are compared, so that not even the length of the secret shows in the time.
    let same = verify_slices_are_equal(
        digest(&SHA256, token).as_ref(),
        digest(&SHA256, secret).as_ref(),
    );
    same.is_ok()
}

/// Refuses a change that a web page of another origin asks for. Browsers say so themselves, of every request that is no
/// plain GET, and no page can keep them from it.
pub(super) fn check_origin(parts: &Parts) -> Result<(), Problem> {
    if parts.method.is_safe() {
        return Ok(());
    }
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let is_own = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let authority = origin
            .strip_prefix(b"http://")
            .or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some_and(|own| host.is_some_and(|host| own.eq_ignore_ascii_case(host)))
    };
    let is_near = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if parts.headers.get_all(ORIGIN).iter().all(is_own)
        && parts.headers.get_all(SEC_FETCH_SITE).iter().all(is_near)
    {
        Ok(())
    } else {
        Err(Problem::OriginRefused)
    }
}

/// Refuses a request that did not mean this listener: a page that rebound its own name to our address sends that name.
pub(super) fn check_host(parts: &Parts, hosts: &[String]) -> Result<(), Problem> {
    let mut named = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(Problem::HostRefused);
    };
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    let is_accepted = |authority: &str| is_own_name(authority, hosts);
    if host.to_str().is_ok_and(is_accepted) && target.is_none_or(is_accepted) {
        Ok(())
    } else {
        Err(Problem::HostRefused)
    }
}

fn is_own_name(authority: &str, hosts: &[String]) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (name, port) = match authority.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (authority, None),
    };
    port.is_none_or(is_port)
        && (name.parse::<Ipv4Addr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|host| name.eq_ignore_ascii_case(host)))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_configured_names_are_own_names() {
        let hosts = ["portcullis.internal".to_owned()];
        for good in [
            "127.0.0.1",
            "10.0.0.8:9090",
            "[::1]",
            "[fe80::1]:9090",
            "localhost",
            "LocalHost:1",
            "Portcullis.Internal:9090",
        ] {
            assert!(is_own_name(good, &hosts), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f000001",
            "[::1",
            "[::1]evil",
            "[evil]",
            "localhost:http",
            "localhost:99999",
            "localhost:+80",
            "user@localhost",
            "localhost:1:2",
            "portcullis.internal.",
        ] {
            assert!(!is_own_name(bad, &hosts), "{bad}");
        }
    }

    fn secret() -> Secret {
        Secret::from_file_content(b"s3c+r%t\n".to_vec())
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn is_right(credential: &str, schemes: Schemes) -> bool {
        let secret = secret();
        match presented(&headers(&[("authorization", credential)]), schemes) {
            Presented::Bearer(token) => is_secret(token, Some(&secret)),
            Presented::Basic(pair) => is_password(pair, Some(&secret)),
            Presented::Nothing | Presented::Several => false,
        }
    }

    #[test]
    fn the_credential_must_be_the_very_secret() {
        for (credential, right) in [
            ("Bearer s3c+r%t", true),
            ("bearer s3c+r%t", true),
            ("Bearer s3c+r%", false),
            ("Bearer s3c+r%t ", false),
            ("Bearer s3c r%t", false),
            ("Bearer ", false),
            ("Basic s3c+r%t", false),
            ("s3c+r%t", false),
            ("", false),
        ] {
            assert_eq!(is_right(credential, Schemes::Bearer), right, "{credential}");
            assert_eq!(
                is_right(credential, Schemes::BearerOrBasic),
                right,
                "{credential}"
            );
        }
        let empty = Secret::from_file_content(Vec::new());
        assert!(!is_secret(b"", Some(&empty)));
        assert!(!is_secret(b"x", None));
    }

    #[test]
    fn the_password_of_basic_is_the_secret_plain_or_form_encoded_where_basic_is_taken() {
        for (pair, right) in [
            ("client:s3c+r%t", true),
            (":s3c+r%t", true),
            ("client:s3c%2Br%25t", true),
            ("client:x:s3c+r%t", false),
            ("client:s3c+r%t=", false),
            ("client:s3c%2Br%25t&", false),
            ("client:s3c%2Br%25t&x", false),
            ("client:", false),
            ("s3c+r%t", false),
            ("", false),
        ] {
            let credential = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            assert_eq!(
                is_right(&credential, Schemes::BearerOrBasic),
                right,
                "{pair}"
            );
            assert!(!is_right(&credential, Schemes::Bearer), "{pair}");
        }
    }

    #[test]
    fn a_change_may_come_from_no_page_or_from_one_of_this_listener() {
        let verdict = |method: &str, lines: &[(&'static str, &str)]| {
            let mut request = http::Request::builder()
                .method(method)
                .uri("/")
                .body(())
                .unwrap();
            *request.headers_mut() = headers(lines);
            request
                .headers_mut()
                .insert(HOST, HeaderValue::from_static("Localhost:9090"));
            check_origin(&request.into_parts().0).is_ok()
        };
        for (lines, expected) in [
            (&[][..], true),
            (&[("origin", "http://localhost:9090")], true),
            (
                &[
                    ("origin", "http://localhost:9090"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (
                &[("origin", "http://localhost:9090"), ("origin", "null")],
                false,
            ),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (
                &[
                    ("origin", "http://localhost:9090"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
        ] {
            assert_eq!(verdict("POST", lines), expected, "{lines:?}");
            assert_eq!(verdict("DELETE", lines), expected, "{lines:?}");
            assert!(verdict("GET", lines), "{lines:?}");
        }
    }
}
