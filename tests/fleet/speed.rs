//! How soon a revocation on one gateway is refused by the others, while all of them have work to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::Redis;
use super::support::http::Connection;
use super::support::{Gateway, Request};
use super::{Site, must_revoke, token_of};

const ROUNDS: usize = 150;
/// Ten times what a machine of its own takes: this runs beside other tests.
const LONGEST: Duration = Duration::from_secs(1);
const USUAL: Duration = Duration::from_millis(100);

/// Asks on one connection until it is refused.
fn wait_for_refusal(connection: &mut Connection, request: &[u8]) {
    loop {
        assert!(connection.send(request));
        match connection.read(false).expect("an answer").status {
            200 => {}
            401 => return,
            other => panic!("{other}"),
        }
    }
}

fn load(gateway: &Gateway, is_over: &AtomicBool) {
    let mut connection = Connection::open(gateway.public);
    let request = Request::get("/")
        .bearer(&token_of("busy"))
        .bytes("localhost");
    while !is_over.load(Ordering::Relaxed) {
        assert!(connection.send(&request));
        assert_eq!(connection.read(false).expect("an answer").status, 200);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn measure(gateways: &[Gateway; 3]) -> Vec<Duration> {
    let [one, two, three] = gateways;
    let mut connections = [two, three].map(|gateway| Connection::open(gateway.public));
    let mut taken = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("round-{round}");
        let request = Request::get("/")
            .bearer(&token_of(&name))
            .bytes("localhost");
        must_revoke(one, &name);
        let answered = Instant::now();
        for connection in &mut connections {
            wait_for_refusal(connection, &request);
            taken.push(answered.elapsed());
        }
    }
    taken.sort_unstable();
    taken
}

#[test]
fn a_revocation_is_refused_by_the_others_before_anyone_notices() {
    let (redis, site) = (Redis::start_durable(), Site::new());
    let gateways: [_; 3] = site.gateways(&redis.url());
    let is_over = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        for gateway in &gateways {
            scope.spawn(|| load(gateway, &is_over));
        }
        let taken = measure(&gateways);
        is_over.store(true, Ordering::Relaxed);
        taken
    });
    let at = |part: usize| taken[taken.len() * part / 100];
    let (half, most, worst) = (at(50), at(99), taken[taken.len() - 1]);
    println!("revoked elsewhere after: p50 {half:?}, p99 {most:?}, worst {worst:?}");
    assert!(half <= USUAL, "p50 {half:?}");
    assert!(most <= LONGEST, "p99 {most:?}");
}
