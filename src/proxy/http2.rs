//! HTTP/2 towards clients (RFC 9113), up to where a request looks like any other.
//!
//! Owns its limits, and the form of a request on the way to HTTP/1.1. What is not sound in it is refused. Streams, windows and
//! header compression are hyper's.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio::task::spawn_local;

use crate::config::Limits;

/// What may come of one request's body before somebody takes it.
const STREAM_WINDOW: u32 = 128 << 10;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;
/// What of one answer waits for the client at most.
const SEND_BUFFER: usize = 64 << 10;
/// Header lists beyond our own limit are still read to here, so that they get an answer that says what is wrong.
const MIN_HEADER_LIST: u32 = 64 << 10;
/// Requests that a client took back before they were looked at; more in waiting end the connection.
const PENDING_RESETS: usize = 20;
/// Streams that we had to end for a client's mistake; more end the connection.
const LOCAL_RESETS: usize = 64;

/// The first bytes of a client that speaks HTTP/2 without asking (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Runs streams on the worker of their connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnWorker;

impl<F: Future + 'static> Executor<F> for OnWorker {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

pub(super) fn builder(limits: &Limits) -> http2::Builder<OnWorker> {
    let header_list = u32::try_from(limits.header_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(OnWorker);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(header_list.max(MIN_HEADER_LIST))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS);
    builder
}

/// Gives a request the form that it would have had in HTTP/1.1. `false`: it is malformed.
pub(super) fn adapt(head: &mut Parts) -> bool {
    if !is_sound(&head.headers) {
        return false;
    }
    join_cookies(&mut head.headers);
    // A Host besides is compared with it where every request's is (RFC 9113 §8.3.1).
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(HOST)
    {
        let Ok(host) = HeaderValue::from_str(authority.as_str()) else {
            return false;
        };
        head.headers.insert(HOST, host);
    }
    true
}

/// What HTTP/1.1 would read in another way than HTTP/2 (RFC 9113 §8.2.1, §8.1.1).
fn is_sound(headers: &HeaderMap) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_blank(bytes.first()) || is_blank(bytes.last())
    };
    headers.get_all(CONTENT_LENGTH).iter().count() <= 1 && !headers.values().any(is_padded)
}

/// Crumbs of one cookie line, which HTTP/1.1 has as one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut line = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(crumb.as_bytes());
    }
    // Parts of valid values, joined by valid bytes, are a valid value.
    if let Ok(mut line) = HeaderValue::from_maybe_shared(bytes::Bytes::from(line)) {
        line.set_sensitive(true);
        headers.insert(COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn adapted(uri: &str, lines: &[(&str, &str)]) -> Option<HeaderMap> {
        let mut request = Request::get(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        adapt(&mut head).then_some(head.headers)
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let lines = [
            ("cookie", "a=1"),
            ("x", "y"),
            ("cookie", "b=2"),
            ("cookie", "c=3"),
        ];
        let headers = adapted("https://a/", &lines).unwrap();
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn the_authority_becomes_the_host_and_does_not_hide_another() {
        assert_eq!(adapted("https://a:8443/", &[]).unwrap()[HOST], "a:8443");
        let other = adapted("https://a/", &[("host", "b")]).unwrap();
        assert_eq!(other[HOST], "b", "the gate compares the two");
        assert!(!adapted("/", &[]).unwrap().contains_key(HOST));
    }

    #[test]
    fn what_http_1_1_would_read_otherwise_is_malformed() {
        for lines in [
            &[("x", " y")][..],
            &[("x", "y\t")],
            &[("content-length", "1"), ("content-length", "1")],
        ] {
            assert_eq!(adapted("https://a/", lines), None, "{lines:?}");
        }
    }
}
