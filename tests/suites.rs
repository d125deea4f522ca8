//! Which suites there are beyond `cargo test`: those that need what `scripts/test` installs. None of them is skipped
//! without a word.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one is there to be read"
)]

use std::fs;
use std::path::Path;

/// Name, the feature that builds it, and what it needs.
const SUITES: [(&str, &str, &str); 4] = [
    ("fleet", "external", "redis-server"),
    ("monitoring", "external", "prometheus and promtool"),
    (
        "provider",
        "external",
        "node, and the npm package `oidc-provider` in tests/provider/node_modules",
    ),
    (
        "shipping",
        "external",
        "systemd-analyze, and the PyPI packages of tests/shipping/requirements.txt",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_suite_that_needs_more_than_rust_is_listed_and_run_by_the_script() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Value = toml::from_str(&manifest).expect("TOML");
    let declared: Vec<(&str, &str)> = manifest["test"]
        .as_array()
        .expect("[[test]]")
        .iter()
        .filter_map(|target| {
            let features = target.get("required-features")?.as_array()?;
            assert_eq!(features.len(), 1, "one feature for each suite: {target}");
            Some((target["name"].as_str()?, features[0].as_str()?))
        })
        .collect();
    let listed: Vec<(&str, &str)> = SUITES
        .iter()
        .map(|(name, feature, _)| (*name, *feature))
        .collect();
    assert_eq!(declared, listed, "Cargo.toml and this list");

    let script = fs::read_to_string(root().join("scripts/test")).expect("scripts/test");
    assert!(script.contains("cargo nextest run --locked --all-features"));
    for (name, feature, needs) in SUITES {
        assert!(
            manifest["features"].get(feature).is_some(),
            "{name}: there is no feature {feature}"
        );
        assert!(
            root().join(format!("tests/{name}.rs")).is_file(),
            "{name}: there is no such file"
        );
        println!("tests/{name}.rs runs by scripts/test; it needs {needs}");
    }
}
