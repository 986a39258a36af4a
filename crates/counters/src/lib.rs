//! Numbers that services count, for whoever exports them.

mod histogram;
mod named;
mod operations;

use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::{BOUNDS_US, Histogram, HistogramSnapshot, Stopwatch};
pub use named::{Named, OTHER};
pub use operations::{Operations, OperationsSnapshot};

/// A number that any thread may count on. It begins at 0.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts so many at once.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Takes back one that was counted, of what there is now.
    pub fn decrement(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "what is taken from a counter was counted");
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_there_until_it_is_taken_back() {
        let counter = Counter::default();
        counter.add(2);
        counter.increment();
        counter.decrement();
        assert_eq!(counter.get(), 2);
    }

    #[test]
    #[should_panic(expected = "was counted")]
    fn nothing_is_taken_back_that_was_not_counted() {
        Counter::default().decrement();
    }
}
