//! From a client's socket to TLS.
//!
//! Owns the time that a handshake may take and what a failed one counts as. Which certificates there are, rustls was told.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::{CertificateError, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::HandshakeFailure;

use super::drain::Phase;
use super::worker::Worker;

/// TLS on `stream`; `None`: it did not come about, and the connection is over.
pub(super) async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    within: Duration,
    worker: &Worker,
) -> Option<Box<TlsStream<TcpStream>>> {
    let mut drain = worker.watch_drain();
    let mut accept = TlsAcceptor::from(config).accept(stream);
    let accepted = poll_fn(|context| {
        if drain.poll(context) == Phase::Cut {
            return Poll::Ready(None);
        }
        Pin::new(&mut accept).poll(context).map(Some)
    });
    let failure = match timeout(within, accepted).await {
        Ok(Some(Ok(stream))) => return Some(Box::new(stream)),
        Ok(Some(Err(error))) => failure_of(&error),
        Ok(None) => return None,
        Err(_) => HandshakeFailure::Timeout,
    };
    worker.count_failed_handshake(failure);
    None
}

fn failure_of(error: &io::Error) -> HandshakeFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        None => HandshakeFailure::Connection,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => HandshakeFailure::ClientCertificateExpired,
        Some(rustls::Error::InvalidCertificate(_)) => HandshakeFailure::ClientCertificate,
        Some(rustls::Error::NoCertificatesPresented) => HandshakeFailure::ClientCertificateMissing,
        Some(rustls::Error::AlertReceived(_)) => HandshakeFailure::RefusedByClient,
        Some(_) => HandshakeFailure::Protocol,
    }
}
