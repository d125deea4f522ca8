//! The journal's tables while they are read.
//!
//! Owns what is read for the gate's index, for operators and for a feed, each as of one moment. Changes nothing.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};

use super::fault::Fault;
use super::layout::{EntryRow, NoteRow};
use super::tables::{
    ENDS, ENTRIES, FACTS, FORMAT, ISSUERS, Issuers, NOTES, POSITION, THIS_FORMAT, whole,
};
use crate::revocation::change::RevocationId;
use crate::revocation::entry::{Id, Revocation};
use crate::revocation::index::Loader;
use crate::revocation::ledger::Query;
use crate::revocation::set::{PAGE_SCAN, Page};
use crate::time::UnixTime;

/// The tables while they are read, as they were at one moment.
pub(super) struct Reading(pub(super) ReadTransaction);

impl Reading {
    /// Of a file that this version wrote.
    pub(super) fn new(database: &impl redb::ReadableDatabase) -> Result<Self, Fault> {
        let reading = Self(database.begin_read()?);
        match reading.fact(FORMAT)? {
            Some(format) if format == THIS_FORMAT => Ok(reading),
            _ => Err(Fault::Foreign),
        }
    }

    /// The numbers of all issuers.
    pub(super) fn issuers(&self) -> Result<Issuers, Fault> {
        let mut numbers = Issuers::default();
        for row in self.0.open_table(ISSUERS)?.iter()? {
            let (number, text) = row?;
            numbers.0.insert(text.value().into(), number.value());
        }
        Ok(numbers)
    }

    /// Puts everything that has not ended into an index; how much there was.
    pub(super) fn load(&self, mut loader: Loader<'_>, now: UnixTime) -> Result<u64, Fault> {
        let texts: HashMap<u32, Box<str>> = self
            .issuers()?
            .0
            .into_iter()
            .map(|(text, number)| (number, text))
            .collect();
        let entries = self.0.open_table(ENTRIES)?;
        loader.make_room_for(usize::try_from(entries.len()?).unwrap_or(usize::MAX));
        let mut count = 0;
        for entry in entries.iter()? {
            let (id, row) = entry?;
            let row = EntryRow::read(row.value())?;
            if now < row.ends_at {
                let issuer = texts.get(&row.issuer).ok_or(Fault::Foreign)?;
                loader.add_known(Id(*id.value()), row.target(issuer), row.ends_at);
                count += 1;
            }
        }
        loader.finish();
        Ok(count)
    }

    /// The revocation of that id.
    pub(super) fn get(&self, id: RevocationId, now: UnixTime) -> Result<Option<Revocation>, Fault> {
        let entries = self.0.open_table(ENTRIES)?;
        let Some(bytes) = entries.get(&id.0.0)? else {
            return Ok(None);
        };
        let row = EntryRow::read(bytes.value())?;
        let notes = self.0.open_table(NOTES)?;
        let note = notes.get(row.sequence)?.ok_or(Fault::Foreign)?;
        let issuers = self.0.open_table(ISSUERS)?;
        let revocation = whole(&row, &NoteRow::read(note.value())?, &issuers)?;
        Ok((now < row.ends_at).then_some(revocation))
    }

    /// Some of them, in the order of their creation.
    pub(super) fn page(&self, query: &Query, now: UnixTime) -> Result<Page, Fault> {
        let entries = self.0.open_table(ENTRIES)?;
        let notes = self.0.open_table(NOTES)?;
        let issuers = self.0.open_table(ISSUERS)?;
        let mut page = Page::default();
        let mut last_seen = None;
        let start = query.cursor.map_or(0, |cursor| cursor.saturating_add(1));
        for (looked_at, note) in notes.range(start..)?.enumerate() {
            if looked_at == PAGE_SCAN || page.revocations.len() == query.limit {
                page.cursor = last_seen;
                break;
            }
            let (sequence, note) = note?;
            last_seen = Some(sequence.value());
            let note = NoteRow::read(note.value())?;
            let bytes = entries.get(&note.id.0.0)?.ok_or(Fault::Foreign)?;
            let row = EntryRow::read(bytes.value())?;
            let is_wanted = query.kind.is_none_or(|kind| kind == row.kind) && now < row.ends_at;
            if is_wanted {
                let revocation = whole(&row, &note, &issuers)?;
                if (query.wants_issuer)(&revocation.issuer) {
                    page.revocations.push(revocation);
                }
            }
        }
        Ok(page)
    }

    /// Where a feed had been read to.
    pub(super) fn position(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.fact(POSITION)
    }

    /// Whether anything is there to sweep.
    pub(super) fn has_ended(&self, now: UnixTime) -> Result<bool, Fault> {
        let ends = self.0.open_table(ENDS)?;
        let first = ends.first()?.map(|(key, _)| key.value().0);
        let is_past = first.is_some_and(|ends_at| ends_at <= now.as_micros());
        Ok(is_past || self.has_standing_to_forget(now)?)
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let facts = self.0.open_table(FACTS)?;
        Ok(facts.get(name)?.map(|bytes| bytes.value().to_vec()))
    }
}
