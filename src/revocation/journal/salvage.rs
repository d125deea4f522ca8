//! What can be read of a damaged file.
//!
//! Owns the reading that goes on where it can: from both ends of the table, and past every row that is not what its id
//! says. Changes nothing.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use super::fault::{Fault, StoreFault};
use super::file::Place;
use super::layout::{EntryRow, NoteRow};
use super::tables::{ENTRIES, ISSUERS, IdKey, NOTES};
use crate::revocation::change::RevocationId;
use crate::revocation::entry::{ID_BYTES, Id, Revocation};
use crate::time::UnixTime;

type Entries = ReadOnlyTable<IdKey, &'static [u8]>;

/// What a damaged file still gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Salvaged {
    pub read: u64,
    /// Rows that are not what their ids say, or whose issuers cannot be read.
    pub spoiled: u64,
    /// Whether a part of the table could not be read at all.
    pub has_gap: bool,
}

/// Shows every revocation that can be read of the file in `state_dir`, in no order, those that have ended too.
pub fn salvage(
    state_dir: &Path,
    show: &mut dyn FnMut(&Revocation),
) -> Result<Salvaged, StoreFault> {
    let place = Place::new(state_dir);
    let lock = place.lock(Duration::ZERO, || false)?;
    let sort = |fault: &Fault| StoreFault::of(place.file().to_owned(), fault);
    // The library may panic where it trusts what it reads.
    let guarded = catch_unwind(AssertUnwindSafe(|| {
        let database = place.open_damaged(&lock)?;
        let transaction = database.begin_read().map_err(|error| sort(&error.into()))?;
        read_all(&transaction, show).map_err(|fault| sort(&fault))
    }));
    guarded.unwrap_or_else(|_| Err(sort(&Fault::Foreign)))
}

fn read_all(
    transaction: &ReadTransaction,
    show: &mut dyn FnMut(&Revocation),
) -> Result<Salvaged, Fault> {
    let mut texts = HashMap::new();
    for row in transaction.open_table(ISSUERS)?.iter()? {
        let Ok((number, text)) = row else { break };
        texts.insert(number.value(), Box::<str>::from(text.value()));
    }
    let notes = transaction.open_table(NOTES)?;
    let entries = transaction.open_table(ENTRIES)?;
    let mut salvaged = Salvaged::default();
    let mut look = |id: Id, bytes: &[u8]| {
        let revocation = sound(RevocationId(id), bytes, &texts, |sequence| {
            let note = || {
                let bytes = notes.get(sequence).ok()??;
                let note = NoteRow::read(bytes.value()).ok()?;
                Some((note.created_at, note.reason.map(Into::into)))
            };
            catch_unwind(AssertUnwindSafe(note)).ok()?
        });
        match revocation {
            Some(revocation) => {
                salvaged.read += 1;
                show(&revocation);
            }
            None => salvaged.spoiled += 1,
        }
    };
    // A page that cannot be read ends a walk. Walks from both ends of many parts lose little more than the page.
    let mut has_gap = false;
    for first in 0..=u8::MAX {
        let [from, until] = [0, u8::MAX].map(|rest| {
            let mut id = [rest; ID_BYTES];
            id.iter_mut().take(1).for_each(|byte| *byte = first);
            id
        });
        let mut last = None;
        let is_whole = walk(&entries, (from, until), Way::Up, |id, bytes| {
            last = Some(id);
            look(Id(id), bytes);
            true
        });
        if !is_whole {
            has_gap = true;
            walk(&entries, (from, until), Way::Down, |id, bytes| {
                let is_further = Some(id) > last;
                if is_further {
                    look(Id(id), bytes);
                }
                is_further
            });
        }
    }
    salvaged.has_gap = has_gap;
    Ok(salvaged)
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// Shows the rows between two ids for as long as they can be read and `show` asks for more; whether it came to the end.
fn walk(
    entries: &Entries,
    (from, until): ([u8; ID_BYTES], [u8; ID_BYTES]),
    way: Way,
    mut show: impl FnMut([u8; ID_BYTES], &[u8]) -> bool,
) -> bool {
    // The library may panic where it trusts what it reads.
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let mut rows = entries.range::<&[u8; ID_BYTES]>(&from..=&until)?;
        loop {
            let row = match way {
                Way::Up => rows.next(),
                Way::Down => rows.next_back(),
            };
            let Some(row) = row else { return Ok(()) };
            let (id, bytes) = row?;
            if !show(*id.value(), bytes.value()) {
                return Ok(());
            }
        }
    }));
    matches!(walked, Ok(Ok::<(), Fault>(())))
}

/// A revocation that is what its id says. Without its note it lacks what only operators are told.
fn sound(
    id: RevocationId,
    bytes: &[u8],
    texts: &HashMap<u32, Box<str>>,
    note: impl FnOnce(u64) -> Option<(UnixTime, Option<Box<str>>)>,
) -> Option<Revocation> {
    let row = EntryRow::read(bytes).ok()?;
    let issuer = texts.get(&row.issuer)?;
    if row.target(issuer).id() != id.0 {
        return None;
    }
    let (created_at, reason) = note(row.sequence).unwrap_or_default();
    Some(Revocation {
        id: id.to_string(),
        issuer: issuer.clone(),
        what: row.what().ok()?,
        expires_at: (row.ends_at != UnixTime::MAX).then_some(row.ends_at),
        created_at,
        reason,
    })
}
