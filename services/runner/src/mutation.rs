//! Mutations: run, commit, and run again until it is certain what became of them.

use std::{sync::Arc, time::Duration};

use contract::{
    Commit, CommitId, Conflict, DeploymentRef, Epoch, Error, ErrorKind, FunctionCall, GroupId, Interval,
    MutationCall, MutationOutcome, Order, Position, Read, ReadAt, ReadResult, Result, Retry, Timestamp,
};
use isolate::FunctionKind;
use transaction::{
    Catalog, Commits, EPOCH_ENDED, SessionRequestRow, Settled, Stored, SystemTable, unknown_outcome,
};
use value::Value;

use crate::{
    run::{Ran, Run, RunEnd, SESSION_INDEX},
    service::Runner,
    threads::Priority,
};

/// Where an attempt begins to read, and the epoch that its commit names.
#[derive(Clone, Copy)]
struct Begin {
    at: ReadAt,
    epoch: Epoch,
}

impl Begin {
    fn published(position: Position) -> Begin {
        Begin { at: ReadAt::published(position.published), epoch: position.epoch }
    }
}

impl Runner {
    pub(crate) async fn run_mutation(&self, call: MutationCall) -> Result<MutationOutcome> {
        let shared = &self.shared;
        shared.metrics.mutations.increment();
        let MutationCall { function: call, session, not_before } = call;
        let deployment = call.deployment;
        // One for all attempts, so that two of them can't both take effect.
        let id = CommitId(rand::random());
        let mut commits = Commits::new(shared.limits.retry);
        let mut begin = Begin::published(self.position_from(deployment.group, not_before).await?);
        let mut priority = Priority::First;
        loop {
            commits.begin();
            shared.metrics.mutation_attempts.increment();
            let ran = self
                .run_once(Run {
                    call: &call,
                    kind: FunctionKind::Mutation,
                    at: begin.at,
                    journal: None,
                    session: session.as_ref(),
                    priority,
                })
                .await;
            priority = Priority::Again;
            let mut ran = match ran {
                Err(error) if error.code == EPOCH_ENDED => match commits.epoch_ended() {
                    Settled::LostLeader => {
                        begin = self.begin_with_leader(&commits, deployment.group).await?;
                        continue;
                    }
                    _ => return Err(unknown_outcome()),
                },
                ran => ran?,
            };
            let commit = Commit {
                deployment,
                epoch: begin.epoch,
                id,
                begin: begin.at,
                read_set: Arc::new(std::mem::take(&mut ran.finished.read_set)),
                writes: std::mem::take(&mut ran.finished.writes),
            };
            // A record that was read as published is durable, and so is the answer that it holds. One that was read
            // above what is published becomes so if this commit, which writes nothing, does.
            let settled = if ran.recorded.is_some() && begin.at.epoch.is_none() {
                Settled::Committed(begin.at.timestamp)
            } else {
                let on_lookup = || shared.metrics.commits_looked_up.increment();
                commits.settle(&*shared.log, &commit, on_lookup).await?
            };
            match settled {
                Settled::Committed(timestamp) => {
                    return match ran.recorded.take() {
                        Some(record) => self.replay(&call, record, timestamp).await,
                        None => Ok(self.answer(&call, ran, timestamp).await),
                    };
                }
                Settled::Conflict { conflict, run_again } => {
                    shared.metrics.conflicts.increment();
                    let error = self.note_conflict(&call, &ran, &conflict, run_again);
                    if !run_again {
                        shared.metrics.conflicts_given_up.increment();
                        return Err(error);
                    }
                    let at = conflict.run_again_at;
                    begin = Begin { at, epoch: at.epoch.unwrap_or(begin.epoch) };
                }
                Settled::LostLeader => {
                    let end = RunEnd {
                        error: Some("The log's leader changed before the mutation was committed.".to_owned()),
                        will_retry: true,
                        ..RunEnd::default()
                    };
                    self.enter_into_log(FunctionKind::Mutation, &call, &ran, end);
                    begin = self.begin_with_leader(&commits, deployment.group).await?;
                }
                Settled::Unknown => return Err(unknown_outcome()),
            }
        }
    }

    async fn answer(&self, call: &FunctionCall, mut ran: Ran, timestamp: Timestamp) -> MutationOutcome {
        let log_lines = self.client_lines(&ran.lines, &call.identity);
        let (result, timestamp, error) = match std::mem::replace(&mut ran.result, Ok("".into())) {
            Ok(result) => (Ok(result), Some(timestamp), None),
            Err(thrown) => {
                let (error, log_text) = self.explain(&thrown, call, ran.catalog.as_deref()).await;
                (Err(error), None, Some(log_text))
            }
        };
        self.enter_into_log(FunctionKind::Mutation, call, &ran, RunEnd { error, ..RunEnd::default() });
        MutationOutcome { result, timestamp, log_lines }
    }

    /// Answers as the first run of a session's request did. `seen_at` is a moment at which its record was there.
    async fn replay(
        &self,
        call: &FunctionCall,
        record: Stored<SessionRequestRow>,
        seen_at: Timestamp,
    ) -> Result<MutationOutcome> {
        let row = record.row;
        // Clients choose the names of their sessions. Who names the session of another must not read its answers.
        let function = call.path.parse::<value::FunctionPath>().map(|path| path.to_string());
        if function.as_deref() != Ok(row.function.as_str()) {
            return Err(Error::bad_request(
                "SessionRequestMismatch",
                "This session has used the number of this request for another function.",
            ));
        }
        self.shared.metrics.session_replays.increment();
        let timestamp = self.timestamp_of_record(call.deployment, &row, seen_at).await?;
        Ok(MutationOutcome { result: Ok(row.result), timestamp: Some(timestamp), log_lines: row.log_lines })
    }

    /// The commit that wrote a session's record.
    async fn timestamp_of_record(
        &self,
        deployment: DeploymentRef,
        row: &SessionRequestRow,
        seen_at: Timestamp,
    ) -> Result<Timestamp> {
        let missing = || Error::internal("the record of a session's request has no commit");
        let table = SystemTable::SessionRequests.table();
        let index = table.index(SESSION_INDEX).ok_or_else(missing)?;
        let (session, request) = (Value::from(row.session.as_str()), Value::Float64(f64::from(row.request)));
        let start = value::key::encode(&[Some(&session), Some(&request)]);
        let read = Read::Range {
            index: index.id,
            interval: Interval { end: Some(value::key::prefix_end(&start).into()), start: start.into() },
            order: Order::Ascending,
            rows_max: 1,
            bytes_max: 1,
        };
        let mut results = self.shared.log.read(deployment, ReadAt::published(seen_at), &[read]).await?;
        match results.pop() {
            Some(ReadResult::Range { rows, .. }) => {
                rows.first().map(|row| row.version.timestamp).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// Enters a refused attempt into the function log; what the caller is told if it was the last one.
    fn note_conflict(&self, call: &FunctionCall, ran: &Ran, conflict: &Conflict, will_retry: bool) -> Error {
        let table = table_of(conflict, ran.catalog.as_deref());
        let error = conflict_error(table.as_deref());
        let end =
            RunEnd { error: Some(error.to_string()), conflict: Some(table.unwrap_or_default()), will_retry };
        self.enter_into_log(FunctionKind::Mutation, call, ran, end);
        error
    }

    /// Where this process stands, once that is not before `timestamp`.
    async fn position_from(&self, group: GroupId, timestamp: Timestamp) -> Result<Position> {
        let mut position = self.shared.log.position(group)?;
        let wait = Duration::from_millis(self.shared.limits.log.read_wait_ms_max);
        let not_yet = || {
            Error::overloaded("NotYet", "This server has not yet seen what the client has seen. Try again.")
        };
        let position =
            tokio::time::timeout(wait, position.wait_for(|position| position.published >= timestamp))
                .await
                .map_err(|_| not_yet())?
                .map_err(|_| not_yet())?;
        Ok(*position)
    }

    async fn begin_with_leader(&self, commits: &Commits, group: GroupId) -> Result<Begin> {
        Ok(Begin::published(commits.leaders_position(&*self.shared.log, group).await?))
    }
}

fn conflict_error(table: Option<&str>) -> Error {
    let what = match table {
        Some(table) => format!("documents of the table `{table}`"),
        None => "documents".to_owned(),
    };
    Error {
        kind: ErrorKind::Overloaded,
        code: "OptimisticConcurrencyControlFailure".into(),
        message: format!(
            "While the mutation ran, others changed {what} that it had read. Let fewer mutations read and change the \
             same documents at the same time."
        ),
        retry: Retry::Now,
    }
}

/// The table in which another commit was in the way.
fn table_of(conflict: &Conflict, catalog: Option<&Catalog>) -> Option<String> {
    let (index, _) = conflict.write.as_ref()?;
    let has_index = |table: &transaction::Table| {
        table.by_id.id == *index || table.indexes.iter().any(|known| known.id == *index)
    };
    let system = || {
        SystemTable::ALL
            .into_iter()
            .map(SystemTable::table)
            .find(|table| has_index(table))
            .map(|table| &table.name)
    };
    let user =
        catalog.and_then(|catalog| catalog.tables().find(|table| has_index(table)).map(|table| &table.name));
    user.or_else(system).map(ToString::to_string)
}
