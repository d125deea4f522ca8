//! What a decision costs: a cached token, each kind of signature, and the rejections that need none.
//!
//! `cargo bench --bench gate`. Only ratios within one run mean anything; `sha256` and the bare verification
//! of RS256 are there to compare with.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot be set up panics"
)]

use std::fmt::Write;
use std::hint::black_box;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tokio::runtime::Runtime;

#[path = "../tests/gate_support/mod.rs"]
mod gate_support;

use gate_support::{NOW, Signer, claims, configuration, gate, head, now};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn admissions(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let signers = ["RS256", "ES256", "EdDSA"].map(Signer::new);
    let keys: Vec<_> = signers
        .iter()
        .map(|signer| signer.jwk(signer.algorithm()))
        .collect();
    let (cached, _) = runtime.block_on(gate(&configuration(folder.path(), &keys, 1000, "")));
    let (uncached, _) = runtime.block_on(gate(&configuration(folder.path(), &keys, 0, "")));
    let mut group = criterion.benchmark_group("admit");

    for signer in &signers {
        let request = head(
            "/orders/1",
            Some(&signer.sign(signer.algorithm(), &claims(0))),
        );
        assert!(runtime.block_on(cached.admit(&request, now())).is_ok());
        group.bench_function(format!("hit {}", signer.algorithm()), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(cached.admit(black_box(&request), now()))
                    .is_ok()
            });
        });
        group.bench_function(format!("miss {}", signer.algorithm()), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(uncached.admit(black_box(&request), now()))
                    .is_ok()
            });
        });
    }
    group.finish();
    floors(criterion, &signers[0]);
}

/// What no gate can do without.
fn floors(criterion: &mut Criterion, key_pair: &Signer) {
    let token = key_pair.sign("RS256", &claims(0));
    let (signed, last) = token.rsplit_once('.').expect("three parts");

    let signature = data_encoding::BASE64URL_NOPAD
        .decode(last.as_bytes())
        .expect("base64url");
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key_pair.public_key())
        .parse()
        .expect("a key");
    let mut group = criterion.benchmark_group("floor");
    group.bench_function("sha256 of a token", |bencher| {
        bencher.iter(|| {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, black_box(token.as_bytes()))
        });
    });
    group.bench_function("bare RS256 verification", |bencher| {
        bencher.iter(|| {
            key.verify_sig(black_box(signed.as_bytes()), &signature)
                .is_ok()
        });
    });
    group.finish();
}

fn rejections(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new("RS256");
    let config = configuration(folder.path(), &[signer.jwk("RS256")], 1000, "");
    let (gate, _) = runtime.block_on(gate(&config));
    let with = |changes: serde_json::Value| {
        let mut claims = claims(0);
        claims
            .as_object_mut()
            .expect("an object")
            .extend(changes.as_object().expect("an object").clone());
        signer.sign("RS256", &claims)
    };
    let opaque = "0123456789abcdef0123456789abcdef".to_owned();
    let rows = [
        ("token_missing", None),
        ("token_opaque", Some(opaque)),
        ("token_malformed", Some(signer.sign_text("{}", "[]"))),
        ("token_expired", Some(with(json!({"exp": NOW - 3600})))),
        (
            "issuer_unknown",
            Some(with(json!({"iss": "https://elsewhere.example/"}))),
        ),
        (
            "algorithm_forbidden",
            Some(signer.sign_text(r#"{"alg":"none"}"#, &claims(0).to_string())),
        ),
    ];
    let mut group = criterion.benchmark_group("reject");
    for (name, token) in rows {
        let request = head("/orders/1", token.as_deref());
        let reason = runtime
            .block_on(gate.admit(&request, now()))
            .expect_err("a rejection")
            .reason;
        assert_eq!(reason.code(), name);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(gate.admit(black_box(&request), now()))
                    .is_err()
            });
        });
    }
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("route");
    for count in [10, 10_000] {
        let mut more = String::new();
        for number in 0..count {
            write!(
                more,
                "[[route]]\npath = \"/service/{number}/*\"\nupstream = \"api\"\nauth = \"none\"\n"
            )
            .expect("a string");
        }
        let (gate, _) = runtime.block_on(gate(&configuration(
            folder.path(),
            &[Signer::new("ES256").jwk("a")],
            0,
            &more,
        )));
        let request = head(&format!("/service/{}/items/7", count - 1), None);
        assert!(runtime.block_on(gate.admit(&request, now())).is_ok());
        group.bench_function(format!("among {count}"), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(gate.admit(black_box(&request), now()))
                    .is_ok()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, admissions, rejections, routes);
criterion_main!(benches);
