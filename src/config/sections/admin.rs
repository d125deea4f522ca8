//! `[admin]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::super::node::Text;
use super::super::reader::Section;
use super::super::web_address::is_host;
use super::super::{Admin, Operators, Secret, named_file};
use super::{address, route};
use crate::identity::IssuerId;

const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// Below this, a credential can be guessed.
const SHORTEST_SAFE_TOKEN: usize = 16;

/// What does not refer to other sections; the rest is [`read_operators`]'.
pub(super) fn read(section: &mut Section<'_>) -> Option<Admin> {
    let named = section.text("listen");
    let listen = match &named {
        Some(text) => address::parse(text),
        None => Some(DEFAULT),
    };
    let token_file = section.text("token_file");
    let token = token_file.as_ref().and_then(read_token);
    let hosts = section
        .texts("hosts")
        .iter()
        .filter_map(read_host)
        .collect();
    let listen = listen?;
    if !listen.ip().is_loopback() && token_file.is_none() && !section.is_filled("issuer") {
        section.warn_at(
            "listen",
            "is reachable from other machines and has no credential: metrics are open to them, and everything else is refused to everybody; set admin.token_file, or admin.issuer and scope, or listen on 127.0.0.1",
        );
    }
    if listen.ip().is_loopback() && token_file.is_some() {
        section.warn_at(
            "token_file",
            "is not asked for, because admin.listen is a loopback address: every user and program of this machine may do everything there; keep it only if the listener is to move",
        );
    }
    Some(Admin {
        listen,
        token,
        hosts,
        operators: None,
    })
}

/// `issuer` and `scope`, which go together: a token of an issuer is no credential unless it was issued for this.
pub(super) fn read_operators(
    section: &mut Section<'_>,
    known: &[Option<&str>],
) -> Option<Operators> {
    let (issuer, scope) = (section.text("issuer"), section.text("scope"));
    for (key, other, expected) in [
        ("issuer", "scope", "the name of an [[issuer]]"),
        (
            "scope",
            "issuer",
            "the scope that an operator's token needs, such as \"portcullis:admin\"",
        ),
    ] {
        if section.is_filled(other) && !section.is_filled(key) {
            section.missing(key, &format!("{expected}, because `{other}` is set"));
        }
    }
    let index = issuer.and_then(|text| route::reference(&text, known, "issuer"));
    let scope = scope.filter(route::check_scope);
    Some(Operators {
        issuer: IssuerId(index?),
        scope: scope?.value.to_owned(),
    })
}

fn read_token(text: &Text<'_>) -> Option<Secret> {
    let (_, token) = named_file::read_secret(text)?;
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        text.node.fault(
            "names a file whose content no client can send, expected one line of visible ASCII characters without blanks",
        );
        return None;
    }
    if token.expose().len() < SHORTEST_SAFE_TOKEN {
        text.node.warn(
            "names a secret that is short enough to guess, use at least 16 random characters",
        );
    }
    Some(token)
}

fn read_host(text: &Text<'_>) -> Option<String> {
    if is_host(text.value) {
        return Some(text.value.to_ascii_lowercase());
    }
    text.node.fault(
        "is not a host name, expected a name such as \"portcullis.internal\", without a port",
    );
    None
}
