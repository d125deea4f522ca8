//! A request on its way to an upstream: its head, then its body, framed anew (RFC 9112 §6, §7.1).
//!
//! Owns what waits to be written. A small body leaves in one piece with its head. Knows nothing of responses.

use std::fmt::Write;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use hyper::body::Body;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep};

use super::super::body::{BodyError, RequestBody};

/// Parts of a body up to this length are copied behind what waits already.
const COPIED: usize = 16 << 10;

/// Why a request was not sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The client's body is broken, too long or stands still.
    Body,
    /// The connection failed.
    Connection,
}

/// What is still to be done once nothing waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    /// The body goes on.
    #[default]
    Body,
    /// TLS may hold what the socket did not take.
    Flush,
    Nothing,
}

/// A request that is being sent.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// What is to be written first, and how much of it has been.
    waiting: Vec<u8>,
    written: usize,
    /// What is to be written after it.
    data: Bytes,
    is_chunked: bool,
    rest: Rest,
    has_written: bool,
    /// How much has been written of this request and those before.
    total: u64,
}

impl Sending {
    /// Begins with a request whose head is in the buffer that is given back. `is_chunked`: so its body is sent.
    pub(super) fn begin(&mut self, is_chunked: bool) -> &mut Vec<u8> {
        self.waiting.clear();
        self.written = 0;
        self.data = Bytes::new();
        self.is_chunked = is_chunked;
        self.rest = Rest::Body;
        self.has_written = false;
        &mut self.waiting
    }

    /// Nothing of the request has been written.
    pub(super) fn is_unwritten(&self) -> bool {
        !self.has_written
    }

    /// The whole request has been written.
    pub(super) fn is_over(&self) -> bool {
        self.rest == Rest::Nothing && !self.is_waiting()
    }

    fn is_waiting(&self) -> bool {
        self.written < self.waiting.len() || !self.data.is_empty()
    }

    /// Sends on, until the end.
    pub(super) fn poll(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        body: &mut RequestBody,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            // Before anything is written, what of the body is there already is taken along.
            if self.rest == Rest::Body && self.data.is_empty() && self.waiting.len() < COPIED {
                match self.take_part(body, context) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::Body)),
                    Poll::Pending if !self.is_waiting() => {
                        // TLS may still hold what the socket did not take; while the body is waited for, it goes out.
                        return match stream.as_mut().poll_flush(context) {
                            Poll::Ready(Err(_)) => Poll::Ready(Err(SendError::Connection)),
                            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                        };
                    }
                    Poll::Pending => {}
                }
            }
            if !self.is_waiting() {
                if self.rest != Rest::Body {
                    let flushed = ready!(stream.as_mut().poll_flush(context));
                    self.rest = Rest::Nothing;
                    return Poll::Ready(flushed.map_err(|_| SendError::Connection));
                }
                self.waiting.clear();
                self.written = 0;
                continue;
            }
            let written = ready!(self.poll_write(stream.as_mut(), context));
            match written {
                Ok(0) | Err(_) => return Poll::Ready(Err(SendError::Connection)),
                Ok(count) => self.advance(count),
            }
        }
    }

    fn poll_write(
        &self,
        stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let first = self.waiting.get(self.written..).unwrap_or_default();
        if self.data.is_empty() {
            return stream.poll_write(context, first);
        }
        let slices = [IoSlice::new(first), IoSlice::new(&self.data)];
        stream.poll_write_vectored(context, &slices)
    }

    fn advance(&mut self, count: usize) {
        self.has_written = true;
        self.total = self.total.wrapping_add(count as u64);
        let first = count.min(self.waiting.len() - self.written);
        self.written += first;
        self.data.advance(count - first);
    }

    fn take_part(
        &mut self,
        body: &mut RequestBody,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        if body.is_end_stream() {
            self.end(None);
            return Poll::Ready(Ok(()));
        }
        let part = match ready!(Pin::new(body).poll_frame(context)) {
            None => {
                self.end(None);
                return Poll::Ready(Ok(()));
            }
            Some(part) => part?,
        };
        match part.into_data() {
            Ok(data) => self.take_data(data),
            Err(part) => self.end(part.into_trailers().ok()),
        }
        Poll::Ready(Ok(()))
    }

    fn take_data(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.is_chunked {
            self.push(format_args!("{:x}\r\n", data.len()));
        }
        if data.len() <= COPIED || self.is_chunked {
            self.waiting.extend_from_slice(&data);
        } else {
            self.data = data;
        }
        if self.is_chunked {
            self.waiting.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.rest = Rest::Flush;
        if !self.is_chunked {
            return;
        }
        self.waiting.extend_from_slice(b"0\r\n");
        for (name, value) in &trailers.unwrap_or_default() {
            push_field(&mut self.waiting, name.as_str(), value.as_bytes());
        }
        self.waiting.extend_from_slice(b"\r\n");
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        // Writing to a string cannot fail.
        if line.write_fmt(text).is_ok() {
            self.waiting.extend_from_slice(line.as_bytes());
        }
    }
}

/// Sends the rest of a request whose answer has come before, until the end, or until neither side has moved for as long
/// as a body may stand still.
pub(super) async fn send_rest(
    mut sending: Sending,
    writer: impl AsyncWrite,
    mut body: RequestBody,
) {
    let limit = body.stall_timeout();
    let (mut writer, mut stall) = (pin!(writer), pin!(sleep(limit)));
    let mut before = sending.total;
    poll_fn(|context| {
        // How it ends is no concern of the answer, which tells of itself.
        let sent = sending.poll(writer.as_mut(), &mut body, context);
        if sent.is_ready() {
            return Poll::Ready(());
        }
        if sending.total != before {
            before = sending.total;
            stall.as_mut().reset(Instant::now() + limit);
        }
        stall.as_mut().poll(context)
    })
    .await;
}

/// Appends a header line.
pub(in super::super) fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
