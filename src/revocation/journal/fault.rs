//! What can be wrong with a journal, in words that tell an operator what to do.
//!
//! Owns the sorting of errors: those of which a disk with room or another owner is the cure, and those of which it is not.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::layout;

/// What went wrong with a file that is open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Store(redb::Error),
    #[error("it does not hold what this version of Portcullis writes")]
    Foreign,
}

impl From<layout::Foreign> for Fault {
    fn from(_: layout::Foreign) -> Self {
        Self::Foreign
    }
}

macro_rules! from_store {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => Self::Io(error),
                    other => Self::Store(other),
                }
            }
        })*
    };
}

from_store!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Why a store cannot be used: the gateway ends with it at start.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error(
        "the revocation store {file} is in use by another process, after {waited:?} still; end that gateway first, or give this one a [server] state_dir of its own",
        file = file.display()
    )]
    InUse { file: PathBuf, waited: Duration },
    #[error(
        "the revocation store {file} cannot be used: {error}; see that its directory exists, that the user of the gateway may write there, and that the disk has room, or name another [server] state_dir",
        file = file.display()
    )]
    Unusable { file: PathBuf, error: String },
    #[error(
        "the revocation store {file} is damaged: {error}; it was left as it is. Save what can be read with `portcullis revocations export --config FILE > saved.jsonl`, move the file aside, and bring the rest back with `portcullis revocations import --config FILE saved.jsonl`",
        file = file.display()
    )]
    Damaged { file: PathBuf, error: String },
    #[error("the gateway ended before its revocation store was open")]
    Ended,
}

impl StoreFault {
    /// Sorts what went wrong when `file` was opened.
    pub(super) fn of(file: PathBuf, fault: &Fault) -> Self {
        let error = fault.to_string();
        match fault {
            Fault::Store(redb::Error::DatabaseAlreadyOpen) => Self::InUse {
                file,
                waited: Duration::ZERO,
            },
            Fault::Io(error) if !is_about_content(error) => Self::Unusable {
                file,
                error: error.to_string(),
            },
            _ => Self::Damaged { file, error },
        }
    }
}

/// Whether what was read is wrong, and not the reading of it.
fn is_about_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}
