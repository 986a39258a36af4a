use crate::MIB;

group! {
    store:
    /// What a node keeps on its disk and in memory for it, and the pace of Raft.
    pub struct StoreLimits {
        /// Memory for blocks of the store that were read.
        block_cache_bytes_max: usize = 256 * MIB,
        /// One part of the store's newest writes; up to four parts of each of its five families are in memory until
        /// they are in files.
        write_buffer_bytes_max: usize = 64 * MIB,
        /// Changes to the store that are not flushed: a restart applies them again from the log.
        unflushed_bytes_max: usize = 64 * MIB,
        /// How old such a change may be.
        unflushed_ms_max: u64 = 60_000,
        /// How often it is looked whether it is time to flush.
        unflushed_look_ms: u64 = 250,
        /// Stretches without documents that are remembered, so that who reads the first rows of an index need not pass what
        /// was deleted before them.
        gaps_max: usize = 65_536,
        /// How often it is looked what was deleted and can't be read any more, to remove it.
        sweep_look_ms: u64 = 1_000,
        /// Deleted keys that are removed at once: some milliseconds of work.
        sweep_keys_max: usize = 4_096,
        /// While nothing is written, the store's files are compacted if since the last time this much of what they hold
        /// was written: it rewrites all of them.
        idle_compaction_percent_min: usize = 12,
        /// Changes that are written at once, so that readers wait for none of them long.
        apply_bytes_max: usize = MIB,
        /// The newest part of the log, until it is in files.
        log_write_buffer_bytes_max: usize = 64 * MIB,
        /// Files of the log's own write-ahead log.
        log_write_ahead_bytes_max: usize = 256 * MIB,
        /// Operations that wait for the thread that writes the log; over it their callers wait.
        log_writes_queued_max: usize = 4_096,
        /// The newest entries of a group, kept so that apply and replication need not read them back.
        log_entry_cache_bytes_max: usize = 32 * MIB,
        /// Entries that stay in the log though the store has flushed what they did, for replicas that are a little behind.
        log_entries_kept: u64 = 1_000,
        /// Messages that wait for Raft; over it their senders wait.
        raft_messages_queued_max: u64 = 1_024,
        /// Entries that one message of Raft brings to a replica.
        raft_entries_sent_max: u64 = 1_024,
        /// How often a leader tells its followers that it is there.
        heartbeat_ms: u64 = 250,
        /// After so long without a leader, at the earliest, a follower wants to lead.
        election_ms_min: u64 = 1_000,
        /// And at the latest.
        election_ms_max: u64 = 2_000,
        /// How long a group with one voter may take until it takes commits; then the start fails.
        ready_ms_max: u64 = 60_000,
    }
}
