//! The access log: one record per request, written by a thread of its own.
//!
//! Owns the bounded way from the requests to that thread, and the form of a record. Must not know tokens:
//! a record holds the token's id at most.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::metrics::Metrics;
use crate::rejection::Rejection;

mod suppression;

use suppression::Suppressor;

const QUEUE_RECORDS: usize = 8192;
/// After a record the writer lets more gather, so that a busy gateway does not wake it for each one.
const GATHER: Duration = Duration::from_millis(10);

const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 256;
const MAX_WORD: usize = 128;

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
    pub route: Arc<str>,
    pub status: u16,
    pub duration_us: u64,
    /// The issuer's name, `unknown`, or `none`.
    pub issuer: Arc<str>,
    pub subject: Option<String>,
    pub token_id: Option<String>,
    pub reason: Option<Rejection>,
    /// `report_only`: what would have been refused.
    pub would_reject: Option<Rejection>,
    pub upstream: Option<Arc<str>>,
    pub upstream_us: Option<u64>,
}

impl AccessRecord {
    /// Cuts what is long, so that a full queue stays within a few megabytes.
    fn shorten(&mut self) {
        shorten(&mut self.request_id, MAX_WORD);
        shorten(&mut self.method, MAX_WORD);
        shorten(&mut self.host, MAX_NAME);
        shorten(&mut self.path, MAX_PATH);
        for value in [&mut self.subject, &mut self.token_id]
            .into_iter()
            .flatten()
        {
            shorten(value, MAX_NAME);
        }
    }

    fn write(&self, suppressed: Option<u64>) {
        tracing::info!(
            target: "portcullis::access",
            request_id = self.request_id,
            client = %self.client,
            method = self.method,
            host = self.host,
            path = self.path,
            route = &*self.route,
            status = self.status,
            duration_us = self.duration_us,
            issuer = &*self.issuer,
            subject = self.subject,
            token_id = self.token_id,
            reason = self.reason.map(Rejection::code),
            would_reject = self.would_reject.map(Rejection::code),
            upstream = self.upstream.as_deref(),
            upstream_us = self.upstream_us,
            suppressed,
            "request"
        );
    }
}

fn shorten(value: &mut String, most: usize) {
    if value.len() > most {
        let end = value.floor_char_boundary(most);
        // A new string, because truncating keeps the memory.
        *value = value.get(..end).unwrap_or_default().to_owned();
        value.push('…');
    }
}

/// The handle that the request path writes to: bounded, never blocking; what does not fit is dropped and counted.
#[derive(Clone, Debug)]
pub struct AccessLog(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    records: SyncSender<Message>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Message {
    // Boxed, so that the queue's memory is taken when it is used.
    Record(Box<AccessRecord>),
    Stop,
}

/// Keeps the writer alive; dropping it writes what is left. To be dropped before the log's own guard.
#[derive(Debug)]
pub struct AccessLogGuard {
    records: SyncSender<Message>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for AccessLogGuard {
    fn drop(&mut self) {
        // Cannot wait long: the writer never blocks on what reads the log.
        if self.records.send(Message::Stop).is_ok()
            && let Some(writer) = self.writer.take()
        {
            writer.thread().unpark();
            drop(writer.join());
        }
    }
}

impl AccessLog {
    /// Starts the writer; what does not fit is counted in `metrics`.
    pub fn start(metrics: Arc<Metrics>) -> io::Result<(Self, AccessLogGuard)> {
        // The dispatcher of the starting thread, which tests replace.
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let (records, queued) = sync_channel(QUEUE_RECORDS);
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || write_records(&queued));
            })?;
        let guard = AccessLogGuard {
            records: records.clone(),
            writer: Some(writer),
        };
        Ok((Self(Some(Queue { records, metrics })), guard))
    }

    /// `access = false`: records go nowhere.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Whether records are written at all, so that the caller can save itself the making of one.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Hands the record to the writer.
    pub fn record(&self, mut record: AccessRecord) {
        let Some(queue) = &self.0 else {
            return;
        };
        record.shorten();
        let message = Message::Record(Box::new(record));
        if queue.records.try_send(message).is_err() {
            queue.metrics.log_record_dropped();
        }
    }
}

fn write_records(queued: &Receiver<Message>) {
    let mut suppressor = Suppressor::default();
    loop {
        let message = match suppressor.next_end() {
            Some(end) => queued.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => queued.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let is_ending = match message {
            Ok(first) => write_batch(first, queued, &mut suppressor),
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        suppressor.end_windows((!is_ending).then(Instant::now), write_summary);
        if is_ending {
            return;
        }
        thread::park_timeout(GATHER);
    }
}

/// Writes what is queued; whether the end was asked for.
fn write_batch(first: Message, queued: &Receiver<Message>, suppressor: &mut Suppressor) -> bool {
    let now = Instant::now();
    for message in std::iter::once(first).chain(queued.try_iter().take(QUEUE_RECORDS)) {
        match message {
            Message::Record(record) => {
                if let Some(record) = suppressor.admit(record, now, write_summary) {
                    record.write(None);
                }
            }
            Message::Stop => return true,
        }
    }
    false
}

fn write_summary(record: &AccessRecord, suppressed: u64) {
    record.write(Some(suppressed));
}

#[cfg(test)]
mod tests;
