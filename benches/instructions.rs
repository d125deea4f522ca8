//! A guard against decay: how many instructions of our own a decision takes, counted by valgrind.
//!
//! `CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo bench --profile dev --bench instructions` fails where a count is above its
//! ceiling below; `scripts/test` runs it. Counts repeat where times do not. What differs from machine to machine is taken
//! off: hashing and verifying choose their code by the processor's features, so the same hashing and verifying is
//! counted alone, and only what comes on top is judged. The ceilings are a tenth above what was counted; who lowers a
//! count lowers its ceiling.
//!
//! The program runs itself under valgrind, twice for each case with different numbers of repetitions: the difference is
//! free of everything that happens once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::exit,
    reason = "a bench prints, and panics where it cannot be set up"
)]

use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

use portcullis::algorithm::Algorithm;
use portcullis::gate::Gate;
use portcullis::keys::{SignedPart, VerificationKey};
use portcullis::rejection::Rejection;
use serde_json::{Value, json};

#[path = "../tests/gate_support/mod.rs"]
mod gate_support;

use gate_support::{NOW, Signer, claims, configuration, gate, head, now};

/// What is counted of a case and not ours.
#[derive(Clone, Copy, PartialEq)]
enum Floor {
    Nothing,
    /// The two hashes that make a cache's key.
    Hashes,
    /// These, and the verification.
    Verification,
}

/// A case: its name, which is the reason where there is one, what is taken off, and the most it may take.
const CASES: [(&str, Floor, u64); 8] = [
    ("hit", Floor::Hashes, 22_600),
    ("miss", Floor::Verification, 80_800),
    ("token_missing", Floor::Nothing, 3_300),
    ("token_opaque", Floor::Nothing, 5_100),
    ("token_malformed", Floor::Hashes, 29_600),
    ("issuer_unknown", Floor::Hashes, 70_800),
    ("algorithm_forbidden", Floor::Hashes, 65_400),
    ("token_expired", Floor::Hashes, 70_800),
];
const FEW: u64 = 10;
const MANY: u64 = 60;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--repeat") {
        Some(at) => repeat(
            Path::new(&arguments[at + 1]),
            &arguments[at + 2],
            arguments[at + 3].parse().expect("a number"),
        ),
        None => judge(),
    }
}

fn judge() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new("RS256");
    std::fs::write(folder.path().join("jwk"), signer.jwk("a").to_string()).expect("a folder");
    for (name, _, _) in CASES {
        let token = token(&signer, name).unwrap_or_default();
        std::fs::write(folder.path().join(name), token).expect("a folder");
    }
    println!("instructions of our own in a decision:");
    let mut is_above = false;
    for (name, floor, ceiling) in CASES {
        let bare = match floor {
            Floor::Nothing => 0,
            Floor::Hashes => count(folder.path(), name, "hashes"),
            Floor::Verification => count(folder.path(), name, "verification"),
        };
        let ours = count(folder.path(), name, "decision").saturating_sub(bare);
        let verdict = if ours <= ceiling { "" } else { "  ABOVE" };
        is_above |= ours > ceiling;
        println!("{name:20} {ours:8} of {ceiling:8}, without {bare:8} of cryptography{verdict}");
    }
    if is_above {
        println!(
            "a decision costs more than it may: see what changed, or raise the ceiling and say why"
        );
        std::process::exit(1);
    }
}

fn token(signer: &Signer, case: &str) -> Option<String> {
    let with = |changes: Value| {
        let mut claims = claims(0);
        let changes = changes.as_object().expect("an object").clone();
        claims.as_object_mut().expect("an object").extend(changes);
        signer.sign("a", &claims)
    };
    match case {
        "token_missing" => None,
        "token_opaque" => Some("0123456789abcdef".repeat(2)),
        "token_malformed" => Some(signer.sign_text("{}", "[]")),
        "issuer_unknown" => Some(with(json!({"iss": "https://elsewhere.example/"}))),
        "algorithm_forbidden" => {
            Some(signer.sign_text(r#"{"alg":"none"}"#, &claims(0).to_string()))
        }
        "token_expired" => Some(with(json!({"exp": NOW - 3600}))),
        _ => Some(signer.sign("a", &claims(0))),
    }
}

/// Instructions of one repetition.
fn count(folder: &Path, case: &str, what: &str) -> u64 {
    let run = |times: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("this program"))
            .arg("--repeat")
            .arg(folder)
            .arg(format!("{case}:{what}"))
            .arg(times.to_string())
            .output()
            .expect("valgrind is installed");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let collected = text
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let collected = collected.and_then(|(_, number)| number.trim().parse::<u64>().ok());
        collected.unwrap_or_else(|| panic!("no count in: {text}"))
    };
    let (many, few) = std::thread::scope(|scope| {
        let many = scope.spawn(|| run(MANY));
        let few = run(FEW);
        (many.join().expect("a count"), few)
    });
    many.saturating_sub(few) / (MANY - FEW)
}

/// What valgrind counts.
fn repeat(folder: &Path, what: &str, times: u64) {
    let (case, what) = what.split_once(':').expect("a case and what of it");
    let jwk: Value =
        serde_json::from_slice(&std::fs::read(folder.join("jwk")).expect("a file")).expect("a key");
    let token = std::fs::read_to_string(folder.join(case)).expect("a file");
    match what {
        "decision" => decisions(folder, &jwk, case, &token, times),
        _ => cryptography(&jwk, &token, what == "verification", times),
    }
}

fn decisions(folder: &Path, jwk: &Value, case: &str, token: &str, times: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let entries = if case == "miss" { 0 } else { 1000 };
    let config = configuration(folder, std::slice::from_ref(jwk), entries, "");
    let (gate, _) = runtime.expect("a runtime").block_on(gate(&config));
    let request = head("/orders/1", Some(token).filter(|token| !token.is_empty()));
    for _ in 0..times {
        let outcome = decide(&gate, black_box(&request));
        let expected = if matches!(case, "hit" | "miss") {
            None
        } else {
            Some(case)
        };
        assert_eq!(outcome.map(Rejection::code), expected);
    }
}

/// `None`: the request was let in.
fn decide(gate: &Gate, request: &http::request::Parts) -> Option<Rejection> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(gate.admit(request, now())).poll(&mut context) {
        Poll::Ready(outcome) => outcome.err().map(|rejected| rejected.reason),
        Poll::Pending => panic!("a decision waits"),
    }
}

fn cryptography(jwk: &Value, token: &str, verifies: bool, times: u64) {
    let key = VerificationKey::from_jwk(jwk).unwrap_or_else(|reason| panic!("{reason:?}"));
    let (signed, signature) = token.rsplit_once('.').expect("a dot");
    let decoded = data_encoding::BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .expect("base64url");
    let key_text = [&[0; 32], signature.as_bytes()].concat();
    for _ in 0..times {
        let part = SignedPart::of(black_box(signed.as_bytes()));
        black_box(SignedPart::of(black_box(&key_text)));
        if verifies {
            assert!(key.verifies(Algorithm::Rs256, &part, black_box(&decoded)));
        }
    }
}
