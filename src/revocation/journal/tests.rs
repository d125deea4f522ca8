//! The journal with a real file: kept over closing, tearing and filling up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::identity::TokenDigest;
use crate::revocation::entry::{NewRevocation, Subject};

const ISSUER: &str = "https://id.example.com/";
const NOW: i64 = 1_000;

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

fn new(name: &str, ends_at: Option<i64>) -> NewRevocation {
    NewRevocation {
        issuer: ISSUER.into(),
        what: Subject::Jti(name.into()),
        expires_at: ends_at.map(at),
        reason: Some("because".into()),
    }
}

fn revoke(name: &str, ends_at: Option<i64>) -> Change {
    Change::Revoke {
        new: new(name, ends_at),
        at: at(NOW),
    }
}

fn batch(changes: Vec<Change>) -> Batch {
    Batch {
        changes,
        position: None,
    }
}

fn all() -> Query {
    Query {
        kind: None,
        wants_issuer: Box::new(|_| true),
        cursor: None,
        limit: 1000,
    }
}

/// A journal in a folder, and the set that it fills.
struct Open {
    journal: Journal,
    set: Arc<RevocationSet>,
}

async fn open(folder: &Path) -> Result<Open, StoreFault> {
    let set = Arc::new(RevocationSet::new());
    let clock = Clock::from_fn(|| at(NOW));
    let (journal, opening) = Journal::start(folder, Duration::ZERO, Arc::clone(&set), clock);
    opening.wait().await?;
    Ok(Open { journal, set })
}

impl Open {
    async fn write(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.journal.write(batch(changes)).await.unwrap()
    }

    async fn names(&self) -> Vec<String> {
        let page = self.journal.page(all(), at(NOW)).await.unwrap();
        let names = page.revocations.iter().map(|one| match &one.what {
            Subject::Jti(name) => name.to_string(),
            other => panic!("{other:?}"),
        });
        names.collect()
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("revocations.redb")
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    for number in 0..20 {
        first.write(vec![revoke(&number.to_string(), None)]).await;
    }
    let id = RevocationId::of(&new("7", None));
    let restore = Change::Restore { id, at: at(NOW) };
    let restored = first.write(vec![restore]).await;
    assert!(matches!(&restored[..], [Outcome::Restored(Some(_))]));
    first
        .journal
        .write(Batch {
            changes: vec![revoke("a", Some(5000)), revoke("a", Some(6000))],
            position: Some(b"17-0".to_vec()),
        })
        .await
        .unwrap();
    let (names, held) = (first.names().await, first.set.len());
    first.journal.close().await;

    let second = open(folder.path()).await.unwrap();
    assert_eq!(second.names().await, names);
    assert_eq!((second.set.len(), names.len()), (held, 20));
    let position = second.journal.position().await.unwrap();
    assert_eq!(position, Some(b"17-0".to_vec()));
    let a = RevocationId::of(&new("a", None));
    let a = second.journal.get(a, at(NOW)).await.unwrap().unwrap();
    assert_eq!(a.expires_at, Some(at(6000)));
    assert_eq!(a.reason.as_deref(), Some("because"));
}

#[tokio::test]
async fn the_files_are_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("a/state");
    open(&state_dir).await.unwrap().journal.close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    assert_eq!(mode(&file_in(&state_dir)), 0o600);
    let names = fs::read_dir(&state_dir).unwrap().count();
    assert_eq!(names, 2, "the file and its lock");
}

#[tokio::test]
async fn a_second_one_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let Err(StoreFault::InUse { .. }) = open(folder.path()).await else {
        panic!("two at once");
    };
    let set = Arc::new(RevocationSet::new());
    let wait = Duration::from_secs(20);
    let (second, opening) = Journal::start(folder.path(), wait, set, Clock::system());
    first.write(vec![revoke("late", None)]).await;
    first.journal.close().await;
    let refused = first
        .journal
        .write(batch(vec![revoke("later", None)]))
        .await;
    assert!(refused.is_err());
    opening.wait().await.unwrap();
    assert_eq!(
        second.page(all(), at(NOW)).await.unwrap().revocations.len(),
        1
    );
}

#[tokio::test]
async fn many_writers_share_the_wait_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let open_one = Arc::new(open(folder.path()).await.unwrap());
    let writers = (0..500).map(|number| {
        let one = Arc::clone(&open_one);
        tokio::spawn(async move { one.write(vec![revoke(&number.to_string(), None)]).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(open_one.set.len(), 500);
    assert_eq!(open_one.names().await.len(), 500);
}

#[tokio::test]
async fn what_has_ended_leaves_the_disk_and_what_has_not_stays() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await.unwrap();
    let changes = (0..5000).map(|number| revoke(&number.to_string(), Some(NOW + 1 + number % 10)));
    let imported = one.journal.import(changes.collect()).await.unwrap();
    assert_eq!((imported.new, imported.known), (5000, 0));
    let id = RevocationId::of(&new("0", None));
    one.write(vec![Change::Restore { id, at: at(NOW) }]).await;
    one.journal.sweep(at(NOW + 5));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let at_first = at(i64::MIN / 1_000_000);
    loop {
        let page = one.journal.page(all(), at_first).await.unwrap();
        let is_swept = page
            .revocations
            .iter()
            .all(|one| one.expires_at > Some(at(NOW + 5)));
        if is_swept {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "never swept");
        tokio::task::yield_now().await;
    }
    assert_eq!(one.set.sweep(at(NOW + 5)), 2499);
    one.journal.close().await;
    assert_eq!(open(folder.path()).await.unwrap().set.len(), 2500);
}

/// A store with so many, closed in order.
async fn filled(folder: &Path, count: i64) {
    let one = open(folder).await.unwrap();
    let changes = (0..count).map(|number| revoke(&number.to_string(), None));
    one.journal.import(changes.collect()).await.unwrap();
    one.journal.close().await;
}

fn salvaged(folder: &Path) -> (Salvaged, usize) {
    let mut names = std::collections::HashSet::new();
    let salvaged = salvage(folder, &mut |one| {
        names.insert(one.id.clone());
    });
    (salvaged.unwrap(), names.len())
}

#[tokio::test]
async fn a_damaged_file_is_refused_left_as_it_is_and_what_can_be_read_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(folder.path());
    filled(folder.path(), 3000).await;
    let whole = fs::read(&file).unwrap();
    let mut read_in_all = 0;
    let mut refused = 0;
    for place in (5000..whole.len()).step_by(40_009) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        fs::write(&file, &damaged).unwrap();
        match open(folder.path()).await {
            // A page that nothing refers to.
            Ok(one) => {
                assert_eq!(one.set.len(), 3000, "{place}");
                one.journal.close().await;
            }
            Err(fault) => {
                assert!(matches!(fault, StoreFault::Damaged { .. }), "{fault}");
                assert!(fault.to_string().contains("export"), "{fault}");
                assert_eq!(fs::read(&file).unwrap(), damaged, "it was changed");
                let (_, read) = salvaged(folder.path());
                read_in_all += read;
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "nothing was hit");
    assert!(
        read_in_all > refused * 1500,
        "{read_in_all} of {refused} files"
    );
}

#[tokio::test]
async fn a_truncated_file_is_refused_left_as_it_is_and_what_can_be_read_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(folder.path());
    filled(folder.path(), 3000).await;
    let whole = fs::read(&file).unwrap();
    for length in [0, 100, 4096, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged.truncate(length);
        fs::write(&file, &damaged).unwrap();
        let Err(fault) = open(folder.path()).await else {
            panic!("{length} of {} bytes were enough", whole.len());
        };
        assert!(fault.to_string().contains("revocations.redb"), "{fault}");
        assert_eq!(
            fs::read(&file).unwrap(),
            damaged,
            "{length}: it was changed"
        );
    }
    assert_eq!(salvaged(folder.path()).1, 3000, "one byte is missing");
    let foreign = "not a store at all".repeat(1000);
    fs::write(&file, &foreign).unwrap();
    assert!(open(folder.path()).await.is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_said_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let fault = open(&file.join("state")).await.err().unwrap();
    assert!(matches!(fault, StoreFault::Unusable { .. }), "{fault}");
    assert!(fault.to_string().contains("file/state/revocations.redb"));
}

#[test]
fn a_token_is_kept_by_its_digest_alone() {
    let new = NewRevocation {
        issuer: ISSUER.into(),
        what: Subject::Token(TokenDigest([7; 32])),
        expires_at: None,
        reason: None,
    };
    assert_eq!(layout::EntryRow::of(&new, 0, 0).value, [7; 32]);
}
