//! The head of an upstream's response, and how its body ends (RFC 9112 §6.3).
//!
//! Owns what of a response is believed. What frames it in two ways, or in a way we do not know, is no response.
//! Hop-by-hop headers end here; everything else is the client's.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, PROXY_AUTHENTICATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::super::headers::{is_framing_or_routing, is_hop_by_hop};

/// The largest head, in bytes.
const MAX_HEAD: usize = 256 << 10;
const MAX_FIELDS: usize = 128;
const MAX_TRAILER_FIELDS: usize = 64;

/// It is no HTTP/1 response, or it cannot be told where it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// How the body that follows a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// A head that has come.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The connection may serve another request.
    pub(super) keeps_alive: bool,
}

/// Takes a final response's head out of `buffer`, interim ones before it; `None` if it is not whole yet. `headers` lends
/// its memory.
pub(super) fn take_head(
    buffer: &mut BytesMut,
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<Option<ResponseHead>, Unreadable> {
    loop {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            buffer,
            &mut fields,
        );
        let length = match status {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
            _ => return Err(Unreadable),
        };
        let status = parsed
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or(Unreadable)?;
        let is_old = parsed.version == Some(0);
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            drop(buffer.split_to(length));
            continue;
        }
        headers.clear();
        let places = Places::of(parsed.headers, buffer);
        let head = buffer.split_to(length).freeze();
        let mut sieve = Sieve::default();
        places.each(&head, |name, value| sieve.sift(name, value, headers))?;
        return sieve.finish(status, is_old, method, headers).map(Some);
    }
}

/// Where in the buffer names and values stand, so that the buffer can be taken apart after it was parsed.
struct Places([(u32, u16, u32, u32); MAX_FIELDS], usize);

impl Places {
    fn of(fields: &[httparse::Header<'_>], buffer: &[u8]) -> Self {
        let start = buffer.as_ptr() as usize;
        let mut places = [(0, 0, 0, 0); MAX_FIELDS];
        for (place, field) in places.iter_mut().zip(fields) {
            let name_at = field.name.as_ptr() as usize - start;
            let value_at = field.value.as_ptr() as usize - start;
            let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let name_length = u16::try_from(field.name.len()).unwrap_or(u16::MAX);
            *place = (
                small(name_at),
                name_length,
                small(value_at),
                small(field.value.len()),
            );
        }
        Self(places, fields.len())
    }

    fn each(
        &self,
        head: &Bytes,
        mut take: impl FnMut(HeaderName, HeaderValue) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for (name_at, name_length, value_at, value_length) in self.0.iter().take(self.1).copied() {
            let (name_at, value_at) = (name_at as usize, value_at as usize);
            let name = head
                .get(name_at..name_at + usize::from(name_length))
                .ok_or(Unreadable)?;
            let name = HeaderName::from_bytes(name).map_err(|_| Unreadable)?;
            let value = head.slice(value_at..value_at + value_length as usize);
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| Unreadable)?;
            take(name, value)?;
        }
        Ok(())
    }
}

/// Keeps the headers that travel on, and reads those that do not.
#[derive(Debug, Default)]
struct Sieve {
    is_chunked: bool,
    length: Option<u64>,
    closes: bool,
    keeps: bool,
    /// What `Connection` lines name besides.
    named: Vec<HeaderName>,
}

impl Sieve {
    fn sift(
        &mut self,
        name: HeaderName,
        value: HeaderValue,
        headers: &mut HeaderMap,
    ) -> Result<(), Unreadable> {
        match name {
            CONNECTION => self.read_connection(&value),
            TRANSFER_ENCODING => self.read_coding(&value)?,
            CONTENT_LENGTH => self.read_length(value, headers)?,
            // 407 and its challenge are for this gateway's eyes no more than for the client's: RFC 9110 §11.7.1 lets
            // it pass.
            PROXY_AUTHENTICATE => drop(headers.append(name, value)),
            _ if is_hop_by_hop(&name) => {}
            _ => drop(headers.append(name, value)),
        }
        Ok(())
    }

    fn read_connection(&mut self, value: &HeaderValue) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps = true;
            } else if let Ok(name) = HeaderName::from_bytes(option) {
                self.named.push(name);
            }
        }
    }

    /// Exactly one `chunked`: we asked for no other coding (RFC 9112 §7.4).
    fn read_coding(&mut self, value: &HeaderValue) -> Result<(), Unreadable> {
        let is_first = !std::mem::replace(&mut self.is_chunked, true);
        if is_first && value.as_bytes().eq_ignore_ascii_case(b"chunked") {
            Ok(())
        } else {
            Err(Unreadable)
        }
    }

    /// Every line gives the same length, and one is passed on.
    fn read_length(
        &mut self,
        value: HeaderValue,
        headers: &mut HeaderMap,
    ) -> Result<(), Unreadable> {
        let digits = value.as_bytes();
        if digits.is_empty() {
            return Err(Unreadable);
        }
        let length = digits.iter().try_fold(0_u64, |sum, byte| {
            let digit = char::from(*byte).to_digit(10)?;
            sum.checked_mul(10)?.checked_add(digit.into())
        });
        let length = length.ok_or(Unreadable)?;
        match self.length.replace(length) {
            None => {
                headers.append(CONTENT_LENGTH, value);
                Ok(())
            }
            Some(before) if before == length => Ok(()),
            Some(_) => Err(Unreadable),
        }
    }

    fn finish(
        self,
        status: StatusCode,
        is_old: bool,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Result<ResponseHead, Unreadable> {
        if self.is_chunked && is_old {
            return Err(Unreadable);
        }
        if self.is_chunked {
            // Where both came, the length is not to be believed, nor passed on (RFC 9112 §6.3).
            headers.remove(CONTENT_LENGTH);
        }
        for name in &self.named {
            headers.remove(name);
        }
        let is_bodiless = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match self.length {
            _ if is_bodiless => Framing::Length(0),
            _ if self.is_chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Close,
        };
        // A server that sends the body it announces all the same would answer the next request with it.
        let may_overrun = is_bodiless && (self.is_chunked || self.length.is_some_and(|it| it > 0));
        let is_lasting = !self.closes && (!is_old || self.keeps) && !may_overrun;
        Ok(ResponseHead {
            status,
            headers: std::mem::take(headers),
            framing,
            keeps_alive: is_lasting && framing != Framing::Close,
        })
    }
}

/// The fields of a block of trailers, but for those that concern one connection, or framing (RFC 9110 §6.5.1).
pub(super) fn trailers(block: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let httparse::Status::Complete((_, fields)) =
        httparse::parse_headers(block, &mut fields).ok()?
    else {
        return None;
    };
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(field.value).ok()?;
        if !is_hop_by_hop(&name) && !is_framing_or_routing(&name) {
            map.append(name, value);
        }
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &Method) -> Result<Option<(ResponseHead, String)>, Unreadable> {
        let mut buffer = BytesMut::from(text);
        let head = take_head(&mut buffer, method, &mut HeaderMap::new())?;
        Ok(head.map(|head| (head, String::from_utf8(buffer.to_vec()).unwrap())))
    }

    fn framed(lines: &str, method: &Method) -> (Framing, bool) {
        let text = format!("HTTP/1.1 {lines}\r\n\r\n");
        let (head, _) = read(&text, method).unwrap().unwrap();
        (head.framing, head.keeps_alive)
    }

    #[test]
    fn it_is_told_where_a_response_ends() {
        let get = Method::GET;
        for (lines, framing, keeps_alive) in [
            ("200 OK\r\nContent-Length: 5", Framing::Length(5), true),
            (
                "200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
                Framing::Length(5),
                true,
            ),
            (
                "200 OK\r\nTransfer-Encoding: Chunked",
                Framing::Chunked,
                true,
            ),
            (
                "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
                Framing::Chunked,
                true,
            ),
            ("200 OK", Framing::Close, false),
            ("204 No Content", Framing::Length(0), true),
            (
                "304 Not Modified\r\nContent-Length: 5",
                Framing::Length(0),
                false,
            ),
            (
                "204 No Content\r\nTransfer-Encoding: chunked",
                Framing::Length(0),
                false,
            ),
            ("304 Not Modified", Framing::Length(0), true),
            (
                "200 OK\r\nContent-Length: 5\r\nConnection: x, Close",
                Framing::Length(5),
                false,
            ),
        ] {
            assert_eq!(framed(lines, &get), (framing, keeps_alive), "{lines}");
        }
        for (lines, keeps_alive) in [
            ("200 OK\r\nContent-Length: 5", false),
            ("200 OK\r\nTransfer-Encoding: chunked", false),
            ("200 OK\r\nContent-Length: 0", true),
            ("200 OK", true),
        ] {
            assert_eq!(
                framed(lines, &Method::HEAD),
                (Framing::Length(0), keeps_alive),
                "{lines}"
            );
        }
    }

    #[test]
    fn old_servers_keep_a_connection_only_if_they_say_so() {
        let head = |connection: &str| {
            let text = format!("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n{connection}\r\n");
            read(&text, &Method::GET).unwrap().unwrap().0
        };
        assert!(!head("").keeps_alive);
        assert!(head("Connection: keep-alive\r\n").keeps_alive);
    }

    #[test]
    fn what_is_framed_in_two_ways_or_unknown_ones_is_no_response() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(read(text, &Method::GET).is_err(), "{text}");
        }
    }

    #[test]
    fn interim_responses_are_passed_over_and_what_follows_stays() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                    HTTP/1.1 201 Created\r\nContent-Length: 2\r\nA: 1\r\na: 2\r\n\r\nok";
        for end in 1..text.len() - 2 {
            let start = text.get(..end).unwrap();
            assert!(read(start, &Method::GET).unwrap().is_none());
        }
        let (head, rest) = read(text, &Method::GET).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), rest.as_str()), (201, "ok"));
        let all: Vec<_> = head.headers.get_all("a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert!(!head.headers.contains_key("link"));
    }

    #[test]
    fn a_response_keeps_its_challenge_and_loses_hop_by_hop_headers() {
        let text = "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close, x-internal\r\nX-Internal: 1\r\n\
                    Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nWWW-Authenticate: Bearer realm=\"u\"\r\n\
                    Proxy-Authenticate: Basic\r\nX-Forwarded-For: theirs to write\r\n\r\n";
        let (head, _) = read(text, &Method::GET).unwrap().unwrap();
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-length",
                "proxy-authenticate",
                "www-authenticate",
                "x-forwarded-for"
            ]
        );
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let text = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD));
        assert!(read(&text, &Method::GET).is_err());
    }
}
