//! Carries the entries that Raft has decided into the store, and tells the group.

use std::{io, sync::Arc};

use counters::Stopwatch;
use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};

use crate::{
    apply::{Applied, AppliedState, Applier, ApplyError, EntryId, Payload, Round, Writable},
    entry::LogEntry,
    fatal::FatalHandler,
    group::Group,
    incarnations, planted, raft_codec,
    raft_log::RaftLog,
    raft_types::{EntryBytes, EntryOutcome, LogId, RaftTypes, StoredMembership, log_id},
    runtime,
    snapshot::{Received, SnapshotData},
    state_store::Floors,
};

pub struct StateMachine {
    group: Arc<Group>,
    applier: Applier,
    log: RaftLog,
    /// Changes that are written at once.
    apply_bytes_max: usize,
    fatal: FatalHandler,
}

impl StateMachine {
    /// `applier` stands where the store does; all of that is flushed.
    pub fn new(
        group: Arc<Group>,
        applier: Applier,
        log: RaftLog,
        apply_bytes_max: usize,
        fatal: FatalHandler,
    ) -> StateMachine {
        if let Some(last) = applier.state().last {
            log.state_flushed(last.index);
        }
        StateMachine { group, applier, log, apply_bytes_max, fatal }
    }

    async fn apply_all<S>(&mut self, mut entries: S) -> Result<(), ApplyError>
    where
        S: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + OptionalSend,
    {
        let group = self.group.clone();
        let mut publish = |applied: Vec<Applied>, state: &AppliedState| group.publish(applied, state);
        let mut round = Round::new(&mut self.applier, &*group.store, self.apply_bytes_max);
        let mut responders = Vec::new();
        while let Some((entry, responder)) =
            entries.try_next().await.map_err(|error| ApplyError::Log(error.to_string()))?
        {
            self.log.assert_appended(&entry);
            if !planted::is(planted::Bug::ApplyPassesLog) {
                self.log.written(entry.log_id.index).await;
            }
            let id = EntryId { term: entry.log_id.leader_id.term, index: entry.log_id.index };
            let payload = match entry.payload {
                EntryPayload::Blank => Payload::Blank,
                EntryPayload::Normal(EntryBytes(bytes)) => {
                    let entry = LogEntry::decode(bytes)?;
                    if telemetry::is_on() {
                        note_sync(&group, &self.log, id.index, &entry);
                    }
                    Payload::Entry(entry)
                }
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(entry.log_id), membership);
                    Payload::Membership(raft_codec::encode_stored_membership(&stored))
                }
            };
            let outcome = round.apply(id, payload, outcome_of, &mut publish)?;
            if outcome == EntryOutcome::Skipped {
                tracing::error!(group = group.id.0, ?id, "a batch was skipped");
            }
            if let Some(responder) = responder {
                responders.push((responder, outcome));
            }
        }
        round.write(&mut publish)?;
        for (responder, outcome) in responders {
            responder.send(outcome);
        }
        Ok(())
    }

    /// Takes over where another state has come to, not its data.
    fn install_position(&mut self, state: AppliedState) -> Result<(), ApplyError> {
        if state.last_timestamp > self.applier.state().last_timestamp {
            return Err(ApplyError::Log(
                "a state that holds commits can't be installed without its data".into(),
            ));
        }
        self.applier = Applier::new(self.group.incarnation(), state.clone());
        let mut changes = self.group.store.changes();
        self.applier.save(&mut changes);
        self.group.store.write(changes)?;
        self.group.set_flushed(state);
        Ok(())
    }

    /// Puts another replica's state in the place of this one's. After a crash there is the one or the other.
    async fn install(&mut self, received: Received) -> Result<(), ApplyError> {
        let Some(last) = log_id_of(received.state()) else {
            return Err(ApplyError::Log("a state without a place was received".into()));
        };
        self.log.state_replaced(last).await.map_err(|error| ApplyError::Log(error.to_string()))?;
        let (incarnation, state) = received.take();
        let before = self.group.incarnation();
        let applier = Applier::new(incarnation, state.clone());
        let store = self.group.store.clone();
        let id = self.group.id;
        let floors = Floors { horizon: state.horizon, records: state.records_floor };
        let mut changes = store.changes();
        incarnations::assign(&mut changes, id, incarnation);
        applier.save(&mut changes);
        store.write(changes)?;
        if !planted::is(planted::Bug::InstallIsNotFlushed) {
            blocking(move || store.flush(&[(incarnation, floors)])).await?;
        }
        self.applier = applier;
        self.log.state_flushed(last.index);
        self.group.replaced(incarnation, &state);
        tracing::info!(group = id.0, %last, "the state of another replica was installed");
        let store = self.group.store.clone();
        blocking(move || store.delete_incarnation(before)).await
    }

    /// A failing store or an entry that can't be applied ends the process: this replica would go its own way.
    fn or_end<T>(&self, result: Result<T, ApplyError>) -> Result<T, io::Error> {
        result.map_err(|error| {
            self.fatal.end(&format!("group {} can't go on: {error}", self.group.id.0));
            io::Error::other(error.to_string())
        })
    }
}

/// Notes when a batch was made durable here, for the commits of it that are traced.
fn note_sync(group: &Group, log: &RaftLog, index: u64, entry: &LogEntry) {
    if let LogEntry::Batch(batch) = entry
        && let Some(last) = batch.commits.last()
        && let Some(sync) = log.sync_of(index)
    {
        group.counts.synced(last.timestamp, sync);
    }
}

fn outcome_of(applied: &Applied) -> EntryOutcome {
    match applied {
        Applied::Skipped(..) => EntryOutcome::Skipped,
        Applied::Backfilled(progress) => progress.clone().into(),
        Applied::Nothing | Applied::TermBegan(_) | Applied::Commits(..) => EntryOutcome::Applied,
    }
}

fn log_id_of(state: &AppliedState) -> Option<LogId> {
    state.last.map(|last| log_id(last.term, last.index))
}

fn membership_of(state: &AppliedState) -> Result<StoredMembership, io::Error> {
    if state.membership.is_empty() {
        return Ok(StoredMembership::default());
    }
    raft_codec::decode_stored_membership(state.membership.clone())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What Raft is told of a state.
pub fn meta_of(state: &AppliedState) -> Result<SnapshotMetaOf<RaftTypes>, io::Error> {
    let (last_log_id, last_membership) = (log_id_of(state), membership_of(state)?);
    Ok(SnapshotMetaOf::<RaftTypes> { last_log_id, last_membership })
}

fn snapshot_of(state: AppliedState) -> Result<SnapshotOf<RaftTypes, SnapshotData>, io::Error> {
    let meta = meta_of(&state)?;
    Ok(SnapshotOf::<RaftTypes, SnapshotData> { meta, snapshot: SnapshotData::Here(state) })
}

impl RaftStateMachine<RaftTypes> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((log_id_of(self.applier.state()), membership_of(self.applier.state())?))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + OptionalSend,
    {
        let stopwatch = Stopwatch::start();
        let result = self.apply_all(entries).await;
        self.group.counts.apply.record(stopwatch.took());
        self.or_end(result)
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        Flush { group: self.group.clone(), log: self.log.clone(), fatal: self.fatal.clone() }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<RaftTypes>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let installed = match snapshot {
            SnapshotData::Here(state) => self.install_position(state),
            SnapshotData::Received(received) => self.install(received).await,
        };
        self.or_end(installed)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<RaftTypes, SnapshotData>>, io::Error> {
        self.group.flushed().map(snapshot_of).transpose()
    }
}

/// Gives Raft the state that was flushed last, so that the log before it can go.
pub struct Flush {
    group: Arc<Group>,
    log: RaftLog,
    fatal: FatalHandler,
}

impl RaftSnapshotBuilder<RaftTypes> for Flush {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<RaftTypes, SnapshotData>, io::Error> {
        if planted::is(planted::Bug::PurgePassesFlushed) {
            let applied = self.group.applied();
            self.log.state_flushed(applied.last.unwrap_or_default().index);
            return snapshot_of(applied);
        }
        // Mostly the node's store has just been flushed, for all its groups at once, and this was triggered then.
        if let Some(flushed) = self.group.take_flushed() {
            return snapshot_of(flushed);
        }
        flush(&[(self.group.clone(), self.log.clone())], &self.fatal).await?;
        self.group.take_flushed();
        snapshot_of(self.group.flushed().unwrap_or_default())
    }
}

/// Flushes the store of the node on which these groups are, and notes how far each of them is flushed. A failure ends the
/// process.
pub async fn flush(groups: &[(Arc<Group>, RaftLog)], fatal: &FatalHandler) -> Result<(), io::Error> {
    let Some((first, _)) = groups.first() else { return Ok(()) };
    let store = first.store.clone();
    // Read before the flush: what is applied meanwhile is not promised.
    let states: Vec<AppliedState> = groups.iter().map(|(group, _)| group.applied()).collect();
    let floors: Vec<_> = groups
        .iter()
        .zip(&states)
        .map(|((group, _), state)| {
            let floors = Floors { horizon: state.horizon, records: state.records_floor };
            (group.incarnation(), floors)
        })
        .collect();
    if let Err(error) = blocking(move || store.flush(&floors)).await {
        fatal.end(&format!("the state can't be flushed: {error}"));
        return Err(io::Error::other(error.to_string()));
    }
    for ((group, log), state) in groups.iter().zip(states) {
        if let Some(last) = state.last {
            log.state_flushed(last.index);
        }
        group.set_flushed(state);
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApplyError> + Send + 'static,
) -> Result<T, ApplyError> {
    let done = runtime::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ApplyError::Store(error.to_string())))
}
