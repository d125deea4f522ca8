//! `[identity]` and `[identity.headers]`.

use http::HeaderName;

use super::super::node::Node;
use super::super::reader::Section;
use super::super::report::Place;
use super::super::{ClaimPath, IdentityHeaders, IdentitySource};
use super::ClaimTable;

const DEFAULT: [(&str, IdentitySource); 4] = [
    ("x-auth-subject", IdentitySource::Subject),
    ("x-auth-issuer", IdentitySource::Issuer),
    ("x-auth-client", IdentitySource::Client),
    ("x-auth-scopes", IdentitySource::Scope),
];

/// Folded names that carry something else: hop-by-hop (RFC 9110 §7.6.1), routing, credentials, tracing.
const TAKEN: [&str; 31] = [
    "authorization",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2settings",
    "keepalive",
    "maxforwards",
    "proxyauthenticate",
    "proxyauthorization",
    "proxyconnection",
    "range",
    "setcookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transferencoding",
    "upgrade",
    "via",
    "wwwauthenticate",
    "xforwarded",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xmethodoverride",
    "xoriginalurl",
    "xrequestid",
    "xrewriteurl",
];

pub(super) fn read(mut section: Section<'_>, claims: &mut ClaimTable) -> IdentityHeaders {
    let headers = section.section("headers");
    // Asked for already, by the routes' default.
    section.value("forward_token");
    section.finish(&[]);
    if !headers.is_present() {
        let default = DEFAULT.map(|(name, source)| (HeaderName::from_static(name), source));
        return IdentityHeaders {
            headers: default.into(),
        };
    }
    let mut folded: Vec<String> = Vec::new();
    let mut list = Vec::new();
    for (key, place, node) in headers.entries() {
        let name = read_name(key, &place, &node, &mut folded);
        let source = read_source(&node, claims);
        if let (Some(name), Some(source)) = (name, source) {
            list.push((name, source));
        }
    }
    IdentityHeaders { headers: list }
}

fn read_name(
    key: &str,
    place: &Place,
    node: &Node<'_>,
    earlier: &mut Vec<String>,
) -> Option<HeaderName> {
    let expected = "expected a header name of its own such as X-Auth-Tenant";
    let folded = fold(key);
    let problem = if folded.is_empty() || HeaderName::from_bytes(key.as_bytes()).is_err() {
        "is not a header name"
    } else if is_taken(key, &folded) {
        "is a header that means something else to proxies and servers"
    } else if earlier.contains(&folded) {
        "differs from an earlier header only in case and punctuation, which many servers do not tell apart"
    } else {
        earlier.push(folded);
        return HeaderName::from_bytes(key.as_bytes()).ok();
    };
    node.report()
        .fault(place.clone(), format!("{problem}, {expected}"));
    None
}

/// Lower-case, without what is no letter or digit: as upstreams may read it (RFC 3875 §4.1.18).
fn fold(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

fn is_taken(name: &str, folded: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace('_', "-");
    TAKEN.contains(&folded)
        || folded.starts_with("xforwarded")
        || folded == "xrealip"
        || lower.starts_with("content-")
        || lower.starts_with("access-control-")
        || lower.starts_with("sec-")
}

fn read_source(node: &Node<'_>, claims: &mut ClaimTable) -> Option<IdentitySource> {
    let path = node.claim()?;
    let special = match &path {
        ClaimPath::Dotted(name) => special(name),
        ClaimPath::Exact(_) => None,
    };
    Some(special.unwrap_or_else(|| IdentitySource::Claim(claims.slot(path))))
}

fn special(name: &str) -> Option<IdentitySource> {
    match name {
        "sub" => Some(IdentitySource::Subject),
        "iss" => Some(IdentitySource::Issuer),
        "client" => Some(IdentitySource::Client),
        "scope" => Some(IdentitySource::Scope),
        "audience" => Some(IdentitySource::Audience),
        _ => None,
    }
}
