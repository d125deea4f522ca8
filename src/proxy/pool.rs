//! Connections to one upstream server, kept open between requests of one worker.
//!
//! Owns connecting, keeping and discarding. Knows nothing of which server is asked, or how often.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::upstream_connection::UpstreamConnection;

/// Which connections may stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) keep_alive: Duration,
}

/// The idle connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    key: PoolKey,
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
    pub(super) fn new(key: PoolKey) -> Self {
        Self {
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
            let connection = idle.connection;
            if connection.is_quiet() && (!carefully || connection.is_alive()) {
                return Some(self.lease(connection, true));
            }
        }
    }

    /// A new connection. The caller limits the time.
    pub(super) async fn connect(self: &Rc<Self>) -> io::Result<Lease> {
        let stream = match self.address {
            Some(address) => TcpStream::connect(SocketAddr::new(address, self.key.port)).await?,
            None => TcpStream::connect((self.key.host.as_str(), self.key.port)).await?,
        };
        stream.set_nodelay(true)?;
        let connection = Box::new(UpstreamConnection::new(stream));
        Ok(self.lease(connection, false))
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
        self.idle.borrow_mut().retain(|idle| {
            idle.since.elapsed() < self.key.keep_alive && idle.connection.is_quiet()
        });
    }
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
