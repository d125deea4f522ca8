//! How a revocation lies in the journal's tables: as bytes at fixed places, so that loading reads and parses nothing.
//!
//! Owns the layout of the two rows of a revocation: the entry, which is what the gate needs, and the note, which is what
//! only operators are told. Knows nothing of files.

use crate::identity::{Thumbprint, TokenDigest};
use crate::revocation::change::RevocationId;
use crate::revocation::entry::{Id, NewRevocation, RevocationKind, Subject, Target};
use crate::time::UnixTime;

/// A row that is not as this version writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds a row that this version did not write")]
pub(super) struct Foreign;

/// Flag of a subject with a cut-off, beside the kind.
const HAS_CUT_OFF: u8 = 0x80;

/// What the gate needs: end, place in the order of creation, kind, number of the issuer, cut-off, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryRow<'row> {
    pub(super) ends_at: UnixTime,
    pub(super) sequence: u64,
    pub(super) kind: RevocationKind,
    pub(super) issuer: u32,
    pub(super) cut_off: Option<UnixTime>,
    pub(super) value: &'row [u8],
}

impl<'row> EntryRow<'row> {
    /// The row of what is asked for.
    pub(super) fn of(new: &'row NewRevocation, issuer: u32, sequence: u64) -> Self {
        let target = new.target();
        Self {
            ends_at: new.ends_at(),
            sequence,
            kind: target.kind,
            issuer,
            cut_off: target.issued_before,
            value: target.value,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.value.len());
        bytes.extend(self.ends_at.as_micros().to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        let flag = self.cut_off.map_or(0, |_| HAS_CUT_OFF);
        bytes.push(self.kind as u8 | flag);
        bytes.extend(self.issuer.to_le_bytes());
        if let Some(cut_off) = self.cut_off {
            bytes.extend(cut_off.as_micros().to_le_bytes());
        }
        bytes.extend(self.value);
        bytes
    }

    pub(super) fn read(bytes: &'row [u8]) -> Result<Self, Foreign> {
        let (ends_at, bytes) = moment(bytes)?;
        let (sequence, bytes) = take(bytes)?;
        let ([kind], bytes) = take(bytes)?;
        let (issuer, bytes) = take(bytes)?;
        let (cut_off, value) = if kind & HAS_CUT_OFF == 0 {
            (None, bytes)
        } else {
            let (cut_off, bytes) = moment(bytes)?;
            (Some(cut_off), bytes)
        };
        let number = usize::from(kind & !HAS_CUT_OFF);
        Ok(Self {
            ends_at,
            sequence: u64::from_le_bytes(sequence),
            kind: *RevocationKind::ALL.get(number).ok_or(Foreign)?,
            issuer: u32::from_le_bytes(issuer),
            cut_off,
            value,
        })
    }

    pub(super) const fn target<'a>(&self, issuer: &'a str) -> Target<'a>
    where
        'row: 'a,
    {
        Target {
            issuer,
            kind: self.kind,
            value: self.value,
            issued_before: self.cut_off,
        }
    }

    /// What is revoked, as callers see it.
    pub(super) fn what(&self) -> Result<Subject, Foreign> {
        let text = || {
            let text = std::str::from_utf8(self.value).map_err(|_| Foreign)?;
            Ok(Box::from(text))
        };
        let hash = || self.value.try_into().map_err(|_| Foreign);
        Ok(match self.kind {
            RevocationKind::Jti => Subject::Jti(text()?),
            RevocationKind::Subject => Subject::Subject {
                subject: text()?,
                issued_before: self.cut_off,
            },
            RevocationKind::Session => Subject::Session(text()?),
            RevocationKind::Client => Subject::Client(text()?),
            RevocationKind::Key => Subject::Key(Thumbprint(hash()?)),
            RevocationKind::Token => Subject::Token(TokenDigest(hash()?)),
        })
    }
}

/// What only operators are told: id, moment of creation, reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoteRow<'row> {
    pub(super) id: RevocationId,
    pub(super) created_at: UnixTime,
    pub(super) reason: Option<&'row str>,
}

impl<'row> NoteRow<'row> {
    /// The note of what is asked for.
    pub(super) fn of(new: &'row NewRevocation, id: RevocationId, created_at: UnixTime) -> Self {
        Self {
            id,
            created_at,
            reason: new.reason.as_deref(),
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let reason = self.reason.unwrap_or_default();
        let mut bytes = Vec::with_capacity(24 + reason.len());
        bytes.extend(self.id.0.0);
        bytes.extend(self.created_at.as_micros().to_le_bytes());
        bytes.extend(reason.as_bytes());
        bytes
    }

    pub(super) fn read(bytes: &'row [u8]) -> Result<Self, Foreign> {
        let (id, bytes) = take(bytes)?;
        let (created_at, bytes) = moment(bytes)?;
        let reason = std::str::from_utf8(bytes).map_err(|_| Foreign)?;
        Ok(Self {
            id: RevocationId(Id(id)),
            created_at,
            reason: (!reason.is_empty()).then_some(reason),
        })
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Foreign> {
    let (first, rest) = bytes.split_first_chunk().ok_or(Foreign)?;
    Ok((*first, rest))
}

fn moment(bytes: &[u8]) -> Result<(UnixTime, &[u8]), Foreign> {
    let (micros, rest) = take(bytes)?;
    Ok((UnixTime::from_micros(i64::from_le_bytes(micros)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let at = UnixTime::from_micros(-1_700_000_000_123_456);
        for what in [
            Subject::Jti("".into()),
            Subject::Session("ş-1".into()),
            Subject::Client("shop".into()),
            Subject::Key(Thumbprint([7; 32])),
            Subject::Token(TokenDigest([0xff; 32])),
            Subject::Subject {
                subject: "alice".into(),
                issued_before: None,
            },
            Subject::Subject {
                subject: "alice".into(),
                issued_before: Some(at),
            },
        ] {
            let new = NewRevocation {
                issuer: "https://id.example.com/".into(),
                what: what.clone(),
                expires_at: Some(at),
                reason: None,
            };
            let row = EntryRow::of(&new, 3, u64::MAX);
            let bytes = row.write();
            assert_eq!(EntryRow::read(&bytes), Ok(row));
            assert_eq!(row.what(), Ok(what));
            assert_eq!(row.target(&new.issuer), new.target());
            for short in 0..21.min(bytes.len()) {
                assert_eq!(EntryRow::read(&bytes[..short]), Err(Foreign));
            }
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for reason in [None, Some("because")] {
            let note = NoteRow {
                id: RevocationId(Id([9; 16])),
                created_at: UnixTime::MAX,
                reason,
            };
            assert_eq!(NoteRow::read(&note.write()), Ok(note));
        }
        assert_eq!(NoteRow::read(&[0; 23]), Err(Foreign));
    }
}
