//! From an admission to a request at the upstream.
//!
//! Owns what an admitted request becomes on its way: what is stripped, what is stamped on it, and in which order. An
//! [`Admission`] is used up here, so that nothing reaches an upstream that the gate has not let in.

use http::HeaderName;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderValue, Response};
use tokio::time::Instant;

use crate::config::IdentitySource;
use crate::gate::{Admission, Rejected};
use crate::identity::Identity;
use crate::rejection::Rejection;
use crate::request_id::X_REQUEST_ID;

use super::Proxy;
use super::body::{RequestBody, UpstreamBody};
use super::exchange::Exchange;
use super::forwarding::{Forwarding, Origin, Peer};
use super::headers::{ReservedNames, strip_request};
use super::identity_headers;
use super::snapshot::{ForwardingRule, Snapshot};
use super::target::{client_host, origin_form};
use super::worker::View;

/// The message to forward.
pub(super) struct Message {
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) origin: Origin,
}

/// Forwards an admitted request.
pub(super) async fn forward(
    admission: Admission,
    message: Message,
    proxy: &Proxy,
    view: &View,
    exchange: &mut Exchange,
) -> Result<Response<UpstreamBody>, Box<Rejected>> {
    let Message {
        mut head,
        body,
        origin,
    } = message;
    let snapshot = &*view.snapshot;
    let Some((rule, upstream)) = view.way(admission.route()) else {
        // Out of reach: routes and upstreams are of one configuration.
        return Err(exchange.rejected(Rejection::RouteUnknown));
    };
    let stamp = Stamp {
        identity: admission.identity().map(|identity| &**identity),
        request_id: exchange.id().header(),
        ..Stamp::of(snapshot, rule, &proxy.peer)
    };
    stamp.apply(&mut head, origin);
    drop(admission);
    exchange.asked(rule.upstream);
    let asked = Instant::now();
    let count = |kind| snapshot.metrics.upstream_error(rule.upstream, kind);
    match upstream.send(head, body, &proxy.timer, count).await {
        Ok(response) => {
            exchange.answered(rule.upstream, asked.elapsed());
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
    request_id: HeaderValue,
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
            request_id: HeaderValue::from_static(""),
        }
    }

    /// Strips first and sets afterwards: in the other order a `Connection` line could take away what we set.
    fn apply(self, head: &mut Parts, origin: Origin) {
        let host = client_host(head);
        let headers = &mut head.headers;
        strip_request(headers, self.reserved, self.rule.restricts_methods);
        if !self.rule.keeps_authorization {
            headers.remove(AUTHORIZATION);
        }
        if let Some(identity) = self.identity {
            identity_headers::write(headers, self.identity_headers, identity);
        }
        headers.insert(X_REQUEST_ID, self.request_id);
        if let Some(host) = &host {
            headers.insert(HOST, host.clone());
        }
        self.forwarding.write(headers, origin, self.peer, host);
        let uri = std::mem::take(&mut head.uri);
        head.uri = origin_form(uri, self.rule.stripped_segments);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{Config, RouteId, UpstreamId};
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
                peer: Peer::new("192.0.2.7:9".parse().unwrap()),
            }
        }

        fn applied(
            &self,
            request: http::request::Builder,
            identity: Option<&Identity>,
            keeps_authorization: bool,
        ) -> Parts {
            let (mut head, ()) = request.body(()).unwrap().into_parts();
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
                request_id: HeaderValue::from_static("id-1"),
            };
            stamp.apply(&mut head, origin);
            head
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

    fn lines(head: &Parts) -> Vec<String> {
        let mut lines: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_upstream_sees_what_we_say_and_nothing_spoofed() {
        let identity = testing::identity();
        let head = Settings::new().applied(spoofed(), Some(&identity), true);
        assert_eq!(head.uri, "/5?q=1");
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
            assert!(!head.headers.contains_key(name), "{name}");
        }
    }
}
