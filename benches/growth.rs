//! What a decision costs beside the work that no gate can do without, and how little of it grows.
//!
//! `cargo bench --bench growth` prints a table; with `-- --assert` it fails where a target is missed. Everything is a
//! ratio within one run: a cached token in units of one SHA-256 of that token, a verified one in units of the bare
//! verification, and each thing that may grow against the same with little of it, measured in turns. A batch of
//! requests is made just before it is decided on, as if a socket had brought it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::exit,
    clippy::cast_precision_loss,
    reason = "a bench prints, and panics where it cannot be set up"
)]

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use http::request::Parts;
use portcullis::gate::Gate;
use portcullis::revocation::{RevocationKind, RevocationSet, Target};
use portcullis::time::UnixTime;
use serde_json::{Value, json};

#[path = "../tests/gate_support/mod.rs"]
mod gate_support;

use gate_support::{NOW, Signer, claims, configuration, gate, head, now};

const BATCH: usize = 64;
const BATCHES: usize = 400;
/// A claim as long as those of real providers make a token of about 750 bytes.
const PADDING: usize = 96;

/// One line of the table.
struct Row {
    name: &'static str,
    ratio: f64,
    must: f64,
    aim: f64,
}

/// A decision that waits for nothing.
fn decide(gate: &Gate, request: &Parts) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(gate.admit(request, now())).poll(&mut context) {
        Poll::Ready(outcome) => outcome.is_ok(),
        Poll::Pending => false,
    }
}

/// Nanoseconds of one of a batch.
fn time(mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_nanos() as f64 / BATCH as f64
}

/// What takes as long as a quarter of the batches at most: what disturbs a batch makes it slower, never faster.
fn usual(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 4]
}

/// The times of both, measured in turns.
fn beside(mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> (f64, f64) {
    let times = (0..BATCHES).map(|_| (one(), other()));
    let (ones, others): (Vec<_>, Vec<_>) = times.unzip();
    (usual(ones), usual(others))
}

/// A batch of decisions on some of `requests`, drawn at random, and made anew.
fn batch<'gate>(
    gate: &'gate Gate,
    request: impl Fn(usize) -> Parts + 'gate,
    count: usize,
) -> impl FnMut() -> f64 + 'gate {
    let mut random = fastrand::Rng::with_seed(1);
    move || {
        let requests: Vec<_> = (0..BATCH).map(|_| request(random.usize(..count))).collect();
        time(|| {
            for request in &requests {
                assert!(decide(gate, black_box(request)));
            }
        })
    }
}

fn padded(serial: usize) -> Value {
    let mut claims = claims(serial);
    claims["padding"] = json!("x".repeat(PADDING));
    claims
}

fn floors(runtime: &tokio::runtime::Runtime, folder: &Path) -> [Row; 2] {
    let signer = Signer::new("RS256");
    let keys = [signer.jwk("a")];
    let (cached, _) = runtime.block_on(gate(&configuration(folder, &keys, 1000, "")));
    let (uncached, _) = runtime.block_on(gate(&configuration(folder, &keys, 0, "")));
    let token = signer.sign("a", &padded(0));
    let request = head("/orders/1", Some(&token));
    assert!(decide(&cached, &request) && decide(&uncached, &request));

    let counted = allocation_counter::measure(|| assert!(decide(&cached, &request)));
    assert_eq!(counted.count_total, 0, "a cached token allocates nothing");

    let whole_batch = |work: &dyn Fn()| time(|| (0..BATCH).for_each(|_| work()));
    let (hit, hash) = beside(
        || whole_batch(&|| assert!(decide(&cached, black_box(&request)))),
        || {
            whole_batch(&|| {
                black_box(digest(&SHA256, black_box(token.as_bytes())));
            })
        },
    );
    let (message, last) = token.rsplit_once('.').expect("three parts");
    let signature = data_encoding::BASE64URL_NOPAD.decode(last.as_bytes());
    let signature = signature.expect("base64url");
    let public = signer.public_key();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).parse();
    let key = key.expect("a key");
    let (miss, bare) = beside(
        || whole_batch(&|| assert!(decide(&uncached, black_box(&request)))),
        || {
            whole_batch(&|| {
                assert!(
                    key.verify_sig(black_box(message.as_bytes()), &signature)
                        .is_ok()
                );
            })
        },
    );
    println!(
        "a token of {} bytes: SHA-256 {hash:.0} ns, bare RS256 verification {bare:.0} ns",
        token.len()
    );
    println!("admit, from the cache {hit:.0} ns and no allocation; verified {miss:.0} ns");
    [
        Row {
            name: "admit, cached token / SHA-256 of it",
            ratio: hit / hash,
            must: 3.5,
            aim: 2.0,
        },
        Row {
            name: "admit, RS256 / bare verification",
            ratio: miss / bare,
            must: 1.10,
            aim: 1.05,
        },
    ]
}

/// A configuration with `count` issuers of ten keys each, and as many tokens whatever the count: signed by them in turn.
fn with_issuers(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    count: usize,
) -> (Gate, Vec<String>) {
    const TOKENS: usize = 1000;
    let own = Signer::new("EdDSA");
    // The first line belongs to the route that the configuration ends with.
    let names: Vec<_> = (0..count).map(|number| format!("\"i{number}\"")).collect();
    let mut more = format!("issuers = [{}]\n", names.join(", "));
    let signers: Vec<_> = (0..count).map(|_| Signer::new("EdDSA")).collect();
    for (number, signer) in signers.iter().enumerate() {
        let mut keys: Vec<_> = (0..9)
            .map(|key| Signer::new("EdDSA").jwk(&format!("k{key}")))
            .collect();
        keys.push(signer.jwk("own"));
        let name = format!("keys-{number}.json");
        std::fs::write(folder.join(&name), json!({ "keys": keys }).to_string()).expect("a folder");
        write!(
            more,
            "[[issuer]]\nname = \"i{number}\"\nissuer = \"https://{number}.example.com/\"\njwks_file = \"{name}\"\n\
             audiences = [\"https://api.example.com\"]\n"
        )
        .expect("a string");
    }
    let config = configuration(folder, &[own.jwk("a")], 10_000, &more);
    let (gate, _) = runtime.block_on(gate(&config));
    let token = |serial: usize| {
        let mut claims = claims(serial);
        claims["iss"] = json!(format!("https://{}.example.com/", serial % count));
        signers[serial % count].sign("own", &claims)
    };
    let tokens: Vec<_> = (0..TOKENS).map(token).collect();
    for token in &tokens {
        assert!(decide(&gate, &head("/orders/1", Some(token))));
    }
    (gate, tokens)
}

fn issuers(runtime: &tokio::runtime::Runtime) -> f64 {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let (few, few_tokens) = with_issuers(runtime, folders[0].path(), 1);
    let (many, many_tokens) = with_issuers(runtime, folders[1].path(), 1000);
    let (before, after) = beside(
        batch(
            &few,
            |place| head("/orders/1", Some(&few_tokens[place])),
            few_tokens.len(),
        ),
        batch(
            &many,
            |place| head("/orders/1", Some(&many_tokens[place])),
            many_tokens.len(),
        ),
    );
    after / before
}

/// Guarded routes, all asked with one token.
fn routes(runtime: &tokio::runtime::Runtime) -> f64 {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let signer = Signer::new("EdDSA");
    let token = signer.sign("a", &claims(0));
    let with = |count: usize, folder: &Path| {
        let mut more = String::new();
        for number in 0..count {
            write!(
                more,
                "[[route]]\npath = \"/service/{number}/*\"\nupstream = \"api\"\n"
            )
            .expect("a string");
        }
        runtime
            .block_on(gate(&configuration(
                folder,
                &[signer.jwk("a")],
                1000,
                &more,
            )))
            .0
    };
    let (few, many) = (with(10, folders[0].path()), with(10_000, folders[1].path()));
    let request = |place: usize| head(&format!("/service/{place}/items/7"), Some(&token));
    for gate in [&few, &many] {
        assert!(decide(gate, &request(0)));
    }
    let (before, after) = beside(batch(&few, request, 10), batch(&many, request, 10_000));
    after / before
}

/// Cached tokens, drawn at random. They are signed with a shared secret, because a million signatures of another kind
/// take minutes.
fn tokens(runtime: &tokio::runtime::Runtime) -> f64 {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let secret = [7; 48];
    let signer = Signer::hmac("HS256", &secret);
    let issuer = "issuers = [\"own\"]\n[[issuer]]\nname = \"own\"\nissuer = \"https://own.example.com/\"\nhmac_secret_file = \"secret\"\n\
                  algorithms = [\"HS256\"]\naudiences = [\"https://api.example.com\"]\n";
    let with = |count: usize, folder: &Path| {
        std::fs::write(folder.join("secret"), secret).expect("a folder");
        let keys = [Signer::new("EdDSA").jwk("a")];
        let (gate, _) = runtime.block_on(gate(&configuration(folder, &keys, 2 * count, issuer)));
        let token = |serial: usize| {
            let mut claims = claims(serial);
            claims["iss"] = json!("https://own.example.com/");
            signer.sign("", &claims)
        };
        let tokens: Vec<_> = (0..count).map(token).collect();
        for token in &tokens {
            assert!(decide(&gate, &head("/orders/1", Some(token))));
        }
        (gate, tokens)
    };
    let (few, few_tokens) = with(100, folders[0].path());
    let (many, many_tokens) = with(1_000_000, folders[1].path());
    println!(
        "{} of 1,000,000 tokens are in the cache",
        many.cached_tokens()
    );
    let (before, after) = beside(
        batch(
            &few,
            |place| head("/orders/1", Some(&few_tokens[place])),
            few_tokens.len(),
        ),
        batch(
            &many,
            |place| head("/orders/1", Some(&many_tokens[place])),
            many_tokens.len(),
        ),
    );
    after / before
}

fn load(set: &RevocationSet, count: u64) {
    let ends_at = UnixTime::from_seconds(NOW + 3600);
    let mut loader = set.loader();
    for number in 0..count {
        let kind = RevocationKind::ALL[usize::try_from(number % 6).expect("a kind")];
        let bytes = number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes()
            .repeat(4);
        let issuer = "https://id.example.com/";
        loader.add(
            Target {
                issuer,
                kind,
                value: &bytes,
                issued_before: None,
            },
            ends_at,
        );
    }
    loader.finish();
}

fn revocations(runtime: &tokio::runtime::Runtime) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new("EdDSA");
    let config = configuration(folder.path(), &[signer.jwk("a")], 2000, "");
    let gates = [0, 1].map(|_| runtime.block_on(gate(&config)));
    load(&gates[1].1, 10_000_000);
    let tokens: Vec<_> = (0..1000)
        .map(|serial| signer.sign("a", &claims(serial)))
        .collect();
    for token in &tokens {
        let request = head("/orders/1", Some(token));
        assert!(gates.iter().all(|(gate, _)| decide(gate, &request)));
    }
    let request = |place: usize| head("/orders/1", Some(&tokens[place]));
    let (before, after) = beside(
        batch(&gates[0].0, request, tokens.len()),
        batch(&gates[1].0, request, tokens.len()),
    );
    after / before
}

fn main() {
    let must_hold = std::env::args().any(|argument| argument == "--assert");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut rows = Vec::from(floors(&runtime, folder.path()));
    let growth = |name, ratio| Row {
        name,
        ratio,
        must: 1.5,
        aim: 1.25,
    };
    rows.push(growth("1 to 1,000 issuers of 10 keys", issuers(&runtime)));
    rows.push(growth("10 to 10,000 routes", routes(&runtime)));
    rows.push(growth("0 to 10,000,000 revocations", revocations(&runtime)));
    rows.push(growth("100 to 1,000,000 cached tokens", tokens(&runtime)));
    println!("| admit | must | aim | measured | verdict |\n|---|---|---|---|---|");
    for Row {
        name,
        ratio,
        must,
        aim,
    } in &rows
    {
        let verdict = match ratio {
            ratio if ratio <= aim => "aim reached",
            ratio if ratio <= must => "ok",
            _ => "MISSED",
        };
        println!("| {name} | ≤ {must:.2} | ≤ {aim:.2} | {ratio:.2} | {verdict} |");
    }
    if must_hold && rows.iter().any(|row| row.ratio > row.must) {
        std::process::exit(1);
    }
}
