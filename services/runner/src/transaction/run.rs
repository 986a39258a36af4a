//! One run of a function at one moment: in a transaction that was begun, up to what is left of it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{
    Caller, ConsoleLine, Error, ErrorKind, ExecutionRecord, FunctionCall, FunctionError, Identity, Observed,
    Result,
};
use isolate::FunctionKind;
use tracing::Instrument;
use transaction::{Catalog, DeploymentCatalog, Finished, Transaction, component_id};
use value::{ComponentId, ComponentPath, DocumentId, FunctionPath, Value};

use super::{host::TransactionHost, snapshot::Snapshot};
use crate::{
    calls::{
        LogLines, NumberedImage, Outcome, Priority, Slots, Thrown, Tree, TreeLimits, normalize_arguments,
        split,
    },
    functions::AllowedVisibility,
    service::{Handle, Shared, contract_kind},
};

/// What is to be run, and what the function log knows it by.
pub(crate) struct Run {
    call: Arc<FunctionCall>,
    kind: FunctionKind,
    /// `None` if the call's is none.
    path: Option<FunctionPath>,
    /// `messages:list`.
    identifier: String,
    execution_id: String,
    /// The document of `_scheduled_functions` that it is the run of.
    scheduled_as: Option<DocumentId>,
    began: Instant,
}

/// A function's end, before its transaction's.
pub(crate) struct Execution {
    pub result: Result<Arc<str>, Thrown>,
    pub transaction: Transaction,
    pub log: LogLines,
    observed: Observed,
}

/// What a run has shown, once its transaction is finished.
pub(crate) struct Ended {
    pub result: Result<Arc<str>, Thrown>,
    pub observed: Observed,
    pub lines: Vec<ConsoleLine>,
    /// As the run left it.
    pub catalog: Arc<DeploymentCatalog>,
    pub duration: Duration,
}

/// What became of a run, for the function log.
#[derive(Default)]
pub(crate) struct Fate {
    pub error: Option<String>,
    /// The table in which another commit was in the way.
    pub conflict: Option<String>,
    pub will_retry: bool,
    /// Of a request: the name under which it was routed, and the status that it was answered with.
    pub http_route: Option<String>,
    pub http_status: Option<u16>,
}

impl Run {
    pub(crate) fn new(call: &Arc<FunctionCall>, kind: FunctionKind) -> Run {
        let path = call.path.parse::<FunctionPath>().ok();
        Run {
            call: Arc::clone(call),
            kind,
            identifier: path.as_ref().map_or_else(|| call.path.clone(), FunctionPath::to_string),
            path,
            execution_id: hex::encode(rand::random::<[u8; 8]>()),
            scheduled_as: None,
            began: Instant::now(),
        }
    }

    /// The run of a job.
    pub(super) fn scheduled_as(mut self, job: Option<DocumentId>) -> Run {
        self.scheduled_as = job;
        self
    }

    /// The function of a run, on the thread that will run it or on its way there. `now_ms` is what it sees as the time.
    pub(super) fn on_thread(
        &self,
        shared: &Arc<Shared>,
        transaction: Transaction,
        image: NumberedImage,
        now_ms: u64,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Outermost {
        let call = &self.call;
        let limits =
            TreeLimits { function: shared.options.limits.function, transaction: shared.limits.transaction };
        let images = HashMap::from([(transaction.component(), image)]);
        let host = TransactionHost {
            shared: Arc::clone(shared),
            transaction,
            tree: Tree::new(limits, now_ms, shared.clock.clone(), Run::seed()),
            images,
            call: Arc::clone(call),
            scheduled_as: self.scheduled_as,
            snapshot,
            host_time: Duration::ZERO,
            variables_read: 0,
        };
        Outermost {
            host,
            path: self.path.clone().expect("only what has a path is run"),
            kind: self.kind,
            allowed: AllowedVisibility::of(call),
            is_due: matches!(call.caller, Caller::Scheduler | Caller::Cron),
            arguments: Arc::clone(&call.arguments),
            span: tracing::Span::current(),
        }
    }

    /// What the randomness of a function comes from.
    pub(crate) fn seed() -> [u8; 32] {
        rand::random()
    }

    /// Whether it is one of the deployment's functions.
    pub(super) fn is_of_user(&self) -> bool {
        self.path.as_ref().is_some_and(|path| !path.module.is_system())
    }

    pub(crate) fn call(&self) -> &Arc<FunctionCall> {
        &self.call
    }

    /// `None` if what the call names can't be a function.
    pub(crate) fn path(&self) -> Option<&FunctionPath> {
        self.path.as_ref()
    }

    /// What it has shown, now that it has ended.
    pub(crate) fn ended(
        &self,
        result: Result<Arc<str>, Thrown>,
        observed: Observed,
        log: LogLines,
        catalog: Arc<DeploymentCatalog>,
    ) -> Ended {
        Ended { result, observed, lines: log.into_lines(), catalog, duration: self.duration() }
    }

    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// How long it has run so far.
    pub(super) fn duration(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The outermost function of a run, with its host.
pub(super) struct Outermost {
    pub(super) host: TransactionHost,
    path: FunctionPath,
    kind: FunctionKind,
    allowed: AllowedVisibility,
    /// Whether nobody has called it: its time has come.
    is_due: bool,
    arguments: Arc<str>,
    span: tracing::Span,
}

impl Outermost {
    pub(super) async fn run(&mut self, slots: &mut Slots) -> Outcome {
        if self.host.transaction.is_paused() {
            return Ok(Err(Thrown::paused(self.host.call.caller)?));
        }
        if self.is_due && self.host.is_action(&self.path)? {
            // It was none when its entry was looked at. Who asks again finds out.
            let (code, message) = ("OptimisticConcurrencyControlFailure", "a push has made it an action");
            return Err(Error::new(ErrorKind::Conflict, code, message).into());
        }
        let arguments = normalize_arguments(&self.arguments);
        let run = self.host.run(slots, &self.path, self.kind, self.allowed, &arguments);
        run.instrument(self.span.clone()).await
    }
}

impl Execution {
    /// The end of a call that was not run.
    pub(super) fn failed(transaction: Transaction, log: LogLines, thrown: Thrown) -> Execution {
        Execution { result: Err(thrown), transaction, log, observed: Observed::default() }
    }
}

impl Handle {
    /// Runs the function. Fails where there is no answer: the log does not serve, or no thread is free.
    pub(crate) async fn execute(
        &self,
        run: &Run,
        priority: Priority,
        mut transaction: Transaction,
    ) -> Result<Execution> {
        let call = &*run.call;
        let log = self.new_log();
        let Some(component) = component_at(&mut transaction, &call.component) else {
            let sentence = format!("There is no component `{}`.", call.component);
            return Ok(Execution::failed(transaction, log, Thrown::for_tools(sentence)));
        };
        transaction.enter(component);
        match &run.path {
            None => Ok(Execution::failed(transaction, log, Thrown::no_function(&run.identifier))),
            Some(path) if path.module.is_system() => self.run_system(run, transaction, log).await,
            Some(path) => self.run_user(run, path, priority, transaction, log).await,
        }
    }

    pub(super) fn new_log(&self) -> LogLines {
        LogLines::new(self.shared.options.limits.function.log_lines_max, self.shared.clock.clone())
    }

    /// Runs one of the server's own functions, which are for administrators.
    async fn run_system(&self, run: &Run, mut transaction: Transaction, log: LogLines) -> Result<Execution> {
        let call = &*run.call;
        let refused = if !call.identity.is_admin() {
            // The command line tool shows a message that begins like this as it is.
            let message =
                "You do not have permission to perform this operation: system functions need an admin key.";
            Some(Thrown::new(message))
        } else if let Some(reason) = system::why_missing(&call.path) {
            Some(Thrown::for_tools(reason))
        } else {
            let kind = match system::kind(&call.path) {
                Some(contract::FunctionKind::Mutation) => FunctionKind::Mutation,
                _ => FunctionKind::Query,
            };
            (run.kind != kind).then(|| Thrown::wrong_kind(&call.path, kind, run.kind))
        };
        if let Some(thrown) = refused {
            return Ok(Execution::failed(transaction, log, thrown));
        }
        let result = match Value::from_json(&normalize_arguments(&call.arguments)) {
            Ok(arguments) => {
                let variables = self.shared.deployment(call.deployment)?.platform_variables();
                let environment = system::Environment { variables };
                system::call(&call.path, &arguments, &mut transaction, &environment).await
            }
            Err(error) => Err(error.into()),
        };
        let result = match result {
            Ok(result) => Ok(Arc::from(result)),
            Err(error) => Err(caught(error)?),
        };
        Ok(Execution { result, transaction, log, observed: Observed::default() })
    }

    /// Runs one of the deployment's functions on a thread for JavaScript.
    async fn run_user(
        &self,
        run: &Run,
        path: &FunctionPath,
        priority: Priority,
        mut transaction: Transaction,
        log: LogLines,
    ) -> Result<Execution> {
        let (shared, call) = (&self.shared, &*run.call);
        let (component, catalogs) = (transaction.component(), Arc::clone(transaction.deployment_catalog()));
        let deployment = shared.deployment(call.deployment)?;
        let image = match shared.images.of_component(component, &catalogs, &deployment).await? {
            Some(Ok(image)) => image,
            Some(Err(error)) => {
                // Whatever changes may mend it.
                transaction.modules();
                transaction.rely_on_environment();
                let thrown = Thrown::new(format!("The deployed code can't be loaded: {error}"));
                return Ok(Execution::failed(transaction, log, thrown));
            }
            None => {
                transaction.module(&path.module.with_extension());
                return Ok(Execution::failed(transaction, log, Thrown::no_function(path)));
            }
        };
        let now_ms = shared.now_at(transaction.begin_at()) / 1_000_000;
        let mut guest = run.on_thread(shared, transaction, image, now_ms, None);
        let work = async move |slots: &mut Slots| {
            let outcome = guest.run(slots).await;
            (guest.host, outcome)
        };
        let (host, outcome) = match self.threads.run(call.deployment, priority, work).await {
            Ok(ended) => ended,
            Err(error) => {
                shared.metrics.refused.increment();
                return Err(error);
            }
        };
        self.ran(host, outcome).await
    }

    /// What is left of a run that a thread has run.
    pub(crate) async fn ran(&self, host: TransactionHost, outcome: Outcome) -> Result<Execution> {
        let shared = &self.shared;
        let result = match outcome {
            Ok(Ok(text)) => Ok(Arc::from(text)),
            Ok(Err(thrown)) => Err(thrown),
            Err(stop) => {
                if let Some(kill) = stop.kill() {
                    shared.metrics.count_kill(kill);
                }
                Err(stop.into_answer()?)
            }
        };
        let TransactionHost { transaction, tree, .. } = host;
        let mut log = tree.log;
        let maps = shared.source_maps.for_people(log.texts(), transaction.catalog(), &*shared.blobs).await;
        log.map_stacks(&maps);
        Ok(Execution { result, transaction, log, observed: tree.observed })
    }

    /// Finishes the transaction of a run. What a function that failed has written must have been undone.
    pub(crate) fn end(&self, run: &Run, execution: Execution) -> (Finished, Ended) {
        let Execution { result, transaction, mut log, observed } = execution;
        let limits = &self.shared.limits;
        for warning in transaction.usage().warnings(&limits.transaction, &limits.value) {
            log.push_warning(format!("{}: {}", warning.code, warning.message));
        }
        let catalog = Arc::clone(transaction.deployment_catalog());
        let finished = transaction.finish();
        if result.is_err() {
            self.shared.metrics.function_errors.increment();
        }
        (finished, run.ended(result, observed, log, catalog))
    }

    /// What a caller is told of a failure, and what the log says about it. A function is told everything.
    pub(crate) async fn explain(
        &self,
        thrown: &Thrown,
        call: &FunctionCall,
        catalog: &DeploymentCatalog,
    ) -> (FunctionError, String) {
        let blobs = &*self.shared.blobs;
        let catalog = code_of(call, catalog);
        let maps = self.shared.source_maps.for_people([&*thrown.stack], catalog, blobs).await;
        let stack = maps.map_stack(&thrown.stack);
        let text = thrown.to_log_text(&stack);
        let error = if call.caller == Caller::Action {
            FunctionError { message: text.clone(), data: thrown.data.clone() }
        } else if self.is_redacted_for(&call.identity) {
            thrown.to_redacted_error(&call.request_id)
        } else {
            thrown.to_function_error(&call.request_id, &stack)
        };
        (error, text)
    }

    /// The lines as the client gets them.
    pub(crate) fn client_lines(&self, lines: &[ConsoleLine], identity: &Identity) -> Vec<String> {
        if self.is_redacted_for(identity) {
            return Vec::new();
        }
        lines.iter().map(ConsoleLine::to_client_line).collect()
    }

    /// Administrators can read the log anyway.
    fn is_redacted_for(&self, identity: &Identity) -> bool {
        self.shared.options.redact_errors && !identity.is_admin()
    }

    /// Enters a run into the function log, which is the application's: what its tools ask of the server is not in it.
    pub(crate) fn enter_into_log(&self, run: &Run, ended: &Ended, fate: Fate) {
        let call = &*run.call;
        if run.path.as_ref().is_some_and(|path| path.module.is_system()) {
            return;
        }
        self.shared.metrics.record_run(contract_kind(run.kind), ended.duration);
        let entry = ExecutionRecord {
            kind: contract_kind(run.kind),
            identifier: fate.http_route.unwrap_or_else(|| run.identifier.clone()),
            component: (!call.component.is_empty()).then(|| call.component.clone()),
            ended_at_s: self.shared.clock.now_ms() / 1e3,
            execution_time: ended.duration,
            lines: ended.lines.clone(),
            error: fate.error,
            http_status: fate.http_status,
            cached: false,
            caller: call.caller,
            identity: call.identity.kind(),
            request_id: call.request_id.clone(),
            execution_id: run.execution_id.clone(),
            conflict: fate.conflict,
            will_retry: fate.will_retry,
        };
        self.shared.function_log.append(call.deployment, entry);
    }
}

/// The failure that the caller is told; an error that is not the function's comes back as such.
pub(super) fn caught(error: transaction::Error) -> Result<Thrown> {
    match split(error) {
        Ok(thrown) => Ok(thrown),
        Err(stop) => stop.into_answer(),
    }
}

/// The code that a call runs first.
pub(crate) fn code_of<'c>(call: &FunctionCall, catalogs: &'c DeploymentCatalog) -> &'c Catalog {
    let component = call.component.parse().map_or(ComponentId::ROOT, |path| component_id(&path));
    catalogs.of(component)
}

/// The component that a call names; `None` if there is no such one.
pub(crate) fn component_at(transaction: &mut Transaction, path: &str) -> Option<ComponentId> {
    transaction.component_at(&path.parse::<ComponentPath>().ok()?)
}
