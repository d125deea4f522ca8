//! Killed in the middle of bursts, many times over.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Connection, Request};
use crate::{Place, listed, outcome, revoke};

/// Rounds, unless the time is over before.
const ROUNDS: usize = 25;
const LONGEST: Duration = Duration::from_secs(15);
const WRITERS: usize = 4;

/// Revokes until the connection breaks; the names of those that were acknowledged.
fn burst(
    admin: std::net::SocketAddr,
    round: usize,
    writer: usize,
    is_over: &AtomicBool,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut connection = Connection::open(admin);
    for number in 0.. {
        let jti = format!("{round}-{writer}-{number}");
        let request = Request::new("POST", "/api/revocations")
            .json(&json!({"jti": jti, "issuer": "corp", "reason": "a burst"}));
        let is_sent = connection.send(&request.bytes(&admin.to_string()));
        let answer = is_sent.then(|| connection.read(false)).flatten();
        match answer {
            Some(answer) if answer.status == 201 => acknowledged.push(jti),
            Some(answer) => panic!("{}: {}", answer.status, answer.text()),
            None => break,
        }
        if is_over.load(Ordering::Relaxed) && number > 100_000 {
            break;
        }
    }
    acknowledged
}

#[test]
fn every_acknowledged_revocation_is_refused_after_kill_9_in_the_middle_of_a_burst() {
    let place = Place::new("");
    let mut acknowledged: Vec<String> = Vec::new();
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS && begun.elapsed() < LONGEST {
        let gateway = place.start_ready();
        let is_over = AtomicBool::new(false);
        let admin = gateway.admin;
        let done: Vec<Vec<String>> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let is_over = &is_over;
                    scope.spawn(move || burst(admin, rounds, writer, is_over))
                })
                .collect();
            // At another moment of the burst in each round, counted in what it has done.
            let goal = (20 + 37 * rounds) as f64;
            crate::support::eventually("a burst under way", || {
                gateway.metric("portcullis_revocations", &[("kind", "jti")])
                    >= goal + acknowledged.len() as f64
            });
            gateway.signal("KILL");
            is_over.store(true, Ordering::Relaxed);
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .collect()
        });
        drop(gateway);
        let new = done.into_iter().flatten().collect::<Vec<_>>();
        assert!(!new.is_empty(), "nothing was acknowledged");
        acknowledged.extend(new.iter().cloned());
        rounds += 1;

        let gateway = place.start_ready();
        let held: HashSet<String> = listed(&gateway)
            .iter()
            .map(|one| one["jti"].as_str().unwrap().to_owned())
            .collect();
        for jti in &acknowledged {
            assert!(held.contains(jti), "{jti} is lost after {rounds} rounds");
        }
        for jti in new.iter().rev().take(20).chain(acknowledged.iter().take(5)) {
            assert_eq!(outcome(&gateway, jti), "401 token_revoked", "{jti}");
        }
        assert_eq!(outcome(&gateway, "another"), "200");
        gateway.signal("KILL");
    }
    assert!(rounds >= 3, "{rounds} rounds in {:?}", begun.elapsed());
}

#[test]
fn a_restart_in_order_keeps_revocations_restorations_and_their_order() {
    let place = Place::new("");
    let gateway = place.start_ready();
    let ids: Vec<String> = (0..5)
        .map(|number| {
            let answer = revoke(&gateway, &number.to_string());
            assert_eq!(answer.status, 201, "{}", answer.text());
            answer.json()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let path = format!("/api/revocations/{}", ids[2]);
    assert_eq!(
        Request::new("DELETE", &path).send(gateway.admin).status,
        204
    );
    let before = listed(&gateway);
    gateway.signal("TERM");
    assert!(gateway.wait().success());

    let gateway = place.start_ready();
    assert_eq!(listed(&gateway), before);
    assert_eq!(outcome(&gateway, "1"), "401 token_revoked");
    assert_eq!(outcome(&gateway, "2"), "200");
    let again = revoke(&gateway, "1");
    assert_eq!(
        (again.status, again.json()["id"].as_str()),
        (200, Some(&*ids[1]))
    );
    let ready = gateway.admin_get("/readyz").json();
    assert_eq!(ready["revocation_store"]["kind"], "embedded");
    assert_eq!(ready["revocation_store"]["entries"], 4);
}

#[test]
fn what_ends_leaves_list_and_metric_and_is_not_back_after_a_restart() {
    let place = Place::new("");
    let gateway = place.start_ready();
    let end = crate::support::now() + 2;
    let body = json!({"jti": "short", "issuer": "corp", "expires_at": end});
    assert_eq!(gateway.admin_post("/api/revocations", &body).status, 201);
    assert_eq!(revoke(&gateway, "long").status, 201);
    assert_eq!(outcome(&gateway, "short"), "401 token_revoked");
    crate::support::eventually("the end", || {
        gateway.metric("portcullis_revocations", &[("kind", "jti")]) == 1.0
    });
    assert_eq!(outcome(&gateway, "short"), "200");
    assert_eq!(listed(&gateway).len(), 1);
    gateway.signal("KILL");
    drop(gateway);
    let gateway = place.start_ready();
    assert_eq!(outcome(&gateway, "short"), "200");
    assert_eq!(outcome(&gateway, "long"), "401 token_revoked");
}
