//! The certificates of authorities: who may vouch for the other side.
//!
//! Owns what a file of them must hold.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Fingerprint;

/// At least one authority.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(super) store: Arc<RootCertStore>,
    pub(super) fingerprint: Fingerprint,
}

impl Roots {
    /// Takes certificates in PEM; each of them must be usable. `None`: there is none, or one is not.
    pub fn read(certificates: &[u8]) -> Option<Self> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(certificates) {
            store.add(certificate.ok()?).ok()?;
        }
        (!store.is_empty()).then(|| Self {
            store: Arc::new(store),
            fingerprint: Fingerprint::of([certificates]),
        })
    }
}
