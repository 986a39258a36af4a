//! Plain counters of what the scheduler does.

use std::collections::BTreeMap;

use contract::DeploymentRef;
use counters::{Counter, Histogram, HistogramSnapshot};
use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// From the time at which something was due until it was begun.
    pub delays: Histogram,
    /// When the first entry of each deployment is due that is due and waits, in milliseconds since the Unix epoch.
    late: Mutex<BTreeMap<DeploymentRef, f64>>,
    pub begun: Counter,
    pub ended: Counter,
    pub runs: Counter,
    pub gone: Counter,
    pub postponed: Counter,
    pub results_removed: Counter,
    pub streams: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// How long after their time functions were begun.
    pub delays: HistogramSnapshot,
    /// How long the one has waited that has waited longest of what is due and not begun, in milliseconds.
    pub late_ms: f64,
    /// Functions that run.
    pub running: u64,
    /// Functions that have run, and actions that were begun.
    pub runs: u64,
    /// Entries that were gone when their turn came: cancelled, or run elsewhere.
    pub gone: u64,
    /// Runs that failed for no fault of the function, and were put off.
    pub postponed: u64,
    /// Results that were removed because of their age.
    pub results_removed: u64,
    /// Commit streams that were followed: more than there are deployments where one broke.
    pub streams: u64,
}

impl Metrics {
    /// What is due in a deployment has waited since `due_ms`; `None`: nothing that is due waits.
    pub(crate) fn waits_since(&self, deployment: DeploymentRef, due_ms: Option<f64>) {
        let mut late = self.late.lock();
        match due_ms {
            Some(due_ms) => late.insert(deployment, due_ms),
            None => late.remove(&deployment),
        };
    }

    pub(crate) fn snapshot(&self, now_ms: f64) -> MetricsSnapshot {
        // In this order, so that what begins in between is not missing.
        let ended = self.ended.get();
        let late = self.late.lock().values().map(|due_ms| now_ms - due_ms).fold(0.0, f64::max);
        MetricsSnapshot {
            delays: self.delays.snapshot(),
            late_ms: late,
            running: self.begun.get().saturating_sub(ended),
            runs: self.runs.get(),
            gone: self.gone.get(),
            postponed: self.postponed.get(),
            results_removed: self.results_removed.get(),
            streams: self.streams.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    #[test]
    fn the_one_that_has_waited_longest_counts_until_it_waits_no_more() {
        let [one, two] =
            [1, 2].map(|number| DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) });
        let metrics = Metrics::default();
        assert_eq!(metrics.snapshot(1_000.0).late_ms, 0.0);
        metrics.waits_since(one, Some(400.0));
        metrics.waits_since(two, Some(900.0));
        assert_eq!(metrics.snapshot(1_000.0).late_ms, 600.0);
        assert_eq!(metrics.snapshot(2_000.0).late_ms, 1_600.0, "also if nobody tells it anew");
        metrics.waits_since(one, None);
        assert_eq!(metrics.snapshot(1_000.0).late_ms, 100.0);
        assert_eq!(metrics.snapshot(800.0).late_ms, 0.0, "the clock was set back");
    }
}
