//! The last good key set on disk, so that a restart during an outage of the provider is no outage of ours.
//!
//! Owns the file and its form. One file for each issuer, replaced as a whole; what is corrupt, foreign or too old
//! is as good as absent.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// Where one issuer's last good set is kept, and whose it must be.
#[derive(Clone, Debug)]
pub(super) struct LastGood {
    path: PathBuf,
    owner: Owner,
}

/// What a stored set must have come from to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The `iss` the keys verify.
    pub(super) issuer: String,
    /// SHA-256 of the source, in hexadecimal: an address may hold what should not be written down.
    pub(super) source: String,
}

#[derive(Serialize)]
struct Written<'document> {
    #[serde(flatten)]
    owner: &'document Owner,
    /// When the fetch began, in microseconds since the epoch.
    fetched_at: i64,
    document: &'document str,
}

#[derive(Deserialize)]
struct Read {
    #[serde(flatten)]
    owner: Owner,
    fetched_at: i64,
    document: String,
}

/// A stored set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) document: Vec<u8>,
    /// When the fetch that gave it began.
    pub(super) fetched_at: UnixTime,
}

impl LastGood {
    /// The place of the issuer called `name` under `state_dir`. A name is free text, so its hash names the file.
    pub(super) fn new(state_dir: &Path, name: &str, owner: Owner) -> Self {
        let mut file_name = hash(name.as_bytes());
        file_name.truncate(32);
        file_name.push_str(".json");
        Self {
            path: state_dir.join("keys").join(file_name),
            owner,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The stored set, if there is one of this owner. Why a file is not used is logged.
    pub(super) fn load(&self) -> Option<Stored> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let error = error.kind();
                tracing::warn!(file = %self.path.display(), %error, "stored keys cannot be read");
                return None;
            }
        };
        let Ok(read) = serde_json::from_slice::<Read>(&content) else {
            tracing::warn!(file = %self.path.display(), "stored keys are corrupt and are not used");
            return None;
        };
        if read.owner != self.owner {
            tracing::warn!(file = %self.path.display(), "stored keys are of another issuer or source and are not used");
            return None;
        }
        Some(Stored {
            document: read.document.into_bytes(),
            fetched_at: UnixTime::default().plus(std::time::Duration::from_micros(
                u64::try_from(read.fetched_at).unwrap_or_default(),
            )),
        })
    }

    /// Replaces the stored set. A reader, or a crash, sees the old file or the new one.
    pub(super) fn store(&self, stored: &Stored) -> io::Result<()> {
        let written = Written {
            owner: &self.owner,
            fetched_at: stored.fetched_at.as_micros(),
            document: std::str::from_utf8(&stored.document).map_err(io::Error::other)?,
        };
        let content = serde_json::to_vec(&written)?;
        if let Some(directory) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        // A name of its own: an old and a new refresher of the same issuer overlap during a reload.
        let temporary = self
            .path
            .with_extension(format!("{:016x}.tmp", fastrand::u64(..)));
        let replaced =
            write_through(&temporary, &content).and_then(|()| fs::rename(&temporary, &self.path));
        if replaced.is_err() {
            drop(fs::remove_file(&temporary));
        }
        replaced
    }
}

impl Owner {
    /// The owner of what `source` gives for `issuer`.
    pub(super) fn new(issuer: &str, source: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            source: hash(source.as_bytes()),
        }
    }
}

fn write_through(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn place(directory: &Path, source: &str) -> LastGood {
        LastGood::new(
            directory,
            "corp",
            Owner::new("https://id.example.com", source),
        )
    }

    fn stored() -> Stored {
        Stored {
            document: br#"{"keys":[]}"#.to_vec(),
            fetched_at: UnixTime::from_seconds(1_700_000_000),
        }
    }

    #[test]
    fn what_is_stored_is_loaded_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = place(directory.path(), "url:a");
        assert_eq!(last_good.load(), None);
        last_good.store(&stored()).unwrap();
        last_good.store(&stored()).unwrap();
        assert_eq!(last_good.load(), Some(stored()));
        let mode = fs::metadata(&last_good.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(directory.path().join("keys")).unwrap().count();
        assert_eq!(files, 1, "no temporary file stays");
    }

    #[test]
    fn a_set_from_another_source_or_a_broken_file_is_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = place(directory.path(), "url:a");
        last_good.store(&stored()).unwrap();
        assert_eq!(place(directory.path(), "url:b").load(), None);
        fs::write(&last_good.path, "{\"issuer\":").unwrap();
        assert_eq!(last_good.load(), None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(place(&file, "url:a").store(&stored()).is_err());
    }
}
