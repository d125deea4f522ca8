//! Files that cannot be read, and directories that cannot be written.

use std::fs;

use serde_json::Value;

use crate::{Place, listed, outcome, revoke, run, text};

fn filled() -> Place {
    let place = Place::new("");
    let gateway = place.start_ready();
    for number in 0..50 {
        assert_eq!(revoke(&gateway, &number.to_string()).status, 201);
    }
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    place
}

#[test]
fn a_damaged_file_ends_the_start_and_what_can_be_read_of_it_is_carried_into_a_new_one() {
    let place = filled();
    let whole = fs::read(place.file()).unwrap();
    // Some bytes of every page but those of the header, one page at a time, until one matters.
    let damaged = (1..whole.len() / 4096).find_map(|page| {
        let mut damaged = whole.clone();
        for byte in &mut damaged[page * 4096 + 2000..page * 4096 + 2010] {
            *byte ^= 0xff;
        }
        fs::write(place.file(), &damaged).unwrap();
        let output = run(&["revocations", "export"], &place.path(), &[]);
        let is_partial = output.status.code() == Some(1) && !output.stdout.is_empty();
        is_partial.then_some((damaged, output))
    });
    let (damaged, output) = damaged.expect("a page of entries");
    let said = text(&output.stderr);
    assert!(
        said.contains("is damaged") && said.contains("missing"),
        "{said}"
    );
    assert_eq!(fs::read(place.file()).unwrap(), damaged, "it was changed");

    let start = place.run_to_end();
    let errors = text(&start.stderr);
    assert_eq!(start.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("state/revocations.redb") && errors.contains("revocations export"),
        "{errors}"
    );
    assert_eq!(fs::read(place.file()).unwrap(), damaged, "it was changed");

    let saved = place.folder.path().join("saved.jsonl");
    fs::write(&saved, &output.stdout).unwrap();
    fs::rename(place.file(), place.file().with_extension("damaged")).unwrap();
    let import = run(
        &["revocations", "import"],
        &place.path(),
        &[saved.to_str().unwrap()],
    );
    assert!(import.status.success(), "{}", text(&import.stderr));
    let gateway = place.start_ready();
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(listed(&gateway).len(), lines.len());
    let jti = lines[0]["jti"].as_str().unwrap();
    assert_eq!(outcome(&gateway, jti), "401 token_revoked");
}

#[test]
fn a_truncated_foreign_or_empty_file_ends_the_start_and_is_left_as_it_is() {
    let place = filled();
    let whole = fs::read(place.file()).unwrap();
    for content in [
        whole[..whole.len() / 2].to_vec(),
        whole[..100].to_vec(),
        Vec::new(),
        b"something else".to_vec(),
    ] {
        fs::write(place.file(), &content).unwrap();
        let start = place.run_to_end();
        let errors = text(&start.stderr);
        assert_eq!(start.status.code(), Some(1), "{errors}");
        assert!(errors.contains("state/revocations.redb"), "{errors}");
        assert_eq!(fs::read(place.file()).unwrap(), content, "it was changed");
    }
    fs::write(place.file(), &whole).unwrap();
    assert_eq!(listed(&place.start_ready()).len(), 50);
}

#[test]
fn a_state_directory_that_cannot_be_made_ends_the_start_with_its_name() {
    // A file in the way, because whoever runs the tests may be allowed to write everywhere.
    let place = Place::new("[server]\nstate_dir = \"in_the_way/state\"");
    fs::write(place.folder.path().join("in_the_way"), "").unwrap();
    let start = place.run_to_end();
    let errors = text(&start.stderr);
    assert_eq!(start.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("in_the_way/state/revocations.redb"),
        "{errors}"
    );
    assert!(errors.contains("state_dir"), "{errors}");
}
