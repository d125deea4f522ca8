//! The journal against the set in memory, which has a model of its own: whatever is done, and however often the file is
//! opened anew or found as a kill left it, both answer the same.

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::identity::{Identity, IssuerId, Thumbprint, TokenDigest};
use crate::revocation::entry::{NewRevocation, Subject};

const ISSUERS: [&str; 2] = ["https://id.example.com/", "https://id.example.com/{tenant}"];
/// So few values that they meet.
const VALUES: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Made>),
    Import(Vec<Made>),
    /// Of all ever revoked, this one.
    Restore(prop::sample::Index),
    Pass(i64),
    Sweep,
    Reopen,
    /// Goes on with the file as it is on the disk at this moment.
    Crash,
}

#[derive(Clone, Debug)]
struct Made {
    issuer: usize,
    what: Subject,
    lasts: Option<i64>,
}

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

fn text(value: u8) -> Box<str> {
    value.to_string().into()
}

fn made() -> impl Strategy<Value = Made> {
    let what = (0..7_u8, 0..VALUES, 0..4_i64).prop_map(|(kind, value, cut_off)| match kind {
        0 => Subject::Jti(text(value)),
        1 => Subject::Session(text(value)),
        2 => Subject::Client(text(value)),
        3 => Subject::Key(Thumbprint([value; 32])),
        4 => Subject::Token(TokenDigest([value; 32])),
        kind => Subject::Subject {
            subject: text(value),
            issued_before: (kind == 6).then(|| at(cut_off)),
        },
    });
    (0..ISSUERS.len(), what, prop::option::of(1..6_i64)).prop_map(|(issuer, what, lasts)| Made {
        issuer,
        what,
        lasts,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(made(), 1..4).prop_map(Step::Write),
        1 => prop::collection::vec(made(), 0..9).prop_map(Step::Import),
        3 => any::<prop::sample::Index>().prop_map(Step::Restore),
        2 => (0..4_i64).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

fn identity(values: [u8; 6], issued_at: Option<i64>) -> Identity {
    let [jti, subject, session, client, key, digest] = values;
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

struct Both {
    runtime: Runtime,
    folder: TempDir,
    memory: RevocationSet,
    journal: Journal,
    set: Arc<RevocationSet>,
    ids: Vec<RevocationId>,
    now: i64,
}

fn open(runtime: &Runtime, folder: &TempDir, now: i64) -> (Journal, Arc<RevocationSet>) {
    let set = Arc::new(RevocationSet::new());
    let clock = Clock::from_fn(move || at(now));
    let (journal, opening) = Journal::start(folder.path(), Duration::ZERO, Arc::clone(&set), clock);
    runtime.block_on(opening.wait()).unwrap();
    (journal, set)
}

impl Both {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (journal, set) = open(&runtime, &folder, 0);
        Self {
            runtime,
            folder,
            memory: RevocationSet::new(),
            journal,
            set,
            ids: Vec::new(),
            now: 0,
        }
    }

    fn changes(&mut self, made: Vec<Made>) -> Vec<Change> {
        let at_now = at(self.now);
        let changes = made.into_iter().map(|made| {
            let new = NewRevocation {
                issuer: ISSUERS[made.issuer].into(),
                what: made.what,
                expires_at: made.lasts.map(|lasts| at(self.now + lasts)),
                reason: None,
            };
            let id = RevocationId::of(&new);
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
            Change::Revoke { new, at: at_now }
        });
        changes.collect()
    }

    fn write(&self, changes: Vec<Change>) {
        let batch = Batch {
            changes: changes.clone(),
            position: None,
        };
        let outcomes = self.runtime.block_on(self.journal.write(batch)).unwrap();
        let wanted: Vec<_> = changes
            .into_iter()
            .map(|one| self.memory.change(one))
            .collect();
        assert_eq!(outcomes, wanted);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(made) => {
                let changes = self.changes(made);
                self.write(changes);
            }
            Step::Import(made) => {
                let changes = self.changes(made);
                let imported = self.journal.import(changes.clone());
                let imported = self.runtime.block_on(imported).unwrap();
                let outcomes = changes.into_iter().map(|one| self.memory.change(one));
                assert_eq!(imported, Imported::of(outcomes));
            }
            Step::Restore(_) if self.ids.is_empty() => {}
            Step::Restore(which) => self.write(vec![Change::Restore {
                id: *which.get(&self.ids),
                at: at(self.now),
            }]),
            Step::Pass(seconds) => self.now += seconds,
            Step::Sweep => {
                self.journal.sweep(at(self.now));
                self.set.sweep(at(self.now));
                self.memory.sweep(at(self.now));
            }
            Step::Reopen => {
                self.runtime.block_on(self.journal.close());
                (self.journal, self.set) = open(&self.runtime, &self.folder, self.now);
            }
            Step::Crash => {
                // The last answer was given, so that nothing is being written but a sweep, which a position waits for.
                let waits = Batch {
                    changes: Vec::new(),
                    position: Some(Vec::new()),
                };
                self.runtime.block_on(self.journal.write(waits)).unwrap();
                let other = tempfile::tempdir().unwrap();
                let name = "revocations.redb";
                std::fs::copy(self.folder.path().join(name), other.path().join(name)).unwrap();
                self.runtime.block_on(self.journal.close());
                self.folder = other;
                (self.journal, self.set) = open(&self.runtime, &self.folder, self.now);
            }
        }
    }

    fn compare(&self, tokens: &[([u8; 6], Option<i64>)]) {
        let now = at(self.now);
        for (values, issued_at) in tokens {
            let token = identity(*values, *issued_at);
            for configured in ISSUERS {
                let wanted = self.memory.check(&token, configured, now);
                assert_eq!(self.set.check(&token, configured, now), wanted, "{token:?}");
            }
        }
        let query = Query {
            kind: None,
            wants_issuer: Box::new(|_| true),
            cursor: None,
            limit: 1000,
        };
        let page = self
            .runtime
            .block_on(self.journal.page(query, now))
            .unwrap();
        let wanted = self.memory.list(None, &|_| true, None, 1000, now);
        assert_eq!(page.revocations, wanted.revocations);
        for id in &self.ids {
            let found = self.runtime.block_on(self.journal.get(*id, now)).unwrap();
            assert_eq!(found, self.memory.get(&id.to_string(), now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_answers_as_memory_does_over_every_restart(
        steps in prop::collection::vec(steps(), 1..30),
        tokens in prop::collection::vec((prop::array::uniform6(0..=VALUES), prop::option::of(0..5_i64)), 4),
    ) {
        let mut both = Both::new();
        for step in steps {
            both.take(step);
            both.compare(&tokens);
        }
    }
}
