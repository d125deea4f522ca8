//! How the configuration names a claim.

/// The path of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimPath {
    /// A plain string: tried as one member first, then split at dots.
    Dotted(String),
    /// A list of members, taken literally.
    Exact(Vec<String>),
}

/// Shows the path as the configuration would write it.
impl std::fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dotted(name) => formatter.write_str(name),
            Self::Exact(members) => write!(formatter, "{members:?}"),
        }
    }
}
