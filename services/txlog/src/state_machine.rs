//! Carries the entries that Raft has decided into the store, and tells the group.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use parking_lot::Mutex;

use crate::{
    apply::{Applied, AppliedState, Applier, ApplyError, EntryId, Payload},
    entry::LogEntry,
    fatal::FatalHandler,
    group::Group,
    raft_log::{RaftLog, log_id},
    raft_types::{EntryBytes, EntryOutcome, LogId, RaftTypes, StoredMembership},
    state_store::{Floors, StateChanges},
};

pub struct StateMachine {
    group: Arc<Group>,
    applier: Applier,
    log: RaftLog,
    /// Changes that are written at once.
    apply_bytes_max: usize,
    fatal: FatalHandler,
    flushed: Flushed,
}

/// The state as it was when it was flushed last.
type Flushed = Arc<Mutex<Option<AppliedState>>>;

/// What Raft calls a snapshot: the state is flushed up to here. The data stays where it is.
#[derive(Clone, Debug)]
pub struct FlushedState(AppliedState);

impl StateMachine {
    /// `applier` stands where the store does; all of that is flushed.
    pub fn new(
        group: Arc<Group>,
        applier: Applier,
        log: RaftLog,
        apply_bytes_max: usize,
        fatal: FatalHandler,
    ) -> StateMachine {
        let flushed = applier.state().last.map(|last| {
            log.state_flushed(last.index);
            applier.state().clone()
        });
        StateMachine { group, applier, log, apply_bytes_max, fatal, flushed: Arc::new(Mutex::new(flushed)) }
    }

    /// Writes the changes, then tells the group what they were.
    fn write(&mut self, mut changes: StateChanges<'_>, applied: &mut Vec<Applied>) -> Result<(), ApplyError> {
        self.applier.save(&mut changes);
        let bytes = changes.bytes() as u64;
        self.group.store.write(changes)?;
        self.group.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.group.publish(std::mem::take(applied), self.applier.state());
        Ok(())
    }

    async fn apply_all<S>(&mut self, mut entries: S) -> Result<(), ApplyError>
    where
        S: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + OptionalSend,
    {
        let group = self.group.clone();
        let store = &group.store;
        let mut changes = store.changes();
        let mut applied = Vec::new();
        let mut responders = Vec::new();
        while let Some((entry, responder)) =
            entries.try_next().await.map_err(|error| ApplyError::Log(error.to_string()))?
        {
            let id = EntryId { term: entry.log_id.leader_id.term, index: entry.log_id.index };
            let payload = match entry.payload {
                EntryPayload::Blank => Payload::Blank,
                EntryPayload::Normal(EntryBytes(bytes)) => Payload::Entry(LogEntry::decode(bytes)?),
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(entry.log_id), membership);
                    Payload::Membership(encode_membership(&stored)?)
                }
            };
            if Applier::reads_store(&payload) && !applied.is_empty() {
                self.write(std::mem::replace(&mut changes, store.changes()), &mut applied)?;
            }
            let outcome = self.applier.apply(&**store, &mut changes, id, payload)?;
            if let Some(responder) = responder {
                responders.push((responder, outcome_of(&outcome)));
            }
            if let Applied::Skipped(timestamps) = &outcome {
                tracing::error!(
                    group = self.group.id.0,
                    ?id,
                    commits = timestamps.len(),
                    "a batch was skipped"
                );
            }
            applied.push(outcome);
            if changes.bytes() > self.apply_bytes_max {
                self.write(std::mem::replace(&mut changes, store.changes()), &mut applied)?;
            }
        }
        if !applied.is_empty() {
            self.write(changes, &mut applied)?;
        }
        for (responder, outcome) in responders {
            responder.send(outcome);
        }
        Ok(())
    }

    /// A failing store or an entry that can't be applied ends the process: this replica would go its own way.
    fn or_end<T>(&self, result: Result<T, ApplyError>) -> Result<T, io::Error> {
        result.map_err(|error| {
            self.fatal.end(&format!("group {} can't go on: {error}", self.group.id.0));
            io::Error::other(error.to_string())
        })
    }
}

fn outcome_of(applied: &Applied) -> EntryOutcome {
    match applied {
        Applied::Skipped(_) => EntryOutcome::Skipped,
        Applied::Backfilled(progress) => progress.clone().into(),
        Applied::Nothing | Applied::TermBegan(_) | Applied::Commits(_) => EntryOutcome::Applied,
    }
}

fn encode_membership(membership: &StoredMembership) -> Result<bytes::Bytes, ApplyError> {
    serde_json::to_vec(membership).map(Into::into).map_err(|error| ApplyError::Log(error.to_string()))
}

fn log_id_of(state: &AppliedState) -> Option<LogId> {
    state.last.map(|last| log_id(last.term, last.index))
}

fn membership_of(state: &AppliedState) -> Result<StoredMembership, io::Error> {
    if state.membership.is_empty() {
        return Ok(StoredMembership::default());
    }
    Ok(serde_json::from_slice(&state.membership)?)
}

fn snapshot_of(state: AppliedState) -> Result<SnapshotOf<RaftTypes, FlushedState>, io::Error> {
    let meta = SnapshotMetaOf::<RaftTypes> {
        last_log_id: log_id_of(&state),
        last_membership: membership_of(&state)?,
    };
    Ok(SnapshotOf::<RaftTypes, FlushedState> { meta, snapshot: FlushedState(state) })
}

impl RaftStateMachine<RaftTypes> for StateMachine {
    type SnapshotData = FlushedState;
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((log_id_of(self.applier.state()), membership_of(self.applier.state())?))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + OptionalSend,
    {
        let result = self.apply_all(entries).await;
        self.or_end(result)
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        // The position is read before the flush: what is applied meanwhile is not promised.
        Flush {
            group: self.group.clone(),
            log: self.log.clone(),
            state: self.applier.state().clone(),
            flushed: self.flushed.clone(),
            fatal: self.fatal.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<RaftTypes>,
        snapshot: FlushedState,
    ) -> Result<(), io::Error> {
        let FlushedState(state) = snapshot;
        if state.last_timestamp > self.applier.state().last_timestamp {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this version has no replicas: a snapshot that holds commits can't be installed",
            ));
        }
        self.applier = Applier::new(self.group.incarnation, state.clone());
        let mut changes = self.group.store.changes();
        self.applier.save(&mut changes);
        let written = self.group.store.write(changes);
        self.or_end(written)?;
        *self.flushed.lock() = Some(state);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<RaftTypes, FlushedState>>, io::Error> {
        let flushed = self.flushed.lock().clone();
        flushed.map(snapshot_of).transpose()
    }
}

/// Flushes the state, so that the log before it can go.
pub struct Flush {
    group: Arc<Group>,
    log: RaftLog,
    state: AppliedState,
    flushed: Flushed,
    fatal: FatalHandler,
}

impl RaftSnapshotBuilder<RaftTypes> for Flush {
    type SnapshotData = FlushedState;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<RaftTypes, FlushedState>, io::Error> {
        let (store, incarnation, state) =
            (self.group.store.clone(), self.group.incarnation, self.state.clone());
        let floors = Floors { horizon: state.horizon, records: state.records_floor };
        self.group.unflushed_bytes.store(0, Ordering::Relaxed);
        let flushed = tokio::task::spawn_blocking(move || store.flush(&[(incarnation, floors)])).await;
        let flushed = flushed.unwrap_or_else(|error| Err(ApplyError::Store(error.to_string())));
        if let Err(error) = flushed {
            self.fatal.end(&format!("the state of group {} can't be flushed: {error}", self.group.id.0));
            return Err(io::Error::other(error.to_string()));
        }
        if let Some(last) = state.last {
            self.log.state_flushed(last.index);
        }
        *self.flushed.lock() = Some(state.clone());
        snapshot_of(state)
    }
}
