//! What a mutation on its way reads: the log at one moment, which moves forward while it waits for turns.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentRef, Error, ErrorKind,
    GroupId, Hold, HoldId, Interval, Lookup, Position, Read, ReadAt, ReadResult, ReadSet, Result, Retry,
    StreamEvents, Timestamp, TransactionLog,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    calls::ThreadPlace,
    turns::{CallTurns, Turn, TurnKey},
};

/// The run ends here, and begins anew once the call has the turn that the snapshot names.
pub(super) const TURN_WANTED: &str = "TurnWanted";

/// The log as a mutation's run sees it. A read that meets a key for which others are queued waits for the key's turn, and is
/// then made at the newest moment, if what was read before is still so there.
pub(crate) struct Snapshot {
    log: Arc<dyn TransactionLog>,
    turns: CallTurns,
    place: ThreadPlace,
    state: Mutex<State>,
}

struct State {
    at: ReadAt,
    /// All that was asked for, which is never less than what the transaction counts as read.
    read: ReadSet,
    /// Not before the transaction has begun, and not after its function has left the thread.
    may_wait: bool,
    /// The function has looked at the clock, whose time belongs to the moment.
    is_time_seen: bool,
    has_waited: bool,
    has_moved: bool,
    wanted: Option<TurnKey>,
}

impl Snapshot {
    pub(super) fn new(
        log: Arc<dyn TransactionLog>,
        at: ReadAt,
        turns: CallTurns,
        place: ThreadPlace,
    ) -> Snapshot {
        let state = State {
            at,
            read: ReadSet::new(),
            may_wait: false,
            is_time_seen: false,
            has_waited: false,
            has_moved: false,
            wanted: None,
        };
        Snapshot { log, turns, place, state: Mutex::new(state) }
    }

    /// The transaction has begun. From here on reads wait for turns, if they may.
    pub(super) fn begun(&self) {
        self.state.lock().may_wait = self.turns.may_wait();
    }

    /// The function has ended, and has left its thread.
    pub(super) fn ended(&self) {
        self.state.lock().may_wait = false;
    }

    /// From here on the moment stays.
    pub(super) fn time_is_seen(&self) {
        self.state.lock().is_time_seen = true;
    }

    /// From here on the moment stays: something was read that the log can't tell of.
    pub(super) fn stays(&self) {
        self.time_is_seen();
    }

    /// Where the reads are made, if that has changed since this was asked.
    pub(super) fn moved(&self) -> Option<ReadAt> {
        let mut state = self.state.lock();
        std::mem::take(&mut state.has_moved).then_some(state.at)
    }

    /// Whether a read has waited since this was asked.
    pub(super) fn waited(&self) -> bool {
        std::mem::take(&mut self.state.lock().has_waited)
    }

    /// The key whose turn the next run needs, after [`TURN_WANTED`].
    pub(super) fn wanted(&self) -> Option<TurnKey> {
        self.state.lock().wanted.take()
    }

    /// A document that the reads may meet, or have met, and others are queued for.
    fn queued(&self, deployment: DeploymentRef, reads: &[Read], results: &[ReadResult]) -> Option<TurnKey> {
        if !self.turns.any() {
            return None;
        }
        let asked_for = reads.iter().find_map(|read| match read {
            Read::Point { key, .. } => self.turns.first_queued([TurnKey::of(deployment, key)].into_iter()),
            Read::Range { index, interval, .. } => self.turns.queued_in(deployment, *index, interval),
        });
        let found = || {
            results.iter().find_map(|result| match result {
                ReadResult::Point(_) => None,
                ReadResult::Range { rows, .. } => {
                    self.turns.first_queued(rows.iter().map(|row| TurnKey::of(deployment, &row.key)))
                }
            })
        };
        asked_for.or_else(found)
    }

    /// Waits for the turn of a document, and moves to the newest moment. Fails where this run is to begin anew.
    async fn wait(&self, deployment: DeploymentRef, key: TurnKey) -> Result<()> {
        let turn = match self.turns.try_take(&key) {
            Some(turn) => turn,
            None => {
                let Some(_parked) = self.place.park() else {
                    self.state.lock().wanted = Some(key);
                    return Err(turn_wanted());
                };
                self.turns.take(&key).await
            }
        };
        let mut state = self.state.lock();
        state.has_waited = true;
        // Who gets no turn goes on without any.
        state.may_wait = turn == Turn::Given;
        let newest = match state.is_time_seen {
            false => self.log.unchanged_until(deployment, state.at, &state.read),
            true => None,
        };
        match newest {
            Some(newest) => (state.at, state.has_moved) = (newest, true),
            // What was read is not so any more, so this run can't commit. The turn stays with the call.
            None if turn == Turn::Given => {
                state.wanted = Some(key);
                return Err(turn_wanted());
            }
            None => {}
        }
        Ok(())
    }
}

/// What a read asks for.
fn asked(read: &Read) -> (contract::IndexId, Interval) {
    match read {
        Read::Point { index, key } => (*index, Interval::point(key)),
        Read::Range { index, interval, .. } => (*index, interval.clone()),
    }
}

fn turn_wanted() -> Error {
    Error { retry: Retry::Now, ..Error::new(ErrorKind::Conflict, TURN_WANTED, "others are queued for a key") }
}

#[async_trait]
impl TransactionLog for Snapshot {
    async fn read(&self, deployment: DeploymentRef, _: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        loop {
            let (at, may_wait) = {
                let state = self.state.lock();
                (state.at, state.may_wait)
            };
            if may_wait && let Some(key) = self.queued(deployment, reads, &[]) {
                self.wait(deployment, key).await?;
                continue;
            }
            let results = self.log.read(deployment, at, reads).await?;
            if may_wait && let Some(key) = self.queued(deployment, reads, &results) {
                self.wait(deployment, key).await?;
                continue;
            }
            let mut state = self.state.lock();
            for (index, interval) in reads.iter().map(asked) {
                state.read.add(index, interval);
            }
            return Ok(results);
        }
    }
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        self.log.position(group)
    }
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        self.log.commit(commit).await
    }
    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        self.log.lookup(at, id).await
    }
    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        self.log.confirm_leadership(group).await
    }
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.log.subscribe(deployment, from).await
    }
    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        self.log.backfill(step).await
    }
    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        self.log.hold(group, hold).await
    }
    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        self.log.release(group, id).await
    }
}
