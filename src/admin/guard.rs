//! Who may ask: the name the listener is called by, and the admin credential.
//!
//! Owns the defence against DNS rebinding and guessing. Knows no endpoint.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use tokio::time::Instant;

use super::AdminState;
use super::answer::Problem;
use crate::config::Secret;
use crate::identity::IssuerLabel;
use crate::rejection::Rejection;

const WRONG_ATTEMPTS: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Wrong credentials of the last second, of all callers together.
#[derive(Debug, Default)]
pub(super) struct AttemptLimiter(Mutex<VecDeque<Instant>>);

impl AttemptLimiter {
    /// Counts a wrong credential; whether it is one too many.
    fn is_exceeded(&self, now: Instant) -> bool {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while attempts
            .front()
            .is_some_and(|first| now.duration_since(*first) >= WINDOW)
        {
            attempts.pop_front();
        }
        if attempts.len() >= WRONG_ATTEMPTS {
            return true;
        }
        attempts.push_back(now);
        false
    }
}

/// Refuses a caller that has not the admin credential, where one is needed.
pub(super) fn check_credential(state: &AdminState, headers: &HeaderMap) -> Result<(), Problem> {
    if state.is_loopback {
        return Ok(());
    }
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let (Some(credential), None) = (credentials.next(), credentials.next()) else {
        return Err(Problem::CredentialRequired);
    };
    let config = state.runtime.config();
    if is_right(credential.as_bytes(), config.admin.token.as_ref()) {
        return Ok(());
    }
    if state.attempts.is_exceeded(Instant::now()) {
        let metrics = state.runtime.metrics();
        metrics.rejection(None, IssuerLabel::None, Rejection::RateLimited);
        return Err(Problem::RateLimited);
    }
    Err(Problem::CredentialRequired)
}

fn is_right(credential: &[u8], secret: Option<&Secret>) -> bool {
    let Some((scheme, token)) = credential.split_at_checked(b"Bearer ".len()) else {
        return false;
    };
    let Some(secret) = secret.map(Secret::expose).filter(|it| !it.is_empty()) else {
        return false;
    };
    // Digests are compared, so that not even the length of the secret shows in the time.
    let same = verify_slices_are_equal(
        digest(&SHA256, token).as_ref(),
        digest(&SHA256, secret).as_ref(),
    );
    scheme.eq_ignore_ascii_case(b"Bearer ") && same.is_ok()
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

    #[test]
    fn the_eleventh_wrong_credential_of_a_second_is_one_too_many() {
        let limiter = AttemptLimiter::default();
        let start = Instant::now();
        for _ in 0..WRONG_ATTEMPTS {
            assert!(!limiter.is_exceeded(start));
        }
        assert!(limiter.is_exceeded(start + Duration::from_millis(999)));
        assert!(!limiter.is_exceeded(start + WINDOW));
    }

    #[test]
    fn the_credential_must_be_the_very_secret() {
        let secret = Secret::from_file_content(b"s3cret\n".to_vec());
        for (credential, right) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret ", false),
            ("Bearer ", false),
            ("Basic s3cret", false),
            ("s3cret", false),
            ("", false),
        ] {
            assert_eq!(
                is_right(credential.as_bytes(), Some(&secret)),
                right,
                "{credential}"
            );
        }
        let empty = Secret::from_file_content(Vec::new());
        assert!(!is_right(b"Bearer ", Some(&empty)));
        assert!(!is_right(b"Bearer x", None));
    }
}
