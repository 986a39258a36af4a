//! What a node's log and store do and take, for whoever exports it.

use crate::group::Group;

/// At one moment, all groups of the node together. Counts are since the start of the process. Sizes are bytes of memory, but
/// for the store's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Commits that are validated and not yet applied.
    pub commits_undecided: u64,
    /// What they take.
    pub commits_undecided_bytes: u64,
    /// Batches that all replicas have passed over, since they did not follow the one before.
    pub batches_skipped: u64,
    /// By how many nanoseconds this node's clock is held back, since it is ahead of the others': the most of all groups.
    pub clock_held_back_ns: u64,
    /// How often the log was made durable.
    pub fsyncs: u64,
    /// How often subscribers to the stream of commits were woken.
    pub stream_wake_ups: u64,
    /// The newest writes, which commits are validated against.
    pub window_bytes: u64,
    /// The newest commits, for subscribers that are behind.
    pub stream_bytes: u64,
    /// The newest entries of the log, for apply and replication.
    pub entry_bytes: u64,
    /// What is in no file of the log yet.
    pub log_write_buffer_bytes: u64,
    /// What is in no file of the store yet.
    pub store_write_buffer_bytes: u64,
    /// Blocks of the store that were read.
    pub store_block_cache_bytes: u64,
    /// Changes since the store was flushed.
    pub store_unflushed_bytes: u64,
    /// Files of the store.
    pub store_file_bytes: u64,
}

impl Group {
    /// Adds what this group does and takes; what the groups share is the node's.
    pub(crate) fn add_to(&self, sum: &mut MetricsSnapshot) {
        {
            let queue = self.queue.read();
            sum.commits_undecided += queue.undecided().commits as u64;
            sum.commits_undecided_bytes += queue.undecided().bytes as u64;
            sum.window_bytes += queue.window_bytes() as u64;
        }
        sum.batches_skipped += self.batches_skipped();
        sum.clock_held_back_ns = sum.clock_held_back_ns.max(self.clock_held_back());
        sum.stream_wake_ups += self.buffer.wake_ups();
        sum.stream_bytes += self.buffer.bytes() as u64;
        sum.store_write_buffer_bytes = self.store.write_buffer_bytes();
        sum.store_block_cache_bytes = self.store.block_cache_bytes() as u64;
        sum.store_unflushed_bytes = self.store.unflushed_bytes();
        sum.store_file_bytes = self.store.file_bytes().unwrap_or_default();
    }
}
