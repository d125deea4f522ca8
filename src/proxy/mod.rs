//! The proxy edge: speaks HTTP with clients and upstreams.
//!
//! Owns sockets, connections, framing, the headers of messages in transit and the answers to rejected requests. The decision
//! is the gate's: nothing is forwarded without its [`Admission`]. Must not know tokens, keys or claims.

mod activity;
mod body;
mod complaint;
mod connection;
mod drain;
mod exchange;
mod forward;
mod forwarding;
mod framing;
mod gathered_write;
mod handshake;
mod headers;
mod http2;
mod identity_headers;
mod listener;
mod logout;
mod pool;
mod prior_knowledge;
mod response;
mod snapshot;
mod target;
#[cfg(test)]
mod testing;
mod timer;
mod transport;
mod upstream;
mod upstream_connection;
#[cfg(test)]
mod upstream_tests;
mod worker;

use std::rc::Rc;

use http::request::Parts;
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};

use crate::gate::{Admission, Rejected};
use crate::identity::Via;
use crate::rejection::Rejection;

use activity::Activity;
use body::{RequestBody, ResponseBody};
use exchange::Exchange;
use forward::{Message, forward};
use forwarding::Peer;
use timer::Timer;
use worker::{View, Worker};

pub use listener::Listeners;
pub use logout::{Logouts, Unkept};
pub use snapshot::Snapshot;
pub use worker::{Shared, Workers};

/// The proxy, as one connection or stream sees it.
#[derive(Debug)]
struct Proxy {
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    activity: Rc<Activity>,
    /// For one request at a time; each stream of HTTP/2 has a proxy of its own.
    timer: Timer,
}

impl Proxy {
    /// The life of a request. Its count and its record are made when the exchange is over.
    async fn handle(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let view = self.worker.view();
        let (mut head, body) = request.into_parts();
        let is_sound = head.version != Version::HTTP_2 || http2::adapt(&mut head);
        let origin = view.snapshot.forwarding.origin(&self.peer, &head.headers);
        let open = self.activity.begin_request(!body.is_end_stream());
        let mut exchange = Exchange::begin(self, &view, open, &head, &origin);
        if let Err(rejected) = check_frame(&head, is_sound, &body, &view, &exchange) {
            return exchange.refuse(&rejected);
        }
        if let Some(issuer) = view.snapshot.gate.logout_endpoint(&head) {
            // Boxed: it is rare, and would make room for itself in every request.
            return Box::pin(logout::answer(self, &view, issuer, (&head, body), exchange)).await;
        }
        let admission = match self.judge(&head, &view, &mut exchange).await {
            Ok(admission) => admission,
            Err(rejected) => {
                view.recycle(head.headers);
                return exchange.refuse(&rejected);
            }
        };
        if admission.via() == Via::Verified {
            // Others that wait to be verified go first, and then all go upstream together: a signature takes longer than
            // everything else, and whoever is asked or answered meanwhile would fall asleep and have to be woken each time.
            tokio::task::yield_now().await;
        }
        // In HTTP/2 a body need not be announced, so that only here it can be told that a preflight has one.
        let body = if admission.is_preflight() {
            RequestBody::empty()
        } else {
            RequestBody::new(body, &view.snapshot.limits, &view.snapshot.reserved, || {
                self.activity.open()
            })
        };
        let message = Message {
            head: &head,
            origin: &origin,
            body,
        };
        // Boxed for as long as it takes: hyper would keep the room for it while the connection is idle.
        let forwarding = Box::pin(forward(admission, message, self, &view, &mut exchange));
        let outcome = forwarding.await;
        view.recycle(head.headers);
        match outcome {
            Ok(response) => exchange.respond(response),
            Err(rejected) => exchange.refuse(&rejected),
        }
    }

    /// All other rows.
    async fn judge(
        &self,
        head: &Parts,
        view: &View,
        exchange: &mut Exchange,
    ) -> Result<Admission, Box<Rejected>> {
        let now = exchange.wall_clock();
        let admission = view.snapshot.gate.admit(head, now).await?;
        exchange.admitted(&admission);
        Ok(admission)
    }
}

/// Row 1 of the contract's table, as far as it is not the gate's.
fn check_frame(
    head: &Parts,
    is_sound: bool,
    body: &Incoming,
    view: &View,
    exchange: &Exchange,
) -> Result<(), Box<Rejected>> {
    if !is_sound {
        return Err(exchange.rejected(Rejection::RequestMalformed));
    }
    let snapshot = &view.snapshot;
    let length = body.size_hint().exact();
    framing::check(head, length, &snapshot.limits, &snapshot.reserved)
        .map_err(|reason| exchange.rejected(snapshot.gate.first_fault(head, reason)))
}
