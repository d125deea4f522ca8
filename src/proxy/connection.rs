//! One client connection from its first byte to its last.
//!
//! Owns hyper's server side, the connection's time limits and its part in a drain. Knows nothing of what a request is about.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;
use crate::tls::HTTP_2;

use super::Proxy;
use super::activity::{Activity, ClientStream};
use super::drain::{DrainWatch, GRACE, Phase};
use super::exchange::note_unreadable;
use super::forwarding::{Channel, Peer};
use super::handshake::handshake;
use super::http2::{self, OnWorker};
use super::prior_knowledge::look_at;
use super::timer::Timer;
use super::transport::Transport;
use super::worker::Worker;

/// How long a client of HTTP/2 has to see that no more requests are taken, before an idle connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Heads beyond our own limit are still read to here, or to twice that limit, so that they get an answer that says what is
/// wrong. No further: so much memory is pinned by whoever sends a head and does not end it.
const MIN_HEAD_BUFFER: usize = 64 << 10;

/// Serves a connection until it ends. Broken connections are everyday life and not worth a log line.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, worker: Rc<Worker>) {
    // Without it small answers wait for acknowledgements; where it cannot be set, the connection is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let view = worker.view();
    // A connection must not keep a configuration alive.
    let (tls, unasked) = (view.snapshot.tls.clone(), view.snapshot.takes_http2_unasked);
    drop(view);
    match tls {
        // On the heap, so that plain connections need not have its size.
        Some(tls) => Box::pin(serve_tls(tls, stream, address, worker)).await,
        None if unasked => Box::pin(serve_either(stream, address, worker)).await,
        None => serve_http1(stream, Peer::new(address, Channel::Plain), worker).await,
    }
}

/// The client chose between the protocols in its handshake.
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
    let peer = Peer::new(address, Channel::Tls);
    if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
        serve_http2(*stream, peer, worker).await;
    } else {
        serve_http1(*stream, peer, worker).await;
    }
}

/// The client's first bytes tell which protocol it speaks.
async fn serve_either(stream: TcpStream, address: SocketAddr, worker: Rc<Worker>) {
    let limits = worker.view().snapshot.limits;
    let mut drain = worker.watch_drain();
    let Some(stream) = look_at(stream, &limits, &mut drain).await else {
        return;
    };
    drop(drain);
    let peer = Peer::new(address, Channel::Plain);
    if stream.is_http2() {
        serve_http2(stream, peer, worker).await;
    } else {
        serve_http1(stream, peer, worker).await;
    }
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
    // Boxed, because this task would hold it twice: where it is made, and where it stays.
    let mut connection = Box::pin(builder(&limits).serve_connection(stream, service));
    let end = Watch::new(activity, limits, Rc::clone(&worker))
        .run(connection.as_mut())
        .await;
    if let Some(error) = end.filter(hyper::Error::is_parse) {
        // Hyper has answered it, and nobody else knows.
        note_unreadable(&worker, &peer, error.is_parse_too_large());
    }
}

/// Every stream has a proxy of its own, because several requests are open at a time.
async fn serve_http2(stream: impl Transport, peer: Peer, worker: Rc<Worker>) {
    let limits = worker.view().snapshot.limits;
    let activity = Activity::of_streams();
    let stream = TokioIo::new(ClientStream::new(stream, Rc::clone(&activity)));
    let (peer, streams, of_streams) = (Rc::new(peer), Rc::clone(&activity), Rc::clone(&worker));
    let service = service_fn(move |request| {
        let proxy = Proxy {
            worker: Rc::clone(&of_streams),
            peer: Rc::clone(&peer),
            activity: Activity::of_stream(&streams),
            timer: Timer::default(),
        };
        async move { Ok::<_, Infallible>(proxy.handle(request).await) }
    });
    let mut connection = Box::pin(http2::builder(&limits).serve_connection(stream, service));
    Watch::new(activity, limits, worker)
        .run(connection.as_mut())
        .await;
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
    /// It can tell its client that no more requests are taken, and then go on with those that are open.
    const SAYS_FAREWELL: bool;

    fn finish_open_requests(self: Pin<&mut Self>);
}

impl<I, B, S> Served for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    const SAYS_FAREWELL: bool = false;

    fn finish_open_requests(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Served for hyper::server::conn::http2::Connection<I, S, OnWorker>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    const SAYS_FAREWELL: bool = true;

    fn finish_open_requests(self: Pin<&mut Self>) {
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
    has_said_farewell: bool,
}

impl Watch {
    fn new(activity: Rc<Activity>, limits: Limits, worker: Rc<Worker>) -> Self {
        Self {
            timer: Box::pin(sleep(interval(&limits))),
            drain: worker.watch_drain(),
            activity,
            limits,
            worker,
            seen: Phase::Running,
            is_timed: false,
            has_said_farewell: false,
        }
    }

    /// Gives back what ended the connection, where it did not end well.
    async fn run<C: Served>(&mut self, mut connection: Pin<&mut C>) -> Option<hyper::Error> {
        poll_fn(|context| {
            loop {
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    return Poll::Ready(end.err());
                }
                if self.is_cut(context) || self.activity.is_abused() {
                    return Poll::Ready(None);
                }
                if self.poll_timer(context).is_pending() {
                    return Poll::Pending;
                }
                let is_over = if C::SAYS_FAREWELL {
                    self.take_leave(connection.as_mut())
                } else {
                    if self.seen == Phase::Closing {
                        connection.as_mut().finish_open_requests();
                    }
                    self.is_over()
                };
                if is_over {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    /// Says that no more requests are taken, when that is so; later, whether the client has had time to see it. After a drain
    /// has begun, the connection ends when its client has everything.
    fn take_leave<C: Served>(&mut self, connection: Pin<&mut C>) -> bool {
        let is_over = self.is_over();
        if self.has_said_farewell {
            return is_over;
        }
        if is_over || self.seen == Phase::Closing {
            self.has_said_farewell = true;
            connection.finish_open_requests();
            self.set_timer(Instant::now() + FAREWELL);
        }
        false
    }

    /// Follows the drain to its end.
    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        let phase = self.drain.poll(context);
        if phase == self.seen {
            return false;
        }
        self.seen = phase;
        if phase == Phase::Cut {
            self.worker.note_cut(self.activity.open_requests());
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
