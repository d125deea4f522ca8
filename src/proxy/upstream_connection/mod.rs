//! One HTTP/1.1 connection to an upstream server, used for one request after the other.
//!
//! Owns the client's half of the protocol: what is written, what is read, and when the connection is fit for another
//! request. It is driven by the request that uses it, in that request's task, so that nothing has to be woken, queued
//! or copied between a request and its answer. Knows nothing of which server is asked, or how often.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;
use tokio::task::{AbortHandle, spawn_local};

use super::body::RequestBody;

mod chunked;
mod response;
mod sending;
mod stream;

use chunked::{Decoder, Part};
use response::{Framing, take_head};
pub(super) use sending::push_field;
use sending::{SendError, Sending, send_rest};
use stream::ReadingHalf;
pub(super) use stream::ServerStream;

/// How much is read at a time: a head, or a body of unknown length.
const READ: usize = 8 << 10;
/// How much of a long body is read at a time.
const READ_BODY: usize = 64 << 10;

/// An open connection.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    stream: Stream,
    sending: Sending,
    rest: Option<RestTask>,
    received: BytesMut,
    body: ResponseBody,
    /// A byte of the present response has come.
    has_read: bool,
    keeps_alive: bool,
}

#[derive(Debug)]
enum Stream {
    Whole(ServerStream),
    /// A task of its own sends the rest of a request whose answer has come before.
    Receiving(ReadingHalf),
    Gone,
}

/// The task that sends the rest of a request. Nobody waits for it, so it ends with the answer: a server that neither
/// reads nor hangs up would hold it, the client's body and with that the client's connection for good.
#[derive(Debug)]
struct RestTask(AbortHandle);

impl Drop for RestTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What of a response's body is still to come.
#[derive(Debug)]
enum ResponseBody {
    /// Nothing: the connection is between requests, or before a head.
    None,
    Length(u64),
    Chunked(Decoder),
    Close,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// The client's body is broken, too long or stands still.
    Body,
    /// The connection broke before a whole head had come.
    Broken,
    /// What came is no response.
    Unreadable,
    /// The server ended it by an alert of TLS: most often it wants another certificate of ours.
    Tls,
}

impl ExchangeError {
    fn of(error: &io::Error) -> Self {
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
        match alert {
            Some(rustls::Error::AlertReceived(_)) => Self::Tls,
            _ => Self::Broken,
        }
    }
}

impl UpstreamConnection {
    pub(super) fn new(stream: ServerStream) -> Self {
        Self {
            stream: Stream::Whole(stream),
            sending: Sending::default(),
            rest: None,
            received: BytesMut::new(),
            body: ResponseBody::None,
            has_read: false,
            keeps_alive: true,
        }
    }

    /// Begins a request: its head is to be written to what is given back. `is_chunked`: so its body is sent.
    pub(super) fn begin(&mut self, is_chunked: bool) -> &mut Vec<u8> {
        self.has_read = false;
        self.sending.begin(is_chunked)
    }

    /// No byte of the request has reached the operating system.
    pub(super) fn is_unwritten(&self) -> bool {
        self.sending.is_unwritten()
    }

    /// A byte of the response has come.
    pub(super) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Sends the request and receives the head of its response. `headers` lends its memory.
    pub(super) fn poll_response(
        &mut self,
        method: &Method,
        body: &mut RequestBody,
        headers: &mut HeaderMap,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, ExchangeError>> {
        // A server may answer without having read everything: what it says counts more than that it hung up.
        let sent = self.poll_send(body, context);
        if sent == Poll::Ready(Err(SendError::Body)) {
            return Poll::Ready(Err(ExchangeError::Body));
        }
        let received = self.poll_head(method, headers, context);
        if received.is_pending() && sent == Poll::Ready(Err(SendError::Connection)) {
            return Poll::Ready(Err(ExchangeError::Broken));
        }
        received
    }

    fn poll_send(
        &mut self,
        body: &mut RequestBody,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        match &mut self.stream {
            Stream::Whole(_) if self.sending.is_over() => Poll::Ready(Ok(())),
            Stream::Whole(stream) => self.sending.poll(Pin::new(stream), body, context),
            Stream::Receiving(_) | Stream::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_head(
        &mut self,
        method: &Method,
        headers: &mut HeaderMap,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, ExchangeError>> {
        loop {
            if !self.received.is_empty() {
                let head = take_head(&mut self.received, method, headers);
                if let Some(head) = head.map_err(|_| ExchangeError::Unreadable)? {
                    self.keeps_alive &= head.keeps_alive;
                    self.body = match head.framing {
                        _ if head.status == StatusCode::SWITCHING_PROTOCOLS => ResponseBody::Close,
                        Framing::Length(length) => ResponseBody::Length(length),
                        // As long as nothing was sent to the client, it can still be told.
                        Framing::Chunked if !Decoder::may_begin(&self.received) => {
                            return Poll::Ready(Err(ExchangeError::Unreadable));
                        }
                        Framing::Chunked => ResponseBody::Chunked(Decoder::new()),
                        Framing::Close => ResponseBody::Close,
                    };
                    let mut response = Response::new(());
                    *response.status_mut() = head.status;
                    *response.headers_mut() = head.headers;
                    return Poll::Ready(Ok(response));
                }
            }
            match ready!(self.poll_read(READ, context)) {
                Ok(0) => return Poll::Ready(Err(ExchangeError::Broken)),
                Err(error) => return Poll::Ready(Err(ExchangeError::of(&error))),
                Ok(_) => self.has_read = true,
            }
        }
    }

    /// The rest of the request is sent by a task of its own, so that request and answer go on side by side, whichever
    /// of them is waited for. It ends with the answer.
    pub(super) fn finish_sending(&mut self, body: RequestBody) {
        if self.sending.is_over() {
            return;
        }
        self.keeps_alive = false;
        let Stream::Whole(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return;
        };
        let (reader, writer) = stream.split();
        self.stream = Stream::Receiving(reader);
        let sending = std::mem::take(&mut self.sending);
        let task = spawn_local(send_rest(sending, writer, body));
        self.rest = Some(RestTask(task.abort_handle()));
    }

    /// How many bytes of the response's body are to come, where that is known.
    pub(super) fn body_length(&self) -> Option<u64> {
        match self.body {
            ResponseBody::None => Some(0),
            ResponseBody::Length(length) => Some(length),
            ResponseBody::Chunked(_) | ResponseBody::Close => None,
        }
    }

    /// The next part of the response's body; `None` at its end.
    pub(super) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<bytes::Bytes>>>> {
        loop {
            match self.take_part() {
                Ok(Part::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Part::End(trailers)) => {
                    self.body = ResponseBody::None;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(Part::Incomplete) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(error)))),
            }
            let amount = match self.body {
                ResponseBody::Length(left) => usize::try_from(left)
                    .unwrap_or(READ_BODY)
                    .clamp(READ, READ_BODY),
                _ => READ,
            };
            match ready!(self.poll_read(amount, context)) {
                Ok(0) if matches!(self.body, ResponseBody::Close) => {
                    self.body = ResponseBody::None;
                    return Poll::Ready(None);
                }
                Ok(0) => {
                    let error = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Some(Err(self.broken(error))));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(error)))),
            }
        }
    }

    fn take_part(&mut self) -> io::Result<Part> {
        match &mut self.body {
            ResponseBody::None | ResponseBody::Length(0) => Ok(Part::End(None)),
            ResponseBody::Chunked(decoder) => decoder
                .decode(&mut self.received)
                .map_err(|_| io::ErrorKind::InvalidData.into()),
            _ if self.received.is_empty() => Ok(Part::Incomplete),
            ResponseBody::Close => Ok(Part::Data(self.received.split().freeze())),
            ResponseBody::Length(left) => {
                let length = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(self.received.len());
                *left -= length as u64;
                Ok(Part::Data(self.received.split_to(length).freeze()))
            }
        }
    }

    fn broken(&mut self, error: io::Error) -> io::Error {
        self.keeps_alive = false;
        error
    }

    /// The response has come to its end.
    pub(super) fn is_body_over(&self) -> bool {
        matches!(self.body, ResponseBody::None | ResponseBody::Length(0))
    }

    /// Request and response are over, and another request can follow.
    pub(super) fn is_free(&self) -> bool {
        self.keeps_alive
            && self.is_body_over()
            && self.sending.is_over()
            && self.received.is_empty()
    }

    /// The server is not known to have hung up or to have said anything unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        match &mut self.stream {
            Stream::Whole(stream) => stream.is_quiet(),
            Stream::Receiving(_) | Stream::Gone => false,
        }
    }

    /// The same, and the operating system is asked.
    pub(super) fn is_alive(&self) -> bool {
        match &self.stream {
            Stream::Whole(stream) => stream.is_drained(),
            Stream::Receiving(_) | Stream::Gone => false,
        }
    }

    fn poll_read(&mut self, amount: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(amount);
        // Nothing is lost when this future is dropped: it holds nothing.
        match &mut self.stream {
            Stream::Whole(stream) => pin!(stream.read_buf(&mut self.received)).poll(context),
            Stream::Receiving(stream) => pin!(stream.read_buf(&mut self.received)).poll(context),
            Stream::Gone => Poll::Ready(Ok(0)),
        }
    }
}
