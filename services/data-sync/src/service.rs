//! The service: how it starts and stops, and its contract.

use std::sync::Arc;

use async_trait::async_trait;
use contract::{
    ActiveSyncs, DataSync, DeltasRequest, DeploymentRef, Deployments, Error, Result, SchemasRequest,
    SnapshotPage, SnapshotRequest, SyncPage, SyncRequest,
};
use deployment_tasks::for_each_deployment;
use system_transaction::SystemTransactions;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use value::JsonFormat;

use crate::{DataSyncLimits, deltas, schemas, snapshot, sync, syncs, upkeep};

#[derive(Clone, Debug)]
pub struct Options {
    pub limits: DataSyncLimits,
    /// The deployments whose notes of changes this process looks after. Several may do so; once is enough.
    pub deployments: watch::Receiver<Arc<Deployments>>,
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    pub transactions: SystemTransactions,
}

pub struct Service {
    handle: Handle,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Gives documents; [`contract::DataSync`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub limits: DataSyncLimits,
    pub transactions: SystemTransactions,
}

impl Service {
    /// Runs on the current runtime. What it does by itself ends with `shutdown`.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let shared = Arc::new(Shared { limits: options.limits, transactions: dependencies.transactions });
        let tasks = TaskTracker::new();
        let sweeping = shared.clone();
        tasks.spawn(for_each_deployment(options.deployments, shutdown.clone(), move |deployment, token| {
            upkeep::run(sweeping.clone(), deployment.reference, token)
        }));
        Service { handle: Handle { shared }, tasks, shutdown }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl DataSync for Handle {
    async fn list_snapshot(
        &self,
        deployment: DeploymentRef,
        request: SnapshotRequest,
    ) -> Result<SnapshotPage> {
        snapshot::page(&self.shared, deployment, request).await
    }

    async fn document_deltas(
        &self,
        deployment: DeploymentRef,
        request: DeltasRequest,
    ) -> Result<SnapshotPage> {
        deltas::page(&self.shared, deployment, request).await
    }

    async fn json_schemas(&self, deployment: DeploymentRef, request: SchemasRequest) -> Result<String> {
        schemas::all(&self.shared, deployment, request).await
    }

    async fn sync(&self, deployment: DeploymentRef, request: SyncRequest) -> Result<SyncPage> {
        sync::page(&self.shared, deployment, request).await
    }

    async fn active_syncs(
        &self,
        deployment: DeploymentRef,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ActiveSyncs> {
        syncs::list(&self.shared, deployment, cursor, limit).await
    }
}

/// The format that a request names; `json` if it names none.
pub(crate) fn format_of(format: Option<&str>) -> Result<JsonFormat> {
    let Some(text) = format else { return Ok(JsonFormat::Clean) };
    text.parse().map_err(|error: value::ValueError| Error::bad_request("BadFormat", error.to_string()))
}

pub(crate) fn invalid_cursor() -> Error {
    Error::bad_request("InvalidCursor", "The cursor is not one that this deployment gave for such a request.")
}
