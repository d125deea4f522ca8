//! Routes that ask less, beside routes that ask more: what the one lets through that the other guards.

use super::super::{Auth, PathPattern, Route};
use super::overlap::share;
use super::route::segments;

/// What is unsafe about a lenient `route` beside `all` routes. `rewrites_host`: its upstream does not see which host the
/// client asked for.
pub(super) fn find<'route>(
    route: &Route,
    all: impl Iterator<Item = &'route Route> + Clone,
    rewrites_host: bool,
) -> Option<String> {
    if is_strict(route) {
        return None;
    }
    falls_through(route, all.clone()).or_else(|| {
        let meets = |other: &&Route| {
            is_strict(other)
                && other.upstream == route.upstream
                && share(other.methods.as_deref(), route.methods.as_deref())
        };
        by_stripping(route, all.clone().filter(meets), rewrites_host).or_else(|| {
            rewrites_host
                .then(|| by_host(route, all.filter(meets)))
                .flatten()
        })
    })
}

fn is_strict(route: &Route) -> bool {
    route.auth == Auth::Required && !route.report_only
}

/// Whatever the guarded route does not match exactly as meant falls through to the lenient one.
fn falls_through<'route>(
    route: &Route,
    mut all: impl Iterator<Item = &'route Route>,
) -> Option<String> {
    let PathPattern::Prefix(prefix) = &route.path else {
        return None;
    };
    let kind = match route.auth {
        Auth::Open => "open",
        Auth::Optional => "optional",
        // `report_only` has a warning of its own.
        Auth::Required => return None,
    };
    let is_guarded = |other: &Route| match route.auth {
        Auth::Open => other.auth != Auth::Open,
        Auth::Optional | Auth::Required => is_strict(other),
    };
    let guarded = all.find(|other| is_guarded(other) && covers(route, prefix, other))?;
    Some(format!(
        "is {kind} and covers the guarded route {:?}, so that requests which miss that one by a little pass without a token, \
         narrow this path or guard it",
        guarded.name
    ))
}

fn covers(lenient: &Route, prefix: &[String], guarded: &Route) -> bool {
    let same_host = lenient.host == guarded.host;
    // Side by side under one path they are told apart by method, which is plainly meant.
    let side_by_side = same_host && lenient.path == guarded.path;
    hosts_meet(lenient, guarded) && !side_by_side && segments(&guarded.path).starts_with(prefix)
}

fn hosts_meet(one: &Route, other: &Route) -> bool {
    one.host == other.host || one.host.is_none() || other.host.is_none()
}

/// What is stripped from a path may turn it into one that another route guards.
fn by_stripping<'route>(
    route: &Route,
    mut guarded: impl Iterator<Item = &'route Route>,
    rewrites_host: bool,
) -> Option<String> {
    if route.strip_prefix.is_empty() {
        return None;
    }
    let guarded = guarded.find(|other| {
        other.strip_prefix != route.strip_prefix
            && (rewrites_host || hosts_meet(route, other))
            && arriving(route).meets(&arriving(other))
    })?;
    Some(format!(
        "reaches at the upstream, without its strip_prefix, what the route {:?} guards, \
         give the two paths of their own or guard this one",
        guarded.name
    ))
}

/// The upstream sees its own Host alone, and so one path whichever host the client asked for.
fn by_host<'route>(
    route: &Route,
    mut guarded: impl Iterator<Item = &'route Route>,
) -> Option<String> {
    let guarded = guarded
        .find(|other| !hosts_meet(route, other) && arriving(route).covers(&arriving(other)))?;
    Some(format!(
        "reaches what the route {:?} guards for another host: with host = \"upstream\" the upstream cannot tell the two apart, \
         guard this one or use host = \"preserve\"",
        guarded.name
    ))
}

/// Which paths reach the upstream by a route.
struct Arriving<'route> {
    segments: &'route [String],
    is_prefix: bool,
}

fn arriving(route: &Route) -> Arriving<'_> {
    let stripped = route.strip_prefix.len();
    Arriving {
        segments: segments(&route.path).get(stripped..).unwrap_or_default(),
        is_prefix: matches!(route.path, PathPattern::Prefix(_)),
    }
}

impl Arriving<'_> {
    fn covers(&self, other: &Self) -> bool {
        if self.is_prefix {
            other.segments.starts_with(self.segments)
        } else {
            !other.is_prefix && other.segments == self.segments
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}
