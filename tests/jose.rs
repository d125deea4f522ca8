//! What a token's header and signature may be: rows 4, 6 and 9 of the contract's table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use serde_json::{Value, json};
use support::{KID, Signer, Stage, changed, claims, configuration, corp, now, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

/// Claims of a token so old that a key it names and the set lacks is unknown for sure.
fn settled_claims() -> Value {
    changed(claims(), json!({"iat": now() - 120}))
}

/// A gateway whose provider has those keys.
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

/// A token of the usual key with that header as it stands.
fn headed(header: &str) -> String {
    corp().sign_text(header, &settled_claims().to_string())
}

fn hmac_forgery(algorithm: &'static str, secret: &[u8], kid: &str) -> String {
    let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": kid});
    Signer::hmac(algorithm, secret).sign_with_header(&header, &claims())
}

// T21, T23
#[test]
fn a_token_without_an_algorithm_is_refused_however_it_is_spelt() {
    let stage = Stage::new();
    for (algorithm, expected) in [
        (r#""none""#, "401 algorithm_forbidden"),
        (r#""None""#, "401 algorithm_forbidden"),
        (r#""NONE""#, "401 algorithm_forbidden"),
        (r#""nOnE""#, "401 algorithm_forbidden"),
        (r#""n\u006fne""#, "401 algorithm_forbidden"),
        (r#"" none""#, "401 algorithm_forbidden"),
        (r#""none\u0000""#, "401 algorithm_forbidden"),
        (r#""""#, "401 algorithm_forbidden"),
        (r#""es256""#, "401 algorithm_forbidden"),
        (r#""ES256 ""#, "401 algorithm_forbidden"),
        (r#""ES256K""#, "401 algorithm_forbidden"),
        (r#""RSA-OAEP""#, "401 algorithm_forbidden"),
        ("null", "401 token_malformed"),
        (r#"["none"]"#, "401 token_malformed"),
        (r#"["ES256"]"#, "401 token_malformed"),
        (r#"{"ES256":null}"#, "401 token_malformed"),
        ("256", "401 token_malformed"),
        ("true", "401 token_malformed"),
    ] {
        let header = format!(r#"{{"alg":{algorithm},"typ":"at+jwt","kid":"{KID}"}}"#);
        let signed = headed(&header);
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        check(
            &stage,
            &[
                (algorithm, signed, expected),
                (algorithm, unsigned, expected),
            ],
        );
    }
    check(
        &stage,
        &[(
            "no alg",
            headed(&format!(r#"{{"kid":"{KID}"}}"#)),
            "401 token_malformed",
        )],
    );
    assert_eq!(stage.upstream.count(), 0);
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// `SubjectPublicKeyInfo` of a 2048-bit RSA key from its PKCS#1 form (RFC 5280 §4.1.2.7).
fn public_key_info(pkcs1: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
    ];
    let bits = [&[3, 0x82][..], &length(pkcs1.len() + 1), &[0], pkcs1].concat();
    [
        &[0x30, 0x82][..],
        &length(algorithm.len() + bits.len()),
        &algorithm,
        &bits,
    ]
    .concat()
}

// T22
#[test]
fn a_public_key_is_no_secret() {
    let signer = Signer::new("RS256");
    let jwk = signer.jwk("rsa");
    let stage = stage_of(vec![jwk.clone()]);
    check(
        &stage,
        &[("the key itself", signer.sign("rsa", &claims()), "200")],
    );
    let pkcs1 = signer.public_key();
    let info = public_key_info(&pkcs1);
    let modulus = jwk["n"].as_str().unwrap();
    let public = pem("PUBLIC KEY", &info);
    for (form, secret) in [
        ("PEM", public.clone().into_bytes()),
        (
            "PEM without its last line feed",
            public.trim_end().as_bytes().to_vec(),
        ),
        ("PEM, PKCS#1", pem("RSA PUBLIC KEY", &pkcs1).into_bytes()),
        ("DER", info),
        ("DER, PKCS#1", pkcs1),
        ("JWK", jwk.to_string().into_bytes()),
        (
            "modulus, decoded",
            BASE64URL_NOPAD.decode(modulus.as_bytes()).unwrap(),
        ),
        ("modulus, as text", modulus.as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let forged = hmac_forgery(algorithm, &secret, "rsa");
            check(
                &stage,
                &[(
                    &format!("{algorithm}, {form}"),
                    forged,
                    "401 algorithm_forbidden",
                )],
            );
        }
    }
    assert_eq!(stage.upstream.count(), 1);
}

/// The key of `signer` with a given `alg`.
fn with_algorithm(signer: &Signer, kid: &str, algorithm: &str) -> Value {
    changed(signer.jwk(kid), json!({"alg": algorithm}))
}

// T24, T25
#[test]
fn a_key_serves_only_the_algorithm_that_it_names_and_its_curve_can() {
    let [rs, ps, bare] = ["RS256", "PS256", "RS384"].map(Signer::new);
    let [p256, p384, p521] = ["ES256", "ES384", "ES512"].map(Signer::new);
    let edwards = Signer::new("EdDSA");
    let stage = stage_of(vec![
        with_algorithm(&rs, "ps", "PS256"),
        with_algorithm(&ps, "rs", "RS256"),
        with_algorithm(&bare, "rs512", "RS512"),
        bare.jwk("bare"),
        p256.jwk("p256"),
        p384.jwk("p384"),
        p521.jwk("p521"),
        edwards.jwk("edwards"),
    ]);
    let wrong = "401 signature_invalid";
    let as_named = |signer: &Signer, algorithm: &str, kid: &str| {
        signer.sign_with_header(&json!({"alg": algorithm, "kid": kid}), &claims())
    };
    check(
        &stage,
        &[
            ("RS256 on a key for PS256", rs.sign("ps", &claims()), wrong),
            ("PS256 on a key for RS256", ps.sign("rs", &claims()), wrong),
            (
                "RS384 on a key for RS512",
                bare.sign("rs512", &claims()),
                wrong,
            ),
            (
                "RS384 on a key for any",
                bare.sign("bare", &claims()),
                "200",
            ),
            (
                "an RS384 signature called RS256",
                as_named(&bare, "RS256", "bare"),
                wrong,
            ),
            (
                "an RS384 signature called PS384",
                as_named(&bare, "PS384", "bare"),
                wrong,
            ),
            ("ES256 on P-384", p256.sign("p384", &claims()), wrong),
            ("ES256 by P-384", as_named(&p384, "ES256", "p384"), wrong),
            ("ES384 on P-256", p384.sign("p256", &claims()), wrong),
            ("ES384 by P-256", as_named(&p256, "ES384", "p256"), wrong),
            ("ES256 by P-521", as_named(&p521, "ES256", "p521"), wrong),
            ("EdDSA on P-256", edwards.sign("p256", &claims()), wrong),
            ("ES256 on Ed25519", p256.sign("edwards", &claims()), wrong),
            ("RS256 on P-256", rs.sign("p256", &claims()), wrong),
            ("ES256 on RSA", p256.sign("bare", &claims()), wrong),
            ("ES256 on P-256", p256.sign("p256", &claims()), "200"),
            ("ES384 on P-384", p384.sign("p384", &claims()), "200"),
        ],
    );
}

// T29, T30, T31, T65
#[test]
fn extensions_that_change_what_is_signed_are_refused() {
    let stage = Stage::new();
    for extra in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["urn:x"],"urn:x":1"#,
        r#""crit":[]"#,
        r#""crit":"x""#,
        r#""crit":null"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""zip":null"#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
        r#""cty":"jwt""#,
        r#""cty":"application/jwt""#,
    ] {
        let token = headed(&format!(
            r#"{{"alg":"ES256","typ":"at+jwt","kid":"{KID}",{extra}}}"#
        ));
        check(&stage, &[(extra, token, "401 token_malformed")]);
    }
    for extra in [
        r#""cty":"json""#,
        r#""x5t":"AA""#,
        r#""future":{"a":[1]}"#,
        r#""critical":[]"#,
    ] {
        let token = headed(&format!(
            r#"{{"alg":"ES256","typ":"at+jwt","kid":"{KID}",{extra}}}"#
        ));
        check(&stage, &[(extra, token, "200")]);
    }
}

// T32, T57
#[test]
fn a_header_is_one_json_object_without_duplicates() {
    let stage = Stage::new();
    for header in [
        r#"{"alg":"ES256","alg":"ES256","kid":"corp-1"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"corp-1"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"corp-1"}"#,
        r#"{"alg":"ES256","kid":"corp-1","kid":"corp-1"}"#,
        r#"{"alg":"ES256","kid":"corp-1","k\u0069d":"x"}"#,
        r#"{"alg":"ES256","kid":"corp-1","x":1,"x":2}"#,
        r#"{"alg":"ES256","kid":"corp-1","jwk":{"x":1,"x":2}}"#,
        r#"{"alg":"ES256","kid":"corp-1","y":[{"x":1,"\u0078":2}]}"#,
        r#"["ES256"]"#,
        r#""ES256""#,
        "null",
        "{}",
        "",
        r#"{"alg":"ES256","kid":"corp-1"}x"#,
        r#"{"alg":"ES256","kid":"corp-1"}{}"#,
        r#"{"alg":"ES256","kid":"corp-1",}"#,
        r"{'alg':'ES256'}",
        "\u{feff}{\"alg\":\"ES256\",\"kid\":\"corp-1\"}",
        r#"{"alg":"ES256","kid":"corp-1","x":"\ud800"}"#,
        r#"{"alg":"ES256","kid":"corp-1","x":NaN}"#,
    ] {
        check(&stage, &[(header, headed(header), "401 token_malformed")]);
    }
    let invalid = corp().sign_bytes(
        b"{\"alg\":\"ES256\",\"x\":\"\xff\"}",
        claims().to_string().as_bytes(),
    );
    let deep = format!(
        r#"{{"alg":"ES256","x":{}1{}}}"#,
        "[".repeat(16),
        "]".repeat(16)
    );
    let spaced = " { \"alg\" : \"ES256\" ,\r\n\t\"kid\" : \"corp-1\" } ";
    check(
        &stage,
        &[
            ("not UTF-8", invalid, "401 token_malformed"),
            ("too deep", headed(&deep), "401 token_malformed"),
            (
                "deep",
                headed(&deep.replacen('[', "", 1).replacen(']', "", 1)),
                "200",
            ),
            ("white space", headed(spaced), "200"),
        ],
    );
}

/// The token with another part in that place.
fn with_part(token: &str, place: usize, part: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[place] = part;
    parts.join(".")
}

// T38
#[test]
fn every_part_is_canonical_base64url() {
    let stage = Stage::new();
    let good = token(json!({"pad": "?>?>~~~"}));
    let malformed = "401 token_malformed";
    for (place, part) in good.split('.').enumerate() {
        // Padding inside a token is no b64token; at its end it is.
        let padded = ["400 header_malformed", "400 header_malformed", malformed][place];
        for (changed, expected) in [
            (format!("{part}=="), padded),
            (format!("{part}~"), malformed),
            (format!("+{part}"), malformed),
            (format!("/{part}"), malformed),
        ] {
            let token = with_part(&good, place, &changed);
            check(&stage, &[(&changed, token, expected)]);
        }
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
        let standard = BASE64_NOPAD.encode(&bytes);
        // The payload tells the alphabets apart for sure.
        assert!(place != 1 || standard != part, "{part}");
        if standard != part {
            let token = with_part(&good, place, &standard);
            check(&stage, &[(&standard, token, malformed)]);
        }
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T38
#[test]
fn the_bits_left_over_in_a_last_character_are_zero() {
    let stage = Stage::new();
    let good = token(json!({}));
    // 64 bytes leave four bits over.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = good.split_at(good.len() - 1);
    let place = alphabet.find(last).unwrap();
    for other in 1..16 {
        let twin = format!("{start}{}", &alphabet[place + other..=place + other]);
        check(&stage, &[("trailing bits", twin, "401 token_malformed")]);
    }
    check(&stage, &[("untouched", good, "200")]);
}
