//! Counts and times of what a service is asked for.

use std::{array, time::Duration};

use crate::{Counter, Histogram, HistogramSnapshot};

const OUTCOMES: [&str; 2] = ["done", "failed"];

/// What a service is asked for: a closed list of names, each with how often it was done and failed, and how long it took.
#[derive(Debug)]
pub struct Operations<const N: usize> {
    names: [&'static str; N],
    outcomes: [[Counter; OUTCOMES.len()]; N],
    durations: [Histogram; N],
}

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationsSnapshot {
    /// By name and outcome, which is `done` or `failed`.
    pub requests: Vec<([&'static str; 2], u64)>,
    /// How long it took, by name.
    pub durations: Vec<([&'static str; 1], HistogramSnapshot)>,
}

impl<const N: usize> Operations<N> {
    pub fn new(names: [&'static str; N]) -> Operations<N> {
        Operations {
            names,
            outcomes: array::from_fn(|_| array::from_fn(|_| Counter::default())),
            durations: array::from_fn(|_| Histogram::default()),
        }
    }

    /// Counts an operation, by its place in the list, that took so long.
    ///
    /// # Panics
    ///
    /// If the list is shorter.
    pub fn record<T, E>(&self, operation: usize, took: Duration, result: &Result<T, E>) {
        self.durations[operation].record(took);
        self.outcomes[operation][usize::from(result.is_err())].increment();
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> OperationsSnapshot {
        let requests = self.names.iter().zip(&self.outcomes).flat_map(|(name, counts)| {
            OUTCOMES.iter().zip(counts).map(move |(outcome, count)| ([*name, *outcome], count.get()))
        });
        let durations =
            self.names.iter().zip(&self.durations).map(|(name, durations)| ([*name], durations.snapshot()));
        OperationsSnapshot { requests: requests.collect(), durations: durations.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_from_what_is_done() {
        let operations = Operations::new(["read", "write"]);
        operations.record(1, Duration::from_millis(1), &Ok::<_, ()>(()));
        operations.record(1, Duration::from_millis(1), &Err::<(), _>(()));
        let OperationsSnapshot { requests, durations } = operations.snapshot();
        let expected = [
            (["read", "done"], 0),
            (["read", "failed"], 0),
            (["write", "done"], 1),
            (["write", "failed"], 1),
        ];
        assert_eq!(requests, expected);
        assert_eq!((durations[0].1.count(), durations[1].1.count()), (0, 2));
    }
}
