//! The admin listener: metrics, health, `explain`, and the revocation API.
//!
//! Owns a small HTTP/1.1 server on the control plane and the rules of who may ask it what. What runs behind
//! it is known only as [`Runtime`]; must not know the proxy, nor how the gate or the keys do their work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use serde_json::Value;
use tokio::time::Instant;

use crate::config::Config;
use crate::identity::{Identity, IssuerId, IssuerLabel, Thumbprint};
use crate::rejection::Rejection;
use crate::revocation::Ledger;
use crate::telemetry::{ConfiguredMetrics, PulledValues};
use crate::time::Clock;

mod answer;
mod attempts;
mod body;
mod endpoints;
mod guard;
mod health;
mod issuers;
mod places;
mod revocations;
mod server;
mod timestamp;
mod token_revocation;

pub use server::serve;

/// What the admin listener asks of the running gateway. Implemented by the composition root; every method is
/// asked anew for each request, so that a reload shows at once, and none may block.
pub trait Runtime: Send + Sync + 'static {
    /// The configuration in force. `admin.token` and `admin.hosts` are read from it too.
    fn config(&self) -> Arc<Config>;
    /// The metric handles of that configuration.
    fn metrics(&self) -> Arc<ConfiguredMetrics>;
    /// Where the process is in its life. `Running` as soon as requests are accepted and revocations are loaded.
    fn phase(&self) -> Phase;
    /// The keys of each issuer, in the order of the configuration.
    fn issuers(&self) -> Vec<IssuerHealth>;
    /// The values that a scrape reads: issuers, cache, upstream servers. The revocations' are filled in here.
    fn pulled(&self) -> PulledValues;
    /// The keys of the issuer's current set that have `name` as their kid or as their RFC 7638 thumbprint, without repetition.
    fn keys_named(&self, issuer: IssuerId, name: &str) -> Vec<Thumbprint>;
    /// Who the operator is whose bearer token is in that request's head; asked only where `admin.operators` is set.
    fn operator<'a>(
        &'a self,
        request: &'a Parts,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'a>>;
    /// What `explain --json` prints. `request` has the method, the target in origin form, and a Host header.
    fn explain<'a>(
        &'a self,
        token: &'a str,
        request: Option<Parts>,
    ) -> Pin<Box<dyn Future<Output = Value> + Send + 'a>>;
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    Draining,
}

/// Why a bearer token makes no operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Rejection,
    /// The issuer of the token.
    pub issuer: IssuerLabel,
    /// For 503: seconds after which another try makes sense.
    pub retry_after: Option<u32>,
}

/// The keys of one issuer, as `/readyz` tells them.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerHealth {
    /// As configured.
    pub name: Arc<str>,
    pub keys: usize,
    /// Since the last success; `None` before the first.
    pub age: Option<Duration>,
    /// Whether there are keys that are not past `max_stale`.
    pub usable: bool,
    /// Whether a fetch has ended, well or badly; always true where nothing is fetched.
    pub tried: bool,
}

/// What the handlers of one listener share.
pub struct AdminState {
    runtime: Arc<dyn Runtime>,
    revocations: Arc<Ledger>,
    clock: Clock,
    /// Whether the listener is bound to a loopback address: then whoever reaches it may do everything.
    is_loopback: bool,
    attempts: attempts::Attempts,
    started: Instant,
}

impl AdminState {
    /// `is_loopback`: of the address that the listener is really bound to.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        revocations: Arc<Ledger>,
        clock: Clock,
        is_loopback: bool,
    ) -> Self {
        Self {
            runtime,
            revocations,
            clock,
            is_loopback,
            attempts: attempts::Attempts::default(),
            started: Instant::now(),
        }
    }
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AdminState")
            .field("is_loopback", &self.is_loopback)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
