//! TLS towards servers.
//!
//! Owns whom to believe that he is the server, and what we show of ourselves.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::sign::SingleCertAndKey;
use rustls_platform_verifier::BuilderVerifierExt;

use super::{Fingerprint, HTTP_1_1, KeyPair, Roots, provider};

/// How to speak to servers of one kind.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    fingerprint: Fingerprint,
}

impl ClientTls {
    /// Servers must be vouched for by `roots`, or by those of the system. They may ask for `key_pair`.
    ///
    /// # Errors
    /// The system has no usable roots.
    pub fn new(roots: Option<&Roots>, key_pair: Option<&KeyPair>) -> Result<Self, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(&roots.store)),
            None => builder.with_platform_verifier()?,
        };
        let mut config = match key_pair {
            None => builder.with_no_client_auth(),
            Some(key_pair) => builder.with_client_cert_resolver(shown(key_pair)),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let parts: [&[u8]; 2] = [
            roots.map_or(b"", |roots| &roots.fingerprint.0),
            key_pair.map_or(b"", |key_pair| &key_pair.fingerprint.0),
        ];
        Ok(Self {
            config: Arc::new(config),
            fingerprint: Fingerprint::of(parts),
        })
    }

    /// Equal for equal settings.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What rustls needs.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

fn shown(key_pair: &KeyPair) -> Arc<dyn ResolvesClientCert> {
    let certified = (*key_pair.certified).clone();
    Arc::new(SingleCertAndKey::from(certified))
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
