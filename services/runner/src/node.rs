//! Node.js, for the modules that begin with `"use node"`. It is made ready when it is first needed.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use contract::{BlobDigest, BlobStore, Error, NodeEvaluation, NodeEvaluationRequest, NodePackages, Result};
use fair_queue::Shares;
use isolate::{FunctionKind, Visibility};
use lru::LruCache;
use nodejs::{AnalysisRequest, AnalyzedFunction, Executor, Lock, ModuleAnalysis, NodeVersion, PackagesId};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{
    evaluate::{analysis_json, maps_of},
    service::Handle,
};

/// Locks of which it is remembered what they are called when they are installed.
const LOCKS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("it is not 0");

/// The executor of the process.
pub(crate) struct Node {
    /// `None` if there are to be no Node.js actions.
    options: Option<nodejs::Options>,
    shares: Shares,
    executor: OnceCell<Executor>,
    /// Installed in this run of the process.
    installed: Mutex<LruCache<(BlobDigest, NodeVersion), PackagesId>>,
    shutdown: CancellationToken,
}

impl Node {
    pub(crate) fn new(options: Option<nodejs::Options>, shares: Shares, shutdown: CancellationToken) -> Node {
        let installed = Mutex::new(LruCache::new(LOCKS_MAX));
        Node { options, shares, executor: OnceCell::new(), installed, shutdown }
    }

    pub(crate) async fn executor(&self) -> Result<&Executor> {
        let start = || async {
            let Some(options) = self.options.clone() else {
                return Err(Error::bad_request("NodeNotFound", "This server runs no Node.js actions."));
            };
            let started = Executor::start(options, self.shares.clone(), self.shutdown.clone()).await;
            started.map_err(|error| Error::internal(format!("make ready for Node.js actions: {error}")))
        };
        self.executor.get_or_try_init(start).await
    }

    /// Whether an earlier run of the process has left something, which the executor removes when it starts.
    pub(crate) fn has_been_used(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.folder.exists())
    }

    /// Installs the packages that deployed code needs, if they are not there.
    pub(crate) async fn packages(
        &self,
        lock: BlobDigest,
        version: NodeVersion,
        blobs: &dyn BlobStore,
    ) -> Result<PackagesId> {
        if let Some(id) = self.installed.lock().get(&(lock, version)) {
            return Ok(id.clone());
        }
        let text = blobs.get(lock).await?;
        let text = text.and_then(|bytes| String::from_utf8(bytes.into()).ok());
        let text = text.ok_or_else(|| Error::internal("the lock of external packages can't be read"))?;
        let id = self.executor().await?.install(&Lock::from_text(text), version).await?;
        self.installed.lock().put((lock, version), id.clone());
        Ok(id)
    }

    pub(crate) fn metrics(&self) -> nodejs::Metrics {
        self.executor.get().map(Executor::metrics).unwrap_or_default()
    }

    /// How much of its limits is used; nothing before there was something to run.
    pub(crate) fn limits_used(&self) -> Vec<limits::Use> {
        self.executor.get().map(|executor| executor.limits_used().to_vec()).unwrap_or_default()
    }

    /// Waits for the end that cancelling the token brings about.
    pub(crate) async fn stopped(&self) {
        if let Some(executor) = self.executor.get() {
            executor.stopped().await;
        }
    }
}

impl Handle {
    /// What the processes for Node.js have done and are doing.
    pub fn node_metrics(&self) -> nodejs::Metrics {
        self.node.metrics()
    }

    pub(crate) async fn evaluate_code_for_node(
        &self,
        request: NodeEvaluationRequest,
    ) -> Result<NodeEvaluation> {
        let NodeEvaluationRequest { deployment, modules, environment_variables, version, packages } = request;
        let mut environment = environment_variables;
        environment.extend(self.shared.deployment(deployment)?.platform_variables());
        let executor = self.node.executor().await?;
        let version = executor.version(version.as_deref())?;
        let lock = match packages {
            NodePackages::Wanted(packages) if packages.is_empty() => None,
            NodePackages::Wanted(packages) => Some(executor.lock(&packages, version).await?),
            NodePackages::Locked(lock) => lock.map(|text| Lock::from_text(text.to_string())),
        };
        let packages = match &lock {
            Some(lock) => Some(executor.install(lock, version).await?),
            None => None,
        };
        let request = AnalysisRequest {
            deployment,
            modules: modules.clone(),
            packages: packages.clone(),
            version,
            environment: Arc::new(environment),
        };
        let maps = maps_of(&modules.iter().collect::<Vec<_>>());
        let mut analyses = BTreeMap::new();
        for module in executor.analyze(request).await? {
            let is_mapped =
                modules.iter().any(|source| source.path == module.path && source.source_map.is_some());
            let module = as_of_isolate(module);
            let analysis = analysis_json(&module, is_mapped, &maps)?;
            analyses.insert(module.path, Arc::from(analysis.to_string()));
        }
        Ok(NodeEvaluation {
            modules: analyses,
            packages: lock.map(|lock| Arc::from(lock.text())),
            packages_id: packages.map(|id| id.to_string()),
        })
    }
}

fn as_of_isolate(module: ModuleAnalysis) -> isolate::ModuleAnalysis {
    let function = |function: AnalyzedFunction| {
        let AnalyzedFunction { name, is_public, args, returns, position } = function;
        let visibility = if is_public { Visibility::Public } else { Visibility::Internal };
        isolate::AnalyzedFunction { name, kind: FunctionKind::Action, visibility, args, returns, position }
    };
    isolate::ModuleAnalysis {
        path: module.path,
        functions: module.functions.into_iter().map(function).collect(),
        http_routes: None,
        crons: None,
    }
}
