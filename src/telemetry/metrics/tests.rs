//! What a scrape shows.

use std::time::Duration;

use super::*;
use crate::config::{RouteId, UpstreamId};
use crate::identity::{IssuerId, IssuerLabel};
use crate::rejection::Rejection;
use crate::telemetry::sample::config;

fn assert_holds(text: &str, line: &str) {
    assert!(text.lines().any(|one| one == line), "no {line} in {text}");
}

#[test]
fn requests_are_counted_under_names_and_nothing_else() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders", "health"]));
    let (orders, took) = (RouteId(0), Duration::from_micros(3));
    configured.request(Some(orders), 200, took);
    configured.request(Some(orders), 599, took);
    configured.request(None, 404, took);
    configured.request(None, 65535, took);
    configured.rejection(None, IssuerLabel::None, Rejection::RouteUnknown);
    configured.rejection(
        Some(orders),
        IssuerLabel::Unknown,
        Rejection::UpstreamTimeout,
    );
    configured.rejection(
        Some(orders),
        IssuerLabel::Known(IssuerId(9)),
        Rejection::HeaderTooLarge,
    );
    configured.admission(orders, IssuerLabel::None, Via::Anonymous, took);
    configured.would_reject(orders, IssuerLabel::None, Rejection::TokenMissing);
    configured.upstream(UpstreamId(0), took);
    configured.upstream_error(UpstreamId(0), UpstreamErrorKind::Protocol);
    let text = metrics.render(&PulledValues::default());
    for line in [
        r#"portcullis_requests_total{route="orders",status="200"} 1"#,
        r#"portcullis_requests_total{route="orders",status="599"} 1"#,
        r#"portcullis_requests_total{route="none",status="404"} 1"#,
        r#"portcullis_requests_total{route="none",status="999"} 1"#,
        r#"portcullis_rejections_total{issuer="none",reason="route_unknown",route="none"} 1"#,
        r#"portcullis_rejections_total{issuer="unknown",reason="upstream_timeout",route="orders"} 1"#,
        r#"portcullis_rejections_total{issuer="unknown",reason="header_too_large",route="orders"} 1"#,
        r#"portcullis_admissions_total{issuer="none",route="orders",via="anonymous"} 1"#,
        r#"portcullis_would_reject_total{issuer="none",reason="token_missing",route="orders"} 1"#,
        r#"portcullis_request_duration_seconds_count{route="orders"} 2"#,
        r#"portcullis_admission_duration_seconds_count{via="anonymous"} 1"#,
        r#"portcullis_upstream_duration_seconds_count{upstream="api"} 1"#,
        r#"portcullis_upstream_errors_total{kind="protocol",upstream="api"} 1"#,
    ] {
        assert_holds(&text, line);
    }
    assert!(!text.contains(r#"route="health""#), "{text}");
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
    assert!(text.contains("portcullis_build_info{commit="), "{text}");
}

#[test]
fn every_reason_has_a_slot_of_its_own() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders"]));
    for reason in Rejection::ALL {
        configured.rejection(None, IssuerLabel::None, *reason);
    }
    let text = metrics.render(&PulledValues::default());
    for reason in Rejection::ALL {
        let labels = format!(r#"issuer="none",reason="{reason}",route="none""#);
        assert_holds(&text, &format!("portcullis_rejections_total{{{labels}}} 1"));
    }
}

#[test]
fn counters_survive_a_reload() {
    let metrics = Arc::new(Metrics::new());
    let took = Duration::from_millis(1);
    let before = metrics.configure(&config(&["orders"]));
    before.request(Some(RouteId(0)), 200, took);
    let after = metrics.configure(&config(&["new", "orders"]));
    after.request(Some(RouteId(1)), 200, took);
    let text = metrics.render(&PulledValues::default());
    assert_holds(
        &text,
        r#"portcullis_requests_total{route="orders",status="200"} 2"#,
    );
    assert_eq!(after.route_name(Some(RouteId(1))), "orders");
    assert_eq!(after.route_name(None), "none");
    assert_eq!(after.issuer_name(IssuerLabel::Unknown), "unknown");
    assert_eq!(after.upstream_name(UpstreamId(0)), "api");
}

#[test]
fn connections_are_counted_while_they_last() {
    let metrics = Metrics::new();
    let guard = metrics.connection(Listener::Admin);
    let open = metrics.render(&PulledValues::default());
    assert_holds(&open, r#"portcullis_connections{listener="admin"} 1"#);
    assert_holds(&open, r#"portcullis_connections{listener="public"} 0"#);
    drop(guard);
    let closed = metrics.render(&PulledValues::default());
    assert_holds(&closed, r#"portcullis_connections{listener="admin"} 0"#);
}

fn values(refreshes: u64) -> PulledValues {
    PulledValues {
        issuers: vec![IssuerValues {
            name: Arc::from("corp"),
            keys: 2,
            skipped: vec![("weak", 1)],
            age: Duration::from_millis(1500),
            refreshes: vec![("success", refreshes)],
        }],
        revocations: vec![("jti", 3)],
        revocation_checks: vec![("clear", 4)],
        cache_hits: 5,
        revocation_store_up: true,
        ..PulledValues::default()
    }
}

#[test]
fn pulled_values_are_shown_as_they_are_and_leave_with_their_issuer() {
    let metrics = Metrics::new();
    let text = metrics.render(&values(7));
    for line in [
        r#"portcullis_jwks_keys{issuer="corp"} 2"#,
        r#"portcullis_jwks_keys_skipped{issuer="corp",reason="weak"} 1"#,
        r#"portcullis_jwks_age_seconds{issuer="corp"} 1.5"#,
        r#"portcullis_jwks_refreshes_total{issuer="corp",result="success"} 7"#,
        r#"portcullis_revocations{kind="jti"} 3"#,
        r#"portcullis_revocation_checks_total{result="clear"} 4"#,
        r#"portcullis_verified_cache_lookups_total{result="hit"} 5"#,
        "portcullis_revocation_store_up 1",
    ] {
        assert_holds(&text, line);
    }
    let gone = metrics.render(&PulledValues::default());
    assert!(!gone.contains("portcullis_jwks_keys{"), "{gone}");
}

#[test]
fn a_pulled_counter_goes_on_when_its_source_starts_again() {
    let metrics = Metrics::new();
    for (value, shown) in [(7, 7), (9, 9), (1, 10), (3, 12)] {
        let text = metrics.render(&values(value));
        let line = r#"portcullis_jwks_refreshes_total{issuer="corp",result="success"}"#;
        assert_holds(&text, &format!("{line} {shown}"));
    }
}

#[test]
fn the_last_reading_of_the_configuration_shows() {
    let metrics = Metrics::new();
    metrics.config_read(true, UnixTime::from_seconds(100));
    metrics.config_read(false, UnixTime::from_seconds(1_700_000_000));
    let text = metrics.render(&PulledValues::default());
    assert_holds(&text, "portcullis_config_last_reload_successful 0");
    assert_holds(
        &text,
        "portcullis_config_last_reload_timestamp_seconds 1700000000",
    );
}

#[test]
fn every_family_of_a_scrape_has_help_and_type() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders"]));
    let took = Duration::from_micros(3);
    configured.request(None, 404, took);
    configured.rejection(None, IssuerLabel::None, Rejection::RouteUnknown);
    configured.admission(RouteId(0), IssuerLabel::None, Via::Anonymous, took);
    configured.would_reject(RouteId(0), IssuerLabel::None, Rejection::TokenMissing);
    configured.upstream(UpstreamId(0), took);
    configured.upstream_error(UpstreamId(0), UpstreamErrorKind::Protocol);
    let text = metrics.render(&values(1));
    let count = |prefix| text.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(count("# HELP portcullis_"), 23);
    assert_eq!(count("# TYPE portcullis_"), 23);
}

fn count_everything(configured: &ConfiguredMetrics, took: Duration) {
    let (route, issuer) = (RouteId(0), IssuerLabel::None);
    configured.request(Some(route), 200, took);
    configured.rejection(Some(route), issuer, Rejection::TokenMissing);
    configured.admission(route, issuer, Via::Cache, took);
    configured.would_reject(route, issuer, Rejection::TokenMissing);
    configured.upstream(UpstreamId(0), took);
    configured.upstream_error(UpstreamId(0), UpstreamErrorKind::Connect);
}

#[test]
fn a_scrape_shows_what_every_thread_counted() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders"]));
    let took = Duration::from_micros(250);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| (0..100).for_each(|_| count_everything(&configured, took)));
        }
    });
    let text = metrics.render(&PulledValues::default());
    for line in [
        r#"portcullis_requests_total{route="orders",status="200"} 4000"#,
        r#"portcullis_rejections_total{issuer="none",reason="token_missing",route="orders"} 4000"#,
        r#"portcullis_admissions_total{issuer="none",route="orders",via="cache"} 4000"#,
        r#"portcullis_would_reject_total{issuer="none",reason="token_missing",route="orders"} 4000"#,
        r#"portcullis_upstream_errors_total{kind="connect",upstream="api"} 4000"#,
        r#"portcullis_request_duration_seconds_bucket{route="orders",le="0.0005"} 4000"#,
        r#"portcullis_request_duration_seconds_sum{route="orders"} 1"#,
        r#"portcullis_request_duration_seconds_count{route="orders"} 4000"#,
        r#"portcullis_admission_duration_seconds_bucket{via="cache",le="0.0001"} 0"#,
        r#"portcullis_admission_duration_seconds_bucket{via="cache",le="0.00025"} 4000"#,
        r#"portcullis_admission_duration_seconds_sum{via="cache"} 1"#,
        r#"portcullis_upstream_duration_seconds_sum{upstream="api"} 1"#,
        r#"portcullis_upstream_duration_seconds_count{upstream="api"} 4000"#,
    ] {
        assert_holds(&text, line);
    }
}

#[test]
fn the_bounds_of_durations_are_written_in_seconds() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders"]));
    count_everything(&configured, Duration::ZERO);
    let text = metrics.render(&PulledValues::default());
    let bounds_of = |series: &str| {
        let bound = |line: &str| {
            let rest = line.strip_prefix(series)?.strip_prefix(",le=\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        text.lines().filter_map(bound).collect::<Vec<_>>().join(" ")
    };
    let request = "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 +Inf";
    let admission = "0.000001 0.0000025 0.000005 0.00001 0.000025 0.00005 0.0001 0.00025 0.0005 0.001 0.005 0.025 0.1 0.25 0.5 1 +Inf";
    for (series, bounds) in [
        (r#"request_duration_seconds_bucket{route="orders""#, request),
        (
            r#"upstream_duration_seconds_bucket{upstream="api""#,
            request,
        ),
        (
            r#"admission_duration_seconds_bucket{via="cache""#,
            admission,
        ),
        // Shown before the first admission came about so.
        (
            r#"admission_duration_seconds_bucket{via="verified""#,
            admission,
        ),
    ] {
        assert_eq!(bounds_of(&format!("portcullis_{series}")), bounds);
    }
}

#[test]
fn every_line_of_a_scrape_is_a_comment_or_a_sample() {
    let metrics = Arc::new(Metrics::new());
    let configured = metrics.configure(&config(&["orders"]));
    count_everything(&configured, Duration::from_micros(3));
    let text = metrics.render(&values(1));
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(
            name.starts_with("portcullis_") || name.starts_with("process_"),
            "{line}"
        );
        let labels = labels.strip_suffix('}').unwrap();
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (_, value) = pair.split_once('=').unwrap();
            let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            assert!(value.is_some_and(|it| !it.contains('"')), "{line}");
        }
    }
}
