//! Something that is worth a line in the log, but not one for each time it happens.
//!
//! Owns how often. What is said, whoever complains knows.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(10);

/// When something was last said.
#[derive(Debug, Default)]
pub(super) struct Complaint(Cell<Option<Instant>>);

impl Complaint {
    /// Whether it is time to say it again; then it counts as said.
    pub(super) fn is_due(&self) -> bool {
        let is_due = self.0.get().is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            self.0.set(Some(Instant::now()));
        }
        is_due
    }
}
