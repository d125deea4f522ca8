//! `[server.tls]` and `[[server.tls.sni]]`, and what `[[upstream]]` says of TLS.

use super::super::named_file::{read_key_pair, read_roots};
use super::super::node::Text;
use super::super::reader::Section;
use super::super::web_address::is_host;
use crate::tls::{ClientCertificates, ClientTls, KeyPair, NamedKeyPair, Roots, ServerTls};

/// Where the certificate's key is named, which must stand beside it.
struct Names {
    certificate: &'static str,
    private_key: &'static str,
}

const SERVER: Names = Names {
    certificate: "certificate",
    private_key: "private_key",
};
const CLIENT: Names = Names {
    certificate: "client_certificate",
    private_key: "client_key",
};

/// `None` without the section, and where something was reported.
pub(super) fn read_server(mut section: Section<'_>) -> Option<ServerTls> {
    if !section.is_present() {
        return None;
    }
    let default = required_key_pair(&mut section);
    let named = read_named(section.sections("sni"));
    let clients = read_clients(&mut section);
    let place = section.place();
    let report = section.report();
    section.finish(&[]);
    let tls = ServerTls::new(default?, named, clients);
    if tls.is_none() {
        report.fault(
            place,
            "cannot be set up, expected certificates of authorities that can be used",
        );
    }
    tls
}

fn required_key_pair(section: &mut Section<'_>) -> Option<KeyPair> {
    let certificate = section.required_text(SERVER.certificate, "the file of a certificate in PEM");
    let private_key =
        section.required_text(SERVER.private_key, "the file of its private key in PEM");
    read_key_pair(&certificate?, &private_key?)
}

fn read_named(sections: Vec<Section<'_>>) -> Vec<NamedKeyPair> {
    let mut all: Vec<NamedKeyPair> = Vec::new();
    for mut section in sections {
        let key_pair = required_key_pair(&mut section);
        let names = read_names(&mut section, key_pair.as_ref());
        for name in &names {
            if all.iter().any(|earlier| earlier.names.contains(name)) {
                section.fault_at(
                    "names",
                    "holds a name that an earlier certificate has already, expected each name once",
                );
            }
        }
        section.finish(&[]);
        all.extend(key_pair.map(|key_pair| NamedKeyPair { names, key_pair }));
    }
    all
}

/// Those that are listed, else the certificate's own.
fn read_names(section: &mut Section<'_>, key_pair: Option<&KeyPair>) -> Vec<String> {
    let texts = section.texts("names");
    let listed: Vec<String> = texts.iter().filter_map(read_name).collect();
    if !texts.is_empty() {
        return listed;
    }
    let own = key_pair.map(|key_pair| key_pair.names().to_vec());
    if own.as_ref().is_some_and(Vec::is_empty) {
        section.missing(
            "names",
            "the names for which it is shown: the certificate itself has none",
        );
    }
    own.unwrap_or_default()
}

fn read_name(text: &Text<'_>) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    let bare = name.strip_prefix("*.").unwrap_or(&name);
    let is_address = bare.starts_with('[') || bare.parse::<std::net::IpAddr>().is_ok();
    if is_host(bare) && !is_address {
        return Some(name);
    }
    text.node
        .fault("is no name that a client can ask for, expected one such as \"api.example.com\" or \"*.example.com\"");
    None
}

fn read_clients(section: &mut Section<'_>) -> Option<(Roots, ClientCertificates)> {
    let demands = [
        ("required", ClientCertificates::Required),
        ("optional", ClientCertificates::Optional),
    ];
    let demand = section.choice(
        "client_certificates",
        &demands,
        ClientCertificates::Required,
    );
    let Some(text) = section.text("client_ca") else {
        if section.is_filled("client_certificates") {
            section.missing(
                "client_ca",
                "the authorities of client certificates, without which none can be asked for",
            );
        }
        return None;
    };
    Some((read_roots(&text)?, demand))
}

/// What `[[upstream]]` says of TLS.
pub(super) struct UpstreamTls {
    pub(super) tls: Option<ClientTls>,
    pub(super) server_name: Option<String>,
}

/// `is_secure`: a server is spoken to by TLS.
pub(super) fn read_upstream(section: &mut Section<'_>, is_secure: bool) -> UpstreamTls {
    let ca = section.text("ca");
    let certificate = section.text(CLIENT.certificate);
    let private_key = section.text(CLIENT.private_key);
    let name = section.text("server_name");
    let server_name = name.as_ref().and_then(read_server_name);
    if !is_secure {
        for text in [ca, certificate, private_key, name].into_iter().flatten() {
            text.node.fault("bears on TLS, which no server of this upstream speaks, expected https:// in servers");
        }
        return UpstreamTls {
            tls: None,
            server_name,
        };
    }
    let key_pair = match (&certificate, &private_key) {
        (Some(certificate), Some(private_key)) => read_key_pair(certificate, private_key),
        (None, None) => None,
        (Some(_), None) => {
            section.missing(
                CLIENT.private_key,
                "the file of the certificate's private key in PEM",
            );
            None
        }
        (None, Some(_)) => {
            section.missing(
                CLIENT.certificate,
                "the file of the key's certificate in PEM",
            );
            None
        }
    };
    let roots = ca.as_ref().map(read_roots);
    let tls = match &roots {
        Some(None) => None,
        Some(Some(roots)) => ClientTls::new(Some(roots), key_pair.as_ref()).ok(),
        None => ClientTls::new(None, key_pair.as_ref()).ok(),
    };
    if tls.is_none() && roots.is_none() {
        section.missing(
            "ca",
            "the authorities of the servers' certificates: this system has none that can be used",
        );
    }
    UpstreamTls { tls, server_name }
}

fn read_server_name(text: &Text<'_>) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    if is_host(&name) && !name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
        return Some(name);
    }
    text.node.fault(
        "is no name that a certificate can be for, expected one such as \"orders.internal\"",
    );
    None
}
