//! How long things took, by bounds.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The upper bounds of the buckets, in microseconds: from a write to a good disk to a request that is given up. One set serves all,
/// so that stages can be compared.
pub const BOUNDS_US: [u64; 19] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The buckets: one for each bound, and one for what took longer.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How long things took. Any thread may record.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// How many things fell into each bucket, and into no bucket before.
    pub buckets: [u64; BUCKETS],
    /// What all of them took, in nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// Counts a thing that took so long.
    pub fn record(&self, took: Duration) {
        let took_us = took.as_micros();
        let bucket = BOUNDS_US.iter().position(|bound| took_us <= u128::from(*bound)).unwrap_or(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    /// What was recorded so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let read = |bucket: usize| self.buckets[bucket].load(Ordering::Relaxed);
        HistogramSnapshot { buckets: std::array::from_fn(read), sum_ns: self.sum_ns.load(Ordering::Relaxed) }
    }
}

impl HistogramSnapshot {
    /// How many things there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &HistogramSnapshot) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum_ns += other.sum_ns;
    }
}

/// Runs from its start, to be recorded. Nothing is decided by what it says.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// How long it has run.
    pub fn took(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = {
        let mut bound = 1;
        while bound < BOUNDS_US.len() {
            assert!(BOUNDS_US[bound - 1] < BOUNDS_US[bound], "bounds grow");
            bound += 1;
        }
    };

    #[test]
    fn what_took_as_long_as_a_bound_is_within_it() {
        let histogram = Histogram::default();
        for took_us in [0, 50, 51, 1_000, 60_000_000, 60_000_001, u64::MAX / 1_000] {
            histogram.record(Duration::from_micros(took_us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.buckets[0], snapshot.buckets[1], snapshot.buckets[4]), (2, 1, 1));
        assert_eq!((snapshot.buckets[18], snapshot.buckets[19]), (1, 2));
        assert_eq!(snapshot.count(), 7);
    }

    #[test]
    fn sums_are_exact_and_add_up() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_nanos(1_500));
        let mut both = histogram.snapshot();
        both.add(&histogram.snapshot());
        assert_eq!((both.count(), both.sum_ns), (2, 3_000));
    }
}
