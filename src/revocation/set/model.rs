//! The set against a model too simple to be wrong: a list of entries, looked through from end to end.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::identity::{IssuerId, Thumbprint, TokenDigest};
use crate::revocation::Subject;

const ISSUERS: [&str; 2] = ["https://id.example.com/", "https://id.example.com/{tenant}"];
/// So few values that they meet.
const VALUES: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Revoke {
        issuer: usize,
        what: Subject,
        lasts: Option<i64>,
    },
    /// Of all ever revoked, this one.
    Restore(prop::sample::Index),
    Pass {
        seconds: i64,
    },
    Sweep,
    Load {
        issuer: usize,
        what: Vec<Subject>,
        lasts: i64,
    },
}

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

fn text(value: u8) -> Box<str> {
    value.to_string().into()
}

fn subjects() -> impl Strategy<Value = Subject> {
    (0..7_u8, 0..VALUES, 0..4_i64).prop_map(|(kind, value, cut_off)| match kind {
        0 => Subject::Jti(text(value)),
        1 => Subject::Session(text(value)),
        2 => Subject::Client(text(value)),
        3 => Subject::Key(Thumbprint([value; 32])),
        4 => Subject::Token(TokenDigest([value; 32])),
        5 => Subject::Subject {
            subject: text(value),
            issued_before: None,
        },
        _ => Subject::Subject {
            subject: text(value),
            issued_before: Some(at(cut_off)),
        },
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let issuer = || 0..ISSUERS.len();
    prop_oneof![
        6 => (issuer(), subjects(), prop::option::of(0..6_i64))
            .prop_map(|(issuer, what, lasts)| Step::Revoke { issuer, what, lasts }),
        3 => any::<prop::sample::Index>().prop_map(Step::Restore),
        2 => (0..4_i64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Sweep),
        1 => (issuer(), prop::collection::vec(subjects(), 0..5), 0..6_i64)
            .prop_map(|(issuer, what, lasts)| Step::Load { issuer, what, lasts }),
    ]
}

fn identity(values: [u8; 6], issued_at: Option<i64>) -> Identity {
    let [jti, subject, session, client, key, digest] = values;
    // One value more than there are stands for a claim that the token lacks.
    let claim = |value| (value < VALUES).then(|| text(value));
    Identity {
        issuer: IssuerId(0),
        iss: ISSUERS[0].into(),
        subject: claim(subject),
        client: claim(client),
        session: claim(session),
        jti: claim(jti),
        scopes: Arc::default(),
        scopes_are_elements: false,
        audiences: None,
        issued_at: issued_at.map(at),
        expires_at: at(1000),
        key: Thumbprint([key; 32]),
        digest: TokenDigest([digest; 32]),
        claims: Box::default(),
    }
}

fn names(what: &Subject, token: &Identity) -> bool {
    match what {
        Subject::Jti(jti) => token.jti.as_ref() == Some(jti),
        Subject::Session(session) => token.session.as_ref() == Some(session),
        Subject::Client(client) => token.client.as_ref() == Some(client),
        Subject::Key(key) => token.key == *key,
        Subject::Token(digest) => token.digest == *digest,
        Subject::Subject {
            subject,
            issued_before,
        } => {
            token.subject.as_ref() == Some(subject)
                && issued_before
                    .is_none_or(|until| token.issued_at.is_none_or(|then| then <= until))
        }
    }
}

/// An entry of the model; one with an id is recorded.
#[derive(Clone, Debug)]
struct Held {
    issuer: &'static str,
    what: Subject,
    ends_at: UnixTime,
    id: Option<String>,
}

#[derive(Debug, Default)]
struct Model {
    held: Vec<Held>,
    ids: Vec<String>,
    now: i64,
}

impl Model {
    fn live(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|one| at(self.now) < one.ends_at)
    }

    fn revoke(
        &mut self,
        set: &RevocationSet,
        issuer: &'static str,
        what: Subject,
        lasts: Option<i64>,
    ) {
        let now = at(self.now);
        let expires_at = lasts.map(|lasts| at(self.now + lasts));
        let ends_at = expires_at.unwrap_or(UnixTime::MAX);
        self.held.retain(|one| now < one.ends_at);
        let new = NewRevocation {
            issuer: issuer.into(),
            what: what.clone(),
            expires_at,
            reason: None,
        };
        let done = set.revoke(new, now);
        let id = done.revocation.id;
        let recorded = self
            .held
            .iter_mut()
            .find(|one| one.id.as_ref() == Some(&id));
        assert_eq!(done.is_new, recorded.is_none());
        let ends_at = if let Some(one) = recorded {
            one.ends_at = one.ends_at.max(ends_at);
            one.ends_at
        } else {
            self.held.push(Held {
                issuer,
                what,
                ends_at,
                id: Some(id.clone()),
            });
            ends_at
        };
        assert_eq!(done.revocation.expires_at.unwrap_or(UnixTime::MAX), ends_at);
        self.ids.push(id);
    }

    fn restore(&mut self, set: &RevocationSet, which: prop::sample::Index) {
        if self.ids.is_empty() {
            return;
        }
        let id = which.get(&self.ids).clone();
        let known = self
            .live()
            .find(|one| one.id.as_ref() == Some(&id))
            .cloned();
        let restored = set.restore(&id, at(self.now));
        assert_eq!(restored.is_some(), known.is_some(), "{id}");
        if let Some(known) = known {
            // The index knows one entry of that name, whether it was recorded or loaded.
            self.held
                .retain(|one| (one.issuer, &one.what) != (known.issuer, &known.what));
        }
    }

    fn load(&mut self, set: &RevocationSet, issuer: &'static str, what: Vec<Subject>, lasts: i64) {
        let ends_at = at(self.now + lasts);
        let mut loader = set.loader();
        for what in what {
            loader.add(what.target_of(issuer), ends_at);
            self.held.push(Held {
                issuer,
                what,
                ends_at,
                id: None,
            });
        }
        loader.finish();
    }

    fn take(&mut self, set: &RevocationSet, step: Step) {
        match step {
            Step::Revoke {
                issuer,
                what,
                lasts,
            } => self.revoke(set, ISSUERS[issuer], what, lasts),
            Step::Restore(which) => self.restore(set, which),
            Step::Pass { seconds } => self.now += seconds,
            Step::Load {
                issuer,
                what,
                lasts,
            } => self.load(set, ISSUERS[issuer], what, lasts),
            Step::Sweep => {
                set.sweep(at(self.now));
                let mut names: Vec<_> = self
                    .live()
                    .map(|one| (one.issuer, one.what.clone()))
                    .collect();
                names.sort_by_key(|name| format!("{name:?}"));
                names.dedup();
                assert_eq!(set.len(), names.len());
            }
        }
    }

    fn compare(&self, set: &RevocationSet, tokens: &[([u8; 6], Option<i64>)]) {
        let now = at(self.now);
        for (values, issued_at) in tokens {
            let token = identity(*values, *issued_at);
            for configured in ISSUERS {
                let wanted = self.live().any(|one| {
                    (one.issuer == ISSUERS[0] || one.issuer == configured)
                        && names(&one.what, &token)
                });
                let verdict = set.check(&token, configured, now);
                let lookup = Lookup::new(&token, configured);
                assert_eq!(set.check_with(&lookup, &token, configured, now), verdict);
                assert_eq!(
                    verdict == Verdict::Revoked,
                    wanted,
                    "{token:?} {configured} {self:?}"
                );
            }
        }
        let recorded: Vec<_> = self.live().filter_map(|one| one.id.clone()).collect();
        let page = set.list(None, &|_| true, None, 1000, now);
        let listed: Vec<_> = page.revocations.into_iter().map(|one| one.id).collect();
        assert_eq!(listed, recorded);
        assert!(recorded.iter().all(|id| set.get(id, now).is_some()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_set_answers_as_a_plain_list_would(
        steps in prop::collection::vec(steps(), 1..60),
        tokens in prop::collection::vec((prop::array::uniform6(0..=VALUES), prop::option::of(0..5_i64)), 4),
    ) {
        let set = RevocationSet::new();
        let mut model = Model::default();
        for step in steps {
            model.take(&set, step);
            model.compare(&set, &tokens);
        }
    }
}
