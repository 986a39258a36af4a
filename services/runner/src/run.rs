//! One run of a function at one moment: from the beginning of its transaction to what is left of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{
    Error, FunctionCall, FunctionError, Identity, LogEntry, LogLine, Observed, ReadAt, ReadSet, Result,
    SessionRequest,
};
use isolate::FunctionKind;
use transaction::{Catalog, Finished, SessionRequestRow, Stored, Transaction, Usage};
use value::{FunctionPath, Value};

use crate::{
    arguments,
    execution::{Door, Execution, Start, kind_with_article, not_found},
    failure::{Thrown, split},
    log_lines::{LogLines, now_ms},
    service::{Runner, clock_for, contract_kind, wall_clock_ns},
    slots::Slots,
    threads::Priority,
};

/// What is to be run, and where.
pub(crate) struct Run<'c> {
    pub call: &'c FunctionCall,
    pub kind: FunctionKind,
    pub at: ReadAt,
    pub journal: Option<Arc<str>>,
    pub session: Option<&'c SessionRequest>,
    pub priority: Priority,
}

/// What is left of a run.
pub(crate) struct Ran {
    pub result: Result<Arc<str>, Thrown>,
    /// What it read, and what it would write if it is committed: nothing, if it failed.
    pub finished: Finished,
    pub observed: Observed,
    pub lines: Vec<LogLine>,
    /// Of the moment at which it ran.
    pub catalog: Option<Arc<Catalog>>,
    /// `messages:list`.
    pub identifier: String,
    pub execution_id: String,
    pub execution_time: Duration,
    /// A mutation of this session request has committed before; it was not run.
    pub recorded: Option<Stored<SessionRequestRow>>,
}

/// A function's end, before its transaction is finished.
struct Ended {
    result: Result<Arc<str>, Thrown>,
    transaction: Transaction,
    observed: Observed,
    log: LogLines,
}

impl Runner {
    /// Runs a function once. Fails where there is no answer: the log does not serve, or no thread is free.
    pub(crate) async fn run_once(&self, run: Run<'_>) -> Result<Ran> {
        let began = Instant::now();
        let shared = &self.shared;
        let call = run.call;
        let now_ns = clock_for(run.at.timestamp, wall_clock_ns());
        let options = shared.transaction_options(rand::random(), now_ns, run.journal.clone());
        let log = Arc::clone(&shared.log);
        let execution_id = hex::encode(rand::random::<[u8; 8]>());
        let path = call.path.parse::<FunctionPath>();
        let identifier = path.as_ref().map_or_else(|_| call.path.clone(), FunctionPath::to_string);
        let mut ran = Ran {
            result: Err(not_found(&identifier)),
            finished: Finished {
                begin: run.at,
                read_set: ReadSet::new(),
                writes: Vec::new(),
                usage: Usage::default(),
                journal: None,
            },
            observed: Observed::default(),
            lines: Vec::new(),
            catalog: None,
            identifier,
            execution_id,
            execution_time: Duration::ZERO,
            recorded: None,
        };
        let begun = Transaction::begin(log, call.deployment, run.at, &shared.catalogs, options).await;
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                ran.result = Err(caught(error)?);
                return Ok(ran);
            }
        };
        let catalog = Arc::clone(transaction.catalog());
        if let Some(session) = run.session {
            ran.recorded = session_record(&mut transaction, session).await?;
        }
        if ran.recorded.is_some() {
            ran.finished = transaction.finish();
            return Ok(ran);
        }
        let mut ended = match path {
            Err(_) => self.without_running(transaction, not_found(&ran.identifier)),
            Ok(_) if !call.component.is_empty() => {
                let thrown = not_found(format_args!("{}/{}", call.component, ran.identifier));
                self.without_running(transaction, thrown)
            }
            Ok(path) if path.module.is_system() => self.run_system(&run, transaction).await?,
            Ok(path) => self.run_user(&run, path, transaction, now_ns / 1_000_000).await?,
        };
        if let (Some(session), Ok(result)) = (run.session, &ended.result) {
            let row = SessionRequestRow {
                session: session.session.clone(),
                request: session.request,
                result: Arc::clone(result),
                log_lines: self.client_lines(ended.log.lines(), &call.identity),
                function: ran.identifier.clone(),
            };
            if let Err(error) = ended.transaction.insert_row(&row).await {
                ended.result = Err(caught(error)?);
            }
        }
        for warning in ended.transaction.usage().warnings(&shared.limits.transaction) {
            ended.log.push_warning(format!("{}: {}", warning.code, warning.message));
        }
        ran.finished = ended.transaction.finish();
        if ended.result.is_err() {
            ran.finished.writes.clear();
            shared.metrics.function_errors.increment();
        }
        ran.result = ended.result;
        ran.observed = ended.observed;
        ran.lines = ended.log.into_lines();
        ran.catalog = Some(catalog);
        ran.execution_time = began.elapsed();
        Ok(ran)
    }

    /// Runs one of the server's own functions, which are queries for administrators.
    async fn run_system(&self, run: &Run<'_>, mut transaction: Transaction) -> Result<Ended> {
        let call = run.call;
        if !call.identity.is_admin() {
            // The command line tool shows a message that begins like this as it is.
            let message =
                "You do not have permission to perform this operation: system functions need an admin key.";
            return Ok(self.without_running(transaction, Thrown::new(message)));
        }
        if !system::exists(&call.path) {
            return Ok(self.without_running(transaction, not_found(&call.path)));
        }
        if run.kind != FunctionKind::Query {
            let thrown = Thrown::new(format!(
                "InvalidFunctionCall: `{}` is a query and can't be called as {}.",
                call.path,
                kind_with_article(run.kind)
            ));
            return Ok(self.without_running(transaction, thrown));
        }
        let result = match Value::from_json(&arguments::normalize(&call.arguments)) {
            Ok(arguments) => {
                system::call(&call.path, &arguments, &mut transaction, &self.shared.system).await
            }
            Err(error) => Err(error.into()),
        };
        let result = match result {
            Ok(result) => Ok(Arc::from(result)),
            Err(error) => Err(caught(error)?),
        };
        Ok(Ended { result, ..self.without_running(transaction, not_found("")) })
    }

    /// Runs one of the deployment's functions on a thread for JavaScript.
    async fn run_user(
        &self,
        run: &Run<'_>,
        path: FunctionPath,
        mut transaction: Transaction,
        now_ms: u64,
    ) -> Result<Ended> {
        let (shared, call) = (&self.shared, run.call);
        let catalog = Arc::clone(transaction.catalog());
        let image = match shared.images.of_catalog(call.deployment, &catalog, &shared.platform).await? {
            Some(Ok(image)) => image,
            Some(Err(error)) => {
                // Whatever changes may mend it.
                transaction.modules();
                transaction.rely_on_environment();
                let thrown = Thrown::new(format!("The deployed code can't be loaded: {error}"));
                return Ok(self.without_running(transaction, thrown));
            }
            None => {
                transaction.module(&path.module.with_extension());
                return Ok(self.without_running(transaction, not_found(&path)));
            }
        };
        let mut execution = Execution::new(Start {
            shared: Arc::clone(shared),
            transaction,
            image,
            identity: call.identity.clone(),
            request_id: call.request_id.clone(),
            now_ms,
            seed: rand::random(),
        });
        let (kind, door) = (run.kind, door_of(&call.identity));
        let arguments = Arc::clone(&call.arguments);
        let work = async move |slots: &mut Slots| {
            let arguments = arguments::normalize(&arguments);
            let outcome = execution.run(slots, &path, kind, door, &arguments).await;
            (execution, outcome)
        };
        let (execution, outcome) = match self.threads.run(run.priority, work).await {
            Ok(ended) => ended,
            Err(error) => {
                shared.metrics.refused.increment();
                return Err(error);
            }
        };
        let result = match outcome {
            Ok(Ok(text)) => Ok(Arc::from(text)),
            Ok(Err(thrown)) => Err(thrown),
            Err(stop) => {
                let thrown = stop.into_answer()?;
                shared.metrics.kills.increment();
                Err(thrown)
            }
        };
        let Execution { transaction, observed, log, .. } = execution;
        Ok(Ended { result, transaction, observed, log })
    }

    /// What a client is told of a failure, and what the log says about it.
    pub(crate) async fn explain(
        &self,
        thrown: &Thrown,
        call: &FunctionCall,
        catalog: Option<&Catalog>,
    ) -> (FunctionError, String) {
        let stack = match catalog {
            Some(catalog) if !thrown.stack.is_empty() => {
                let blobs = &*self.shared.blobs;
                self.shared
                    .source_maps
                    .for_stack(&thrown.stack, catalog, blobs)
                    .await
                    .map_stack(&thrown.stack)
            }
            _ => thrown.stack.clone(),
        };
        let error = if self.is_redacted_for(&call.identity) {
            thrown.to_redacted_error(&call.request_id)
        } else {
            thrown.to_function_error(&call.request_id, &stack)
        };
        (error, thrown.to_log_text(&stack))
    }

    /// The lines as the client gets them.
    pub(crate) fn client_lines(&self, lines: &[LogLine], identity: &Identity) -> Vec<String> {
        if self.is_redacted_for(identity) {
            return Vec::new();
        }
        lines.iter().map(LogLine::to_client_line).collect()
    }

    /// The end of a call that was not run.
    fn without_running(&self, transaction: Transaction, thrown: Thrown) -> Ended {
        Ended {
            result: Err(thrown),
            transaction,
            observed: Observed::default(),
            log: LogLines::new(self.shared.options.limits.function.log_lines_max),
        }
    }

    /// Administrators can read the log anyway.
    fn is_redacted_for(&self, identity: &Identity) -> bool {
        self.shared.options.redact_errors && !identity.is_admin()
    }

    /// Enters a run into the function log.
    pub(crate) fn enter_into_log(&self, kind: FunctionKind, call: &FunctionCall, ran: &Ran, end: RunEnd) {
        let entry = LogEntry {
            kind: contract_kind(kind),
            identifier: ran.identifier.clone(),
            component: (!call.component.is_empty()).then(|| call.component.clone()),
            timestamp: now_ms() / 1e3,
            execution_time: ran.execution_time,
            lines: ran.lines.clone(),
            error: end.error,
            cached: false,
            caller: call.caller,
            identity: match &call.identity {
                Identity::Anonymous => "unknown",
                Identity::User(_) => "user",
                Identity::Admin { .. } => "instance_admin",
            },
            request_id: call.request_id.clone(),
            execution_id: ran.execution_id.clone(),
            conflict: end.conflict,
            will_retry: end.will_retry,
        };
        self.shared.function_log.append(call.deployment, entry);
    }
}

/// How a run ended, for the log.
#[derive(Default)]
pub(crate) struct RunEnd {
    pub error: Option<String>,
    /// The table in which another commit was in the way.
    pub conflict: Option<String>,
    pub will_retry: bool,
}

/// The failure that the caller is told; an error that is not the function's comes back as such.
fn caught(error: transaction::Error) -> Result<Thrown> {
    match split(error) {
        Ok(thrown) => Ok(thrown),
        Err(stop) => stop.into_answer(),
    }
}

pub(crate) fn door_of(identity: &Identity) -> Door {
    if identity.is_admin() { Door::Internal } else { Door::Public }
}

/// What a request of this session has answered, if it has committed. That there is none is in the read set, so that of
/// two runs of one request only one commits.
async fn session_record(
    transaction: &mut Transaction,
    session: &SessionRequest,
) -> Result<Option<Stored<SessionRequestRow>>> {
    let key = [Value::from(session.session.as_str()), Value::Float64(f64::from(session.request))];
    match transaction.rows::<SessionRequestRow>(SESSION_INDEX, &key).await {
        Ok(mut rows) => Ok(rows.pop()),
        Err(transaction::Error::Service(error)) => Err(error),
        Err(transaction::Error::User(error)) => Err(Error::internal(error.to_string())),
    }
}

pub(crate) const SESSION_INDEX: &str = "by_session_and_request";
