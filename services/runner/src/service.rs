//! The service: what it is made of, how it starts and stops, its contract, and what all its calls share.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    ActionOutcome, BlobStore, Deployment, DeploymentRef, Error, Evaluation, EvaluationRequest, Files,
    FunctionCall, FunctionKind, FunctionLogPage, HttpAnswer, HttpCall, MutationCall, MutationOutcome,
    NodeEvaluation, NodeEvaluationRequest, QueryCall, QueryOutcome, ReadAt, Result, Search, Sequencer,
    Timestamp, TransactionLog,
};
use deployment_tasks::for_each_deployment;
use fair_queue::Shares;
use isolate::Engine;
use system_transaction::SystemTransactions;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::Instrument;
use transaction::{CatalogCache, CursorKey, Holder, Transaction};
use value::FunctionPath;

use crate::{
    Clock, MetricsSnapshot, Options,
    actions::Actions,
    calls::{Slots, ThreadLimits, Threads},
    function_log::FunctionLog,
    functions::{AllowedVisibility, FunctionCache},
    images::Images,
    metrics::{Load, Metrics},
    node::Node,
    source_map::SourceMapCache,
    transaction::{Searches, Snapshot, Unanswered, component_at},
    turns::{TurnLimits, Turns},
};

/// What the runner works with.
#[derive(Clone)]
pub struct Dependencies {
    /// The log, and what transactions on it share with those of others in the process.
    pub transactions: SystemTransactions,
    pub blobs: Arc<dyn BlobStore>,
    /// For the bytes of files that actions store and read.
    pub files: Arc<dyn Files>,
    /// For what actions ask of other servers.
    pub http: egress::Client,
    /// Answers searches.
    pub search: Arc<dyn Search>,
    /// What functions see as the time.
    pub clock: Clock,
}

/// The runner of one process: it owns the threads for JavaScript.
pub struct Service {
    handle: Handle,
    sweeps: TaskTracker,
}

/// Runs functions on threads of this process; [`contract::Runner`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) actions: Arc<Actions>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) http: egress::Client,
    pub(crate) node: Arc<Node>,
    /// Calls under way; between runs they are in their callers' tasks, actions in tasks of their own.
    pub(crate) calls: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    /// Ends the actions that are still under way some time later.
    pub(crate) ending: CancellationToken,
}

/// What every call looks at, on whichever thread it runs.
pub(crate) struct Shared {
    pub options: Options,
    pub limits: Arc<transaction::Limits>,
    pub log: Arc<dyn TransactionLog>,
    pub sequencer: Arc<dyn Sequencer>,
    pub blobs: Arc<dyn BlobStore>,
    pub search: Arc<dyn Search>,
    pub unanswered: Arc<Unanswered>,
    pub clock: Clock,
    pub catalogs: Arc<CatalogCache>,
    pub cursor_key: CursorKey,
    /// For what the runner itself looks up and removes.
    pub transactions: SystemTransactions,
    pub functions: FunctionCache,
    pub images: Images,
    pub source_maps: SourceMapCache,
    pub function_log: FunctionLog,
    pub turns: Arc<Turns>,
    /// Under which this process holds what it has claimed.
    pub holder: Holder,
    pub metrics: Arc<Metrics>,
    /// Works for threads that run JavaScript and can't wait themselves.
    pub runtime: tokio::runtime::Handle,
}

impl Service {
    /// Loads the engine and starts the threads; runs on the current runtime. Once `shutdown` is cancelled, new calls are
    /// refused.
    pub fn start(
        options: Options,
        dependencies: Dependencies,
        shutdown: CancellationToken,
    ) -> Result<Service> {
        let engine = Engine::with_limits(options.limits.function.engine())
            .map_err(|error| Error::internal(error.to_string()))?;
        Service::start_with(engine, options, dependencies, shutdown)
    }

    /// As [`Service::start`], with an engine that is loaded already; several runners of a process can share one.
    pub fn start_with(
        engine: Engine,
        options: Options,
        dependencies: Dependencies,
        shutdown: CancellationToken,
    ) -> Result<Service> {
        let Dependencies { transactions, blobs, files, http, search, clock } = dependencies;
        let metrics = Arc::new(Metrics::default());
        let function = options.limits.function;
        let images =
            Images::new(engine, Arc::clone(&blobs), Arc::clone(&metrics), &function, options.native_values);
        let shares = Shares::of(options.deployments.clone());
        let threads = Threads::start(ThreadLimits::from(&function), shares.clone(), move || {
            Slots::new(function.thread_slots_max)
        })
        .map_err(|error| Error::internal(format!("starting the isolate threads: {error}")))?;
        let limits = Arc::new(options.limits.transaction);
        let transactions = SystemTransactions { limits: limits.clone(), ..transactions };
        let shared = Shared {
            limits,
            log: transactions.log.clone(),
            sequencer: transactions.sequencer.clone(),
            blobs,
            search,
            unanswered: Arc::default(),
            catalogs: transactions.catalogs.clone(),
            cursor_key: transactions.cursor_key.clone(),
            transactions,
            functions: FunctionCache::new(function.module_analyses_max),
            images,
            source_maps: SourceMapCache::new(function.source_maps_max),
            function_log: FunctionLog::new(options.limits.function_log, clock.clone()),
            turns: Arc::new(Turns::new(TurnLimits {
                wait_max: Duration::from_millis(function.turn_wait_ms_max),
                held_max: Duration::from_millis(function.turn_held_ms_max),
            })),
            clock,
            holder: Holder { node: options.node, boot: rand::random() },
            metrics,
            runtime: tokio::runtime::Handle::current(),
            options,
        };
        let actions = Arc::new(Actions::new(shared.options.limits.action, &shares));
        let (calls, ending) = (TaskTracker::new(), CancellationToken::new());
        let node = Arc::new(Node::new(shared.options.nodejs.clone(), shares, ending.clone()));
        let (shared, threads) = (Arc::new(shared), Arc::new(threads));
        let handle = Handle { shared, threads, actions, files, http, node, calls, shutdown, ending };
        let sweeps = TaskTracker::new();
        let (swept, sweeping) = (handle.shared.options.swept.clone(), handle.clone());
        sweeps.spawn(for_each_deployment(swept, handle.shutdown.clone(), move |deployment, token| {
            let (handle, deployment) = (sweeping.clone(), deployment.reference);
            async move {
                let sweeps = async {
                    tokio::join!(
                        handle.remove_old_session_records(deployment),
                        handle.end_orphans(deployment)
                    )
                };
                token.run_until_cancelled(sweeps).await;
                if !handle.shutdown.is_cancelled() {
                    handle.shared.images.forget(deployment);
                    handle.shared.function_log.forget(deployment);
                }
            }
        }));
        let following = handle.clone();
        sweeps.spawn(async move {
            following.shutdown.run_until_cancelled(following.follow_addresses()).await;
        });
        let renewing = handle.clone();
        sweeps.spawn(async move {
            // Actions may go on for a while after the shutdown has begun.
            renewing.ending.run_until_cancelled(renewing.renew_leases()).await;
        });
        if handle.node.has_been_used() {
            let node = Arc::clone(&handle.node);
            handle.calls.spawn(async move {
                if let Err(error) = node.executor().await {
                    tracing::error!(%error, "Node.js actions can't be run");
                }
            });
        }
        Ok(Service { handle, sweeps })
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about: what has begun goes on for a while; then queries and mutations
    /// that have a thread run to their end, calls that wait for one are refused, and actions are cancelled.
    pub async fn stopped(self) {
        let Handle { threads, actions, node, calls, shutdown, ending, .. } = self.handle;
        shutdown.cancelled().await;
        calls.close();
        let wait = Duration::from_millis(actions.limits.stop_wait_ms_max);
        // Most actions that are under way now have answered already, and only come to their end.
        let _ = tokio::time::timeout(wait, calls.wait()).await;
        ending.cancel();
        tokio::task::spawn_blocking(move || threads.stop()).await.expect("a panic ends the process");
        calls.wait().await;
        node.stopped().await;
        let cancelled = actions.cancelled();
        if cancelled > 0 {
            tracing::warn!(actions = cancelled, "cancelled actions that were under way");
        }
        self.sweeps.close();
        self.sweeps.wait().await;
    }
}

impl Handle {
    /// What the runner has done and is doing.
    pub fn metrics(&self) -> MetricsSnapshot {
        let (running, waiting) = self.threads.load();
        self.shared.metrics.snapshot(Load {
            waits: self.threads.waits(),
            images_bytes: self.shared.images.bytes(),
            running,
            waiting,
            actions_running: self.actions.running(),
            actions_bytes: self.actions.heap_bytes(),
            action_orphans: self.actions.orphans(),
            function_log_bytes: self.shared.function_log.bytes() as u64,
        })
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> Vec<limits::Use> {
        let function = &self.shared.options.limits.function;
        let (_, waiting) = self.threads.load();
        let mut used = vec![
            limits::Use::of("function.slot_queue_max", waiting as usize, function.slot_queue_max),
            limits::Use::of_cache(
                "function.images_bytes_max",
                self.shared.images.bytes() as usize,
                function.images_bytes_max,
            ),
        ];
        used.extend(self.actions.limits_used());
        used.extend(self.node.limits_used());
        used
    }

    /// Code sees the addresses of its deployment when it is evaluated: where they change, it is evaluated anew.
    async fn follow_addresses(&self) {
        let mut deployments = self.shared.options.deployments.clone();
        let mut before = deployments.borrow_and_update().clone();
        // Nobody will say more once this fails.
        while deployments.changed().await.is_ok() {
            let now = deployments.borrow_and_update().clone();
            for entry in before.iter() {
                let known = now.get(entry.reference());
                if known.is_ok_and(|known| addresses(&known.deployment) != addresses(&entry.deployment)) {
                    self.shared.images.forget(entry.reference());
                }
            }
            before = now;
        }
    }

    /// To be held for as long as a call takes.
    pub(crate) fn begin_call(&self) -> Result<TaskTrackerToken> {
        let call = self.calls.token();
        if self.shutdown.is_cancelled() {
            return Err(Error::overloaded(
                "ShuttingDown",
                "The function runner is shutting down. Try again.",
            ));
        }
        Ok(call)
    }
}

#[async_trait]
impl contract::Runner for Handle {
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome> {
        let _call = self.begin_call()?;
        let span = span_of(&call.function);
        self.run_query(call, None).instrument(span).await
    }

    async fn inline_query(&self, call: QueryCall, source: Arc<str>) -> Result<QueryOutcome> {
        let _call = self.begin_call()?;
        let span = span_of(&call.function);
        self.run_query(call, Some(source)).instrument(span).await
    }

    async fn mutation(&self, call: MutationCall) -> Result<MutationOutcome> {
        let _call = self.begin_call()?;
        let span = span_of(&call.function);
        self.run_mutation(call, None).instrument(span).await
    }

    async fn action(&self, call: FunctionCall) -> Result<ActionOutcome> {
        let _call = self.begin_call()?;
        let span = span_of(&call);
        self.run_action(call).instrument(span).await
    }

    async fn http_action(&self, call: HttpCall) -> Result<HttpAnswer> {
        let _call = self.begin_call()?;
        let span = tracing::info_span!(
            "http_action",
            deployment = %call.deployment,
            request_id = call.request_id,
            component = call.component,
        );
        self.run_http_action(call).instrument(span).await
    }

    async fn kind(&self, call: &FunctionCall) -> Result<Option<FunctionKind>> {
        let _call = self.begin_call()?;
        let Ok(path) = call.path.parse::<FunctionPath>() else { return Ok(None) };
        let mut transaction = self.shared.transactions.snapshot(call.deployment).await?;
        let Some(component) = component_at(&mut transaction, &call.component) else { return Ok(None) };
        transaction.enter(component);
        if path.module.is_system() {
            return Ok(system::kind(&call.path).filter(|_| call.identity.is_admin()));
        }
        let allowed = AllowedVisibility::of(call);
        let function = self.shared.functions.find(&mut transaction, &path, allowed)?;
        Ok(function.map(|function| contract_kind(function.kind)))
    }

    async fn evaluate(&self, request: EvaluationRequest) -> Result<Evaluation> {
        let _call = self.begin_call()?;
        let span = tracing::info_span!("evaluate", deployment = %request.deployment);
        self.evaluate_code(request).instrument(span).await
    }

    async fn evaluate_node(&self, request: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        let _call = self.begin_call()?;
        let span = tracing::info_span!("evaluate", deployment = %request.deployment);
        self.evaluate_code_for_node(request).instrument(span).await
    }

    async fn function_log(
        &self,
        deployment: DeploymentRef,
        cursor: u64,
        wait: Duration,
    ) -> Result<FunctionLogPage> {
        let page = self.shared.function_log.page(deployment, cursor, wait);
        tokio::select! {
            page = page => Ok(page),
            () = self.shutdown.cancelled() => Ok(FunctionLogPage { records: Vec::new(), cursor }),
        }
    }
}

impl Shared {
    /// What a function that reads at `at` sees as the time, in nanoseconds since the Unix epoch.
    pub(crate) fn now_at(&self, at: ReadAt) -> u64 {
        clock_for(at.timestamp, self.clock.now_ns())
    }

    /// What functions of a deployment see of it. Errors: `DeploymentNotFound` if it is not served, or no longer.
    pub(crate) fn deployment(&self, reference: DeploymentRef) -> Result<Arc<Deployment>> {
        Ok(self.options.deployments.borrow().get(reference)?.deployment.clone())
    }

    /// A transaction that reads at one moment. `now_ns` is what its clock shows.
    pub(crate) async fn begin(
        &self,
        deployment: DeploymentRef,
        at: ReadAt,
        now_ns: u64,
        journal: Option<Arc<str>>,
    ) -> Result<Transaction> {
        self.begin_on(Arc::clone(&self.log), deployment, at, now_ns, journal).await
    }

    /// The same, on a log that the transaction has to itself.
    pub(crate) async fn begin_on(
        &self,
        log: Arc<dyn TransactionLog>,
        deployment: DeploymentRef,
        at: ReadAt,
        now_ns: u64,
        journal: Option<Arc<str>>,
    ) -> Result<Transaction> {
        let options = transaction::Options {
            limits: Arc::clone(&self.limits),
            id_seed: rand::random(),
            now_ns,
            cursor_key: self.cursor_key.clone(),
            journal,
        };
        let mut transaction = Transaction::begin(log, deployment, at, &self.catalogs, options).await?;
        transaction.search_by(Arc::new(self.searches(None)));
        Ok(transaction)
    }

    /// What answers the searches of a transaction.
    pub(crate) fn searches(&self, snapshot: Option<Arc<Snapshot>>) -> Searches {
        Searches {
            search: self.search.clone(),
            unanswered: self.unanswered.clone(),
            runtime: self.runtime.clone(),
            snapshot,
        }
    }
}

fn addresses(deployment: &Deployment) -> (&str, &str) {
    (&deployment.cloud_url, &deployment.site_url)
}

/// What every log line about a call is marked with.
pub(crate) fn span_of(call: &FunctionCall) -> tracing::Span {
    tracing::info_span!(
        "call",
        deployment = %call.deployment,
        request_id = call.request_id,
        function = call.path,
        component = call.component,
    )
}

pub(crate) fn contract_kind(kind: isolate::FunctionKind) -> FunctionKind {
    match kind {
        isolate::FunctionKind::Query => FunctionKind::Query,
        isolate::FunctionKind::Mutation => FunctionKind::Mutation,
        isolate::FunctionKind::Action => FunctionKind::Action,
        isolate::FunctionKind::HttpAction => FunctionKind::HttpAction,
    }
}

/// What a function that reads at `begin` sees as the time: the wall clock, but never before what it reads.
pub(crate) fn clock_for(begin: Timestamp, wall_clock_ns: u64) -> u64 {
    wall_clock_ns.max(begin.as_nanoseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_never_sees_a_time_before_what_it_reads() {
        let begin = Timestamp::new(1_000).expect("small");
        assert_eq!(clock_for(begin, 999), 1_000);
        assert_eq!(clock_for(begin, 1_001), 1_001);
    }
}
