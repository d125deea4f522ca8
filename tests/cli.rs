//! The command line, as people and scripts use it: what is printed, and the exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "cli/check.rs"]
mod check;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/operator.rs"]
mod operator;
#[path = "cli/plain.rs"]
mod plain;

use support::command;

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    errors: String,
}

fn run_with(arguments: &[&str], input: &str) -> Ended {
    let output = command(arguments, input);
    Ended {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ended {
    run_with(arguments, "")
}
