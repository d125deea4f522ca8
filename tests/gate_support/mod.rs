//! A gate without sockets, and keys that sign for it: shared by the gate's tests and benches.

#![allow(dead_code, reason = "each user of this module takes what it needs")]

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use http::request::Parts;
use portcullis::config::{self, Config};
use portcullis::gate::Gate;
use portcullis::keys::Refresher;
use portcullis::revocation::RevocationSet;
use portcullis::time::{Clock, UnixTime};
use serde_json::{Value, json};

/// The moment at which everything here happens.
pub const NOW: i64 = 1_790_000_000;

pub fn now() -> UnixTime {
    UnixTime::from_seconds(NOW)
}

/// A private key of one algorithm.
pub enum Signer {
    Rs256(Box<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub fn rs256() -> Self {
        Self::Rs256(Box::new(
            RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        ))
    }

    pub fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("a key"))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as the oracle wants it: PKCS#1 for RSA, the raw point or key otherwise.
    pub fn public_der(&self) -> Vec<u8> {
        match self {
            Self::Rs256(key) => key.public_key().as_ref().to_vec(),
            Self::Es256(key) => key.public_key().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The public key in SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rs256(key) => AsDer::as_der(key.public_key())
                .expect("DER")
                .as_ref()
                .to_vec(),
            Self::Es256(key) => AsDer::as_der(key.public_key())
                .expect("DER")
                .as_ref()
                .to_vec(),
            Self::Ed25519(key) => AsDer::as_der(key.public_key())
                .expect("DER")
                .as_ref()
                .to_vec(),
        }
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match self {
            Self::Rs256(key) => {
                let public = key.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": text(&modulus), "e": text(&exponent)})
            }
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..65])})
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(key.public_key().as_ref())})
            }
        }
    }

    /// Signs header and payload as they stand.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let signed = format!("{}.{}", text(header.as_bytes()), text(payload.as_bytes()));
        let signature = match self {
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    signed.as_bytes(),
                    &mut signature,
                )
                .expect("a signature");
                signature
            }
            Self::Es256(key) => {
                let signature = key.sign(&SystemRandom::new(), signed.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", text(&signature))
    }

    pub fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": kid});
        self.sign_text(&header.to_string(), &claims.to_string())
    }
}

/// Claims as a good token has them; `serial` makes tokens differ.
pub fn claims(serial: usize) -> Value {
    json!({
        "iss": "https://id.example.com/", "sub": "248289761001", "aud": "https://api.example.com",
        "client_id": "web-frontend", "scope": "orders:read orders:write profile", "jti": format!("token-{serial}"),
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3600,
    })
}

/// A configuration whose issuer `corp` has those keys; `more` is appended.
pub fn configuration(folder: &Path, keys: &[Value], cache_entries: usize, more: &str) -> Config {
    let jwks = folder.join("jwks.json");
    std::fs::write(&jwks, json!({ "keys": keys }).to_string()).expect("a writable folder");
    let text = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
[revocation]
store = "memory"
[token_cache]
entries = {cache_entries}
[[issuer]]
name = "corp"
issuer = "https://id.example.com/"
jwks_file = "jwks.json"
audiences = ["https://api.example.com"]
max_lifetime = "24h"
[[upstream]]
name = "api"
servers = ["http://127.0.0.1:9"]
[[route]]
name = "orders"
path = "/orders/*"
upstream = "api"
scopes = ["orders:read"]
{more}
"#
    );
    config::load_text(&text, &folder.join("portcullis.toml"))
        .unwrap_or_else(|faults| panic!("{faults}"))
        .config
}

/// The gate of that configuration, its keys read.
pub async fn gate(config: &Config) -> (Gate, Arc<RevocationSet>) {
    let clock = Clock::from_fn(now);
    let mut all_keys = Vec::new();
    for issuer in &config.issuers {
        let (mut refresher, keys) = Refresher::new(issuer, None, clock.clone());
        refresher.fetch_once().await.expect("keys");
        all_keys.push(keys);
    }
    let revocations = Arc::new(RevocationSet::new());
    (
        Gate::new(config, all_keys, Arc::clone(&revocations)),
        revocations,
    )
}

/// The head of a request for that target with that token.
pub fn head(target: &str, token: Option<&str>) -> Parts {
    let mut request = http::Request::builder()
        .uri(target)
        .header("host", "api.example.com");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(()).expect("a request").into_parts().0
}
