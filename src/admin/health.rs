//! Whether the gateway can do its work, and what it is made of.
//!
//! Owns `/readyz`, `/api/status` and the scrape.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, insert, json, text};
use super::{AdminState, IssuerHealth, Phase};
use crate::config::{Auth, Config};
use crate::identity::IssuerId;
use crate::revocation::{RevocationKind, StoreStatus};
use crate::tls::{KeyPair, ServerTls};

/// `GET /metrics`
pub(super) fn metrics(state: &AdminState) -> Answer {
    let mut pulled = state.runtime.pulled();
    let counted = |held: usize| u64::try_from(held).unwrap_or(u64::MAX);
    let set = state.revocations.set();
    pulled.revocations = set
        .counts()
        .map(|(kind, held)| (kind.name(), counted(held)))
        .to_vec();
    let checks = set.check_counts();
    pulled.revocation_checks = vec![
        ("clear", checks.clear),
        ("revoked", checks.revoked),
        ("stale", checks.stale),
    ];
    let store = state.revocations.status();
    pulled.revocation_store_up = store.is_up;
    pulled.revocation_lag = store.lag;
    text(
        "text/plain; version=0.0.4; charset=utf-8",
        state.runtime.metrics().metrics().render(&pulled),
    )
}

/// `GET /readyz`
pub(super) fn readiness(state: &AdminState) -> Answer {
    let (status, document) = health(state);
    json(status, &document)
}

/// `GET /api/status`
pub(super) fn status(state: &AdminState) -> Answer {
    let (_, mut document) = health(state);
    let pulled = state.runtime.pulled();
    let kinds: Map<String, Value> = state
        .revocations
        .set()
        .counts()
        .into_iter()
        .map(|(kind, held): (RevocationKind, usize)| (kind.name().to_owned(), held.into()))
        .collect();
    let config = state.runtime.config();
    for (name, value) in [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("uptime_seconds", json!(state.started.elapsed().as_secs())),
        ("routes", json!(config.routes.len())),
        ("upstreams", json!(config.upstreams.len())),
        ("verified_cache_entries", json!(pulled.cache_entries)),
        ("revocations", Value::Object(kinds)),
    ] {
        insert(&mut document, name, value);
    }
    json(StatusCode::OK, &document)
}

fn health(state: &AdminState) -> (StatusCode, Value) {
    let issuers = state.runtime.issuers();
    let config = state.runtime.config();
    let certificates = certificates(&config);
    let has_expired = certificates
        .iter()
        .any(|certificate| certificate.expires_at() <= state.clock.now());
    let store = state.revocations.status();
    let (is_ready, word) = match judge(state.runtime.phase(), &issuers, &store, &config) {
        (true, _) if has_expired => (true, "degraded"),
        judged => judged,
    };
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let issuers: Vec<Value> = issuers.iter().map(issuer).collect();
    let mut document = json!({
        "status": word,
        "issuers": issuers,
        "revocation_store": revocation_store(state, &store),
    });
    if !certificates.is_empty() {
        let certificates = certificates.iter().map(certificate);
        let certificates = Value::Array(certificates.collect());
        insert(&mut document, "tls_certificates", certificates);
    }
    (status, document)
}

/// Those that clients are shown.
fn certificates(config: &Config) -> &[KeyPair] {
    let tls = config.server.tls.as_ref();
    tls.map(ServerTls::certificates).unwrap_or_default()
}

fn certificate(certificate: &KeyPair) -> Value {
    json!({
        "names": certificate.names(),
        "expires_at": certificate.expires_at().as_seconds(),
    })
}

fn revocation_store(state: &AdminState, store: &StoreStatus) -> Value {
    json!({
        "kind": store.kind.name(),
        "loaded": store.is_loaded,
        "stale": store.is_stale,
        "up": store.is_up,
        "fault": store.fault,
        "lag_seconds": store.lag.as_secs(),
        "entries": state.revocations.set().len(),
    })
}

fn issuer(issuer: &IssuerHealth) -> Value {
    json!({
        "name": &*issuer.name,
        "keys": issuer.keys,
        "age_seconds": issuer.age.map(|age| age.as_secs()),
        "usable": issuer.usable,
        "tried": issuer.tried,
    })
}

/// Whether traffic is welcome, and the word for it.
fn judge(
    phase: Phase,
    issuers: &[IssuerHealth],
    store: &StoreStatus,
    config: &Config,
) -> (bool, &'static str) {
    let is_tried = issuers.iter().all(|issuer| issuer.tried);
    let is_whole = issuers.iter().all(|issuer| issuer.usable) && store.is_up && !store.is_stale;
    let can_admit = can_admit(issuers, store, config);
    match phase {
        Phase::Draining => (false, "draining"),
        Phase::Starting => (false, "starting"),
        Phase::Running if !is_tried => (false, "starting"),
        Phase::Running if is_whole && can_admit => (true, "ok"),
        Phase::Running => (can_admit, "degraded"),
    }
}

/// Whether any route could admit anyone.
fn can_admit(issuers: &[IssuerHealth], store: &StoreStatus, config: &Config) -> bool {
    let is_usable = |issuer: &IssuerId| {
        let issuer = issuers.get(issuer.index());
        !store.is_stale && issuer.is_some_and(|it| it.usable)
    };
    config.routes.iter().any(|route| {
        route.auth != Auth::Required || route.report_only || route.issuers.iter().any(is_usable)
    })
}
