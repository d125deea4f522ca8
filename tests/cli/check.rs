//! `portcullis check`: everything that is wrong with a file, at once.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::{Ended, run, run_with};

const GOOD: &str = r#"[server]
listen = ["127.0.0.1:8080"]

[[issuer]]
name = "corp"
issuer = "https://id.example.com/"
jwks_uri = "https://id.example.com/jwks.json"
audiences = ["https://api.example.com"]
max_lifetime = "24h"

[[upstream]]
name = "orders"
servers = ["http://127.0.0.1:3000"]

[[route]]
name = "orders"
path = "/orders/*"
upstream = "orders"
"#;

/// The path as it is given is the path as it is printed.
fn check(text: &str, options: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let mut ended = run(&[&["check", name], options].concat());
    ended.out = ended.out.replace(name, "FILE");
    ended.errors = ended.errors.replace(name, "FILE");
    ended
}

/// Place and key of each line: `LINE:COLUMN: key`.
fn places(ended: &Ended) -> Vec<String> {
    let place = |line: &str| {
        let mut parts = line
            .strip_prefix("FILE:")
            .unwrap_or_else(|| panic!("{line}"))
            .splitn(4, ':');
        let mut next = || parts.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        let (row, column, key, message) = (next(), next(), next(), next());
        assert!(message.trim().len() > 10, "{line} says too little");
        format!("{row}:{column}:{key}")
    };
    ended.errors.lines().map(place).collect()
}

#[test]
fn a_good_file_is_ok_and_nothing_is_said_against_it() {
    for options in [&[][..], &["--strict"]] {
        let ended = check(GOOD, options);
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{options:?}");
        assert!(ended.out.contains("ok"), "{}", ended.out);
    }
}

#[test]
fn every_fault_is_said_at_once_on_a_line_of_its_own_with_its_place() {
    let wrong = GOOD
        .replace(
            "max_lifetime = \"24h\"",
            "max_lifetime = \"soon\"\nleewy = \"1s\"",
        )
        .replace("path = \"/orders/*\"", "path = \"orders\"")
        .replace("\nupstream = \"orders\"", "\nupstream = \"order\"")
        .replace("listen = [\"127.0.0.1:8080\"]", "listen = [\"nowhere\"]");
    let ended = check(&wrong, &[]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (2, ""),
        "{}",
        ended.errors
    );
    let places = places(&ended);
    let wanted = [
        "2:11: server.listen[0]",
        "9:16: issuer[0].max_lifetime",
        "10:1: issuer[0].leewy",
        "18:8: route[0].path",
        "19:12: route[0].upstream",
    ];
    assert_eq!(places, wanted, "{}", ended.errors);
    assert!(
        ended.errors.contains("leeway"),
        "a near miss is named: {}",
        ended.errors
    );
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_a_fault_too() {
    let ended = check("[server\nlisten = 1\n", &[]);
    assert_eq!(ended.code, 2);
    assert!(ended.errors.starts_with("FILE:1:"), "{}", ended.errors);
    let ended = run(&["check", "/nonexistent/portcullis.toml"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("/nonexistent/portcullis.toml"),
        "{}",
        ended.errors
    );
}

#[test]
fn a_file_is_named_as_other_commands_name_it_too_or_comes_on_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml").display().to_string();
    std::fs::write(&file, GOOD).unwrap();
    assert_eq!(run(&["check", "--config", &file]).code, 0);
    assert_eq!(run(&["check", "--strict", "--config", &file]).code, 0);
    assert_eq!(run(&["check", &file, "--config", &file]).code, 2);
    assert_eq!(run_with(&["check", "-"], GOOD).code, 0);
    let ended = run_with(&["check", "-"], &GOOD.replace("24h", "soon"));
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.starts_with("-:9:16: issuer[0].max_lifetime: "),
        "{}",
        ended.errors
    );
}

/// What is legal but unsafe, with a word of the warning.
#[test]
fn warnings_pass_and_are_faults_when_strict() {
    let route = |lines: &str| format!("{GOOD}{lines}\n");
    let open = "[[route]]\nname = \"all\"\npath = \"/orders/public/*\"\nupstream = \"orders\"\nauth = \"none\"";
    let admin = "[admin]\nlisten = \"0.0.0.0:9090\"\n";
    let rows = [
        (
            "jwks over http",
            GOOD.replace("https://id.example.com/jwks", "http://id.example.com/jwks"),
            "http",
        ),
        (
            "optional on a route that writes",
            route("auth = \"optional\""),
            "methods that write",
        ),
        (
            "an open route over a guarded one",
            route(&open.replace("/orders/public/*", "/*")),
            "open",
        ),
        (
            "no max_lifetime",
            GOOD.replace("max_lifetime = \"24h\"\n", ""),
            "max_lifetime",
        ),
        (
            "a catch-all audience",
            GOOD.replace("https://api.example.com", "account"),
            "issuer[0].audiences[0]",
        ),
        (
            "an open admin listener",
            GOOD.replace("[[issuer]]", &format!("{admin}[[issuer]]")),
            "admin.listen",
        ),
    ];
    for (name, text, word) in rows {
        let lenient = check(&text, &[]);
        let warnings: Vec<&str> = lenient.errors.lines().collect();
        assert_eq!(lenient.code, 0, "{name}: {}", lenient.errors);
        assert_eq!(warnings.len(), 1, "{name}: {}", lenient.errors);
        assert!(
            warnings[0].contains(": warning: ") && warnings[0].contains(word),
            "{name}: {}",
            warnings[0]
        );
        let strict = check(&text, &["--strict"]);
        assert_eq!((strict.code, strict.out.as_str()), (2, ""), "{name}");
        assert_eq!(places(&strict).len(), 1, "{name}: {}", strict.errors);
    }
}

/// The credential of a loopback listener is asked of nobody; whoever wrote it thinks otherwise.
#[test]
fn a_credential_that_is_not_asked_for_and_a_state_directory_that_cannot_be_one_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let token = path("admin.token");
    std::fs::write(&token, "correct-horse-battery-staple").unwrap();
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(path("closed")).unwrap();
    std::fs::set_permissions(path("closed"), Permissions::from_mode(0o500)).unwrap();
    let admin =
        format!("[admin]\nlisten = \"127.0.0.1:9090\"\ntoken_file = \"{token}\"\n[[issuer]]");
    let state = |directory: &str| {
        GOOD.replace(
            "[[issuer]]",
            &format!("state_dir = \"{directory}\"\n[[issuer]]"),
        )
    };
    let rows = [
        (
            GOOD.replace("[[issuer]]", &admin),
            "admin.token_file: is not asked for",
        ),
        (state(&token), "server.state_dir: is not a directory"),
        (
            state(&format!("{token}/state")),
            "server.state_dir: lies in something",
        ),
        (
            state(&path("closed")),
            "server.state_dir: may be written by nobody",
        ),
    ];
    for (text, said) in rows {
        let ended = check(&text, &[]);
        assert_eq!(
            (ended.code, ended.errors.lines().count()),
            (0, 1),
            "{}",
            ended.errors
        );
        assert!(
            ended.errors.contains(&format!("warning: {said}")),
            "{said}: {}",
            ended.errors
        );
    }
    assert_eq!(check(&state(&path("new")), &[]).errors, "");
}
