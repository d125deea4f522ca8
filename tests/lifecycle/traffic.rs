//! Requests lose nothing by a reload.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{Connection, Request, Stage, configuration, token};

const THREADS: usize = 4;
const RELOADS: usize = 10;

/// What differs from one reload to the next: nothing of it refuses a good token.
fn version(stage: &Stage, number: usize) -> String {
    // Another cooldown makes the keys be fetched anew, another leeway empties the cache of tokens.
    let issuer = format!(
        "leeway = \"{}s\"\n[issuer.jwks]\ncooldown = \"{}s\"",
        10 + number,
        5 + number / 2
    );
    let routes = format!(
        "name = \"all\"\npath = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/version-{number}\"\nupstream = \"api\""
    );
    configuration("", &stage.provider, &issuer, &stage.upstream, &routes)
}

/// On a connection that is kept, and on one of its own each time; how many were answered.
fn requests(address: SocketAddr, is_over: &AtomicBool) -> Result<usize, String> {
    let request = Request::get("/orders").bearer(&token(json!({})));
    let mut kept = Connection::open(address);
    let mut answered = 0;
    while !is_over.load(Ordering::Acquire) {
        if !kept.send(&request.bytes("a")) {
            return Err(format!("a kept connection broke after {answered}"));
        }
        for response in [kept.read(false), request.try_send(address)] {
            match response {
                Some(response) if response.status == 200 => answered += 1,
                other => return Err(format!("{other:?} after {answered}")),
            }
        }
    }
    Ok(answered)
}

/// Ends the clients, also when a check fails: the scope waits for them.
struct End<'flag>(&'flag AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn no_request_fails_during_ten_reloads() {
    let stage = Stage::new();
    let (address, is_over) = (stage.gateway.public, AtomicBool::new(false));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| requests(address, &is_over)))
            .collect();
        let end = End(&is_over);
        for number in 1..=RELOADS {
            stage.gateway.rewrite(&version(&stage, number));
            stage.gateway.reload();
            let target = format!("/version-{number}");
            assert_eq!(
                stage.gateway.get(&target, &token(json!({}))).status,
                200,
                "reload {number} is in force"
            );
        }
        drop(end);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    for outcome in outcomes {
        assert!(
            outcome
                .as_ref()
                .is_ok_and(|answered| *answered >= 2 * RELOADS),
            "{outcome:?}"
        );
    }
    assert!(
        stage
            .gateway
            .metric("portcullis_config_last_reload_successful", &[])
            > 0.5
    );
}
