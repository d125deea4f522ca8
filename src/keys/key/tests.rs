use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair,
};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::{Value, json};

use super::*;

const SIGNED: &[u8] = b"eyJhbGciOiJ9.eyJzdWIiOiJ9";
/// RFC 7638 §3.1
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const RFC_7638_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
/// RFC 8037 appendix A.2 and A.3
const RFC_8037_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const RFC_8037_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
/// RFC 7517 appendix A.1
const EC_X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const EC_Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

fn rsa() -> Value {
    json!({"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "kid": "r"})
}

fn ec() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": EC_X, "y": EC_Y, "kid": "e"})
}

fn ed() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": RFC_8037_X, "kid": "o"})
}

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member);
    jwk
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

fn verifies(key: &VerificationKey, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
    key.verifies(algorithm, &SignedPart::of(signed), signature)
}

fn key(jwk: &Value) -> VerificationKey {
    VerificationKey::from_jwk(jwk).unwrap_or_else(|reason| panic!("{jwk}: {reason:?}"))
}

fn served(jwk: &Value) -> Vec<&'static str> {
    key(jwk).algorithms().map(Algorithm::name).collect()
}

fn modulus(bits: usize) -> String {
    let mut bytes = vec![0xff; bits / 8];
    if !bits.is_multiple_of(8) {
        bytes.insert(0, (1 << (bits % 8)) - 1);
    }
    base64(&bytes)
}

fn assert_verifies(key: &VerificationKey, algorithm: Algorithm, signature: &[u8]) {
    assert!(verifies(key, algorithm, SIGNED, signature), "{algorithm}");
    assert!(
        !verifies(key, algorithm, b"other", signature),
        "{algorithm}"
    );
    assert!(!verifies(key, algorithm, SIGNED, b""), "{algorithm}");
    let mut tampered = signature.to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    assert!(!verifies(key, algorithm, SIGNED, &tampered), "{algorithm}");
    for other in Algorithm::ALL {
        let is_edwards = |one: Algorithm| one.family() == crate::algorithm::Family::Edwards;
        if *other != algorithm && !(is_edwards(*other) && is_edwards(algorithm)) {
            assert!(!verifies(key, *other, SIGNED, signature), "{other}");
        }
    }
}

/// n of a 2048-bit key: RFC 8017 A.1.1 with e = 65537 is 14 bytes longer than n.
fn modulus_of(pair: &RsaKeyPair) -> String {
    base64(&pair.public_key().as_ref()[9..265])
}

#[test]
fn rsa_signatures_verify_under_their_own_algorithm_only() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let key = key(&with(rsa(), "n", modulus_of(&pair)));
    let encodings: [(Algorithm, &'static dyn RsaEncoding); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_SHA512),
    ];
    for (algorithm, encoding) in encodings {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), SIGNED, &mut signature)
            .unwrap();
        assert_verifies(&key, algorithm, &signature);
    }
}

#[test]
fn ec_signatures_verify_under_their_own_curve_only() {
    let curves: [(_, &EcdsaSigningAlgorithm, _); 3] = [
        (
            "P-256",
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Algorithm::Es256,
        ),
        (
            "P-384",
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Algorithm::Es384,
        ),
        (
            "P-521",
            &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            Algorithm::Es512,
        ),
    ];
    for (curve, scheme, algorithm) in curves {
        let pair = EcdsaKeyPair::generate(scheme).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)});
        let key = key(&jwk);
        assert!(key.algorithms().eq([algorithm]), "{curve}");
        let signature = pair.sign(&SystemRandom::new(), SIGNED).unwrap();
        assert_verifies(&key, algorithm, signature.as_ref());
        let zeros = vec![0; signature.as_ref().len()];
        assert!(!verifies(&key, algorithm, SIGNED, &zeros), "CVE-2022-21449");
    }
}

#[test]
fn ed25519_signatures_verify_under_both_names() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = with(ed(), "x", base64(pair.public_key().as_ref()));
    let signature = pair.sign(SIGNED);
    for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
        assert_verifies(&key(&jwk), algorithm, signature.as_ref());
        let named = with(jwk.clone(), "alg", algorithm.name());
        assert_eq!(served(&named), ["EdDSA", "Ed25519"]);
    }
}

#[test]
fn a_secret_serves_the_hashes_it_is_long_enough_for() {
    let of =
        |length: usize| VerificationKey::from_secret(&Secret::from_file_content(vec![7; length]));
    let names =
        |key: &VerificationKey| -> Vec<_> { key.algorithms().map(Algorithm::name).collect() };
    assert_eq!(names(&of(31)), [] as [&str; 0]);
    assert_eq!(names(&of(32)), ["HS256"]);
    assert_eq!(names(&of(48)), ["HS256", "HS384"]);
    let key = of(64);
    assert_eq!(names(&key), ["HS256", "HS384", "HS512"]);
    for (algorithm, hash) in [
        (Algorithm::Hs256, hmac::HMAC_SHA256),
        (Algorithm::Hs384, hmac::HMAC_SHA384),
        (Algorithm::Hs512, hmac::HMAC_SHA512),
    ] {
        let tag = hmac::sign(&hmac::Key::new(hash, &[7; 64]), SIGNED);
        assert_verifies(&key, algorithm, tag.as_ref());
        let half = &tag.as_ref()[..tag.as_ref().len() / 2];
        assert!(!verifies(&key, algorithm, SIGNED, half), "{algorithm}");
    }
    assert_ne!(of(32).thumbprint(), of(33).thumbprint());
    assert!(!format!("{key:?}").contains("7, 7"));
}

#[test]
fn thumbprints_are_those_of_the_rfcs_and_of_jsonwebtoken() {
    assert_eq!(key(&rsa()).thumbprint().to_string(), RFC_7638_THUMBPRINT);
    assert_eq!(key(&ed()).thumbprint().to_string(), RFC_8037_THUMBPRINT);
    for jwk in [rsa(), ec(), ed()] {
        let theirs: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let theirs = theirs.thumbprint(ThumbprintHash::SHA256).unwrap();
        assert_eq!(key(&jwk).thumbprint().to_string(), theirs);
    }
}

#[test]
fn leading_zeros_and_padding_change_nothing() {
    let decode = |text: &str| {
        data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .unwrap()
    };
    let zeros = |text: &str| base64(&[vec![0, 0], decode(text)].concat());
    let odd = with(with(rsa(), "n", zeros(RFC_7638_N)), "e", "AAEAAQ==");
    assert_eq!(key(&odd).thumbprint(), key(&rsa()).thumbprint());
    let odd = with(with(ec(), "x", zeros(EC_X)), "y", zeros(EC_Y));
    assert_eq!(key(&odd).thumbprint(), key(&ec()).thumbprint());
}

#[test]
fn a_coordinate_whose_leading_zero_was_dropped_is_completed() {
    let short = std::iter::repeat_with(|| {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        (point[1..33].to_vec(), point[33..].to_vec())
    });
    let (x, y) = short.take(100_000).find(|(x, _)| x[0] == 0).unwrap();
    let full = with(with(ec(), "x", base64(&x)), "y", base64(&y));
    let short = with(full.clone(), "x", base64(&x[1..]));
    assert_eq!(key(&short).thumbprint(), key(&full).thumbprint());
}

#[test]
fn a_key_serves_its_alg_alone_and_without_one_what_its_kind_allows() {
    let every_rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    assert_eq!(served(&rsa()), every_rsa);
    assert_eq!(served(&with(rsa(), "alg", "PS384")), ["PS384"]);
    assert_eq!(served(&with(rsa(), "alg", Value::Null)), every_rsa);
    assert_eq!(served(&ec()), ["ES256"]);
    assert_eq!(served(&with(ec(), "alg", "ES256")), ["ES256"]);
    assert_eq!(served(&ed()), ["EdDSA", "Ed25519"]);
}

#[test]
fn harmless_oddities_do_not_cost_a_key() {
    for jwk in [
        with(rsa(), "use", "sig"),
        with(rsa(), "use", Value::Null),
        with(rsa(), "d", Value::Null),
        with(rsa(), "key_ops", json!(["sign", "verify"])),
        with(rsa(), "key_ops", "verify"),
        with(rsa(), "x5c", json!(7)),
        with(rsa(), "e", "Aw"),
        with(rsa(), "n", modulus(2048)),
        with(rsa(), "n", modulus(8192)),
    ] {
        assert_eq!(key(&jwk).kid(), Some("r"), "{jwk}");
    }
    for jwk in [without(rsa(), "kid"), with(rsa(), "kid", Value::Null)] {
        assert_eq!(key(&jwk).kid(), None, "{jwk}");
    }
    assert_eq!(key(&with(rsa(), "kid", "")).kid(), Some(""));
}

fn assert_skipped(expected: SkipReason, keys: impl IntoIterator<Item = Value>) {
    for jwk in keys {
        assert_eq!(
            VerificationKey::from_jwk(&jwk).err(),
            Some(expected),
            "{jwk}"
        );
    }
}

#[test]
fn keys_of_other_kinds_and_purposes_are_skipped_by_name() {
    assert_skipped(
        SkipReason::UnknownKind,
        [
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "a"}),
            json!({"kty": "rsa", "n": RFC_7638_N, "e": "AQAB"}),
            with(ec(), "crv", "secp256k1"),
            with(ed(), "crv", "X25519"),
            with(ed(), "crv", "Ed448"),
        ],
    );
    assert_skipped(
        SkipReason::Symmetric,
        [
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "oct"}),
            with(rsa(), "k", "AAAA"),
        ],
    );
    assert_skipped(
        SkipReason::Private,
        [
            with(rsa(), "d", "AA"),
            with(rsa(), "p", "AA"),
            with(ec(), "d", "AA"),
            with(ed(), "d", "AA"),
        ],
    );
    assert_skipped(
        SkipReason::Use,
        [
            with(rsa(), "use", "enc"),
            with(ec(), "use", "tls"),
            with(ed(), "use", 1),
            with(rsa(), "key_ops", json!(["encrypt"])),
            with(ec(), "key_ops", json!([])),
            with(ec(), "key_ops", json!({})),
        ],
    );
    assert_skipped(
        SkipReason::Algorithm,
        [
            with(rsa(), "alg", "ES256"),
            with(rsa(), "alg", "RSA-OAEP"),
            with(rsa(), "alg", "HS256"),
            with(rsa(), "alg", "none"),
            with(rsa(), "alg", 256),
            with(ec(), "alg", "ES384"),
            with(ed(), "alg", "ES256"),
        ],
    );
}

#[test]
fn weak_and_malformed_keys_are_skipped_by_name() {
    let point = |first: u8| base64(&[vec![first], vec![0; 31]].concat());
    assert_skipped(
        SkipReason::Weak,
        [
            with(rsa(), "n", modulus(1024)),
            with(rsa(), "n", modulus(2047)),
            with(ed(), "x", point(0)),
            with(ed(), "x", point(1)),
            with(ed(), "x", base64(&[vec![0xec], vec![0xff; 31]].concat())),
        ],
    );
    assert_skipped(
        SkipReason::Malformed,
        [
            Value::Null,
            json!("RSA"),
            json!({}),
            json!({"kty": 7}),
            with(rsa(), "kid", 7),
            without(rsa(), "n"),
            without(rsa(), "e"),
            with(rsa(), "n", "!"),
            with(rsa(), "n", ""),
            with(rsa(), "n", modulus(8200)),
            with(rsa(), "n", modulus(2048).replace("_w", "_g")),
            with(rsa(), "e", "AA"),
            with(rsa(), "e", "AQ"),
            with(rsa(), "e", "AQAA"),
            with(rsa(), "e", base64(&[0xff; 8])),
            with(ec(), "y", EC_X),
            with(ec(), "x", ""),
            with(ec(), "x", base64(&[1; 33])),
            with(ec(), "crv", "P-384"),
            without(ec(), "crv"),
            without(ec(), "y"),
            with(ed(), "x", base64(&[2; 31])),
            with(ed(), "x", base64(&[2; 33])),
            without(ed(), "x"),
        ],
    );
}

#[test]
fn labels_are_unique() {
    let mut names: Vec<_> = SkipReason::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SkipReason::COUNT);
}
