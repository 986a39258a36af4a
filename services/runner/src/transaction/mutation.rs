//! Mutations: run, commit, and run again until it is certain what became of them.

use std::time::Duration;

use contract::{
    CommitId, Conflict, Epoch, Error, ErrorKind, FunctionCall, GroupId, MutationCall, MutationOutcome,
    Position, ReadAt, Result, Retry, SessionRequest, Timestamp, code,
};
use isolate::FunctionKind;
use transaction::{
    Commits, DeploymentCatalog, Finished, SessionRequestRow, Settled, SystemTable, result_lost,
    unknown_outcome,
};

use super::run::{Ended, Fate, Run, caught};
use crate::{calls::Priority, service::Handle};

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

/// How an attempt at a mutation went, before its commit.
enum Attempt {
    Ran(Ended),
    /// The session's request has committed before; nothing was run.
    Recorded(SessionRequestRow),
}

impl Handle {
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
            let run = Run::new(&call, FunctionKind::Mutation, begin.at, shared.clock.now_ns());
            let attempt = self.attempt(&run, priority, begin.at, session.as_ref(), &call).await;
            priority = Priority::Again;
            let (finished, attempt) = match attempt {
                Err(error) if error.code == code::EPOCH_ENDED => match commits.epoch_ended() {
                    Settled::LostLeader => {
                        begin = self.begin_with_leader(&commits, deployment.group).await?;
                        continue;
                    }
                    _ => return Err(unknown_outcome()),
                },
                attempt => attempt?,
            };
            // A record that was read as published is durable, and so is the answer that it holds. One that was read
            // above what is published becomes so if this commit, which writes nothing, does.
            let settled = if matches!(attempt, Attempt::Recorded(_)) && begin.at.epoch.is_none() {
                Settled::Committed(begin.at.timestamp)
            } else {
                let commit = finished.into_commit(deployment, begin.epoch, id);
                let on_lookup = || shared.metrics.commits_looked_up.increment();
                commits.settle(&*shared.log, &commit, on_lookup).await?
            };
            match settled {
                Settled::Committed(timestamp) => {
                    return match attempt {
                        Attempt::Recorded(record) => self.replay(&call, record, timestamp).await,
                        Attempt::Ran(ended) => Ok(self.answer(&run, &call, ended, timestamp).await),
                    };
                }
                // What this run computed is not the answer. With a session the next one finds the record, which has it.
                Settled::EarlierCommitted(timestamp) if session.is_some() => {
                    begin = Begin::published(self.position_from(deployment.group, timestamp).await?);
                }
                Settled::EarlierCommitted(_) => return Err(result_lost()),
                Settled::Conflict { conflict, run_again } => {
                    shared.metrics.conflicts.increment();
                    let error = self.note_conflict(&run, &attempt, &conflict, run_again);
                    if !run_again {
                        shared.metrics.conflicts_given_up.increment();
                        return Err(error);
                    }
                    let at = conflict.run_again_at;
                    begin = Begin { at, epoch: at.epoch.unwrap_or(begin.epoch) };
                }
                Settled::LostLeader => {
                    let error = "The log's leader changed before the mutation was committed.".to_owned();
                    if let Attempt::Ran(ended) = &attempt {
                        let fate = Fate { error: Some(error), will_retry: true, ..Fate::default() };
                        self.enter_into_log(&run, ended, fate);
                    }
                    begin = self.begin_with_leader(&commits, deployment.group).await?;
                }
                Settled::Unknown => return Err(unknown_outcome()),
            }
        }
    }

    /// Runs the mutation once, unless its session's record says that it has committed. A run that succeeds writes the
    /// record, so that the two are one commit.
    async fn attempt(
        &self,
        run: &Run<'_>,
        priority: Priority,
        at: ReadAt,
        session: Option<&SessionRequest>,
        call: &FunctionCall,
    ) -> Result<(Finished, Attempt)> {
        let mut transaction = self.begin(run, at, None).await?;
        if let Some(session) = session
            && let Some(record) = self.recorded(&mut transaction, session).await?
        {
            return Ok((transaction.finish(), Attempt::Recorded(record)));
        }
        let mut execution = self.execute(run, priority, transaction).await?;
        if let (Some(session), Ok(result)) = (session, &execution.result) {
            let row = SessionRequestRow {
                session: session.session.clone(),
                request: session.request,
                result: result.clone(),
                log_lines: self.client_lines(execution.log.lines(), &call.identity),
                component: call.component.clone(),
                function: run.identifier().to_owned(),
            };
            if let Err(error) = execution.transaction.insert_row(&row).await {
                execution.result = Err(caught(error)?);
            }
        }
        let (finished, ended) = self.end(run, execution);
        Ok((finished, Attempt::Ran(ended)))
    }

    async fn answer(
        &self,
        run: &Run<'_>,
        call: &FunctionCall,
        ended: Ended,
        timestamp: Timestamp,
    ) -> MutationOutcome {
        let log_lines = self.client_lines(&ended.lines, &call.identity);
        let (result, timestamp, error) = match &ended.result {
            Ok(result) => (Ok(result.clone()), Some(timestamp), None),
            Err(thrown) => {
                let (error, log_text) = self.explain(thrown, call, &ended.catalog).await;
                (Err(error), None, Some(log_text))
            }
        };
        self.enter_into_log(run, &ended, Fate { error, ..Fate::default() });
        MutationOutcome { result, timestamp, log_lines }
    }

    /// Enters a refused attempt into the function log; what the caller is told if it was the last one.
    fn note_conflict(
        &self,
        run: &Run<'_>,
        attempt: &Attempt,
        conflict: &Conflict,
        will_retry: bool,
    ) -> Error {
        // Where nothing ran there is nothing to enter, and no catalog; no one but the system writes records.
        let Attempt::Ran(ended) = attempt else { return conflict_error(None) };
        let table = table_of(conflict, &ended.catalog);
        let error = conflict_error(table.as_deref());
        let fate =
            Fate { error: Some(error.to_string()), conflict: Some(table.unwrap_or_default()), will_retry };
        self.enter_into_log(run, ended, fate);
        error
    }

    /// Where this process stands, once that is not before `timestamp`.
    async fn position_from(&self, group: GroupId, timestamp: Timestamp) -> Result<Position> {
        let mut position = self.shared.log.position(group)?;
        let wait = Duration::from_millis(self.shared.options.limits.read_wait_ms_max);
        let not_yet = || {
            Error::overloaded("NotYet", "This server has not yet seen what the client has seen. Try again.")
        };
        let position =
            tokio::time::timeout(wait, position.wait_for(|position| position.published >= timestamp))
                .await
                .map_err(|_| not_yet())?
                .map_err(|_| not_yet())?;
        Ok(position.clone())
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
fn table_of(conflict: &Conflict, catalog: &DeploymentCatalog) -> Option<String> {
    let (index, _) = conflict.write.as_ref()?;
    let has_index = |table: &transaction::Table| {
        table.by_id.id == *index || table.indexes.iter().any(|known| known.id == *index)
    };
    let mut users = catalog.components().flat_map(|component| component.tables());
    let user = users.find(|table| has_index(table)).map(|table| table.name.to_string());
    let mut systems = SystemTable::ALL.into_iter().map(SystemTable::table);
    user.or_else(|| systems.find(|table| has_index(table)).map(|table| table.name.to_string()))
}
