//! On well-formed key sets, `jwks_client_rs` and our own reading find the same keys and accept the same tokens.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's own exceptions for tests do not reach the functions beside them"
)]

use std::pin::Pin;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use jwks_client_rs::source::JwksSource;
use jwks_client_rs::{JsonWebKeySet, JwksClient, JwksClientError};
use portcullis::algorithm::Algorithm;
use portcullis::keys::{SignedPart, VerificationKey};
use serde_json::{Value, json};

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// One key pair with its JWK.
struct Signer {
    algorithm: Algorithm,
    jwk: Value,
    sign: Sign,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes.as_ref())
}

fn rsa(kid: &str) -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RFC 8017 A.1.1: n of 2048 bits follows nine bytes of DER.
    let n = base64(&pair.public_key().as_ref()[9..265]);
    Signer {
        algorithm: Algorithm::Rs256,
        jwk: json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": "AQAB"}),
        sign: Box::new(move |signed| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed,
                &mut signature,
            )
            .unwrap();
            signature
        }),
    }
}

fn ec(kid: &str) -> Signer {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    Signer {
        algorithm: Algorithm::Es256,
        jwk: json!({"kty": "EC", "alg": "ES256", "crv": "P-256", "kid": kid, "x": base64(x), "y": base64(y)}),
        sign: Box::new(move |signed| {
            let signature = pair.sign(&SystemRandom::new(), signed).unwrap();
            signature.as_ref().to_vec()
        }),
    }
}

fn ed(kid: &str) -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = base64(pair.public_key());
    Signer {
        algorithm: Algorithm::EdDsa,
        jwk: json!({"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "kid": kid, "x": x}),
        sign: Box::new(move |signed| pair.sign(signed).as_ref().to_vec()),
    }
}

/// Serves a set that is already there.
struct Fixed(JsonWebKeySet);

impl JwksSource for Fixed {
    fn fetch_keys<'this, 'future>(
        &'this self,
    ) -> Pin<Box<dyn Future<Output = Result<JsonWebKeySet, JwksClientError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// Header and payload of a token of that kid, signed by `signer`.
fn token(signer: &Signer, kid: &str) -> (String, Vec<u8>) {
    let header = json!({"alg": signer.algorithm.name(), "kid": kid});
    let payload = json!({"exp": 4_102_444_800_u64, "sub": "somebody"});
    let content = format!(
        "{}.{}",
        base64(header.to_string()),
        base64(payload.to_string())
    );
    let signature = (signer.sign)(content.as_bytes());
    (content, signature)
}

#[tokio::test]
async fn both_find_the_same_keys_and_accept_the_same_tokens() {
    let signers = [rsa("r1"), rsa("r2"), ec("e1"), ec("e2"), ed("o1"), ed("o2")];
    let jwks: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    let theirs: JsonWebKeySet = serde_json::from_value(json!({ "keys": jwks })).unwrap();
    let client = JwksClient::builder().build(Fixed(theirs.clone()));
    let their_kids: Vec<String> = theirs
        .keys()
        .iter()
        .map(|key| key.key_id().to_owned())
        .collect();
    let ours: Vec<VerificationKey> = jwks
        .iter()
        .map(|jwk| VerificationKey::from_jwk(jwk).unwrap())
        .collect();
    let our_kids: Vec<&str> = ours.iter().filter_map(VerificationKey::kid).collect();
    assert_eq!(our_kids, their_kids);
    let mut accepted = 0;
    for signer in &signers {
        for key in &ours {
            let kid = key.kid().unwrap();
            let (signed, signature) = token(signer, kid);
            let text = format!("{signed}.{}", base64(&signature));
            let theirs = client.decode::<Value>(&text, &[] as &[&str]).await.is_ok();
            let ours = key.verifies(
                signer.algorithm,
                &SignedPart::of(signed.as_bytes()),
                &signature,
            );
            assert_eq!(ours, theirs, "{kid} {}", signer.algorithm);
            accepted += usize::from(ours);
        }
    }
    assert_eq!(accepted, signers.len(), "each token under its own key only");
}
