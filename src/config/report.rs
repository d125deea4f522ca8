//! What is wrong with a configuration, and where.
//!
//! Owns faults and warnings and how they are printed. Knows nothing of the keys it is told about, and
//! nobody may hand it the value of a secret.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::time::UnixTime;

/// One place in the file and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As the caller named it.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Like `issuer[0].audiences`; `file` and `syntax` where there is no key to name.
    pub key: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl Finding {
    fn write(&self, formatter: &mut fmt::Formatter<'_>, label: &str) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            key,
            message,
        } = self;
        write!(
            formatter,
            "{}:{line}:{column}: {label}{key}: {message}",
            file.display()
        )
    }
}

/// What keeps the configuration from being used: `FILE:LINE:COLUMN: key.path: what is wrong, what is expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub Finding);

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(formatter, "")
    }
}

/// What is legal but unsafe: `FILE:LINE:COLUMN: warning: key.path: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Finding);

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(formatter, "warning: ")
    }
}

/// Every fault of a configuration, in the order of the file; `Display` is one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// At least one.
    pub faults: Vec<Fault>,
    /// What would still be worth a word if there were no faults.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A file that the configuration names and that belongs to it: read anew, it makes the configuration another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedFile {
    pub path: PathBuf,
    /// Of what it held when it was read.
    pub digest: ContentDigest,
}

/// Tells one content of a file from another, without keeping what may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    pub fn of(content: &[u8]) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Self(digest)
    }
}

/// Where something stands: the path of its key, and the byte at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) offset: usize,
}

/// Collects faults and warnings while a file is read.
#[derive(Debug)]
pub(super) struct Report<'text> {
    file: &'text Path,
    text: &'text str,
    now: UnixTime,
    followed: RefCell<Vec<FollowedFile>>,
    faults: RefCell<Vec<(Place, String)>>,
    warnings: RefCell<Vec<(Place, String)>>,
}

impl<'text> Report<'text> {
    pub(super) fn new(file: &'text Path, text: &'text str, now: UnixTime) -> Self {
        Self {
            file,
            text,
            now,
            followed: RefCell::default(),
            faults: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// When the file is read: what has expired by then is of no use.
    pub(super) fn now(&self) -> UnixTime {
        self.now
    }

    /// A change of that file is a change of the configuration.
    pub(super) fn follow(&self, path: &Path, content: &[u8]) {
        self.followed.borrow_mut().push(FollowedFile {
            path: path.to_owned(),
            digest: ContentDigest::of(content),
        });
    }

    /// The files that were followed so far.
    pub(super) fn followed(&self) -> Vec<FollowedFile> {
        self.followed.take()
    }

    pub(super) fn fault(&self, place: Place, message: impl Into<String>) {
        self.faults.borrow_mut().push((place, message.into()));
    }

    pub(super) fn warn(&self, place: Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push((place, message.into()));
    }

    /// A path that the configuration names, which is relative to the file that names it.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        match self.file.parent() {
            Some(directory) => directory.join(path),
            None => PathBuf::from(path),
        }
    }

    /// Whether anything was found that keeps the configuration from being used.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// What was found, in the order of the file.
    pub(super) fn into_findings(self) -> (Vec<Fault>, Vec<Warning>) {
        let faults = self.locate(self.faults.take());
        let warnings = self.locate(self.warnings.take());
        (
            faults.into_iter().map(Fault).collect(),
            warnings.into_iter().map(Warning).collect(),
        )
    }

    fn locate(&self, mut found: Vec<(Place, String)>) -> Vec<Finding> {
        found.sort_by_key(|(place, _)| place.offset);
        let mut findings: Vec<Finding> = found
            .into_iter()
            .map(|(place, message)| {
                let (line, column) = line_and_column(self.text, place.offset);
                Finding {
                    file: self.file.to_owned(),
                    line,
                    column,
                    key: place.path,
                    message,
                }
            })
            .collect();
        // The TOML parser may say the same twice of one place.
        findings.dedup();
        findings
    }
}

/// Both from 1; columns count characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut line = 1;
    let mut column = 1;
    for (position, character) in text.char_indices() {
        if position >= offset {
            break;
        }
        if character == '\n' {
            line += 1;
            column = 1;
        } else if character != '\u{feff}' {
            column += 1;
        }
    }
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::line_and_column;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let text = "a = 1\nü = \"ö\" x";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('x').unwrap()), (2, 9));
        assert_eq!(line_and_column(text, 1000), (2, 10));
    }
}
