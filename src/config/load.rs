//! From a file to a [`Config`], or to every fault in it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::de::DeTable;

use super::report::{Place, Report};
use super::{
    Admin, Config, ContentDigest, Fault, Faults, Finding, FollowedFile, Warning, sections,
};
use crate::time::Clock;

/// No configuration is larger.
const LARGEST: u64 = 4 << 20;

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// What is legal but unsafe, in the order of the file.
    pub warnings: Vec<Warning>,
    /// Of the text that says it, to know a change by.
    pub digest: ContentDigest,
    /// The files whose change is a change of the configuration too.
    pub followed: Vec<FollowedFile>,
}

/// Reads the configuration in `path`, and the files that it names. Nothing is written, and no network is asked.
///
/// # Errors
/// Every fault at once, in the order of the file. A file that cannot be read is one, too.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_content(read(path), path)
}

/// As [`load`], from a stream that `name` stands for; relative paths in it start in the working directory.
///
/// # Errors
/// As [`load`].
pub fn load_stream(stream: impl Read, name: &Path) -> Result<Loaded, Faults> {
    load_content(read_all(stream), name)
}

fn load_content(content: Result<Vec<u8>, String>, path: &Path) -> Result<Loaded, Faults> {
    let content = content.map_err(|problem| unreadable(path, &problem))?;
    match String::from_utf8(content) {
        Ok(text) => load_text(&text, path),
        Err(error) => Err(not_utf8(path, &error)),
    }
}

/// What a file says of the admin listener, whatever else in it is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedAdmin {
    /// `None` where the file cannot say it.
    pub admin: Option<Admin>,
    /// What keeps the section, or the whole file, from being read.
    pub faults: Vec<Fault>,
}

/// Reads `[admin]` alone: a gateway survives a wrong edit on the configuration it runs on, and must still be found.
pub fn load_admin(path: &Path) -> LoadedAdmin {
    let text = read(path).map(|content| String::from_utf8_lossy(&content).into_owned());
    let text = match text {
        Ok(text) => text,
        Err(problem) => {
            let faults = unreadable(path, &problem).faults;
            return LoadedAdmin {
                admin: None,
                faults,
            };
        }
    };
    let report = Report::new(path, &text, Clock::system().now());
    let (table, errors) = DeTable::parse_recoverable(&text);
    let table = table.get_ref();
    report_syntax(&report, &text, &errors);
    // In a broken text the section may be among what could not be read: then its absence says nothing.
    let is_told = errors.is_empty() || table.contains_key("admin");
    let admin = is_told
        .then(|| sections::read_admin(&report, table))
        .flatten();
    let (faults, _) = report.into_findings();
    LoadedAdmin { admin, faults }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_all(File::open(path).map_err(|error| describe(&error))?)
}

fn read_all(stream: impl Read) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    stream
        .take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| describe(&error))?;
    if content.len() as u64 > LARGEST {
        return Err("is larger than 4MiB".to_owned());
    }
    Ok(content)
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        kind => format!("cannot be read ({kind})"),
    }
}

fn unreadable(path: &Path, problem: &str) -> Faults {
    Faults {
        faults: vec![Fault(Finding {
            file: path.to_owned(),
            line: 1,
            column: 1,
            key: "file".to_owned(),
            message: format!("{problem}, expected a readable configuration file"),
        })],
        warnings: Vec::new(),
    }
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Faults {
    let valid = error.utf8_error().valid_up_to();
    let readable = error.as_bytes().get(..valid).unwrap_or_default();
    let text = String::from_utf8_lossy(readable);
    let report = Report::new(path, &text, Clock::system().now());
    report.fault(
        syntax(valid),
        "holds bytes that are not UTF-8, expected TOML in UTF-8",
    );
    let (faults, warnings) = report.into_findings();
    Faults { faults, warnings }
}

/// As [`load`], for a text that is already read; relative paths in it start beside `path`.
///
/// # Errors
/// Every fault at once, in the order of the text.
pub fn load_text(text: &str, path: &Path) -> Result<Loaded, Faults> {
    let report = Report::new(path, text, Clock::system().now());
    let (table, errors) = DeTable::parse_recoverable(text);
    // What a broken text was meant to say is not worth guessing: its other faults come next time.
    let config = if errors.is_empty() {
        sections::read(&report, table.get_ref())
    } else {
        report_syntax(&report, text, &errors);
        None
    };
    if config.is_none() && !report.has_faults() {
        // Cannot happen: whoever gives up reports why. Refusing is the safe answer all the same.
        report.fault(syntax(0), "is unusable, expected a complete configuration");
    }
    let followed = report.followed();
    let (faults, warnings) = report.into_findings();
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded {
            config,
            warnings,
            digest: ContentDigest::of(text.as_bytes()),
            followed,
        }),
        _ => Err(Faults { faults, warnings }),
    }
}

/// One fault per line: the parser's further complaints about a line come of the first.
fn report_syntax(report: &Report<'_>, text: &str, errors: &[toml::de::Error]) {
    let mut places: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
        .collect();
    places.sort_by_key(|(offset, _)| *offset);
    let mut reported = None;
    for (offset, message) in places {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count();
        if reported.replace(line) != Some(line) {
            report.fault(syntax(offset), format!("is not TOML: {message}"));
        }
    }
}

fn syntax(offset: usize) -> Place {
    Place {
        path: "syntax".to_owned(),
        offset,
    }
}
