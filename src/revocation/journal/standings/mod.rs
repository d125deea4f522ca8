//! How entries stand in the eyes of a feed, kept beside the revocations themselves.
//!
//! Owns the join of a feed's accounts to what is kept, and the telling of what is kept as accounts. A revocation that came
//! by another way than a feed counts as one without a number, so that a store may become a feed's copy and back.

use std::ops::Bound;

use redb::{ReadableTable, TableDefinition};

use super::fault::Fault;
use super::layout::{EntryRow, NoteRow};
use super::reading::Reading;
use super::tables::{ENTRIES, ISSUERS, IdKey, NOTES, Writing, whole};
use crate::revocation::change::{Account, Outcome, RevocationId};
use crate::revocation::entry::{Id, NewRevocation, Revocation};
use crate::revocation::standing::{GRACE, Standing, whole_millis};
use crate::time::UnixTime;

/// The standing of each entry that a feed has spoken of: number of the revocation, of the restore, end in microseconds.
pub(super) const STANDINGS: TableDefinition<'_, IdKey, (u64, u64, i64)> =
    TableDefinition::new("standings");
/// The standings by the ends of their entries.
pub(super) const STANDING_ENDS: TableDefinition<'_, (i64, IdKey), ()> =
    TableDefinition::new("standing_ends");

/// Where a walk through all accounts goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Among what is revoked.
    Revoked(RevocationId),
    /// Among what was restored; `None` at its begin.
    Restored(Option<RevocationId>),
}

impl Writing<'_> {
    /// Joins an account to what is kept.
    pub(super) fn settle(&mut self, account: &Account, at: UnixTime) -> Result<Outcome, Fault> {
        let id = account.id;
        let held = self.place_of(id)?.filter(|(ends_at, _)| at < *ends_at);
        let kept = self.standings.get(&id.0.0)?.map(|row| read(row.value()));
        let ours = reconciled(kept, held.map(|(ends_at, _)| ends_at), at);
        let joined = ours.map_or(account.standing, |ours| ours.join(account.standing));
        if ours == Some(joined) {
            return Ok(Outcome::Settled {
                before: None,
                after: None,
            });
        }
        self.keep_standing(id, kept, joined)?;
        let before = self.whole(id)?.filter(|_| held.is_some());
        let after = match (held, &before) {
            _ if !joined.is_live(at) => {
                self.take_out(id)?;
                None
            }
            // The same revocation still: it keeps its place, and what was said of it.
            (Some((ends_at, sequence)), Some(before))
                if ours.is_some_and(|ours| ours.revoked > joined.restored) =>
            {
                let new = renewed(before, joined.ends_at);
                self.drop_end(ends_at, sequence)?;
                self.write_entry(&new, id, sequence, joined.ends_at)?;
                self.write_end(joined.ends_at, sequence)?;
                self.whole(id)?
            }
            _ => {
                self.take_out(id)?;
                let found = account.revocation.as_ref().ok_or(Fault::Foreign)?;
                self.put(&renewed(found, joined.ends_at), found.created_at)?;
                self.whole(id)?
            }
        };
        Ok(Outcome::Settled { before, after })
    }

    /// What was restored by another way than a feed is restored in its eyes too.
    pub(super) fn restore_standing(&mut self, id: RevocationId) -> Result<(), Fault> {
        let kept = self.standings.get(&id.0.0)?.map(|row| read(row.value()));
        match kept {
            Some(kept) => self.keep_standing(id, Some(kept), kept.restored()),
            None => Ok(()),
        }
    }

    /// Forgets the first standing whose entry ended long enough ago; whether there was one.
    pub(super) fn forget_standing(&mut self, now: UnixTime) -> Result<bool, Fault> {
        let first = self.standing_ends.first()?;
        let first = first.map(|(key, _)| (key.value().0, RevocationId(Id(*key.value().1))));
        let Some((_, id)) = first.filter(|(ends_at, _)| is_past(*ends_at, now)) else {
            return Ok(false);
        };
        let kept = self.standings.remove(&id.0.0)?.map(|row| read(row.value()));
        self.drop_standing_end(id, kept)?;
        Ok(true)
    }

    fn keep_standing(
        &mut self,
        id: RevocationId,
        before: Option<Standing>,
        now: Standing,
    ) -> Result<(), Fault> {
        self.drop_standing_end(id, before)?;
        let ends_at = now.ends_at.as_micros();
        self.standings
            .insert(&id.0.0, (now.revoked, now.restored, ends_at))?;
        if now.ends_at != UnixTime::MAX {
            self.standing_ends.insert((ends_at, &id.0.0), ())?;
        }
        Ok(())
    }

    fn drop_standing_end(
        &mut self,
        id: RevocationId,
        standing: Option<Standing>,
    ) -> Result<(), Fault> {
        if let Some(standing) = standing.filter(|standing| standing.ends_at != UnixTime::MAX) {
            self.standing_ends
                .remove((standing.ends_at.as_micros(), &id.0.0))?;
        }
        Ok(())
    }

    fn take_out(&mut self, id: RevocationId) -> Result<(), Fault> {
        match self.place_of(id)? {
            Some((ends_at, sequence)) => self.remove(id, ends_at, sequence),
            None => Ok(()),
        }
    }
}

impl Reading {
    /// What is kept of those ids; nothing of what was never heard of, or was forgotten.
    pub(super) fn accounts(
        &self,
        ids: &[RevocationId],
        now: UnixTime,
    ) -> Result<Vec<Option<Account>>, Fault> {
        let standings = self.0.open_table(STANDINGS)?;
        let account = |id: &RevocationId| {
            let revocation = self.get(*id, now)?;
            let kept = standings.get(&id.0.0)?.map(|row| read(row.value()));
            Ok(account_of(*id, kept, revocation, now))
        };
        ids.iter().map(account).collect()
    }

    /// About `limit` accounts of what has not ended, and where to go on.
    pub(super) fn accounts_after(
        &self,
        cursor: Option<Cursor>,
        limit: usize,
        now: UnixTime,
    ) -> Result<(Vec<Account>, Option<Cursor>), Fault> {
        match cursor {
            None => self.revoked_after(None, limit, now),
            Some(Cursor::Revoked(id)) => self.revoked_after(Some(id), limit, now),
            Some(Cursor::Restored(id)) => self.restored_after(id, limit, now),
        }
    }

    /// Whether there is a standing to forget.
    pub(super) fn has_standing_to_forget(&self, now: UnixTime) -> Result<bool, Fault> {
        let ends = self.0.open_table(STANDING_ENDS)?;
        let first = ends.first()?.map(|(key, _)| key.value().0);
        Ok(first.is_some_and(|ends_at| is_past(ends_at, now)))
    }

    fn revoked_after(
        &self,
        after: Option<RevocationId>,
        limit: usize,
        now: UnixTime,
    ) -> Result<(Vec<Account>, Option<Cursor>), Fault> {
        let (entries, notes) = (self.0.open_table(ENTRIES)?, self.0.open_table(NOTES)?);
        let (issuers, standings) = (self.0.open_table(ISSUERS)?, self.0.open_table(STANDINGS)?);
        let mut accounts = Vec::with_capacity(limit);
        let mut last = None;
        for entry in entries
            .range::<&[u8; 16]>(behind(after.as_ref()))?
            .take(limit)
        {
            let (id, row) = entry?;
            let id = RevocationId(Id(*id.value()));
            last = Some(id);
            let row = EntryRow::read(row.value())?;
            let note = notes.get(row.sequence)?.ok_or(Fault::Foreign)?;
            let revocation = whole(&row, &NoteRow::read(note.value())?, &issuers)?;
            let revocation = Some(revocation).filter(|_| now < row.ends_at);
            let kept = standings.get(&id.0.0)?.map(|row| read(row.value()));
            let account = account_of(id, kept, revocation, now);
            accounts.extend(account.filter(|account| account.standing.is_live(now)));
        }
        Ok((
            accounts,
            Some(last.map_or(Cursor::Restored(None), Cursor::Revoked)),
        ))
    }

    fn restored_after(
        &self,
        after: Option<RevocationId>,
        limit: usize,
        now: UnixTime,
    ) -> Result<(Vec<Account>, Option<Cursor>), Fault> {
        let standings = self.0.open_table(STANDINGS)?;
        let mut accounts = Vec::new();
        let mut last = None;
        for row in standings
            .range::<&[u8; 16]>(behind(after.as_ref()))?
            .take(limit)
        {
            let (id, row) = row?;
            let id = RevocationId(Id(*id.value()));
            last = Some(id);
            let account = account_of(id, Some(read(row.value())), self.get(id, now)?, now);
            let is_restored = |it: &Account| !it.standing.is_revoked() && now < it.standing.ends_at;
            accounts.extend(account.filter(is_restored));
        }
        Ok((accounts, last.map(|id| Cursor::Restored(Some(id)))))
    }
}

fn behind(id: Option<&RevocationId>) -> (Bound<&[u8; 16]>, Bound<&[u8; 16]>) {
    let start = id.map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0.0));
    (start, Bound::Unbounded)
}

fn account_of(
    id: RevocationId,
    kept: Option<Standing>,
    revocation: Option<Revocation>,
    now: UnixTime,
) -> Option<Account> {
    let held_end = revocation
        .as_ref()
        .map(|revocation| revocation.expires_at.unwrap_or(UnixTime::MAX));
    Some(Account {
        id,
        standing: reconciled(kept, held_end, now)?,
        revocation,
    })
}

/// The standing that the revocation itself bears out: it may have been made or restored by another way than a feed.
fn reconciled(
    kept: Option<Standing>,
    held_end: Option<UnixTime>,
    now: UnixTime,
) -> Option<Standing> {
    match (kept, held_end.map(whole_millis)) {
        (None, None) => None,
        (None, Some(ends_at)) => Some(Standing::unnumbered(ends_at)),
        (Some(kept), Some(ends_at)) => Some(Standing {
            revoked: kept.revoked.max(kept.restored.saturating_add(1)),
            ends_at,
            ..kept
        }),
        // Swept out by a clock that was ahead: nobody restored it.
        (Some(kept), None) if kept.is_live(now) => None,
        (Some(kept), None) => Some(kept),
    }
}

fn read((revoked, restored, ends_at): (u64, u64, i64)) -> Standing {
    Standing {
        revoked,
        restored,
        ends_at: UnixTime::from_micros(ends_at),
    }
}

/// The same, with another end.
fn renewed(revocation: &Revocation, ends_at: UnixTime) -> NewRevocation {
    NewRevocation {
        issuer: revocation.issuer.clone(),
        what: revocation.what.clone(),
        expires_at: (ends_at != UnixTime::MAX).then_some(ends_at),
        reason: revocation.reason.clone(),
    }
}

fn is_past(ends_at: i64, now: UnixTime) -> bool {
    ends_at <= now.minus(GRACE).as_micros()
}

#[cfg(test)]
mod tests;
