//! A disk on which no more can be written.
//!
//! The real thing would need a file system of its own. A limit on the size of files (`RLIMIT_FSIZE`) makes the same
//! system calls fail in the same places, with EFBIG instead of ENOSPC.

use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::support::gateway::BINARY;
use crate::support::{Gateway, Request, Response, eventually};
use crate::{Place, listed, outcome, wait_ready};

/// In the blocks of 512 bytes that `ulimit` counts in: some hundred revocations.
const BLOCKS: usize = 600;

fn limited(place: &Place) -> Gateway {
    // What ignores the signal gets the error.
    let script = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$0\" --config \"$1\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, BINARY]).arg(place.path());
    Gateway::spawn(Arc::clone(&place.folder), &mut command)
}

/// Revokes one after the other until one is refused: which, and the answer.
fn fill(gateway: &Gateway) -> (usize, Response) {
    let revocations = (0..5000).map(|number| (number, revoke(gateway, number)));
    let refused = revocations
        .into_iter()
        .find(|(_, answer)| answer.status != 201);
    refused.expect("a disk that is full at last")
}

fn revoke(gateway: &Gateway, number: usize) -> Response {
    let reason = "x".repeat(1000);
    let body = json!({"jti": number.to_string(), "issuer": "corp", "reason": reason});
    gateway.admin_post("/api/revocations", &body)
}

fn import_many(gateway: &Gateway) -> u16 {
    let lines: String = (0..20_000)
        .map(|number| {
            format!("{{\"jti\":\"many-{number}\",\"issuer\":\"corp\",\"expires_at\":null}}\n")
        })
        .collect();
    let request = Request::new("POST", "/api/revocations/import")
        .header("Content-Type", "application/json")
        .body(lines.as_bytes());
    request.send(gateway.admin).status
}

fn is_up(gateway: &Gateway) -> bool {
    gateway.metric("portcullis_revocation_store_up", &[]) == 1.0
}

#[test]
fn a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_recovers() {
    let place = Place::new("");
    let gateway = limited(&place);
    wait_ready(&gateway);
    let (kept, refused) = fill(&gateway);
    assert_eq!(refused.status, 503, "{}", refused.text());
    let said = refused.text();
    assert!(said.contains("revocations.redb"), "{said}");
    assert!(kept > 50, "{kept}");
    let name = kept.to_string();
    assert_eq!(outcome(&gateway, &name), "200", "neither kept nor in force");
    let last = (kept - 1).to_string();
    assert_eq!(outcome(&gateway, &last), "401 token_revoked");
    let held = gateway.metric("portcullis_revocations", &[("kind", "jti")]);
    assert_eq!(held, kept as f64);

    // Very many at once fail for as long as the limit stands.
    assert_eq!(import_many(&gateway), 503);
    assert!(!is_up(&gateway));
    assert_eq!(outcome(&gateway, "many-1"), "200");
    assert_eq!(outcome(&gateway, "0"), "401 token_revoked");

    let lifted = Command::new("prlimit")
        .args(["--pid", &gateway.pid().to_string(), "--fsize=unlimited:"])
        .status()
        .expect("prlimit, of util-linux");
    assert!(lifted.success());
    eventually("a store that is up again", || is_up(&gateway));
    assert_eq!(import_many(&gateway), 200);
    assert_eq!(revoke(&gateway, 9999).status, 201);
    gateway.signal("KILL");
    drop(gateway);

    let gateway = place.start_ready();
    assert_eq!(listed(&gateway).len(), kept + 20_001);
    for jti in ["0", &last, "many-19999", "9999"] {
        assert_eq!(outcome(&gateway, jti), "401 token_revoked", "{jti}");
    }
    assert_eq!(outcome(&gateway, &name), "200", "never acknowledged");
}
