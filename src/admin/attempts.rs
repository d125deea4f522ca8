//! Wrong credentials, and who sent them.
//!
//! Owns the limit on guessing: by address, so that whoever guesses is kept out, with the right one too, and nobody else.
//! Knows nothing of credentials.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many wrong ones may come from one address within [`WINDOW`].
const WRONG_ATTEMPTS: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Addresses that are remembered; those beyond share one place.
const ADDRESSES: usize = 4096;
/// The network of an IPv6 client: it has all addresses of it.
const CLIENT_NETWORK: u128 = !0 << 64;

/// Wrong credentials of the last second, by the address they came from.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

/// Whether a wrong credential is the one after which its address is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Allowed,
    Last,
}

impl Attempts {
    /// Whether nothing from that address is to be compared at the moment.
    pub(super) fn are_exceeded(&self, client: IpAddr, now: Instant) -> bool {
        let mut attempts = self.lock();
        let place = place_of(client, &attempts);
        let Some(times) = attempts.get_mut(&place) else {
            return false;
        };
        forget(times, now);
        times.len() >= WRONG_ATTEMPTS
    }

    /// Counts a wrong credential.
    pub(super) fn note(&self, client: IpAddr, now: Instant) -> Noted {
        let mut attempts = self.lock();
        if attempts.len() >= ADDRESSES {
            attempts.retain(|_, times| {
                forget(times, now);
                !times.is_empty()
            });
        }
        let place = place_of(client, &attempts);
        let times = attempts.entry(place).or_default();
        forget(times, now);
        times.push_back(now);
        if times.len() == WRONG_ATTEMPTS {
            Noted::Last
        } else {
            Noted::Allowed
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, VecDeque<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an address is counted: with all others that have no place of their own, once there are too many.
fn place_of(client: IpAddr, attempts: &HashMap<IpAddr, VecDeque<Instant>>) -> IpAddr {
    let own = match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & CLIENT_NETWORK).into()),
    };
    if attempts.len() < ADDRESSES || attempts.contains_key(&own) {
        own
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

fn forget(times: &mut VecDeque<Instant>, now: Instant) {
    while times
        .front()
        .is_some_and(|first| now.duration_since(*first) >= WINDOW)
    {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ten_wrong_ones_of_a_second_keep_their_address_out_and_no_other() {
        let attempts = Attempts::default();
        let (guesser, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let start = Instant::now();
        for _ in 1..WRONG_ATTEMPTS {
            assert_eq!(attempts.note(guesser, start), Noted::Allowed);
            assert!(!attempts.are_exceeded(guesser, start));
        }
        assert_eq!(attempts.note(guesser, start), Noted::Last);
        assert!(attempts.are_exceeded(guesser, start + Duration::from_millis(999)));
        assert!(!attempts.are_exceeded(other, start));
        assert!(!attempts.are_exceeded(guesser, start + WINDOW));
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_an_embedded_ipv4_address_is_itself() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..WRONG_ATTEMPTS {
            attempts.note(address(&format!("2001:db8::{number:x}")), now);
            attempts.note(address("::ffff:192.0.2.1"), now);
        }
        assert!(attempts.are_exceeded(address("2001:db8::ffff"), now));
        assert!(!attempts.are_exceeded(address("2001:db8:0:1::1"), now));
        assert!(attempts.are_exceeded(address("192.0.2.1"), now));
    }

    #[test]
    fn more_addresses_than_are_remembered_share_a_place() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in (0x0a00_0000_u32..).take(ADDRESSES + 20) {
            attempts.note(IpAddr::V4(number.into()), now);
        }
        assert!(attempts.are_exceeded(address("203.0.113.1"), now));
        assert!(attempts.lock().len() <= ADDRESSES + 1);
        let later = now + WINDOW;
        attempts.note(address("203.0.113.2"), later);
        assert_eq!(attempts.lock().len(), 1);
    }
}
