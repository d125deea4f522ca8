//! What lies below HTTP on a connection to a server: the socket itself, or TLS on it.
//!
//! Owns how each is read, written, split in two, and asked whether it is still quiet.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::client::TlsStream;

/// An open connection to a server.
#[derive(Debug)]
pub(in super::super) enum ServerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The half that reads.
#[derive(Debug)]
pub(super) enum ReadingHalf {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The half that writes.
#[derive(Debug)]
pub(super) enum WritingHalf {
    Plain(OwnedWriteHalf),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

impl ServerStream {
    pub(super) fn split(self) -> (ReadingHalf, WritingHalf) {
        match self {
            Self::Plain(stream) => {
                let (reader, writer) = stream.into_split();
                (ReadingHalf::Plain(reader), WritingHalf::Plain(writer))
            }
            Self::Tls(stream) => {
                let (reader, writer) = tokio::io::split(*stream);
                (ReadingHalf::Tls(reader), WritingHalf::Tls(writer))
            }
        }
    }

    /// The server is not known to have hung up or to have said anything unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        match self {
            Self::Plain(stream) => stream.poll_read_ready(&mut context).is_pending(),
            // What has come may be TLS's own, such as tickets; only a read tells, and takes those.
            Self::Tls(stream) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                Pin::new(&mut **stream)
                    .poll_read(&mut context, &mut buffer)
                    .is_pending()
            }
        }
    }

    /// The operating system holds nothing that was not read: no byte, and no end.
    pub(super) fn is_drained(&self) -> bool {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(socket).peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncRead for ReadingHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(context, buffer),
            Self::Tls(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

/// Hands every write on to whichever it is.
macro_rules! write_through {
    ($type:ty, $plain:ident, $tls:ident => $deref:expr) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain($plain) => Pin::new($plain).poll_write(context, bytes),
                    Self::Tls($tls) => Pin::new($deref).poll_write(context, bytes),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain($plain) => Pin::new($plain).poll_write_vectored(context, slices),
                    Self::Tls($tls) => Pin::new($deref).poll_write_vectored(context, slices),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain($plain) => Pin::new($plain).poll_flush(context),
                    Self::Tls($tls) => Pin::new($deref).poll_flush(context),
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain($plain) => Pin::new($plain).poll_shutdown(context),
                    Self::Tls($tls) => Pin::new($deref).poll_shutdown(context),
                }
            }
        }
    };
}

write_through!(ServerStream, plain, tls => &mut **tls);
write_through!(WritingHalf, plain, tls => tls);
