//! What a request needs of one configuration, prepared when the configuration is taken over.
//!
//! Owns nothing that changes while it is in force: a request keeps its snapshot from beginning to end, so that a reload
//! never shows it half of each.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use crate::config::{
    Auth, Config, ErrorDetail, IdentitySource, Limits, Route, RouteId, Upstream, UpstreamId,
};
use crate::gate::Gate;
use crate::telemetry::ConfiguredMetrics;
use crate::tls::{HTTP_1_1, HTTP_2, Tickets};

use super::forwarding::Forwarding;
use super::headers::ReservedNames;
use super::response::Answers;

/// One configuration, ready for requests.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) gate: Arc<Gate>,
    pub(super) metrics: Arc<ConfiguredMetrics>,
    pub(super) limits: Limits,
    /// `log.access`
    pub(super) logs_access: bool,
    pub(super) forwarding: Forwarding,
    pub(super) reserved: Arc<ReservedNames>,
    pub(super) identity_headers: Vec<(HeaderName, IdentitySource)>,
    pub(super) answers: Answers,
    pub(super) error_detail: ErrorDetail,
    /// By [`UpstreamId`].
    pub(super) upstreams: Vec<Upstream>,
    /// `None`: plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// On plain connections; `h2c`.
    pub(super) takes_http2_unasked: bool,
    routes: Vec<ForwardingRule>,
}

/// What forwarding does on one route.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForwardingRule {
    pub(super) upstream: UpstreamId,
    /// `Authorization` goes on.
    pub(super) keeps_authorization: bool,
    /// The route lists methods.
    pub(super) restricts_methods: bool,
    /// Segments dropped from the front of the path.
    pub(super) stripped_segments: usize,
    /// `preflight = "forward"`
    pub(super) is_cross_origin: bool,
}

impl Snapshot {
    /// Prepares `config` for requests.
    pub fn new(
        config: &Config,
        gate: Arc<Gate>,
        metrics: Arc<ConfiguredMetrics>,
        tickets: &Tickets,
    ) -> Self {
        let tls = config.server.tls.as_ref();
        Self {
            gate,
            metrics,
            limits: config.server.limits,
            logs_access: config.log.access,
            forwarding: Forwarding::new(&config.server),
            reserved: Arc::new(ReservedNames::new(config)),
            identity_headers: config.identity.headers.clone(),
            answers: Answers::new(config),
            error_detail: config.server.error_detail,
            upstreams: config.upstreams.clone(),
            tls: tls.map(|tls| tls.config(tickets, &[HTTP_2, HTTP_1_1])),
            takes_http2_unasked: config.server.h2c,
            routes: config.routes.iter().map(ForwardingRule::new).collect(),
        }
    }

    pub(super) fn route(&self, route: RouteId) -> Option<&ForwardingRule> {
        self.routes.get(route.index())
    }
}

impl ForwardingRule {
    fn new(route: &Route) -> Self {
        Self {
            upstream: route.upstream,
            keeps_authorization: route.auth == Auth::Open || route.forward_token,
            restricts_methods: route.methods.is_some(),
            stripped_segments: route.strip_prefix.len(),
            is_cross_origin: route.forward_preflight,
        }
    }

    /// The same for a preflight that was let in without a credential: it is OPTIONS and nothing else, and brings none.
    pub(super) fn of_preflight(self) -> Self {
        Self {
            keeps_authorization: false,
            restricts_methods: true,
            ..self
        }
    }
}

/// The Host that an upstream with `host = "upstream"` sees.
pub(super) fn authority_header(authority: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(authority).ok()
}
