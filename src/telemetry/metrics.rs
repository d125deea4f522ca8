//! stub
use crate::config::{Config, RouteId, UpstreamId};
use crate::identity::{IssuerLabel, Via};
use crate::rejection::Rejection;
use std::sync::Arc;
use std::time::Duration;

/// Which listener a connection came in on: the `listener` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Public,
    Admin,
}

/// How an upstream failed: the `kind` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    Connect,
    ConnectTimeout,
    ResponseTimeout,
    Reset,
    Protocol,
}

/// Every metric family, and the registry; lives as long as the process.
#[derive(Debug)]
pub struct Metrics {}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        todo!()
    }
    /// Prometheus text format.
    pub fn render(&self) -> String {
        todo!()
    }
    /// Counts a connection until the guard is dropped.
    pub fn connection(&self, _listener: Listener) -> ConnectionGuard {
        todo!()
    }
    /// Resolves the handles for the names of a configuration, so that requests look up no label.
    pub fn configure(self: &Arc<Self>, _config: &Config) -> ConfiguredMetrics {
        todo!()
    }
    /// Counts a log record that did not fit.
    pub fn log_record_dropped(&self) {
        todo!()
    }
}

/// One connection.
#[derive(Debug)]
pub struct ConnectionGuard {}

/// The handles of one configuration.
#[derive(Debug)]
pub struct ConfiguredMetrics {}

impl ConfiguredMetrics {
    pub fn request(&self, _route: Option<RouteId>, _status: u16, _duration: Duration) {
        todo!()
    }
    pub fn rejection(&self, _route: Option<RouteId>, _issuer: IssuerLabel, _reason: Rejection) {
        todo!()
    }
    pub fn admission(&self, _route: RouteId, _issuer: IssuerLabel, _via: Via, _took: Duration) {
        todo!()
    }
    pub fn would_reject(&self, _route: RouteId, _issuer: IssuerLabel, _reason: Rejection) {
        todo!()
    }
    pub fn upstream(&self, _upstream: UpstreamId, _took: Duration) {
        todo!()
    }
    pub fn upstream_error(&self, _upstream: UpstreamId, _kind: UpstreamErrorKind) {
        todo!()
    }
    /// Names as logs say them.
    pub fn route_name(&self, _route: Option<RouteId>) -> Arc<str> {
        todo!()
    }
    pub fn issuer_name(&self, _issuer: IssuerLabel) -> Arc<str> {
        todo!()
    }
    pub fn upstream_name(&self, _upstream: UpstreamId) -> Arc<str> {
        todo!()
    }
}
