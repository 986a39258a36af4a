//! Plain counters of what becomes of files.

use counters::Counter;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub uploads_begun: Counter,
    pub uploads_kept: Counter,
    pub uploads_cut_off: Counter,
    pub bytes_stored: Counter,
    pub reads: Counter,
    pub bytes_read: Counter,
    pub objects_swept: Counter,
    pub sweeps_failed: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Uploads that were begun.
    pub uploads_begun: u64,
    /// Those that have become files.
    pub uploads_kept: u64,
    /// Those that were given up: their client went away, or they were refused.
    pub uploads_cut_off: u64,
    /// Bytes of uploads that were taken.
    pub bytes_stored: u64,
    /// Reads of files and of parts of them.
    pub reads: u64,
    /// Bytes that were read for them.
    pub bytes_read: u64,
    /// Objects without a file that were removed after the grace time.
    pub objects_swept: u64,
    /// Sweeps that came to no end.
    pub sweeps_failed: u64,
}

impl Metrics {
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            uploads_begun: self.uploads_begun.get(),
            uploads_kept: self.uploads_kept.get(),
            uploads_cut_off: self.uploads_cut_off.get(),
            bytes_stored: self.bytes_stored.get(),
            reads: self.reads.get(),
            bytes_read: self.bytes_read.get(),
            objects_swept: self.objects_swept.get(),
            sweeps_failed: self.sweeps_failed.get(),
        }
    }
}
