//! Plain counters of what becomes of events.

use counters::Counter;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub events_sent: Counter,
    pub events_dropped: Counter,
    pub requests_sent: Counter,
    pub requests_failed: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Events that a receiver has taken.
    pub events_sent: u64,
    /// Those that nobody got: too many waited, or their receiver did not take them.
    pub events_dropped: u64,
    /// Requests that were sent, repeated ones too.
    pub requests_sent: u64,
    /// Those that a receiver did not take.
    pub requests_failed: u64,
}

impl Metrics {
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            events_sent: self.events_sent.get(),
            events_dropped: self.events_dropped.get(),
            requests_sent: self.requests_sent.get(),
            requests_failed: self.requests_failed.get(),
        }
    }
}
