//! All revocations as lines, out and in.

use std::fs;

use serde_json::{Value, json};

use crate::support::token;
use crate::{Place, listed, outcome, revoke, run, text};

fn export(place: &Place) -> (Vec<Value>, String) {
    let output = place.run(&["revocations", "export"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), text(&output.stderr))
}

fn import(place: &Place, lines: &str) -> (Option<i32>, String) {
    let file = place.folder.path().join("lines.jsonl");
    fs::write(&file, lines).unwrap();
    let output = run(
        &["revocations", "import"],
        &place.path(),
        &[file.to_str().unwrap()],
    );
    (output.status.code(), text(&output.stderr))
}

fn joined(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_is_exported_from_a_file_is_the_same_after_its_import_into_another() {
    let (one, other) = (Place::new(""), Place::new(""));
    // The admin listener's port is chosen by the system, so that the commands find no gateway at the configured one.
    let gateway = one.start_ready();
    let whole = token(json!({"jti": "posted"}));
    for body in [
        json!({"jti": "a", "issuer": "corp", "reason": "ü"}),
        json!({"subject": "alice", "issuer": "corp", "issued_before": "2020-01-01T00:00:00.25Z"}),
        json!({"session": "s", "issuer": "corp", "expires_at": 4_000_000_000_i64}),
        json!({"client": "c", "issuer": "corp"}),
        json!({"key": "corp-1", "issuer": "corp"}),
        json!({"token": whole}),
    ] {
        let answer = gateway.admin_post("/api/revocations", &body);
        assert_eq!(answer.status, 201, "{body}: {}", answer.text());
    }
    let before = listed(&gateway);
    gateway.signal("TERM");
    gateway.wait();
    let (lines, said) = export(&one);
    assert_eq!(lines.len(), 6);
    assert!(said.contains("6 revocations from the file"), "{said}");
    let (code, said) = import(&other, &joined(&lines));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("6 new") && said.contains("no gateway runs"),
        "{said}"
    );
    let (_, again) = import(&other, &joined(&lines));
    assert!(
        again.contains("0 new") && again.contains("6 known"),
        "{again}"
    );
    let gateway = other.start_ready();
    assert_eq!(listed(&gateway), before);
    assert_eq!(gateway.get("/", &whole).outcome(), "401 token_revoked");
}

#[test]
fn a_running_gateway_is_asked_and_takes_in_all_or_nothing() {
    let place = Place::new("[admin]");
    let gateway = place.start_ready();
    assert_eq!(revoke(&gateway, "old").status, 201);
    let admin = format!("http://{}", gateway.admin);
    let ask = |verb: &str, more: &[&str]| {
        let mut arguments = vec!["revocations", verb, "--admin", &admin];
        arguments.extend(more);
        crate::support::command(&arguments, "")
    };
    let lines: String = (0..25_000)
        .map(|number| {
            format!("{{\"jti\":\"{number}\",\"issuer\":\"corp\",\"expires_at\":4000000000}}\n")
        })
        .collect();
    let file = place.folder.path().join("lines.jsonl");
    let wrong = lines.replace("\"jti\":\"20000\"", "\"jit\":\"20000\"");
    fs::write(&file, wrong).unwrap();
    let refused = ask("import", &[file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("line 20001"), "{said}");
    assert_eq!(listed(&gateway).len(), 1);
    assert_eq!(outcome(&gateway, "0"), "200");

    fs::write(&file, &lines).unwrap();
    let imported = ask("import", &[file.to_str().unwrap()]);
    let said = text(&imported.stderr);
    assert!(imported.status.success(), "{said}");
    assert!(
        said.contains("25000 new") && said.contains(&admin),
        "{said}"
    );
    for jti in ["0", "20000", "24999", "old"] {
        assert_eq!(outcome(&gateway, jti), "401 token_revoked", "{jti}");
    }
    let exported = ask("export", &[]);
    assert_eq!(text(&exported.stdout).lines().count(), 25_001);
    assert!(text(&exported.stderr).contains("25001 revocations from the gateway"));
    gateway.wait_for_record("an audit record", |record| {
        record["target"] == "portcullis::audit" && record["change"] == "imported"
    });
}

#[test]
fn a_line_that_is_wrong_is_named_and_nothing_is_put_into_the_file() {
    let place = Place::new("");
    let good = "{\"jti\":\"a\",\"issuer\":\"corp\",\"expires_at\":null}\n";
    let (code, said) = import(&place, &format!("{good}{good}nonsense\n"));
    assert_eq!(code, Some(1));
    assert!(said.contains("line 3"), "{said}");
    assert_eq!(export(&place).0.len(), 0);
}
