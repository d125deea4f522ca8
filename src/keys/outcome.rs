//! How a fetch of keys ends.
//!
//! Owns [`RefreshResult`], the closed set behind a metric label, and [`FetchError`], the same with a text for people.

use std::fmt;

macro_rules! refresh_results {
    ($($(#[$doc:meta])* $variant:ident $name:literal),* $(,)?) => {
        /// How a fetch ended: the `result` label of `jwks_refreshes_total`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefreshResult { $($(#[$doc])* $variant),* }

        impl RefreshResult {
            /// Every result, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many results there are.
            pub(super) const COUNT: usize = Self::ALL.len();

            /// The label's value.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

refresh_results! {
    /// The answer held at least one usable key.
    Success "success",
    /// No connection, no name, no trust in its certificate, or a file that cannot be read.
    Unreachable "unreachable",
    /// The fetch outlasted `timeout`.
    Timeout "timeout",
    /// The answer's status was not 200.
    Status "status",
    /// A redirect to another origin, or too many.
    Redirect "redirect",
    /// More than `max_bytes`.
    TooLarge "too_large",
    /// Not a JSON object with an array `keys`, or no discovery document.
    Malformed "malformed",
    /// A well-formed set without one usable key.
    NoKeys "no_keys",
    /// The discovery document names another issuer.
    IssuerMismatch "issuer_mismatch",
    /// The discovery document points where it may not.
    ForbiddenAddress "forbidden_address",
}

/// A fetch that gave no keys. The text holds no query string and nothing of the answer; of the provider's own words at
/// most a name from its certificate, without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchError {
    pub(super) result: RefreshResult,
    pub(super) detail: String,
}

impl FetchError {
    pub(super) fn new(result: RefreshResult, detail: impl Into<String>) -> Self {
        Self {
            result,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.result.name(), self.detail)
    }
}
