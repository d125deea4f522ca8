//! Tables of files: `rejects/NAME.toml` with what is said of it in `NAME.txt`, and `accepts/NAME.toml`, also with a `NAME.txt`
//! where it draws warnings. `UPDATE_EXPECTED=1` writes the `.txt` files anew, to be read before they are committed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::config;

use super::root;

fn cases(directory: &str) -> Vec<PathBuf> {
    let directory = root().join("tests/config").join(directory);
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() > 1);
    files
}

fn compare(path: &Path, said: &str) -> Result<(), String> {
    let expected_path = path.with_extension("txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() && !said.is_empty() {
        fs::write(&expected_path, said).unwrap();
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    if said == expected {
        return Ok(());
    }
    Err(format!(
        "{}\nsaid:\n{said}\nexpected:\n{expected}",
        path.display()
    ))
}

/// What `check` would print, the file by its bare name.
fn say(path: &Path) -> (bool, String) {
    // Relative paths in the file begin beside it, as when it is loaded by its name.
    let (good, faults, warnings) = match config::load(path) {
        Ok(loaded) => (true, Vec::new(), loaded.warnings),
        Err(faults) => (false, faults.faults, faults.warnings),
    };
    let mut said = String::new();
    for fault in faults {
        writeln!(said, "{fault}").unwrap();
    }
    for warning in warnings {
        writeln!(said, "{warning}").unwrap();
    }
    let directory = format!("{}/", path.parent().unwrap().display());
    (good, said.replace(&directory, ""))
}

fn run(directory: &str, should_be_good: bool) {
    let mut problems = Vec::new();
    for path in cases(directory) {
        let (good, said) = say(&path);
        if good != should_be_good {
            problems.push(format!("{}: good is {good}\n{said}", path.display()));
        }
        problems.extend(compare(&path, &said).err());
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn wrong_files_are_refused_with_every_fault_in_its_place() {
    run("rejects", false);
}

#[test]
fn good_files_are_accepted_with_the_warnings_they_deserve() {
    run("accepts", true);
}
