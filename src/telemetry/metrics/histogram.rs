//! How durations are distributed, observed by many threads and read by few.
//!
//! Owns [`Histogram`]. Each thread counts in cache lines of its own and in integers alone; what Prometheus wants,
//! cumulative counts and seconds, is made when it is read. Knows nothing of what is timed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

use crate::counter::{stripe_of_thread, stripes};

/// A thread's share is a power of two in size; what the sum leaves of it are buckets.
const BUCKETS: usize = 30;
const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// How many bounds a histogram may have; what exceeds the last has a bucket too.
pub(super) const MAX_BOUNDS: usize = BUCKETS - 1;

/// One thread's share. The sum and the first buckets, those of most observations, are one cache line of 64 bytes.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Stripe {
    /// Nanoseconds, modulo 2^64.
    sum: AtomicU64,
    /// Not cumulative.
    buckets: [AtomicU64; BUCKETS],
    /// How often `sum` passed 2^64: ten thousand streams at a time do that in three weeks.
    sum_carries: AtomicU64,
}

/// A distribution of durations that only grows.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Nanoseconds, ascending; each belongs to its own bucket.
    bounds: &'static [u64],
    stripes: Box<[Stripe]>,
}

impl Histogram {
    /// Empty; `bounds` are nanoseconds, ascending, and at most [`MAX_BOUNDS`].
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.is_sorted() && bounds.len() <= MAX_BOUNDS);
        Self {
            bounds,
            stripes: (0..stripes()).map(|_| Stripe::default()).collect(),
        }
    }

    /// Counts one; centuries count as 584 years.
    pub(super) fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // In order, not halving: most durations end in the same few first buckets, so that the processor predicts
        // each step; those of a binary search wait for each other.
        let holding = self.bounds.iter().position(|bound| nanoseconds <= *bound);
        let bucket = holding.unwrap_or(self.bounds.len());
        let Some(stripe) = self.stripes.get(stripe_of_thread()) else {
            return;
        };
        if let Some(bucket) = stripe.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let before = stripe.sum.fetch_add(nanoseconds, Ordering::Relaxed);
        if before.checked_add(nanoseconds).is_none() {
            stripe.sum_carries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All threads' shares as one; what is observed meanwhile may be missing, or missing from the sum alone.
    pub(super) fn merged(&self) -> proto::Histogram {
        let mut merged = proto::Histogram::default();
        let mut below = 0;
        let cumulative = self.bounds.iter().enumerate().map(|(place, bound)| {
            below += self.count_of(place);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(below);
            bucket.set_upper_bound(in_seconds(u128::from(*bound)));
            bucket
        });
        merged.set_bucket(cumulative.collect());
        merged.set_sample_count(below + self.count_of(self.bounds.len()));
        merged.set_sample_sum(in_seconds(self.sum()));
        merged
    }

    fn count_of(&self, bucket: usize) -> u64 {
        let shares = self.stripes.iter().filter_map(|it| it.buckets.get(bucket));
        shares.map(|share| share.load(Ordering::Relaxed)).sum()
    }

    /// Nanoseconds.
    fn sum(&self) -> u128 {
        let share = |stripe: &Stripe| {
            let carries = u128::from(stripe.sum_carries.load(Ordering::Relaxed));
            (carries << u64::BITS) + u128::from(stripe.sum.load(Ordering::Relaxed))
        };
        self.stripes.iter().map(share).sum()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bounds fit into the 53 bits of a double, and of a sum nobody needs more"
)]
fn in_seconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / NANOSECONDS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: u64 = 1_000;
    const BOUNDS: &[u64] = &[MICROSECOND, 10 * MICROSECOND, 1_000 * MICROSECOND];

    fn observed(nanoseconds: &[u64]) -> proto::Histogram {
        let histogram = Histogram::new(BOUNDS);
        for each in nanoseconds {
            histogram.observe(Duration::from_nanos(*each));
        }
        histogram.merged()
    }

    fn cumulative(merged: &proto::Histogram) -> Vec<u64> {
        let buckets = merged.get_bucket().iter();
        buckets.map(proto::Bucket::cumulative_count).collect()
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_exceeds_it_to_the_next() {
        for (nanoseconds, expected) in [
            (0, [1, 1, 1]),
            (MICROSECOND, [1, 1, 1]),
            (MICROSECOND + 1, [0, 1, 1]),
            (10 * MICROSECOND, [0, 1, 1]),
            (10 * MICROSECOND + 1, [0, 0, 1]),
            (1_000 * MICROSECOND, [0, 0, 1]),
            (1_000 * MICROSECOND + 1, [0, 0, 0]),
            (u64::MAX, [0, 0, 0]),
        ] {
            let merged = observed(&[nanoseconds]);
            assert_eq!(cumulative(&merged), expected, "{nanoseconds} ns");
            assert_eq!(merged.get_sample_count(), 1, "{nanoseconds} ns");
        }
    }

    #[test]
    fn bounds_and_sum_are_seconds() {
        let merged = observed(&[1_500_000_000, 250_000_000, 1]);
        let bounds = merged.get_bucket().iter().map(proto::Bucket::upper_bound);
        assert_eq!(
            bounds.map(|it| it.to_string()).collect::<Vec<_>>(),
            ["0.000001", "0.00001", "0.001"]
        );
        assert_eq!(merged.get_sample_sum().to_string(), "1.750000001");
        assert_eq!(merged.get_sample_count(), 3);
    }

    #[test]
    fn the_sum_goes_on_beyond_64_bits() {
        let merged = observed(&[u64::MAX, u64::MAX, u64::MAX]);
        let expected = 3 * u128::from(u64::MAX);
        assert_eq!(
            merged.get_sample_sum().to_string(),
            in_seconds(expected).to_string()
        );
        assert_eq!(merged.get_sample_count(), 3);
    }

    #[test]
    fn no_observation_of_any_thread_is_lost() {
        let histogram = Histogram::new(BOUNDS);
        let threads = 2 * stripes() as u64 + 1;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for microseconds in 0..1_000 {
                        histogram.observe(Duration::from_micros(microseconds));
                    }
                });
            }
        });
        let merged = histogram.merged();
        assert_eq!(
            cumulative(&merged),
            [2 * threads, 11 * threads, 1_000 * threads]
        );
        assert_eq!(merged.get_sample_count(), 1_000 * threads);
        assert_eq!(
            histogram.sum(),
            u128::from(threads) * 499_500 * u128::from(MICROSECOND)
        );
    }

    #[test]
    fn two_threads_share_no_line() {
        assert_eq!(align_of::<Stripe>(), 128);
        assert_eq!(size_of::<Stripe>() % 128, 0);
    }
}
