//! A certificate with its private key.
//!
//! Owns when the two may be used: they belong together, and now is within the certificate's time. Never shows the key.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{Fingerprint, provider};
use crate::time::UnixTime;

/// A usable certificate, its chain and its key.
#[derive(Clone)]
pub struct KeyPair {
    pub(super) certified: Arc<CertifiedKey>,
    names: Vec<String>,
    expires_at: UnixTime,
    pub(super) fingerprint: Fingerprint,
}

/// What is wrong, and with which of the two files; to be read after "names a file that …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    Certificate(String),
    PrivateKey(&'static str),
}

impl KeyPair {
    /// Takes a certificate, those of its issuers after it, and its key, all in PEM.
    ///
    /// # Errors
    /// What is not readable, does not fit, or is out of its time.
    pub fn read(certificates: &[u8], private_key: &[u8], now: UnixTime) -> Result<Self, Flaw> {
        let unreadable =
            "holds no readable certificate, expected PEM with -----BEGIN CERTIFICATE-----";
        let unreadable = || Flaw::Certificate(unreadable.to_owned());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| unreadable())?;
        let leaf = chain.first().ok_or_else(unreadable)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let names = dns_names(&leaf);
        let expires_at = within_its_time(&leaf, now)?;
        let certified = Arc::new(certify(chain, private_key)?);
        Ok(Self {
            certified,
            names,
            expires_at,
            fingerprint: Fingerprint::of([certificates, private_key]),
        })
    }

    /// The names that the certificate is for, in lower case; one may begin with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// From then on nobody believes the certificate.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    names.collect()
}

/// When the certificate expires, if that is to come.
fn within_its_time(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<UnixTime, Flaw> {
    let validity = certificate.validity();
    let begins_at = UnixTime::from_seconds(validity.not_before.timestamp());
    // The last second still counts (RFC 5280 §4.1.2.5).
    let expires_at = UnixTime::from_seconds(validity.not_after.timestamp().saturating_add(1));
    let problem = if now >= expires_at {
        format!(
            "holds a certificate that expired at {}",
            expires_at.to_rfc3339()
        )
    } else if now < begins_at {
        format!(
            "holds a certificate that is not valid before {}",
            begins_at.to_rfc3339()
        )
    } else {
        return Ok(expires_at);
    };
    Err(Flaw::Certificate(format!(
        "{problem}, expected one that is valid now"
    )))
}

fn certify(chain: Vec<CertificateDer<'static>>, private_key: &[u8]) -> Result<CertifiedKey, Flaw> {
    let key = PrivateKeyDer::from_pem_slice(private_key).map_err(|_| {
        Flaw::PrivateKey(
            "holds no readable private key, expected PEM with -----BEGIN PRIVATE KEY-----, not encrypted",
        )
    })?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| {
        Flaw::PrivateKey("holds a key of an unknown kind, expected one for RSA, ECDSA or Ed25519")
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Flaw::PrivateKey(
            "does not hold the key of the certificate, expected the key that it was made for",
        )),
        Err(_) => Err(Flaw::Certificate(
            "holds a certificate that cannot be used, expected X.509 version 3".to_owned(),
        )),
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyPair")
            .field("names", &self.names)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
