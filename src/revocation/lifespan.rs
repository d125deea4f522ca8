//! How long a revocation is needed.
//!
//! Owns the end that a revocation has if nobody names one: the moment at which no token that it concerns can be valid.

use std::time::Duration;

use super::entry::Subject;
use crate::time::UnixTime;

impl Subject {
    /// When the last token that it concerns has expired, if none lives longer than `max_lifetime`; `None`: that cannot be told.
    pub fn last_end(
        &self,
        max_lifetime: Option<Duration>,
        leeway: Duration,
        now: UnixTime,
    ) -> Option<UnixTime> {
        let from = match self {
            Self::Jti(_) | Self::Session(_) => now,
            Self::Subject { issued_before, .. } => (*issued_before)?,
            Self::Client(_) | Self::Key(_) | Self::Token(_) => return None,
        };
        let span = max_lifetime?.saturating_add(leeway);
        let end = from.plus(span);
        // Of a cut-off long past only tokens without iat can be left; these are limited from now on.
        Some(if end > now { end } else { now.plus(span) })
    }
}
