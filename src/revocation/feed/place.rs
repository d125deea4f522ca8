//! Where in the stream of changes a gateway is.
//!
//! Owns the place and the test that one change follows another without a gap. Each change bears a mark and the mark of
//! the one before it: so a stream that was trimmed, lost its tail or began anew is known, whatever its ids say.

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// After that change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Its id in the stream.
    pub(super) id: String,
    pub(super) mark: String,
}

/// The mark before the first change.
const NOTHING: &str = "-";
/// A mark that no change has.
const NOWHERE: &str = "!";

impl Place {
    /// Before the first change.
    pub(super) fn start() -> Self {
        Self {
            id: "0-0".to_owned(),
            mark: NOTHING.to_owned(),
        }
    }

    /// A place that no change follows: the whole state has to be read.
    pub(super) fn nowhere() -> Self {
        Self {
            id: "0-0".to_owned(),
            mark: NOWHERE.to_owned(),
        }
    }

    /// Reads where Redis says that the stream ends: `ID MARK`, or nothing where there was no change yet.
    pub(super) fn of_tail(tail: &str) -> Option<Self> {
        if tail.is_empty() {
            return Some(Self::start());
        }
        let (id, mark) = tail.split_once(' ')?;
        Some(Self {
            id: id.to_owned(),
            mark: mark.to_owned(),
        })
    }
}

/// What a copy keeps of the feed beside the entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) place: Place,
    /// When it was last known that nothing was missing, in microseconds.
    pub(super) whole_at: i64,
}

impl Kept {
    pub(super) fn new(place: Place, whole_at: UnixTime) -> Self {
        Self {
            place,
            whole_at: whole_at.as_micros(),
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_stream_is_read() {
        assert_eq!(Place::of_tail(""), Some(Place::start()));
        let place = Place::of_tail("17-0 abc.1").unwrap();
        assert_eq!((&*place.id, &*place.mark), ("17-0", "abc.1"));
        assert_eq!(Place::of_tail("nonsense"), None);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let kept = Kept::new(Place::nowhere(), UnixTime::from_seconds(7));
        assert_eq!(Kept::read(&kept.write()), Some(kept));
        assert_eq!(Kept::read(b"nonsense"), None);
    }
}
