use crate::{KIB, MIB};

group! {
    log:
    /// The transaction log and its store.
    pub struct LogLimits {
        /// When a batch of commits is closed. Small, so that one batch delays neither a heartbeat nor everybody.
        batch_bytes_max: usize = 256 * KIB,
        /// Commits in one batch: bounds the work of one apply.
        batch_commits_max: usize = 4_096,
        /// Batches that were handed over and are not applied yet: enough to hide the fsync, few enough to refuse.
        batches_in_flight_max: usize = 8,
        /// Commits that wait for validation (`CommitterFullError`).
        commits_queued_max: usize = 8_192,
        /// Memory of all commits that are validated and not yet applied (`CommitterFullError`): their documents twice.
        commits_queued_bytes_max: usize = 128 * MIB,
        /// How far the wall clock may jump ahead of the time that has passed. A timestamp is never taken back, so whatever
        /// the clock says for a moment would hold for ever.
        clock_jump_ms_max: u64 = 3_600_000,
        /// How long a wall clock that has jumped further must say so until it is followed all the same.
        clock_jump_trusted_ms: u64 = 600_000,
        /// One entry that stages a piece of a large transaction.
        staged_entry_bytes_max: usize = 256 * KIB,
        /// Writes of a transaction that still go into one entry; larger transactions are staged.
        single_entry_bytes_max: usize = 512 * KIB,
        /// All staged writes that wait for their final entry (`CommitterFullError`).
        staged_bytes_max: usize = 256 * MIB,
        /// Bytes of the window of newest writes per key; over it the floor rises and old begins conflict.
        window_bytes_max: usize = 256 * MIB,
        /// How far back the window reaches unless it is full: longer than any function runs.
        window_age_ms_min: u64 = 30_000,
        /// How long a commit can be looked up by its id: longer than any caller goes on asking.
        commit_record_age_ms: u64 = 600_000,
        /// How far behind the newest commit a read may be: a paused client continues, a push compares.
        retention_ms_min: u64 = 300_000,
        /// How long a replica waits for a timestamp that it has not applied yet, before it answers `NotYet`.
        read_wait_ms_max: u64 = 2_000,
        /// Documents in one answer to a range read.
        read_page_documents_max: usize = 1_024,
        /// Bytes in one answer to a range read, one document excepted.
        read_page_bytes_max: usize = 2 * MIB,
        /// Commits that a subscriber to the stream may be behind before it gets `Lagged`.
        stream_buffer_commits_max: usize = 16_384,
        /// Bytes that a subscriber to the stream may be behind before it gets `Lagged`.
        stream_buffer_bytes_max: usize = 64 * MIB,
        /// Heartbeats on a quiet commit stream prove that it is current.
        stream_heartbeat_ms: u64 = 500,
        /// Commits that a subscriber to the stream takes out at once.
        stream_commits_taken_max: usize = 256,
        /// Keys that one backfill entry passes, deleted ones included: apply executes it on every replica between two batches.
        backfill_keys_max: usize = 512,
    }
}
