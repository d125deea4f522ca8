//! stub
use crate::algorithm::Algorithm;
use crate::identity::Thumbprint;

/// One prepared public key (or secret) with the algorithms it may serve.
#[derive(Debug)]
pub struct VerificationKey {}

impl VerificationKey {
    /// Whether the key may verify that algorithm.
    pub fn fits(&self, _algorithm: Algorithm) -> bool {
        todo!()
    }
    /// Whether `signature` is that of `signed` under this key.
    pub fn verifies(&self, _algorithm: Algorithm, _signed: &[u8], _signature: &[u8]) -> bool {
        todo!()
    }
    /// RFC 7638 thumbprint; of a secret: SHA-256 over a fixed prefix and the secret.
    pub fn thumbprint(&self) -> Thumbprint {
        todo!()
    }
    /// The kid of the set.
    pub fn kid(&self) -> Option<&str> {
        todo!()
    }
}

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    UnknownKind,
}
