//! One request as the log tells it, and the form of its line.
//!
//! Owns the fields of a record and how they are written, in both formats, as the rest of the log writes its own.
//! Must not know tokens: a record holds the token's id at most.

use std::net::IpAddr;

use super::line::{Line, TextLine, cut};
use crate::config::LogFormat;
use crate::identity::TokenDigest;
use crate::rejection::Rejection;

/// The target of access records.
const TARGET: &str = "portcullis::access";

const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 256;
const MAX_WORD: usize = 128;

/// One request. Borrowed: it becomes a line at once, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'request> {
    pub request_id: &'request str,
    pub client: IpAddr,
    /// `client` as text.
    pub client_text: &'request str,
    pub method: &'request str,
    pub host: &'request str,
    /// Without the query.
    pub path: &'request str,
    /// The route's name; `none` where none matched.
    pub route: &'request str,
    pub status: u16,
    pub duration_us: u64,
    /// The issuer's name, `unknown`, or `none`.
    pub issuer: &'request str,
    pub subject: Option<&'request str>,
    /// Names the token; its first digits are written.
    pub token: Option<TokenDigest>,
    pub reason: Option<Rejection>,
    /// `report_only`: what would have been refused.
    pub would_reject: Option<Rejection>,
    pub upstream: Option<&'request str>,
    pub upstream_us: Option<u64>,
}

impl AccessRecord<'_> {
    /// Appends the line, but for its end, to which `suppressed` may be added. `timestamp`: RFC 3339.
    pub(super) fn open_line(&self, format: LogFormat, timestamp: &str, out: &mut Vec<u8>) {
        match format {
            LogFormat::Json => {
                let mut line = super::line::JsonLine::open(out, timestamp, TARGET, "request");
                self.fields(&mut line);
            }
            LogFormat::Text => {
                let mut line = TextLine::open(out, timestamp, TARGET, "request");
                self.fields(&mut line);
            }
        }
    }

    fn fields(&self, line: &mut impl Line) {
        line.text("request_id", cut(self.request_id, MAX_WORD));
        line.plain("client", self.client_text);
        line.text("method", cut(self.method, MAX_WORD));
        line.text("host", cut(self.host, MAX_NAME));
        line.text("path", cut(self.path, MAX_PATH));
        line.text("route", (self.route, ""));
        line.number("status", self.status.into());
        line.number("duration_us", self.duration_us);
        line.text("issuer", (self.issuer, ""));
        if let Some(subject) = self.subject {
            line.text("subject", cut(subject, MAX_NAME));
        }
        if let Some(token) = self.token {
            line.text("token_id", (token.token_id().as_str(), ""));
        }
        if let Some(reason) = self.reason {
            line.text("reason", (reason.code(), ""));
        }
        if let Some(reason) = self.would_reject {
            line.text("would_reject", (reason.code(), ""));
        }
        if let Some(upstream) = self.upstream {
            line.text("upstream", (upstream, ""));
        }
        if let Some(took) = self.upstream_us {
            line.number("upstream_us", took);
        }
    }
}

/// Ends a line that was opened; `suppressed`: how many records it stands for besides.
pub(super) fn close_line(format: LogFormat, suppressed: Option<u64>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => super::line::JsonLine::close(out, suppressed),
        LogFormat::Text => TextLine::close(out, suppressed),
    }
}
