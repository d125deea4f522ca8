//! From the request's end to the line.

use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::Value;

use super::*;
use crate::identity::TokenDigest;
use crate::rejection::Rejection;
use crate::telemetry::{Metrics, PulledValues};

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const fn record() -> AccessRecord<'static> {
    AccessRecord {
        request_id: "r-1",
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        client_text: "192.0.2.1",
        method: "GET",
        host: "api.example.com",
        path: "/orders",
        route: "orders",
        status: 200,
        duration_us: 5,
        issuer: "corp",
        subject: None,
        token: None,
        reason: None,
        would_reject: None,
        upstream: None,
        upstream_us: None,
    }
}

fn now() -> UnixTime {
    UnixTime::from_seconds(951_827_696).plus(Duration::from_micros(70))
}

/// What is written of what `log` records, and how many records were dropped.
fn lines_of(format: LogFormat, log: impl FnOnce(&AccessLog)) -> Vec<String> {
    let output = Output::default();
    let metrics = Arc::new(Metrics::new());
    let (sink, guard) = LogSink::start(Arc::clone(&metrics), output.clone()).unwrap();
    log(&AccessLog::new(format, sink));
    drop(guard);
    let text = metrics.render(&PulledValues::default());
    assert!(text.contains("portcullis_log_records_dropped_total 0\n"));
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn absent_fields_are_omitted_and_what_is_gathered_is_written_at_the_end() {
    let lines = lines_of(LogFormat::Text, |log| {
        log.worker().record(&record(), now(), Instant::now());
    });
    assert_eq!(
        lines,
        [
            "2000-02-29T12:34:56.000070Z  INFO portcullis::access: request request_id=\"r-1\" method=\"GET\" \
             host=\"api.example.com\" path=\"/orders\" route=\"orders\" issuer=\"corp\" client=192.0.2.1 status=200 \
             duration_us=5"
        ]
    );
}

#[test]
fn a_whole_record_is_one_flat_object() {
    let whole = AccessRecord {
        subject: Some("al\"ice"),
        token: Some(TokenDigest([0xab; 32])),
        reason: Some(Rejection::ScopeInsufficient),
        would_reject: Some(Rejection::TokenExpired),
        upstream: Some("api"),
        upstream_us: Some(3),
        ..record()
    };
    let lines = lines_of(LogFormat::Json, |log| {
        log.worker().record(&whole, now(), Instant::now());
    });
    let object: Value = serde_json::from_str(&lines[0]).unwrap();
    let wanted = serde_json::json!({
        "timestamp": "2000-02-29T12:34:56.000070Z", "level": "INFO", "target": "portcullis::access",
        "message": "request", "request_id": "r-1", "client": "192.0.2.1", "method": "GET",
        "host": "api.example.com", "path": "/orders", "route": "orders", "status": 200, "duration_us": 5,
        "issuer": "corp", "subject": "al\"ice", "token_id": "abababababababab",
        "reason": "scope_insufficient", "would_reject": "token_expired", "upstream": "api", "upstream_us": 3,
    });
    assert_eq!(object, wanted);
    // Where the other records of the log have it.
    assert!(
        lines[0]
            .trim_end()
            .ends_with(",\"target\":\"portcullis::access\"}"),
        "{}",
        lines[0]
    );
}

#[test]
fn a_flood_of_one_rejection_over_all_workers_is_summed_up_at_the_latest_at_the_end() {
    let lines = lines_of(LogFormat::Json, |log| {
        let workers = [log.worker(), log.worker()];
        for worker in workers.iter().cycle().take(15) {
            let expired = AccessRecord {
                reason: Some(Rejection::TokenExpired),
                ..record()
            };
            worker.record(&expired, now(), Instant::now());
        }
    });
    assert_eq!(lines.len(), 11);
    let suppressed: Vec<_> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["suppressed"].as_u64())
        .collect();
    assert_eq!(suppressed, [5]);
}

#[test]
fn many_admitted_records_are_all_written() {
    let lines = lines_of(LogFormat::Json, |log| {
        let worker = log.worker();
        for _ in 0..1000 {
            worker.record(&record(), now(), Instant::now());
        }
    });
    assert_eq!(lines.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_written_when_its_second_is_over() {
    let output = Output::default();
    let (sink, _guard) = LogSink::start(Arc::new(Metrics::new()), output.clone()).unwrap();
    let log = AccessLog::new(LogFormat::Json, sink);
    let worker = log.worker();
    let expired = AccessRecord {
        reason: Some(Rejection::TokenExpired),
        ..record()
    };
    for _ in 0..20 {
        worker.record(&expired, now(), Instant::now());
    }
    worker.flush();
    assert!(log.0.suppressor().next_end().is_some());
    let end = log.0.suppressor().next_end().unwrap();
    let mut lines = Gathered::default();
    log.0.suppressor().end_windows(Some(end), |line, count| {
        lines.close(LogFormat::Json, line, count);
    });
    assert!(
        String::from_utf8(lines.bytes)
            .unwrap()
            .contains("\"suppressed\":10,\"")
    );
}
