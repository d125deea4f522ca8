//! stub
use std::net::IpAddr;

/// One request, as the log tells it. Everything here is owned, because the writer runs on a thread of its own.
#[derive(Debug)]
pub struct AccessRecord {
    pub request_id: String,
    pub client: IpAddr,
    pub method: String,
    pub host: String,
    /// Without the query.
    pub path: String,
    /// The route's name; `none` where none matched.
    pub route: std::sync::Arc<str>,
    pub status: u16,
    pub duration_us: u64,
    /// The issuer's name, `unknown`, or `none`.
    pub issuer: std::sync::Arc<str>,
    pub subject: Option<String>,
    pub token_id: Option<String>,
    pub reason: Option<crate::rejection::Rejection>,
    /// `report_only`: what would have been refused.
    pub would_reject: Option<crate::rejection::Rejection>,
    pub upstream: Option<std::sync::Arc<str>>,
    pub upstream_us: Option<u64>,
}

/// The handle that the request path writes to: bounded, never blocking; what does not fit is dropped and counted.
#[derive(Clone, Debug)]
pub struct AccessLog {}

impl AccessLog {
    /// Hands the record to the writer.
    pub fn record(&self, _record: AccessRecord) {
        todo!()
    }
}
