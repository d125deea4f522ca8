//! Sending an admitted request to one of an upstream's servers.
//!
//! Owns the choice of a server, retries and time limits. Knows nothing of who the caller is or why he was let in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout};

use crate::config::{self, UpstreamHost};
use crate::rejection::Rejection;
use crate::telemetry::UpstreamErrorKind;

use super::body::{RequestBody, UpstreamBody};
use super::headers::strip_response;
use super::pool::{Lease, Pool};
use super::snapshot::authority_header;
use super::timer::Timer;

/// So many lists of header lines wait for their next use, at most.
const RECYCLED: usize = 64;

/// One upstream, as one worker sees it.
#[derive(Debug)]
pub(super) struct Upstream {
    servers: Vec<Server>,
    next: Cell<usize>,
    connect_timeout: Duration,
    response_timeout: Duration,
    retries: u32,
    recycled: RefCell<Vec<Fields>>,
}

#[derive(Debug)]
struct Server {
    pool: Rc<Pool>,
    /// `None`: the server sees the client's Host.
    host: Option<HeaderValue>,
}

/// How one attempt failed.
struct Failure {
    reason: Rejection,
    /// `None`: the client's fault, or ours.
    kind: Option<UpstreamErrorKind>,
    /// The request, where nothing of it was sent.
    unsent: Option<Request<RequestBody>>,
    /// No byte of the request was written.
    is_unwritten: bool,
    /// No byte of the response came, and the time was not up.
    may_be_repeated: bool,
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
            recycled: RefCell::default(),
        }
    }

    /// Sends a request whose headers are ready but for framing, and gives back the response, ready for the client but for its id.
    /// Every failed attempt is told to `on_error`.
    pub(super) async fn send(
        &self,
        mut head: Parts,
        body: RequestBody,
        timer: &Timer,
        mut on_error: impl FnMut(UpstreamErrorKind),
    ) -> Result<Response<UpstreamBody>, Rejection> {
        frame(&mut head, &body);
        let spare = Spare::of(&head, &body, self.retries, &self.recycled);
        let mut request = Request::from_parts(head, body);
        let mut retries = self.retries;
        let mut wants_fresh = false;
        loop {
            let Some(server) = self.pick() else {
                return Err(Rejection::UpstreamUnreachable);
            };
            let attempt = self.attempt(server, request, &spare, timer, wants_fresh);
            let failure = match attempt.await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let is_free = failure.is_stale && failure.unsent.is_some();
            if !is_free {
                failure.kind.map(&mut on_error);
            }
            let reason = failure.reason;
            let Some(again) = failure.repeatable(&spare, self.servers.len() > 1) else {
                return Err(reason);
            };
            if !is_free {
                let Some(left) = retries.checked_sub(1) else {
                    return Err(reason);
                };
                retries = left;
            }
            request = again;
            wants_fresh = true;
        }
    }

    /// Round robin.
    fn pick(&self) -> Option<&Server> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        self.servers.get(turn.checked_rem(self.servers.len())?)
    }

    async fn attempt(
        &self,
        server: &Server,
        mut request: Request<RequestBody>,
        spare: &Spare<'_>,
        timer: &Timer,
        wants_fresh: bool,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let pooled = if wants_fresh {
            None
        } else {
            let carefully = !spare.is_repeatable();
            server.pool.reuse(carefully, Instant::now())
        };
        let lease = match pooled {
            Some(lease) => lease,
            None => match timeout(self.connect_timeout, server.pool.connect()).await {
                Ok(Ok(lease)) => lease,
                Ok(Err(error)) => return Err(Failure::of_connect(&error, request)),
                Err(_) => return Err(Failure::of_connect_timeout(request)),
            },
        };
        if let Some(host) = &server.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        self.exchange(lease, request, timer).await
    }

    async fn exchange(
        &self,
        mut lease: Lease,
        request: Request<RequestBody>,
        timer: &Timer,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let progress = request.body().progress();
        let sent = Instant::now();
        let mut deadline = sent + self.response_timeout;
        let connection = &mut lease.connection;
        let mut response = std::pin::pin!(connection.send(request));
        let outcome = loop {
            let answered =
                poll_fn(
                    |context| match connection.poll_response(response.as_mut(), context) {
                        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                        Poll::Pending => timer.poll(deadline, context).map(|()| None),
                    },
                );
            if let Some(outcome) = answered.await {
                break outcome;
            }
            // A body has no limit in all; its last frame, not the request's begin, is what the upstream is slow since.
            deadline = progress.response_deadline(sent, self.response_timeout);
            if deadline <= Instant::now() {
                return Err(Failure::of_response_timeout());
            }
        };
        match outcome {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(Failure::of_protocol())
            }
            Ok(response) => Ok(received(response, lease)),
            Err(mut error) => {
                let unsent = error.take_message();
                match progress.fault() {
                    Some(reason) => Err(Failure::of_client(reason)),
                    None => Err(Failure::of_exchange(error.error(), unsent, &lease)),
                }
            }
        }
    }
}

/// The lines of a head.
type Fields = Vec<(HeaderName, HeaderValue)>;

/// What of a request is kept so that it can be sent again: its head, where there is no body.
struct Spare<'upstream> {
    head: Option<(Method, http::Uri, Fields)>,
    is_idempotent: bool,
    /// Where the memory of the lines comes from and goes back to.
    recycled: &'upstream RefCell<Vec<Fields>>,
}

impl<'upstream> Spare<'upstream> {
    fn of(
        head: &Parts,
        body: &RequestBody,
        retries: u32,
        recycled: &'upstream RefCell<Vec<Fields>>,
    ) -> Self {
        let is_kept = retries > 0 && body.is_empty();
        let copy = || {
            let mut fields = recycled.borrow_mut().pop().unwrap_or_default();
            fields.extend(
                head.headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            (head.method.clone(), head.uri.clone(), fields)
        };
        Self {
            head: is_kept.then(copy),
            // RFC 9110 §9.2.2
            is_idempotent: head.method.is_idempotent(),
            recycled,
        }
    }

    /// It may be sent again even after it was sent.
    const fn is_repeatable(&self) -> bool {
        self.head.is_some() && self.is_idempotent
    }

    fn request(&self) -> Option<Request<RequestBody>> {
        let (method, uri, fields) = self.head.as_ref()?;
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        for (name, value) in fields {
            request.headers_mut().append(name, value.clone());
        }
        Some(request)
    }
}

impl Drop for Spare<'_> {
    fn drop(&mut self) {
        let mut recycled = self.recycled.borrow_mut();
        if let Some((_, _, mut fields)) = self.head.take()
            && recycled.len() < RECYCLED
        {
            fields.clear();
            recycled.push(fields);
        }
    }
}

impl Failure {
    const fn new(reason: Rejection, kind: Option<UpstreamErrorKind>) -> Self {
        Self {
            reason,
            kind,
            unsent: None,
            is_unwritten: false,
            may_be_repeated: false,
            is_stale: false,
        }
    }

    fn of_connect(error: &io::Error, request: Request<RequestBody>) -> Self {
        if is_exhaustion(error) {
            return Self::new(Rejection::Overloaded, None);
        }
        Self {
            unsent: Some(request),
            ..Self::new(
                Rejection::UpstreamUnreachable,
                Some(UpstreamErrorKind::Connect),
            )
        }
    }

    fn of_connect_timeout(request: Request<RequestBody>) -> Self {
        Self {
            unsent: Some(request),
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

    const fn of_client(reason: Rejection) -> Self {
        Self::new(reason, None)
    }

    fn of_exchange(
        error: &hyper::Error,
        unsent: Option<Request<RequestBody>>,
        lease: &Lease,
    ) -> Self {
        if error.is_parse() {
            return Self::of_protocol();
        }
        let socket = lease.connection.socket();
        Self {
            unsent,
            is_unwritten: !socket.has_written(),
            may_be_repeated: !socket.has_read(),
            is_stale: lease.is_reused(),
            ..Self::new(
                Rejection::UpstreamUnreachable,
                Some(UpstreamErrorKind::Reset),
            )
        }
    }

    /// The request, if it may be sent again: where nothing of it was written, whatever it is; else where it is idempotent
    /// and has no body, and nothing of a response came. A server that does not answer is not asked again alone.
    fn repeatable(self, spare: &Spare<'_>, has_others: bool) -> Option<Request<RequestBody>> {
        if self.kind == Some(UpstreamErrorKind::ConnectTimeout) && !has_others {
            return None;
        }
        if self.unsent.is_some() {
            return self.unsent;
        }
        let may_be_repeated = self.may_be_repeated && (self.is_unwritten || spare.is_idempotent);
        may_be_repeated.then(|| spare.request()).flatten()
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

/// Frames the request anew (RFC 9112 §6): a known length is told, an unknown one is chunked, explicitly, because hyper
/// otherwise drops the body of a GET.
fn frame(head: &mut Parts, body: &RequestBody) {
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let had_length = head.headers.remove(CONTENT_LENGTH).is_some();
    match body.size_hint().exact() {
        Some(0) if body.is_empty() && !had_length => {}
        Some(length) => {
            let length = HeaderValue::from(length);
            head.headers.insert(CONTENT_LENGTH, length);
        }
        None => {
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }
    }
}

fn received(response: Response<Incoming>, lease: Lease) -> Response<UpstreamBody> {
    let (mut head, body) = response.into_parts();
    if head.headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112 §6.3: where both came, the length is not to be believed, nor passed on.
        head.headers.remove(CONTENT_LENGTH);
    }
    strip_response(&mut head.headers);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Response::from_parts(head, UpstreamBody::new(body, lease))
}
