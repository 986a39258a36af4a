//! Counters of this instance, for whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering};

use counters::{Histogram, HistogramSnapshot};

/// Written by the deployments of one instance, read by anyone.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) sessions: AtomicU64,
    pub(crate) copies: AtomicU64,
    pub(crate) copy_bytes: AtomicU64,
    pub(crate) tides: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) run_retries: AtomicU64,
    pub(crate) runs_failed: AtomicU64,
    pub(crate) rounds: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) changes_suppressed: AtomicU64,
    pub(crate) sessions_failed: AtomicU64,
    pub(crate) stream_gaps: AtomicU64,
    pub(crate) lag_ns: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    pub(crate) waits: Histogram,
}

/// The counters at one time. Counts are since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Sessions that are open now.
    pub sessions: u64,
    /// Cached results that are kept now, with listeners and without: the *copies* that sessions share.
    pub copies: u64,
    /// Roughly what they take in memory.
    pub copy_bytes: u64,
    /// Tides: moments at which at least one session started a round.
    pub tides: u64,
    /// Queries given to the runners; repetitions are counted apart.
    pub runs: u64,
    /// Runs given to the runners again, because they refused for no fault of the query.
    pub run_retries: u64,
    /// Runs without an outcome. A function that throws has one.
    pub runs_failed: u64,
    pub rounds: u64,
    /// Values, errors and removals sent.
    pub changes: u64,
    /// Results that were not sent, because the session has an equal one.
    pub changes_suppressed: u64,
    /// Sessions that were ended by an error.
    pub sessions_failed: u64,
    /// Times that everything had to be dropped, because the commit stream had a gap.
    pub stream_gaps: u64,
    /// How far the last tide was behind what its replica had published.
    pub lag_ns: u64,
    /// Queries that sessions have asked for and not removed, each counted for each session.
    pub subscriptions: u64,
    /// How long sessions waited from becoming due until their round was sent.
    pub waits: HistogramSnapshot,
}

impl Metrics {
    pub fn snapshot(&self) -> MetricsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsSnapshot {
            sessions: read(&self.sessions),
            copies: read(&self.copies),
            copy_bytes: read(&self.copy_bytes),
            tides: read(&self.tides),
            runs: read(&self.runs),
            run_retries: read(&self.run_retries),
            runs_failed: read(&self.runs_failed),
            rounds: read(&self.rounds),
            changes: read(&self.changes),
            changes_suppressed: read(&self.changes_suppressed),
            sessions_failed: read(&self.sessions_failed),
            stream_gaps: read(&self.stream_gaps),
            lag_ns: read(&self.lag_ns),
            subscriptions: read(&self.subscriptions),
            waits: self.waits.snapshot(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// What one deployment contributes to a gauge that all add to.
#[derive(Debug, Default)]
pub(crate) struct Contribution(u64);

impl Contribution {
    pub fn set(&mut self, gauge: &AtomicU64, value: u64) {
        // Wrapping, so that a smaller contribution is a subtraction.
        gauge.fetch_add(value.wrapping_sub(self.0), Ordering::Relaxed);
        self.0 = value;
    }
}
