//! What lies below HTTP on a client's connection: the socket itself, or TLS on it.
//!
//! Owns how messages are written to each, and the way back to the socket. One type for each, so that a read costs no choice.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::gathered_write::poll_write_slices;

/// A client's side of a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The socket below.
    fn socket(&mut self) -> &mut TcpStream;

    /// Writes as much of `slices` as is taken.
    fn poll_write_slices(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
}

impl Transport for TcpStream {
    fn socket(&mut self) -> &mut TcpStream {
        self
    }

    fn poll_write_slices(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_slices(self, context, slices)
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }

    /// Rustls puts them into one record.
    fn poll_write_slices(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, slices)
    }
}
