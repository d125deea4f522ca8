//! A gateway from its start to its end: what it refuses to start with, how it reloads, and how it drains.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "lifecycle/drain.rs"]
mod drain;
#[path = "lifecycle/reload.rs"]
mod reload;
#[path = "lifecycle/start.rs"]
mod start;
#[path = "lifecycle/traffic.rs"]
mod traffic;

use std::sync::{Arc, Condvar, Mutex};

use support::{KID, Reply, Server, corp};

/// The route for everything that most tests take.
const ROUTE: &str = "name = \"all\"\npath = \"/*\"\nupstream = \"api\"";

fn provider() -> Server {
    Server::keys(vec![corp().jwk(KID)])
}

/// Holds answers back until it is opened.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// An API whose `/slow` is answered when the barrier is open, and everything else at once.
fn slow_api(barrier: &Barrier) -> Server {
    let barrier = barrier.clone();
    Server::start(move |request| {
        if request.target == "/slow" {
            barrier.pass();
        }
        Reply::Status(200)
    })
}
