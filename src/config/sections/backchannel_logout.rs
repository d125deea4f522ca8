//! `backchannel_logout` of an issuer, and what its path may not be.

use super::super::reader::Section;
use super::super::report::{Place, Report};
use super::super::{BackchannelLogout, ClaimPath, PathPattern, Route};
use super::path;
use super::route::segments;

/// The path of a logout endpoint, and where it stands.
pub(super) struct Endpoint<'file> {
    place: Place,
    report: &'file Report<'file>,
    path: Vec<String>,
}

/// `None` where something was reported. A path goes to `endpoints`, to be compared with all others.
pub(super) fn read<'file>(
    mut section: Section<'file>,
    subject_claim: &ClaimPath,
    endpoints: &mut Vec<Endpoint<'file>>,
) -> Option<BackchannelLogout> {
    let (place, report) = (section.place_of("path"), section.report());
    let path = section.required_text(
        "path",
        "the path that the provider posts logout tokens to, such as \"/backchannel-logout\"",
    );
    let path = path.and_then(|text| match path::read(&text)? {
        PathPattern::Exact(segments) => Some(segments),
        PathPattern::Prefix(_) => {
            text.node
                .fault("is a prefix, expected one exact path such as \"/backchannel-logout\"");
            None
        }
    });
    let audience = section.required_text(
        "audience",
        "the client id that the provider's logout tokens are for",
    );
    let sessions = [("all", false), ("sid-only", true)];
    let session_only = section.choice("sessions", &sessions, false);
    if !session_only && *subject_claim != ClaimPath::Dotted("sub".to_owned()) {
        section.warn_at(
            "sessions",
            "includes the subject's tokens, and logout tokens name the subject by sub, which is not this issuer's subject_claim: \
             one without that claim ends its session alone; set it to \"sid-only\" if the provider sends sid",
        );
    }
    section.finish(&[]);
    endpoints.extend(path.clone().map(|path| Endpoint {
        place,
        report,
        path,
    }));
    Some(BackchannelLogout {
        path: path?,
        audience: audience?.value.to_owned(),
        session_only,
    })
}

/// Each endpoint has a path of its own, which no route has either: it would never be asked there.
pub(super) fn compare(endpoints: &[Endpoint<'_>], routes: &[Route]) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let is_same = |other: &Endpoint<'_>| other.path == endpoint.path;
        if endpoints.iter().take(index).any(is_same) {
            endpoint.fault("is the path of another [[issuer]], expected one of its own");
        }
        if let Some(route) = routes
            .iter()
            .find(|route| segments(&route.path) == endpoint.path)
        {
            let message = format!(
                "is what the route {:?} is for, expected a path that no route names",
                route.name
            );
            endpoint.fault(message);
        }
    }
}

impl Endpoint<'_> {
    fn fault(&self, message: impl Into<String>) {
        self.report.fault(self.place.clone(), message);
    }
}
