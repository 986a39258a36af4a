//! Plain counters of what the service does.

use counters::{Counter, Histogram, HistogramSnapshot};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub text_searches: Histogram,
    pub vector_searches: Histogram,
    pub unavailable: Counter,
    pub documents_read: Counter,
    pub files_written: Counter,
    pub streams: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// How long text searches took.
    pub text_searches: HistogramSnapshot,
    /// How long vector searches took.
    pub vector_searches: HistogramSnapshot,
    /// Searches that were not answered because an index was being built or had not heard of their moment.
    pub unavailable: u64,
    /// Documents that were read to fill indexes.
    pub documents_read: u64,
    /// Parts of indexes that were written into files.
    pub files_written: u64,
    /// Commit streams that were followed: more than there are deployments where one broke.
    pub streams: u64,
    /// Indexes that are kept.
    pub indexes: u64,
    /// Of these, those that are not complete.
    pub incomplete: u64,
    /// Documents in all indexes.
    pub documents: u64,
    /// Bytes of what is in memory and of no file yet.
    pub memory_bytes: u64,
    /// Bytes of memory beside what is in files: vectors' documents, and their graphs.
    pub file_memory_bytes: u64,
}
