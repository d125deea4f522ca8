//! How a fetch of keys ends.
//!
//! Owns [`RefreshResult`], the closed set behind a metric label, and [`FetchError`], the same with a text for people.

use std::fmt;

use reqwest::Url;

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

/// A fetch that gave no keys. The text holds no query string, and of the provider's own words at most an issuer, an address
/// or a name from its certificate: cut off, and without control characters.
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

    /// Says what was asked; that URL may carry a query string or a password, which no log may show.
    pub(super) fn at(mut self, url: &Url) -> Self {
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        // They fail only where there can be neither.
        shown.set_username("").ok();
        shown.set_password(None).ok();
        self.detail = format!("{} (asked {})", self.detail, quoted(shown.as_str()));
        self
    }
}

/// How much of a text from outside is shown.
const MAX_QUOTED_CHARS: usize = 200;

/// A text from outside: printable ASCII, and cut off where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTED_CHARS)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.result.name(), self.detail)
    }
}
