//! Which records of a flood are written.
//!
//! Owns the rule: of one reason and client the first ten records a second are written, the rest become one
//! record that says how many it stands for. Time is an argument. Memory is bounded whatever clients there are.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use crate::rejection::Rejection;

const FREE: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Clients told apart in one second; those beyond share one window per reason.
const MAX_WINDOWS: usize = 4096;

/// A reason and a client; `None`: all the clients that did not fit.
type Key = (Rejection, Option<IpAddr>);

#[derive(Debug, Default)]
struct Window {
    seen: u64,
    /// The line of the first record that was not written.
    held: Option<Vec<u8>>,
}

/// The seconds under way.
#[derive(Debug, Default)]
pub(super) struct Suppressor {
    windows: HashMap<Key, Window, RandomState>,
    /// In the order of their ends, because all are equally long.
    ends: VecDeque<(Instant, Key)>,
}

impl Suppressor {
    /// Whether a record of that reason and client is to be written now; `held` makes the line that stands for those that
    /// are not. Ends windows that are over, telling `summary` that line and how many it stands for.
    pub(super) fn admit(
        &mut self,
        (reason, client): (Rejection, IpAddr),
        now: Instant,
        held: impl FnOnce() -> Vec<u8>,
        summary: impl FnMut(&[u8], u64),
    ) -> bool {
        self.end_windows(Some(now), summary);
        let key = self.key(reason, client);
        let ends = &mut self.ends;
        let window = self.windows.entry(key).or_insert_with(|| {
            ends.push_back((now + WINDOW, key));
            Window::default()
        });
        window.seen += 1;
        if window.seen > FREE {
            window.held.get_or_insert_with(held);
        }
        window.seen <= FREE
    }

    /// When the oldest window is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// Ends the windows that are over at `now`, or all.
    pub(super) fn end_windows(
        &mut self,
        now: Option<Instant>,
        mut summary: impl FnMut(&[u8], u64),
    ) {
        while let Some((end, key)) = self.ends.front().copied() {
            if now.is_some_and(|now| now < end) {
                return;
            }
            self.ends.pop_front();
            if let Some(window) = self.windows.remove(&key)
                && let Some(line) = &window.held
            {
                summary(line, window.seen.saturating_sub(FREE));
            }
        }
    }

    fn key(&self, reason: Rejection, client: IpAddr) -> Key {
        let key = (reason, Some(network(client)));
        if self.windows.len() < MAX_WINDOWS || self.windows.contains_key(&key) {
            key
        } else {
            (reason, None)
        }
    }
}

/// Whom an address belongs to: of IPv6 the /64, because one host may use all of it.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRED: Rejection = Rejection::TokenExpired;

    fn address(client: &str) -> IpAddr {
        client.parse().unwrap()
    }

    /// Written records, and the counts of the summaries, of that many records at those milliseconds.
    fn flood(clients: &[&str], times_ms: impl Iterator<Item = u64>) -> (usize, Vec<u64>) {
        let start = Instant::now();
        let mut suppressor = Suppressor::default();
        let mut summaries = Vec::new();
        let mut written = 0;
        for time in times_ms {
            let now = start + Duration::from_millis(time);
            for client in clients {
                let note = |_: &[u8], count| summaries.push(count);
                let record = (EXPIRED, address(client));
                written += usize::from(suppressor.admit(record, now, Vec::new, note));
            }
        }
        suppressor.end_windows(None, |_, count| summaries.push(count));
        (written, summaries)
    }

    #[test]
    fn ten_a_second_are_written_and_the_rest_become_one() {
        assert_eq!(flood(&["192.0.2.1"], 0..10), (10, vec![]));
        assert_eq!(flood(&["192.0.2.1"], 0..25), (10, vec![15]));
        assert_eq!(flood(&["192.0.2.1"], 0..2000), (20, vec![990, 990]));
    }

    #[test]
    fn clients_are_told_apart_but_not_the_addresses_of_one_ipv6_network() {
        assert_eq!(flood(&["192.0.2.1", "192.0.2.2"], 0..10), (20, vec![]));
        assert_eq!(
            flood(&["2001:db8::1", "2001:db8::ffff:1"], 0..10),
            (10, vec![10])
        );
        assert_eq!(
            flood(&["192.0.2.1", "::ffff:192.0.2.1"], 0..10),
            (10, vec![10])
        );
    }

    #[test]
    fn reasons_are_told_apart() {
        let mut suppressor = Suppressor::default();
        let now = Instant::now();
        let client = address("192.0.2.1");
        for _ in 0..FREE {
            for reason in [EXPIRED, Rejection::TokenMissing] {
                assert!(suppressor.admit((reason, client), now, Vec::new, |_, _| {}));
            }
        }
        assert!(!suppressor.admit((EXPIRED, client), now, Vec::new, |_, _| {}));
    }

    #[test]
    fn the_first_record_that_is_not_written_stands_for_the_others() {
        let mut suppressor = Suppressor::default();
        let now = Instant::now();
        for number in 0..FREE + 3 {
            let line = || number.to_string().into_bytes();
            suppressor.admit((EXPIRED, address("192.0.2.1")), now, line, |_, _| {});
        }
        let mut summaries = Vec::new();
        suppressor.end_windows(Some(now + WINDOW), |line, count| {
            summaries.push((line.to_vec(), count));
        });
        assert_eq!(summaries, [(b"10".to_vec(), 3)]);
    }

    #[test]
    fn a_flood_from_a_million_clients_takes_bounded_memory_and_loses_no_count() {
        let mut suppressor = Suppressor::default();
        let now = Instant::now();
        let total = 100_000_u32;
        let mut written = 0;
        for number in 0..total {
            let record = (Rejection::TokenMissing, IpAddr::V4(number.into()));
            written += u64::from(suppressor.admit(record, now, Vec::new, |_, _| {}));
        }
        assert!(suppressor.windows.len() <= MAX_WINDOWS + Rejection::ALL.len());
        let mut suppressed = 0;
        suppressor.end_windows(None, |_, count| suppressed += count);
        assert_eq!(written + suppressed, u64::from(total));
        assert!(suppressor.windows.is_empty() && suppressor.ends.is_empty());
    }
}
