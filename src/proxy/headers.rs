//! Which headers of a message do not travel on.
//!
//! Owns hop-by-hop headers (RFC 9110 §7.6.1) and the names that only this gateway may set. Knows nothing
//! of identities or addresses: what is set in their place is other modules' business.

use http::header::{CONNECTION, HeaderMap, HeaderName};

use crate::config::Config;

/// Removed from every client request, whatever the configuration says: the default identity headers.
const DEFAULT_IDENTITY: [&str; 4] = [
    "X-Auth-Subject",
    "X-Auth-Issuer",
    "X-Auth-Client",
    "X-Auth-Scopes",
];

/// Forwarding headers, besides everything that begins with `X-Forwarded`.
const FORWARDING: [&str; 6] = [
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "X-Original-Authorization",
];

/// Headers by which some servers take another path than the one that was judged.
const MISLEADING: [&str; 2] = ["X-Original-URL", "X-Rewrite-URL"];

/// Headers by which some servers take another method than the one that was judged.
const METHOD_OVERRIDE: [&str; 3] = [
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
];

/// Headers that would frame a request, or choose a server's way out, for whoever folds names (`HTTP_PROXY`: CVE-2016-5385).
/// In their proper spelling the first four do not pass either: what is true of them is said anew.
const FRAMING: [&str; 5] = [
    "Transfer-Encoding",
    "Content-Length",
    "Connection",
    "Host",
    "Proxy",
];

const FORWARDED_FAMILY: &[u8] = b"xforwarded";

/// The names that only this gateway may set or that may mislead an upstream, compared lower-cased and without
/// non-alphanumerics: servers that turn names into variables fold `X_Auth.Subject` and `X-Auth-Subject` into one.
#[derive(Debug)]
pub(super) struct ReservedNames {
    ours: FoldedNames,
    misleading: FoldedNames,
    method_override: FoldedNames,
}

impl ReservedNames {
    /// The default identity headers, the configured ones, and the families.
    pub(super) fn new(config: &Config) -> Self {
        let configured = config
            .identity
            .headers
            .iter()
            .map(|(name, _)| name.as_str());
        Self {
            ours: DEFAULT_IDENTITY
                .into_iter()
                .chain(FORWARDING)
                .chain(["X-Request-Id"])
                .chain(configured)
                .collect(),
            misleading: MISLEADING.into_iter().chain(FRAMING).collect(),
            method_override: METHOD_OVERRIDE.into_iter().collect(),
        }
    }

    /// Whether this gateway sets, or might set, that header towards upstreams.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.ours.contains(name) || self.forwarded(name)
    }

    fn forwarded(&self, name: &str) -> bool {
        // Its names are among ours, so that they share an initial.
        self.ours.initials.may_begin(name) && is_forwarded_family(name)
    }

    /// Whether that header of a client may reach an upstream. `methods_restricted`: the route lists methods, so nothing
    /// may speak of another one.
    pub(super) fn lets_pass(&self, name: &HeaderName, methods_restricted: bool) -> bool {
        let text = name.as_str();
        let is_removed = is_hop_by_hop(name)
            || text == "expect"
            || self.is_ours(text)
            || self.misleading.contains(text)
            || (methods_restricted && self.method_override.contains(text));
        !is_removed
    }
}

fn is_forwarded_family(name: &str) -> bool {
    fold(name)
        .take(FORWARDED_FAMILY.len())
        .eq(FORWARDED_FAMILY.iter().copied())
}

/// Names, folded.
#[derive(Debug)]
struct FoldedNames {
    names: Vec<Box<[u8]>>,
    /// With which letters they begin: most headers are done with after one look.
    initials: Initials,
}

impl FoldedNames {
    fn contains(&self, name: &str) -> bool {
        if !self.initials.may_begin(name) {
            return false;
        }
        self.names
            .iter()
            .any(|reserved| reserved.len() <= name.len() && fold(name).eq(reserved.iter().copied()))
    }
}

impl<'name> FromIterator<&'name str> for FoldedNames {
    fn from_iter<I: IntoIterator<Item = &'name str>>(names: I) -> Self {
        let names: Vec<Box<[u8]>> = names.into_iter().map(|name| fold(name).collect()).collect();
        let initials = Initials::of(names.iter().filter_map(|name| name.first().copied()));
        Self { names, initials }
    }
}

/// A set of lower-case letters and digits.
#[derive(Clone, Copy, Debug)]
struct Initials(u128);

impl Initials {
    fn of(initials: impl Iterator<Item = u8>) -> Self {
        Self(initials.fold(0, |set, initial| set | 1 << (initial & 0x7f)))
    }

    /// Whether the folded name may begin with one of these. Names that begin with a letter or digit are told at once.
    fn may_begin(self, name: &str) -> bool {
        match name.as_bytes().first() {
            Some(first) if first.is_ascii_alphanumeric() => {
                self.0 >> first.to_ascii_lowercase() & 1 == 1
            }
            _ => true,
        }
    }
}

fn fold(name: &str) -> impl Iterator<Item = u8> {
    name.bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_lowercase())
}

/// Headers that concern one connection alone. `Trailer` is not among them: it announces, and what it
/// announces is sifted when it comes.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The members of every `Connection` line.
pub(super) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

/// The headers that the `Connection` lines name; they go no further than the line itself does.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    if !headers.contains_key(CONNECTION) {
        return Vec::new();
    }
    connection_options(headers)
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Removes from a client's trailers what could pass for a header of ours or for framing (RFC 9110 §6.5.1).
pub(super) fn strip_trailers(trailers: &mut HeaderMap, reserved: &ReservedNames) {
    let is_unwanted =
        |name: &&HeaderName| is_framing_or_routing(name) || !reserved.lets_pass(name, true);
    let removed: Vec<_> = trailers.keys().filter(is_unwanted).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
}

pub(super) fn is_framing_or_routing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "host" | "authorization" | "cookie" | "trailer" | "expect"
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn reserved() -> ReservedNames {
        ReservedNames {
            ours: DEFAULT_IDENTITY
                .into_iter()
                .chain(FORWARDING)
                .chain(["X-Request-Id", "X-Tenant"])
                .collect(),
            misleading: MISLEADING.into_iter().chain(FRAMING).collect(),
            method_override: METHOD_OVERRIDE.into_iter().collect(),
        }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn names_left(map: &HeaderMap, methods_restricted: bool) -> Vec<String> {
        let (going, reserved) = (named_by_connection(map), reserved());
        let mut names: Vec<_> = map
            .keys()
            .filter(|name| reserved.lets_pass(name, methods_restricted) && !going.contains(name))
            .map(ToString::to_string)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn hop_by_hop_headers_are_removed_with_what_every_connection_line_names() {
        let map = headers(&[
            ("connection", "keep-alive, x-one"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ]);
        assert_eq!(names_left(&map, false), ["accept", "x-three"]);
    }

    #[test]
    fn reserved_names_are_removed_in_every_spelling() {
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x.auth.subject",
            "x--auth-subject",
            "xauthsubject",
            "x-auth-scopes",
            "x_tenant",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-prefix",
            "x-forwarded-access-token",
            "x-forwarded",
            "x-real-ip",
            "x.real_ip",
            "true-client-ip",
            "x-original-url",
            "x_rewrite_url",
            "x-original-authorization",
            "x-request-id",
            "x_request_id",
            "transfer_encoding",
            "content_length",
            "content.length",
            "host_",
            "proxy",
        ] {
            assert!(
                names_left(&headers(&[(name, "spoofed")]), false).is_empty(),
                "{name}"
            );
        }
    }

    #[test]
    fn other_headers_pass() {
        for name in [
            "x-auth-token",
            "x-auth-subjects",
            "x-tenants",
            "traceparent",
            "cookie",
            "authorization",
            "via",
            "trailer",
            "x-http-method-override",
        ] {
            assert_eq!(names_left(&headers(&[(name, "v")]), false), [name]);
        }
    }

    #[test]
    fn method_overrides_are_removed_where_the_route_restricts_methods() {
        for name in [
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "x_http_method",
        ] {
            assert!(
                names_left(&headers(&[(name, "DELETE")]), true).is_empty(),
                "{name}"
            );
        }
    }

    #[test]
    fn trailers_cannot_smuggle_identity_or_framing() {
        let mut trailers = headers(&[
            ("x_auth_subject", "admin"),
            ("content-length", "3"),
            ("authorization", "Bearer x"),
            ("x-http-method", "DELETE"),
            ("checksum", "abc"),
        ]);
        strip_trailers(&mut trailers, &reserved());
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["checksum"]);
    }
}
