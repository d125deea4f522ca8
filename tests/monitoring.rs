//! The files of `deploy/prometheus` and `deploy/grafana` against a real gateway and a real Prometheus.
//!
//! Needs what `scripts/test` installs, and so the feature `external`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "monitoring/prometheus.rs"]
mod prometheus;
#[path = "monitoring/traffic.rs"]
mod traffic;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis::rejection::Rejection;
use prometheus::{Prometheus, selectors};
use serde_json::Value;
use support::eventually;
use traffic::House;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rule_files() -> [PathBuf; 2] {
    ["recording.yaml", "alerts.yaml"].map(|name| root().join("deploy/prometheus").join(name))
}

/// Runs promtool with that input; it must have nothing to say against it.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: run scripts/test");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("a reader");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let house = House::new();
    house.send_of_every_kind();
    let metrics = house.gateway.admin_get("/metrics").text();
    promtool(&["check", "metrics"], &metrics);
    for family in traffic::CONTRACT {
        assert!(
            metrics.contains(&format!("# HELP {family} ")),
            "{family} is in the contract and not in /metrics"
        );
    }
}

#[test]
fn the_rules_are_valid_and_their_cases_hold() {
    let [recording, alerts] = rule_files().map(|path| path.display().to_string());
    promtool(&["check", "rules", &recording, &alerts], "");
    promtool(&["test", "rules", "tests/monitoring/alerts.test.yaml"], "");
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let alerts = fs::read_to_string(&rule_files()[1]).expect("the alerts");
    let cases = fs::read_to_string(root().join("tests/monitoring/alerts.test.yaml"));
    let cases = cases.expect("the cases");
    let names: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 28, "alerts found: {names:?}");
    for name in names {
        let of_this = cases.split("alertname: ").skip(1).filter_map(|case| {
            let (tested, rest) = case.split_once('\n')?;
            (tested == name).then(|| rest.trim_start().starts_with("exp_alerts: []"))
        });
        let kinds: BTreeSet<bool> = of_this.collect();
        assert_eq!(kinds.len(), 2, "{name} has no case of each kind");
    }
}

/// Every query of the dashboard, with its variables set; annotations apart.
fn dashboard_queries() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("deploy/grafana/portcullis.json"));
    let dashboard: Value = serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(|target| {
            let title = panel["title"].as_str().expect("a title").to_owned();
            (
                title,
                with_variables(target["expr"].as_str().expect("a query")),
            )
        })
    });
    queries.collect()
}

fn with_variables(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "1m");
    for variable in ["$job", "$instance", "$route", "$issuer"] {
        query = query.replace(variable, ".*");
    }
    assert!(!query.contains('$'), "an unknown variable: {query}");
    query
}

#[test]
fn the_dashboard_is_whole() {
    let text = fs::read_to_string(root().join("deploy/grafana/portcullis.json"));
    let dashboard: Value = serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let numbers: BTreeSet<_> = panels.iter().filter_map(|it| it["id"].as_u64()).collect();
    assert_eq!(
        numbers.len(),
        panels.len(),
        "each panel has a number of its own"
    );
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        assert!(
            place("x") + place("w") <= 24,
            "{panel}: beyond the right edge"
        );
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{}: covers another", panel["title"]);
            }
        }
    }
    let variables = dashboard["templating"]["list"].as_array();
    let variables = variables.expect("variables").iter();
    let names: Vec<_> = variables.filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance", "route", "issuer"]);
    assert!(dashboard_queries().len() >= 40);
}

/// There only with TLS, which the gateway of these tests does not speak; `tests/tls.rs` sees it, and promtool what the rule makes of it.
const ONLY_WITH_TLS: &str = "portcullis_tls_certificate_expiry_timestamp_seconds";

/// Of an expression: that each metric it asks for is there, with the labels it asks for, and that reasons are reasons.
fn assert_is_about_what_there_is(prometheus: &Prometheus, expression: &str) {
    let there = selectors(expression).into_iter();
    for (metric, matchers) in there.filter(|(metric, _)| *metric != ONLY_WITH_TLS) {
        assert!(
            prometheus.has_result(&format!("count({metric})")),
            "there is no {metric}: {expression}"
        );
        for (label, value) in matchers {
            let query = format!("count({metric}{{{label}!=\"\"}})");
            assert!(
                prometheus.has_result(&query),
                "{metric} has no label {label}: {expression}"
            );
            if label == "reason" && !value.contains(".*") {
                let known = |name| Rejection::ALL.iter().any(|it| it.code() == name);
                assert!(value.split('|').all(known), "no reasons: {value}");
            }
        }
    }
}

#[test]
fn a_real_prometheus_answers_every_expression_of_rules_and_dashboard() {
    let house = House::new();
    let prometheus = Prometheus::scraping(house.gateway.admin, &rule_files());
    let mut unanswered: Vec<_> = dashboard_queries();
    let records = prometheus
        .rules()
        .into_iter()
        .filter(|it| it["type"] == "recording");
    unanswered.extend(records.map(|rule| {
        let text = |name: &str| rule[name].as_str().expect("text").to_owned();
        (text("name"), text("query"))
    }));
    eventually("every query has a result", || {
        house.send_of_every_kind();
        unanswered.retain(|(_, query)| !prometheus.has_result(query));
        eprintln!("still without a result: {unanswered:#?}");
        unanswered.is_empty()
    });
    let rules = prometheus.rules();
    assert!(rules.len() >= 44, "rules found: {}", rules.len());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        assert_is_about_what_there_is(&prometheus, rule["query"].as_str().expect("a query"));
    }
}

#[test]
fn each_way_to_break_the_gateway_that_takes_seconds_fires_its_alert() {
    let house = House::new();
    // Those that a moment's trouble may not raise would be a matter of minutes.
    let at_once = prometheus::without_waiting(&rule_files());
    let prometheus = Prometheus::scraping(house.gateway.admin, &at_once.files);
    eventually("the gateway is scraped", || {
        prometheus.has_result("count(portcullis_build_info)")
    });
    let expected: BTreeSet<String> = [
        "PortcullisErrorBudgetBurnsFast",
        "PortcullisErrorBudgetBurnsSlowly",
        "PortcullisExpiredTokens",
        "PortcullisFailureRatioHigh",
        "PortcullisForgedTokens",
        "PortcullisIssuerClockSkew",
        "PortcullisIssuerRefused",
        "PortcullisKeyRefreshFailing",
        "PortcullisKeysUnavailable",
        "PortcullisNoKeys",
        "PortcullisReloadFailed",
        "PortcullisRevokedTokensUsed",
        "PortcullisUnknownKeys",
        "PortcullisUpstreamFailing",
    ]
    .map(str::to_owned)
    .into();
    house.break_the_configuration();
    eventually("these fire, and no other", || {
        house.send_a_flood_of_every_kind();
        let firing = prometheus.firing();
        eprintln!("not yet: {:?}", firing.symmetric_difference(&expected));
        firing == expected
    });
    house.gateway.signal("KILL");
    eventually("the end of the gateway fires", || {
        prometheus.firing().contains("PortcullisDown")
    });
}
