//! Who has a connection to the admin listener, and who loses it when there are too many.
//!
//! Owns the limits, in all and for one caller, so that nobody keeps the operators out by connecting. Knows no HTTP.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections in all.
const MOST: usize = 256;
/// Connections of one address.
const MOST_OF_ONE: usize = 64;

/// Since when a connection waits for something to do; `None` while it is answered.
#[derive(Debug)]
pub(super) struct Idleness(Mutex<Option<Instant>>);

impl Default for Idleness {
    fn default() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }
}

impl Idleness {
    /// The connection is busy until the guard is dropped.
    pub(super) fn interrupt(&self) -> Busy<'_> {
        self.set(None);
        Busy(self)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request is being answered.
#[derive(Debug)]
pub(super) struct Busy<'connection>(&'connection Idleness);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(Some(Instant::now()));
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    peer: IpAddr,
    task: AbortHandle,
    idleness: Arc<Idleness>,
}

impl Places {
    /// Makes room for one more of `peer`, at the cost of the connection that has been idle for longest: one of its own if it has
    /// too many, else anybody's. `false`: all are busy.
    pub(super) fn make_room(&mut self, peer: IpAddr) -> bool {
        self.0.retain(|place| !place.task.is_finished());
        let is_of_peer = |place: &Place| place.peer == peer;
        if self.0.iter().filter(|place| is_of_peer(place)).count() >= MOST_OF_ONE {
            return self.end_longest_idle(is_of_peer);
        }
        self.0.len() < MOST || self.end_longest_idle(|_| true)
    }

    /// Notes the connection that room was made for.
    pub(super) fn take(&mut self, peer: IpAddr, task: AbortHandle, idleness: Arc<Idleness>) {
        self.0.push(Place {
            peer,
            task,
            idleness,
        });
    }

    fn end_longest_idle(&mut self, is_meant: impl Fn(&Place) -> bool) -> bool {
        let idle = self.0.iter().enumerate().filter(|(_, it)| is_meant(it));
        let longest = idle
            .filter_map(|(index, place)| Some((place.idleness.since()?, index)))
            .min();
        let Some((_, index)) = longest else {
            return false;
        };
        self.0.swap_remove(index).task.abort();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// One connection that does nothing.
    fn connect(places: &mut Places, peer: IpAddr) -> (AbortHandle, Arc<Idleness>) {
        assert!(places.make_room(peer));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let idleness = Arc::<Idleness>::default();
        places.take(peer, task.clone(), Arc::clone(&idleness));
        (task, idleness)
    }

    async fn has_ended(task: &AbortHandle) -> bool {
        tokio::task::yield_now().await;
        task.is_finished()
    }

    #[tokio::test]
    async fn whoever_has_too_many_loses_the_one_of_his_that_idles_for_longest() {
        let mut places = Places::default();
        let other = connect(&mut places, address(1));
        let mine: Vec<_> = (0..MOST_OF_ONE)
            .map(|_| connect(&mut places, address(2)))
            .collect();
        let busy = mine[0].1.interrupt();
        connect(&mut places, address(2));
        assert!(has_ended(&mine[1].0).await);
        assert!(!has_ended(&mine[0].0).await, "it is busy");
        drop(busy);
        connect(&mut places, address(2));
        assert!(has_ended(&mine[2].0).await, "the first has just been busy");
        assert!(!has_ended(&other.0).await);
    }

    #[tokio::test]
    async fn at_the_limit_the_longest_idle_of_all_goes_and_nobody_if_all_are_busy() {
        let mut places = Places::default();
        let all: Vec<_> = (0..MOST)
            .map(|number| connect(&mut places, address(u8::try_from(number / 32).unwrap())))
            .collect();
        connect(&mut places, address(99));
        assert!(has_ended(&all[0].0).await);
        let busy: Vec<_> = places
            .0
            .iter()
            .map(|place| Arc::clone(&place.idleness))
            .collect();
        let busy: Vec<_> = busy.iter().map(|idleness| idleness.interrupt()).collect();
        assert!(!places.make_room(address(100)));
        drop(busy);
        assert!(places.make_room(address(100)));
    }
}
