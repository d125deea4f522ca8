//! What a request asks for: host and path, each read in exactly one way or refused.
//!
//! Owns the rules for Host (RFC 9110 §7.2, RFC 9112 §3.2) and for paths that servers read differently.
//! Knows nothing of routes. The client's own bytes are what goes upstream; only matching sees the decoded form.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};

use crate::rejection::Rejection;

/// Stands for an encoded slash in a decoded path: no other control character ever gets there.
const ENCODED_SLASH: char = '\0';

/// How paths are read: the `encoded_slash` and `path_parameters` settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathRules {
    /// `%2F` is an ordinary character.
    pub(super) keep_encoded_slash: bool,
    /// `;` is an ordinary character.
    pub(super) keep_path_parameters: bool,
}

/// The host without its port, as the client wrote it.
///
/// # Errors
/// `request_malformed`: Host missing, repeated or invalid, or unequal to an absolute-form target, which must be of HTTP.
pub(super) fn host(head: &Parts) -> Result<&str, Rejection> {
    let authority = single_host(&head.headers)?;
    if let Some(scheme) = head.uri.scheme()
        && !matches!(scheme.as_str(), "http" | "https")
    {
        return Err(Rejection::RequestMalformed);
    }
    if let Some(target) = head.uri.authority()
        && !target.as_str().eq_ignore_ascii_case(authority)
    {
        return Err(Rejection::RequestMalformed);
    }
    host_of(authority).ok_or(Rejection::RequestMalformed)
}

/// TRACE and CONNECT are meant for whoever receives them, in whatever case an upstream reads methods.
pub(super) fn is_for_a_hop(method: &Method) -> bool {
    let name = method.as_str();
    name.eq_ignore_ascii_case("TRACE") || name.eq_ignore_ascii_case("CONNECT")
}

fn single_host(headers: &HeaderMap) -> Result<&str, Rejection> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| Rejection::RequestMalformed),
        _ => Err(Rejection::RequestMalformed),
    }
}

/// The host of `HOST[:PORT]`; `None` if it is not one. Names with an empty label, a final dot included, are
/// refused: they would match no route by name and still reach the server of that name.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (authority.strip_suffix(port)?, port)
    } else {
        let (host, port) = authority
            .find(':')
            .map_or((authority, ""), |colon| authority.split_at(colon));
        let is_name = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        host.split('.').all(is_name).then_some((host, port))?
    };
    is_port(port).then_some(host)
}

fn is_port(port: &str) -> bool {
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some("") => true,
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    }
}

/// The path decoded once, with an encoded slash (where kept) written as NUL.
///
/// # Errors
/// `path_ambiguous` as the contract's table says; `request_malformed` for a target that is no path;
/// `route_unknown` for `OPTIONS *`, which no route governs.
pub(super) fn path<'head>(
    method: &Method,
    uri: &'head Uri,
    rules: PathRules,
) -> Result<Cow<'head, str>, Rejection> {
    let raw = uri.path();
    // CONNECT has an authority in its place (RFC 9112 §3.2.3), and is refused for what it is.
    if uri.scheme().is_none() && uri.authority().is_some() && is_for_a_hop(method) {
        return Ok(Cow::Borrowed("/"));
    }
    if raw == "*" && method == Method::OPTIONS {
        return Err(Rejection::RouteUnknown);
    }
    if !raw.starts_with('/') {
        return Err(Rejection::RequestMalformed);
    }
    if is_simple(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = decode(raw, rules)?;
    if segments_are_plain(&decoded, rules) {
        Ok(decoded)
    } else {
        Err(Rejection::PathAmbiguous)
    }
}

/// Whether one look tells that the path is plain: letters, digits, `-`, `_` and `~` in segments that are not empty. What
/// follows a slash is such a character, or the path ends there.
fn is_simple(raw: &str) -> bool {
    let mut follows_slash = false;
    raw.bytes().all(|byte| {
        let is_slash = byte == b'/';
        let is_empty_segment = is_slash && follows_slash;
        follows_slash = is_slash;
        let is_letter = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        (is_letter || is_slash) && !is_empty_segment
    })
}

fn decode(raw: &str, rules: PathRules) -> Result<Cow<'_, str>, Rejection> {
    let is_ordinary = |byte: u8| {
        (0x20..0x7f).contains(&byte)
            && byte != b'\\'
            && (byte != b';' || rules.keep_path_parameters)
    };
    if !raw.bytes().all(is_ordinary) {
        return Err(Rejection::PathAmbiguous);
    }
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = unescape(raw, rules).ok_or(Rejection::PathAmbiguous)?;
    let is_ambiguous = |character: char| {
        (character.is_control() && character != ENCODED_SLASH)
            || character == '\\'
            || (character == ';' && !rules.keep_path_parameters)
    };
    if decoded.contains(is_ambiguous) || holds_escape(&decoded) {
        return Err(Rejection::PathAmbiguous);
    }
    Ok(Cow::Owned(decoded))
}

/// Decodes every escape; `None` for a broken one, for what is not UTF-8, for an escaped NUL, and for an
/// escaped slash that is not to be kept.
fn unescape(raw: &str, rules: PathRules) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        match hex(bytes.next()?)? << 4 | hex(bytes.next()?)? {
            b'/' if rules.keep_encoded_slash => decoded.push(ENCODED_SLASH as u8),
            0 | b'/' => return None,
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

/// Whether a second decoding would change the path.
fn holds_escape(decoded: &str) -> bool {
    decoded
        .as_bytes()
        .windows(3)
        .any(|three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// No dot segment anywhere, not even to a server that splits at encoded slashes or drops parameters, and no
/// empty segment but the last.
fn segments_are_plain(decoded: &str, rules: PathRules) -> bool {
    let is_dots = |segment: &str| {
        let segment = match segment.split_once(';') {
            Some((before, _)) if rules.keep_path_parameters => before,
            _ => segment,
        };
        matches!(segment, "." | "..")
    };
    !decoded.contains("//") && !decoded.split(['/', ENCODED_SLASH]).any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSE: PathRules = PathRules {
        keep_encoded_slash: false,
        keep_path_parameters: false,
    };
    const KEEP: PathRules = PathRules {
        keep_encoded_slash: true,
        keep_path_parameters: true,
    };

    fn read(raw: &str, rules: PathRules) -> Result<String, Rejection> {
        let uri: Uri = raw.parse().expect("a URI");
        path(&Method::GET, &uri, rules).map(Cow::into_owned)
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for raw in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/%252e%252e/admin",
            "/..;/x",
            "/a;x",
            "/a%3bx",
            "//admin",
            "/a//b",
            "/./",
            "/a/.",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/%c0%af",
            "/a%zz",
            "/a%",
            "/a%4",
            "/a%c2%85",
        ] {
            assert_eq!(read(raw, REFUSE), Err(Rejection::PathAmbiguous), "{raw}");
        }
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/orders/", "/orders/"),
            ("/a.b/..c/...", "/a.b/..c/..."),
            ("/caf%C3%A9", "/café"),
            ("/a%20b", "/a b"),
            ("/100%25", "/100%"),
            ("/a|b", "/a|b"),
            ("/x?y=/../;", "/x"),
        ] {
            assert_eq!(read(raw, REFUSE).as_deref(), Ok(decoded), "{raw}");
        }
    }

    #[test]
    fn kept_slashes_and_parameters_never_make_dot_segments() {
        assert_eq!(read("/a%2Fb;v=1", KEEP).as_deref(), Ok("/a\0b;v=1"));
        for raw in ["/a%2F..%2Fb", "/..;x/b", "/a/%2e;/b", "/a%5Cb"] {
            assert_eq!(read(raw, KEEP), Err(Rejection::PathAmbiguous), "{raw}");
        }
    }

    #[test]
    fn hosts_are_read_strictly() {
        for (authority, expected) in [
            ("api.example.com", Some("api.example.com")),
            ("API.example.com:8080", Some("API.example.com")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
            ("a,b", None),
            ("a:99999", None),
            ("a:b", None),
            ("u@a", None),
            ("a.", None),
            ("a..b", None),
            ("a b", None),
            ("[::1", None),
            ("[zz]", None),
            ("a%2f", None),
            ("a/b", None),
            ("a:+80", None),
        ] {
            assert_eq!(host_of(authority), expected, "{authority}");
        }
    }
}
