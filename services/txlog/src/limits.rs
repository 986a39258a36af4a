//! What the log takes at once, keeps and gives; what a node keeps on its disk; the pace of Raft.

use fair_queue::share_of;
use limits::{KIB, MIB, group};

use crate::undecided::Taken;

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
        /// What one of several deployments of a group may have of both, in percent, so that the others are not refused because
        /// of it.
        deployment_share_percent: usize = 75,
        /// How far the wall clock may jump ahead of the time that has passed. A timestamp is never taken back, so whatever
        /// the clock says for a moment would hold for ever.
        clock_jump_ms_max: u64 = 3_600_000,
        /// How long a wall clock that has jumped further must say so until it is followed all the same.
        clock_jump_trusted_ms: u64 = 600_000,
        /// How far a replica's wall clock may be ahead of the median of its group's; one that is further ahead is held back, so
        /// that no leader takes the group's time with it.
        clock_ahead_ms_max: u64 = 500,
        /// How often the clocks are held against each other.
        clock_look_ms: u64 = 5_000,
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
        /// For how long a reader holds a moment that would be too old soon, unless it renews that; it does so several times in
        /// this time. For so long a new leader forgets nothing, since it does not know yet what is held.
        hold_ms: u64 = 60_000,
        /// How old a held moment may become (`OutOfRetention`): as long as it is held, the disk keeps what was overwritten and
        /// deleted since.
        held_ms_max: u64 = 6 * 3_600_000,
        /// Moments of one group that are held at a time (`TooManyHolds`).
        holds_max: usize = 256,
        /// How long a replica waits for a timestamp that it has not applied yet, before it answers `NotYet`; and for a deployment
        /// of which it has not heard yet, before it answers `DeploymentNotFound`.
        read_wait_ms_max: u64 = 2_000,
        /// Documents in one answer to a range read.
        read_page_documents_max: usize = 1_024,
        /// Bytes in one answer to a range read, one document excepted.
        read_page_bytes_max: usize = 2 * MIB,
        /// Commits that a subscriber to the stream may be behind before it gets `Lagged`. The deployment that has most of them
        /// in the buffer makes room for the others.
        stream_buffer_commits_max: usize = 16_384,
        /// Bytes that a subscriber to the stream may be behind before it gets `Lagged`.
        stream_buffer_bytes_max: usize = 64 * MIB,
        /// Heartbeats on a quiet commit stream prove that it is current: they come only while a leader can be proved.
        stream_heartbeat_ms: u64 = 500,
        /// While other deployments of the group commit, a quiet one is told this often how far the group has come: it must
        /// not cost a wake-up for each of their commits.
        stream_quiet_ms: u64 = 100,
        /// Commits that a subscriber to the stream takes out at once.
        stream_commits_taken_max: usize = 256,
        /// Keys that one backfill entry passes, deleted ones included: apply executes it on every replica between two batches.
        backfill_keys_max: usize = 512,
    }
}

impl LogLimits {
    /// Whether these commits leave no room for another.
    pub(crate) fn is_full(&self, all: Taken) -> bool {
        all.commits >= self.commits_queued_max || all.bytes >= self.commits_queued_bytes_max
    }

    /// Whether these commits of one deployment leave it no room for another.
    pub(crate) fn is_share_full(&self, own: Taken) -> bool {
        let share = |whole| share_of(whole, self.deployment_share_percent);
        own.commits >= share(self.commits_queued_max) || own.bytes >= share(self.commits_queued_bytes_max)
    }
}

group! {
    store:
    /// What a node keeps on its disk and in memory for it, and the pace of Raft.
    pub struct StoreLimits {
        /// Memory for blocks of the store that were read. The system keeps the files that it has memory for as well; on a
        /// machine of its own a large store is read faster with a quarter of the memory here.
        block_cache_bytes_max: usize = 64 * MIB,
        /// One part of the store's newest writes; up to four parts of each of its five families are in memory until
        /// they are in files.
        write_buffer_bytes_max: usize = 32 * MIB,
        /// Changes to the store that are not flushed: a restart applies them again from the log.
        unflushed_bytes_max: usize = 32 * MIB,
        /// How old such a change may be.
        unflushed_ms_max: u64 = 60_000,
        /// How often it is looked whether it is time to flush.
        unflushed_look_ms: u64 = 250,
        /// Stretches without documents that are remembered, so that who reads the first rows of an index need not pass what
        /// was deleted before them.
        gaps_max: usize = 65_536,
        /// So many deleted keys in a row are worth remembering.
        gap_keys_min: usize = 16,
        /// Younger stretches are remembered as small as they were found: readers are seldom further behind, and use those
        /// that came before their moment.
        gap_young_ms: u64 = 250,
        /// From then on those that came within so long of each other are remembered as one.
        gap_same_ms: u64 = 1_000,
        /// Older ones whenever they came: no function runs for longer.
        gap_old_ms: u64 = 30_000,
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
        log_write_buffer_bytes_max: usize = 16 * MIB,
        /// Files of the log's own write-ahead log.
        log_write_ahead_bytes_max: usize = 256 * MIB,
        /// Operations that wait for the thread that writes the log; over it their callers wait.
        log_writes_queued_max: usize = 4_096,
        /// The newest entries of a group, kept so that apply and replication need not read them back.
        log_entry_cache_bytes_max: usize = 8 * MIB,
        /// Entries that stay in the log though the store has flushed what they did, for replicas that are a little behind.
        log_entries_kept: u64 = 1_000,
        /// Messages that wait for Raft; over it their senders wait.
        raft_messages_queued_max: u64 = 1_024,
        /// Entries that one message of Raft brings to a replica.
        raft_entries_sent_max: u64 = 1_024,
        /// Bytes of the entries that one message of Raft brings to a replica, one entry excepted.
        raft_append_bytes_max: usize = MIB,
        /// One message of Raft: more than its entries, and more than any one of them.
        raft_message_bytes_max: usize = 16 * MIB,
        /// How long another replica may leave a message of Raft unanswered until the connection is given up.
        raft_answer_ms_max: u64 = 2_000,
        /// How large the log of a group may grow because a replica is behind: one that is further behind gets the whole state
        /// instead.
        log_bytes_kept_max: usize = 1_024 * MIB,
        /// The same because of a replica that is there and catches up, as one does that was just sent the state: without the log
        /// since then it would need the state again.
        log_bytes_catching_up_max: usize = 16_384 * MIB,
        /// One file of a group's state that is sent to another replica.
        snapshot_file_bytes_max: usize = 64 * MIB,
        /// Such a file goes in pieces of this size, one row excepted.
        snapshot_piece_bytes_max: usize = 256 * KIB,
        /// How long the other replica may need for one piece, and to put the state in the place of its own.
        snapshot_answer_ms_max: u64 = 60_000,
        /// How often a leader tells its followers that it is there.
        heartbeat_ms: u64 = 100,
        /// A leader that was not heard for `election_ms_max` has none of its followers' promise any more. A follower then wants to lead
        /// after a random time from this on, at the earliest.
        election_ms_min: u64 = 250,
        /// And at the latest. So a leader that is lost is replaced after this and `election_ms_min` at the earliest, twice this at the
        /// latest, and a round of votes.
        election_ms_max: u64 = 500,
        /// How long a group with one voter may take until it takes commits; then the start fails.
        ready_ms_max: u64 = 60_000,
        /// How often a node looks for the others with which it begins a group.
        begin_look_ms: u64 = 200,
        /// How long a leader that stops, or is asked to, tries to hand over its lead: to end what is under way, then to see
        /// another one lead.
        hand_over_ms_max: u64 = 5_000,
    }
}
