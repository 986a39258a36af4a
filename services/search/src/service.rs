//! The service: how it is set up, starts and stops, and its contract.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    DeploymentRef, Deployments, Error, ErrorKind, IndexId, Result, Search, SearchIndexState, TextMatches,
    TextSearch, Timestamp, VectorMatch, VectorSearch,
};
use counters::Stopwatch;
use deployment_tasks::for_each_deployment;
use parking_lot::RwLock;
use system_transaction::SystemTransactions;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    deployment::{Deployment, Known},
    kept::{Contents, KeptIndex},
    limits::SearchLimits,
    metrics::{Metrics, MetricsSnapshot},
    text::Unanswered,
};

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is held to.
    pub limits: SearchLimits,
    /// Whose indexes it keeps.
    pub deployments: watch::Receiver<Arc<Deployments>>,
    /// Where their files lie. Nobody else writes there.
    pub folder: PathBuf,
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    /// The log with the documents, and the catalogs that say which indexes there are.
    pub transactions: SystemTransactions,
}

/// The search service of one process. It owns a task for each deployment.
pub struct Service {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// Answers searches; [`contract::Search`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What the tasks share.
pub(crate) struct Shared {
    pub limits: SearchLimits,
    pub folder: PathBuf,
    pub transactions: SystemTransactions,
    pub deployments: RwLock<HashMap<DeploymentRef, Arc<Known>>>,
    /// One for each search that computes.
    searches: Arc<Semaphore>,
    /// One for each file that is written.
    pub builds: Arc<Semaphore>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

impl Service {
    /// Runs on the current runtime. Once `shutdown` is cancelled, what is in memory is written into files.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Options { limits, deployments, folder } = options;
        let shared = Arc::new(Shared {
            searches: Arc::new(Semaphore::new(limits.searches_max)),
            builds: Arc::new(Semaphore::new(limits.builds_max)),
            limits,
            folder,
            transactions: dependencies.transactions,
            deployments: RwLock::default(),
            metrics: Metrics::default(),
            shutdown,
        });
        let tasks = TaskTracker::new();
        let keeping = shared.clone();
        tasks.spawn(for_each_deployment(deployments, shared.shutdown.clone(), move |deployment, token| {
            let deployment = deployment.reference;
            let span = tracing::error_span!("search", %deployment);
            Deployment::new(keeping.clone(), deployment, token).run().instrument(span)
        }));
        Service { shared, tasks }
    }

    /// For others in the process.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        self.shared.shutdown.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn unavailable(what: &str) -> Error {
    Error::overloaded("SearchIndexesUnavailable", format!("{what}. Try again."))
}

fn not_found() -> Error {
    Error::bad_request("IndexNotFoundError", "there is no such search index")
}

impl Handle {
    /// The counters by now.
    pub fn metrics(&self) -> MetricsSnapshot {
        let metrics = &self.0.metrics;
        let mut snapshot = MetricsSnapshot {
            text_searches: metrics.text_searches.snapshot(),
            vector_searches: metrics.vector_searches.snapshot(),
            unavailable: metrics.unavailable.get(),
            documents_read: metrics.documents_read.get(),
            files_written: metrics.files_written.get(),
            streams: metrics.streams.get(),
            ..MetricsSnapshot::default()
        };
        for known in self.0.deployments.read().values() {
            for index in known.indexes.read().values() {
                snapshot.indexes += 1;
                snapshot.incomplete += u64::from(!index.is_complete());
                snapshot.documents += index.documents();
                snapshot.memory_bytes += index.memory_bytes() as u64;
            }
        }
        snapshot
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> [limits::Use; 1] {
        let max = self.0.limits.searches_max;
        let used = max - self.0.searches.available_permits().min(max);
        [limits::Use::of("search.searches_max", used, max)]
    }

    /// The index, once it is complete and has heard of the moment.
    async fn index_at(
        &self,
        deployment: DeploymentRef,
        index: IndexId,
        at: Timestamp,
    ) -> Result<Arc<KeptIndex>> {
        let deadline = Instant::now() + Duration::from_millis(self.0.limits.wait_ms_max);
        let known = self.0.deployments.read().get(&deployment).cloned();
        let known =
            known.ok_or_else(|| unavailable("the deployment's search indexes are not kept here yet"))?;
        let mut heard = known.heard.subscribe();
        loop {
            let has_heard = heard.borrow_and_update().is_some_and(|heard| heard >= at);
            let what = if has_heard {
                match known.indexes.read().get(&index) {
                    Some(kept) if kept.is_complete() => return Ok(kept.clone()),
                    Some(_) => "the search index is being built",
                    None => return Err(not_found()),
                }
            } else {
                "the search indexes have not heard of the latest commits yet"
            };
            match timeout_at(deadline, heard.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    self.0.metrics.unavailable.increment();
                    return Err(unavailable(what));
                }
            }
        }
    }

    /// Computes without holding up others.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.0.searches.clone().acquire_owned().await.expect("it is never closed");
        let computed = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        computed.await.expect("a panic ends the process")
    }
}

fn failed(index: &KeptIndex, error: &crate::error::Error) -> Error {
    // Its files can't be read: its keeper makes it anew.
    tracing::error!(%error, index = ?index.definition.index, "a search index can't be read");
    index.broken();
    unavailable("the search index is being built anew")
}

#[async_trait]
impl Search for Handle {
    async fn search_text(&self, search: TextSearch) -> Result<TextMatches> {
        let stopwatch = Stopwatch::start();
        let index = self.index_at(search.deployment, search.index, search.at).await?;
        let answer = self.compute(move || {
            let Contents::Text(text) = &index.contents else { return Err(not_found()) };
            text.search(&search).map_err(|unanswered| match unanswered {
                Unanswered::OutOfRetention => Error::new(
                    ErrorKind::OutOfRetention,
                    "OutOfRetention",
                    "the moment of the search is older than what is kept",
                ),
                Unanswered::Failed(error) => failed(&index, &error),
            })
        });
        let answer = answer.await;
        self.0.metrics.text_searches.record(stopwatch.took());
        answer
    }

    async fn search_vectors(&self, search: VectorSearch) -> Result<Vec<VectorMatch>> {
        let stopwatch = Stopwatch::start();
        let index = self.index_at(search.deployment, search.index, search.not_before).await?;
        let answer = self.compute(move || {
            let Contents::Vectors(vectors) = &index.contents else { return Err(not_found()) };
            vectors.search(&search).map_err(|error| failed(&index, &error))
        });
        let answer = answer.await;
        self.0.metrics.vector_searches.record(stopwatch.took());
        answer
    }

    async fn search_index(&self, deployment: DeploymentRef, index: IndexId) -> Result<SearchIndexState> {
        let known = self.0.deployments.read().get(&deployment).cloned();
        let kept = known.and_then(|known| known.indexes.read().get(&index).cloned());
        // One that is not kept yet has nothing yet.
        Ok(kept.map_or_else(SearchIndexState::default, |kept| SearchIndexState {
            is_complete: kept.is_complete(),
            documents: kept.documents(),
        }))
    }
}
