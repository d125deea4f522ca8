//! Where at the upstream a request goes: its target and its Host.
//!
//! Owns `strip_prefix` and origin-form. The bytes of path and query stay the client's own: what was judged is what is sent.

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

/// Writes the first line of a request, its target in origin-form, `stripped` segments dropped.
pub(super) fn write_request_line(head: &Parts, stripped: usize, out: &mut Vec<u8>) {
    // Path and query of an absolute form are its origin-form.
    let rewritten = (stripped > 0).then(|| strip_segments(&head.uri, stripped));
    let uri = rewritten.as_ref().unwrap_or(&head.uri);
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // An absolute-form target may have no path at all (RFC 9112 §3.2.1).
    let slash = if target.starts_with('?') { "/" } else { "" };
    for part in [head.method.as_str(), " ", slash, target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The target in origin-form (RFC 9112 §3.2.1), `stripped` segments dropped from the front of the path.
fn strip_segments(uri: &Uri, stripped: usize) -> Uri {
    let path = uri.path();
    let rest = path
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'/')
        .nth(stripped)
        .and_then(|(at, _)| path.get(at..))
        .unwrap_or("/");
    let target = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{rest}?{query}")),
        None => PathAndQuery::try_from(rest),
    };
    // A tail of a valid target, cut at a slash, is a valid target.
    target.map(Uri::from).unwrap_or_default()
}

/// The Host that the client meant: that of an absolute-form target before the header (RFC 9112 §3.2.2).
pub(super) fn client_host(head: &Parts) -> Option<HeaderValue> {
    let Some(authority) = head.uri.authority() else {
        return head.headers.get(HOST).cloned();
    };
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    HeaderValue::from_str(host).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_target_keeps_the_clients_bytes() {
        for (given, stripped, sent) in [
            ("/a/b?x=%2F", 0, "/a/b?x=%2F"),
            ("http://api.example/a/b?x=1", 0, "/a/b?x=1"),
            ("http://api.example", 0, "/"),
            ("http://api.example?x=1", 0, "/?x=1"),
            ("*", 0, "*"),
            ("/orders", 1, "/"),
            ("/orders?x=1", 1, "/?x=1"),
            ("/orders/", 1, "/"),
            ("/orders/5", 1, "/5"),
            ("/%6Frders/5%20a", 1, "/5%20a"),
            ("/api/v1/orders/5?x=/a/b", 2, "/orders/5?x=/a/b"),
            ("http://api.example/api/v1", 2, "/"),
        ] {
            let (head, ()) = Request::get(given).body(()).unwrap().into_parts();
            let mut line = Vec::new();
            write_request_line(&head, stripped, &mut line);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, format!("GET {sent} HTTP/1.1\r\n"), "{given}");
        }
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let request = |uri: &str| {
            let request = Request::get(uri).header("host", "header.example");
            request.body(()).unwrap().into_parts().0
        };
        assert_eq!(client_host(&request("/")).unwrap(), "header.example");
        assert_eq!(
            client_host(&request("http://target.example:81/")).unwrap(),
            "target.example:81"
        );
    }
}
