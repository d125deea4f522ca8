//! How an entry stands: revoked, restored, or not heard of; and what two accounts of it together say.
//!
//! Owns the join. It is the same on every gateway and in the scripts that Redis runs, whatever the order and however
//! often accounts are joined, so that copies which hear of each other end up equal. Knows nothing of who gives accounts
//! and who keeps them.

use std::time::Duration;

use crate::time::UnixTime;

/// How long an account is kept after its entry has ended: clocks differ, and who still holds the entry must not bring
/// it back.
pub(super) const GRACE: Duration = Duration::from_hours(1);
const MICROS_PER_MILLI: i64 = 1_000;

/// An account of one entry.
///
/// Each revocation gets a number above all that its writer knows of: the microseconds of Redis's clock, or one more than
/// the highest known. A restore takes back what it knows of, and no more. So one that comes back from a copy that nobody
/// had heard of for a while cannot undo a revocation that was made in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The latest revocation.
    pub revoked: u64,
    /// Up to which revocation they were taken back.
    pub restored: u64,
    /// When the entry ends, in whole milliseconds, which Redis's numbers hold exactly; [`UnixTime::MAX`] if never.
    pub ends_at: UnixTime,
}

impl Standing {
    /// That of a revocation which no feed has numbered: older than all others.
    pub(super) fn unnumbered(ends_at: UnixTime) -> Self {
        Self {
            revoked: 1,
            restored: 0,
            ends_at: whole_millis(ends_at),
        }
    }

    /// Whether the latest revocation was not taken back.
    pub(super) const fn is_revoked(self) -> bool {
        self.revoked > self.restored
    }

    /// Whether it refuses tokens.
    pub(super) fn is_live(self, now: UnixTime) -> bool {
        self.is_revoked() && now < self.ends_at
    }

    /// The same, all revocations that it knows of taken back.
    #[must_use]
    pub(super) fn restored(self) -> Self {
        Self {
            restored: self.revoked.max(self.restored),
            ..self
        }
    }

    /// What both accounts together say: the end of what a restore took back is void, of others the later one holds.
    #[must_use]
    pub(super) fn join(self, other: Self) -> Self {
        let restored = self.restored.max(other.restored);
        let holds = |of: Self| of.revoked > restored;
        let ends_at = match (holds(self), holds(other)) {
            (true, false) => self.ends_at,
            (false, true) => other.ends_at,
            _ => self.ends_at.max(other.ends_at),
        };
        Self {
            revoked: self.revoked.max(other.revoked),
            restored,
            ends_at,
        }
    }
}

/// The moment, rounded up to a whole millisecond: nothing ends earlier than was asked for.
pub(super) fn whole_millis(at: UnixTime) -> UnixTime {
    millis(at).map_or(UnixTime::MAX, from_millis)
}

/// Milliseconds since the epoch, rounded up; `None` for what never comes.
pub(super) fn millis(at: UnixTime) -> Option<i64> {
    let micros = at.as_micros();
    (at != UnixTime::MAX).then(|| {
        let rest = i64::from(micros.rem_euclid(MICROS_PER_MILLI) != 0);
        micros.div_euclid(MICROS_PER_MILLI) + rest
    })
}

/// The moment so many milliseconds after the epoch.
pub(super) fn from_millis(millis: i64) -> UnixTime {
    UnixTime::from_micros(millis.saturating_mul(MICROS_PER_MILLI))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(revoked: u64, restored: u64, end: i64) -> Standing {
        Standing {
            revoked,
            restored,
            ends_at: from_millis(end),
        }
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        (0..4_u64, 0..4_u64, 1..4_i64)
            .prop_map(|(revoked, restored, end)| standing(revoked, restored, end))
    }

    proptest! {
        #[test]
        fn it_does_not_matter_who_hears_of_whom(one in any_standing(), other in any_standing()) {
            let joined = one.join(other);
            prop_assert_eq!(joined, other.join(one));
            prop_assert_eq!(joined, joined.join(one));
            prop_assert_eq!(joined, joined.join(other));
        }

        /// A revocation is lost by a restore that knew of it, and by nothing else.
        #[test]
        fn a_revocation_that_no_restore_has_seen_holds(one in any_standing(), other in any_standing()) {
            let restored = one.restored.max(other.restored);
            let holds = one.revoked > restored || other.revoked > restored;
            prop_assert_eq!(one.join(other).is_revoked(), holds);
        }

        /// In whatever order copies hear of each other: they end up equal.
        #[test]
        fn copies_that_hear_of_each_other_agree(
            accounts in proptest::collection::vec(any_standing(), 3),
            talks in proptest::collection::vec((0..3_usize, 0..3_usize), 0..12),
        ) {
            let mut copies = accounts;
            let in_the_end = [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2), (2, 0)];
            for (from, to) in talks.into_iter().chain(in_the_end) {
                copies[to] = copies[to].join(copies[from]);
            }
            prop_assert_eq!(copies[0], copies[1]);
            prop_assert_eq!(copies[1], copies[2]);
        }
    }

    #[test]
    fn a_late_restore_does_not_undo_a_newer_revocation() {
        // Its gateway saw revocation 1 alone; 2 was made while it was cut off.
        let joined = standing(1, 1, 100).join(standing(2, 0, 50));
        assert!(joined.is_live(from_millis(49)));
        assert_eq!(
            joined,
            standing(2, 1, 50),
            "the end of what was restored is void"
        );
    }

    #[test]
    fn of_two_revocations_the_later_end_holds() {
        let joined = standing(1, 0, 100).join(standing(2, 0, 50));
        assert_eq!(joined.ends_at, from_millis(100));
        let unnumbered = Standing::unnumbered(UnixTime::MAX);
        assert_eq!(joined.join(unnumbered), standing(2, 0, 0).join(unnumbered));
    }

    #[test]
    fn what_was_restored_is_not_live() {
        let restored = standing(7, 3, 100).restored();
        assert_eq!(restored, standing(7, 7, 100));
        assert!(!restored.is_live(from_millis(1)));
    }

    #[test]
    fn ends_are_rounded_up() {
        assert_eq!(
            whole_millis(UnixTime::from_micros(1_000_001)),
            from_millis(1001)
        );
        assert_eq!(whole_millis(from_millis(7)), from_millis(7));
        assert_eq!(whole_millis(UnixTime::MAX), UnixTime::MAX);
    }
}
