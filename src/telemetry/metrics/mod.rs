//! Every metric family of the contract, and the handles that requests count with.
//!
//! Owns the registry, which lives as long as the process, so that counters survive a reload. Label values
//! come from the configuration and from closed enums. Must not know keys, revocations or the gate: what is
//! only read at a scrape comes in as plain [`PulledValues`].

use std::sync::Arc;

use prometheus::core::{Collector, Describer};
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::config::Config;
use crate::counter::Counter;
use crate::identity::Via;
use crate::time::UnixTime;

mod configured;
mod family;
mod handshake;
mod histogram;
mod pulled;

use family::{Family, Striped};
use histogram::Histogram;

pub use configured::ConfiguredMetrics;
pub use handshake::HandshakeFailure;
pub use pulled::{IssuerValues, PulledValues, ServerValues};

/// Nanoseconds: 0.5 ms to 30 s.
const REQUEST_BUCKETS: &[u64] = &[
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];
/// Nanoseconds: 1 µs to 1 s.
const ADMISSION_BUCKETS: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];

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
    Tls,
}

impl UpstreamErrorKind {
    const COUNT: usize = 6;

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Tls => "tls",
        }
    }
}

/// Every metric family, and the registry; lives as long as the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    outcomes: Outcomes,
    request_duration: Family<Histogram>,
    admission_duration: [Arc<Histogram>; Via::ALL.len()],
    upstream_duration: Family<Histogram>,
    upstream_errors: Family<Counter>,
    handshake_failures: IntCounterVec,
    public_connections: IntGauge,
    admin_connections: IntGauge,
    log_records_dropped: IntCounter,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    pulled: pulled::PulledFamilies,
}

/// How requests ended.
#[derive(Debug)]
struct Outcomes {
    requests: Family<Counter>,
    rejections: Family<Counter>,
    admissions: Family<Counter>,
    would_reject: Family<Counter>,
}

impl Outcomes {
    fn new(families: &Families) -> Self {
        Self {
            requests: families.striped_counters(
                "requests_total",
                "Requests answered, by route and status.",
                &["route", "status"],
            ),
            rejections: families.striped_counters(
                "rejections_total",
                "Requests not forwarded or not answered by the upstream, by reason.",
                &["route", "issuer", "reason"],
            ),
            admissions: families.striped_counters(
                "admissions_total",
                "Requests admitted, by how the admission came about.",
                &["route", "issuer", "via"],
            ),
            would_reject: families.striped_counters(
                "would_reject_total",
                "Requests on report_only routes that would have been refused, by reason.",
                &["route", "issuer", "reason"],
            ),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let families = Families {
            registry: Registry::new(),
        };
        families.process();
        families.build_info();
        let connections = families.gauges(
            "connections",
            "Open connections, by the listener they came in on.",
            &["listener"],
        );
        let admission_duration = families.striped(
            "admission_duration_seconds",
            "Time the gate took to admit a request, by how the admission came about.",
            &["via"],
            || Histogram::new(ADMISSION_BUCKETS),
        );
        Self {
            outcomes: Outcomes::new(&families),
            request_duration: families.striped(
                "request_duration_seconds",
                "Time from a request's head to the end of its answer.",
                &["route"],
                || Histogram::new(REQUEST_BUCKETS),
            ),
            admission_duration: Via::ALL.map(|via| admission_duration.series(&[via.name()])),
            upstream_duration: families.striped(
                "upstream_duration_seconds",
                "Time from sending a request to an upstream to the head of its answer.",
                &["upstream"],
                || Histogram::new(REQUEST_BUCKETS),
            ),
            upstream_errors: families.striped_counters(
                "upstream_errors_total",
                "Exchanges with an upstream that failed, by kind; a retry counts again.",
                &["upstream", "kind"],
            ),
            handshake_failures: families.counters(
                "tls_handshake_failures_total",
                "TLS handshakes with clients that failed, by reason.",
                &["reason"],
            ),
            public_connections: connections.with_label_values(&["public"]),
            admin_connections: connections.with_label_values(&["admin"]),
            log_records_dropped: families.counter(
                "log_records_dropped_total",
                "Log records dropped because the writer did not keep up.",
            ),
            reload_successful: families.gauge(
                "config_last_reload_successful",
                "Whether the configuration last read is the one in force (1) or was refused (0).",
            ),
            reload_timestamp: families.float_gauge(
                "config_last_reload_timestamp_seconds",
                "When the configuration was last read, taken or refused, in Unix seconds.",
            ),
            pulled: pulled::PulledFamilies::new(&families),
            registry: families.registry,
        }
    }

    /// Prometheus text format; `pulled` are the values of this moment.
    pub fn render(&self, pulled: &PulledValues) -> String {
        let _whole = self.pulled.set(pulled);
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                String::new()
            }
        }
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self, listener: Listener) -> ConnectionGuard {
        let open = match listener {
            Listener::Public => &self.public_connections,
            Listener::Admin => &self.admin_connections,
        };
        open.inc();
        ConnectionGuard(open.clone())
    }

    /// Counts a connection that ended before it began.
    pub fn handshake_failed(&self, failure: HandshakeFailure) {
        let counter = self.handshake_failures.with_label_values(&[failure.name()]);
        counter.inc();
    }

    /// Resolves the handles for the names of a configuration, so that requests look up no label.
    pub fn configure(self: &Arc<Self>, config: &Config) -> ConfiguredMetrics {
        ConfiguredMetrics::new(Arc::clone(self), config)
    }

    /// Counts log records that did not fit.
    pub fn log_records_dropped(&self, records: u64) {
        self.log_records_dropped.inc_by(records);
    }

    /// Says how reading the configuration ended, at start and at each reload.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix seconds fit into the 53 bits of a double"
    )]
    pub fn config_read(&self, is_valid: bool, now: UnixTime) {
        self.reload_successful.set(i64::from(is_valid));
        self.reload_timestamp.set(now.as_seconds() as f64);
    }
}

/// One connection.
#[derive(Debug)]
pub struct ConnectionGuard(IntGauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes families and registers them.
struct Families {
    registry: Registry,
}

impl Families {
    fn register<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        #[expect(
            clippy::expect_used,
            reason = "names and labels are constants, registered once in a registry of our own; every test would fail"
        )]
        let family = family.expect("constant names and labels are valid");
        #[expect(clippy::expect_used, reason = "as above")]
        self.registry
            .register(Box::new(family.clone()))
            .expect("each name is registered once");
        family
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(options(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(options(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(options(name, help)))
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(options(name, help)))
    }

    /// For what requests count.
    fn striped<T: Striped>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        make: fn() -> T,
    ) -> Family<T> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let description = options(name, help).variable_labels(labels).describe();
        self.register(description.map(|description| Family::new(description, make)))
    }

    fn striped_counters(&self, name: &str, help: &str, labels: &[&str]) -> Family<Counter> {
        self.striped(name, help, labels, Counter::new)
    }

    fn process(&self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        if let Err(error) = self.registry.register(Box::new(collector)) {
            tracing::warn!(%error, "there will be no process metrics");
        }
    }

    fn build_info(&self) {
        let labels = ["version", "commit"];
        let info = self.gauges("build_info", "Always 1; the labels say what runs.", &labels);
        let commit = option_env!("PORTCULLIS_COMMIT").unwrap_or("unknown");
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), commit])
            .set(1);
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("portcullis_{name}"), help)
}

#[cfg(test)]
mod tests;
