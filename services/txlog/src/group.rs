//! One group on this node: its part of the store, what it decides about commits, and who hears of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use contract::{CommitOutcome, DeploymentId, GroupId, Position, Timestamp};
use limits::LogLimits;
use parking_lot::RwLock;
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    apply::{Applied, AppliedState},
    batcher::BatchLimits,
    clock::Clock,
    keys::Incarnation,
    leader::{Answer, Leader, LeaderOptions},
    state_store::StateStore,
    stream::CommitBuffer,
};

/// Who waits for an outcome.
pub type Waiter = oneshot::Sender<CommitOutcome>;

/// What apply, the proposer and the readers of a group share.
pub struct Group {
    pub id: GroupId,
    pub incarnation: Incarnation,
    pub deployments: Vec<DeploymentId>,
    pub limits: LogLimits,
    pub clock: Clock,
    pub store: Arc<StateStore>,
    pub leader: RwLock<Leader<Waiter>>,
    pub buffer: Arc<CommitBuffer>,
    /// There may be a batch to propose.
    pub work: Notify,
    position: watch::Sender<Position>,
    published: AtomicU64,
    horizon: AtomicU64,
    records_floor: AtomicU64,
    /// Changes to the store since it was flushed.
    pub unflushed_bytes: AtomicU64,
}

impl Group {
    pub fn new(
        id: GroupId,
        incarnation: Incarnation,
        deployments: Vec<DeploymentId>,
        limits: LogLimits,
        clock: Clock,
        store: Arc<StateStore>,
        state: &AppliedState,
    ) -> Group {
        let last = state.last_timestamp;
        let options = LeaderOptions {
            batches: BatchLimits {
                bytes_max: limits.batch_bytes_max,
                commits_max: limits.batch_commits_max,
                in_flight_max: limits.batches_in_flight_max,
            },
            retention_ms: limits.retention_ms_min,
            records_age_ms: limits.commit_record_age_ms,
        };
        let leader = Leader::new(options, last);
        let position = Position { epoch: leader.epoch(), ready: false, published: last };
        Group {
            id,
            incarnation,
            deployments,
            limits,
            clock,
            store,
            leader: RwLock::new(leader),
            buffer: Arc::new(CommitBuffer::new(last, &limits)),
            work: Notify::new(),
            position: watch::Sender::new(position),
            published: AtomicU64::new(last.as_nanoseconds()),
            horizon: AtomicU64::new(state.horizon.as_nanoseconds()),
            records_floor: AtomicU64::new(state.records_floor.as_nanoseconds()),
            unflushed_bytes: AtomicU64::new(0),
        }
    }

    pub fn published(&self) -> Timestamp {
        load(&self.published)
    }

    /// What is older can't be read.
    pub fn horizon(&self) -> Timestamp {
        load(&self.horizon)
    }

    /// Commit records that are older don't count.
    pub fn records_floor(&self) -> Timestamp {
        load(&self.records_floor)
    }

    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// Changes what the leader decides, tells who waits, and shows the new position.
    pub fn decide(&self, change: impl FnOnce(&mut Leader<Waiter>) -> Vec<Answer<Waiter>>) {
        let (answers, position) = {
            let mut leader = self.leader.write();
            let answers = change(&mut leader);
            (answers, position_of(&leader))
        };
        self.show(position);
        tell(answers);
    }

    /// Makes known what was applied, in its order. The changes are in the store.
    pub fn publish(&self, applied: Vec<Applied>, state: &AppliedState) {
        self.horizon.store(state.horizon.as_nanoseconds(), Ordering::Release);
        self.records_floor.store(state.records_floor.as_nanoseconds(), Ordering::Release);
        self.decide(|leader| {
            let mut answers = Vec::new();
            for applied in applied {
                match applied {
                    Applied::Commits(commits) => {
                        answers.extend(leader.applied(&commits));
                        self.published.store(leader.published().as_nanoseconds(), Ordering::Release);
                        self.buffer
                            .add(commits.into_iter().map(|(deployment, _, notice)| (deployment, notice)));
                    }
                    Applied::Skipped(timestamps) => answers.extend(leader.skipped(timestamps)),
                    Applied::TermBegan(term) => leader.applied_blank(term),
                    Applied::Nothing | Applied::Backfilled(_) => {}
                }
            }
            let age = self.limits.window_age_ms_min.saturating_mul(1_000_000);
            let keep_above = leader.head().as_nanoseconds().saturating_sub(age);
            leader.trim(Timestamp::new(keep_above).unwrap_or_default(), self.limits.window_bytes_max);
            answers
        });
        // Room for another batch, or a term to lead.
        self.work.notify_one();
    }

    /// Changes to the store since it was flushed last.
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    fn show(&self, position: Position) {
        self.position.send_if_modified(|shown| {
            let changed = *shown != position;
            // Two changes may come here in the other order: published never goes back.
            *shown = Position { published: position.published.max(shown.published), ..position };
            changed
        });
    }
}

fn load(timestamp: &AtomicU64) -> Timestamp {
    Timestamp::new(timestamp.load(Ordering::Acquire)).expect("only timestamps are stored")
}

fn position_of(leader: &Leader<Waiter>) -> Position {
    Position { epoch: leader.epoch(), ready: leader.is_ready(), published: leader.published() }
}

fn tell(answers: Vec<Answer<Waiter>>) {
    for answer in answers {
        // Whoever waited may have gone.
        let _ = answer.waiter.send(answer.outcome);
    }
}
