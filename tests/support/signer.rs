//! Private keys of every algorithm, and the tokens that they sign, good or deliberately broken.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// A private key that signs with one algorithm.
pub struct Signer {
    algorithm: &'static str,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Elliptic(EcdsaKeyPair, &'static str),
    Edwards(Ed25519KeyPair),
    Secret(Vec<u8>),
}

pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Signer {
    pub fn new(algorithm: &'static str) -> Self {
        let key = match algorithm {
            "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => Key::Rsa(Box::new(
                RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            )),
            "ES256" => elliptic(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => elliptic(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => elliptic(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" | "Ed25519" => Key::Edwards(Ed25519KeyPair::generate().expect("a key")),
            other => panic!("no key for {other}"),
        };
        Self { algorithm, key }
    }

    pub fn hmac(algorithm: &'static str, secret: &[u8]) -> Self {
        Self {
            algorithm,
            key: Key::Secret(secret.to_vec()),
        }
    }

    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The public key: PKCS#1 for RSA, the uncompressed point or the raw key otherwise.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.public_key().as_ref().to_vec(),
            Key::Elliptic(key, _) => key.public_key().as_ref().to_vec(),
            Key::Edwards(key) => key.public_key().as_ref().to_vec(),
            Key::Secret(_) => panic!("a secret has no public key"),
        }
    }

    pub fn jwk(&self, kid: &str) -> Value {
        match &self.key {
            Key::Rsa(key) => {
                let public = key.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": base64url(&modulus), "e": base64url(&exponent)})
            }
            Key::Elliptic(key, curve) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                json!({"kty": "EC", "crv": curve, "kid": kid, "x": base64url(x), "y": base64url(y)})
            }
            Key::Edwards(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(key.public_key().as_ref())})
            }
            Key::Secret(secret) => json!({"kty": "oct", "kid": kid, "k": base64url(secret)}),
        }
    }

    pub fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    rsa_encoding(self.algorithm),
                    &random,
                    signed,
                    &mut signature,
                )
                .expect("a signature");
                signature
            }
            Key::Elliptic(key, _) => key
                .sign(&random, signed)
                .expect("a signature")
                .as_ref()
                .to_vec(),
            Key::Edwards(key) => key.sign(signed).as_ref().to_vec(),
            Key::Secret(secret) => {
                let algorithm = match self.algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), signed)
                    .as_ref()
                    .to_vec()
            }
        }
    }

    /// Signs header and payload as they stand, JSON or not.
    pub fn sign_bytes(&self, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(payload));
        format!("{signed}.{}", base64url(&self.signature(signed.as_bytes())))
    }

    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        self.sign_bytes(header.as_bytes(), payload.as_bytes())
    }

    /// A token as an authorization server issues it (RFC 9068).
    pub fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "typ": "at+jwt", "kid": kid});
        self.sign_with_header(&header, claims)
    }

    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }
}

fn elliptic(algorithm: &'static signature::EcdsaSigningAlgorithm, curve: &'static str) -> Key {
    Key::Elliptic(EcdsaKeyPair::generate(algorithm).expect("a key"), curve)
}

fn rsa_encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    }
}

/// The key that most tests sign with.
pub fn corp() -> &'static Signer {
    static CORP: OnceLock<Signer> = OnceLock::new();
    CORP.get_or_init(|| Signer::new("ES256"))
}

/// `claims`, with those of `changes` instead; `null` removes one.
pub fn changed(mut claims: Value, changes: Value) -> Value {
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}
