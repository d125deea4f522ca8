//! What of a request's frame can be refused before anything is decided: row 1 of the contract's table.
//!
//! Owns the limits of head and body and the rules on `Transfer-Encoding` and `Connection`. Host and path are the gate's.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;

use crate::config::Limits;
use crate::rejection::Rejection;

use super::headers::{ReservedNames, connection_options};

/// ` HTTP/1.1\r\n`, the space after the method and the empty line.
const LINE_OVERHEAD: usize = 14;
/// `: ` and `\r\n`.
const FIELD_OVERHEAD: usize = 4;

/// The most options that the `Connection` lines may have.
const MAX_OPTIONS: usize = 64;

/// Judges the frame of a request. `body_length`: the length that was announced.
pub(super) fn check(
    head: &Parts,
    body_length: Option<u64>,
    limits: &Limits,
    reserved: &ReservedNames,
) -> Result<(), Rejection> {
    if !is_framed_once(&head.headers) || names_what_it_may_not(&head.headers, reserved) {
        return Err(Rejection::RequestMalformed);
    }
    if head_bytes(head) > limits.header_bytes {
        return Err(Rejection::HeaderTooLarge);
    }
    match (body_length, limits.body_bytes) {
        (Some(length), Some(limit)) if length > limit => Err(Rejection::BodyTooLarge),
        _ => Ok(()),
    }
}

/// What the head weighed on the wire, spare white space and the form of line ends not counted.
fn head_bytes(head: &Parts) -> usize {
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let authority = head.uri.authority().map_or(0, |it| it.as_str().len());
    let fields: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum();
    head.method.as_str().len() + target + authority + LINE_OVERHEAD + fields
}

/// No `Transfer-Encoding`, or exactly one `chunked` (RFC 9112 §6.1). Hyper alone would take `gzip, chunked` and two lines,
/// and it refuses the header in HTTP/1.0 before we see it.
fn is_framed_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !headers.contains_key(CONTENT_LENGTH)
        }
        _ => false,
    }
}

/// Whether the `Connection` lines name what an intermediary may not drop, or more than anybody has reason to: each is
/// looked for among the headers.
fn names_what_it_may_not(headers: &HeaderMap, reserved: &ReservedNames) -> bool {
    let mut count = 0;
    connection_options(headers).any(|option| {
        count += 1;
        if count > MAX_OPTIONS {
            return true;
        }
        let Ok(name) = std::str::from_utf8(option) else {
            return true;
        };
        [AUTHORIZATION, HOST, CONTENT_LENGTH]
            .iter()
            .any(|header| header.as_str().eq_ignore_ascii_case(name))
            || reserved.is_ours(name)
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::testing;

    fn limits() -> Limits {
        Limits {
            header_bytes: 200,
            body_bytes: Some(10),
            ..testing::limits()
        }
    }

    fn verdict(lines: &[(&str, &str)], length: Option<u64>) -> Result<(), Rejection> {
        let mut request = Request::get("/").header("host", "a");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let reserved = ReservedNames::new(&testing::config());
        check(&head, length, &limits(), &reserved)
    }

    #[test]
    fn a_plain_request_passes() {
        assert_eq!(verdict(&[("connection", "keep-alive")], None), Ok(()));
        assert_eq!(verdict(&[("transfer-encoding", "Chunked")], None), Ok(()));
        assert_eq!(
            verdict(&[("connection", "x-mine, close")], Some(10)),
            Ok(())
        );
    }

    #[test]
    fn transfer_encoding_other_than_one_chunked_is_malformed() {
        for coding in ["gzip, chunked", ",chunked", "chunked, chunked", "identity"] {
            assert_eq!(
                verdict(&[("transfer-encoding", coding)], None),
                Err(Rejection::RequestMalformed),
                "{coding}"
            );
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(verdict(&twice, None), Err(Rejection::RequestMalformed));
    }

    #[test]
    fn connection_may_not_name_what_the_gateway_needs() {
        for option in [
            "Authorization",
            "close, host",
            "CONTENT-LENGTH",
            "X-Auth-Subject",
            "x_auth_subject",
            "X-Forwarded-For",
            "X-Request-Id",
        ] {
            assert_eq!(
                verdict(&[("connection", option)], None),
                Err(Rejection::RequestMalformed),
                "{option}"
            );
        }
        let second_line = [("connection", "close"), ("connection", "host")];
        assert_eq!(
            verdict(&second_line, None),
            Err(Rejection::RequestMalformed)
        );
    }

    #[test]
    fn connection_has_a_limited_number_of_options() {
        let options = |count: usize| vec!["x"; count].join(",");
        let wide = Limits {
            header_bytes: 1 << 20,
            ..limits()
        };
        let reserved = ReservedNames::new(&testing::config());
        let judged = |count: usize| {
            let request = Request::get("/").header("connection", options(count));
            let (head, ()) = request.body(()).unwrap().into_parts();
            check(&head, None, &wide, &reserved)
        };
        assert_eq!(judged(64), Ok(()));
        assert_eq!(judged(65), Err(Rejection::RequestMalformed));
    }

    #[test]
    fn sizes_are_limited_to_the_byte() {
        assert_eq!(verdict(&[], Some(11)), Err(Rejection::BodyTooLarge));
        // "GET / HTTP/1.1\r\n" + "host: a\r\n" + "x: …\r\n" + "\r\n" is 200 with 168 bytes in the value.
        let full = "v".repeat(168);
        assert_eq!(verdict(&[("x", &full)], None), Ok(()));
        let over = "v".repeat(169);
        assert_eq!(
            verdict(&[("x", &over)], None),
            Err(Rejection::HeaderTooLarge)
        );
    }
}
