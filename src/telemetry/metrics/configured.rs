//! The handles of one configuration: resolved at first use, then found by number.
//!
//! Owns the tables. A series costs memory only once it has been counted, so that ten thousand routes are
//! cheap; after the first time a count is one addition in the thread's own cache line.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Histogram, Metrics, UpstreamErrorKind};
use crate::config::{Config, RouteId, UpstreamId};
use crate::counter::Counter;
use crate::identity::{IssuerLabel, Via};
use crate::rejection::Rejection;

const STATUS_FIRST: u16 = 100;
const STATUS_LAST: u16 = 999;
const PAGE_STATUSES: usize = 20;
const PAGES: usize = (STATUS_LAST - STATUS_FIRST + 1) as usize / PAGE_STATUSES;

type Slot<T> = OnceLock<T>;
type Slots<T> = Box<[Slot<T>]>;
type CounterSlot = Slot<Arc<Counter>>;

/// The handles of one configuration.
#[derive(Debug)]
pub struct ConfiguredMetrics {
    metrics: Arc<Metrics>,
    no_route: Named<RouteHandles>,
    routes: Box<[Named<RouteHandles>]>,
    upstreams: Box<[Named<UpstreamHandles>]>,
    /// The configured issuers, then `none` and `unknown`.
    issuers: Box<[Arc<str>]>,
}

#[derive(Debug)]
struct Named<T> {
    name: Arc<str>,
    handles: Slot<Box<T>>,
}

#[derive(Debug)]
struct RouteHandles {
    duration: Arc<Histogram>,
    statuses: [Slot<Box<[CounterSlot]>>; PAGES],
    issuers: Slots<Box<IssuerHandles>>,
}

/// Of one route and issuer.
#[derive(Debug)]
struct IssuerHandles {
    rejections: [CounterSlot; Rejection::ALL.len()],
    would_reject: [CounterSlot; Rejection::ALL.len()],
    admissions: [CounterSlot; Via::ALL.len()],
}

#[derive(Debug)]
struct UpstreamHandles {
    duration: Arc<Histogram>,
    errors: [CounterSlot; UpstreamErrorKind::COUNT],
}

impl ConfiguredMetrics {
    pub(super) fn new(metrics: Arc<Metrics>, config: &Config) -> Self {
        let issuers = config.issuers.iter().map(|issuer| issuer.name.as_str());
        Self {
            metrics,
            no_route: Named::new("none"),
            routes: config
                .routes
                .iter()
                .map(|route| Named::new(&route.name))
                .collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|upstream| Named::new(&upstream.name))
                .collect(),
            issuers: issuers.chain(["none", "unknown"]).map(Arc::from).collect(),
        }
    }

    /// The process-wide families behind these handles.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Counts an answered request.
    pub fn request(&self, route: Option<RouteId>, status: u16, duration: Duration) {
        let (name, handles) = self.route(route);
        handles.duration.observe(duration);
        let status = status.clamp(STATUS_FIRST, STATUS_LAST);
        let place = usize::from(status - STATUS_FIRST);
        let Some(page) = handles.statuses.get(place / PAGE_STATUSES) else {
            return;
        };
        let page = page.get_or_init(|| empty_slots(PAGE_STATUSES));
        increment(page, place % PAGE_STATUSES, || {
            let status = status.to_string();
            self.metrics
                .outcomes
                .requests
                .series(&[name, status.as_str()])
        });
    }

    /// Counts a request that was not forwarded, or that the upstream did not answer.
    pub fn rejection(&self, route: Option<RouteId>, issuer: IssuerLabel, reason: Rejection) {
        let Some((route, issuer, handles)) = self.issuer(route, issuer) else {
            return;
        };
        increment(&handles.rejections, reason as usize, || {
            let labels = [route, issuer, reason.code()];
            self.metrics.outcomes.rejections.series(&labels)
        });
    }

    /// Counts a request that the gate let through, and the time that took.
    pub fn admission(&self, route: RouteId, issuer: IssuerLabel, via: Via, took: Duration) {
        if let Some(duration) = self.metrics.admission_duration.get(via as usize) {
            duration.observe(took);
        }
        let Some((route, issuer, handles)) = self.issuer(Some(route), issuer) else {
            return;
        };
        increment(&handles.admissions, via as usize, || {
            let labels = [route, issuer, via.name()];
            self.metrics.outcomes.admissions.series(&labels)
        });
    }

    /// Counts what a `report_only` route forwarded although it would have been refused.
    pub fn would_reject(&self, route: RouteId, issuer: IssuerLabel, reason: Rejection) {
        let Some((route, issuer, handles)) = self.issuer(Some(route), issuer) else {
            return;
        };
        increment(&handles.would_reject, reason as usize, || {
            let labels = [route, issuer, reason.code()];
            self.metrics.outcomes.would_reject.series(&labels)
        });
    }

    /// Counts an exchange with an upstream that gave the head of an answer.
    pub fn upstream(&self, upstream: UpstreamId, took: Duration) {
        if let Some((_, handles)) = self.upstream_handles(upstream) {
            handles.duration.observe(took);
        }
    }

    /// Counts an exchange with an upstream that failed.
    pub fn upstream_error(&self, upstream: UpstreamId, kind: UpstreamErrorKind) {
        let Some((name, handles)) = self.upstream_handles(upstream) else {
            return;
        };
        increment(&handles.errors, kind as usize, || {
            let labels = [name, kind.name()];
            self.metrics.upstream_errors.series(&labels)
        });
    }

    /// Names as logs say them; `none` where no route matched.
    pub fn route_name(&self, route: Option<RouteId>) -> &str {
        &self.named_route(route).name
    }

    /// The issuer's name, `none` or `unknown`.
    pub fn issuer_name(&self, issuer: IssuerLabel) -> &str {
        let name = self.issuers.get(self.issuer_place(issuer));
        name.map_or("unknown", |name| name)
    }

    /// The upstream's name.
    pub fn upstream_name(&self, upstream: UpstreamId) -> &str {
        let upstream = self.upstreams.get(upstream.index());
        upstream.map_or("none", |upstream| &upstream.name)
    }

    fn named_route(&self, route: Option<RouteId>) -> &Named<RouteHandles> {
        route
            .and_then(|route| self.routes.get(route.index()))
            .unwrap_or(&self.no_route)
    }

    fn route(&self, route: Option<RouteId>) -> (&str, &RouteHandles) {
        self.named_route(route).resolve(|name| RouteHandles {
            duration: self.metrics.request_duration.series(&[name]),
            statuses: [const { OnceLock::new() }; PAGES],
            issuers: empty_slots(self.issuers.len()),
        })
    }

    fn issuer(
        &self,
        route: Option<RouteId>,
        issuer: IssuerLabel,
    ) -> Option<(&str, &str, &IssuerHandles)> {
        let (route, handles) = self.route(route);
        let place = self.issuer_place(issuer);
        let handles = handles.issuers.get(place)?.get_or_init(|| {
            Box::new(IssuerHandles {
                rejections: [const { OnceLock::new() }; Rejection::ALL.len()],
                would_reject: [const { OnceLock::new() }; Rejection::ALL.len()],
                admissions: [const { OnceLock::new() }; Via::ALL.len()],
            })
        });
        Some((route, self.issuers.get(place)?, handles))
    }

    /// Of [`Self::issuers`]; an issuer of another configuration is `unknown`.
    fn issuer_place(&self, issuer: IssuerLabel) -> usize {
        let configured = self.issuers.len().saturating_sub(2);
        match issuer {
            IssuerLabel::Known(issuer) if issuer.index() < configured => issuer.index(),
            IssuerLabel::None => configured,
            IssuerLabel::Known(_) | IssuerLabel::Unknown => configured + 1,
        }
    }

    fn upstream_handles(&self, upstream: UpstreamId) -> Option<(&str, &UpstreamHandles)> {
        let upstream = self.upstreams.get(upstream.index())?;
        Some(upstream.resolve(|name| UpstreamHandles {
            duration: self.metrics.upstream_duration.series(&[name]),
            errors: [const { OnceLock::new() }; UpstreamErrorKind::COUNT],
        }))
    }
}

impl<T> Named<T> {
    fn new(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            handles: OnceLock::new(),
        }
    }

    fn resolve(&self, make: impl FnOnce(&str) -> T) -> (&str, &T) {
        let handles = self.handles.get_or_init(|| Box::new(make(&self.name)));
        (&self.name, handles)
    }
}

fn empty_slots<T>(count: usize) -> Slots<T> {
    std::iter::repeat_with(OnceLock::new).take(count).collect()
}

fn increment(slots: &[CounterSlot], place: usize, resolve: impl FnOnce() -> Arc<Counter>) {
    if let Some(slot) = slots.get(place) {
        slot.get_or_init(resolve).increment();
    }
}
