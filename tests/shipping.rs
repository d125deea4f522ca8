//! What the gateway is shipped with: the unit, the manifests, compose, the image's recipe and the workflows.
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

#[path = "shipping/kubernetes.rs"]
mod kubernetes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis::config::{self, Loaded};
use serde_json::Value;
use support::gateway::BINARY;

/// How open systemd may find the service, of 10.
const MOST_EXPOSURE: f64 = 2.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The folder that `scripts/test` installs the Python packages into.
fn python(program: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let program = target
        .expect("a target")
        .join("tools/shipping/bin")
        .join(program);
    assert!(
        program.is_file(),
        "{} is missing: run scripts/test",
        program.display()
    );
    Command::new(program)
}

/// The documents of YAML files, in order.
fn yaml(paths: &[PathBuf]) -> Vec<Value> {
    let script = "import json, sys, yaml\n\
                  print(json.dumps([d for f in sys.argv[1:] for d in yaml.safe_load_all(open(f))], default=str))";
    let output = python("python").args(["-c", script]).args(paths).output();
    let output = output.expect("python");
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn document(path: &str) -> Value {
    yaml(&[root().join(path)]).remove(0)
}

/// A shipped configuration, with a credential in the place of the one that is named.
fn shipped_configuration(path: &str) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "a-credential-of-the-test").expect("a writable folder");
    let text = text(path).replace(
        "/run/secrets/portcullis/token",
        token.to_str().expect("UTF-8"),
    );
    config::load_text(&text, Path::new(path)).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let unit = text("deploy/systemd/portcullis.service");
    assert!(
        unit.contains("=portcullis "),
        "the binary is looked for where systemd looks"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("portcullis.service");
    fs::write(&path, unit.replace("=portcullis ", &format!("={BINARY} ")))
        .expect("a writable folder");
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output();
    let output = output.expect("systemd-analyze is missing: run scripts/test");
    assert!(
        output.status.success() && said(&output).is_empty(),
        "{}",
        said(&output)
    );
}

#[test]
fn systemd_finds_the_service_little_exposed() {
    let output = Command::new("systemd-analyze")
        .args([
            "security",
            "--offline=true",
            "deploy/systemd/portcullis.service",
        ])
        .current_dir(root())
        .output();
    let said = said(&output.expect("systemd-analyze is missing: run scripts/test"));
    let (_, exposure) = said.rsplit_once("portcullis.service: ").expect("a verdict");
    let exposure = exposure
        .split(' ')
        .next()
        .and_then(|it| it.parse::<f64>().ok());
    assert!(exposure.expect("a number") <= MOST_EXPOSURE, "{said}");
}

#[test]
fn the_services_of_compose_find_each_other_and_their_files() {
    let compose = document("deploy/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (source, _) = volume
                .as_str()
                .and_then(|it| it.split_once(':'))
                .expect("a volume");
            let is_there = match source.strip_prefix("./") {
                Some(file) => root().join("deploy").join(file).exists(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name}: there is no {source}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().expect("a port");
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name}: {port} is open to everybody"
            );
        }
    }
    let prometheus = document("deploy/prometheus/prometheus.yaml");
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(target, "portcullis:9090");
    let source = document("deploy/grafana/provisioning/datasources/prometheus.yaml");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    let dashboards = document("deploy/grafana/provisioning/dashboards/portcullis.yaml");
    let folder = dashboards["providers"][0]["options"]["path"]
        .as_str()
        .expect("a folder");
    let mounted = services["grafana"]["volumes"].to_string();
    assert!(
        mounted.contains(&format!("./grafana/portcullis.json:{folder}/")),
        "{mounted}"
    );
}

#[test]
fn the_configuration_of_compose_fits_its_services() {
    let loaded = shipped_configuration("deploy/compose/portcullis.toml");
    assert_eq!(
        loaded.warnings.len(),
        1,
        "metrics alone, on a network of their own: {:?}",
        loaded.warnings
    );
    assert_eq!(loaded.config.admin.listen.to_string(), "0.0.0.0:9090");
    assert!(text("deploy/compose/portcullis.toml").contains("servers = [\"http://api:8000\"]"));
    let compose = document("deploy/compose.yaml");
    let shared = |one: &str, other: &str| {
        let networks = |name: &str| {
            compose["services"][name]["networks"]
                .as_array()
                .expect("networks")
                .clone()
        };
        networks(one).iter().any(|it| networks(other).contains(it))
    };
    assert!(shared("portcullis", "api") && shared("portcullis", "prometheus"));
    assert!(shared("prometheus", "grafana") && shared("portcullis", "redis"));
    assert!(!shared("prometheus", "api") && !shared("grafana", "api"));
}

#[test]
fn the_image_holds_no_shell_and_asks_its_own_health() {
    let recipe = text("Dockerfile");
    let (_, last) = recipe.rsplit_once("\nFROM ").expect("a last stage");
    assert!(last.starts_with("scratch\n"));
    assert!(last.contains("\nUSER 10001:10001\n"));
    assert!(last.contains("CMD [\"/usr/bin/portcullis\", \"healthcheck\","));
    assert!(!last.contains("\nRUN "));
    let toolchain = text("rust-toolchain.toml");
    let (_, version) = recipe.split_once("FROM rust:").expect("a first stage");
    let (version, _) = version.split_once('-').expect("a version");
    assert!(
        toolchain.contains(&format!("\"{version}")),
        "not the compiler of {toolchain}"
    );
}

#[test]
fn the_image_is_built_from_all_that_cargo_wants_to_see() {
    let manifest: toml::Value = toml::from_str(&text("Cargo.toml")).expect("TOML");
    let (recipe, ignored) = (text("Dockerfile"), text(".dockerignore"));
    for (targets, folder) in [("bin", "src"), ("bench", "benches"), ("test", "tests")] {
        if targets == "bin" || manifest.get(targets).is_some() {
            assert!(
                recipe.contains(&format!("\nCOPY {folder} ./{folder}\n")),
                "{folder}"
            );
            assert!(ignored.contains(&format!("\n!{folder}\n")), "{folder}");
        }
    }
}

#[test]
fn the_workflows_run_scripts_that_exist() {
    let names = ["ci", "release"].map(|name| format!(".github/workflows/{name}.yaml"));
    for path in names {
        let workflow = document(&path);
        let jobs = workflow["jobs"].as_object().expect("jobs");
        for (name, job) in jobs {
            let needs = job["needs"]
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![job["needs"].clone()]);
            for needed in needs.iter().filter_map(Value::as_str) {
                assert!(jobs.contains_key(needed), "{path}: {name} needs {needed}");
            }
            for step in job["steps"].as_array().expect("steps") {
                let run = step["run"].as_str().unwrap_or_default();
                for script in run
                    .split_whitespace()
                    .filter(|it| it.starts_with("scripts/"))
                {
                    assert!(root().join(script).is_file(), "{path}: {script}");
                }
            }
        }
        assert!(
            jobs.contains_key("test"),
            "{path}: nothing goes out untested"
        );
    }
}
