//! One client connection from its first byte to its last.
//!
//! Owns hyper's server side, the connection's time limits and its part in a drain. Knows nothing of what a request is about.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;

use super::Proxy;
use super::activity::{Activity, ClientStream};
use super::drain::{DrainWatch, Phase};
use super::exchange::note_unreadable;
use super::forwarding::{Channel, Peer};
use super::handshake::handshake;
use super::timer::Timer;
use super::transport::Transport;
use super::worker::Worker;

/// How long a drain waits before it closes an idle connection: a request that is on its way when the drain begins is
/// still answered, and told that the connection closes.
const GRACE: Duration = Duration::from_millis(100);

/// Heads beyond our own limit are still read to here, or to twice that limit, so that they get an answer that says what is
/// wrong. No further: so much memory is pinned by whoever sends a head and does not end it.
const MIN_HEAD_BUFFER: usize = 64 << 10;

/// Serves a connection until it ends. Broken connections are everyday life and not worth a log line.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, worker: Rc<Worker>) {
    // Without it small answers wait for acknowledgements; where it cannot be set, the connection is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // A connection must not keep a configuration alive.
    let tls = worker.view().snapshot.tls.clone();
    match tls {
        None => serve_http1(stream, Peer::new(address, Channel::Plain), worker).await,
        // On the heap, so that plain connections need not have its size.
        Some(tls) => Box::pin(serve_tls(tls, stream, address, worker)).await,
    }
}

async fn serve_tls(
    tls: Arc<ServerConfig>,
    stream: TcpStream,
    address: SocketAddr,
    worker: Rc<Worker>,
) {
    let within = worker.view().snapshot.limits.header_timeout;
    let Some(stream) = handshake(tls, stream, within, &worker).await else {
        return;
    };
    serve_http1(*stream, Peer::new(address, Channel::Tls), worker).await;
}

async fn serve_http1(stream: impl Transport, peer: Peer, worker: Rc<Worker>) {
    let limits = worker.view().snapshot.limits;
    let activity = Activity::new();
    let peer = Rc::new(peer);
    let stream = TokioIo::new(ClientStream::new(stream, Rc::clone(&activity)));
    let proxy = Rc::new(Proxy {
        worker: Rc::clone(&worker),
        peer: Rc::clone(&peer),
        activity: Rc::clone(&activity),
        timer: Timer::default(),
    });
    let service = service_fn(move |request| {
        let proxy = Rc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.handle(request).await) }
    });
    let connection = pin!(builder(&limits).serve_connection(stream, service));
    let mut watch = Watch {
        timer: Box::pin(sleep(interval(&limits))),
        drain: worker.watch_drain(),
        activity,
        limits,
        worker,
        seen: Phase::Running,
        is_timed: false,
    };
    if let Some(error) = watch.run(connection).await
        && error.is_parse()
    {
        // Hyper has answered it, and nobody else knows.
        note_unreadable(&watch.worker, &peer, error.is_parse_too_large());
    }
}

/// Hyper's own time limit for heads is off: it would also bound the idle time between requests.
fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size((limits.header_bytes.saturating_mul(2)).max(MIN_HEAD_BUFFER));
    builder
}

/// Hyper's connection, as far as its end is concerned.
trait Served: Future<Output = hyper::Result<()>> {
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
    drain: DrainWatch,
    /// The phase of the drain that was acted on.
    seen: Phase,
    timer: Pin<Box<Sleep>>,
    /// The timer knows whom to wake.
    is_timed: bool,
}

impl Watch {
    /// Gives back what ended the connection, where it did not end well.
    async fn run<C: Served>(&mut self, mut connection: Pin<&mut C>) -> Option<hyper::Error> {
        poll_fn(|context| {
            loop {
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    return Poll::Ready(end.err());
                }
                if self.is_cut(context) {
                    return Poll::Ready(None);
                }
                if self.poll_timer(context).is_pending() {
                    return Poll::Pending;
                }
                if self.seen == Phase::Closing {
                    connection.as_mut().finish_open_request();
                }
                if self.is_over() {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    /// Follows the drain to its end.
    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        let phase = self.drain.poll(context);
        if phase == self.seen {
            return false;
        }
        self.seen = phase;
        if phase == Phase::Cut {
            self.worker.note_cut(self.activity.is_open());
            return true;
        }
        self.set_timer(Instant::now() + GRACE);
        false
    }

    /// A connection moves far more often than its timer fires. Once set, it is asked only whether it has fired: the task
    /// that it wakes stays the same.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_timed && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.is_timed = true;
        self.timer.as_mut().poll(context)
    }

    fn set_timer(&mut self, deadline: Instant) {
        self.is_timed = false;
        self.timer.as_mut().reset(deadline);
    }

    /// Whether the connection's time is up; if not, the timer is set anew.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let deadline = self.activity.deadline(&self.limits);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return true;
        }
        self.activity.doubt_client();
        let next_look = now + interval(&self.limits);
        self.set_timer(deadline.map_or(next_look, |deadline| deadline.min(next_look)));
        false
    }
}

/// No limit that begins after a look at the clock ends before the next look.
fn interval(limits: &Limits) -> Duration {
    limits.header_timeout.min(limits.idle_timeout)
}
