//! Commands that ask nobody: schema, completions, version, and wrong usage.

use serde_json::Value;

use super::run;

#[test]
fn schema_prints_a_json_schema_of_every_section() {
    let ended = run(&["schema"]);
    assert_eq!(ended.code, 0, "{}", ended.errors);
    let schema: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert!(schema["$schema"].is_string());
    let sections = schema["properties"].as_object().expect("properties");
    for section in [
        "server",
        "admin",
        "log",
        "token_cache",
        "issuer",
        "upstream",
        "route",
        "identity",
        "revocation",
    ] {
        assert!(sections.contains_key(section), "{section}");
    }
}

#[test]
fn completions_are_printed_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.code, 0, "{shell}: {}", ended.errors);
        for word in ["portcullis", "healthcheck", "explain"] {
            assert!(ended.out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(&["man", folder.path().to_str().expect("UTF-8")]);
    assert_eq!(ended.code, 0, "{}", ended.errors);
    for page in ["portcullis", "portcullis-check", "portcullis-revoke"] {
        let page = std::fs::read_to_string(folder.path().join(format!("{page}.1")));
        assert!(page.expect("a page").contains(".SH SYNOPSIS"));
    }
    let nowhere = run(&["man", "/nowhere/at/all"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.errors.starts_with("portcullis: "),
        "{}",
        nowhere.errors
    );
}

#[test]
fn completions_offer_the_kinds_of_revocation() {
    let kinds = "jti subject session client key token";
    assert!(run(&["completions", "bash"]).out.contains(kinds));
}

#[test]
fn version_is_that_of_the_package() {
    let ended = run(&["--version"]);
    assert_eq!(
        (ended.code, ended.out.trim()),
        (0, concat!("portcullis ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn wrong_usage_ends_with_2_and_says_why() {
    let rows: [&[&str]; 14] = [
        &[],
        &["frobnicate"],
        &["--frobnicate"],
        &["--config"],
        &["serve"],
        &["check"],
        &["explain", "a.b.c"],
        &["completions"],
        &["completions", "cmd.exe"],
        &["revoke", "--issuer", "corp"],
        &["revoke", "--jti", "a", "--subject", "b", "--issuer", "corp"],
        &["revoke", "--jti", "a"],
        &["restore"],
        &["revocations", "--kind", "person"],
    ];
    for arguments in rows {
        let ended = run(arguments);
        assert_eq!(
            ended.code, 2,
            "{arguments:?}: {}{}",
            ended.out, ended.errors
        );
        assert!(!ended.errors.is_empty(), "{arguments:?}");
    }
}
