//! The verifier against jsonwebtoken: whatever we accept, it accepts; what it refuses, we refuse. Where we are
//! stricter on purpose, the case says so.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod gate_support;

use gate_support::{NOW, Signer, claims, configuration, gate, head, now};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use portcullis::gate::Gate;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is done to a good token.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Claim(&'static str, Value),
    Without(&'static str),
    FlippedBit(usize),
    Truncated(usize),
    OtherKey,
}

fn changes() -> impl Strategy<Value = Change> {
    let moments = prop_oneof![NOW - 7200..NOW - 120, NOW + 120..NOW + 7200];
    prop_oneof![
        9 => Just(Change::Nothing),
        2 => ("[a-z]{1,8}", any::<i32>()).prop_map(|(text, number)| Change::Claim("extra", json!({text: [number, null, true]}))),
        2 => "\\PC{0,40}".prop_map(|text| Change::Claim("sub", json!(text))),
        1 => moments.clone().prop_map(|at| Change::Claim("exp", json!(at))),
        1 => moments.prop_map(|at| Change::Claim("nbf", json!(at))),
        1 => Just(Change::Claim("iss", json!("https://other.example/"))),
        1 => Just(Change::Claim("aud", json!("other"))),
        1 => Just(Change::Claim("aud", json!(["other", "https://api.example.com"]))),
        1 => Just(Change::Without("aud")),
        1 => Just(Change::Without("exp")),
        1 => Just(Change::Without("iss")),
        1 => Just(Change::Without("jti")),
        2 => any::<usize>().prop_map(Change::FlippedBit),
        1 => (1..60_usize).prop_map(Change::Truncated),
        1 => Just(Change::OtherKey),
    ]
}

fn token(signer: &Signer, stranger: &Signer, change: &Change) -> String {
    let mut claims = claims(0);
    let members = claims.as_object_mut().expect("an object");
    match change {
        Change::Claim(name, value) => drop(members.insert((*name).to_owned(), value.clone())),
        Change::Without(name) => drop(members.remove(*name)),
        _ => {}
    }
    let by = if matches!(change, Change::OtherKey) {
        stranger
    } else {
        signer
    };
    let mut token = by.sign("key", &claims);
    match change {
        Change::FlippedBit(at) => {
            let at = at % token.len();
            let mut bytes = token.into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            token = String::from_utf8(bytes).expect("ASCII");
        }
        Change::Truncated(by) => token.truncate(token.len() - by),
        _ => {}
    }
    token
}

fn oracle(signer: &Signer) -> (DecodingKey, Validation) {
    let public = signer.public_key();
    let (algorithm, key) = match signer.algorithm() {
        "RS256" => (Algorithm::RS256, DecodingKey::from_rsa_der(&public)),
        "ES256" => (Algorithm::ES256, DecodingKey::from_ec_der(&public)),
        _ => (Algorithm::EdDSA, DecodingKey::from_ed_der(&public)),
    };
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&["https://id.example.com/"]);
    validation.set_audience(&["https://api.example.com"]);
    // Its clock is the system's; ours is an argument. Expiry and nbf are compared by hand below.
    validation.validate_exp = false;
    (key, validation)
}

/// Whether jsonwebtoken finds the token good, at our time.
fn oracle_accepts(token: &str, key: &DecodingKey, validation: &Validation) -> bool {
    #[expect(clippy::disallowed_methods, reason = "it is the oracle")]
    let decoded = jsonwebtoken::decode::<Value>(token, key, validation);
    decoded.is_ok_and(|token| {
        let moment = |name: &str| token.claims.get(name).and_then(Value::as_i64);
        moment("exp").is_some_and(|exp| NOW < exp + 30)
            && moment("nbf").is_none_or(|nbf| NOW >= nbf - 30)
    })
}

fn we_accept(runtime: &tokio::runtime::Runtime, gate: &Gate, token: &str) -> bool {
    runtime
        .block_on(gate.admit(&head("/orders/1", Some(token)), now()))
        .is_ok()
}

#[test]
fn the_verifier_agrees_with_jsonwebtoken() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for (signer, stranger) in [
        (Signer::new("RS256"), Signer::new("RS256")),
        (Signer::new("ES256"), Signer::new("ES256")),
        (Signer::new("EdDSA"), Signer::new("EdDSA")),
    ] {
        let (gate, _) = runtime.block_on(gate(&configuration(
            folder.path(),
            &[signer.jwk("key")],
            64,
            "",
        )));
        let (key, validation) = oracle(&signer);
        let (mut both, mut all) = (0, 0);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
        let counted = std::cell::RefCell::new((&mut both, &mut all));
        let outcome = runner.run(&changes(), |change| {
            let token = token(&signer, &stranger, &change);
            let (ours, theirs) = (
                we_accept(&runtime, &gate, &token),
                oracle_accepts(&token, &key, &validation),
            );
            prop_assert_eq!(ours, theirs, "{:?}", change);
            let mut counted = counted.borrow_mut();
            *counted.1 += 1;
            *counted.0 += u32::from(ours);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", signer.algorithm()));
        assert!(
            both * 2 >= all,
            "only {both} of {all} tokens were accepted by both"
        );
    }
}
