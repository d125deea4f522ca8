//! The house, held to its plan: who may use whom, and how long a file may be.
//!
//! Reads the sources as text, so that a border holds without anybody looking. How long a function may be is clippy's
//! to say (`too_many_lines`).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The levels of `ARCHITECTURE.md`, lowest first, finer than drawn there where modules of one level are allowed to know
/// each other in one direction: `identity → time`, `telemetry → config`, `main → cli → app`.
const LEVELS: &[&[&str]] = &[
    &["rejection", "algorithm", "counter", "request_id", "time"],
    &["identity", "tls"],
    &["config"],
    &["telemetry"],
    &["keys", "revocation"],
    &["gate"],
    &["proxy", "admin"],
    &["app"],
    &["cli"],
];

/// Modules that may not use a level below them all the same, because the plan draws no line between the two.
const FORBIDDEN: &[(&str, &str)] = &[
    ("keys", "telemetry"),
    ("revocation", "telemetry"),
    ("gate", "telemetry"),
    ("config", "rejection"),
    ("admin", "keys"),
    ("admin", "gate"),
    ("proxy", "keys"),
    ("proxy", "revocation"),
];

/// Lines, of any file of ours.
const LONGEST_FILE: usize = 500;

/// One mention of a module by another.
#[derive(Debug, PartialEq)]
struct Mention {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).expect("a folder");
    for entry in entries.map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() && !entry.ends_with("node_modules") {
            found.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The first part of a path below `src`, without its ending.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).expect("below src");
    let first = below.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The names that follow `crate::` on a line of code; groups (`crate::{a, b}`) give each of theirs.
fn modules_named_on(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let group = match rest.strip_prefix('{') {
            Some(group) => group.split(',').collect(),
            None => vec![rest],
        };
        for item in group {
            let name: String = item
                .trim_start()
                .chars()
                .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
                .collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

fn mentions() -> Vec<Mention> {
    let mut found = Vec::new();
    for file in rust_files(&root().join("src")) {
        let from = module_of(&file);
        let text = fs::read_to_string(&file).expect("UTF-8");
        for (number, line) in text.lines().enumerate() {
            for to in modules_named_on(line) {
                found.push(Mention {
                    file: file.clone(),
                    line: number + 1,
                    from: from.clone(),
                    to,
                });
            }
        }
    }
    found
}

fn level_of(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// The binary's root and the library's may name anything.
fn is_root(module: &str) -> bool {
    matches!(module, "main" | "lib")
}

fn is_allowed(from: &str, to: &str) -> bool {
    if from == to || is_root(from) {
        return true;
    }
    if FORBIDDEN.contains(&(from, to)) {
        return false;
    }
    matches!((level_of(from), level_of(to)), (Some(from), Some(to)) if to < from)
}

#[test]
fn a_module_uses_only_what_is_drawn_below_it() {
    let mentions = mentions();
    assert!(
        mentions.len() > 50,
        "the sources were not found: {mentions:?}"
    );
    let faults: Vec<_> = mentions
        .iter()
        .filter(|mention| !is_allowed(&mention.from, &mention.to))
        .collect();
    assert!(faults.is_empty(), "over the border: {faults:#?}");
}

#[test]
fn every_module_has_its_place_in_the_plan() {
    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        assert!(
            is_root(&module) || level_of(&module).is_some(),
            "{module} has no level: {}",
            file.display()
        );
    }
}

#[test]
fn a_border_that_is_crossed_is_seen() {
    assert_eq!(
        modules_named_on("    let kind = crate::keys::SkipReason::Weak; // crate::gate::x"),
        ["keys"]
    );
    assert_eq!(
        modules_named_on("use crate::{config::Config, time::Clock};"),
        ["config", "time"]
    );
    assert!(!is_allowed("gate", "proxy"), "upwards");
    assert!(!is_allowed("keys", "revocation"), "sideways");
    assert!(!is_allowed("keys", "telemetry"), "no line between them");
    assert!(is_allowed("telemetry", "config"));
    assert!(is_allowed("keys", "keys"));
}

#[test]
fn files_are_short_enough_to_read() {
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        if !folder.is_dir() {
            continue;
        }
        for file in rust_files(&folder) {
            let lines = fs::read_to_string(&file).expect("UTF-8").lines().count();
            assert!(
                lines <= LONGEST_FILE,
                "{} has {lines} lines, {LONGEST_FILE} at most",
                file.display()
            );
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for file in rust_files(&root().join("src")) {
        // A file of tests belongs to the module beside it.
        if file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("UTF-8");
        assert!(text.starts_with("//!"), "{}", file.display());
    }
}
