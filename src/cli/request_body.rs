//! What is sent to an admin listener.
//!
//! Owns the forms of a body, and how long a gateway may take over each. Knows nothing of who sends it.

use std::time::Duration;

use serde_json::Value;

/// How long a gateway has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The same for very many revocations at once.
const LONG_TIMEOUT: Duration = Duration::from_mins(10);

/// What is sent along with a request.
pub(super) enum Body {
    None,
    Json(Value),
    /// One JSON object a line; a gateway may take its time over them.
    Lines(Vec<u8>),
}

impl Body {
    pub(super) const fn timeout(&self) -> Duration {
        match self {
            Self::None | Self::Json(_) => TIMEOUT,
            Self::Lines(_) => LONG_TIMEOUT,
        }
    }

    pub(super) fn into_content(self) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Json(document) => Some(document.to_string().into_bytes()),
            Self::Lines(lines) => Some(lines),
        }
    }
}
