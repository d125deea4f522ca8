//! Bodies on their way through: streamed both ways, never collected.
//!
//! Owns the limits of a client's body (size, standing still, trailers), what became of it, and the moment at which a
//! response is over. Knows nothing of decisions.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;
use crate::rejection::Rejection;

use super::activity::OpenRequest;
use super::exchange::Exchange;
use super::headers::{ReservedNames, strip_trailers};
use super::pool::Lease;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The client's body is broken, too long or stands still.
    #[error("the request body was refused")]
    Refused,
    /// The upstream broke off.
    #[error("the upstream broke off")]
    Upstream(#[source] io::Error),
}

/// What became of a client's body, shared between the one that reads it and the one that waits for an answer.
#[derive(Debug, Default)]
pub(super) struct BodyProgress {
    fault: Cell<Option<Rejection>>,
    ended: Cell<bool>,
    waits_for_client: Cell<bool>,
    last_frame: Cell<Option<Instant>>,
}

impl BodyProgress {
    /// What the client did wrong, if it is the client's fault that forwarding failed.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.fault.get()
    }

    /// The body was read to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Until when an upstream may still take for its response head, which it owes only once it could have the body.
    pub(super) fn response_deadline(&self, sent: Instant, timeout: Duration) -> Instant {
        if self.waits_for_client.get() && !self.ended.get() {
            return Instant::now() + timeout;
        }
        self.last_frame.get().unwrap_or(sent).max(sent) + timeout
    }
}

/// A client's body on its way to an upstream.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// `None`: there is no body.
    incoming: Option<Incoming>,
    /// How many bytes may still come.
    allowance: u64,
    stall_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    reserved: Option<Arc<ReservedNames>>,
    progress: Rc<BodyProgress>,
    open: Option<OpenRequest>,
}

impl RequestBody {
    /// No body.
    pub(super) fn empty() -> Self {
        thread_local! {
            /// Shared by all requests without a body: it never changes.
            static ENDED: Rc<BodyProgress> = {
                let progress = BodyProgress::default();
                progress.ended.set(true);
                Rc::new(progress)
            };
        }
        Self {
            incoming: None,
            allowance: 0,
            stall_timeout: Duration::ZERO,
            stall: None,
            reserved: None,
            progress: ENDED.with(Rc::clone),
            open: None,
        }
    }

    /// The body of a request, within `limits`; `open` keeps the connection's timers off.
    pub(super) fn new(
        incoming: Incoming,
        limits: &Limits,
        reserved: &Arc<ReservedNames>,
        open: impl FnOnce() -> OpenRequest,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self {
            incoming: Some(incoming),
            allowance: limits.body_bytes.unwrap_or(u64::MAX),
            stall_timeout: limits.body_timeout,
            stall: None,
            reserved: Some(Arc::clone(reserved)),
            progress: Rc::default(),
            open: Some(open()),
        }
    }

    /// How long it may stand still.
    pub(super) fn stall_timeout(&self) -> Duration {
        self.stall_timeout
    }

    /// What becomes of the body.
    pub(super) fn progress(&self) -> Rc<BodyProgress> {
        Rc::clone(&self.progress)
    }

    /// Nothing of it has been taken, so that it can be sent from its beginning.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_empty() || (self.progress.last_frame.get().is_none() && !self.progress.has_ended())
    }

    /// There is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    fn end(&self) {
        self.progress.ended.set(true);
        if let Some(open) = &self.open {
            open.body_was_read();
        }
    }

    fn refuse(&mut self, reason: Rejection) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.fault.set(Some(reason));
        // Nothing more is read: what is left of the body is of no use to anyone.
        self.incoming = None;
        Poll::Ready(Some(Err(BodyError::Refused)))
    }

    fn on_frame(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.stall = None;
        self.progress.last_frame.set(Some(Instant::now()));
        if let Some(data) = frame.data_ref() {
            match self.allowance.checked_sub(data.len() as u64) {
                Some(rest) => self.allowance = rest,
                None => return self.refuse(Rejection::BodyTooLarge),
            }
        }
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                if let Some(reserved) = &self.reserved {
                    strip_trailers(&mut trailers, reserved);
                }
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        };
        if self.incoming.as_ref().is_none_or(Body::is_end_stream) {
            self.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn on_pending(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let timeout = self.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if stall.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.refuse(Rejection::RequestMalformed)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(context);
        self.progress.waits_for_client.set(polled.is_pending());
        match polled {
            Poll::Pending => self.on_pending(context),
            Poll::Ready(Some(Ok(frame))) => self.on_frame(frame),
            // Broken chunking, or a client that hung up: never the upstream's fault.
            Poll::Ready(Some(Err(_))) => self.refuse(Rejection::RequestMalformed),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.progress.fault.get().is_none()
            && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// An upstream's body on its way to the client. Where it ends well, the connection it came on goes back to the pool.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    /// `None`: it has come to its end.
    lease: Option<Lease>,
}

impl UpstreamBody {
    /// The body of the response whose head came on `lease`.
    pub(super) fn new(lease: Lease) -> Self {
        let mut body = Self { lease: Some(lease) };
        body.release_at_end();
        body
    }

    fn release_at_end(&mut self) {
        if let Some(lease) = self.lease.take_if(|lease| lease.connection.is_body_over()) {
            lease.release();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        let polled = lease.connection.poll_body(context);
        match &polled {
            Poll::Ready(Some(Ok(_)) | None) => self.release_at_end(),
            // A connection that broke is of no use any more.
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Pending => {}
        }
        polled.map_err(BodyError::Upstream)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = match &self.lease {
            Some(lease) => lease.connection.body_length(),
            None => Some(0),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What goes to the client. The exchange is over when this is dropped.
#[derive(Debug)]
pub(super) struct ResponseBody {
    source: Source,
    exchange: Box<Exchange>,
}

#[derive(Debug)]
enum Source {
    Answer(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl ResponseBody {
    /// An answer of ours; empty for HEAD.
    pub(super) fn answer(text: Option<Bytes>, exchange: Box<Exchange>) -> Self {
        Self {
            source: Source::Answer(text),
            exchange,
        }
    }

    /// What an upstream sends.
    pub(super) fn upstream(body: UpstreamBody, exchange: Box<Exchange>) -> Self {
        Self {
            source: Source::Upstream(body),
            exchange,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.source {
            Source::Answer(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(body) => Pin::new(body).poll_frame(context),
        };
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.exchange.broke_off();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Answer(text) => text.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Answer(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
