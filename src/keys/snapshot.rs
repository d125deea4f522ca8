//! The last good key set on disk, so that a restart during an outage of the provider refuses nobody.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// One issuer's file.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    issuer: String,
    source: String,
}

/// What the file holds. Issuer and source must be the configured ones, or the keys are somebody else's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    issuer: String,
    source: String,
    fetched_at: i64,
    document: String,
}

impl SnapshotFile {
    pub(super) fn new(state_dir: &Path, name: &str, issuer: &str, source: String) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let mut file = data_encoding::HEXLOWER.encode(digest.as_ref());
        file.truncate(32);
        Self {
            path: state_dir.join("keys").join(file).with_extension("json"),
            issuer: issuer.to_owned(),
            source,
        }
    }

    /// When the document was fetched, and the document. A file that is damaged or another's is left aside.
    pub(super) fn load(&self) -> Option<(UnixTime, Vec<u8>)> {
        let text = std::fs::read(&self.path).ok()?;
        let content: Option<Content> = serde_json::from_slice(&text).ok();
        let content = content
            .filter(|content| content.issuer == self.issuer && content.source == self.source);
        if content.is_none() {
            tracing::warn!(file = %self.path.display(), "key snapshot is damaged or of another source; it is not used");
        }
        let content = content?;
        Some((
            UnixTime::from_seconds(content.fetched_at),
            content.document.into_bytes(),
        ))
    }

    /// Writes whole or not at all, readable by the owner only.
    pub(super) fn store(&self, fetched_at: UnixTime, document: &[u8]) -> io::Result<()> {
        let content = Content {
            issuer: self.issuer.clone(),
            source: self.source.clone(),
            fetched_at: fetched_at.as_seconds(),
            document: String::from_utf8_lossy(document).into_owned(),
        };
        if let Some(folder) = self.path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let partial = self.path.with_extension("partial");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(serde_json::to_string(&content)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, &self.path)
    }
}
