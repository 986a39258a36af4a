//! Plain counters of what the scheduler does.

use counters::Counter;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub begun: Counter,
    pub ended: Counter,
    pub runs: Counter,
    pub gone: Counter,
    pub postponed: Counter,
    pub results_removed: Counter,
    pub streams: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
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
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        // In this order, so that what begins in between is not missing.
        let ended = self.ended.get();
        MetricsSnapshot {
            running: self.begun.get().saturating_sub(ended),
            runs: self.runs.get(),
            gone: self.gone.get(),
            postponed: self.postponed.get(),
            results_removed: self.results_removed.get(),
            streams: self.streams.get(),
        }
    }
}
