//! Where an issuer's keys come from, and which algorithms they may serve.

use super::super::node::{Text, quote_all};
use super::super::reader::Section;
use super::super::suggestion::did_you_mean;
use super::super::web_address::WebAddress;
use super::super::{KeySource, named_file};
use super::issuer_pattern;
use crate::algorithm::{Algorithm, AlgorithmSet, Family};

const SOURCES: [&str; 4] = ["jwks_uri", "jwks_file", "discovery", "hmac_secret_file"];

/// The source is `None` where something was reported.
pub(super) fn read(section: &mut Section<'_>) -> (Option<KeySource>, AlgorithmSet) {
    let uri = section.text("jwks_uri");
    let file = section.text("jwks_file");
    let discovery = section.boolean("discovery", false);
    let secret = section.text("hmac_secret_file");
    let symmetric = section.is_filled("hmac_secret_file");
    let algorithms = read_algorithms(section, symmetric);
    // A source of the wrong type is a source all the same.
    let given = [
        section.is_filled("jwks_uri"),
        section.is_filled("jwks_file"),
        discovery || section.is_wrong_boolean("discovery"),
        section.is_filled("hmac_secret_file"),
    ];
    let named: Vec<&str> = SOURCES
        .into_iter()
        .zip(given)
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
    if named.len() != 1 {
        refuse_sources(section, &named);
    }
    let uri = uri.as_ref().and_then(read_uri).map(KeySource::Url);
    let file = file
        .as_ref()
        .and_then(named_file::read_key_set)
        .map(KeySource::File);
    let secret = secret
        .as_ref()
        .and_then(|text| read_hmac_secret(text, algorithms));
    let discovery = discovery.then(|| {
        check_discovery(section);
        KeySource::Discovery
    });
    (uri.or(file).or(secret).or(discovery), algorithms)
}

fn refuse_sources(section: &Section<'_>, named: &[&str]) {
    let expected =
        "expected exactly one of jwks_uri, jwks_file, discovery = true, hmac_secret_file";
    let problem = match named {
        [] => "names no source of keys".to_owned(),
        several => format!("names several sources of keys ({})", several.join(", ")),
    };
    section
        .report()
        .fault(section.place(), format!("{problem}, {expected}"));
}

fn read_uri(text: &Text<'_>) -> Option<String> {
    match WebAddress::parse(text.value) {
        Ok(address) => {
            warn_if_exposed(text, &address);
            Some(text.value.to_owned())
        }
        Err(problem) => {
            text.node.fault(format!(
                "{problem}, expected an absolute http(s) URL without user and fragment"
            ));
            None
        }
    }
}

fn warn_if_exposed(text: &Text<'_>, address: &WebAddress) {
    if !address.secure && !address.is_loopback() {
        text.node
            .warn("fetches keys over plain http, so that whoever is on the way can replace them, use https");
    }
}

/// The URL that discovery asks begins with the issuer (OpenID Connect Discovery 1.0 §4).
fn check_discovery(section: &mut Section<'_>) {
    // An absent or empty issuer was reported already.
    let Some(text) = section.text("issuer").filter(|text| !text.value.is_empty()) else {
        return;
    };
    if text.value.contains(issuer_pattern::PLACEHOLDER) {
        section.fault_at(
            "discovery",
            "cannot be used with {tid} in `issuer`, expected jwks_uri with the address of the tenants' common key set",
        );
        return;
    }
    let problem = match WebAddress::parse(text.value) {
        Ok(address) if address.has_query => "holds a query",
        Ok(address) => {
            warn_if_exposed(&text, &address);
            return;
        }
        Err(problem) => problem,
    };
    text.node.fault(format!(
        "{problem}, expected an http(s) URL without user, query and fragment, because discovery = true asks it: else use jwks_uri"
    ));
}

fn read_algorithms(section: &mut Section<'_>, symmetric: bool) -> AlgorithmSet {
    let Some(node) = section.value("algorithms") else {
        return default_algorithms(symmetric);
    };
    let Some(nodes) = node.elements("an array of algorithm names such as [\"RS256\"]") else {
        return default_algorithms(symmetric);
    };
    if nodes.is_empty() {
        node.fault("is empty, expected at least one algorithm: leave the key out for the default");
    }
    let texts = nodes
        .into_iter()
        .filter_map(|node| node.text("the name of an algorithm"));
    texts
        .filter_map(|text| read_algorithm(&text, symmetric))
        .collect()
}

fn default_algorithms(symmetric: bool) -> AlgorithmSet {
    let all = Algorithm::ALL.iter().copied();
    if symmetric {
        all.filter(|algorithm| *algorithm == Algorithm::Hs256)
            .collect()
    } else {
        all.filter(|algorithm| algorithm.family() != Family::Hmac)
            .collect()
    }
}

fn read_algorithm(text: &Text<'_>, symmetric: bool) -> Option<Algorithm> {
    let fitting: Vec<&str> = Algorithm::ALL
        .iter()
        .filter(|algorithm| (algorithm.family() == Family::Hmac) == symmetric)
        .map(|algorithm| algorithm.name())
        .collect();
    let expected = quote_all(&fitting);
    let algorithm = Algorithm::from_name(text.value);
    let problem = match algorithm {
        _ if text.value.eq_ignore_ascii_case("none") => {
            format!("would accept tokens without a signature, expected {expected}")
        }
        None => format!(
            "is not a known algorithm, expected {expected}{}",
            did_you_mean(text.value, fitting)
        ),
        Some(found) if symmetric && found.family() != Family::Hmac => {
            format!(
                "needs a public key while hmac_secret_file is a shared secret, expected {expected}"
            )
        }
        Some(found) if !symmetric && found.family() == Family::Hmac => {
            format!(
                "needs a shared secret, expected {expected}: symmetric algorithms come with hmac_secret_file alone"
            )
        }
        Some(_) => return algorithm,
    };
    text.node.fault(problem);
    None
}

/// RFC 7518 §3.2: a key of at least the size of the hash.
fn read_hmac_secret(text: &Text<'_>, algorithms: AlgorithmSet) -> Option<KeySource> {
    let (_, secret) = named_file::read_secret(text)?;
    let least = algorithms.iter().map(hash_bytes).max().unwrap_or(0);
    if secret.expose().len() < least {
        text.node.fault(format!(
            "names a secret shorter than the hash of the strongest allowed algorithm, expected at least {least} bytes"
        ));
        return None;
    }
    Some(KeySource::HmacSecret(secret))
}

const fn hash_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs384 => 48,
        Algorithm::Hs512 => 64,
        _ => 32,
    }
}
