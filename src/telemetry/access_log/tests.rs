//! From the request's end to the event.

use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::telemetry::PulledValues;

/// Keeps every event as a list of `name=value`.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Vec<String>>>>);

struct Fields(Vec<String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push(format!("{field}={value:?}"));
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "portcullis::access"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn record() -> AccessRecord {
    AccessRecord {
        request_id: "r-1".to_owned(),
        client: IpAddr::from([192, 0, 2, 1]),
        method: "GET".to_owned(),
        host: "api.example.com".to_owned(),
        path: "/orders".to_owned(),
        route: Arc::from("orders"),
        status: 200,
        duration_us: 5,
        issuer: Arc::from("corp"),
        subject: None,
        token_id: None,
        reason: None,
        would_reject: None,
        upstream: None,
        upstream_us: None,
    }
}

fn events_of(log: impl FnOnce(&AccessLog)) -> Vec<Vec<String>> {
    let events = Events::default();
    tracing::subscriber::with_default(events.clone(), || {
        let (access_log, guard) = AccessLog::start(Arc::new(Metrics::new())).unwrap();
        log(&access_log);
        drop(guard);
    });
    std::mem::take(&mut *events.0.lock().unwrap())
}

#[test]
fn absent_fields_are_omitted_and_the_guard_flushes() {
    let events = events_of(|log| log.record(record()));
    let wanted = [
        "message=request",
        "request_id=\"r-1\"",
        "client=192.0.2.1",
        "method=\"GET\"",
        "host=\"api.example.com\"",
        "path=\"/orders\"",
        "route=\"orders\"",
        "status=200",
        "duration_us=5",
        "issuer=\"corp\"",
    ];
    assert_eq!(events, [wanted.map(str::to_owned).to_vec()]);
}

#[test]
fn a_rejection_says_why_and_a_flood_of_it_is_summed_up_at_the_latest_at_the_end() {
    let events = events_of(|log| {
        for _ in 0..15 {
            log.record(AccessRecord {
                reason: Some(Rejection::TokenExpired),
                ..record()
            });
        }
    });
    assert_eq!(events.len(), 11);
    let reason = "reason=\"token_expired\"".to_owned();
    assert!(events.iter().all(|event| event.contains(&reason)));
    assert!(events[10].contains(&"suppressed=5".to_owned()));
}

#[test]
fn long_values_are_cut_at_a_character() {
    let mut long = record();
    long.path = "é".repeat(20_000);
    long.shorten();
    assert!(long.path.len() <= MAX_PATH + '…'.len_utf8() && long.path.ends_with("é…"));
}

#[test]
fn a_record_that_does_not_fit_is_counted() {
    let (records, _queued) = sync_channel(1);
    let metrics = Arc::new(Metrics::new());
    let log = AccessLog(Some(Queue {
        records,
        metrics: Arc::clone(&metrics),
    }));
    log.record(record());
    log.record(record());
    AccessLog::disabled().record(record());
    let text = metrics.render(&PulledValues::default());
    assert!(text.contains("portcullis_log_records_dropped_total 1\n"));
}
