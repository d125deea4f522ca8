//! What the set promises, kind by kind.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::identity::{IssuerId, Thumbprint, TokenDigest};
use crate::revocation::Subject;

const ISSUER: &str = "https://id.example.com/";
const TEMPLATE: &str = "https://login.example.com/{tid}/v2.0";
const TENANT: &str = "https://login.example.com/8d2f/v2.0";

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

fn alice() -> Identity {
    Identity {
        issuer: IssuerId(0),
        iss: ISSUER.into(),
        subject: Some("alice".into()),
        client: Some("shop".into()),
        session: Some("s-1".into()),
        jti: Some("j-1".into()),
        scopes: Arc::default(),
        scopes_are_elements: false,
        audiences: None,
        issued_at: Some(at(100)),
        expires_at: at(10_000),
        key: Thumbprint([7; 32]),
        digest: TokenDigest([9; 32]),
        claims: Box::<[Option<Value>]>::default(),
    }
}

fn new(what: Subject) -> NewRevocation {
    NewRevocation {
        issuer: ISSUER.into(),
        what,
        expires_at: None,
        reason: None,
    }
}

fn cut_off(subject: &str, seconds: i64) -> Subject {
    Subject::Subject {
        subject: subject.into(),
        issued_before: Some(at(seconds)),
    }
}

fn whole(subject: &str) -> Subject {
    Subject::Subject {
        subject: subject.into(),
        issued_before: None,
    }
}

fn verdict_with(what: Subject) -> Verdict {
    let set = RevocationSet::new();
    set.revoke(new(what), at(50));
    set.check(&alice(), ISSUER, at(200))
}

#[test]
fn an_empty_set_clears_everything_and_counts_it() {
    let set = RevocationSet::new();
    assert_eq!(set.check(&alice(), ISSUER, at(200)), Verdict::Clear);
    assert_eq!(set.check_counts().clear, 1);
    assert!(set.is_empty());
}

#[test]
fn each_kind_refuses_its_own_value_and_no_other() {
    let table = [
        (Subject::Jti("j-1".into()), true),
        (Subject::Jti("j-2".into()), false),
        (Subject::Jti("alice".into()), false),
        (whole("alice"), true),
        (whole("Alice"), false),
        (whole("j-1"), false),
        (cut_off("alice", 100), true),
        (cut_off("alice", 99), false),
        (cut_off("bob", 100), false),
        (Subject::Session("s-1".into()), true),
        (Subject::Session("s-".into()), false),
        (Subject::Client("shop".into()), true),
        (Subject::Client("shop2".into()), false),
        (Subject::Key(Thumbprint([7; 32])), true),
        (Subject::Key(Thumbprint([9; 32])), false),
        (Subject::Token(TokenDigest([9; 32])), true),
        (Subject::Token(TokenDigest([7; 32])), false),
    ];
    for (what, is_revoked) in table {
        let verdict = verdict_with(what.clone());
        assert_eq!(verdict == Verdict::Revoked, is_revoked, "{what:?}");
    }
}

#[test]
fn a_cut_off_covers_a_token_without_iat() {
    let set = RevocationSet::new();
    set.revoke(new(cut_off("alice", 1)), at(50));
    let mut identity = alice();
    identity.issued_at = None;
    assert_eq!(set.check(&identity, ISSUER, at(200)), Verdict::Revoked);
}

#[test]
fn an_entry_is_scoped_by_its_issuer() {
    let set = RevocationSet::new();
    set.revoke(new(Subject::Jti("j-1".into())), at(50));
    let mut identity = alice();
    identity.iss = "https://other.example.com/".into();
    let verdict = set.check(&identity, "https://other.example.com/", at(200));
    assert_eq!(verdict, Verdict::Clear);
}

#[test]
fn a_template_covers_every_tenant_and_a_tenant_only_itself() {
    for (issuer, other_is_revoked) in [(TEMPLATE, true), (TENANT, false)] {
        let set = RevocationSet::new();
        let mut one = new(whole("alice"));
        one.issuer = issuer.into();
        set.revoke(one, at(50));
        let mut identity = alice();
        identity.iss = TENANT.into();
        assert_eq!(set.check(&identity, TEMPLATE, at(200)), Verdict::Revoked);
        identity.iss = "https://login.example.com/ffff/v2.0".into();
        let other = set.check(&identity, TEMPLATE, at(200));
        assert_eq!(other == Verdict::Revoked, other_is_revoked, "{issuer}");
    }
}

#[test]
fn the_same_again_keeps_the_id_and_only_extends() {
    let set = RevocationSet::new();
    let mut one = new(Subject::Jti("j-1".into()));
    one.expires_at = Some(at(1000));
    let first = set.revoke(one.clone(), at(1));
    assert!(first.is_new);
    for (given, stored) in [
        (Some(500), Some(1000)),
        (Some(2000), Some(2000)),
        (None, None),
        (Some(3000), None),
    ] {
        one.expires_at = given.map(at);
        let again = set.revoke(one.clone(), at(2));
        assert!(!again.is_new);
        assert_eq!(again.revocation.id, first.revocation.id);
        assert_eq!(again.revocation.expires_at, stored.map(at), "{given:?}");
        assert_eq!(again.revocation.created_at, at(1));
    }
    assert_eq!(set.len(), 1);
    assert_eq!(set.sweep(at(1_000_000)), 0);
}

#[test]
fn an_id_is_the_same_on_every_gateway() {
    let id = |what| RevocationSet::new().revoke(new(what), at(1)).revocation.id;
    // Computed by hand: SHA-256 over the length-prefixed "jti", issuer, "j-1" and an empty cut-off.
    assert_eq!(id(Subject::Jti("j-1".into())), by_hand("jti", "j-1"));
    assert_ne!(
        id(Subject::Jti("j-1".into())),
        id(Subject::Session("j-1".into()))
    );
    assert_ne!(id(whole("alice")), id(cut_off("alice", 100)));
}

fn by_hand(kind: &str, value: &str) -> String {
    let mut text = Vec::new();
    for part in [kind, ISSUER, value, ""] {
        text.extend_from_slice(&u64::try_from(part.len()).unwrap().to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    data_encoding::HEXLOWER.encode(&digest.as_ref()[..16])
}

#[test]
fn cut_offs_of_one_subject_stand_side_by_side() {
    let set = RevocationSet::new();
    let early = set.revoke(new(cut_off("alice", 100)), at(1)).revocation.id;
    let late = set.revoke(new(cut_off("alice", 300)), at(1)).revocation.id;
    assert_eq!(set.len(), 2);
    let verdict = |issued_at| {
        let mut identity = alice();
        identity.issued_at = Some(at(issued_at));
        set.check(&identity, ISSUER, at(400))
    };
    assert_eq!(verdict(200), Verdict::Revoked);
    assert!(set.restore(&late, at(400)).is_some());
    assert_eq!(verdict(200), Verdict::Clear);
    assert_eq!(verdict(100), Verdict::Revoked);
    assert!(set.restore(&early, at(400)).is_some());
    assert_eq!(verdict(100), Verdict::Clear);
    assert!(set.is_empty());
}

#[test]
fn an_entry_refuses_until_its_end_and_not_after() {
    for what in [Subject::Jti("j-1".into()), cut_off("alice", 100)] {
        let set = RevocationSet::new();
        let mut one = new(what);
        one.expires_at = Some(at(300));
        let id = set.revoke(one.clone(), at(1)).revocation.id;
        assert_eq!(set.check(&alice(), ISSUER, at(299)), Verdict::Revoked);
        assert_eq!(set.check(&alice(), ISSUER, at(300)), Verdict::Clear);
        assert!(set.get(&id, at(299)).is_some() && set.get(&id, at(300)).is_none());
        one.expires_at = Some(at(900));
        assert!(set.revoke(one, at(301)).is_new);
        assert_eq!(set.check(&alice(), ISSUER, at(302)), Verdict::Revoked);
        assert_eq!(set.len(), 1);
    }
}

#[test]
fn restoring_ends_a_revocation_once() {
    let set = RevocationSet::new();
    let id = set.revoke(new(whole("alice")), at(1)).revocation.id;
    assert!(set.restore(&id, at(2)).is_some());
    assert!(set.restore(&id, at(2)).is_none());
    assert!(set.restore("no id at all", at(2)).is_none());
    assert_eq!(set.check(&alice(), ISSUER, at(3)), Verdict::Clear);
}

#[test]
fn a_sweep_removes_what_has_ended_and_nothing_else() {
    let set = RevocationSet::new();
    for number in 0_i64..1000 {
        let mut one = new(Subject::Jti(number.to_string().into()));
        one.expires_at = Some(at(number));
        set.revoke(one, at(-1));
    }
    set.revoke(new(whole("alice")), at(-1));
    assert_eq!(set.sweep(at(599)), 600);
    assert_eq!(set.len(), 401);
    assert_eq!(
        set.counts()[..2],
        [(RevocationKind::Jti, 400), (RevocationKind::Subject, 1)]
    );
    assert_eq!(set.check(&alice(), ISSUER, at(600)), Verdict::Revoked);
}

#[test]
fn pages_follow_one_another_without_gap_or_repetition() {
    let set = RevocationSet::new();
    for number in 0..25 {
        set.revoke(new(Subject::Jti(number.to_string().into())), at(number));
        set.revoke(new(Subject::Client(number.to_string().into())), at(number));
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = set.list(Some(RevocationKind::Jti), &|_| true, cursor, 10, at(99));
        assert!(page.revocations.len() <= 10);
        seen.extend(page.revocations.iter().map(|one| one.created_at));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(at).collect::<Vec<_>>());
    let none = set.list(None, &|issuer| issuer != ISSUER, None, 10, at(99));
    assert_eq!(none, Page::default());
}

#[test]
fn readers_never_miss_a_subject_while_its_cut_offs_change() {
    let set = RevocationSet::new();
    set.revoke(new(cut_off("alice", 100)), at(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000 {
                let other = set.revoke(new(cut_off("alice", 200 + round)), at(1));
                set.restore(&other.revocation.id, at(1));
            }
        });
        for _ in 0..20_000 {
            assert_eq!(set.check(&alice(), ISSUER, at(200)), Verdict::Revoked);
        }
    });
}
