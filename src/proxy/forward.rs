//! From an admission to a request at the upstream.
//!
//! Owns what an admitted request becomes on its way: what is stripped, what is stamped on it, and in which order. An
//! [`Admission`] is used up here, so that nothing reaches an upstream that the gate has not let in.

use http::HeaderName;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderValue, Response};

use crate::config::IdentitySource;
use crate::gate::{Admission, Rejected};
use crate::identity::Identity;
use crate::rejection::Rejection;
use crate::request_id::X_REQUEST_ID;

use super::Proxy;
use super::body::{RequestBody, UpstreamBody};
use super::exchange::Exchange;
use super::forwarding::{Forwarding, Origin, Peer};
use super::headers::{ReservedNames, named_by_connection};
use super::identity_headers;
use super::snapshot::{ForwardingRule, Snapshot};
use super::target::{client_host, write_request_line};
use super::upstream::{OutgoingHead, Resources};
use super::upstream_connection::push_field;
use super::worker::View;

/// The message to forward.
pub(super) struct Message<'request> {
    pub(super) head: &'request Parts,
    pub(super) origin: &'request Origin,
    pub(super) body: RequestBody,
}

/// Forwards an admitted request.
pub(super) async fn forward(
    admission: Admission,
    message: Message<'_>,
    proxy: &Proxy,
    view: &View,
    exchange: &mut Exchange,
) -> Result<Response<UpstreamBody>, Box<Rejected>> {
    let Message { head, body, origin } = message;
    let snapshot = &*view.snapshot;
    let Some((rule, upstream)) = view.way(admission.route()) else {
        // Out of reach: routes and upstreams are of one configuration.
        return Err(exchange.rejected(Rejection::RouteUnknown));
    };
    let rule = if admission.is_preflight() {
        &rule.of_preflight()
    } else {
        rule
    };
    let request_id = exchange.id().clone();
    let stamp = Stamp {
        identity: admission.identity().map(|identity| &**identity),
        request_id: request_id.as_str(),
        ..Stamp::of(snapshot, rule, &proxy.peer)
    };
    let write = |host: Option<&HeaderValue>, out: &mut Vec<u8>| {
        stamp.write(head, origin, host, out);
    };
    let outgoing = OutgoingHead {
        method: &head.method,
        has_length: head.headers.contains_key(CONTENT_LENGTH),
        write: &write,
    };
    let asked = exchange.asked(rule.upstream);
    let count = |kind| snapshot.metrics.upstream_error(rule.upstream, kind);
    let resources = Resources {
        recycled: view.recycled(),
        timer: &proxy.timer,
    };
    let send = upstream.send(&outgoing, body, resources, asked, count);
    match send.await {
        Ok(response) => {
            exchange.answered(rule.upstream);
            Ok(response)
        }
        Err(reason) => Err(exchange.rejected(reason)),
    }
}

/// Everything that decides what an upstream gets to see of a request.
struct Stamp<'request> {
    rule: ForwardingRule,
    reserved: &'request ReservedNames,
    forwarding: &'request Forwarding,
    identity_headers: &'request [(HeaderName, IdentitySource)],
    peer: &'request Peer,
    identity: Option<&'request Identity>,
    request_id: &'request str,
}

impl<'request> Stamp<'request> {
    fn of(snapshot: &'request Snapshot, rule: &ForwardingRule, peer: &'request Peer) -> Self {
        Self {
            rule: *rule,
            reserved: &snapshot.reserved,
            forwarding: &snapshot.forwarding,
            identity_headers: &snapshot.identity_headers,
            peer,
            identity: None,
            request_id: "",
        }
    }

    /// Writes the request line and the headers: what of the client's may pass, then our own. `host`: the Host that the
    /// upstream sees instead of the client's.
    fn write(&self, head: &Parts, origin: &Origin, host: Option<&HeaderValue>, out: &mut Vec<u8>) {
        let client_host = client_host(head);
        write_request_line(head, self.rule.stripped_segments, out);
        if let Some(host) = host.or(client_host.as_ref()) {
            push_field(out, HOST.as_str(), host.as_bytes());
        }
        let named = named_by_connection(&head.headers);
        for (name, value) in &head.headers {
            if self.passes(name) && !named.contains(name) {
                push_field(out, name.as_str(), value.as_bytes());
            }
        }
        if let Some(identity) = self.identity {
            identity_headers::write(out, self.identity_headers, identity);
        }
        push_field(out, X_REQUEST_ID.as_str(), self.request_id.as_bytes());
        self.forwarding.write_via(out, head.version);
        self.forwarding
            .write(out, origin, self.peer, client_host.as_ref());
    }

    /// Whether a header of the client goes on as it is.
    fn passes(&self, name: &HeaderName) -> bool {
        match *name {
            HOST | CONTENT_LENGTH => false,
            AUTHORIZATION => self.rule.keeps_authorization,
            _ => self.reserved.lets_pass(name, self.rule.restricts_methods),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{Config, RouteId, UpstreamId};
    use crate::proxy::forwarding::Channel;
    use crate::proxy::testing;

    struct Settings {
        reserved: ReservedNames,
        forwarding: Forwarding,
        headers: Vec<(HeaderName, IdentitySource)>,
        peer: Peer,
    }

    impl Settings {
        fn new() -> Self {
            let config: Config = testing::config();
            Self {
                reserved: ReservedNames::new(&config),
                forwarding: Forwarding::new(&config.server),
                headers: vec![
                    (
                        HeaderName::from_static("x-auth-subject"),
                        IdentitySource::Subject,
                    ),
                    (
                        HeaderName::from_static("x-auth-scopes"),
                        IdentitySource::Scope,
                    ),
                ],
                peer: Peer::new("192.0.2.7:9".parse().unwrap(), Channel::Plain),
            }
        }

        fn applied(
            &self,
            request: http::request::Builder,
            identity: Option<&Identity>,
            keeps_authorization: bool,
        ) -> String {
            let (head, ()) = request.body(()).unwrap().into_parts();
            let origin = self.forwarding.origin(&self.peer, &head.headers);
            let stamp = Stamp {
                rule: ForwardingRule {
                    upstream: UpstreamId(RouteId(0).0),
                    keeps_authorization,
                    restricts_methods: false,
                    stripped_segments: 1,
                    is_cross_origin: false,
                },
                reserved: &self.reserved,
                forwarding: &self.forwarding,
                identity_headers: &self.headers,
                peer: &self.peer,
                identity,
                request_id: "id-1",
            };
            let mut out = Vec::new();
            stamp.write(&head, &origin, None, &mut out);
            String::from_utf8(out).unwrap()
        }
    }

    fn spoofed() -> http::request::Builder {
        Request::get("http://api.example/orders/5?q=1")
            .header("host", "other.example")
            .header("authorization", "Bearer t")
            .header("x_auth_subject", "admin")
            .header("X-Auth-Scopes", "all")
            .header("x-forwarded-for", "6.6.6.6")
            .header("forwarded", "for=6.6.6.6")
            .header("x-request-id", "client's")
            .header("traceparent", "00-1")
    }

    fn lines(head: &str) -> Vec<&str> {
        let mut lines: Vec<_> = head.lines().skip(1).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn an_upstream_sees_what_we_say_and_nothing_spoofed() {
        let identity = testing::identity();
        let head = Settings::new().applied(spoofed(), Some(&identity), true);
        assert!(head.starts_with("GET /5?q=1 HTTP/1.1\r\n"), "{head}");
        assert_eq!(
            lines(&head),
            [
                "authorization: Bearer t",
                "host: api.example",
                "traceparent: 00-1",
                "x-auth-scopes: orders:read",
                "x-auth-subject: alice",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: api.example",
                "x-forwarded-proto: http",
                "x-request-id: id-1",
            ]
        );
    }

    #[test]
    fn without_an_identity_its_headers_are_removed_all_the_same() {
        let head = Settings::new().applied(spoofed(), None, false);
        for name in [
            "authorization",
            "x-auth-subject",
            "x_auth_subject",
            "x-auth-scopes",
        ] {
            assert!(!head.contains(&format!("\n{name}:")), "{name}");
        }
    }
}
