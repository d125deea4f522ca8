//! What the admin listener is told of the running gateway.
//!
//! Owns the answers to [`Runtime`]'s questions and starts the listener. Decides nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::state::State;
use crate::admin::{self, AdminState, IssuerHealth, Phase, Refusal, Runtime};
use crate::config::Config;
use crate::gate::{Inquiry, RevocationSource};
use crate::identity::{Identity, IssuerId, Thumbprint};
use crate::keys::{KeysStatus, SkipReason};
use crate::proxy::Listeners;
use crate::telemetry::{ConfiguredMetrics, IssuerValues, PulledValues, ServerValues};
use crate::time::UnixTime;
use crate::tls::KeyPair;

/// Serves the admin listener on the control plane.
pub(super) fn serve_admin(
    listeners: Listeners,
    state: Arc<State>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = listeners
        .into_async()?
        .pop()
        .ok_or_else(|| io::Error::other("no admin listener is bound"))?;
    let address = listener.local_addr()?;
    let (revocations, clock) = (Arc::clone(&state.ledger), state.clock.clone());
    let shared = AdminState::new(state, revocations, clock, address.ip().is_loopback());
    let task = tokio::spawn(admin::serve(
        listener,
        Arc::new(shared),
        std::future::pending(),
    ));
    Ok((address, task))
}

impl Runtime for State {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current.load().config)
    }

    fn metrics(&self) -> Arc<ConfiguredMetrics> {
        Arc::clone(&self.current.load().metrics)
    }

    fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            return Phase::Draining;
        }
        if !self.ledger.status().is_loaded {
            return Phase::Starting;
        }
        Phase::Running
    }

    fn issuers(&self) -> Vec<IssuerHealth> {
        let now = self.clock.now();
        let current = self.current.load();
        let health = current.issuers.iter().map(|issuer| {
            let status = issuer.keys.status(now);
            IssuerHealth {
                name: Arc::clone(&issuer.name),
                keys: status.keys,
                age: status.age,
                usable: status.usable,
                tried: status.tried_once,
            }
        });
        health.collect()
    }

    fn pulled(&self) -> PulledValues {
        let now = self.clock.now();
        let current = self.current.load();
        let (cache_hits, cache_misses) = current.gate.cache_lookups();
        let values = |issuer: &super::state::RunningIssuer| {
            issuer_values(&issuer.name, &issuer.keys.status(now))
        };
        PulledValues {
            issuers: current.issuers.iter().map(values).collect(),
            upstream_servers: servers(&current.config),
            tls_certificate_expiry: first_expiry(&current.config),
            cache_entries: current.gate.cached_tokens() as u64,
            cache_hits,
            cache_misses,
            ..PulledValues::default()
        }
    }

    fn keys_named(&self, issuer: IssuerId, name: &str) -> Vec<Thumbprint> {
        let current = self.current.load();
        let Some(issuer) = current.issuers.get(issuer.index()) else {
            return Vec::new();
        };
        let set = issuer.keys.snapshot();
        let mut found: Vec<Thumbprint> = Vec::new();
        for key in set.all() {
            let is_meant = key.kid() == Some(name) || key.thumbprint().to_string() == name;
            if is_meant && !found.contains(&key.thumbprint()) {
                found.push(key.thumbprint());
            }
        }
        found
    }

    fn operator<'a>(
        &'a self,
        request: &'a Parts,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'a>> {
        let gate = Arc::clone(&self.current.load().gate);
        let now = self.clock.now();
        Box::pin(async move {
            let operator = gate.operator(request, now).await;
            operator.map_err(|rejected| Refusal {
                reason: rejected.reason,
                issuer: rejected.issuer,
                retry_after: rejected.retry_after,
            })
        })
    }

    fn explain<'a>(
        &'a self,
        token: &'a str,
        request: Option<Parts>,
    ) -> Pin<Box<dyn Future<Output = Value> + Send + 'a>> {
        let gate = Arc::clone(&self.current.load().gate);
        let now = self.clock.now();
        Box::pin(async move {
            let inquiry = Inquiry {
                token,
                request: request.as_ref(),
                revocations: RevocationSource::Own,
            };
            let explanation = gate.explain(inquiry, now).await;
            serde_json::to_value(explanation).unwrap_or_default()
        })
    }
}

/// When the first of the listener's certificates expires.
fn first_expiry(config: &Config) -> Option<UnixTime> {
    let certificates = config.server.tls.as_ref()?.certificates();
    certificates.iter().map(KeyPair::expires_at).min()
}

fn issuer_values(name: &Arc<str>, status: &KeysStatus) -> IssuerValues {
    let skipped = SkipReason::ALL
        .iter()
        .map(|reason| (reason.name(), status.skipped.of(*reason) as u64));
    IssuerValues {
        name: Arc::clone(name),
        keys: status.keys as u64,
        skipped: skipped.collect(),
        age: status.age.unwrap_or(status.since_start),
        refreshes: status
            .refreshes
            .iter()
            .map(|(result, count)| (result.name(), *count))
            .collect(),
    }
}

fn servers(config: &Config) -> Vec<ServerValues> {
    let servers = config.upstreams.iter().flat_map(|upstream| {
        upstream.servers.iter().map(|server| ServerValues {
            upstream: upstream.name.as_str().into(),
            server: server.authority.as_str().into(),
            // Nothing checks it yet: a server is used as long as it is configured.
            is_healthy: true,
        })
    });
    servers.collect()
}
