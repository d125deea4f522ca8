//! The journal's tables, and what each change does to them.
//!
//! Owns which tables there are and that they agree with each other. Knows nothing of files, threads or the set in memory.

use std::collections::HashMap;

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::Imported;
use super::fault::Fault;
use super::layout::{EntryRow, NoteRow};
use super::standings::{STANDING_ENDS, STANDINGS};
use crate::revocation::change::{Change, Outcome, RevocationId, Revoked};
use crate::revocation::entry::{NewRevocation, Revocation};
use crate::time::UnixTime;

pub(super) type IdKey = &'static [u8; 16];

/// What the gate needs of each revocation, by id: all that loading reads.
pub(super) const ENTRIES: TableDefinition<'_, IdKey, &[u8]> = TableDefinition::new("entries");
/// What only operators are told, in the order of creation.
pub(super) const NOTES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("notes");
/// End and place in the order of creation, of all that ends.
pub(super) const ENDS: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("ends");
/// The issuers' texts by the numbers that entries have for them. Issuers are few, so that none is ever dropped.
pub(super) const ISSUERS: TableDefinition<'_, u32, &str> = TableDefinition::new("issuers");
/// What is said once: the names below.
pub(super) const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

pub(super) const FORMAT: &str = "format";
pub(super) const THIS_FORMAT: &[u8] = b"portcullis revocations 1";
const NEXT_SEQUENCE: &str = "next_sequence";
pub(super) const POSITION: &str = "position";

/// The issuers' numbers, so that a change need not look for them.
#[derive(Debug, Default)]
pub(super) struct Issuers(pub(super) HashMap<Box<str>, u32>);

/// Makes the tables of a new file.
pub(super) fn create(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(NOTES)?;
    transaction.open_table(ENDS)?;
    transaction.open_table(ISSUERS)?;
    transaction.open_table(STANDINGS)?;
    transaction.open_table(STANDING_ENDS)?;
    transaction.open_table(FACTS)?.insert(FORMAT, THIS_FORMAT)?;
    Ok(transaction.commit()?)
}

/// Runs one durable transaction; nothing of it is kept unless it is `Ok`.
pub(super) fn transact<T>(
    database: &Database,
    numbers: &mut Issuers,
    work: impl FnOnce(&mut Writing<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = database.begin_write()?;
    let mut writing = Writing::new(&transaction, numbers)?;
    let done = work(&mut writing)?;
    writing.finish()?;
    transaction.commit()?;
    Ok(done)
}

/// The tables while they are changed.
pub(super) struct Writing<'txn> {
    entries: Table<'txn, IdKey, &'static [u8]>,
    notes: Table<'txn, u64, &'static [u8]>,
    ends: Table<'txn, (i64, u64), ()>,
    issuers: Table<'txn, u32, &'static str>,
    pub(super) standings: Table<'txn, IdKey, (u64, u64, i64)>,
    pub(super) standing_ends: Table<'txn, (i64, IdKey), ()>,
    facts: Table<'txn, &'static str, &'static [u8]>,
    numbers: &'txn mut Issuers,
    next_sequence: u64,
}

/// Where a revocation was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    sequence: u64,
    ends_at: UnixTime,
    pub(super) is_new: bool,
}

impl<'txn> Writing<'txn> {
    pub(super) fn new(
        transaction: &'txn WriteTransaction,
        numbers: &'txn mut Issuers,
    ) -> Result<Self, Fault> {
        let facts = transaction.open_table(FACTS)?;
        let next_sequence = match facts.get(NEXT_SEQUENCE)? {
            Some(bytes) => {
                u64::from_le_bytes(bytes.value().try_into().map_err(|_| Fault::Foreign)?)
            }
            None => 0,
        };
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            notes: transaction.open_table(NOTES)?,
            ends: transaction.open_table(ENDS)?,
            issuers: transaction.open_table(ISSUERS)?,
            standings: transaction.open_table(STANDINGS)?,
            standing_ends: transaction.open_table(STANDING_ENDS)?,
            facts,
            numbers,
            next_sequence,
        })
    }

    /// Makes one change.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Outcome, Fault> {
        match change {
            Change::Revoke { new, at } => {
                let put = self.put(new, *at)?;
                let revocation = self.described(new, put)?;
                Ok(Outcome::Revoked(Revoked {
                    revocation,
                    is_new: put.is_new,
                }))
            }
            Change::Restore { id, at } => {
                let restored = self.restore(*id, *at)?;
                if restored.is_some() {
                    self.restore_standing(*id)?;
                }
                Ok(Outcome::Restored(restored))
            }
            Change::Settle { account, at } => self.settle(account, *at),
        }
    }

    /// Puts a revocation where it belongs.
    pub(super) fn put(&mut self, new: &NewRevocation, at: UnixTime) -> Result<Put, Fault> {
        let id = RevocationId::of(new);
        if let Some((held_end, sequence)) = self.place_of(id)? {
            if at < held_end {
                let ends_at = held_end.max(new.ends_at());
                if ends_at != held_end {
                    self.drop_end(held_end, sequence)?;
                    self.write_entry(new, id, sequence, ends_at)?;
                    self.write_end(ends_at, sequence)?;
                }
                return Ok(Put {
                    sequence,
                    ends_at,
                    is_new: false,
                });
            }
            self.remove(id, held_end, sequence)?;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.write_entry(new, id, sequence, new.ends_at())?;
        self.write_end(new.ends_at(), sequence)?;
        let note = NoteRow::of(new, id, at);
        self.notes.insert(sequence, note.write().as_slice())?;
        Ok(Put {
            sequence,
            ends_at: new.ends_at(),
            is_new: true,
        })
    }

    /// Puts very many, each table in its own order, so that every page is touched once. A restoration among them is
    /// passed over.
    pub(super) fn put_all(&mut self, changes: &[Change]) -> Result<Imported, Fault> {
        let asked = changes.iter().filter_map(|change| match change {
            Change::Revoke { new, at } => Some((RevocationId::of(new), new, *at)),
            Change::Restore { .. } | Change::Settle { .. } => None,
        });
        let mut asked: Vec<_> = asked.zip(self.next_sequence..).collect();
        self.next_sequence += asked.len() as u64;
        // The same again stands beside the first, in the order given.
        asked.sort_by_key(|((id, ..), _)| *id);
        let mut imported = Imported::default();
        let (mut notes, mut ends) = (Vec::new(), Vec::new());
        for same in asked.chunk_by(|((one, ..), _), ((other, ..), _)| one == other) {
            let Some(((id, new, at), sequence)) = same.first().copied() else {
                continue;
            };
            let asked_end = same.iter().map(|((_, new, _), _)| new.ends_at()).max();
            let asked_end = asked_end.unwrap_or(UnixTime::MAX);
            imported.known += same.len() as u64 - 1;
            match self.place_of(id)? {
                Some((held_end, held)) if at < held_end => {
                    imported.known += 1;
                    if asked_end > held_end {
                        self.drop_end(held_end, held)?;
                        self.write_entry(new, id, held, asked_end)?;
                        ends.push((asked_end, held));
                    }
                    continue;
                }
                Some((held_end, held)) => self.remove(id, held_end, held)?,
                None => {}
            }
            imported.new += 1;
            self.write_entry(new, id, sequence, asked_end)?;
            ends.push((asked_end, sequence));
            notes.push((sequence, NoteRow::of(new, id, at)));
        }
        notes.sort_unstable_by_key(|(sequence, _)| *sequence);
        for (sequence, note) in notes {
            self.notes.insert(sequence, note.write().as_slice())?;
        }
        ends.sort_unstable();
        for (ends_at, sequence) in ends {
            self.write_end(ends_at, sequence)?;
        }
        Ok(imported)
    }

    /// Takes out at most so many that have ended, and says how many.
    pub(super) fn remove_ended(&mut self, now: UnixTime, at_most: usize) -> Result<usize, Fault> {
        let is_past = |ends_at: i64| ends_at <= now.as_micros();
        for removed in 0..at_most {
            let first = self.ends.first()?.map(|(key, _)| key.value());
            if let Some((ends_at, sequence)) = first.filter(|(ends_at, _)| is_past(*ends_at)) {
                let id = self.id_at(sequence)?;
                self.remove(id, UnixTime::from_micros(ends_at), sequence)?;
                continue;
            }
            if !self.forget_standing(now)? {
                return Ok(removed);
            }
        }
        Ok(at_most)
    }

    /// Keeps where a feed has been read to.
    pub(super) fn set_position(&mut self, position: &[u8]) -> Result<(), Fault> {
        self.facts.insert(POSITION, position)?;
        Ok(())
    }

    /// Writes down what the tables have in memory. Before the transaction is committed.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        let next = self.next_sequence.to_le_bytes();
        self.facts.insert(NEXT_SEQUENCE, next.as_slice())?;
        Ok(())
    }

    /// End and place of the revocation of that id.
    pub(super) fn place_of(&self, id: RevocationId) -> Result<Option<(UnixTime, u64)>, Fault> {
        let Some(bytes) = self.entries.get(&id.0.0)? else {
            return Ok(None);
        };
        let row = EntryRow::read(bytes.value())?;
        Ok(Some((row.ends_at, row.sequence)))
    }

    fn id_at(&self, sequence: u64) -> Result<RevocationId, Fault> {
        let bytes = self.notes.get(sequence)?.ok_or(Fault::Foreign)?;
        Ok(NoteRow::read(bytes.value())?.id)
    }

    fn described(&self, new: &NewRevocation, put: Put) -> Result<Revocation, Fault> {
        let bytes = self.notes.get(put.sequence)?.ok_or(Fault::Foreign)?;
        let note = NoteRow::read(bytes.value())?;
        Ok(Revocation {
            id: note.id.to_string(),
            issuer: new.issuer.clone(),
            what: new.what.clone(),
            expires_at: (put.ends_at != UnixTime::MAX).then_some(put.ends_at),
            created_at: note.created_at,
            reason: note.reason.map(Into::into),
        })
    }

    pub(super) fn write_entry(
        &mut self,
        new: &NewRevocation,
        id: RevocationId,
        sequence: u64,
        ends_at: UnixTime,
    ) -> Result<(), Fault> {
        let issuer = self.number_of(&new.issuer)?;
        let row = EntryRow {
            ends_at,
            ..EntryRow::of(new, issuer, sequence)
        };
        self.entries.insert(&id.0.0, row.write().as_slice())?;
        Ok(())
    }

    pub(super) fn write_end(&mut self, ends_at: UnixTime, sequence: u64) -> Result<(), Fault> {
        if ends_at != UnixTime::MAX {
            self.ends.insert((ends_at.as_micros(), sequence), ())?;
        }
        Ok(())
    }

    fn restore(&mut self, id: RevocationId, at: UnixTime) -> Result<Option<Revocation>, Fault> {
        let Some(bytes) = self.entries.get(&id.0.0)? else {
            return Ok(None);
        };
        let row = EntryRow::read(bytes.value())?;
        let (ends_at, sequence) = (row.ends_at, row.sequence);
        let revocation = {
            let note = self.notes.get(sequence)?.ok_or(Fault::Foreign)?;
            whole(&row, &NoteRow::read(note.value())?, &self.issuers)?
        };
        drop(bytes);
        self.remove(id, ends_at, sequence)?;
        Ok((at < ends_at).then_some(revocation))
    }

    /// The revocation of that id, ended or not.
    pub(super) fn whole(&self, id: RevocationId) -> Result<Option<Revocation>, Fault> {
        let Some(bytes) = self.entries.get(&id.0.0)? else {
            return Ok(None);
        };
        let row = EntryRow::read(bytes.value())?;
        let note = self.notes.get(row.sequence)?.ok_or(Fault::Foreign)?;
        whole(&row, &NoteRow::read(note.value())?, &self.issuers).map(Some)
    }

    pub(super) fn remove(
        &mut self,
        id: RevocationId,
        ends_at: UnixTime,
        sequence: u64,
    ) -> Result<(), Fault> {
        self.entries.remove(&id.0.0)?;
        self.notes.remove(sequence)?;
        self.drop_end(ends_at, sequence)
    }

    pub(super) fn drop_end(&mut self, ends_at: UnixTime, sequence: u64) -> Result<(), Fault> {
        if ends_at != UnixTime::MAX {
            self.ends.remove((ends_at.as_micros(), sequence))?;
        }
        Ok(())
    }

    fn number_of(&mut self, issuer: &str) -> Result<u32, Fault> {
        if let Some(number) = self.numbers.0.get(issuer) {
            return Ok(*number);
        }
        let number = u32::try_from(self.numbers.0.len()).map_err(|_| Fault::Foreign)?;
        self.issuers.insert(number, issuer)?;
        self.numbers.0.insert(issuer.into(), number);
        Ok(number)
    }
}

/// Both rows of a revocation, put together.
pub(super) fn whole(
    row: &EntryRow<'_>,
    note: &NoteRow<'_>,
    issuers: &impl ReadableTable<u32, &'static str>,
) -> Result<Revocation, Fault> {
    let issuer = issuers.get(row.issuer)?.ok_or(Fault::Foreign)?;
    Ok(Revocation {
        id: note.id.to_string(),
        issuer: issuer.value().into(),
        what: row.what()?,
        expires_at: (row.ends_at != UnixTime::MAX).then_some(row.ends_at),
        created_at: note.created_at,
        reason: note.reason.map(Into::into),
    })
}
