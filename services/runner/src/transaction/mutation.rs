//! Mutations: run, commit, and run again until it is certain what became of them.

use std::{sync::Arc, time::Duration};

use contract::{
    Commit, CommitId, Conflict, ConsoleLine, Epoch, Error, ErrorKind, FunctionCall, GroupId, MutationCall,
    MutationOutcome, Position, ReadAt, Result, Retry, SessionRequest, Timestamp, TransactionLog, code,
};
use isolate::FunctionKind;
use transaction::{
    Commits, DeploymentCatalog, DueKind, DueRun, Finished, RunEnd, SessionRequestRow, Settled, SystemTable,
    Transaction, result_lost, unknown_outcome,
};
use value::{COMMIT_TIMESTAMP_JSON, DocumentId, resolve_commit_timestamp};

use super::{
    host::TransactionHost,
    run::{Ended, Execution, Fate, Run, caught, component_at},
    session::recorded,
    snapshot::{Snapshot, TURN_WANTED},
};
use crate::{
    calls::{Outcome, Priority, Slots, Thrown},
    service::{Handle, Shared},
    turns::{Call, CallTurns, Turn, TurnKey},
};

/// Bytes that are kept of what a scheduled function has thrown.
const KEPT_ERROR_BYTES_MAX: usize = 16 << 10;

/// What the log, or the way to it, answers to a commit that it will never take, whenever it is sent: what it writes does not fit.
const NEVER_TAKEN: [&str; 4] =
    ["CallTooLarge", "CommitTimestampInLargeCommit", "CommitTooLarge", "InvalidCommit"];

/// What is kept of what a scheduled function has thrown.
pub(crate) fn kept_of_error(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(KEPT_ERROR_BYTES_MAX));
    error
}

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
    Gone(Transaction),
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
    /// What was due is so no more; nothing was run.
    Gone,
}

/// How a mutation takes effect once.
#[derive(Clone)]
pub(super) enum Once {
    /// Each call is another one.
    AsCalled,
    /// Its commit leaves a record, which answers the next call.
    Request(SessionRequest),
    /// Its commit takes it out of the queue.
    Due(Arc<DueRun>),
}

/// How an attempt begins in its transaction.
enum Begun {
    ToRun,
    Recorded(SessionRequestRow),
    Gone,
}

impl Once {
    async fn begin(&self, transaction: &mut Transaction) -> Result<Begun> {
        match self {
            Once::AsCalled => Ok(Begun::ToRun),
            Once::Request(session) => {
                Ok(recorded(transaction, session).await?.map_or(Begun::ToRun, Begun::Recorded))
            }
            Once::Due(run) => match transaction.begin_run(run).await {
                Ok(true) => Ok(Begun::ToRun),
                Ok(false) => Ok(Begun::Gone),
                Err(error) => Err(error.of_the_system()),
            },
        }
    }
}

impl Handle {
    /// `job` is that in whose name an action calls it.
    pub(crate) async fn run_mutation(
        &self,
        call: MutationCall,
        job: Option<DocumentId>,
    ) -> Result<MutationOutcome> {
        let MutationCall { function, session, not_before } = call;
        let once = session.map_or(Once::AsCalled, Once::Request);
        let outcome = self.run_once(function, once, job, not_before).await?;
        Ok(outcome.expect("only what is due can be gone"))
    }

    /// `None` if it was due and is so no more.
    pub(super) async fn run_once(
        &self,
        call: FunctionCall,
        once: Once,
        job: Option<DocumentId>,
        not_before: Timestamp,
    ) -> Result<Option<MutationOutcome>> {
        let shared = &self.shared;
        shared.metrics.mutations.increment();
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
            let run = Arc::new(Run::new(&call, FunctionKind::Mutation).scheduled_as(job));
            let attempt = self.attempt_in_turn(&run, priority, begin, &once, &turns).await;
            priority = Priority::Again;
            let Attempted { finished, mut attempt, begin: began } = match attempt {
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
            // above what is published becomes so if this commit, which writes nothing, does. So it is with what is gone.
            let nothing_ran = matches!(attempt, Attempt::Recorded(_) | Attempt::Gone);
            let settled = if nothing_ran && began.at.epoch.is_none() {
                Settled::Committed(began.at.timestamp)
            } else {
                let commit = finished.into_commit(deployment, began.epoch, id);
                self.settle(&mut commits, commit, &run, &once, &mut attempt, &turns).await?
            };
            match settled {
                Settled::Committed(timestamp) => {
                    return match attempt {
                        Attempt::Recorded(record) => self.replay(&call, record, timestamp).await.map(Some),
                        Attempt::Ran(ended) => Ok(Some(self.answer(&run, &call, ended, timestamp).await)),
                        Attempt::Gone => Ok(None),
                    };
                }
                // What this run computed is not the answer. With a session the next one finds the record, which has it; what was
                // due is gone.
                Settled::EarlierCommitted(timestamp) if !matches!(once, Once::AsCalled) => {
                    begin = Begin::published(self.position_from(deployment.group, timestamp).await?);
                }
                Settled::EarlierCommitted(_) => return Err(result_lost()),
                Settled::Conflict { conflict, run_again } => {
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

    /// Settles the commit of an attempt. If the log will never take it, what has run has failed, and the commit of that is settled.
    async fn settle(
        &self,
        commits: &mut Commits,
        commit: Commit,
        run: &Run,
        once: &Once,
        attempt: &mut Attempt,
        turns: &Call,
    ) -> Result<Settled> {
        let (log, metrics) = (&*self.shared.log, &self.shared.metrics);
        let mut on_lookup = || metrics.commits_looked_up.increment();
        // The next in turn reads the newest state, where it sees what is validated.
        let mut validated = || turns.release();
        let settled = commits.settle_and_tell(log, &commit, &mut on_lookup, &mut validated).await;
        let (Err(error), Attempt::Ran(ended)) = (&settled, attempt) else { return settled };
        if ended.result.is_err() || !NEVER_TAKEN.contains(&&*error.code) {
            return settled;
        }
        match self.fail(run, once, ended, commit, error).await {
            Ok(commit) => commits.settle_and_tell(log, &commit, &mut on_lookup, &mut validated).await,
            Err(error) if error.code == code::EPOCH_ENDED => Ok(commits.epoch_ended()),
            Err(error) => Err(error),
        }
    }

    /// An attempt; where it meets a key that others are queued for, it begins anew in its turn.
    async fn attempt_in_turn(
        &self,
        run: &Arc<Run>,
        mut priority: Priority,
        begin: Begin,
        once: &Once,
        turns: &Call,
    ) -> Result<Attempted> {
        let mut may_wait = true;
        loop {
            self.shared.metrics.mutation_attempts.increment();
            let mut wanted = None;
            match self.attempt(run, priority, begin, once, turns.turns(may_wait), &mut wanted).await {
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

    /// Runs the mutation once, unless it has taken effect already. What it does and that it is done are one commit.
    async fn attempt(
        &self,
        run: &Arc<Run>,
        priority: Priority,
        begin: Begin,
        once: &Once,
        turns: CallTurns,
        wanted: &mut Option<TurnKey>,
    ) -> Result<Attempted> {
        let shared = &self.shared;
        let call = run.call();
        let mut began = begin;
        let mut execution = if run.is_of_user() {
            let (on_thread, begin_on_thread, snapshot) =
                self.run_on_thread(run, priority, begin, once.clone(), turns).await?;
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
                Ok(OnThread::Gone(transaction)) => {
                    let attempt = Attempt::Gone;
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
        self.enter_outcome(run, once, &mut execution).await?;
        let (finished, ended) = self.end(run, execution);
        // It may have moved forward since.
        began.at = finished.begin;
        began.epoch = began.at.epoch.unwrap_or(began.epoch);
        Ok(Attempted { finished, attempt: Attempt::Ran(ended), begin: began })
    }

    /// Undoes what a function has written that failed, and writes what says that the mutation has taken effect.
    async fn enter_outcome(&self, run: &Run, once: &Once, execution: &mut Execution) -> Result<()> {
        if let Ok(result) = &execution.result {
            let result = Arc::clone(result);
            let Err(error) = self.enter_result(run, once, result, execution).await else { return Ok(()) };
            // The function has left no room for it, so it has failed.
            execution.result = Err(caught(error)?);
        }
        execution.transaction.undo_writes();
        if let (Once::Due(due), Err(thrown)) = (once, &execution.result) {
            let error = self.kept_error(thrown, run.call(), execution.transaction.deployment_catalog()).await;
            let end = self.end_of(run, due, Err(error), execution.log.lines());
            let ended = execution.transaction.end_run(due, &end).await;
            ended.map_err(transaction::Error::of_the_system)?;
        }
        Ok(())
    }

    /// Makes a failure of what has run, because of what it has written. The commit that comes back stands on the same reads, and writes
    /// no more than that what was due has failed.
    async fn fail(
        &self,
        run: &Run,
        once: &Once,
        ended: &mut Ended,
        refused: Commit,
        error: &Error,
    ) -> Result<Commit> {
        let thrown = Thrown::new(error.to_string());
        self.shared.metrics.function_errors.increment();
        let mut commit = Commit { writes: Vec::new(), ..refused };
        if let Once::Due(due) = once {
            let (shared, at) = (&self.shared, commit.begin);
            let mut transaction = shared.begin(commit.deployment, at, shared.now_at(at), None).await?;
            let error = self.kept_error(&thrown, run.call(), &ended.catalog).await;
            let end = self.end_of(run, due, Err(error), &ended.lines);
            transaction.end_run(due, &end).await.map_err(transaction::Error::of_the_system)?;
            let finished = transaction.finish();
            Arc::make_mut(&mut commit.read_set).merge(&finished.read_set);
            commit.writes = finished.writes;
        }
        ended.result = Err(thrown);
        Ok(commit)
    }

    async fn enter_result(
        &self,
        run: &Run,
        once: &Once,
        result: Arc<str>,
        execution: &mut Execution,
    ) -> transaction::Result<()> {
        match once {
            Once::AsCalled => Ok(()),
            Once::Request(session) => {
                let call = run.call();
                let row = SessionRequestRow {
                    session: session.session.clone(),
                    request: session.request,
                    result,
                    log_lines: self.client_lines(execution.log.lines(), &call.identity),
                    component: call.component.clone(),
                    function: run.identifier().to_owned(),
                };
                execution.transaction.insert_row(&row).await.map(|_| ())
            }
            Once::Due(due) => {
                let end = self.end_of(run, due, Ok(result), execution.log.lines());
                execution.transaction.end_run(due, &end).await
            }
        }
    }

    /// What is kept of a failure.
    async fn kept_error(&self, thrown: &Thrown, call: &FunctionCall, catalog: &DeploymentCatalog) -> String {
        kept_of_error(self.explain(thrown, call, catalog).await.1)
    }

    fn end_of(
        &self,
        run: &Run,
        due: &DueRun,
        result: Result<Arc<str>, String>,
        lines: &[ConsoleLine],
    ) -> RunEnd {
        let log_lines = match due.due.kind {
            DueKind::Job => Vec::new(),
            DueKind::Cron => lines.iter().map(ConsoleLine::to_client_line).collect(),
        };
        let (execution_time, at_ms) = (run.duration(), self.shared.clock.now_ms());
        RunEnd { result, log_lines, execution_time, at_ms }
    }

    /// Begins an attempt when a thread takes it, and runs it there.
    async fn run_on_thread(
        &self,
        run: &Arc<Run>,
        priority: Priority,
        begin: Begin,
        once: Once,
        turns: CallTurns,
    ) -> Result<(Result<OnThread>, Begin, Arc<Snapshot>)> {
        let shared = Arc::clone(&self.shared);
        let deployment = run.call().deployment;
        let handle = Arc::clone(run);
        let work = async move |slots: &mut Slots| {
            let begin = shared.newest(deployment.group, begin, priority);
            let snapshot = Arc::new(Snapshot::new(shared.log.clone(), begin.at, turns, slots.place()));
            let ran = shared.attempt(&handle, begin.at, &snapshot, &once, slots).await;
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
            Ok(result) => (Ok(with_timestamp(result, timestamp)), Some(timestamp), None),
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
        let Attempt::Ran(ended) = attempt else {
            self.shared.metrics.count_conflict(None);
            return conflict_error(None);
        };
        let table = table_of(conflict, &ended.catalog);
        self.shared.metrics.count_conflict(table.as_deref());
        let error = conflict_error(table.as_deref());
        let fate = Fate {
            error: Some(error.to_string()),
            conflict: Some(table.unwrap_or_default()),
            will_retry,
            ..Fate::default()
        };
        self.enter_into_log(run, ended, fate);
        error
    }

    /// Where this process stands, once that is not before `timestamp`.
    pub(super) async fn position_from(&self, group: GroupId, timestamp: Timestamp) -> Result<Position> {
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
        once: &Once,
        slots: &mut Slots,
    ) -> Result<OnThread> {
        let call = run.call();
        let now_ns = self.now_at(at);
        let log: Arc<dyn TransactionLog> = snapshot.clone();
        let mut transaction = self.begin_on(log, call.deployment, at, now_ns, None).await?;
        match once.begin(&mut transaction).await? {
            Begun::ToRun => {}
            Begun::Recorded(record) => return Ok(OnThread::Recorded(transaction, record)),
            Begun::Gone => return Ok(OnThread::Gone(transaction)),
        }
        let Some(component) = component_at(&mut transaction, &call.component) else {
            return Ok(OnThread::NotReady(transaction));
        };
        let image = transaction.deployment_catalog().of(component).clone();
        let Some(Ok(image)) = self.images.ready(&image) else { return Ok(OnThread::NotReady(transaction)) };
        transaction.enter(component);
        transaction.search_by(Arc::new(self.searches(Some(snapshot.clone()))));
        snapshot.begun();
        let mut outermost =
            run.on_thread(self, transaction, image, now_ns / 1_000_000, Some(snapshot.clone()));
        let outcome = outermost.run(slots).await;
        snapshot.ended();
        Ok(OnThread::Ran(Box::new(outermost.host), outcome))
    }
}

/// The result of a mutation, with the timestamp of its commit where it names it.
pub(super) fn with_timestamp(result: &Arc<str>, timestamp: Timestamp) -> Arc<str> {
    if !result.contains(COMMIT_TIMESTAMP_JSON) {
        return result.clone();
    }
    resolve_commit_timestamp(result, timestamp.as_nanoseconds().cast_signed()).into()
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
