//! The public sockets, and how many connections they let in.
//!
//! Owns binding, accepting and the limit on connections. A port is bound once, without `SO_REUSEPORT`: a second gateway on it
//! must fail, and to close one of several sockets would reset what waits in its queue. The workers accept on duplicates.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::complaint::Complaint;
use super::connection;
use super::worker::Worker;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting rests after an error.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Bound sockets.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<StdListener>,
}

impl Listeners {
    /// Binds every address, or says which could not be bound.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let bound = addresses
            .iter()
            .map(|address| bind(*address).map_err(|error| (*address, error)));
        let sockets = bound.collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// The addresses, with the ports that were chosen where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.sockets.iter().map(StdListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }

    /// The same sockets for one more worker.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        let sockets = self.sockets.iter().map(StdListener::try_clone);
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// To be called on the runtime that accepts.
    pub fn into_async(self) -> io::Result<Vec<TcpListener>> {
        self.sockets
            .into_iter()
            .map(TcpListener::from_std)
            .collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How many connections are open, over all workers.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: AtomicUsize,
    freed: Notify,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    /// Waits for a place; `limit` may change from one look to the next.
    async fn take(self: &Arc<Self>, limit: impl Fn() -> usize) -> Slot {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let before = self.taken.fetch_add(1, Ordering::AcqRel);
            let slot = Slot(Arc::clone(self));
            if before < limit() {
                return slot;
            }
            slot.give_back_silently();
            freed.await;
        }
    }
}

impl Slot {
    /// Takes back a place that was beyond the limit: nobody waits for that.
    fn give_back_silently(self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        std::mem::forget(self);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_waiters();
    }
}

/// Accepts on one socket until the worker drains; then takes what still waits in the queue, and closes the socket.
pub(super) async fn accept(
    listener: TcpListener,
    worker: Rc<Worker>,
    alive: mpsc::Sender<std::convert::Infallible>,
) {
    let mut drain = worker.watch_drain();
    let complaint = Complaint::default();
    loop {
        let next = next_connection(&listener, &worker);
        select! {
            biased;
            accepted = next => match accepted {
                Ok((slot, stream, address)) => start(&worker, slot, stream, address, &alive),
                Err(error) => {
                    complain(&error, &complaint);
                    sleep(BACK_OFF).await;
                }
            },
            () = drain.begun() => break,
        }
    }
    for (stream, address) in waiting(listener) {
        // These came before the drain did: the limit was theirs to wait for no longer.
        let slots = Arc::clone(worker.slots());
        slots.taken.fetch_add(1, Ordering::AcqRel);
        start(&worker, Slot(slots), stream, address, &alive);
    }
}

async fn next_connection(
    listener: &TcpListener,
    worker: &Worker,
) -> io::Result<(Slot, TcpStream, SocketAddr)> {
    let slot = worker.slots().take(|| worker.connection_limit()).await;
    let (stream, address) = poll_fn(|context| listener.poll_accept(context)).await?;
    Ok((slot, stream, address))
}

fn start(
    worker: &Rc<Worker>,
    slot: Slot,
    stream: TcpStream,
    address: SocketAddr,
    alive: &mpsc::Sender<std::convert::Infallible>,
) {
    let counted = worker.count_connection();
    let (worker, alive) = (Rc::clone(worker), alive.clone());
    // A task of its own: if it panics, this connection ends and no other.
    spawn_local(async move {
        connection::serve(stream, address, worker).await;
        drop((slot, counted, alive));
    });
}

/// What waits in the queue of a socket that is about to be closed.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    std::iter::from_fn(|| listener.accept().ok())
        .filter_map(|(stream, address)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, address))
        })
        .collect()
}

/// Out of file descriptors, most likely: worth a line, not a flood.
fn complain(error: &io::Error, complaint: &Complaint) {
    if complaint.is_due() {
        tracing::warn!(%error, "cannot accept connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepting_waits_at_the_limit_for_a_connection_to_end() {
        let slots = Arc::<Slots>::default();
        let first = slots.take(|| 1).await;
        let mut second = pin!(slots.take(|| 1));
        let polled = poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        drop(first);
        let _second = second.await;
        assert_eq!(slots.taken.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_taken_port_is_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = Listeners::bind(&[any]).unwrap();
        let taken = listeners.addresses();
        let (address, error) = Listeners::bind(&taken).unwrap_err();
        assert_eq!(address, taken[0]);
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
