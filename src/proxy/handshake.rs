//! From a client's socket to TLS.
//!
//! Owns the time that a handshake may take and what a failed one counts as. Which certificates there are, rustls was told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::HandshakeFailure;

use super::drain::until_cut;
use super::worker::Worker;

/// TLS on `stream`; `None`: it did not come about, and the connection is over.
pub(super) async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    within: Duration,
    worker: &Worker,
) -> Option<Box<TlsStream<TcpStream>>> {
    let mut drain = worker.watch_drain();
    let accept = TlsAcceptor::from(config).accept(stream);
    let accepted = until_cut(&mut drain, accept);
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
