//! Redis or the network away: what is known stays in force, nothing is half done, and nothing is missed.

use std::time::Duration;

use super::server::Redis;
use super::support::{Gateway, eventually};
use super::wire::{Weather, Wire};
use super::{
    Site, all_down, all_up, is_refused, is_up, kill, must_restore, must_revoke, outcome,
    passed_by_all, refused_by_all, restart, restore, revoke,
};

fn readiness(gateway: &Gateway) -> (u16, String) {
    let response = gateway.admin_get("/readyz");
    let status = response.json()["status"]
        .as_str()
        .expect("a status")
        .to_owned();
    (response.status, status)
}

#[test]
fn what_one_gateway_revokes_or_restores_holds_on_all() {
    let (redis, site) = (Redis::start(), Site::new());
    let gateways: [_; 3] = site.gateways(&redis.url());
    let [one, two, three] = &gateways;
    let all = [one, two, three];

    let id = must_revoke(one, "a");
    assert!(is_refused(one, "a"), "in force with the answer");
    refused_by_all(&all, "a");
    assert_eq!(revoke(two, "a").status, 200, "known there");
    assert_eq!(must_revoke(two, "a"), id, "under the same id");
    let listed = three.admin_get("/api/revocations").json();
    assert_eq!(listed["revocations"][0]["id"], *id);
    assert_eq!(listed["revocations"].as_array().unwrap().len(), 1);

    must_restore(three, &id);
    passed_by_all(&all, "a");
    assert_eq!(restore(three, &id).status, 404);
    assert!(must_revoke(two, "a") == id);
    refused_by_all(&all, "a");
    assert!(!is_refused(one, "b"), "of nobody else");
}

#[test]
fn a_killed_redis_takes_nothing_away_and_takes_no_changes() {
    let (redis, site) = (Redis::start_durable(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    let before = must_revoke(&one, "before");
    refused_by_all(&[&two], "before");

    redis.kill();
    all_down(&[&one, &two]);
    let refusal = revoke(&one, "during");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.header("retry-after").is_some());
    assert_eq!(restore(&two, &before).status, 503);
    assert!(!is_refused(&one, "during"), "not kept half-way");
    assert!(is_refused(&one, "before") && is_refused(&two, "before"));
    assert_eq!(readiness(&two), (200, "degraded".to_owned()));
    let lag = |gateway: &Gateway| gateway.metric("portcullis_revocation_lag_seconds", &[]);
    let at_first = lag(&one);
    eventually("the lag grows", || lag(&one) > at_first + 0.5);

    redis.restart();
    all_up(&[&one, &two]);
    must_revoke(&two, "after");
    refused_by_all(&[&one, &two], "after");
    assert_eq!(readiness(&two), (200, "ok".to_owned()));
    assert!(lag(&one) < 5.0);
    assert!(
        !is_refused(&two, "during"),
        "what was answered 503 by a dead Redis never comes"
    );
}

#[test]
fn a_paused_redis_makes_no_change_that_was_given_up() {
    let (redis, site) = (Redis::start(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    let id = must_revoke(&one, "before");
    refused_by_all(&[&two], "before");

    redis.pause();
    let refusal = revoke(&one, "during");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    all_down(&[&one, &two]);
    assert!(is_refused(&two, "before"));
    redis.resume();
    all_up(&[&one, &two]);

    must_restore(&two, &id);
    must_revoke(&two, "after");
    refused_by_all(&[&one], "after");
    passed_by_all(&[&one, &two], "before");
    assert!(
        !is_refused(&one, "during"),
        "it was too late when Redis came to it"
    );
}

#[test]
fn a_change_whose_answer_is_lost_may_show_and_can_be_asked_again() {
    let (redis, site) = (Redis::start(), Site::new());
    let wire = Wire::to(redis.address());
    let (near, far) = (site.gateway(&wire.url()), site.gateway(&redis.url()));

    wire.set(Weather::CutAnswer);
    assert_eq!(revoke(&near, "a").status, 503, "it cannot know");
    refused_by_all(&[&near, &far], "a");
    all_up(&[&near]);
    let again = revoke(&near, "a");
    assert_eq!(again.status, 200, "{again:?}");
    let id = again.json()["id"].as_str().unwrap().to_owned();

    wire.set(Weather::CutAnswer);
    assert_eq!(restore(&near, &id).status, 503);
    passed_by_all(&[&near, &far], "a");
    all_up(&[&near]);
    assert_eq!(restore(&near, &id).status, 404, "it was done");
    must_revoke(&far, "a");
    refused_by_all(&[&near, &far], "a");
}

#[test]
fn a_change_that_is_cut_in_the_middle_is_not_made() {
    let (redis, site) = (Redis::start(), Site::new());
    let wire = Wire::to(redis.address());
    let (near, far) = (site.gateway(&wire.url()), site.gateway(&redis.url()));
    for at in [1, 20, 80, 200] {
        let name = format!("cut-{at}");
        wire.set(Weather::CutRequest(at));
        assert_eq!(revoke(&near, &name).status, 503);
        all_up(&[&near]);
        must_revoke(&near, &format!("whole-{at}"));
        refused_by_all(&[&near, &far], &format!("whole-{at}"));
        assert!(
            !is_refused(&near, &name) && !is_refused(&far, &name),
            "{name}"
        );
    }
}

#[test]
fn a_silent_network_is_noticed_and_nothing_is_missed() {
    let (redis, site) = (Redis::start(), Site::new());
    let wire = Wire::to(redis.address());
    let (near, far) = (site.gateway(&wire.url()), site.gateway(&redis.url()));
    wire.set(Weather::BlackHole);
    must_revoke(&far, "during");
    all_down(&[&near]);
    assert_eq!(revoke(&near, "refused").status, 503);
    assert!(is_up(&far), "the others go on");
    wire.set(Weather::Fair);
    wire.cut();
    refused_by_all(&[&near], "during");
    all_up(&[&near]);
}

#[test]
fn a_slow_network_delays_changes_and_loses_none() {
    let (redis, site) = (Redis::start(), Site::new());
    let wire = Wire::to(redis.address());
    let (near, far) = (site.gateway(&wire.url()), site.gateway(&redis.url()));
    wire.set(Weather::Slow(Duration::from_millis(150)));
    let id = must_revoke(&near, "a");
    refused_by_all(&[&far], "a");
    must_restore(&far, &id);
    passed_by_all(&[&near, &far], "a");
    must_revoke(&far, "b");
    refused_by_all(&[&near], "b");
    assert!(is_up(&near));
}

#[test]
fn a_gateway_without_copy_and_redis_cannot_tell() {
    let (redis, site) = (Redis::start_durable(), Site::new());
    let first = site.gateway(&redis.url());
    must_revoke(&first, "a");
    redis.kill();

    let second = Gateway::start_unready(&site.configuration(&redis.url(), ""));
    eventually("its keys are there, and not the revocations", || {
        outcome(&second, "b") == "503 revocations_stale"
    });
    assert_eq!(outcome(&second, "a"), "503 revocations_stale");
    assert_eq!(readiness(&second), (503, "starting".to_owned()));
    assert_eq!(revoke(&second, "b").status, 503);

    redis.restart();
    eventually("it is ready", || {
        readiness(&second) == (200, "ok".to_owned())
    });
    assert!(is_refused(&second, "a") && !is_refused(&second, "b"));
}

#[test]
fn a_gateway_that_was_killed_has_its_copy_and_catches_up() {
    let (redis, site) = (Redis::start_durable(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    let restored = must_revoke(&one, "restored");
    must_revoke(&one, "kept");
    refused_by_all(&[&two], "kept");
    let folder = kill(two);
    must_restore(&one, &restored);
    must_revoke(&one, "meanwhile");

    // With Redis: everything. Its first answers are right already.
    let two = restart(folder);
    assert!(is_refused(&two, "kept") && is_refused(&two, "meanwhile"));
    assert!(!is_refused(&two, "restored"));

    // Without: what it had.
    let folder = kill(two);
    redis.kill();
    let two = Gateway::start_in(folder);
    eventually("ready", || readiness(&two) == (200, "degraded".to_owned()));
    assert!(is_refused(&two, "kept") && is_refused(&two, "meanwhile"));
    assert!(!is_refused(&two, "restored"));
    assert!(!is_up(&two));
}

#[test]
fn with_refuse_an_old_copy_is_not_believed() {
    let (redis, site) = (Redis::start_durable(), Site::new());
    let more = "on_stale = \"refuse\"\nmax_stale = \"2s\"";
    let gateway = Gateway::start(&site.configuration(&redis.url(), more));
    must_revoke(&gateway, "a");
    redis.kill();
    all_down(&[&gateway]);
    eventually("it refuses", || {
        outcome(&gateway, "b") == "503 revocations_stale"
    });
    let answer = gateway.get("/", &super::token_of("a"));
    assert_eq!(answer.outcome(), "503 revocations_stale");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(readiness(&gateway), (503, "degraded".to_owned()));
    assert!(gateway.metric("portcullis_revocation_checks_total", &[("result", "stale")]) > 1.0);

    // A restart makes no old copy young.
    let gateway = Gateway::start_in(kill(gateway));
    eventually("it refuses still", || {
        outcome(&gateway, "b") == "503 revocations_stale"
    });
    redis.restart();
    eventually("it decides again", || outcome(&gateway, "b") == "200");
    assert!(is_refused(&gateway, "a"));
}
