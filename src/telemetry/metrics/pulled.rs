//! Values that are read from elsewhere when somebody scrapes.
//!
//! Owns their families. Whoever scrapes fills a [`PulledValues`]; label values in it must come from closed sets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::Families;
use crate::time::UnixTime;

/// What the running parts say of themselves at a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PulledValues {
    pub issuers: Vec<IssuerValues>,
    pub upstream_servers: Vec<ServerValues>,
    /// When the first of the listener's certificates expires; `None` without TLS.
    pub tls_certificate_expiry: Option<UnixTime>,
    /// Verified tokens kept at the moment.
    pub cache_entries: u64,
    /// Since start.
    pub cache_hits: u64,
    /// Since start.
    pub cache_misses: u64,
    /// By kind.
    pub revocations: Vec<(&'static str, u64)>,
    /// Since start, by result.
    pub revocation_checks: Vec<(&'static str, u64)>,
    /// How far the local set may be behind the store.
    pub revocation_lag: Duration,
    pub revocation_store_up: bool,
}

/// The keys of one issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerValues {
    /// As configured.
    pub name: Arc<str>,
    pub keys: u64,
    /// Keys of the set in force that are not used, by reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// Since the last success, or since start until the first.
    pub age: Duration,
    /// Since start, by result.
    pub refreshes: Vec<(&'static str, u64)>,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerValues {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// As configured.
    pub server: Arc<str>,
    pub is_healthy: bool,
}

#[derive(Debug)]
pub(super) struct PulledFamilies {
    jwks_refreshes: PulledCounters,
    jwks_keys: IntGaugeVec,
    jwks_keys_skipped: IntGaugeVec,
    jwks_age: GaugeVec,
    upstream_server_healthy: IntGaugeVec,
    tls_certificate_expiry: IntGaugeVec,
    cache_lookups: PulledCounters,
    cache_entries: IntGauge,
    revocations: IntGaugeVec,
    revocation_checks: PulledCounters,
    revocation_lag: Gauge,
    revocation_store_up: IntGauge,
    /// Held from setting to encoding, so that no scrape sees another's half.
    scrape: Mutex<()>,
}

impl PulledFamilies {
    pub(super) fn new(families: &Families) -> Self {
        let counters = |name, help, labels: &[&str]| PulledCounters {
            family: families.counters(name, help, labels),
            last: Mutex::default(),
        };
        Self {
            jwks_refreshes: counters(
                "jwks_refreshes_total",
                "Attempts to fetch an issuer's keys, by result.",
                &["issuer", "result"],
            ),
            jwks_keys: families.gauges(
                "jwks_keys",
                "Usable keys of an issuer.",
                &["issuer"],
            ),
            jwks_keys_skipped: families.gauges(
                "jwks_keys_skipped",
                "Keys of an issuer's set that are not used, by reason.",
                &["issuer", "reason"],
            ),
            jwks_age: families.float_gauges(
                "jwks_age_seconds",
                "Time since an issuer's keys were last fetched; since start until the first success.",
                &["issuer"],
            ),
            upstream_server_healthy: families.gauges(
                "upstream_server_healthy",
                "Whether a server of an upstream is used.",
                &["upstream", "server"],
            ),
            tls_certificate_expiry: families.gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When the first of the certificates for clients expires.",
                &[],
            ),
            cache_lookups: counters(
                "verified_cache_lookups_total",
                "Lookups in the cache of verified tokens, by result.",
                &["result"],
            ),
            cache_entries: families.gauge("verified_cache_entries", "Verified tokens kept."),
            revocations: families.gauges("revocations", "Revocations held, by kind.", &["kind"]),
            revocation_checks: counters(
                "revocation_checks_total",
                "Verified tokens looked up among the revocations, by result.",
                &["result"],
            ),
            revocation_lag: families.float_gauge(
                "revocation_lag_seconds",
                "How far the local revocations may be behind the store.",
            ),
            revocation_store_up: families.gauge(
                "revocation_store_up",
                "Whether the store of revocations can be reached.",
            ),
            scrape: Mutex::default(),
        }
    }

    /// Sets every family; the guard is to be held until they are encoded.
    pub(super) fn set(&self, values: &PulledValues) -> MutexGuard<'_, ()> {
        let guard = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_issuers(&values.issuers);
        self.upstream_server_healthy.reset();
        for server in &values.upstream_servers {
            self.upstream_server_healthy
                .with_label_values(&[&*server.upstream, &*server.server])
                .set(i64::from(server.is_healthy));
        }
        self.tls_certificate_expiry.reset();
        if let Some(expiry) = values.tls_certificate_expiry {
            self.tls_certificate_expiry
                .with_label_values::<&str>(&[])
                .set(expiry.as_seconds());
        }
        self.cache_entries.set(clamped(values.cache_entries));
        self.cache_lookups.set(&["hit"], values.cache_hits);
        self.cache_lookups.set(&["miss"], values.cache_misses);
        self.revocations.reset();
        for (kind, held) in &values.revocations {
            self.revocations
                .with_label_values(&[kind])
                .set(clamped(*held));
        }
        for (result, checks) in &values.revocation_checks {
            self.revocation_checks.set(&[result], *checks);
        }
        self.revocation_lag.set(values.revocation_lag.as_secs_f64());
        self.revocation_store_up
            .set(i64::from(values.revocation_store_up));
        guard
    }

    fn set_issuers(&self, issuers: &[IssuerValues]) {
        self.jwks_keys.reset();
        self.jwks_keys_skipped.reset();
        self.jwks_age.reset();
        for issuer in issuers {
            let name = &*issuer.name;
            self.jwks_keys
                .with_label_values(&[name])
                .set(clamped(issuer.keys));
            self.jwks_age
                .with_label_values(&[name])
                .set(issuer.age.as_secs_f64());
            for (reason, keys) in &issuer.skipped {
                self.jwks_keys_skipped
                    .with_label_values(&[name, reason])
                    .set(clamped(*keys));
            }
            for (result, refreshes) in &issuer.refreshes {
                self.jwks_refreshes.set(&[name, result], *refreshes);
            }
        }
    }
}

/// Counters whose source may start again at zero when a reload rebuilds it; these go on.
#[derive(Debug)]
struct PulledCounters {
    family: IntCounterVec,
    last: Mutex<HashMap<Vec<String>, u64>>,
}

impl PulledCounters {
    fn set(&self, labels: &[&str], value: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = labels.iter().map(|label| (*label).to_owned()).collect();
        let before = last.insert(key, value).unwrap_or(0);
        let grown = value.checked_sub(before).unwrap_or(value);
        self.family.with_label_values(labels).inc_by(grown);
    }
}

impl Families {
    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(super::options(name, help), labels))
    }
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
