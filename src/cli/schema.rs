//! `portcullis schema`: prints the JSON Schema of the configuration.

use std::io::Write;
use std::process::ExitCode;

use crate::config;

/// Writes the schema to `out`. Exit code 0, or 1 where `out` cannot be written.
pub fn schema(out: &mut dyn Write) -> ExitCode {
    match out.write_all(config::schema::text().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
