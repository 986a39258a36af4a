//! An action from its admission to its end.

use std::{sync::Arc, time::Duration};

use contract::{
    ActionOutcome, ConsoleLine, DeploymentRef, Error, FunctionCall, FunctionError, Observed, Result,
};
use fair_queue::Place;
use futures::future::BoxFuture;
use isolate::{Answer, FunctionKind, KillReason, OperationId};
use tokio::sync::oneshot;
use tracing::Instrument as _;
use transaction::{Catalog, DeploymentCatalog, Transaction};
use value::{ComponentId, DocumentId};

use super::{
    calls::Calls, exchange::Exchange, fetches::Fetches, host::ActionHost, node::NodeAction,
    operations::Operations, places::Share,
};
use crate::{
    calls::{
        Guest, LogLines, NumberedImage, Origin, Outcome, Progress, Slots, Stop, Thrown, Tree, TreeLimits,
        check_arguments, check_result, engine_failed, normalize_arguments,
    },
    functions::{AllowedVisibility, Function},
    limits::FunctionLimits,
    metrics::Metrics,
    service::Handle,
    transaction::{Fate, Run, code_of, component_at},
};

/// From whom an action descends.
#[derive(Clone, Copy)]
pub(super) struct Descent {
    /// How many actions have called each other, this one included.
    pub(super) depth: usize,
    /// The job of `_scheduled_functions` in whose name they run.
    pub(super) job: Option<DocumentId>,
}

/// What an action has come to.
pub(super) struct Acted {
    /// What its caller is told.
    pub(super) result: Result<Arc<str>, FunctionError>,
    /// What it threw, as the log shows it.
    pub(super) error: Option<String>,
    pub(super) lines: Vec<ConsoleLine>,
    pub(super) duration: Duration,
}

/// What is run, as it was when the action began.
pub(super) struct Prepared {
    function: Arc<Function>,
    component: ComponentId,
    /// `None` for one in Node.js.
    image: Option<NumberedImage>,
    tables: Arc<Catalog>,
    /// That in Node.js which was reserved for it.
    node_place: Option<Place>,
}

/// An action on its way: all that goes from thread to thread with it.
struct Acting {
    guest: Guest,
    host: ActionHost,
    image: NumberedImage,
    memory: Share,
}

/// Where an action stands after a step.
enum Stepped {
    Waits(Box<Acting>),
    Ended(Outcome, Box<Tree>),
}

impl Handle {
    /// Runs an action. It goes on if whoever waits for it goes away, and ends with the runner at the latest.
    pub(crate) async fn run_action(&self, call: FunctionCall) -> Result<ActionOutcome> {
        let place = self.admit_action(call.deployment).await?;
        let (sender, outcome) = oneshot::channel();
        let handle = self.clone();
        let act = async move {
            let call = Arc::new(call);
            let outcome = handle.act(Arc::clone(&call), Descent { depth: 1, job: None }, None).await;
            let outcome = outcome.map(|Acted { result, lines, .. }| ActionOutcome {
                result,
                log_lines: handle.client_lines(&lines, &call.identity),
            });
            drop(place);
            // Nobody may be waiting any more.
            let _ = sender.send(outcome);
        };
        self.calls.spawn(act.in_current_span());
        outcome.await.unwrap_or_else(|_| Err(cancelled()))
    }

    /// A place for an action that no other one has called.
    pub(super) async fn admit_action(&self, deployment: DeploymentRef) -> Result<Place> {
        self.actions.admit(deployment).await.inspect_err(|_| self.shared.metrics.refused.increment())
    }

    /// Runs an action that another one has called. It ends with its caller.
    pub(super) fn run_called_action(
        &self,
        call: FunctionCall,
        descent: Descent,
    ) -> BoxFuture<'_, Result<Acted>> {
        Box::pin(async move {
            let _place = self.actions.admit_called(call.deployment)?;
            self.act(Arc::new(call), descent, None).await
        })
    }

    /// Runs an action that has its place, and may have one in Node.js, too.
    pub(super) async fn act(
        &self,
        call: Arc<FunctionCall>,
        descent: Descent,
        node_place: Option<Place>,
    ) -> Result<Acted> {
        let shared = &self.shared;
        shared.metrics.actions.increment();
        let run = Run::new(&call, FunctionKind::Action);
        let transaction = shared.transactions.snapshot(call.deployment).await?;
        let catalog = Arc::clone(transaction.deployment_catalog());
        let prepared = self.prepare(&run, transaction).await?;
        let prepared = prepared.map(|prepared| Prepared { node_place, ..prepared });
        self.run_prepared(&run, prepared, catalog, descent, None).await
    }

    /// Runs what was found, and enters it into the log. A request that it answers has its exchange.
    pub(super) async fn run_prepared(
        &self,
        run: &Run,
        prepared: Result<Prepared, Thrown>,
        catalog: Arc<DeploymentCatalog>,
        descent: Descent,
        exchange: Option<&Arc<Exchange>>,
    ) -> Result<Acted> {
        let (shared, call) = (&self.shared, run.call());
        let fate = |error| Fate {
            error,
            http_route: exchange.map(|exchange| exchange.route()),
            http_status: exchange.and_then(|exchange| exchange.status()),
            ..Fate::default()
        };
        let (outcome, mut log) = match prepared {
            Ok(prepared) => self.perform(run, prepared, descent, exchange).await,
            Err(thrown) => {
                let lines_max = shared.options.limits.function.log_lines_max;
                (Ok(Err(thrown)), LogLines::new(lines_max, shared.clock.clone()))
            }
        };
        let code = code_of(call, &catalog);
        let maps = shared.source_maps.for_people(log.texts(), code, &*shared.blobs).await;
        log.map_stacks(&maps);
        let result = match outcome {
            Ok(result) => result.map(Arc::from),
            Err(stop) => match counted(&shared.metrics, stop).into_answer() {
                Ok(thrown) => Err(thrown),
                Err(error) => {
                    // It may have had effects, so the log tells of it, too.
                    let thrown = Thrown::new(error.to_string());
                    let ended = run.ended(Err(thrown), Observed::default(), log, catalog);
                    self.enter_into_log(run, &ended, fate(Some(error.to_string())));
                    return Err(error);
                }
            },
        };
        let ended = run.ended(result, Observed::default(), log, catalog);
        let (result, error) = match &ended.result {
            Ok(result) => (Ok(result.clone()), None),
            Err(thrown) => {
                shared.metrics.function_errors.increment();
                let (error, log_text) = self.explain(thrown, call, &ended.catalog).await;
                (Err(error), Some(log_text))
            }
        };
        self.enter_into_log(run, &ended, fate(error.clone()));
        Ok(Acted { result, error, lines: ended.lines, duration: ended.duration })
    }

    /// Finds what is to be run.
    async fn prepare(&self, run: &Run, mut transaction: Transaction) -> Result<Result<Prepared, Thrown>> {
        let (shared, call) = (&self.shared, run.call());
        let Some(component) = component_at(&mut transaction, &call.component) else {
            let sentence = format!("There is no component `{}`.", call.component);
            return Ok(Err(Thrown::for_tools(sentence)));
        };
        transaction.enter(component);
        if transaction.is_paused() {
            return Thrown::paused(call.caller).map(Err);
        }
        let no_function = || Ok(Err(Thrown::no_function(run.identifier())));
        let Some(path) = run.path().filter(|path| !path.module.is_system()) else { return no_function() };
        let allowed = AllowedVisibility::of(call);
        let Some(function) = shared.functions.find(&mut transaction, path, allowed)? else {
            return no_function();
        };
        if function.kind != FunctionKind::Action {
            return Ok(Err(Thrown::wrong_kind(path, function.kind, FunctionKind::Action)));
        }
        self.load_code(run, transaction, component, function).await
    }

    /// Gets the code of a function that was found.
    pub(super) async fn load_code(
        &self,
        run: &Run,
        transaction: Transaction,
        component: ComponentId,
        function: Arc<Function>,
    ) -> Result<Result<Prepared, Thrown>> {
        let (shared, call) = (&self.shared, run.call());
        let tables = Arc::clone(transaction.catalog());
        if function.is_for_node(&tables) {
            return Ok(Ok(Prepared { function, component, image: None, tables, node_place: None }));
        }
        let deployment = shared.deployment(call.deployment)?;
        let catalogs = transaction.deployment_catalog();
        match shared.images.of_component(component, catalogs, &deployment).await? {
            Some(Ok(image)) => {
                Ok(Ok(Prepared { function, component, image: Some(image), tables, node_place: None }))
            }
            Some(Err(error)) => Ok(Err(Thrown::new(format!("The deployed code can't be loaded: {error}")))),
            None => Ok(Err(Thrown::no_function(run.identifier()))),
        }
    }

    /// Runs what was found.
    async fn perform(
        &self,
        run: &Run,
        prepared: Prepared,
        descent: Descent,
        exchange: Option<&Arc<Exchange>>,
    ) -> (Outcome, LogLines) {
        let (shared, call) = (&self.shared, run.call());
        let Prepared { function, component, image, tables, node_place } = prepared;
        let function_limits = FunctionLimits {
            user_time_ms_max: self.actions.limits.user_time_ms_max,
            ..shared.options.limits.function
        };
        let limits = TreeLimits { function: function_limits, transaction: shared.limits.transaction };
        let now_ms = shared.clock.now_ms() as u64;
        let mut tree = Tree::new(limits, now_ms, shared.clock.clone(), Run::seed());
        let arguments = match exchange {
            Some(_) => (&*call.arguments).into(),
            None => normalize_arguments(&call.arguments),
        };
        let arguments_bytes = match exchange {
            Some(_) => 0,
            None => {
                match check_arguments(&function, &arguments, Origin::Outside, &tables, &function_limits) {
                    Ok(bytes) => bytes,
                    Err(thrown) => return (Ok(Err(thrown)), tree.log),
                }
            }
        };
        tree.enter(&function);
        let Some(image) = image else {
            let (catalog, arguments) = (&*tables, &*arguments);
            let action = NodeAction {
                call,
                function: &function,
                component,
                catalog,
                arguments,
                arguments_bytes,
                descent,
            };
            return self.perform_in_node(action, node_place, tree).await;
        };
        // A push that came after it was reserved has made the module one for isolates.
        drop(node_place);
        let host = ActionHost::new(Arc::clone(shared), tree, Arc::clone(&tables), exchange.cloned());
        let calls = Calls::new(self.clone(), Arc::clone(call), Arc::clone(&function), component, descent);
        let fetches = Fetches::new(shared.options.trace_fetches);
        let operations = Operations::new(calls, self.http.clone(), fetches, exchange.cloned());
        let begin = Begin {
            host,
            image,
            function: Arc::clone(&function),
            arguments: arguments.clone().into_owned(),
            memory: self.actions.share(),
        };
        match self.run_to_end(call, begin, operations).await {
            (Ok(Ok(text)), Some(tree)) if exchange.is_some() => (Ok(Ok(text)), tree.log),
            (Ok(Ok(text)), Some(mut tree)) => {
                let checked = check_result(&function, &text, &tables, arguments_bytes, &mut tree);
                (Ok(checked.map(|()| text)), tree.log)
            }
            (outcome, tree) => {
                let lines_max = function_limits.log_lines_max;
                let log =
                    tree.map_or_else(|| LogLines::new(lines_max, shared.clock.clone()), |tree| tree.log);
                (outcome, log)
            }
        }
    }

    /// Steps the function until it ends. The tree is lost if the threads end first.
    async fn run_to_end(
        &self,
        call: &FunctionCall,
        begin: Begin,
        mut operations: Operations,
    ) -> (Outcome, Option<Tree>) {
        let time_ms_max = self.actions.limits.time_ms_max;
        let mut time_is_up = std::pin::pin!(tokio::time::sleep(Duration::from_millis(time_ms_max)));
        let mut stepped =
            self.threads.step(call.deployment, async move |slots: &mut Slots| begin.step(slots)).await;
        loop {
            let mut acting = match stepped {
                Ok(Stepped::Waits(acting)) => acting,
                Ok(Stepped::Ended(outcome, tree)) => return (outcome, Some(*tree)),
                Err(_) => return (Err(self.cancelled_by_shutdown()), None),
            };
            for operation in acting.guest.take_operations() {
                operations.begin(operation);
            }
            for ended in acting.host.take_ended() {
                operations.end_wait(ended);
            }
            let answers = tokio::select! {
                answers = operations.next() => answers,
                () = &mut time_is_up => Err(Stop::TookTooLong { limit_ms: time_ms_max }),
                () = self.ending.cancelled() => Err(self.cancelled_by_shutdown()),
            };
            let answers = match answers {
                Ok(answers) => answers,
                Err(stop) => return (Err(stop), Some(acting.host.tree)),
            };
            let is_held = operations.hold();
            let step = async move |slots: &mut Slots| acting.go_on(answers, is_held, slots);
            stepped = self.threads.step(call.deployment, step).await;
        }
    }

    pub(super) fn cancelled_by_shutdown(&self) -> Stop {
        self.actions.count_cancelled();
        Stop::Service(cancelled())
    }
}

/// Who runs out of processor time in a query is advised to use an action.
fn counted(metrics: &Metrics, stop: Stop) -> Stop {
    if let Some(kill) = stop.kill() {
        metrics.count_kill(kill);
    }
    without_advice(stop)
}

fn without_advice(stop: Stop) -> Stop {
    match stop {
        Stop::Killed(KillReason::TimedOut { limit_ms }) => Stop::TookTooLong { limit_ms },
        stop => stop,
    }
}

/// Nobody knows what it has done until then, so it is not to be sent again blindly.
pub(super) fn cancelled() -> Error {
    Error {
        retry: contract::Retry::Never,
        ..Error::overloaded(
            "ActionCancelled",
            "The action was cancelled, because the server is shutting down. What it had done until then stays.",
        )
    }
}

/// What the first step begins with.
struct Begin {
    host: ActionHost,
    image: NumberedImage,
    function: Arc<Function>,
    arguments: String,
    memory: Share,
}

impl Begin {
    fn step(self, slots: &mut Slots) -> Stepped {
        let Begin { mut host, image, function, arguments, memory } = self;
        let slot = match slots.take(&image) {
            Ok(slot) => slot,
            Err(error) => return Stepped::Ended(Err(engine_failed(error)), Box::new(host.tree)),
        };
        let mut guest = Guest::new(slot);
        let progress = guest.start(&function, &arguments, &mut host);
        Box::new(Acting { guest, host, image, memory }).after(progress, false, slots)
    }
}

impl Acting {
    /// Answers come one by one, with all that follows from each, as they would in an event loop.
    fn go_on(
        mut self: Box<Self>,
        answers: Vec<(OperationId, Answer)>,
        is_held: bool,
        slots: &mut Slots,
    ) -> Stepped {
        let mut progress = Ok(Progress::Waits);
        for answer in answers {
            progress = self.guest.resume(vec![answer], &mut self.host);
            if !matches!(progress, Ok(Progress::Waits)) {
                break;
            }
        }
        self.after(progress, is_held, slots)
    }

    /// Where it stands, and whether it has ended although something is still under way.
    fn after(
        mut self: Box<Self>,
        mut progress: std::result::Result<Progress, Stop>,
        is_held: bool,
        slots: &mut Slots,
    ) -> Stepped {
        if matches!(progress, Ok(Progress::Waits)) {
            let finished =
                if is_held { Ok(None) } else { self.guest.finish(self.host.holds(), &mut self.host) };
            progress = match (finished, self.memory.set(self.guest.heap_bytes())) {
                (Err(stop), _) => Err(stop),
                (Ok(Some(ended)), _) => Ok(ended),
                (Ok(None), Err(stop)) => Err(stop),
                (Ok(None), Ok(())) => return Stepped::Waits(self),
            };
        }
        let Acting { guest, host, image, .. } = *self;
        slots.put_back(&image, guest.into_slot());
        let outcome = match progress {
            Ok(Progress::Ended(result)) => Ok(result),
            Ok(Progress::Waits) => unreachable!("who waits was returned above"),
            Err(stop) => Err(stop),
        };
        Stepped::Ended(outcome, Box::new(host.tree))
    }
}
