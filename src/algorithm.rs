//! The JWS signature algorithms this gateway knows (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
//!
//! Owns their names and families. Knows nothing of keys or tokens. It is our own enum because
//! `jsonwebtoken::Algorithm` has neither `ES512` nor `Ed25519`.

use std::fmt;

/// What kind of key an algorithm needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A shared secret.
    Hmac,
    /// An RSA key.
    Rsa,
    /// A key on one of the NIST curves.
    EllipticCurve,
    /// An Edwards-curve key.
    Edwards,
}

macro_rules! algorithms {
    ($($variant:ident $name:literal $family:ident),* $(,)?) => {
        /// One signature algorithm; `alg` is compared by exact name (RFC 7515 §4.1.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Algorithm { $(#[doc = concat!("`", $name, "`")] $variant),* }

        impl Algorithm {
            /// Every algorithm, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The algorithm of that exact name; `none` and the unknown have none.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The registered name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What kind of key it needs.
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family),* }
            }
        }
    };
}

algorithms! {
    Hs256 "HS256" Hmac,
    Hs384 "HS384" Hmac,
    Hs512 "HS512" Hmac,
    Rs256 "RS256" Rsa,
    Rs384 "RS384" Rsa,
    Rs512 "RS512" Rsa,
    Ps256 "PS256" Rsa,
    Ps384 "PS384" Rsa,
    Ps512 "PS512" Rsa,
    Es256 "ES256" EllipticCurve,
    Es384 "ES384" EllipticCurve,
    Es512 "ES512" EllipticCurve,
    EdDsa "EdDSA" Edwards,
    Ed25519 "Ed25519" Edwards,
}

impl Algorithm {
    /// Whether its signature is over the SHA-256 of the message; HMAC is not.
    pub const fn hashes_with_sha256(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256 | Self::Es256)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of algorithms: one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// Whether the set holds `algorithm`.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// The algorithms of the set, in the order of the enum.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .iter()
            .copied()
            .filter(move |algorithm| self.contains(*algorithm))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(
            algorithms
                .into_iter()
                .fold(0, |set, algorithm| set | 1 << algorithm as u16),
        )
    }
}
