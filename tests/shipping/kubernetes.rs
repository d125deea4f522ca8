//! The manifests of `deploy/kubernetes`: valid, and of one mind with each other and with the gateway.

use std::path::PathBuf;

use serde_json::Value;

use super::support::{Stage, token};
use super::{document, python, root, said, shipped_configuration, text, yaml};

/// The oldest and the newest version that the manifests are for.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
/// Nobody has schemas for these but their makers.
const FOREIGN: [&str; 2] = ["Kustomization", "ServiceMonitor"];

fn folder() -> PathBuf {
    root().join("deploy/kubernetes")
}

fn resource_files() -> Vec<PathBuf> {
    let list = document("deploy/kubernetes/kustomization.yaml");
    let names = list["resources"].as_array().expect("resources").clone();
    names
        .iter()
        .map(|name| folder().join(name.as_str().expect("a name")))
        .collect()
}

fn resources() -> Vec<Value> {
    yaml(&resource_files())
}

fn of_kind(kind: &str) -> Vec<Value> {
    let found: Vec<_> = resources()
        .into_iter()
        .filter(|it| it["kind"] == kind)
        .collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

#[test]
fn every_manifest_is_listed_and_valid() {
    let files = resource_files();
    let there = std::fs::read_dir(folder()).expect("a folder");
    let there = there
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension().is_some_and(|it| it == "yaml") && !path.ends_with("kustomization.yaml")
        });
    for path in there {
        assert!(
            files.contains(&path),
            "{} is not in the list",
            path.display()
        );
    }
    for version in VERSIONS {
        let output = python("kubernetes-validate")
            .args(["--strict", "-k", version])
            .args(&files)
            .output()
            .expect("kubernetes-validate");
        let said = said(&output);
        assert!(output.status.success(), "{version}: {said}");
        let is_foreign = |line: &str| FOREIGN.iter().any(|kind| line.contains(kind));
        for line in said.lines().filter(|line| !is_foreign(line)) {
            assert!(
                line.starts_with("INFO") && line.contains(" passed "),
                "{version}: {line}"
            );
        }
    }
}

#[test]
fn whatever_selects_the_gateways_pods_finds_them() {
    let deployment = of_kind("Deployment").remove(0);
    let pod = &deployment["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let has = |selector: &Value| {
        let wanted = selector.as_object().expect("labels");
        wanted.iter().all(|(name, value)| &labels[name] == value)
    };
    assert!(has(&deployment["spec"]["selector"]["matchLabels"]));
    assert!(has(
        &of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"]
    ));
    assert!(has(
        &of_kind("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"]
    ));
    let ports = pod["spec"]["containers"][0]["ports"].to_string();
    let services = of_kind("Service");
    for service in &services {
        assert!(has(&service["spec"]["selector"]));
        let port = service["spec"]["ports"][0]["targetPort"].to_string();
        assert!(ports.contains(&port), "{port} is not among {ports}");
    }
    let monitor = &of_kind("ServiceMonitor")[0]["spec"];
    let wanted = monitor["selector"]["matchLabels"]
        .as_object()
        .expect("labels");
    let is_meant = |service: &&Value| {
        let labels = &service["metadata"]["labels"];
        wanted.iter().all(|(name, value)| &labels[name] == value)
    };
    let found: Vec<_> = services.iter().filter(is_meant).collect();
    assert_eq!(found.len(), 1, "one service is scraped");
    assert_eq!(
        found[0]["spec"]["ports"][0]["name"],
        monitor["endpoints"][0]["port"]
    );
    let target = &of_kind("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"];
    assert_eq!(target["name"], deployment["metadata"]["name"]);
}

#[test]
fn the_pod_is_as_unprivileged_as_it_gets() {
    let pod = &of_kind("Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"][0], "ALL");
    let user = pod["securityContext"]["runAsUser"].to_string();
    assert!(
        text("Dockerfile").contains(&format!("USER {user}:")),
        "the image's user"
    );
}

#[test]
fn the_configuration_fits_the_deployment() {
    let loaded = shipped_configuration("deploy/kubernetes/portcullis.toml");
    assert_eq!(
        loaded.warnings.len(),
        1,
        "the credential of the test: {:?}",
        loaded.warnings
    );
    let server = &loaded.config.server;
    let pod = &of_kind("Deployment")[0]["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("seconds");
    assert!(
        grace > (server.drain_delay + server.drain).as_secs(),
        "it is killed while it drains"
    );
    let port = |name: &str| {
        let ports = pod["containers"][0]["ports"].as_array().expect("ports");
        let named = ports.iter().find(|it| it["name"] == name).expect("a port");
        named["containerPort"].to_string()
    };
    assert_eq!(loaded.config.admin.listen.port().to_string(), port("admin"));
    assert_eq!(server.listen[0].port().to_string(), port("http"));
}

#[test]
fn the_probes_ask_what_a_real_gateway_answers() {
    let stage = Stage::new();
    assert_eq!(
        stage.gateway.get("/", &token(serde_json::json!({}))).status,
        200
    );
    let container = of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0].clone();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = container[probe]["httpGet"]["path"]
            .as_str()
            .expect("a path");
        assert_eq!(stage.gateway.admin_get(path).status, 200, "{probe}");
    }
    let path = of_kind("ServiceMonitor")[0]["spec"]["endpoints"][0]["path"].clone();
    assert_eq!(
        stage
            .gateway
            .admin_get(path.as_str().expect("a path"))
            .status,
        200
    );
}
