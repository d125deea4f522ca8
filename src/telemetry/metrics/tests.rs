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
    assert_eq!(&*after.route_name(Some(RouteId(1))), "orders");
    assert_eq!(&*after.route_name(None), "none");
    assert_eq!(&*after.issuer_name(IssuerLabel::Unknown), "unknown");
    assert_eq!(&*after.upstream_name(UpstreamId(0)), "api");
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
