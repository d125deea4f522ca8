//! How the store's library reaches the file: with nothing written before the file has proved to be whole.
//!
//! Owns two ways. [`Cautious`] holds back what opening would write until it is told that the opening went well, so that a
//! file which cannot be read stays as it was. [`ReadOnly`] shows a damaged file to whoever saves what is left of it.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{BackendError, StorageBackend};

/// One thing that opening would do to the file.
#[derive(Debug)]
enum Held {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// The file, and what is held back; `None` once it was written.
#[derive(Debug)]
struct Inner {
    file: File,
    held: RwLock<Option<Vec<Held>>>,
}

/// A file that is changed only when it has proved to be whole.
#[derive(Clone, Debug)]
pub(super) struct Cautious(Arc<Inner>);

impl Cautious {
    pub(super) fn new(file: File) -> Self {
        let held = RwLock::new(Some(Vec::new()));
        Self(Arc::new(Inner { file, held }))
    }

    /// The opening went well: does what was held back, in its order, and from here on everything at once.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        for one in held.take().unwrap_or_default() {
            match one {
                Held::Write(offset, bytes) => self.0.file.write_all_at(&bytes, offset)?,
                Held::Length(length) => self.0.file.set_len(length)?,
                Held::Sync => self.0.file.sync_data()?,
            }
        }
        Ok(())
    }

    /// Holds it back, if that is still done.
    fn hold(&self, one: impl FnOnce() -> Held) -> bool {
        let is_held = self.held(Option::is_some);
        if is_held {
            let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = held.as_mut() {
                held.push(one());
            }
        }
        is_held
    }

    fn held<T>(&self, look: impl FnOnce(&Option<Vec<Held>>) -> T) -> T {
        look(&self.0.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for Cautious {
    fn len(&self) -> io::Result<u64> {
        let held = self.held(|held| {
            held.iter().flatten().rev().find_map(|one| match one {
                Held::Length(length) => Some(*length),
                _ => None,
            })
        });
        match held {
            Some(length) => Ok(length),
            None => Ok(self.0.file.metadata()?.len()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.held(|held| match held {
            None => self.0.file.read_exact_at(out, offset),
            Some(held) => {
                let is_longer = held.iter().any(|one| matches!(one, Held::Length(_)));
                if is_longer {
                    read_padded(&self.0.file, offset, out)?;
                } else {
                    self.0.file.read_exact_at(out, offset)?;
                }
                for one in held {
                    if let Held::Write(at, bytes) = one {
                        overlay(out, offset, bytes, *at);
                    }
                }
                Ok(())
            }
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.hold(|| Held::Length(length)) {
            return Ok(());
        }
        self.0.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.hold(|| Held::Sync) {
            return Ok(());
        }
        self.0.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.hold(|| Held::Write(offset, data.to_vec())) {
            return Ok(());
        }
        self.0.file.write_all_at(data, offset)
    }
}

/// A file of which nothing is changed. What lies beyond its end reads as zeros.
#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) File);

impl ReadOnly {
    fn refuse() -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl StorageBackend for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_padded(&self.0, offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Self::refuse()
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::refuse()
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Self::refuse()
    }

    // As if another process wrote it: the library then reads it as it is, instead of asking for a repair. Who really
    // may have it is the lock's business.

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        // One byte alone is the writer's, which vouches for the file; ranges are of versions that lock in other ways.
        Ok(matches!((from, to), (Bound::Included(from), Bound::Included(to)) if from == to))
    }
}

fn read_padded(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64)? {
            0 => {
                rest.fill(0);
                return Ok(());
            }
            read => done += read,
        }
    }
    Ok(())
}

/// Writes over `out`, which begins at `offset`, what `bytes` at `at` have in common with it.
fn overlay(out: &mut [u8], offset: u64, bytes: &[u8], at: u64) {
    let skip = |distance: u64| usize::try_from(distance).unwrap_or(usize::MAX);
    let to = out.iter_mut().skip(skip(at.saturating_sub(offset)));
    let from = bytes.iter().skip(skip(offset.saturating_sub(at)));
    for (to, from) in to.zip(from) {
        *to = *from;
    }
}
