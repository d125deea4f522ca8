//! Open routes around guarded ones.

use super::super::{Auth, PathPattern, Route};
use super::route::segments;

/// What is unsafe about an open `route` beside `all` routes: whatever the guarded one does not match
/// exactly as meant falls through to the open one.
pub(super) fn find<'route>(
    route: &Route,
    all: impl Iterator<Item = &'route Route>,
) -> Option<String> {
    let PathPattern::Prefix(prefix) = &route.path else {
        return None;
    };
    if route.auth != Auth::Open {
        return None;
    }
    let guarded = all
        .filter(|other| other.auth != Auth::Open)
        .find(|other| covers(route, prefix, other))?;
    Some(format!(
        "is open and covers the guarded route {:?}, so that requests which miss that one by a little pass without a token, \
         narrow this path or guard it",
        guarded.name
    ))
}

fn covers(open: &Route, prefix: &[String], guarded: &Route) -> bool {
    let same_host = open.host == guarded.host;
    let hosts_meet = same_host || open.host.is_none() || guarded.host.is_none();
    // Side by side under one path they are told apart by method, which is plainly meant.
    let side_by_side = same_host && open.path == guarded.path;
    hosts_meet && !side_by_side && segments(&guarded.path).starts_with(prefix)
}
