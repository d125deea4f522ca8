//! One client connection from its first byte to its last.
//!
//! Owns hyper's server side, the connection's time limits and its part in a drain. Knows nothing of what a request is about.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;

use super::Proxy;
use super::activity::{Activity, ClientStream};
use super::forwarding::Peer;
use super::worker::{Phase, Worker};

/// How long a drain waits before it closes an idle connection: a request that is on its way when the drain begins is
/// still answered, and told that the connection closes.
const GRACE: Duration = Duration::from_millis(100);

/// Heads beyond our own limit are still read to here, so that they get an answer that says what is wrong.
const MIN_HEAD_BUFFER: usize = 64 << 10;

/// Serves a connection until it ends. Broken connections are everyday life and not worth a log line.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, worker: Rc<Worker>) {
    // Without it small answers wait for acknowledgements; where it cannot be set, the connection is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let limits = worker.view().snapshot.limits;
    let activity = Activity::new();
    let stream = TokioIo::new(ClientStream::new(stream, Rc::clone(&activity)));
    let proxy = Rc::new(Proxy {
        worker: Rc::clone(&worker),
        peer: Rc::new(Peer::new(address)),
        activity: Rc::clone(&activity),
    });
    let service = service_fn(move |request| {
        let proxy = Rc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.handle(request).await) }
    });
    let connection = pin!(builder(&limits).serve_connection(stream, service));
    let watch = Watch {
        activity,
        limits,
        worker,
        is_draining: Cell::new(false),
    };
    watch.run(connection).await;
}

/// Hyper's own time limit for heads is off: it would also bound the idle time between requests.
fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size((limits.header_bytes.saturating_mul(4)).max(MIN_HEAD_BUFFER));
    builder
}

/// Hyper's connection, as far as its end is concerned.
trait Served: Future {
    fn finish_open_request(self: Pin<&mut Self>);
}

impl<I, B, S> Served for http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish_open_request(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What may end a connection from outside.
struct Watch {
    activity: Rc<Activity>,
    limits: Limits,
    worker: Rc<Worker>,
    is_draining: Cell<bool>,
}

impl Watch {
    async fn run<C: Served>(&self, mut connection: Pin<&mut C>) {
        let mut phase = self.worker.phase();
        let mut timer = pin!(sleep(self.interval()));
        if *phase.borrow_and_update() != Phase::Running {
            self.begin_drain(timer.as_mut());
        }
        loop {
            select! {
                biased;
                _ = connection.as_mut() => return,
                _ = phase.changed() => {
                    if *phase.borrow_and_update() == Phase::Cut {
                        self.worker.note_cut(self.activity.is_open());
                        return;
                    }
                    self.begin_drain(timer.as_mut());
                }
                () = timer.as_mut() => {
                    if self.is_draining.take() {
                        connection.as_mut().finish_open_request();
                    }
                    if self.is_over(timer.as_mut()) {
                        return;
                    }
                }
            }
        }
    }

    fn begin_drain(&self, timer: Pin<&mut Sleep>) {
        self.is_draining.set(true);
        timer.reset(Instant::now() + GRACE);
    }

    /// Whether the connection's time is up; if not, the timer is set anew.
    fn is_over(&self, timer: Pin<&mut Sleep>) -> bool {
        let now = Instant::now();
        let deadline = self.activity.deadline(&self.limits);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return true;
        }
        timer.reset(
            deadline
                .unwrap_or(now + self.interval())
                .min(now + self.interval()),
        );
        false
    }

    /// No limit that begins after a look at the clock ends before the next look.
    fn interval(&self) -> Duration {
        self.limits.header_timeout.min(self.limits.idle_timeout)
    }
}
