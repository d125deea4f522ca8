//! One request as the log tells it, and the form of its line.
//!
//! Owns the fields of a record and how they are written, in both formats, as the rest of the log writes its own.
//! Must not know tokens: a record holds the token's id at most.

use std::net::IpAddr;

use super::line::{FieldName, JsonLine, Line, TextLine, cut, field};
use super::masking::masked;
use crate::config::LogFormat;
use crate::identity::TokenDigest;
use crate::rejection::Rejection;

const MESSAGE: &str = "request";

/// More than most lines take.
const USUAL_BYTES: usize = 512;
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
    /// Without the query; tokens are masked.
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
    pub(super) fn open_line(&self, format: LogFormat, timestamp: &[u8], out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES);
        match format {
            LogFormat::Json => self.write(&mut JsonLine::open(out, timestamp, MESSAGE)),
            LogFormat::Text => self.write(&mut TextLine::open(out, timestamp, MESSAGE)),
        }
    }

    fn write(&self, line: &mut impl Line) {
        let path = masked(self.path);
        let mut text = |name, value, most| {
            let (value, end) = cut(value, most);
            line.text(name, value, end);
        };
        text(field!("request_id"), self.request_id, MAX_WORD);
        text(field!("method"), self.method, MAX_WORD);
        text(field!("host"), self.host, MAX_NAME);
        text(field!("path"), &path, MAX_PATH);
        text(field!("route"), self.route, MAX_NAME);
        text(field!("issuer"), self.issuer, MAX_NAME);
        if let Some(subject) = self.subject {
            text(field!("subject"), subject, MAX_NAME);
        }
        if let Some(upstream) = self.upstream {
            text(field!("upstream"), upstream, MAX_NAME);
        }
        line.bare(field!("client"), self.client_text);
        line.number(field!("status"), self.status.into());
        line.number(field!("duration_us"), self.duration_us);
        if let Some(took) = self.upstream_us {
            line.number(field!("upstream_us"), took);
        }
        if let Some(token) = self.token {
            line.word(field!("token_id"), token.token_id().as_bytes());
        }
        if let Some(reason) = self.reason {
            line.word(field!("reason"), reason.code().as_bytes());
        }
        if let Some(reason) = self.would_reject {
            line.word(field!("would_reject"), reason.code().as_bytes());
        }
    }
}

/// Ends a line that was opened; `suppressed`: how many records it stands for besides.
pub(super) fn close_line(format: LogFormat, suppressed: Option<u64>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => JsonLine::close(out, suppressed),
        LogFormat::Text => TextLine::close(out, suppressed),
    }
}
