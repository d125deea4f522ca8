//! Connections to one upstream server, kept open between requests of one worker.
//!
//! Owns connecting, keeping and discarding. Knows nothing of which server is asked, or how often.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::body::RequestBody;

/// Which connections may stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) keep_alive: Duration,
}

/// The idle connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    key: PoolKey,
    address: Option<IpAddr>,
    /// Longest idle first.
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    /// Hangs on to nothing: the connection's own task owns the socket.
    stream: Weak<RefCell<TcpStream>>,
    traffic: Rc<Traffic>,
}

/// A connection for one request and its response.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Connection,
    pool: Rc<Pool>,
    is_reused: bool,
    /// The request's body has been sent, so that the connection is free once the response's has come.
    body_sent: Option<Rc<super::body::BodyProgress>>,
}

impl Pool {
    pub(super) fn new(key: PoolKey) -> Self {
        Self {
            address: key.host.parse().ok(),
            key,
            idle: RefCell::default(),
        }
    }

    /// The connection that was used last, if one is still good. `carefully`: the socket is asked whether the server has
    /// hung up, because the request could not be sent again.
    pub(super) async fn reuse(self: &Rc<Self>, carefully: bool) -> Option<Lease> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.since.elapsed() >= self.key.keep_alive {
                // All others have been idle for longer.
                self.idle.borrow_mut().clear();
                return None;
            }
            let mut connection = idle.connection;
            if connection.sender.is_closed() || (carefully && !connection.is_alive()) {
                continue;
            }
            if connection.sender.ready().await.is_ok() {
                return Some(self.lease(connection, true));
            }
        }
    }

    /// A new connection. The caller limits the time.
    pub(super) async fn connect(self: &Rc<Self>) -> io::Result<Lease> {
        let stream = match self.address {
            Some(address) => TcpStream::connect(SocketAddr::new(address, self.key.port)).await?,
            None => TcpStream::connect((self.key.host.as_str(), self.key.port)).await?,
        };
        stream.set_nodelay(true)?;
        let stream = Rc::new(RefCell::new(stream));
        let weak = Rc::downgrade(&stream);
        let traffic = Rc::<Traffic>::default();
        let wire = Wire {
            stream,
            traffic: Rc::clone(&traffic),
        };
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(wire))
            .await
            .map_err(io::Error::other)?;
        // Its end is told to whoever waits for a response or a body.
        spawn_local(async move { connection.await.ok() });
        let connection = Connection {
            sender,
            stream: weak,
            traffic,
        };
        Ok(self.lease(connection, false))
    }

    fn lease(self: &Rc<Self>, connection: Connection, is_reused: bool) -> Lease {
        connection.traffic.begin();
        Lease {
            connection,
            pool: Rc::clone(self),
            is_reused,
            body_sent: None,
        }
    }

    /// Drops what has been idle for too long.
    pub(super) fn sweep(&self) {
        self.idle.borrow_mut().retain(|idle| {
            idle.since.elapsed() < self.key.keep_alive && !idle.connection.sender.is_closed()
        });
    }
}

impl Connection {
    /// The server has neither hung up nor said anything unasked.
    fn is_alive(&self) -> bool {
        let Some(stream) = self.stream.upgrade() else {
            return false;
        };
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&*stream.borrow()).peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Lease {
    /// It has served requests before.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// What has gone over the wire since the lease began.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.connection.traffic
    }

    /// Sends the one request of this lease.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.body_sent = Some(request.body().progress());
        self.connection.sender.try_send_request(request)
    }

    /// Gives the connection back, unless the server ended it or still gets a request's body.
    pub(super) fn release(self) {
        let is_free = self.body_sent.is_some_and(|body| body.has_ended());
        if is_free && !self.connection.sender.is_closed() {
            let idle = Idle {
                connection: self.connection,
                since: Instant::now(),
            };
            self.pool.idle.borrow_mut().push(idle);
        }
    }
}

/// Says how far the present request of a connection came.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    written: Cell<bool>,
    read: Cell<bool>,
}

impl Traffic {
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

    fn note_written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = polled {
            self.written.set(true);
        }
        polled
    }
}

/// What hyper reads and writes.
#[derive(Debug)]
struct Wire {
    stream: Rc<RefCell<TcpStream>>,
    traffic: Rc<Traffic>,
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.traffic.read.set(true);
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
        let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes);
        self.traffic.note_written(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(context, slices);
        self.traffic.note_written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
