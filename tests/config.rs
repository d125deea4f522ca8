//! The configuration as its user meets it: files that are good, files that are wrong, and what is said of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use portcullis::cli::check;
use portcullis::config;

#[path = "tls_support/certificates.rs"]
mod certificates;
#[path = "config/documents.rs"]
mod documents;
#[path = "config/examples.rs"]
mod examples;
#[path = "config/files.rs"]
mod files;
#[path = "config/never_panics.rs"]
mod never_panics;
#[path = "config/values.rs"]
mod values;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// An otherwise good file, with `issuer` and `route` added to its sections.
fn file_with(issuer: &str, route: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:8080"]
[[issuer]]
name = "corp"
issuer = "https://id.example.com/"
jwks_uri = "https://id.example.com/jwks.json"
audiences = ["https://api.example.com"]
max_lifetime = "24h"
{issuer}
[[upstream]]
name = "api"
servers = ["http://127.0.0.1:3000"]
[[route]]
path = "/api/*"
upstream = "api"
{route}
"#
    )
}

/// Good without warnings.
fn loaded(text: &str) -> config::Config {
    let loaded =
        config::load_text(text, Path::new("test.toml")).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

/// The warnings of a good file, as printed.
fn warnings(text: &str) -> Vec<String> {
    let loaded =
        config::load_text(text, Path::new("test.toml")).unwrap_or_else(|faults| panic!("{faults}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// The faults of a wrong file, as printed.
fn faults(text: &str) -> Vec<String> {
    let faults =
        config::load_text(text, Path::new("test.toml")).expect_err("the file should be refused");
    faults.faults.iter().map(ToString::to_string).collect()
}
