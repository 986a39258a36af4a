//! What a node's log and store do and take, for whoever exports it.

use std::time::Duration;

use counters::HistogramSnapshot;
use openraft::ServerState;

use crate::{clock::passed, counts::OUTCOMES, group::Group, handle::HandleGroup, members::GroupStatus};

const STAGES: [&str; 4] = ["validate", "queue", "replicate", "apply"];

/// At one moment, all groups of the node together. Counts are since the start of the process. Sizes are bytes of memory, but
/// for the store's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Commits that were answered, in the order of [`MetricsSnapshot::OUTCOMES`].
    pub outcomes: [u64; OUTCOMES.len()],
    /// From a commit's arrival to its answer.
    pub commits: HistogramSnapshot,
    /// The stages of commits, in the order of [`MetricsSnapshot::STAGES`].
    pub stages: [HistogramSnapshot; STAGES.len()],
    /// How long it took to make the log durable, each time.
    pub syncs: HistogramSnapshot,
    /// Commits that are validated and not yet applied.
    pub commits_undecided: u64,
    /// What they take.
    pub commits_undecided_bytes: u64,
    /// Batches that all replicas have passed over, since they did not follow the one before.
    pub batches_skipped: u64,
    /// By how many nanoseconds this node's clock is held back, since it is ahead of the others': the most of all groups.
    pub clock_held_back_ns: u64,
    /// Moments that readers hold, in the groups that this node leads.
    pub held: u64,
    /// How old the oldest of them is, by this machine's clock.
    pub held_age: Duration,
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

impl MetricsSnapshot {
    /// What becomes of commits.
    pub const OUTCOMES: [&str; OUTCOMES.len()] = OUTCOMES;
    /// Until a commit is validated; until its batch is handed to Raft; until that is durable on a quorum and applied here, of which the last
    /// stage is a part: carrying it into the store.
    pub const STAGES: [&str; STAGES.len()] = STAGES;
}

/// The Raft of a group, as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftSnapshot {
    pub group: u32,
    pub term: u64,
    /// Whether this replica leads.
    pub leads: bool,
    /// Whether it has heard lately of one that does.
    pub has_leader: bool,
    /// How often another replica began to lead, as far as it was heard here.
    pub leader_changes: u64,
    pub voters: u64,
    /// Replicas without a vote.
    pub learners: u64,
    /// Of the last entry of this replica's log; 0 if there is none, like all that follow.
    pub last_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    /// The last entry that is gone from the log.
    pub purged_index: u64,
    /// The others, as their leader knows them; nothing on a follower.
    pub replicas: Vec<ReplicaSnapshot>,
    /// How far the last published commit is ahead of this machine's clock; nothing if it is behind.
    pub ahead_of_clock: Duration,
}

/// Another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSnapshot {
    pub node: u64,
    /// Entries of the leader's log that it is not known to have.
    pub lag_entries: u64,
    /// How long ago it answered; `None` if it never has.
    pub heard_ago: Option<Duration>,
}

impl RaftSnapshot {
    pub(crate) fn of(of: &HandleGroup) -> RaftSnapshot {
        let metrics = of.metrics();
        let GroupStatus { group, term, last_index, applied_index, replicas, .. } = of.status_by(&metrics);
        let leads = metrics.state == ServerState::Leader;
        let voters = replicas.iter().filter(|replica| replica.voter).count();
        let others = replicas.iter().filter(|replica| leads && replica.node != of.node);
        let others = others.map(|replica| ReplicaSnapshot {
            node: replica.node.0,
            lag_entries: replica.entries_behind.unwrap_or(last_index),
            heard_ago: replica.silent_ms.map(Duration::from_millis),
        });
        let published_ns = of.group.published().as_nanoseconds();
        let ahead_ns = published_ns.saturating_sub(of.group.clock.now().as_nanoseconds());
        RaftSnapshot {
            group: group.0,
            term,
            leads,
            has_leader: of.leader(&metrics).is_some(),
            leader_changes: of.group.counts.leader_changes.get(),
            voters: voters as u64,
            learners: (replicas.len() - voters) as u64,
            last_index,
            committed_index: metrics.cluster_committed.map_or(0, |id| id.index),
            applied_index,
            purged_index: metrics.purged.map_or(0, |id| id.index),
            replicas: others.collect(),
            ahead_of_clock: Duration::from_nanos(ahead_ns),
        }
    }
}

impl Group {
    /// Adds what this group does and takes; what the groups share is the node's.
    pub(crate) fn add_to(&self, sum: &mut MetricsSnapshot) {
        {
            let queue = self.queue.read();
            sum.commits_undecided += queue.undecided().commits as u64;
            sum.commits_undecided_bytes += queue.undecided().bytes as u64;
            sum.window_bytes += queue.window_bytes() as u64;
            let (held, oldest) = queue.held(passed());
            sum.held += held as u64;
            let now_ns = self.clock.now().as_nanoseconds();
            let age_ns = oldest.map_or(0, |oldest| now_ns.saturating_sub(oldest.as_nanoseconds()));
            sum.held_age = sum.held_age.max(Duration::from_nanos(age_ns));
        }
        for (sum, count) in sum.outcomes.iter_mut().zip(self.counts.outcomes()) {
            *sum += count;
        }
        sum.commits.add(&self.counts.commits.snapshot());
        let counts = &self.counts;
        let stages = [&counts.validate, &counts.queue, &counts.replicate, &counts.apply];
        for (sum, stage) in sum.stages.iter_mut().zip(stages) {
            sum.add(&stage.snapshot());
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
