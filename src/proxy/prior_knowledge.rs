//! Which HTTP a client speaks on a plain connection, by its first bytes (RFC 9113 §3.3).
//!
//! Owns the look at them, and the connection that still gives them to whoever serves it. Only used where HTTP/2 may come so.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{sleep, timeout};

use crate::config::Limits;

use super::drain::{DrainWatch, GRACE, until_cut};
use super::http2::PREFACE;
use super::transport::Transport;

/// A connection whose first bytes were looked at.
#[derive(Debug)]
pub(super) struct LookedAt {
    first: [u8; PREFACE.len()],
    /// How many were read, and how many of them were given on.
    read: usize,
    given: usize,
    stream: TcpStream,
}

impl LookedAt {
    /// It begins as HTTP/2 does.
    pub(super) fn is_http2(&self) -> bool {
        self.bytes() == PREFACE
    }

    fn bytes(&self) -> &[u8] {
        self.first.get(..self.read).unwrap_or_default()
    }

    fn is_decided(&self) -> bool {
        self.is_http2() || !PREFACE.starts_with(self.bytes())
    }

    async fn read_on(&mut self) -> Option<()> {
        let free = self.first.get_mut(self.read..)?;
        let count = self
            .stream
            .read(free)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        self.read += count;
        Some(())
    }

    async fn read_until_decided(&mut self) -> Option<()> {
        while !self.is_decided() {
            self.read_on().await?;
        }
        Some(())
    }
}

/// Waits until it is clear what the client speaks; `None`: the connection is over. The limits are those of a head.
pub(super) async fn look_at(
    stream: TcpStream,
    limits: &Limits,
    drain: &mut DrainWatch,
) -> Option<LookedAt> {
    let mut looked_at = LookedAt {
        first: [0; PREFACE.len()],
        read: 0,
        given: 0,
        stream,
    };
    let is_closing = async {
        drain.begun().await;
        sleep(GRACE).await;
    };
    select! {
        biased;
        first = timeout(limits.idle_timeout, looked_at.read_on()) => first.ok()??,
        () = is_closing => return None,
    }
    let rest = timeout(limits.header_timeout, looked_at.read_until_decided());
    until_cut(drain, rest).await?.ok()??;
    Some(looked_at)
}

impl AsyncRead for LookedAt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given == this.read {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let left = this.first.get(this.given..this.read).unwrap_or_default();
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LookedAt {
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
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Transport for LookedAt {
    fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    fn poll_write_slices(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_slices(context, slices)
    }
}
