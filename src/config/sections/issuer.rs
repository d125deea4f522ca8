//! `[[issuer]]`.

use std::time::Duration;

use super::super::node::Text;
use super::super::quantity::LONGEST_DURATION;
use super::super::reader::Section;
use super::super::{Issuer, IssuerPattern};
use super::backchannel_logout::Endpoint;
use super::{Named, audience, backchannel_logout, issuer_pattern, jwks, key_source, label};

const LATER: [&str; 1] = ["introspection"];
/// What the metrics say where no configured issuer fits.
const RESERVED: [&str; 2] = ["none", "unknown"];
const MOST_LEEWAY: Duration = Duration::from_mins(5);
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "scopes"];
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// The paths of logout endpoints go to `endpoints`.
pub(super) fn read_all<'file>(
    sections: Vec<Section<'file>>,
    endpoints: &mut Vec<Endpoint<'file>>,
) -> Named<Issuer> {
    let mut issuers = Named {
        entries: Vec::new(),
    };
    let mut patterns: Vec<IssuerPattern> = Vec::new();
    let mut names: Vec<Text<'_>> = Vec::new();
    for mut section in sections {
        let name = section.required_text(
            "name",
            "a name of your own for this issuer, such as \"corp\"",
        );
        if let Some(text) = &name {
            label::check(text, &RESERVED, &issuers.names());
        }
        let pattern = issuer_pattern::read(&mut section);
        if let Some(pattern) = &pattern {
            if patterns
                .iter()
                .any(|other| issuer_pattern::collide(other, pattern))
            {
                section.fault_at(
                    "issuer",
                    "accepts tokens that an earlier [[issuer]] accepts, expected each `iss` in one section only",
                );
            }
            patterns.push(pattern.clone());
        }
        names.extend(name.clone());
        let name = name.map(|text| text.value.to_owned());
        let issuer = read(section, name.clone(), pattern, endpoints);
        issuers.entries.push((name, issuer));
    }
    // A revocation may call its issuer by either.
    for text in names {
        let is_meant =
            |issuer: &Issuer| issuer.name != text.value && issuer.issuer.as_str() == text.value;
        if issuers
            .entries
            .iter()
            .filter_map(|(_, issuer)| issuer.as_ref())
            .any(is_meant)
        {
            text.node
                .fault("is the `issuer` of another [[issuer]], expected a name that cannot be mistaken for it");
        }
    }
    issuers
}

fn read<'file>(
    mut section: Section<'file>,
    name: Option<String>,
    pattern: Option<IssuerPattern>,
    endpoints: &mut Vec<Endpoint<'file>>,
) -> Option<Issuer> {
    let (keys, algorithms) = key_source::read(&mut section);
    let audiences = audience::read_required(&mut section, pattern.as_ref());
    let token_types = read_token_types(&mut section);
    let id_tokens = [("refuse", false), ("accept", true)];
    let accept_id_tokens = section.choice("id_tokens", &id_tokens, false);
    let leeway = section.duration(
        "leeway",
        Duration::from_secs(30),
        Duration::ZERO,
        MOST_LEEWAY,
    );
    let max_lifetime = read_max_lifetime(&mut section);
    let required_claims = section.claims("required_claims", &[]);
    let audience_claim = section.claim("audience_claim", "aud");
    let scope_claims = section.claims("scope_claims", &SCOPE_CLAIMS);
    let client_claims = section.claims("client_claims", &CLIENT_CLAIMS);
    let subject_claim = section.claim("subject_claim", "sub");
    let jwks = jwks::read(section.section("jwks"));
    let logout = section.section("backchannel_logout");
    let backchannel_logout = logout
        .is_present()
        .then(|| backchannel_logout::read(logout, &subject_claim, endpoints));
    section.finish(&LATER);
    Some(Issuer {
        name: name?,
        issuer: pattern?,
        keys: keys?,
        audiences,
        algorithms,
        token_types,
        accept_id_tokens,
        leeway,
        max_lifetime,
        required_claims,
        audience_claim,
        scope_claims,
        client_claims,
        subject_claim,
        jwks,
        backchannel_logout: match backchannel_logout {
            Some(logout) => Some(logout?),
            None => None,
        },
    })
}

/// RFC 7515 §4.1.9: the type's case does not matter, and `application/` may be left out.
fn read_token_types(section: &mut Section<'_>) -> Vec<String> {
    let mut types = Vec::new();
    for text in section.texts("token_types") {
        let lower = text.value.to_ascii_lowercase();
        let short = lower.strip_prefix("application/").unwrap_or(&lower);
        if short.is_empty() || !short.bytes().all(|byte| byte.is_ascii_graphic()) {
            text.node
                .fault("is not a token type, expected a value of `typ` such as \"at+jwt\"");
        }
        types.push(short.to_owned());
    }
    types
}

fn read_max_lifetime(section: &mut Section<'_>) -> Option<Duration> {
    let zero = Duration::ZERO;
    // What was written wrongly is reported, and was meant to be something.
    let default = if section.is_filled("max_lifetime") {
        LONGEST_DURATION
    } else {
        zero
    };
    let lifetime = section.duration("max_lifetime", default, zero, LONGEST_DURATION);
    if lifetime.is_zero() {
        section.warn_at(
            "max_lifetime",
            "is not set, so that a revocation cannot tell when the last token it concerns has expired and may have to stay for ever, \
             set the longest life of this issuer's tokens, such as \"24h\"",
        );
        return None;
    }
    Some(lifetime)
}
