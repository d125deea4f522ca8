//! What ten million revocations cost: a check, a cached admission, memory, loading, and other people's pauses.
//!
//! `cargo bench --bench revocation` (some minutes, 1 GiB, and 3 GiB on the disk; `DISK_ALONE=1`: the embedded store alone). Only ratios within one run mean anything: checks are given
//! in SHA-256 of a token, too. `CHECKED_TOKENS` and `ENTRIES` in the environment change the sizes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints what it found, and panics if it cannot be set up"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use http::request::Parts;
use portcullis::gate::Gate;
use portcullis::identity::{Identity, IssuerId, Thumbprint, TokenDigest};
use portcullis::revocation::{
    Batch, Change, Journal, Lookup, NewRevocation, RevocationKind, RevocationSet, Subject, Target,
    Verdict,
};
use portcullis::time::{Clock, UnixTime};
use tokio::runtime::Runtime;

#[path = "../tests/gate_support/mod.rs"]
mod gate_support;

use gate_support::{NOW, Signer, claims, configuration, gate, head, now};

const ISSUER: &str = "https://id.example.com/";
/// Of each figure the least of so many rounds counts: noise only adds.
const ROUNDS: usize = 7;
/// Distinct tokens of the gate's part, far more than the processor's caches hold entries of.
const ADMITTED_TOKENS: usize = 20_000;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// 22 letters that no other number has, as long as a random `jti` of 128 bits.
fn value(number: u64) -> [u8; 22] {
    let mut text = *b"AAAAAAAAAAAAAAAAAAAAAA";
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for letter in &mut text[..16] {
        *letter = b'A' + (rest & 15) as u8;
        rest >>= 4;
    }
    text
}

fn text(number: u64) -> Box<str> {
    String::from_utf8_lossy(&value(number)).into()
}

fn hash(number: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    for (part, factor) in hash.chunks_exact_mut(8).zip([3, 5, 7, 11]) {
        part.copy_from_slice(
            &(number + factor)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes(),
        );
    }
    hash
}

/// A token that no entry names.
fn identity(number: u64) -> Identity {
    let number = (1 << 48) + 8 * number;
    Identity {
        issuer: IssuerId(0),
        iss: ISSUER.into(),
        subject: Some(text(number)),
        client: Some(text(number + 1)),
        session: Some(text(number + 2)),
        jti: Some(text(number + 3)),
        scopes: Arc::default(),
        scopes_are_elements: false,
        audiences: None,
        issued_at: Some(UnixTime::from_seconds(NOW - 60)),
        expires_at: UnixTime::from_seconds(NOW + 3600),
        key: Thumbprint(hash(number + 4)),
        digest: TokenDigest(hash(number + 5)),
        claims: Box::default(),
    }
}

/// Loads entries of all kinds in turn, and subjects with a cut-off as a seventh, that end in an hour.
fn load(set: &RevocationSet, count: u64) {
    let ends_at = UnixTime::from_seconds(NOW + 3600);
    let mut loader = set.loader();
    for number in 0..count {
        let text = value(number);
        let hash = hash(number);
        let cut_off = UnixTime::from_seconds(NOW);
        let (kind, issued_before) = usize::try_from(number % 7)
            .ok()
            .and_then(|kind| RevocationKind::ALL.get(kind))
            .map_or((RevocationKind::Subject, Some(cut_off)), |kind| {
                (*kind, None)
            });
        let value: &[u8] = match kind {
            RevocationKind::Key | RevocationKind::Token => &hash,
            _ => &text,
        };
        let target = Target {
            issuer: ISSUER,
            kind,
            value,
            issued_before,
        };
        loader.add(target, ends_at);
    }
    loader.finish();
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
    kib.expect("a number") * 1024
}

/// Nanoseconds of one `work`, at best.
fn nanos(times: usize, mut work: impl FnMut(usize)) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        (0..times).for_each(&mut work);
        begin.elapsed().as_nanos() as f64 / times as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

/// A token as a gate may keep it.
struct Kept {
    lookup: Lookup,
    identity: Identity,
}

/// Nanoseconds of a check, and of one with the look-up kept.
fn checks(set: &RevocationSet, tokens: &[Kept], order: &[usize]) -> [f64; 2] {
    let plain = nanos(order.len(), |at| {
        let verdict = set.check(&tokens[order[at]].identity, ISSUER, now());
        assert_eq!(black_box(verdict), Verdict::Clear);
    });
    let kept = nanos(order.len(), |at| {
        let token = &tokens[order[at]];
        let verdict = set.check_with(&token.lookup, &token.identity, ISSUER, now());
        assert_eq!(black_box(verdict), Verdict::Clear);
    });
    [plain, kept]
}

fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    order
}

fn check_cost(entries: u64) -> RevocationSet {
    let token = "e".repeat(700);
    let sha = nanos(100_000, |_| {
        black_box(digest(&SHA256, black_box(token.as_bytes())));
    });
    println!("SHA-256 of a token of 700 bytes {sha:.1} ns = 1 unit; {entries} entries");
    let count = usize::try_from(from_environment("CHECKED_TOKENS", 200_000)).expect("a size");
    let tokens: Vec<_> = (0..count as u64)
        .map(identity)
        .map(|identity| Kept {
            lookup: Lookup::new(&identity, ISSUER),
            identity,
        })
        .collect();
    let say = |what: &str, [plain, kept]: [f64; 2]| {
        println!(
            "check, {what:32} {plain:7.1} ns = {:.3}; look-up kept {kept:7.1} ns = {:.3}",
            plain / sha,
            kept / sha
        );
    };
    let order = shuffled(count);
    let few_order = shuffled(1000);
    let few = RevocationSet::new();
    say("nothing held", checks(&few, &tokens, &order));
    load(&few, 7);
    say("7 held, 1,000 tokens", checks(&few, &tokens, &few_order));
    say("7 held", checks(&few, &tokens, &order));

    let set = RevocationSet::new();
    let before = resident();
    let begin = Instant::now();
    load(&set, entries);
    let loading = begin.elapsed().as_secs_f64();
    let bytes = resident().saturating_sub(before) as f64 / entries as f64;
    assert_eq!(set.len() as u64, entries);
    say("all held, 1,000 tokens", checks(&set, &tokens, &few_order));
    say("all held", checks(&set, &tokens, &order));
    println!(
        "loaded {:.2} million a second",
        entries as f64 / loading / 1e6
    );
    println!("memory {bytes:.1} bytes an entry");
    set
}

/// One thread checks without pause while `work` changes the set: how long the slowest checks took.
fn pauses(name: &str, set: &RevocationSet, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let tokens: Vec<_> = (0..20_000).map(identity).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut times = Vec::with_capacity(50_000_000);
            while !done.load(Ordering::Relaxed) {
                for token in &tokens {
                    let begin = Instant::now();
                    black_box(set.check(token, ISSUER, now()));
                    times.push(begin.elapsed());
                }
            }
            times.sort_unstable();
            times
        });
        work();
        done.store(true, Ordering::Relaxed);
        let times = reader.join().expect("a reader");
        let quantile = |share: usize| times[times.len() - 1 - times.len() / share];
        println!(
            "checks {name}: p50 {:?}, p99 {:?}, p99.99 {:?}, p99.9999 {:?}",
            quantile(2),
            quantile(100),
            quantile(10_000),
            quantile(1_000_000)
        );
    });
}

fn changes(set: &RevocationSet, entries: u64) {
    pauses("while nothing changes", set, || {
        std::thread::sleep(Duration::from_secs(1));
    });
    pauses("while entries come one by one", set, || {
        let mut slowest = Duration::ZERO;
        let begin = Instant::now();
        let count = 300_000;
        for number in 0..count {
            let new = NewRevocation {
                issuer: ISSUER.into(),
                what: Subject::Jti(text(entries + number)),
                expires_at: Some(UnixTime::from_seconds(NOW + 3600)),
                reason: None,
            };
            let one = Instant::now();
            set.revoke(new, now());
            slowest = slowest.max(one.elapsed());
        }
        let each = begin.elapsed() / u32::try_from(count).expect("a count");
        println!("an entry more, recorded: {each:?}, the slowest {slowest:?}");
    });
    pauses("while all end and are swept", set, || {
        let later = UnixTime::from_seconds(NOW + 3600);
        let (mut calls, mut slowest) = (0, Duration::ZERO);
        while !set.is_empty() {
            let begin = Instant::now();
            set.sweep(later);
            slowest = slowest.max(begin.elapsed());
            calls += 1;
        }
        println!("swept in {calls} calls, the slowest {slowest:?}");
    });
    println!("resident after {:.1} MiB", resident() as f64 / 1_048_576.0);
}

/// Nanoseconds of an admission by each gate, in turns: what else the machine does, it does to both.
fn admissions(
    runtime: &Runtime,
    gates: [&Gate; 2],
    requests: &[Parts],
    order: &[usize],
) -> [f64; 2] {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..3 * ROUNDS {
        for (gate, best) in gates.into_iter().zip(&mut best) {
            let begin = Instant::now();
            for at in order {
                let admitted = runtime.block_on(gate.admit(black_box(&requests[*at]), now()));
                assert!(admitted.is_ok());
            }
            *best = best.min(begin.elapsed().as_nanos() as f64 / order.len() as f64);
        }
    }
    best
}

fn admission_cost(entries: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new("EdDSA");
    let config = configuration(folder.path(), &[signer.jwk("EdDSA")], 100_000, "");
    let (without, _) = runtime.block_on(gate(&config));
    let (with, set) = runtime.block_on(gate(&config));
    load(&set, entries);
    let requests: Vec<_> = (0..ADMITTED_TOKENS)
        .map(|serial| {
            let mut claims = claims(serial);
            claims["sub"] = format!("subject-{serial}").into();
            claims["sid"] = format!("session-{serial}").into();
            head("/orders/1", Some(&signer.sign("EdDSA", &claims)))
        })
        .collect();
    for count in [1, 1000, ADMITTED_TOKENS] {
        let mut order = shuffled(count);
        order.resize(order.len().max(1000), 0);
        let [without, with] = admissions(&runtime, [&without, &with], &requests, &order);
        println!(
            "admit from the cache, {count:5} tokens: nothing held {without:.1} ns, {entries} held {with:.1} ns = {:.3}",
            with / without
        );
    }
}

fn jti(number: u64) -> NewRevocation {
    NewRevocation {
        issuer: ISSUER.into(),
        what: Subject::Jti(text(number)),
        expires_at: Some(UnixTime::from_seconds(
            NOW + 3600 + (number % 3600).cast_signed(),
        )),
        reason: None,
    }
}

fn change(number: u64) -> Change {
    Change::Revoke {
        new: jti(number),
        at: now(),
    }
}

fn journal(folder: &Path, set: &Arc<RevocationSet>) -> (Journal, Duration) {
    let begin = Instant::now();
    let clock = Clock::from_fn(now);
    let (journal, opening) = Journal::start(folder, Duration::ZERO, Arc::clone(set), clock);
    opening.wait_blocking().expect("a store");
    (journal, begin.elapsed())
}

/// In a process of its own, so that memory is what a gateway needs after its start.
fn load_from_disk(folder: &Path) {
    let set = Arc::new(RevocationSet::new());
    let before = resident();
    let (_journal, took) = journal(folder, &set);
    let entries = set.len() as f64;
    let memory = resident().saturating_sub(before) as f64;
    println!(
        "disk: opened, checked and loaded in {took:?}: {:.2} million a second, memory {:.1} bytes an entry, of it 32 MiB at most for the file",
        entries / took.as_secs_f64() / 1e6,
        memory / entries
    );
}

async fn write_one_by_one(journal: &Arc<Journal>, first: u64, writers: u64) {
    const EACH: u64 = 200;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let journal = Arc::clone(journal);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let changes = vec![change(first + writer * EACH + number)];
                    let position = None;
                    journal
                        .write(Batch { changes, position })
                        .await
                        .expect("a write");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    let took = begin.elapsed();
    println!(
        "disk: {writers:4} writers, {:8.0} durable revocations a second, {:?} each",
        (writers * EACH) as f64 / took.as_secs_f64(),
        took / u32::try_from(EACH).expect("a count")
    );
}

/// What the embedded store costs. `STORE_IN` names a folder on the disk that is to be measured.
fn disk_cost(entries: u64) {
    let place = std::env::var_os("STORE_IN").unwrap_or_else(|| "target".into());
    let folder = tempfile::tempdir_in(place).expect("a folder");
    let set = Arc::new(RevocationSet::new());
    let (journal, _) = journal(folder.path(), &set);
    let journal = Arc::new(journal);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for writers in [1, 10, 100, 1000] {
            write_one_by_one(&journal, (1 << 40) + writers * 1_000_000, writers).await;
        }
        let batch = entries.min(1_000_000);
        let begin = Instant::now();
        for first in (0..entries).step_by(usize::try_from(batch).expect("a size")) {
            let changes = (first..first + batch).map(change).collect();
            let one = Instant::now();
            journal.import(changes).await.expect("an import");
            if first == 0 {
                println!(
                    "disk: the first {batch} imported at once in {:?}",
                    one.elapsed()
                );
            }
        }
        println!("disk: {entries} imported in {:?}", begin.elapsed());
        journal.close().await;
    });
    let size = std::fs::metadata(folder.path().join("revocations.redb"))
        .expect("a file")
        .len();
    println!(
        "disk: the file has {:.0} bytes an entry",
        size as f64 / entries as f64
    );
    let again = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(again)
        .env("LOAD_FROM", folder.path())
        .status();
    assert!(status.expect("a process").success());
}

fn main() {
    if let Some(folder) = std::env::var_os("LOAD_FROM") {
        return load_from_disk(Path::new(&folder));
    }
    let entries = from_environment("ENTRIES", 10_000_000);
    if std::env::var_os("DISK_ALONE").is_some() {
        return disk_cost(entries);
    }
    let set = check_cost(entries);
    changes(&set, entries);
    drop(set);
    admission_cost(entries);
    disk_cost(entries);
}
