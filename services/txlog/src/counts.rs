//! What a group counts, and how long the stages of its commits take. Nothing is decided by it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use contract::{CommitOutcome, Result, Timestamp};
use counters::{Counter, Histogram, Stopwatch};
use parking_lot::Mutex;

/// What became of commits.
pub const OUTCOMES: [&str; 7] =
    ["committed", "other_run_committed", "conflict", "not_leader", "not_committed", "unknown", "refused"];

/// Commits that are traced are told when the log was made durable for them, if that is among the last so many times.
const SYNCS_KEPT_MAX: usize = 1_024;

/// When the log was made durable, and how long that took.
pub type SyncTime = (SystemTime, Duration);

#[derive(Debug)]
pub struct Counts {
    /// In the order of [`OUTCOMES`].
    outcomes: [Counter; OUTCOMES.len()],
    /// From a commit's arrival to its answer.
    pub commits: Histogram,
    /// From a commit's arrival until it is validated.
    pub validate: Histogram,
    /// From the validation of a batch's first commit until the batch is handed to Raft.
    pub queue: Histogram,
    /// From there until the batch is durable on a quorum and applied here.
    pub replicate: Histogram,
    /// How long it takes to carry what Raft has decided into the store.
    pub apply: Histogram,
    /// How often another replica began to lead, as far as it was heard here.
    pub leader_changes: Counter,
    started: Stopwatch,
    /// Since when a commit waits for its batch, in nanoseconds after `started`, and one more; 0 if none does.
    waits_since_ns: AtomicU64,
    /// Up to which commit the log was made durable, when, and how long that took; for traces only.
    syncs: Mutex<VecDeque<(Timestamp, SyncTime)>>,
}

impl Counts {
    pub fn new() -> Counts {
        Counts {
            outcomes: Default::default(),
            commits: Histogram::default(),
            validate: Histogram::default(),
            queue: Histogram::default(),
            replicate: Histogram::default(),
            apply: Histogram::default(),
            leader_changes: Counter::default(),
            started: Stopwatch::start(),
            waits_since_ns: AtomicU64::new(0),
            syncs: Mutex::default(),
        }
    }

    /// A commit has been answered.
    pub fn answered(&self, result: &Result<CommitOutcome>, took: Duration) {
        let outcome = match result {
            Ok(CommitOutcome::Committed { .. }) => 0,
            Ok(CommitOutcome::OtherRunCommitted { .. }) => 1,
            Ok(CommitOutcome::Conflict(_)) => 2,
            Ok(CommitOutcome::NotLeader(_)) => 3,
            Ok(CommitOutcome::NotCommitted) => 4,
            Ok(CommitOutcome::Unknown) => 5,
            Err(_) => 6,
        };
        self.outcomes[outcome].increment();
        self.commits.record(took);
    }

    pub fn outcomes(&self) -> [u64; OUTCOMES.len()] {
        std::array::from_fn(|outcome| self.outcomes[outcome].get())
    }

    /// A commit waits for its batch. To be called as long as nobody can close that.
    pub fn waits(&self) {
        if self.waits_since_ns.load(Ordering::Relaxed) == 0 {
            self.waits_since_ns.store(self.now_ns(), Ordering::Relaxed);
        }
    }

    /// The batch is closed; nobody waits any more.
    pub fn closed(&self) {
        let since_ns = self.waits_since_ns.swap(0, Ordering::Relaxed);
        if since_ns > 0 {
            self.queue.record(Duration::from_nanos(self.now_ns().saturating_sub(since_ns)));
        }
    }

    /// Whoever waited was told that nothing will come of it.
    pub fn given_up(&self) {
        self.waits_since_ns.store(0, Ordering::Relaxed);
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.took().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Commits up to `timestamp` were made durable then.
    pub fn synced(&self, timestamp: Timestamp, sync: SyncTime) {
        let mut syncs = self.syncs.lock();
        syncs.push_back((timestamp, sync));
        if syncs.len() > SYNCS_KEPT_MAX {
            syncs.pop_front();
        }
    }

    /// When a commit was made durable here, if that is still known.
    pub fn sync_of(&self, timestamp: Timestamp) -> Option<SyncTime> {
        let syncs = self.syncs.lock();
        let of = syncs.partition_point(|(up_to, _)| *up_to < timestamp);
        syncs.get(of).map(|(_, sync)| *sync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    #[test]
    fn a_commit_finds_the_sync_of_its_batch() {
        let counts = Counts::new();
        let sync = |seconds| (SystemTime::UNIX_EPOCH, Duration::from_secs(seconds));
        counts.synced(timestamp(10), sync(1));
        counts.synced(timestamp(20), sync(2));
        assert_eq!(counts.sync_of(timestamp(10)), Some(sync(1)));
        assert_eq!(counts.sync_of(timestamp(11)), Some(sync(2)));
        assert_eq!(counts.sync_of(timestamp(21)), None);
    }

    #[test]
    fn a_batch_is_timed_from_its_first_commit_and_only_once() {
        let counts = Counts::new();
        counts.closed();
        assert_eq!(counts.queue.snapshot().count(), 0, "nothing was in it");
        counts.waits();
        counts.waits();
        counts.closed();
        counts.closed();
        assert_eq!(counts.queue.snapshot().count(), 1);
    }
}
