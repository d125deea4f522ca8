//! How the configuration names a claim, and how it is found in a token.

use serde_json::{Map, Value};

/// The path of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimPath {
    /// A plain string: tried as one member first, then split at dots.
    Dotted(String),
    /// A list of members, taken literally.
    Exact(Vec<String>),
}

impl ClaimPath {
    /// The claim in `claims`; JSON `null` counts as absent.
    pub fn find<'value>(&self, claims: &'value Map<String, Value>) -> Option<&'value Value> {
        let found = match self {
            Self::Dotted(name) => match claims.get(name) {
                Some(value) => Some(value),
                None => walk(claims, name.split('.')),
            },
            Self::Exact(members) => walk(claims, members.iter().map(String::as_str)),
        };
        found.filter(|value| !value.is_null())
    }
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

fn walk<'value, 'name>(
    claims: &'value Map<String, Value>,
    mut members: impl Iterator<Item = &'name str>,
) -> Option<&'value Value> {
    let first = claims.get(members.next()?)?;
    members.try_fold(first, |value, member| value.as_object()?.get(member))
}
