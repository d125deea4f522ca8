//! Three gateways, and everything goes wrong in an order that chance chooses. In the end: what was acknowledged and not
//! taken back is refused by all, what was restored passes, and of what was not acknowledged all say the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::server::Redis;
use super::support::{Gateway, eventually};
use super::wire::{Weather, Wire};
use super::{Site, all_up, is_refused, kill, restore, revoke};

const NAMES: usize = 12;
const STEPS: usize = 120;

/// What was promised of an entry, as far as whoever asked can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Revoked,
    Passes,
    /// The last that was asked was not acknowledged.
    Open,
}

struct Fleet {
    _site: Site,
    redis: Redis,
    wires: [Wire; 3],
    gateways: [Option<Gateway>; 3],
    promises: BTreeMap<String, (Promise, Option<String>)>,
    /// Whether Redis may know less than some gateway does.
    has_redis_lost: bool,
    chance: fastrand::Rng,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let (site, redis) = (Site::new(), Redis::start_durable());
        let wires: [_; 3] = std::array::from_fn(|_| Wire::to(redis.address()));
        let gateways = std::array::from_fn(|number| Some(site.gateway(&wires[number].url())));
        Self {
            _site: site,
            redis,
            wires,
            gateways,
            promises: BTreeMap::new(),
            has_redis_lost: false,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    fn gateway(&self, number: usize) -> &Gateway {
        self.gateways[number].as_ref().expect("a gateway that runs")
    }

    fn step(&mut self) {
        let number = self.chance.usize(..3);
        match self.chance.usize(..20) {
            0 => self.wires[number].set(Weather::CutAnswer),
            1 => self.wires[number].set(Weather::CutRequest(40)),
            2 => self.wires[number].set(Weather::Slow(Duration::from_millis(5))),
            3 => self.wires[number].set(Weather::Closed),
            4 => self.wires[number].cut(),
            5..8 => self.wires[number].set(Weather::Fair),
            8 => self.restart_gateway(number),
            9 => {
                self.has_redis_lost = true;
                self.redis.restart_empty();
            }
            10 => {
                self.redis.kill();
                self.redis.restart();
            }
            11..17 => self.revoke(number),
            _ => self.restore(number),
        }
    }

    fn name(&mut self) -> String {
        format!("name-{}", self.chance.usize(..NAMES))
    }

    fn revoke(&mut self, number: usize) {
        let name = self.name();
        let response = revoke(self.gateway(number), &name);
        let promise = match response.status {
            200 | 201 => {
                let id = response.json()["id"].as_str().expect("an id").to_owned();
                assert!(is_refused(self.gateway(number), &name), "with the answer");
                (Promise::Revoked, Some(id))
            }
            503 => {
                let before = self.promises.get(&name).cloned();
                let (before, id) = before.unwrap_or((Promise::Passes, None));
                // What is revoked stays so, whatever became of the request.
                let is_revoked = before == Promise::Revoked;
                (if is_revoked { before } else { Promise::Open }, id)
            }
            other => panic!("{other}: {response:?}"),
        };
        self.promises.insert(name, promise);
    }

    fn restore(&mut self, number: usize) {
        let name = self.name();
        let Some((before, Some(id))) = self.promises.get(&name).cloned() else {
            return;
        };
        let promise = match restore(self.gateway(number), &id).status {
            // A restore takes back what is known where it is asked, or in Redis: not what only gateways know that are cut off.
            204 if self.has_redis_lost => Promise::Open,
            204 => Promise::Passes,
            // A gateway that is behind, beside an empty Redis, knows of nothing to restore.
            404 => before,
            503 if before == Promise::Passes => before,
            503 => Promise::Open,
            other => panic!("{other}"),
        };
        self.promises.insert(name, (promise, Some(id)));
    }

    fn restart_gateway(&mut self, number: usize) {
        if let Some(gateway) = self.gateways[number].take() {
            let folder = kill(gateway);
            self.gateways[number] = Some(Gateway::start_in(folder));
            eventually("its copy is in force", || {
                !super::outcome(self.gateway(number), "nobody").starts_with("503")
            });
        }
    }

    fn calm(&self) {
        for wire in &self.wires {
            wire.set(Weather::Fair);
            wire.cut();
        }
        let all: Vec<&Gateway> = self.gateways.iter().flatten().collect();
        all_up(&all);
    }

    fn check(&self) {
        for (name, (promise, _)) in &self.promises {
            let views = || [0, 1, 2].map(|number| is_refused(self.gateway(number), name));
            let is_kept = || match (promise, views()) {
                (Promise::Revoked, views) => views == [true; 3],
                (Promise::Passes, views) => views == [false; 3],
                (Promise::Open, views) => views == [true; 3] || views == [false; 3],
            };
            eventually(&format!("{name} is {promise:?} everywhere"), is_kept);
        }
        // And so it stays: nothing is under way any more.
        for (name, (promise, _)) in &self.promises {
            let first = is_refused(self.gateway(0), name);
            assert!(*promise != Promise::Revoked || first, "{name}");
            assert!(*promise != Promise::Passes || !first, "{name}");
        }
    }
}

#[test]
fn whatever_goes_wrong_what_was_promised_holds_in_the_end() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut fleet = Fleet::new(seed);
    for step in 0..STEPS {
        fleet.step();
        // Between storms everyone hears of everything.
        if step % 30 == 29 {
            fleet.calm();
            fleet.check();
            fleet.has_redis_lost = false;
        }
    }
}
