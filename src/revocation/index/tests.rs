//! What the index promises: nothing is missed, and what has ended goes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::identity::{IssuerId, Thumbprint, TokenDigest};

const ISSUER: &str = "https://id.example.com/";

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

/// A token of which only the `jti` may be revoked here.
fn token(number: u64) -> Identity {
    Identity {
        issuer: IssuerId(0),
        iss: ISSUER.into(),
        subject: Some("alice".into()),
        client: None,
        session: None,
        jti: Some(number.to_string().into()),
        scopes: Arc::default(),
        scopes_are_elements: false,
        audiences: None,
        issued_at: Some(at(100)),
        expires_at: at(10_000),
        key: Thumbprint([7; 32]),
        digest: TokenDigest([9; 32]),
        claims: Box::default(),
    }
}

fn target(kind: RevocationKind, value: &str, issued_before: Option<UnixTime>) -> Target<'_> {
    Target {
        issuer: ISSUER,
        kind,
        value: value.as_bytes(),
        issued_before,
    }
}

fn insert_jti(index: &RevocationIndex, number: u64, ends_at: UnixTime) -> bool {
    index.insert(
        target(RevocationKind::Jti, &number.to_string(), None),
        ends_at,
    )
}

fn remove_jti(index: &RevocationIndex, number: u64) -> bool {
    index.remove(target(RevocationKind::Jti, &number.to_string(), None))
}

fn is_revoked(index: &RevocationIndex, number: u64, now: i64) -> bool {
    index.is_revoked(&token(number), ISSUER, at(now))
}

#[test]
fn an_acknowledged_entry_is_seen_by_every_later_check_while_filters_change() {
    const COUNT: u64 = 12_000;
    let index = RevocationIndex::new();
    // All below it have been acknowledged.
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                assert!(insert_jti(&index, number, UnixTime::MAX));
                acknowledged.store(number + 1, Ordering::Release);
                // Litter, so that filters are replaced oftener than they grow.
                for other in 0..2 {
                    assert!(insert_jti(&index, COUNT + other, UnixTime::MAX));
                    assert!(remove_jti(&index, COUNT + other));
                }
            }
        });
        for seed in 0..2 {
            let (index, acknowledged) = (&index, &acknowledged);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                loop {
                    let until = acknowledged.load(Ordering::Acquire);
                    if until == COUNT {
                        break;
                    }
                    if until > 0 {
                        assert!(is_revoked(index, until - 1, 0), "the newest of {until}");
                        let number = random.u64(..until);
                        assert!(is_revoked(index, number, 0), "{number} of {until}");
                    }
                }
            });
        }
    });
    assert!((0..COUNT).all(|number| is_revoked(&index, number, 0)));
    assert_eq!(index.held(RevocationKind::Jti), 12_000);
}

#[test]
fn a_removed_entry_refuses_no_longer_for_any_later_check() {
    let index = RevocationIndex::new();
    for number in 0..3000 {
        insert_jti(&index, number, UnixTime::MAX);
    }
    for number in (0..3000).step_by(2) {
        assert!(remove_jti(&index, number) && !remove_jti(&index, number));
        assert!(!is_revoked(&index, number, 0) && is_revoked(&index, number + 1, 0));
    }
    assert_eq!(index.held(RevocationKind::Jti), 1500);
}

#[test]
fn entries_in_bulk_are_as_if_they_had_come_one_by_one() {
    let index = RevocationIndex::new();
    for number in 0..500 {
        insert_jti(&index, number, at(10));
    }
    let mut loader = index.loader();
    for number in 0..40_000_u64 {
        let value = number.to_string();
        loader.add(target(RevocationKind::Jti, &value, None), at(20));
        loader.add(target(RevocationKind::Jti, &value, None), at(5));
        loader.add(target(RevocationKind::Subject, &value, Some(at(7))), at(30));
    }
    loader.finish();
    assert_eq!(index.held(RevocationKind::Jti), 40_000);
    assert_eq!(index.held(RevocationKind::Subject), 40_000);
    for number in 0..40_000 {
        assert!(is_revoked(&index, number, 19), "{number} at the later end");
        assert!(!is_revoked(&index, number, 20), "{number} has ended");
    }
    assert!((40_000..60_000).all(|number| !is_revoked(&index, number, 19)));
    let mut other = token(0);
    other.subject = Some("39999".into());
    other.issued_at = Some(at(7));
    assert!(index.is_revoked(&other, ISSUER, at(29)));
    other.issued_at = Some(at(8));
    assert!(!index.is_revoked(&other, ISSUER, at(29)));
}

#[test]
fn what_is_added_before_a_load_breaks_off_is_in_force() {
    let index = RevocationIndex::new();
    let mut loader = index.loader();
    loader.add(target(RevocationKind::Jti, "7", None), UnixTime::MAX);
    drop(loader);
    assert!(is_revoked(&index, 7, 0));
}

#[test]
fn a_sweep_gives_back_what_has_ended_and_the_filter_shrinks() {
    let index = RevocationIndex::new();
    let mut loader = index.loader();
    for number in 0..30_000_u64 {
        let ends_at = if number % 100 == 0 { 20 } else { 10 };
        loader.add(
            target(RevocationKind::Jti, &number.to_string(), None),
            at(ends_at),
        );
    }
    loader.finish();
    let before = index.lock().filter.capacity();
    assert_eq!(index.sweep(at(9)), 0);
    assert_eq!(index.sweep(at(10)), 29_700);
    assert_eq!(index.held(RevocationKind::Jti), 300);
    assert!(index.lock().filter.capacity() < before / 4);
    assert!((0..300).all(|number| is_revoked(&index, 100 * number, 19)));
    assert_eq!(index.sweep(at(20)), 300);
    assert_eq!(index.front.groups.load(Ordering::Relaxed), 0);
}

#[test]
fn the_work_of_one_sweep_is_bounded_and_several_do_it_all() {
    let index = RevocationIndex::new();
    let total = SWEEP_SCAN + SWEEP_SCAN / 2;
    let key = key_of(target(RevocationKind::Jti, "1", None));
    let mut batch: Vec<_> = (0..total)
        .map(|number| {
            let id = crate::revocation::entry::Id(
                u128::try_from(number)
                    .unwrap()
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                    .to_be_bytes(),
            );
            Slot {
                digest: id.into(),
                cut_off: (),
                ends_at: at(1),
                key,
            }
        })
        .collect();
    for shard in Table::sort(&mut batch) {
        index.exact.merge(shard, |_| ());
    }
    for held in &index.held {
        held.store(total, Ordering::Relaxed);
    }
    let first = index.sweep(at(2));
    assert!(first >= SWEEP_SCAN && first < total, "{first}");
    assert_eq!(first + index.sweep(at(2)), total);
}
