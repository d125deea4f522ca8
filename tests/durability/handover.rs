//! Two processes and one file.

use crate::support::{Request, eventually, token};
use crate::{Place, outcome, revoke, text, wait_ready};
use serde_json::json;

#[test]
fn a_second_gateway_on_the_file_is_refused_when_its_patience_ends() {
    let place = Place::new("[server]\ndrain = \"1s\"");
    let first = place.start_ready();
    assert_eq!(revoke(&first, "j-1").status, 201);
    let second = place.run_to_end();
    let errors = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("state/revocations.redb") && errors.contains("in use"),
        "{errors}"
    );
    assert_eq!(outcome(&first, "j-1"), "401 token_revoked");
    assert_eq!(revoke(&first, "j-2").status, 201);
}

#[test]
fn a_successor_takes_the_file_over_while_the_first_still_drains() {
    let place = Place::new("[server]\ndrain_delay = \"15s\"\ndrain = \"20s\"");
    let first = place.start_ready();
    assert_eq!(revoke(&first, "j-1").status, 201);
    let second = place.start();
    second.wait_for_record("waiting", |record| {
        let message = record["message"].as_str().unwrap_or_default();
        message.starts_with("waiting for the revocation store")
    });
    // It cannot tell yet, and says so instead of guessing.
    let ready = second.admin_get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &json!("starting"))
    );
    assert_eq!(ready.json()["revocation_store"]["loaded"], false);
    eventually("keys", || {
        outcome(&second, "good") != "503 keys_unavailable"
    });
    let answer = second.get("/", &token(json!({"jti": "good"})));
    assert_eq!(answer.outcome(), "503 revocations_stale");
    assert!(answer.header("retry-after").is_some());
    let early = revoke(&second, "early");
    assert_eq!(early.status, 503, "{}", early.text());

    first.signal("TERM");
    wait_ready(&second);
    assert_eq!(outcome(&second, "j-1"), "401 token_revoked");
    assert_eq!(outcome(&second, "good"), "200");
    assert_eq!(revoke(&second, "j-2").status, 201);

    // The first still answers, from what it has in memory, and writes nothing.
    assert_eq!(first.admin_get("/readyz").json()["status"], "draining");
    assert_eq!(outcome(&first, "j-1"), "401 token_revoked");
    assert_eq!(outcome(&first, "good"), "200");
    let late = revoke(&first, "late");
    assert_eq!(late.status, 503, "{}", late.text());
    assert_eq!(
        late.json()["type"],
        "urn:portcullis:admin:revocation_store_unavailable"
    );
    let restore = Request::new("DELETE", &format!("/api/revocations/{}", "0".repeat(32)));
    assert_eq!(restore.send(first.admin).status, 503);
    assert_eq!(outcome(&first, "late"), "200");
    assert_eq!(first.metric("portcullis_revocation_store_up", &[]), 0.0);
    assert_eq!(second.metric("portcullis_revocation_store_up", &[]), 1.0);
    first.signal("TERM");
    first.wait();
    assert_eq!(outcome(&second, "late"), "200");
}
