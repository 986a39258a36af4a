//! Mutations: run, commit, and run again until it is certain what became of them.

use std::{sync::Arc, time::Duration};

use contract::{
    CommitId, Conflict, Epoch, Error, ErrorKind, FunctionCall, GroupId, MutationCall, MutationOutcome,
    Position, ReadAt, Result, Retry, SessionRequest, Timestamp, TransactionLog, code,
};
use isolate::FunctionKind;
use transaction::{
    Commits, DeploymentCatalog, Finished, SessionRequestRow, Settled, SystemTable, Transaction, result_lost,
    unknown_outcome,
};

use super::{
    host::TransactionHost,
    run::{Ended, Fate, Run, caught, component_at},
    session::recorded,
    snapshot::{Snapshot, TURN_WANTED},
};
use crate::{
    calls::{Outcome, Priority, Slots},
    service::{Handle, Shared},
    turns::{Call, CallTurns, Turn, TurnKey},
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

/// What a thread has made of an attempt.
enum OnThread {
    Ran(Box<TransactionHost>, Outcome),
    Recorded(Transaction, SessionRequestRow),
    /// Something is to be done first for which a thread for JavaScript must not wait.
    NotReady(Transaction),
}

/// An attempt, up to its commit.
struct Attempted {
    finished: Finished,
    attempt: Attempt,
    begin: Begin,
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
        let call = Arc::new(call);
        // Whatever becomes of the call, it holds no turn after it.
        let turns = shared.turns.call();
        let deployment = call.deployment;
        // One for all attempts, so that two of them can't both take effect.
        let id = CommitId(rand::random());
        let mut commits = Commits::new(shared.limits.retry);
        let mut begin = Begin::published(self.position_from(deployment.group, not_before).await?);
        let mut priority = Priority::First;
        loop {
            commits.begin();
            let run = Arc::new(Run::new(&call, FunctionKind::Mutation));
            let attempt = self.attempt_in_turn(&run, priority, begin, session.as_ref(), &turns).await;
            priority = Priority::Again;
            let Attempted { finished, attempt, begin: began } = match attempt {
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
            let settled = if matches!(attempt, Attempt::Recorded(_)) && began.at.epoch.is_none() {
                Settled::Committed(began.at.timestamp)
            } else {
                let commit = finished.into_commit(deployment, began.epoch, id);
                let mut on_lookup = || shared.metrics.commits_looked_up.increment();
                // The next in turn reads the newest state, where it sees what is validated.
                let mut validated = || turns.release();
                commits.settle_and_tell(&*shared.log, &commit, &mut on_lookup, &mut validated).await?
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
                    begin = Begin { at, epoch: at.epoch.unwrap_or(began.epoch) };
                    if let Some((index, key)) = conflict.write {
                        turns.take_after_loss(deployment, index, &key).await;
                    }
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

    /// An attempt; where it meets a key that others are queued for, it begins anew in its turn.
    async fn attempt_in_turn(
        &self,
        run: &Arc<Run>,
        mut priority: Priority,
        begin: Begin,
        session: Option<&SessionRequest>,
        turns: &Call,
    ) -> Result<Attempted> {
        let mut may_wait = true;
        loop {
            self.shared.metrics.mutation_attempts.increment();
            let mut wanted = None;
            match self.attempt(run, priority, begin, session, turns.turns(may_wait), &mut wanted).await {
                Err(error) if error.code == TURN_WANTED => {
                    self.shared.metrics.turns_wanted.increment();
                    // Who gets no turn does not ask again.
                    may_wait = match wanted {
                        Some(key) => turns.take(&key).await == Turn::Given,
                        None => false,
                    };
                    priority = Priority::Again;
                }
                attempt => return attempt,
            }
        }
    }

    /// Runs the mutation once, unless its session's record says that it has committed. A run that succeeds writes the
    /// record, so that the two are one commit.
    async fn attempt(
        &self,
        run: &Arc<Run>,
        priority: Priority,
        begin: Begin,
        session: Option<&SessionRequest>,
        turns: CallTurns,
        wanted: &mut Option<TurnKey>,
    ) -> Result<Attempted> {
        let shared = &self.shared;
        let call = run.call();
        let mut began = begin;
        let mut execution = if run.is_of_user() {
            let (on_thread, begin_on_thread, snapshot) =
                self.run_on_thread(run, priority, begin, session.cloned(), turns).await?;
            began = begin_on_thread;
            match on_thread {
                Ok(OnThread::Ran(host, outcome)) => {
                    let execution = self.ran(*host, outcome).await;
                    *wanted = snapshot.wanted();
                    execution?
                }
                Ok(OnThread::Recorded(transaction, record)) => {
                    let attempt = Attempt::Recorded(record);
                    return Ok(Attempted { finished: transaction.finish(), attempt, begin: began });
                }
                Ok(OnThread::NotReady(transaction)) => self.execute(run, priority, transaction).await?,
                Err(error) => {
                    *wanted = snapshot.wanted();
                    return Err(error);
                }
            }
        } else {
            let transaction = shared.begin(call.deployment, begin.at, shared.now_at(begin.at), None).await?;
            self.execute(run, priority, transaction).await?
        };
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
        // It may have moved forward since.
        began.at = finished.begin;
        began.epoch = began.at.epoch.unwrap_or(began.epoch);
        Ok(Attempted { finished, attempt: Attempt::Ran(ended), begin: began })
    }

    /// Begins an attempt when a thread takes it, and runs it there.
    async fn run_on_thread(
        &self,
        run: &Arc<Run>,
        priority: Priority,
        begin: Begin,
        session: Option<SessionRequest>,
        turns: CallTurns,
    ) -> Result<(Result<OnThread>, Begin, Arc<Snapshot>)> {
        let shared = Arc::clone(&self.shared);
        let deployment = run.call().deployment;
        let handle = Arc::clone(run);
        let work = async move |slots: &mut Slots| {
            let begin = shared.newest(deployment.group, begin, priority);
            let snapshot = Arc::new(Snapshot::new(shared.log.clone(), begin.at, turns, slots.place()));
            let ran = shared.attempt(&handle, begin.at, &snapshot, session.as_ref(), slots).await;
            (ran, begin, snapshot)
        };
        let ran = self.threads.run(deployment, priority, work).await;
        if ran.is_err() {
            self.shared.metrics.refused.increment();
        }
        ran
    }

    async fn answer(
        &self,
        run: &Run,
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
    fn note_conflict(&self, run: &Run, attempt: &Attempt, conflict: &Conflict, will_retry: bool) -> Error {
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

impl Shared {
    /// Where a run begins that a thread has just taken: as late as can be, so that little changes until it commits. Above what is
    /// published it reads only if it must: that costs more.
    fn newest(&self, group: GroupId, begin: Begin, priority: Priority) -> Begin {
        if (priority == Priority::Again || self.turns.any())
            && let Some(at @ ReadAt { epoch: Some(epoch), .. }) = self.log.head(group)
            && at.timestamp >= begin.at.timestamp
            && epoch >= begin.epoch
        {
            return Begin { at, epoch };
        }
        if begin.at.epoch.is_none()
            && let Ok(position) = self.log.position(group)
        {
            let position = position.borrow();
            if position.published >= begin.at.timestamp && position.epoch >= begin.epoch {
                return Begin::published(position.clone());
            }
        }
        begin
    }

    /// An attempt, on the thread that runs it.
    async fn attempt(
        self: &Arc<Shared>,
        run: &Run,
        at: ReadAt,
        snapshot: &Arc<Snapshot>,
        session: Option<&SessionRequest>,
        slots: &mut Slots,
    ) -> Result<OnThread> {
        let call = run.call();
        let now_ns = self.now_at(at);
        let log: Arc<dyn TransactionLog> = snapshot.clone();
        let mut transaction = self.begin_on(log, call.deployment, at, now_ns, None).await?;
        if let Some(session) = session
            && let Some(record) = recorded(&mut transaction, session).await?
        {
            return Ok(OnThread::Recorded(transaction, record));
        }
        let Some(component) = component_at(&transaction, &call.component) else {
            return Ok(OnThread::NotReady(transaction));
        };
        let image = transaction.deployment_catalog().of(component).clone();
        let Some(Ok(image)) = self.images.ready(&image) else { return Ok(OnThread::NotReady(transaction)) };
        transaction.enter(component);
        snapshot.begun();
        let mut outermost =
            run.on_thread(self, transaction, image, now_ns / 1_000_000, Some(snapshot.clone()));
        let outcome = outermost.run(slots).await;
        snapshot.ended();
        Ok(OnThread::Ran(Box::new(outermost.host), outcome))
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
