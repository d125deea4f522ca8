//! TLS on both sides: certificates and keys as they come from files, and what rustls is to be told of them.
//!
//! Owns what a certificate, a key and a set of roots must be to be used, and one choice of cryptography for all of them.
//! Knows neither the configuration that names the files nor the connections that use them.

mod client;
mod key_pair;
mod roots;
mod server;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::ClientTls;
pub use key_pair::{Flaw, KeyPair};
pub use roots::Roots;
pub use server::{ClientCertificates, NamedKeyPair, ServerTls, Tickets};

/// HTTP/1.1 as ALPN names it (RFC 7301 §6).
pub const HTTP_1_1: &[u8] = b"http/1.1";
/// HTTP/2 as ALPN names it (RFC 9113 §3.1).
pub const HTTP_2: &[u8] = b"h2";

/// What makes two settings the same: a hash of all that went into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of several parts, whose borders count.
    fn of<'part>(parts: impl IntoIterator<Item = &'part [u8]>) -> Self {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        Self(fingerprint)
    }
}

/// aws-lc, as everywhere.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
