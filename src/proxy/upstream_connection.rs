//! One connection to an upstream server, and its use for one request after the other.
//!
//! Owns hyper's client side and who drives it: the request that uses the connection, in its own task, so that
//! no other task has to be woken between a request and its answer. Only where an answer overtakes its request's body
//! does a task of its own take over. Knows nothing of which server is asked, or how often.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::body::{BodyProgress, RequestBody};
use super::gathered_write::poll_write_slices;

type Driven = http1::Connection<TokioIo<Wire>, RequestBody>;
type Outcome = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// How often a connection that asks for it is driven again before other tasks get their turn.
const ROUNDS: usize = 4;

/// An open connection.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    socket: Rc<Socket>,
    driver: Driver,
    /// The body of the last request.
    body_sent: Option<Rc<BodyProgress>>,
}

/// Who polls hyper's half.
enum Driver {
    /// Whoever holds the connection.
    Holder(Pin<Box<Driven>>, Bell),
    /// A task of its own.
    Task,
    /// Nobody: it is over.
    Ended,
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Holder(..) => "Holder",
            Self::Task => "Task",
            Self::Ended => "Ended",
        })
    }
}

impl UpstreamConnection {
    /// Speaks HTTP/1.1 over a new connection.
    pub(super) async fn new(stream: TcpStream) -> io::Result<Self> {
        let socket = Rc::new(Socket::new(stream));
        let wire = TokioIo::new(Wire(Rc::clone(&socket)));
        let (sender, connection) = http1::Builder::new()
            .handshake(wire)
            .await
            .map_err(io::Error::other)?;
        Ok(Self {
            sender,
            socket,
            driver: Driver::Holder(Box::pin(connection), Bell::new()),
            body_sent: None,
        })
    }

    /// What has gone over the wire since the present request began.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a request; the answer comes by [`Self::poll_response`].
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Outcome> + use<> {
        self.socket.begin();
        self.body_sent = Some(request.body().progress());
        self.sender.try_send_request(request)
    }

    /// Drives the connection until `response`, which [`Self::send`] gave back, is there.
    pub(super) fn poll_response(
        &mut self,
        response: Pin<&mut impl Future<Output = Outcome>>,
        context: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let polled = match self.drive(context) {
            // Nothing but driving brings it nearer.
            Drive::ByHolder => response.poll(&mut Context::from_waker(Waker::noop())),
            Drive::ByTask => response.poll(context),
        };
        if polled.is_ready() && !self.has_sent_body() {
            self.detach();
        }
        polled
    }

    /// Drives the connection until the next part of `body`, which came by it, is there.
    pub(super) fn poll_frame(
        &mut self,
        body: Pin<&mut Incoming>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<bytes::Bytes>>>> {
        match self.drive(context) {
            Drive::ByHolder => body.poll_frame(&mut Context::from_waker(Waker::noop())),
            Drive::ByTask => body.poll_frame(context),
        }
    }

    /// The last request was sent to its end, and another one can follow.
    pub(super) fn is_free(&self) -> bool {
        self.has_sent_body() && !self.is_closed()
    }

    /// The server is not known to have hung up or to have said anything unasked.
    pub(super) fn is_quiet(&self) -> bool {
        let is_idle = match self.driver {
            Driver::Holder(..) => self.sender.is_ready() && !self.socket.has_news(),
            Driver::Task => self.sender.is_ready(),
            Driver::Ended => false,
        };
        is_idle && !self.is_closed()
    }

    /// The same, and the operating system is asked.
    pub(super) fn is_alive(&self) -> bool {
        self.is_quiet() && self.socket.is_silent()
    }

    fn is_closed(&self) -> bool {
        self.sender.is_closed() || matches!(self.driver, Driver::Ended)
    }

    fn has_sent_body(&self) -> bool {
        self.body_sent.as_ref().is_none_or(|body| body.has_ended())
    }

    fn drive(&mut self, context: &mut Context<'_>) -> Drive {
        let Driver::Holder(connection, bell) = &mut self.driver else {
            return match self.driver {
                Driver::Task => Drive::ByTask,
                _ => Drive::ByHolder,
            };
        };
        self.socket.wake_by(context.waker());
        if let Some(body) = &self.body_sent {
            body.wake_by(context.waker());
        }
        for _ in 0..ROUNDS {
            bell.silence();
            if connection.as_mut().poll(&mut bell.context()).is_ready() {
                self.driver = Driver::Ended;
                return Drive::ByHolder;
            }
            if !bell.has_rung() {
                return Drive::ByHolder;
            }
        }
        context.waker().wake_by_ref();
        Drive::ByHolder
    }

    /// From here on request and answer go on side by side, whichever of them is waited for.
    fn detach(&mut self) {
        let Driver::Holder(mut connection, _) = std::mem::replace(&mut self.driver, Driver::Task)
        else {
            return;
        };
        let socket = Rc::clone(&self.socket);
        let body = self.body_sent.clone();
        spawn_local(std::future::poll_fn(move |context| {
            socket.wake_by(context.waker());
            if let Some(body) = &body {
                body.wake_by(context.waker());
            }
            // Its end is told to whoever waits for the body.
            connection.as_mut().poll(context).map(drop)
        }));
    }
}

/// Who brings the connection forward.
enum Drive {
    ByHolder,
    ByTask,
}

/// What hyper's own parts wake: it tells that the connection wants to be polled again. Sockets and bodies wake the
/// task that holds the connection.
struct Bell {
    rung: Arc<Rung>,
    waker: Waker,
}

struct Rung(AtomicBool);

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bell {
    fn new() -> Self {
        let rung = Arc::new(Rung(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&rung));
        Self { rung, waker }
    }

    fn silence(&self) {
        self.rung.0.store(false, Ordering::Relaxed);
    }

    fn has_rung(&self) -> bool {
        self.rung.0.load(Ordering::Relaxed)
    }

    fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

/// Whom to wake when what a request waits for moves on.
#[derive(Debug, Default)]
pub(super) struct Sleeper(RefCell<Option<Waker>>);

impl Sleeper {
    /// From now on it is that task.
    pub(super) fn set(&self, waker: &Waker) {
        let mut held = self.0.borrow_mut();
        if held.as_ref().is_none_or(|held| !held.will_wake(waker)) {
            *held = Some(waker.clone());
        }
    }

    /// Polls on behalf of that task, or of the caller's as long as there is none.
    pub(super) fn polling<T>(
        &self,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        match &*self.0.borrow() {
            Some(waker) => poll(&mut Context::from_waker(waker)),
            None => poll(context),
        }
    }
}

/// The socket, and how far the present request came.
#[derive(Debug)]
pub(super) struct Socket {
    stream: RefCell<TcpStream>,
    sleeper: Sleeper,
    written: Cell<bool>,
    read: Cell<bool>,
}

impl Socket {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: RefCell::new(stream),
            sleeper: Sleeper::default(),
            written: Cell::new(false),
            read: Cell::new(false),
        }
    }

    /// A byte of the request may have reached the server.
    pub(super) fn has_written(&self) -> bool {
        self.written.get()
    }

    /// A byte of the response has come.
    pub(super) fn has_read(&self) -> bool {
        self.read.get()
    }

    fn begin(&self) {
        self.written.set(false);
        self.read.set(false);
    }

    fn wake_by(&self, waker: &Waker) {
        self.sleeper.set(waker);
    }

    /// The runtime has heard of something to read, an end included.
    fn has_news(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.stream
            .borrow()
            .poll_read_ready(&mut context)
            .is_ready()
    }

    /// The server has neither hung up nor said anything.
    fn is_silent(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&*self.stream.borrow()).peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn write(
        &self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let stream = &mut *self.stream.borrow_mut();
        let polled = self
            .sleeper
            .polling(context, |context| write(Pin::new(stream), context));
        if let Poll::Ready(Ok(1..)) = polled {
            self.written.set(true);
        }
        polled
    }
}

/// What hyper reads and writes.
#[derive(Debug)]
struct Wire(Rc<Socket>);

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let stream = &mut *self.0.stream.borrow_mut();
        let polled = self.0.sleeper.polling(context, |context| {
            Pin::new(stream).poll_read(context, buffer)
        });
        if buffer.filled().len() > before {
            self.0.read.set(true);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.write(context, |stream, context| {
            poll_write_slices(stream, context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(context)
    }
}
