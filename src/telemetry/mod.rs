//! What operators see: metrics and logs.
//!
//! Owns the metric families, the log set-up and the access log's writer. Knows reasons and the names in the
//! configuration; must not know requests or tokens.

mod access_log;
mod logging;
mod metrics;
#[cfg(test)]
pub(crate) mod sample;

pub use access_log::{AccessLog, AccessRecord, WorkerLog};
pub use logging::{LogGuard, LogSink, start_logging};
pub use metrics::{
    ConfiguredMetrics, ConnectionGuard, HandshakeFailure, IssuerValues, Listener, Metrics,
    PulledValues, ServerValues, UpstreamErrorKind,
};
