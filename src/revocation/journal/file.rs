//! The journal's file: where it lies, who may have it, how it is made and opened.
//!
//! Owns the lock that keeps a second process out, permissions, and that a file which cannot be read is left as it is.
//! Knows nothing of what the tables mean.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Builder, ConcurrencyMode, Database, ReadOnlyDatabase};

use super::backend::{Cautious, ReadOnly};
use super::fault::{Fault, StoreFault};
use super::tables;

const FILE: &str = "revocations.redb";
const LOCK: &str = "revocations.lock";
/// What the store may keep of its file in memory, whatever the size of the file.
const CACHE_BYTES: usize = 32 << 20;
/// How often a successor looks whether the file is free.
const LOOK: Duration = Duration::from_millis(50);

/// Where a journal lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    directory: PathBuf,
    file: PathBuf,
}

/// Keeps every other process out, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Place {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            directory: state_dir.to_owned(),
            file: state_dir.join(FILE),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Takes the lock; where another process has it, waits so long for it, or until it is told to stop.
    pub(super) fn lock(
        &self,
        wait: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Lock, StoreFault> {
        let unusable = |error: io::Error| StoreFault::of(self.file.clone(), &error.into());
        self.make_directory().map_err(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.directory.join(LOCK))
            .map_err(unusable)?;
        let mut waited = Duration::ZERO;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Lock(lock)),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
                Err(TryLockError::WouldBlock) if is_over() => return Err(StoreFault::Ended),
                Err(TryLockError::WouldBlock) if waited >= wait => {
                    let file = self.file.clone();
                    return Err(StoreFault::InUse { file, waited });
                }
                Err(TryLockError::WouldBlock) => {
                    if waited.is_zero() {
                        tracing::info!(file = %self.file.display(), longest = ?wait, "waiting for the revocation store, which another process has");
                    }
                    std::thread::sleep(LOOK);
                    waited += LOOK;
                }
            }
        }
    }

    /// Opens the file, or makes one where there is none. Every page of it is checked.
    pub(super) fn open(&self, _lock: &Lock) -> Result<Database, StoreFault> {
        let sort = |fault: Fault| StoreFault::of(self.file.clone(), &fault);
        let is_there = self.file.try_exists().map_err(|error| sort(error.into()))?;
        if !is_there {
            self.create().map_err(sort)?;
            tracing::info!(file = %self.file.display(), "a new revocation store was made");
        }
        let is_empty = fs::metadata(&self.file).is_ok_and(|found| found.len() == 0);
        if is_empty {
            // The library would take it for a new one, and what was in it would be forgotten without a word.
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty");
            return Err(sort(error.into()));
        }
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(&self.file)?;
            let backend = Cautious::new(file);
            let database = builder().create_with_backend(backend.clone())?;
            backend.release()?;
            Ok(database)
        };
        open().map_err(sort)
    }

    /// Opens a file that may be damaged, to read what can be read; nothing of it is changed.
    pub(super) fn open_damaged(&self, _lock: &Lock) -> Result<ReadOnlyDatabase, StoreFault> {
        let open = || {
            let file = ReadOnly(File::open(&self.file)?);
            let mut builder = Builder::new();
            builder
                .set_cache_size(CACHE_BYTES)
                .set_concurrency_mode(ConcurrencyMode::SingleWriter);
            Ok(builder.open_read_only_with_backend(file)?)
        };
        open().map_err(|fault: Fault| StoreFault::of(self.file.clone(), &fault))
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.file.exists()
    }

    /// A file appears under its name only when it is whole and on the disk.
    fn create(&self) -> Result<(), Fault> {
        let unfinished = self.file.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        tables::create(&database)?;
        database.close()?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &self.file)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(())
    }

    fn make_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        match self.directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}
