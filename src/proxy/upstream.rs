//! Sending an admitted request to one of an upstream's servers.
//!
//! Owns the choice of a server, retries and time limits. Knows nothing of who the caller is or why he was let in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Body;
use tokio::time::{Instant, timeout};

use crate::config::{self, UpstreamHost};
use crate::rejection::Rejection;
use crate::telemetry::UpstreamErrorKind;

use super::body::{BodyProgress, RequestBody, UpstreamBody};
use super::complaint::Complaint;
use super::pool::{ConnectError, Lease, Pool};
use super::snapshot::authority_header;
use super::timer::Timer;
use super::upstream_connection::{ExchangeError, push_field};

/// So many maps of headers wait for their next use, at most.
const RECYCLED: usize = 64;
/// Larger maps are rare, and not kept.
const RECYCLED_FIELDS: usize = 64;

/// How much is said of why TLS failed: it may quote a certificate.
const LONGEST_REASON: usize = 400;

/// Maps of headers whose memory waits for the next response.
#[derive(Debug, Default)]
pub(super) struct RecycledMaps(RefCell<Vec<HeaderMap>>);

impl RecycledMaps {
    pub(super) fn give(&self, mut headers: HeaderMap) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() < RECYCLED && headers.capacity() <= RECYCLED_FIELDS {
            headers.clear();
            waiting.push(headers);
        }
    }

    pub(super) fn take(&self) -> HeaderMap {
        self.0.borrow_mut().pop().unwrap_or_default()
    }
}

/// One upstream, as one worker sees it.
#[derive(Debug)]
pub(super) struct Upstream {
    servers: Vec<Server>,
    next: Cell<usize>,
    connect_timeout: Duration,
    response_timeout: Duration,
    retries: u32,
}

#[derive(Debug)]
struct Server {
    pool: Rc<Pool>,
    /// As configured.
    authority: String,
    complaint: Complaint,
    /// `None`: the server sees the client's Host.
    host: Option<HeaderValue>,
}

/// How one attempt failed.
struct Failure {
    reason: Rejection,
    /// `None`: the client's fault, or ours.
    kind: Option<UpstreamErrorKind>,
    /// No byte of the request was written.
    is_unwritten: bool,
    /// No byte of the response came, and the time was not up.
    is_unanswered: bool,
    /// A pooled connection turned out to be dead; that says nothing about the server.
    is_stale: bool,
}

impl Upstream {
    /// `pool` finds the pool of a server.
    pub(super) fn new(
        config: &config::Upstream,
        mut pool: impl FnMut(&config::UpstreamServer) -> Rc<Pool>,
    ) -> Self {
        let servers: Vec<_> = config
            .servers
            .iter()
            .map(|server| Server {
                pool: pool(server),
                authority: server.authority.clone(),
                complaint: Complaint::default(),
                host: match config.host {
                    UpstreamHost::Preserve => None,
                    UpstreamHost::Upstream => authority_header(&server.authority),
                },
            })
            .collect();
        Self {
            // Workers do not all begin with the same server.
            next: Cell::new(fastrand::usize(..=servers.len())),
            servers,
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            retries: config.retries,
        }
    }

    /// Sends a request and gives back the response, ready for the client but for its id. Every failed attempt is told to
    /// `on_error`.
    pub(super) async fn send(
        &self,
        head: &OutgoingHead<'_>,
        mut body: RequestBody,
        resources: Resources<'_>,
        mut now: Instant,
        mut on_error: impl FnMut(UpstreamErrorKind),
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let mut retries = self.retries;
        let mut wants_fresh = false;
        loop {
            let Some(server) = self.pick() else {
                return Err(Rejection::UpstreamUnreachable);
            };
            let lease = self.lease(server, head, &body, (!wants_fresh).then_some(now));
            let outcome = match lease.await {
                Ok((lease, sent)) => {
                    let call = Call {
                        lease,
                        sent,
                        headers: resources.recycled.take(),
                    };
                    self.attempt(server, head, &mut body, resources.timer, call)
                        .await
                }
                Err(failure) => Err(failure),
            };
            let failure = match outcome {
                Ok((response, mut lease)) => {
                    lease.connection.finish_sending(body);
                    return Ok(response.map(|()| UpstreamBody::new(lease)));
                }
                Err(failure) => failure,
            };
            let is_free = failure.is_stale && failure.is_unwritten;
            if !is_free {
                failure.kind.map(&mut on_error);
            }
            if !failure.may_be_repeated(head, &body, self.servers.len() > 1) {
                return Err(failure.reason);
            }
            if !is_free {
                let Some(left) = retries.checked_sub(1) else {
                    return Err(failure.reason);
                };
                retries = left;
            }
            wants_fresh = true;
            now = Instant::now();
        }
    }

    /// Round robin.
    fn pick(&self) -> Option<&Server> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        self.servers.get(turn.checked_rem(self.servers.len())?)
    }

    /// A connection and the moment at which it is there: a pooled one, as they are at `pooled_at`, or a new one.
    async fn lease(
        &self,
        server: &Server,
        head: &OutgoingHead<'_>,
        body: &RequestBody,
        pooled_at: Option<Instant>,
    ) -> Result<(Lease, Instant), Failure> {
        // What cannot be sent again must not be sent to a server that has hung up.
        let is_repeatable = self.retries > 0 && is_repeatable(head, body);
        if let Some(now) = pooled_at
            && let Some(lease) = server.pool.reuse(!is_repeatable, now)
        {
            return Ok((lease, now));
        }
        // Boxed, because few requests connect, and every idle connection would keep the room for it.
        match Box::pin(timeout(self.connect_timeout, server.pool.connect())).await {
            Ok(Ok(lease)) => Ok((lease, Instant::now())),
            Ok(Err(ConnectError::Socket(error))) => Err(Failure::of_connect(&error)),
            Ok(Err(ConnectError::Tls(error))) => {
                server.complain_of_tls(&error);
                Err(Failure::of_tls())
            }
            Err(_) => Err(Failure::of_connect_timeout()),
        }
    }

    async fn attempt(
        &self,
        server: &Server,
        head: &OutgoingHead<'_>,
        body: &mut RequestBody,
        timer: &Timer,
        mut call: Call,
    ) -> Result<(Response<()>, Lease), Failure> {
        let framing = head.framing(body);
        let out = call.lease.connection.begin(framing == Framing::Chunked);
        (head.write)(server.host.as_ref(), out);
        framing.write(out);
        let response = self.exchange(&mut call, head, body, timer).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::of_protocol());
        }
        Ok((response, call.lease))
    }

    /// Sends what the connection has begun to send, and waits for the head of its response.
    async fn exchange(
        &self,
        call: &mut Call,
        head: &OutgoingHead<'_>,
        body: &mut RequestBody,
        timer: &Timer,
    ) -> Result<Response<()>, Failure> {
        let progress = body.progress();
        let mut deadline = call.sent + self.response_timeout;
        loop {
            let Call { lease, headers, .. } = &mut *call;
            let connection = &mut lease.connection;
            let answered = poll_fn(|context| {
                match connection.poll_response(head.method, body, headers, context) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending => timer.poll(deadline, context).map(|()| None),
                }
            });
            if let Some(outcome) = answered.await {
                return outcome.map_err(|error| Failure::of_exchange(error, lease, &progress));
            }
            // A body has no limit in all; its last frame, not the request's begin, is what the upstream is slow since.
            deadline = progress.response_deadline(call.sent, self.response_timeout);
            if deadline <= Instant::now() {
                return Err(Failure::of_response_timeout());
            }
        }
    }
}

impl Server {
    /// Says why TLS did not come about: a certificate that has expired, is for another name or of an unknown authority.
    fn complain_of_tls(&self, error: &io::Error) {
        if self.complaint.is_due() {
            let reason: String = error.to_string().chars().take(LONGEST_REASON).collect();
            tracing::warn!(server = %self.authority, reason, "no TLS with an upstream server");
        }
    }
}

/// What a request borrows on its way.
#[derive(Clone, Copy)]
pub(super) struct Resources<'request> {
    pub(super) recycled: &'request RecycledMaps,
    pub(super) timer: &'request Timer,
}

/// One attempt to get a response.
struct Call {
    lease: Lease,
    sent: Instant,
    /// Lends its memory to the response.
    headers: HeaderMap,
}

/// The head of a request on its way to an upstream.
pub(super) struct OutgoingHead<'request> {
    pub(super) method: &'request Method,
    /// The client gave a length.
    pub(super) has_length: bool,
    /// Writes the request line and every header line but those that frame the body; given is the Host that the server
    /// sees instead of the client's.
    pub(super) write: &'request dyn Fn(Option<&HeaderValue>, &mut Vec<u8>),
}

/// How a request's body is framed (RFC 9112 §6): a known length is told, an unknown one is chunked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

impl OutgoingHead<'_> {
    fn framing(&self, body: &RequestBody) -> Framing {
        match body.size_hint().exact() {
            Some(0) if body.is_empty() && !self.has_length => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        }
    }
}

impl Framing {
    /// Writes the last lines of a head.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Length(length) => {
                let length = HeaderValue::from(length);
                push_field(out, CONTENT_LENGTH.as_str(), length.as_bytes());
            }
            Self::Chunked => push_field(out, TRANSFER_ENCODING.as_str(), b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// It may be sent again even after it was sent (RFC 9110 §9.2.2), and can be.
fn is_repeatable(head: &OutgoingHead<'_>, body: &RequestBody) -> bool {
    head.method.is_idempotent() && body.is_empty()
}

impl Failure {
    const fn new(reason: Rejection, kind: Option<UpstreamErrorKind>) -> Self {
        Self {
            reason,
            kind,
            is_unwritten: false,
            is_unanswered: false,
            is_stale: false,
        }
    }

    fn of_connect(error: &io::Error) -> Self {
        if is_exhaustion(error) {
            return Self::new(Rejection::Overloaded, None);
        }
        Self {
            is_unwritten: true,
            ..Self::new(
                Rejection::UpstreamUnreachable,
                Some(UpstreamErrorKind::Connect),
            )
        }
    }

    /// The server was reached, and nothing was sent to it: it may be another one.
    const fn of_tls() -> Self {
        Self {
            is_unwritten: true,
            ..Self::new(Rejection::UpstreamUnreachable, Some(UpstreamErrorKind::Tls))
        }
    }

    const fn of_connect_timeout() -> Self {
        Self {
            is_unwritten: true,
            ..Self::new(
                Rejection::UpstreamTimeout,
                Some(UpstreamErrorKind::ConnectTimeout),
            )
        }
    }

    const fn of_response_timeout() -> Self {
        Self::new(
            Rejection::UpstreamTimeout,
            Some(UpstreamErrorKind::ResponseTimeout),
        )
    }

    const fn of_protocol() -> Self {
        Self::new(
            Rejection::UpstreamUnreachable,
            Some(UpstreamErrorKind::Protocol),
        )
    }

    fn of_exchange(error: ExchangeError, lease: &Lease, body: &BodyProgress) -> Self {
        match error {
            ExchangeError::Body => {
                Self::new(body.fault().unwrap_or(Rejection::RequestMalformed), None)
            }
            ExchangeError::Unreadable => Self::of_protocol(),
            ExchangeError::Tls => {
                Self::new(Rejection::UpstreamUnreachable, Some(UpstreamErrorKind::Tls))
            }
            ExchangeError::Broken => Self {
                is_unwritten: lease.connection.is_unwritten(),
                is_unanswered: !lease.connection.has_read(),
                is_stale: lease.is_reused(),
                ..Self::new(
                    Rejection::UpstreamUnreachable,
                    Some(UpstreamErrorKind::Reset),
                )
            },
        }
    }

    /// Whether the request may be sent again: where nothing of it was written, whatever it is; else where it is idempotent
    /// and has no body, and nothing of a response came. A server that does not answer is not asked again alone.
    fn may_be_repeated(
        &self,
        head: &OutgoingHead<'_>,
        body: &RequestBody,
        has_others: bool,
    ) -> bool {
        if self.kind == Some(UpstreamErrorKind::ConnectTimeout) && !has_others {
            return false;
        }
        (self.is_unwritten && body.is_untouched())
            || (self.is_unanswered && is_repeatable(head, body))
    }
}

/// Linux's numbers of the errors that say that this side has run out of something: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS.
const EXHAUSTION: [i32; 5] = [12, 23, 24, 99, 105];

/// This process or machine has run out of something; that says nothing about the other side.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| EXHAUSTION.contains(&code))
}
