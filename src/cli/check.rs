//! `portcullis check`: says everything that is wrong with a configuration.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config, Fault, Warning};

/// The configuration is wrong.
const WRONG: u8 = 2;

/// Checks `file` (`-`: standard input) without running it: a short line to `out` if it is good, faults and then warnings to `err`.
/// With `strict`, warnings are faults. Exit code 0, or 2 on a fault, or 1 where the streams cannot be written.
pub fn check(file: &Path, strict: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match report(file, strict, out, err) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether the configuration is good.
fn report(file: &Path, strict: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let loaded = if file == Path::new("-") {
        config::load_stream(io::stdin().lock(), file)
    } else {
        config::load(file)
    };
    let (config, faults, warnings) = match loaded {
        Ok(loaded) => (Some(loaded.config), Vec::new(), loaded.warnings),
        Err(faults) => (None, faults.faults, faults.warnings),
    };
    let good = faults.is_empty() && (!strict || warnings.is_empty());
    for fault in faults {
        writeln!(err, "{fault}")?;
    }
    for Warning(finding) in warnings {
        if strict {
            writeln!(err, "{}", Fault(finding))?;
        } else {
            writeln!(err, "{}", Warning(finding))?;
        }
    }
    if let Some(config) = config.filter(|_| good) {
        writeln!(out, "{}: ok ({})", file.display(), summary(&config))?;
    }
    Ok(good)
}

fn summary(config: &Config) -> String {
    let count = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    };
    [
        count(config.issuers.len(), "issuer"),
        count(config.upstreams.len(), "upstream"),
        count(config.routes.len(), "route"),
    ]
    .join(", ")
}
