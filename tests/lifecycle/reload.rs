//! A new configuration: when it is read, what becomes of a wrong one, and what is said of a weaker one.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Gateway, Request, Server, Stage, configuration, eventually, token};
use crate::{ROUTE, provider};

const ORDERS: &str = "name = \"orders\"\npath = \"/orders/*\"\nupstream = \"api\"";
const BOTH: &str = "name = \"orders\"\npath = \"/orders/*\"\nupstream = \"api\"\n\
                    [[route]]\nname = \"reports\"\npath = \"/reports\"\nupstream = \"api\"";

fn with_routes(stage: &Stage, routes: &str) -> String {
    configuration("", &stage.provider, "", &stage.upstream, routes)
}

fn reports(gateway: &Gateway) -> u16 {
    gateway.get("/reports", &token(json!({}))).status
}

fn is_successful(gateway: &Gateway) -> bool {
    gateway.metric("portcullis_config_last_reload_successful", &[]) > 0.5
}

#[test]
fn sighup_puts_a_new_route_in_force() {
    let stage = Stage::with("", ORDERS);
    let gateway = &stage.gateway;
    assert_eq!(reports(gateway), 404);
    gateway.rewrite(&with_routes(&stage, BOTH));
    gateway.reload();
    assert_eq!(reports(gateway), 200);
    assert!(is_successful(gateway));
    let labels = [("route", "reports"), ("status", "200")];
    eventually("counted", || {
        gateway.metric("portcullis_requests_total", &labels) > 0.5
    });
}

/// T151
#[test]
fn a_wrong_file_changes_nothing_and_is_said_in_log_and_metric() {
    let stage = Stage::with("", BOTH);
    let gateway = &stage.gateway;
    let before = gateway.metric("portcullis_config_last_reload_timestamp_seconds", &[]);
    assert!(is_successful(gateway) && before > 1e9);
    let wrong =
        with_routes(&stage, ORDERS).replace("path = \"/orders/*\"", "path = \"orders\"\nfrob = 1");
    gateway.rewrite(&wrong);
    gateway.reload();
    assert_eq!(reports(gateway), 200, "the old routes are in force");
    assert!(!is_successful(gateway));
    let file = gateway.path().display().to_string();
    for key in ["route[0].path", "frob"] {
        let fault = gateway.wait_for_record(key, |record| {
            let fault = record["fault"].as_str().unwrap_or_default();
            fault.starts_with(&file) && fault.contains(key)
        });
        assert_eq!(fault["level"], "ERROR", "{fault}");
    }

    gateway.rewrite(&with_routes(&stage, ORDERS));
    gateway.signal("HUP");
    eventually("reloaded", || is_successful(gateway));
    assert_eq!(reports(gateway), 404);
    assert!(gateway.metric("portcullis_config_last_reload_timestamp_seconds", &[]) >= before);
}

const STRICT: &str = r#"name = "orders"
path = "/orders/*"
methods = ["GET"]
upstream = "api"
scopes = ["orders:read", "orders:all"]
any_scope = ["a"]
claims = [{ claim = "tenant", equals = "acme" }]
"#;

const STRICT_ISSUER: &str = "required_claims = [\"jti\"]\ntoken_types = [\"at+jwt\"]\nalgorithms = [\"ES256\"]\nleeway = \"1s\"";

/// What is weakened: in the route, or in the issuer that it trusts.
const WEAKENED: [(&str, &str, &str); 17] = [
    (
        "the route is gone",
        "name = \"orders\"",
        "name = \"others\"",
    ),
    (
        "auth optional",
        "upstream = \"api\"\n",
        "upstream = \"api\"\nauth = \"optional\"\n",
    ),
    (
        "report_only",
        "upstream = \"api\"\n",
        "upstream = \"api\"\nreport_only = true\n",
    ),
    ("a scope less", "\"orders:read\", ", ""),
    ("one any_scope more", "[\"a\"]", "[\"a\", \"b\"]"),
    ("no any_scope", "any_scope = [\"a\"]\n", ""),
    (
        "no claim rule",
        "claims = [{ claim = \"tenant\", equals = \"acme\" }]\n",
        "",
    ),
    (
        "another audience",
        "upstream = \"api\"\n",
        "upstream = \"api\"\naudiences = [\"https://api.example.com\", \"x\"]\n",
    ),
    ("every method", "methods = [\"GET\"]\n", ""),
    ("one method more", "[\"GET\"]", "[\"GET\", \"DELETE\"]"),
    (
        "preflights pass",
        "upstream = \"api\"\n",
        "upstream = \"api\"\npreflight = \"forward\"\n",
    ),
    (
        "the issuer requires no claim",
        "required_claims = [\"jti\"]",
        "",
    ),
    (
        "the issuer takes other types",
        "token_types = [\"at+jwt\"]",
        "",
    ),
    (
        "the issuer takes another algorithm",
        "[\"ES256\"]",
        "[\"ES256\", \"RS256\"]",
    ),
    ("the issuer's leeway", "leeway = \"1s\"", "leeway = \"2s\""),
    (
        "the issuer's max_lifetime",
        "max_lifetime = \"24h\"",
        "max_lifetime = \"25h\"",
    ),
    (
        "the issuer's ID tokens",
        "leeway = \"1s\"",
        "leeway = \"1s\"\nid_tokens = \"accept\"",
    ),
];

fn said(gateway: &Gateway) -> Vec<Value> {
    let records = gateway.log_text();
    let records = records
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records
        .filter(|record| record["weakening"].is_string())
        .collect()
}

#[test]
fn a_reload_that_asks_less_of_a_route_says_so_at_warn() {
    let stage = Stage::with(STRICT_ISSUER, STRICT);
    let gateway = &stage.gateway;
    let strict = configuration("", &stage.provider, STRICT_ISSUER, &stage.upstream, STRICT);
    let mut known = 0;
    for (name, from, to) in WEAKENED {
        assert_ne!(strict.replace(from, to), strict, "{name} changes nothing");
        gateway.rewrite(&strict.replace(from, to));
        gateway.reload();
        let warnings = said(gateway);
        assert_eq!(warnings.len(), known + 1, "{name}: {warnings:#?}");
        let warning = &warnings[known];
        assert_eq!(warning["level"], "WARN", "{name}");
        assert!(
            warning["weakening"].as_str().unwrap().contains("orders"),
            "{name}: {warning}"
        );
        known += 1;

        gateway.rewrite(&strict);
        gateway.reload();
        // The way back asks more, but for the route that only came and went under another name.
        known += usize::from(name == "the route is gone");
        assert_eq!(said(gateway).len(), known, "{name}: back again");
    }
}

/// Held against what runs, not against the last reload: the way back to it is no change.
#[test]
fn a_reload_names_each_changed_key_that_needs_a_restart() {
    let stage = Stage::with("", ORDERS);
    let gateway = &stage.gateway;
    let write = |workers: u8, format: &str, token: &str| {
        let top = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = {workers}\n[log]\nformat = \"{format}\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n{token}"
        );
        gateway.rewrite(&configuration(
            &top,
            &stage.provider,
            "",
            &stage.upstream,
            ORDERS,
        ));
        gateway.reload();
        let log = gateway.log_text();
        let records: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let reloads = records
            .iter()
            .filter(|it| it["message"] == "configuration reloaded")
            .count();
        let named: Vec<String> = records
            .iter()
            .filter(|record| {
                record["message"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("next start")
            })
            .map(|record| record["key"].as_str().unwrap().to_owned())
            .collect();
        (reloads, named)
    };
    let hosts = "hosts = [\"portcullis.internal\"]";
    assert_eq!(write(0, "json", hosts), (1, vec![]), "hosts are reloaded");
    let both = vec!["server.workers".to_owned(), "log.format".to_owned()];
    assert_eq!(write(3, "text", ""), (2, both.clone()));
    assert_eq!(write(0, "json", ""), (3, both), "back to what runs");
}

#[test]
fn a_change_of_the_file_is_reloaded_without_a_signal() {
    let stage = Stage::with("", ORDERS);
    stage.gateway.rewrite(&with_routes(&stage, BOTH));
    eventually("the new route", || reports(&stage.gateway) == 200);

    // As editors and `mv` do it.
    let beside = stage.gateway.path().with_extension("new");
    let changed = std::fs::read_to_string(stage.gateway.path())
        .unwrap()
        .replace("/reports", "/renamed");
    std::fs::write(&beside, changed).unwrap();
    std::fs::rename(beside, stage.gateway.path()).unwrap();
    eventually("the renamed file", || reports(&stage.gateway) == 404);
    assert_eq!(stage.gateway.get("/renamed", &token(json!({}))).status, 200);
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir(folder.join(name)).unwrap();
    std::fs::write(folder.join(name).join("portcullis.toml"), text).unwrap();
}

/// As Kubernetes mounts a `ConfigMap`: the file is a link through a folder that is a link, and only that is swapped.
#[test]
fn a_swap_of_symbolic_links_is_a_change_of_the_file() {
    let (upstream, provider) = (Server::echo(), provider());
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"";
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path();
    put(
        path,
        "version-1",
        &configuration(top, &provider, "", &upstream, ORDERS),
    );
    put(
        path,
        "version-2",
        &configuration(top, &provider, "", &upstream, BOTH),
    );
    symlink("version-1", path.join("data")).unwrap();
    symlink("data/portcullis.toml", path.join("portcullis.toml")).unwrap();
    let gateway = Gateway::start_in(Arc::clone(&folder));
    eventually("ready", || gateway.admin_get("/readyz").status == 200);
    assert_eq!(reports(&gateway), 404);
    symlink("version-2", path.join("next")).unwrap();
    std::fs::rename(path.join("next"), path.join("data")).unwrap();
    eventually("the new route", || reports(&gateway) == 200);
}

#[test]
fn a_wrong_file_that_changed_by_itself_is_said_too_and_the_gateway_serves_on() {
    let stage = Stage::with("", ROUTE);
    stage.gateway.rewrite("[[route]]\nname = 1\n");
    eventually("refused", || !is_successful(&stage.gateway));
    assert_eq!(
        stage
            .gateway
            .send(&Request::get("/").bearer(&token(json!({}))))
            .status,
        200
    );
    assert_eq!(stage.gateway.admin_get("/readyz").status, 200);
}

/// Keys that were fetched are kept: a reload while the provider is away refuses nobody.
#[test]
fn a_reload_while_the_provider_is_away_keeps_the_keys() {
    let stage = Stage::with("", ORDERS);
    stage
        .provider
        .answer(|_| crate::support::Reply::Status(500));
    stage.gateway.rewrite(&with_routes(&stage, BOTH));
    stage.gateway.reload();
    assert_eq!(reports(&stage.gateway), 200);
}
