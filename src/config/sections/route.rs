//! `[[route]]`.

use http::Method;

use super::super::node::{Node, Text, quote_all};
use super::super::reader::Section;
use super::super::report::{Place, Report};
use super::super::suggestion::did_you_mean;
use super::super::web_address::is_host;
use super::super::{Auth, PathPattern, Route, UpstreamId};
use super::{ClaimTable, audience, claim_rule, exposure, label, overlap, path};
use crate::identity::IssuerId;

const LATER: [&str; 2] = ["stream_expiry", "upgrade_token"];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What routes refer to.
pub(super) struct Surroundings<'config> {
    pub(super) issuers: Vec<Option<&'config str>>,
    pub(super) upstreams: Vec<Option<&'config str>>,
    /// `host = "upstream"`, by upstream.
    pub(super) rewrites_host: Vec<bool>,
    /// `[identity] forward_token`
    pub(super) forward_token: bool,
}

/// `None` where something was reported.
pub(super) fn read_all(
    sections: Vec<Section<'_>>,
    surroundings: &Surroundings<'_>,
    claims: &mut ClaimTable,
) -> Option<Vec<Route>> {
    let mut names: Vec<Option<String>> = Vec::new();
    let mut routes = Vec::new();
    let mut whole = true;
    for mut section in sections {
        let path = section.required_text(
            "path",
            "the path that this route is for, such as \"/orders/*\"",
        );
        let name = read_name(&mut section, path.as_ref(), &names);
        let copied = copied_name(&section, name.as_deref(), &names);
        names.push(name.clone());
        let place = section.place_of("path");
        let report = section.report();
        if let Some(route) = read(section, (name, path), surroundings, claims) {
            routes.push((place, copied, report, route));
        } else {
            whole = false;
            refuse_copied_name(report, copied);
        }
    }
    for (index, (place, copied, report, route)) in routes.iter().enumerate() {
        let earlier = routes.iter().take(index).map(|(_, _, _, route)| route);
        // A route that is there twice is one fault, and not its name's.
        match overlap::find(route, earlier) {
            Some(problem) => report.fault(place.clone(), problem),
            None => refuse_copied_name(report, copied.clone()),
        }
        let all = routes.iter().map(|(_, _, _, route)| route);
        let rewrites_host = surroundings
            .rewrites_host
            .get(route.upstream.index())
            .is_some_and(|rewrites| *rewrites);
        if let Some(problem) = exposure::find(route, all, rewrites_host) {
            report.warn(place.clone(), problem);
        }
    }
    whole.then(|| {
        let routes = routes.into_iter();
        routes.map(|(_, _, _, route)| route).collect()
    })
}

/// Where a name belongs because the path that stands for it is an earlier route's name.
fn copied_name(
    section: &Section<'_>,
    name: Option<&str>,
    taken: &[Option<String>],
) -> Option<Place> {
    let is_copied = !section.is_filled("name")
        && name.is_some_and(|name| taken.iter().flatten().any(|other| other == name));
    is_copied.then(|| section.place_of("name"))
}

fn refuse_copied_name(report: &Report<'_>, place: Option<Place>) {
    if let Some(place) = place {
        report.fault(
            place,
            "is missing, and an earlier route already goes by this path, expected a name of its own",
        );
    }
}

fn read_name(
    section: &mut Section<'_>,
    path: Option<&Text<'_>>,
    taken: &[Option<String>],
) -> Option<String> {
    // Metrics say "none" where no route matched.
    let reserved = ["none"];
    let taken: Vec<Option<&str>> = taken.iter().map(Option::as_deref).collect();
    let named = section.text("name");
    if section.is_filled("name") {
        let text = named?;
        label::check(&text, &reserved, &taken);
        return Some(text.value.to_owned());
    }
    let path = path?.value;
    if let Some(problem) = label::problem(path, &reserved, &[]) {
        let message = format!("is missing, and the path in its place {problem}");
        section.fault_at("name", message);
    }
    Some(path.to_owned())
}

fn read(
    mut section: Section<'_>,
    (name, path): (Option<String>, Option<Text<'_>>),
    surroundings: &Surroundings<'_>,
    claims: &mut ClaimTable,
) -> Option<Route> {
    let host = section.text("host").map(|text| read_host(&text));
    let path = path.and_then(|text| path::read(&text));
    let strip_prefix = section
        .text("strip_prefix")
        .map(|text| path::read_strip_prefix(&text, path.as_ref()));
    let methods = section
        .value("methods")
        .and_then(|node| read_methods(&node));
    let upstream = read_upstream(&mut section, &surroundings.upstreams);
    let choices = [
        ("required", Auth::Required),
        ("optional", Auth::Optional),
        ("none", Auth::Open),
    ];
    let auth = section.choice("auth", &choices, Auth::Required);
    let issuers = read_issuers(&mut section, &surroundings.issuers, auth);
    let audiences = audience::read(&mut section);
    let scopes = read_scopes(&mut section, "scopes");
    let any_scope = read_scopes(&mut section, "any_scope");
    let rules = claim_rule::read(&mut section, claims);
    let preflight = [("guard", false), ("forward", true)];
    let forward_preflight = section.choice("preflight", &preflight, false);
    let report_only = section.boolean("report_only", false);
    let forward_token = section.optional_boolean("forward_token");
    if auth == Auth::Open {
        refuse_policy(&section, forward_token);
    }
    if forward_preflight && methods.is_none() {
        section.warn_at(
            "preflight",
            "lets a preflight for any method through without a token, list the methods that browsers may ask for",
        );
    }
    warn_of_gaps(&section, auth, methods.as_deref(), report_only);
    section.finish(&LATER);
    Some(Route {
        name: name?,
        host,
        path: path?,
        methods,
        upstream: upstream?,
        auth,
        issuers,
        audiences,
        scopes,
        any_scope,
        claims: rules,
        forward_preflight,
        report_only,
        strip_prefix: strip_prefix.unwrap_or_default(),
        forward_token: forward_token.unwrap_or(surroundings.forward_token),
    })
}

fn read_host(text: &Text<'_>) -> String {
    if !is_host(text.value) {
        let hint = if text.value.contains('*') {
            ", wildcards are not known"
        } else if text.value.contains(':') {
            ", a port does not matter and is left out"
        } else {
            ""
        };
        text.node.fault(format!(
            "is not a host, expected a name such as \"api.example.com\"{hint} (leave the key out for any host)"
        ));
    }
    text.value.to_ascii_lowercase()
}

fn read_methods(node: &Node<'_>) -> Option<Vec<Method>> {
    let nodes = node.elements("an array of methods such as [\"GET\", \"POST\"]")?;
    if nodes.is_empty() {
        node.fault("is empty, expected at least one method: leave the key out for all");
    }
    let mut methods = Vec::new();
    for text in nodes.into_iter().filter_map(|node| node.text("a method")) {
        if let Some(method) = read_method(&text)
            && !methods.contains(&method)
        {
            methods.push(method);
        }
    }
    if methods.contains(&Method::GET) {
        methods.retain(|method| method != Method::HEAD);
    }
    Some(methods)
}

fn read_method(text: &Text<'_>) -> Option<Method> {
    let upper = text.value.to_ascii_uppercase();
    if upper == "TRACE" || upper == "CONNECT" {
        text.node
            .fault("is a method that is always refused, expected it to be left out");
        return None;
    }
    let method = Method::from_bytes(text.value.as_bytes()).ok();
    if method.is_none() || upper != text.value {
        text.node.fault(format!(
            "is not a method, expected one in upper case such as \"GET\" or \"POST\"{}",
            did_you_mean(text.value, METHODS)
        ));
        return None;
    }
    method
}

fn read_upstream(section: &mut Section<'_>, known: &[Option<&str>]) -> Option<UpstreamId> {
    let text = section.required_text("upstream", "the name of an [[upstream]]")?;
    let index = reference(&text, known, "upstream")?;
    Some(UpstreamId(index))
}

/// The place of the entry that `text` names.
pub(super) fn reference(text: &Text<'_>, known: &[Option<&str>], kind: &str) -> Option<u32> {
    let index = known.iter().position(|name| *name == Some(text.value));
    if index.is_none() {
        let names: Vec<&str> = known.iter().copied().flatten().collect();
        let expected = match names.as_slice() {
            [] => format!("an [[{kind}]] of that name, and there is none at all"),
            [only] => format!("{only:?}, the only one there is"),
            names => format!(
                "{}{}",
                quote_all(names),
                did_you_mean(text.value, names.iter().copied())
            ),
        };
        text.node
            .fault(format!("names no [[{kind}]], expected {expected}"));
    }
    u32::try_from(index?).ok()
}

fn read_issuers(section: &mut Section<'_>, known: &[Option<&str>], auth: Auth) -> Vec<IssuerId> {
    let texts = section.texts("issuers");
    let mut issuers = Vec::new();
    for text in &texts {
        if let Some(index) = reference(text, known, "issuer")
            && !issuers.contains(&IssuerId(index))
        {
            issuers.push(IssuerId(index));
        }
    }
    if auth == Auth::Open || !texts.is_empty() {
        return issuers;
    }
    match known {
        [] => section.missing("issuers", "an [[issuer]] in the file, or auth = \"none\""),
        [_] => issuers.push(IssuerId(0)),
        several => {
            let names: Vec<&str> = several.iter().copied().flatten().collect();
            let expected = quote_all(&names);
            section.missing(
                "issuers",
                &format!(
                    "the issuers whose tokens are good here, because there are several: {expected}"
                ),
            );
        }
    }
    issuers
}

/// Reports what is not a scope (RFC 6749 §3.3).
pub(super) fn check_scope(text: &Text<'_>) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_scope = !text.value.is_empty() && text.value.bytes().all(fits);
    if !is_scope {
        text.node.fault(
            "is not a scope, expected one scope per string, of visible ASCII characters without blanks, \" and \\",
        );
    }
    is_scope
}

fn read_scopes(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    let texts = section.texts(key);
    for text in &texts {
        check_scope(text);
    }
    texts
        .into_iter()
        .map(|text| text.value.to_owned())
        .collect()
}

/// What asks something of a token has no place where no token is looked at.
fn refuse_policy(section: &Section<'_>, forward_token: Option<bool>) {
    for key in ["issuers", "audiences", "scopes", "any_scope", "claims"] {
        if section.is_filled(key) {
            section.fault_at(
                key,
                "has no effect with auth = \"none\", expected auth = \"required\" or this key to be left out",
            );
        }
    }
    if forward_token == Some(false) {
        section.warn_at(
            "forward_token",
            "has no effect with auth = \"none\": Authorization is not looked at and goes through unchanged",
        );
    }
}

fn warn_of_gaps(section: &Section<'_>, auth: Auth, methods: Option<&[Method]>, report_only: bool) {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
    let writes = methods.is_none_or(|methods| methods.iter().any(|method| !reads.contains(method)));
    if auth == Auth::Optional && writes {
        section.warn_at(
            "auth",
            "lets requests without a token through to methods that write, use \"required\", or restrict methods to GET",
        );
    }
    if report_only {
        section.warn_at(
            "report_only",
            "forwards what would be refused, set it to false once the counts look right",
        );
    }
}

/// The segments of a path, exact or prefix.
pub(super) fn segments(pattern: &PathPattern) -> &[String] {
    match pattern {
        PathPattern::Exact(segments) | PathPattern::Prefix(segments) => segments,
    }
}
