//! What a client's connection is doing: the clock of its time limits, and its socket.
//!
//! Owns the distinction between waiting, sending a head and an open request (only the first two are limited in time), and the
//! lingering close. Knows bytes, not HTTP.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;

use super::transport::Transport;

/// How long a lingering close takes at most.
const LINGER: Duration = Duration::from_secs(10);
/// How long a lingering close waits for the next byte.
const LINGER_IDLE: Duration = Duration::from_secs(2);

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    /// Halves of the one request whose body or response is not over; of a connection with streams, its open streams.
    open: Cell<u32>,
    phase: Cell<Phase>,
    has_unread_body: Cell<bool>,
    /// It is time to see whether the client is still there.
    doubts_client: Cell<bool>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A connection with one request at a time.
    Single,
    /// A connection with many, each in a stream.
    Streams {
        /// How many requests the client has taken back more than it let finish.
        abandoned: Cell<u32>,
    },
    /// One stream of that connection.
    Stream(Rc<Activity>),
}

/// So many more requests may a client take back than it lets finish. What it takes back has cost an upstream a connection.
const MOST_ABANDONED: u32 = 100;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing of a next request has come, since then.
    Waiting(Instant),
    /// A head began to come then.
    Head(Instant),
    /// We said all that we have to say.
    Lingering,
}

impl Activity {
    /// Of a connection with one request at a time.
    pub(super) fn new() -> Rc<Self> {
        Self::of_kind(Kind::Single)
    }

    /// Of a connection whose requests are streams.
    pub(super) fn of_streams() -> Rc<Self> {
        Self::of_kind(Kind::Streams {
            abandoned: Cell::new(0),
        })
    }

    /// Of one stream of `connection`.
    pub(super) fn of_stream(connection: &Rc<Self>) -> Rc<Self> {
        Self::of_kind(Kind::Stream(Rc::clone(connection)))
    }

    fn of_kind(kind: Kind) -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            phase: Cell::new(Phase::Waiting(Instant::now())),
            has_unread_body: Cell::new(false),
            doubts_client: Cell::new(false),
            kind,
        })
    }

    /// A request's head has come; it is open until the guard is dropped.
    pub(super) fn begin_request(self: &Rc<Self>, has_body: bool) -> OpenRequest {
        self.has_unread_body.set(has_body);
        self.open()
    }

    /// The other half of the open request.
    pub(super) fn open(self: &Rc<Self>) -> OpenRequest {
        let before = self.open.replace(self.open.get() + 1);
        if let Kind::Stream(connection) = &self.kind
            && before == 0
        {
            connection.open.set(connection.open.get() + 1);
        }
        OpenRequest {
            activity: Rc::clone(self),
            end: None,
        }
    }

    /// A request is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.get() > 0
    }

    /// How many requests are open.
    pub(super) fn open_requests(&self) -> usize {
        match self.kind {
            Kind::Streams { .. } => self.open.get() as usize,
            Kind::Single | Kind::Stream(_) => usize::from(self.is_open()),
        }
    }

    /// The client takes back what it asks for, again and again.
    pub(super) fn is_abused(&self) -> bool {
        match &self.kind {
            Kind::Streams { abandoned } => abandoned.get() > MOST_ABANDONED,
            Kind::Single | Kind::Stream(_) => false,
        }
    }

    /// The client is not known to have sent all of its body.
    pub(super) fn has_unread_body(&self) -> bool {
        self.has_unread_body.get()
    }

    /// Where nobody reads any more what the client sends, it could leave unnoticed until there is something to tell it:
    /// the next flush sees whether it has.
    pub(super) fn doubt_client(&self) {
        let is_read = self.open.get() != 1 || !self.has_unread_body();
        self.doubts_client.set(!is_read);
    }

    /// When the connection's time is up; `None` while a request is open.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        if self.is_open() {
            return None;
        }
        match self.phase.get() {
            Phase::Waiting(since) => Some(since + limits.idle_timeout),
            Phase::Head(since) => Some(since + limits.header_timeout),
            Phase::Lingering => None,
        }
    }

    /// Heads of streams have no time of their own: they come in frames that say nothing until they are whole, and a connection
    /// without an open request has `idle_timeout`.
    fn note_read(&self) {
        if matches!(self.kind, Kind::Single)
            && !self.is_open()
            && matches!(self.phase.get(), Phase::Waiting(_))
        {
            self.phase.set(Phase::Head(Instant::now()));
        }
    }

    /// A close would cut the client short in the middle of a head or body, and might take our answer with it (RFC 9112 §9.6).
    fn is_client_sending(&self) -> bool {
        self.has_unread_body() || matches!(self.phase.get(), Phase::Head(_))
    }
}

/// Half of an open request: its response, or its body.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Rc<Activity>,
    /// The end, where it is known already.
    end: Option<Instant>,
}

impl OpenRequest {
    /// The client is not known to have sent all of its body.
    pub(super) fn has_unread_body(&self) -> bool {
        self.activity.has_unread_body()
    }

    /// Other requests go on beside it on the same connection, which therefore must not be closed after it.
    pub(super) fn has_company(&self) -> bool {
        matches!(self.activity.kind, Kind::Stream(_))
    }

    /// It is over without an answer (`is_abandoned`), or with one.
    pub(super) fn note_end(&self, is_abandoned: bool) {
        if let Kind::Stream(connection) = &self.activity.kind
            && let Kind::Streams { abandoned } = &connection.kind
        {
            let before = abandoned.get();
            abandoned.set(if is_abandoned {
                before.saturating_add(1)
            } else {
                before.saturating_sub(1)
            });
        }
    }

    /// It is about to be over; to spare a look at the clock.
    pub(super) fn ends_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// The client has sent the whole body.
    pub(super) fn body_was_read(&self) {
        self.activity.has_unread_body.set(false);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let left = self.activity.open.get().saturating_sub(1);
        self.activity.open.set(left);
        if left > 0 {
            return;
        }
        let end = self.end.unwrap_or_else(Instant::now);
        self.activity.phase.set(Phase::Waiting(end));
        if let Kind::Stream(connection) = &self.activity.kind {
            let left = connection.open.get().saturating_sub(1);
            connection.open.set(left);
            if left == 0 {
                connection.phase.set(Phase::Waiting(end));
            }
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream<T> {
    stream: T,
    activity: Rc<Activity>,
    linger: Option<Linger>,
}

impl<T> ClientStream<T> {
    pub(super) fn new(stream: T, activity: Rc<Activity>) -> Self {
        Self {
            stream,
            activity,
            linger: None,
        }
    }
}

impl<T: Transport> AsyncRead for ClientStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.note_read();
        }
        polled
    }
}

impl<T: Transport> AsyncWrite for ClientStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_slices(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.doubts_client.replace(false) && has_hung_up(self.stream.socket()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Half-closes, and where the client is still sending goes on reading: to close with unread bytes would reset the connection,
    /// and our answer would be lost with it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.activity.is_client_sending() {
                return Poll::Ready(Ok(()));
            }
            this.activity.phase.set(Phase::Lingering);
        }
        let linger = this.linger.get_or_insert_with(Linger::new);
        // What still comes is not looked at: it need not be deciphered either.
        linger.poll(this.stream.socket(), context).map(Ok)
    }
}

/// Whether the other side has said its last, even if not all of that was read.
fn has_hung_up(stream: &TcpStream) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let ready = pin!(stream.ready(Interest::READABLE)).poll(&mut context);
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// The second half of a lingering close.
#[derive(Debug)]
struct Linger {
    whole: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

impl Linger {
    fn new() -> Self {
        Self {
            whole: Box::pin(sleep(LINGER)),
            idle: Box::pin(sleep(LINGER_IDLE)),
        }
    }

    /// Reads and discards until the client is done or the time is up.
    fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
        if self.whole.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut bytes = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.idle.as_mut().reset(Instant::now() + LINGER_IDLE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.idle.as_mut().poll(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::testing;

    /// Whether the limit that began between `begun` and now is `limit`.
    fn is_limited_to(activity: &Activity, limit: Duration, begun: Instant) -> bool {
        let deadline = activity.deadline(&testing::limits());
        deadline.is_some_and(|it| (begun + limit..=Instant::now() + limit).contains(&it))
    }

    #[test]
    fn only_waiting_and_heads_are_limited() {
        let limits = testing::limits();
        let begun = Instant::now();
        let activity = Activity::new();
        assert!(is_limited_to(&activity, limits.idle_timeout, begun));
        activity.note_read();
        assert!(is_limited_to(&activity, limits.header_timeout, begun));
        let response = activity.begin_request(true);
        let body = activity.open();
        assert_eq!(activity.deadline(&limits), None);
        drop(response);
        activity.note_read();
        assert_eq!(activity.deadline(&limits), None, "the body is still coming");
        assert!(activity.is_client_sending());
        body.body_was_read();
        let begun = Instant::now();
        drop(body);
        assert!(is_limited_to(&activity, limits.idle_timeout, begun));
        assert!(!activity.is_client_sending());
    }

    #[test]
    fn streams_keep_the_time_limits_of_their_connection_off() {
        let limits = testing::limits();
        let begun = Instant::now();
        let connection = Activity::of_streams();
        connection.note_read();
        assert!(
            is_limited_to(&connection, limits.idle_timeout, begun),
            "bytes alone are no head"
        );
        let streams = [(); 2].map(|()| Activity::of_stream(&connection));
        let [first, second] = streams.each_ref().map(|stream| stream.begin_request(true));
        let body = streams[0].open();
        assert_eq!(
            (connection.open_requests(), connection.deadline(&limits)),
            (2, None)
        );
        assert!(first.has_unread_body() && !connection.has_unread_body());
        drop(first);
        assert_eq!(connection.open_requests(), 2, "its body is still coming");
        drop((body, second));
        assert_eq!(connection.open_requests(), 0);
        assert!(is_limited_to(&connection, limits.idle_timeout, begun));
    }

    #[test]
    fn a_client_may_take_back_some_requests_but_not_a_hundred_more_than_it_lets_finish() {
        let connection = Activity::of_streams();
        let end = |is_abandoned| {
            let stream = Activity::of_stream(&connection);
            stream.begin_request(false).note_end(is_abandoned);
        };
        for _ in 0..1000 {
            end(true);
            end(false);
        }
        for _ in 0..MOST_ABANDONED {
            end(true);
        }
        assert!(!connection.is_abused());
        end(true);
        assert!(connection.is_abused());
    }

    #[test]
    fn slow_heads_gain_nothing_by_further_bytes() {
        let activity = Activity::new();
        activity.note_read();
        let deadline = activity.deadline(&testing::limits());
        activity.note_read();
        assert_eq!(activity.deadline(&testing::limits()), deadline);
    }
}
