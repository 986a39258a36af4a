//! The service: what it is made of, how it starts and stops, and its contract.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::Limits;
use async_trait::async_trait;
use contract::{
    BlobStore, Deploy, DeployedCode, DeploymentRef, FinishPush, Push, PushDifference, Result, Runner,
    SchemaDifference, SchemaEvaluation, SchemaId, SchemaProgress, Search, StartedPush, VariableChange,
};
use counters::{Operations, OperationsSnapshot, Stopwatch};
use parking_lot::Mutex;
use system_transaction::SystemTransactions;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::worker::Preparing;

#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
}

/// What pushes are made with.
#[derive(Clone)]
pub struct Dependencies {
    /// What pushes read and commit with.
    pub transactions: SystemTransactions,
    pub runner: Arc<dyn Runner>,
    pub blobs: Arc<dyn BlobStore>,
    /// Fills the indexes for searches.
    pub search: Arc<dyn Search>,
}

/// The deploy service of one process. It owns the work that goes on between the requests of a push.
pub struct Service {
    handle: Handle,
}

impl Service {
    /// Runs on the current runtime until `shutdown`; then the work between requests ends where it is.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let preparing = Mutex::new(BTreeMap::new());
        let tasks = TaskTracker::new();
        let metrics = Operations::new(STEPS);
        let shared = Shared { options, dependencies, preparing, metrics, tasks, shutdown };
        Service { handle: Handle { shared: Arc::new(shared) } }
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        let shared = &self.handle.shared;
        shared.shutdown.cancelled().await;
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

/// The way to the service. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub options: Options,
    pub dependencies: Dependencies,
    /// The schemas that are being prepared for each deployment, and what stops the work on it.
    pub preparing: Mutex<BTreeMap<DeploymentRef, Preparing>>,
    pub metrics: Operations<{ STEPS.len() }>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

/// What is counted of pushes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Evaluate,
    Start,
    Finish,
    /// Environment variables are changed.
    Variables,
}

/// In the order of [`Step`].
const STEPS: [&str; 4] = ["evaluate", "start", "finish", "variables"];

impl Handle {
    /// The steps of pushes by now, and how they ended.
    pub fn metrics(&self) -> OperationsSnapshot {
        self.shared.metrics.snapshot()
    }

    async fn counted<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
        let stopwatch = Stopwatch::start();
        let result = work.await;
        self.shared.metrics.record(step as usize, stopwatch.took(), &result);
        result
    }

    pub(crate) fn dependencies(&self) -> &Dependencies {
        &self.shared.dependencies
    }

    pub(crate) fn transactions(&self) -> &SystemTransactions {
        &self.shared.dependencies.transactions
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }
}

#[async_trait]
impl Deploy for Handle {
    async fn deployed_code(&self, deployment: DeploymentRef) -> Result<DeployedCode> {
        self.deployed(deployment).await
    }

    async fn auth_providers(&self, deployment: DeploymentRef) -> Result<Arc<str>> {
        self.auth(deployment).await
    }

    async fn environment_variables(&self, deployment: DeploymentRef) -> Result<BTreeMap<String, String>> {
        self.variables(deployment).await
    }

    async fn update_environment_variables(
        &self,
        deployment: DeploymentRef,
        changes: Vec<VariableChange>,
    ) -> Result<()> {
        self.counted(Step::Variables, self.update_variables(deployment, &changes)).await
    }

    async fn evaluate_push(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaDifference> {
        Ok(self.counted(Step::Evaluate, self.evaluate(deployment, push)).await?.difference(&BTreeMap::new()))
    }

    async fn evaluate_schema(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaEvaluation> {
        self.counted(Step::Evaluate, self.sizes(deployment, push)).await
    }

    async fn start_push(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush> {
        self.counted(Step::Start, self.start(deployment, push)).await
    }

    async fn wait_for_schema(
        &self,
        deployment: DeploymentRef,
        schemas: BTreeMap<String, SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress> {
        self.wait(deployment, schemas, wait).await
    }

    async fn finish_push(&self, deployment: DeploymentRef, finish: FinishPush) -> Result<PushDifference> {
        self.counted(Step::Finish, self.finish(deployment, finish)).await
    }

    async fn delete_component(&self, deployment: DeploymentRef, path: &str) -> Result<()> {
        self.delete(deployment, path).await
    }
}
