//! TLS towards clients.
//!
//! Owns which certificate a client is shown, whether it has to show one itself, and what of a session may be resumed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::{Fingerprint, KeyPair, Roots, provider};

/// A certificate for clients that ask for certain names.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedKeyPair {
    /// In lower case; `*.example.com` stands for one more label.
    pub names: Vec<String>,
    pub key_pair: KeyPair,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    Required,
    /// One that is shown must be good.
    Optional,
}

/// All that clients are told, and asked for.
#[derive(Clone)]
pub struct ServerTls {
    template: Arc<ServerConfig>,
    certificates: Vec<KeyPair>,
    clients: Option<ClientCertificates>,
    fingerprint: Fingerprint,
}

/// What seals the tickets by which sessions are resumed. One for the life of the process, so that every worker, and every
/// later certificate, takes the tickets of the others; its keys change by themselves.
#[derive(Clone, Debug)]
pub struct Tickets(Option<Arc<dyn ProducesTickets>>);

impl Tickets {
    /// New keys. Where there is no randomness to make them from, no session is resumed.
    pub fn new() -> Self {
        Self(rustls::crypto::aws_lc_rs::Ticketer::new().ok())
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerTls {
    /// `default` is shown to clients that ask for no name, or for one that nobody has. `None` if `clients` cannot be asked for
    /// certificates of these roots.
    pub fn new(
        default: KeyPair,
        named: Vec<NamedKeyPair>,
        clients: Option<(Roots, ClientCertificates)>,
    ) -> Option<Self> {
        let fingerprint = fingerprint(&default, &named, clients.as_ref());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .ok()?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some((roots, demand)) => builder.with_client_cert_verifier(verifier(roots, *demand)?),
        };
        let resolver = ByName::new(&default, &named);
        let mut template = builder.with_cert_resolver(Arc::new(resolver));
        // Tickets do it alone: a store would be a lock that all workers share.
        template.session_storage = Arc::new(NoServerSessionStorage {});
        let certificates = [default].into_iter();
        Some(Self {
            template: Arc::new(template),
            certificates: certificates
                .chain(named.into_iter().map(|it| it.key_pair))
                .collect(),
            clients: clients.map(|(_, demand)| demand),
            fingerprint,
        })
    }

    /// What rustls needs, for the protocols of `alpn` in the order of preference.
    pub fn config(&self, tickets: &Tickets, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = (*self.template).clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A resumed session is not asked for its certificate again, which may have expired, or its root be gone.
        match &tickets.0 {
            Some(tickets) if self.clients.is_none() => config.ticketer = Arc::clone(tickets),
            _ => config.send_tls13_tickets = 0,
        }
        Arc::new(config)
    }

    /// The certificates, the default one first.
    pub fn certificates(&self) -> &[KeyPair] {
        &self.certificates
    }

    /// Whether clients are asked for certificates.
    pub fn clients(&self) -> Option<ClientCertificates> {
        self.clients
    }
}

fn verifier(roots: &Roots, demand: ClientCertificates) -> Option<Arc<dyn ClientCertVerifier>> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.store), provider());
    let builder = match demand {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().ok()
}

fn fingerprint(
    default: &KeyPair,
    named: &[NamedKeyPair],
    clients: Option<&(Roots, ClientCertificates)>,
) -> Fingerprint {
    let mut parts: Vec<&[u8]> = vec![&default.fingerprint.0];
    for named in named {
        parts.push(&named.key_pair.fingerprint.0);
        parts.extend(named.names.iter().map(String::as_bytes));
    }
    if let Some((roots, demand)) = clients {
        parts.push(&roots.fingerprint.0);
        parts.push(match demand {
            ClientCertificates::Required => b"required",
            ClientCertificates::Optional => b"optional",
        });
    }
    Fingerprint::of(parts)
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerTls")
            .field("certificates", &self.certificates)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

/// Certificates by the name that a client asks for (RFC 6066 §3).
#[derive(Debug)]
struct ByName {
    default: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`
    below: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(default: &KeyPair, named: &[NamedKeyPair]) -> Self {
        let mut all = Self {
            default: Arc::clone(&default.certified),
            exact: HashMap::new(),
            below: HashMap::new(),
        };
        for NamedKeyPair { names, key_pair } in named {
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut all.below, parent),
                    None => (&mut all.exact, name.as_str()),
                };
                map.insert(name.to_owned(), Arc::clone(&key_pair.certified));
            }
        }
        all
    }

    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        let found = self.exact.get(&name).or_else(below);
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().map(|name| self.find(name));
        Some(Arc::clone(found.unwrap_or(&self.default)))
    }
}
