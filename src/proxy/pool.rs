//! Connections to one upstream server, kept open between requests of one worker.
//!
//! Owns connecting, keeping and discarding. Knows nothing of which server is asked, or how often.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Upstream, UpstreamServer};
use crate::tls::{ClientTls, Fingerprint};

use super::upstream_connection::{ServerStream, UpstreamConnection};

/// Which connections may stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) keep_alive: Duration,
    /// `None`: plain HTTP.
    pub(super) tls: Option<(Fingerprint, String)>,
}

/// How a server is spoken to by TLS.
#[derive(Clone, Debug)]
pub(super) struct PoolTls {
    settings: ClientTls,
    /// The name that its certificate must be for.
    name: String,
}

impl PoolTls {
    /// `None` for a server that is spoken to plainly.
    pub(super) fn of(upstream: &Upstream, server: &UpstreamServer) -> Option<Self> {
        let settings = upstream.tls.as_ref().filter(|_| server.secure)?;
        let name = upstream.server_name.as_ref().unwrap_or(&server.host);
        Some(Self {
            settings: settings.clone(),
            name: name.clone(),
        })
    }

    /// What tells it from others.
    pub(super) fn key(&self) -> (Fingerprint, String) {
        (self.settings.fingerprint(), self.name.clone())
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The server could not be reached.
    Socket(io::Error),
    /// It could, and cannot be believed or understood.
    Tls(io::Error),
}

/// The idle connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    key: PoolKey,
    tls: Option<PoolTls>,
    address: Option<IpAddr>,
    /// Longest idle first.
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<UpstreamConnection>,
    since: Instant,
}

/// A connection for one request and its response.
#[derive(Debug)]
pub(super) struct Lease {
    /// Boxed, because a lease moves with every step of a request.
    pub(super) connection: Box<UpstreamConnection>,
    pool: Rc<Pool>,
    is_reused: bool,
}

impl Pool {
    pub(super) fn new(key: PoolKey, tls: Option<PoolTls>) -> Self {
        Self {
            tls,
            address: key.host.parse().ok(),
            key,
            idle: RefCell::default(),
        }
    }

    /// The connection that was used last, if one is still good. `carefully`: the operating system is asked whether the
    /// server has hung up, because the request could not be sent again.
    pub(super) fn reuse(self: &Rc<Self>, carefully: bool, now: Instant) -> Option<Lease> {
        let mut pooled = self.idle.borrow_mut();
        loop {
            let idle = pooled.pop()?;
            if now.duration_since(idle.since) >= self.key.keep_alive {
                // All others have been idle for longer.
                pooled.clear();
                return None;
            }
            let mut connection = idle.connection;
            if connection.is_quiet() && (!carefully || connection.is_alive()) {
                return Some(self.lease(connection, true));
            }
        }
    }

    /// A new connection. The caller limits the time.
    pub(super) async fn connect(self: &Rc<Self>) -> Result<Lease, ConnectError> {
        let socket = self.connect_socket().await.map_err(ConnectError::Socket)?;
        let stream = match &self.tls {
            None => ServerStream::Plain(socket),
            Some(tls) => {
                let secured = secure(tls, socket).await.map_err(ConnectError::Tls)?;
                ServerStream::Tls(Box::new(secured))
            }
        };
        let connection = Box::new(UpstreamConnection::new(stream));
        Ok(self.lease(connection, false))
    }

    async fn connect_socket(&self) -> io::Result<TcpStream> {
        let stream = match self.address {
            Some(address) => TcpStream::connect(SocketAddr::new(address, self.key.port)).await?,
            None => TcpStream::connect((self.key.host.as_str(), self.key.port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn lease(self: &Rc<Self>, connection: Box<UpstreamConnection>, is_reused: bool) -> Lease {
        Lease {
            connection,
            pool: Rc::clone(self),
            is_reused,
        }
    }

    /// Drops what has been idle for too long, and what the server has ended.
    pub(super) fn sweep(&self) {
        self.idle.borrow_mut().retain_mut(|idle| {
            idle.since.elapsed() < self.key.keep_alive && idle.connection.is_quiet()
        });
    }
}

/// TLS on `socket`, with a server that proves to be who it should be.
async fn secure(tls: &PoolTls, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls.settings.config());
    connector.connect(name, socket).await
}

impl Lease {
    /// It has served requests before.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Gives the connection back, if another request can follow on it.
    pub(super) fn release(self) {
        if self.connection.is_free() {
            let idle = Idle {
                connection: self.connection,
                since: Instant::now(),
            };
            self.pool.idle.borrow_mut().push(idle);
        }
    }
}
