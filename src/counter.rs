//! A count that many threads add to and few read.
//!
//! Owns [`Counter`]. Each thread adds in a cache line of its own, so that workers never wait for each other's
//! counting; whoever reads sums up. Knows nothing of what is counted.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// Beyond so many threads some share a line, which costs time and loses no count.
const MAX_STRIPES: usize = 16;

/// One thread's share; as wide as what processors fetch at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    stripes: Box<[Stripe]>,
}

impl Counter {
    /// Zero.
    pub fn new() -> Self {
        Self {
            stripes: (0..stripes()).map(|_| Stripe::default()).collect(),
        }
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds that many.
    pub fn add(&self, amount: u64) {
        if let Some(stripe) = self.stripes.get(stripe_of_thread()) {
            stripe.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The sum; what is added meanwhile may be missing.
    pub fn sum(&self) -> u64 {
        self.stripes
            .iter()
            .map(|stripe| stripe.0.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// How many stripes everything striped has: the processors, as a power of two.
pub fn stripes() -> usize {
    static STRIPES: OnceLock<usize> = OnceLock::new();
    *STRIPES.get_or_init(|| {
        let processors = available_parallelism().map_or(1, NonZero::get);
        processors.next_power_of_two().min(MAX_STRIPES)
    })
}

/// The stripe of the calling thread, below [`stripes`]; threads take turns when they first ask.
pub fn stripe_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    STRIPE.with(|own| {
        let stripe = own
            .get()
            .unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed) % stripes());
        own.set(Some(stripe));
        stripe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_of_any_thread_is_lost() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * MAX_STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
            }
        });
        counter.add(5);
        assert_eq!(counter.sum(), 2 * MAX_STRIPES as u64 * 1000 + 5);
    }
}
