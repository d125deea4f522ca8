//! What counting one admitted request costs, alone and while another thread counts the same.
//!
//! `cargo bench --bench metrics`. With two threads the time is that of the slower one; where they share nothing
//! it equals the time alone.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up panics")]

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::config::{RouteId, UpstreamId, load_text};
use portcullis::identity::{IssuerLabel, Via};
use portcullis::telemetry::{ConfiguredMetrics, Metrics};

const CONFIGURATION: &str = r#"
[server]
listen = ["127.0.0.1:0"]
[revocation]
store = "memory"
[[upstream]]
name = "api"
servers = ["http://127.0.0.1:9"]
[[route]]
name = "orders"
path = "/orders/*"
upstream = "api"
auth = "none"
"#;

fn configured() -> ConfiguredMetrics {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("portcullis.toml");
    Arc::new(Metrics::new()).configure(&configuration(&path))
}

fn configuration(path: &Path) -> portcullis::config::Config {
    load_text(CONFIGURATION, path)
        .expect("a valid configuration")
        .config
}

/// All that one request counts: admitted at once, answered by the upstream a little later.
fn count(metrics: &ConfiguredMetrics) {
    let (route, upstream) = (RouteId(0), UpstreamId(0));
    let admitted = black_box(Duration::from_nanos(1_200));
    let answered = black_box(Duration::from_millis(2));
    let ended = black_box(Duration::from_micros(2_100));
    metrics.admission(route, IssuerLabel::None, Via::Anonymous, admitted);
    metrics.upstream(upstream, answered);
    metrics.request(Some(route), 200, ended);
}

fn slower_of(threads: usize, times: u64, metrics: &ConfiguredMetrics) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        barrier.wait();
        let begun = Instant::now();
        (0..times).for_each(|_| count(metrics));
        begun.elapsed()
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let took = running
            .into_iter()
            .map(|thread| thread.join().expect("a thread that counts"));
        took.max().unwrap_or_default()
    })
}

fn counting(criterion: &mut Criterion) {
    let metrics = configured();
    let mut group = criterion.benchmark_group("count a request");
    for threads in [1, 2] {
        group.bench_function(format!("{threads} threads"), |bencher| {
            bencher.iter_custom(|times| slower_of(threads, times, &metrics));
        });
    }
    group.finish();
}

criterion_group!(benches, counting);
criterion_main!(benches);
