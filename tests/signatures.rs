//! Which signatures verify, by which keys of a set: row 9 of the contract's table and its section "Keys".

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use support::{
    AUDIENCE, ISSUER, KID, Signer, Stage, base64url, changed, claims, configuration, corp, now,
    token,
};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
/// The order of the group of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of the group of Ed25519, little-endian (RFC 8032 §5.1).
const EDWARDS_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn stage_of(keys: Vec<Value>) -> Stage {
    Stage::written(keys, |provider, upstream| {
        configuration("", provider, "", upstream, ROUTE)
    })
}

fn check(stage: &Stage, rows: &[(&str, String, &str)]) {
    for (row, token, expected) in rows {
        assert_eq!(stage.gateway.get("/", token).outcome(), *expected, "{row}");
    }
}

/// The token with another signature.
fn resigned(token: &str, signature: &[u8]) -> String {
    format!(
        "{}.{}",
        token.rsplit_once('.').unwrap().0,
        base64url(signature)
    )
}

fn signature_of(token: &str) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(token.rsplit_once('.').unwrap().1.as_bytes())
        .unwrap()
}

/// `from - what`, big-endian, of the same length.
fn difference(from: &[u8], what: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = from
        .iter()
        .zip(what)
        .rev()
        .map(|(from, what)| {
            let digit = i16::from(*from) - i16::from(*what) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

/// The other signature of the same text: s becomes n - s, and nobody needs the key for that.
fn twin(token: &str) -> String {
    let signature = signature_of(token);
    let (r, s) = signature.split_at(32);
    resigned(token, &[r, &difference(&ORDER, s)].concat())
}

/// A signature as ASN.1 DER, as most libraries outside JOSE write it.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(bytes.len() - 1);
        let mut digits = bytes[start..].to_vec();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [vec![2, u8::try_from(digits.len()).unwrap()], digits].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

// T33, T34, T36
#[test]
fn only_a_true_signature_verifies() {
    let stage = Stage::new();
    let good = token(json!({}));
    let signature = signature_of(&good);
    let (r, s) = (&signature[..32], &signature[32..]);
    let zero = [0; 32];
    let one = [&[0; 31][..], &[1]].concat();
    let flipped = |place: usize| {
        let mut signature = signature.clone();
        signature[place] ^= 1;
        signature
    };
    for (row, forged) in [
        ("nothing", vec![]),
        ("r and s are 0", [zero, zero].concat()),
        ("r is 0", [&zero, s].concat()),
        ("s is 0", [r, &zero].concat()),
        ("r and s are n", [ORDER, ORDER].concat()),
        ("r is n", [&ORDER, s].concat()),
        ("s is n", [r, &ORDER].concat()),
        ("r and s are 1", [one.clone(), one].concat()),
        ("all ones", vec![0xff; 64]),
        ("DER", der(&signature)),
        ("exchanged", [s, r].concat()),
        ("cut off by one", signature[..63].to_vec()),
        ("cut off by half", r.to_vec()),
        ("one byte", vec![0]),
        ("one more byte", [&signature[..], &[0]].concat()),
        ("one byte in front", [&[0], &signature[..]].concat()),
        ("twice", signature.repeat(2)),
        ("the first bit", flipped(0)),
        ("the last bit", flipped(63)),
    ] {
        check(
            &stage,
            &[(row, resigned(&good, &forged), "401 signature_invalid")],
        );
    }
    let other = token(json!({"jti": "token-2"}));
    check(
        &stage,
        &[
            (
                "another token's",
                resigned(&good, &signature_of(&other)),
                "401 signature_invalid",
            ),
            (
                "another key's",
                Signer::new("ES256").sign(KID, &claims()),
                "401 signature_invalid",
            ),
            ("its own", good, "200"),
        ],
    );
}

fn revoke(stage: &Stage, body: &Value) {
    let answer = stage.gateway.admin_post("/api/revocations", body);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

// T35, T71
#[test]
fn the_twin_of_a_token_verifies_and_is_revoked_with_it() {
    let stage = Stage::new();
    for (kind, jti) in [("jti", "twin-1"), ("token", "twin-2")] {
        let good = token(json!({"jti": jti}));
        let other = twin(&good);
        assert_ne!(good, other);
        check(
            &stage,
            &[
                ("the token", good.clone(), "200"),
                ("its twin", other.clone(), "200"),
            ],
        );
        let body = if kind == "jti" {
            json!({"jti": jti, "issuer": ISSUER})
        } else {
            json!({"token": good})
        };
        revoke(&stage, &body);
        let refused = "401 token_revoked";
        check(&stage, &[(kind, other, refused), (kind, good, refused)]);
    }
    // By the twin, and never seen before: the token itself.
    let good = token(json!({"jti": "twin-3"}));
    revoke(&stage, &json!({"token": twin(&good)}));
    check(
        &stage,
        &[("the token of a revoked twin", good, "401 token_revoked")],
    );
}

// T35
#[test]
fn twins_share_one_token_id() {
    let stage = Stage::new();
    let good = token(json!({}));
    let ids = [good.clone(), twin(&good)].map(|token| {
        let answer = stage.gateway.get("/", &token);
        stage
            .gateway
            .record(answer.header("x-request-id").expect("an id"))["token_id"]
            .clone()
    });
    assert!(ids[0].as_str().is_some_and(|id| id.len() == 16), "{ids:?}");
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn every_public_key_algorithm_is_accepted_with_and_without_a_kid() {
    let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        "Ed25519",
    ];
    for chunk in algorithms.chunks(4) {
        let signers: Vec<Signer> = chunk
            .iter()
            .map(|algorithm| Signer::new(algorithm))
            .collect();
        let stage = stage_of(
            signers
                .iter()
                .map(|signer| signer.jwk(signer.algorithm()))
                .collect(),
        );
        for signer in &signers {
            let algorithm = signer.algorithm();
            let named = signer.sign(algorithm, &claims());
            let nameless = signer.sign_with_header(&json!({"alg": algorithm}), &claims());
            check(
                &stage,
                &[(algorithm, named, "200"), (algorithm, nameless, "200")],
            );
        }
    }
}

#[test]
fn a_configured_secret_verifies_the_algorithms_that_are_listed() {
    let secret = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, [&secret[..], b"\n"].concat()).unwrap();
    for listed in ["HS256", "HS384", "HS512"] {
        let stage = Stage::written(Vec::new(), |_, upstream| {
            format!(
                "[[issuer]]\nname = \"corp\"\nissuer = \"{ISSUER}\"\nhmac_secret_file = {file:?}\nalgorithms = [\"{listed}\"]\n\
                 audiences = [\"{AUDIENCE}\"]\n[[upstream]]\nname = \"api\"\nservers = [\"{}\"]\n[[route]]\n{ROUTE}",
                upstream.url()
            )
        });
        for used in ["HS256", "HS384", "HS512"] {
            let signer = Signer::hmac(used, secret);
            let expected = if used == listed {
                "200"
            } else {
                "401 algorithm_forbidden"
            };
            let nameless = signer.sign_with_header(&json!({"alg": used}), &claims());
            let wrong = Signer::hmac(used, &[&secret[..], b"\n"].concat()).sign("any", &claims());
            let refused = if used == listed {
                "401 signature_invalid"
            } else {
                expected
            };
            check(
                &stage,
                &[
                    (used, signer.sign("any", &claims()), expected),
                    (used, nameless, expected),
                    ("with the line feed", wrong, refused),
                    (
                        "a public key's",
                        token(json!({})),
                        "401 algorithm_forbidden",
                    ),
                ],
            );
        }
    }
}

/// A symmetric key in a set, with the name of which somebody signs.
fn symmetric(secret: &[u8]) -> Value {
    json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64url(secret)})
}

fn rsa_jwk(kid: &str, modulus: &[u8], exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "kid": kid, "n": base64url(modulus), "e": base64url(exponent)})
}

/// A key set of keys that are of no use, each with the reason for which it is skipped.
fn useless_keys(rsa: &Signer) -> Vec<(Value, &'static str)> {
    let good = rsa.jwk("good");
    let modulus = BASE64URL_NOPAD
        .decode(good["n"].as_str().unwrap().as_bytes())
        .unwrap();
    let of =
        |kid: &str, changes: Value| changed(changed(good.clone(), json!({"kid": kid})), changes);
    let point = |kid: &str, changes: Value| changed(corp().jwk(kid), changes);
    vec![
        (rsa_jwk("weak", &[0xff; 128], &[1, 0, 1]), "weak"),
        (
            rsa_jwk(
                "padded-weak",
                &[&[0; 128][..], &[0xff; 128]].concat(),
                &[1, 0, 1],
            ),
            "weak",
        ),
        (rsa_jwk("e1", &modulus, &[1]), "malformed"),
        (rsa_jwk("even", &modulus, &[2]), "malformed"),
        (of("private", json!({"d": "AQAB"})), "private"),
        (of("enc", json!({"use": "enc"})), "use"),
        (point("ec-enc", json!({"use": "enc"})), "use"),
        (
            of("encrypt", json!({"use": null, "key_ops": ["encrypt"]})),
            "use",
        ),
        (point("sign", json!({"key_ops": ["sign"]})), "use"),
        (symmetric(&[7; 32]), "symmetric"),
        (
            json!({"kty": "AKP", "kid": "pq", "pub": "AA"}),
            "unknown_kind",
        ),
        (
            json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": base64url(&[9; 32])}),
            "unknown_kind",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed448", "kid": "448", "x": base64url(&[9; 57])}),
            "unknown_kind",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "small", "x": base64url(&[0; 32])}),
            "weak",
        ),
        (point("off", json!({"y": base64url(&[1; 32])})), "malformed"),
        (of("odd-alg", json!({"alg": "RSA-OAEP"})), "algorithm"),
        (point("es384", json!({"alg": "ES384"})), "algorithm"),
        (json!("a string"), "malformed"),
        (json!({}), "malformed"),
    ]
}

// T39, T41, T42, T43
#[test]
fn keys_of_no_use_are_skipped_and_counted_and_the_others_work() {
    let rsa = Signer::new("RS256");
    let useless = useless_keys(&rsa);
    let mut keys: Vec<Value> = useless.iter().map(|(key, _)| key.clone()).collect();
    keys.insert(0, corp().jwk(KID));
    keys.push(rsa.jwk("rsa"));
    let stage = stage_of(keys);
    check(
        &stage,
        &[
            ("the first", token(json!({})), "200"),
            ("the last", rsa.sign("rsa", &claims()), "200"),
        ],
    );
    let mut reasons: Vec<&str> = useless.iter().map(|(_, reason)| *reason).collect();
    reasons.sort_unstable();
    let count = |reason: &str| reasons.iter().filter(|other| **other == reason).count();
    for reason in &reasons {
        let labels = [("issuer", "corp"), ("reason", *reason)];
        let counted = stage
            .gateway
            .metric("portcullis_jwks_keys_skipped", &labels);
        assert_eq!(counted.to_string(), count(reason).to_string(), "{reason}");
    }
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_jwks_keys", &[("issuer", "corp")])
            .to_string(),
        "2"
    );
    let old = changed(claims(), json!({"iat": now() - 120}));
    for (key, reason) in &useless {
        let Some(kid) = key["kid"].as_str() else {
            continue;
        };
        let signer = if key["kty"] == "RSA" { &rsa } else { corp() };
        check(
            &stage,
            &[(
                &format!("{reason}: {kid}"),
                signer.sign(kid, &old),
                "401 key_unknown",
            )],
        );
    }
    let by_secret = Signer::hmac("HS256", &[7; 32]).sign("oct", &old);
    check(
        &stage,
        &[("by the symmetric key", by_secret, "401 algorithm_forbidden")],
    );
}

// T41
#[test]
fn an_edwards_signature_has_one_form() {
    let signer = Signer::new("EdDSA");
    let stage = stage_of(vec![signer.jwk("ed")]);
    let good = signer.sign("ed", &claims());
    let mut raised = signature_of(&good);
    let mut carry = 0;
    for (digit, added) in raised[32..].iter_mut().zip(EDWARDS_ORDER) {
        let sum = u16::from(*digit) + u16::from(added) + carry;
        *digit = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    check(
        &stage,
        &[
            (
                "S plus the order",
                resigned(&good, &raised),
                "401 signature_invalid",
            ),
            ("as it is", good, "200"),
        ],
    );
}
