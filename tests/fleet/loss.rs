//! Redis loses something: the fleet holds it, and tells it again. Neither a revocation nor a restore is forgotten.

use super::server::Redis;
use super::support::eventually;
use super::wire::{Weather, Wire};
use super::{
    Site, all_down, all_up, is_refused, kill, must_restore, must_revoke, passed_by_all,
    refused_by_all, restart, revoke,
};

fn entries(redis: &Redis) -> usize {
    redis.ask(&["HLEN", "portcullis:entries"])
}

#[test]
fn an_emptied_redis_is_filled_again_with_revocations_and_restores() {
    let (redis, site) = (Redis::start(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    must_revoke(&one, "a");
    let restored = must_revoke(&two, "restored");
    must_restore(&one, &restored);
    // Two entries; `tail` and `format` stand beside them.
    assert_eq!(entries(&redis), 4);

    redis.restart_empty();
    all_up(&[&one, &two]);
    eventually("it is filled", || entries(&redis) == 4);
    let three = site.gateway(&redis.url());
    assert!(is_refused(&three, "a"), "from the first answer on");
    assert!(!is_refused(&three, "restored"));
    assert!(is_refused(&one, "a") && is_refused(&two, "a"));
    must_revoke(&three, "b");
    refused_by_all(&[&one, &two], "b");
}

#[test]
fn keys_that_vanish_while_everyone_is_connected_come_back() {
    let (redis, site) = (Redis::start(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    let id = must_revoke(&one, "a");
    refused_by_all(&[&two], "a");
    let () = redis.ask(&["FLUSHALL"]);
    let is_there = || redis.ask::<bool>(&["HEXISTS", "portcullis:entries", &id]);
    eventually("it is filled", is_there);
    let () = redis.ask(&["DEL", "portcullis:changes"]);
    must_revoke(&two, "b");
    refused_by_all(&[&one], "b");
    let three = site.gateway(&redis.url());
    assert!(is_refused(&three, "a") && is_refused(&three, "b"));
}

#[test]
fn a_stream_that_was_trimmed_past_a_gateway_is_no_gap() {
    let (redis, site) = (Redis::start(), Site::new());
    let wire = Wire::to(redis.address());
    let (near, far) = (site.gateway(&wire.url()), site.gateway(&redis.url()));
    let restored = must_revoke(&far, "restored");
    refused_by_all(&[&near], "restored");
    wire.set(Weather::Closed);
    all_down(&[&near]);
    must_restore(&far, &restored);
    must_revoke(&far, "gone from the stream");
    let () = redis.ask(&["XTRIM", "portcullis:changes", "MAXLEN", "0"]);
    must_revoke(&far, "in the stream");
    wire.set(Weather::Fair);
    refused_by_all(&[&near], "gone from the stream");
    refused_by_all(&[&near], "in the stream");
    passed_by_all(&[&near], "restored");
}

#[test]
fn an_old_backup_brings_nothing_back_and_takes_nothing_away() {
    let (redis, site) = (Redis::start(), Site::new());
    let [one, two] = site.gateways(&redis.url());
    let restored = must_revoke(&one, "restored");
    let again = must_revoke(&one, "again");
    must_restore(&one, &again);
    let () = redis.ask(&["SAVE"]);
    let backup = std::fs::read(redis.file("dump.rdb")).expect("a backup");

    must_restore(&one, &restored);
    must_revoke(&one, "new");
    must_revoke(&two, "again");
    refused_by_all(&[&one, &two], "new");
    passed_by_all(&[&one, &two], "restored");
    redis.kill();
    std::fs::write(redis.file("dump.rdb"), backup).expect("a backup");
    redis.restart();
    all_up(&[&one, &two]);

    // A third reads what is in Redis; it converges to what the fleet knew.
    let three = site.gateway(&redis.url());
    let all = [&one, &two, &three];
    refused_by_all(&all, "new");
    refused_by_all(&all, "again");
    passed_by_all(&all, "restored");
}

#[test]
fn a_replica_that_lacks_the_tail_learns_it_and_newer_revocations_hold() {
    let (master, site) = (Redis::start(), Site::new());
    let port = master.port.to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    let wires = [Wire::to(master.address()), Wire::to(master.address())];
    let [one, two] = [site.gateway(&wires[0].url()), site.gateway(&wires[1].url())];
    let id = must_revoke(&one, "a");
    refused_by_all(&[&two], "a");
    eventually("the replica has it", || {
        replica.ask::<bool>(&["HEXISTS", "portcullis:entries", &id])
    });

    // The tail: a restore that reaches gateway one alone, and a revocation.
    let () = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    wires[1].set(Weather::Closed);
    all_down(&[&two]);
    must_restore(&one, &id);
    must_revoke(&one, "tail");
    let folder = kill(one);
    master.kill();
    wires[1].lead_to(replica.address());
    wires[1].set(Weather::Fair);
    all_up(&[&two]);

    // Gateway two knows nothing of the restore, and revokes again: that is newer, and holds.
    assert_eq!(revoke(&two, "a").status, 200);
    assert!(!is_refused(&two, "tail"), "nobody who is here knows");
    wires[0].lead_to(replica.address());
    let one = restart(folder);
    refused_by_all(&[&one, &two], "tail");
    refused_by_all(&[&one, &two], "a");
    all_up(&[&one, &two]);
    assert!(is_refused(&one, "a") && is_refused(&two, "a"));
}

#[test]
fn what_has_ended_leaves_redis() {
    let (redis, site) = (Redis::start(), Site::new());
    let gateway = site.gateway(&redis.url());
    let id = must_revoke(&gateway, "a");
    assert_eq!(redis.ask::<usize>(&["ZCARD", "portcullis:ends"]), 1);
    // Two hours ago: longer than clocks are allowed to differ.
    let () = redis.ask(&["ZADD", "portcullis:ends", "1000", &id]);
    eventually("it is swept out", || {
        !redis.ask::<bool>(&["HEXISTS", "portcullis:entries", &id])
    });
    assert_eq!(redis.ask::<usize>(&["ZCARD", "portcullis:ends"]), 0);
    assert!(
        is_refused(&gateway, "a"),
        "what Redis drops is not dropped here"
    );
}

#[test]
fn entries_of_strangers_are_passed_over() {
    let (redis, site) = (Redis::start(), Site::new());
    let id = "00112233445566778899aabbccddeeff";
    let () = redis.ask(&[
        "HSET",
        "portcullis:entries",
        id,
        "5 0 - {\"kind\":\"jti\"}",
        "junk",
        "x",
    ]);
    let gateway = site.gateway(&redis.url());
    gateway.wait_for_record("a warning", |record| {
        record["message"]
            .as_str()
            .is_some_and(|text| text.contains("passed over"))
    });
    must_revoke(&gateway, "a");
    assert!(is_refused(&gateway, "a"));
}
