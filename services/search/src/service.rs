//! The service: how it is set up, starts and stops, and its contract.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    DeploymentRef, Deployments, Error, ErrorKind, IndexId, Result, Search, SearchIndexState, TextMatches,
    TextSearch, Timestamp, VectorMatch, VectorSearch,
};
use counters::Stopwatch;
use deployment_tasks::for_each_deployment;
use parking_lot::Mutex;
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
    pub deployments: watch::Sender<HashMap<DeploymentRef, Arc<Known>>>,
    /// The deployments that are served.
    served: watch::Receiver<Arc<Deployments>>,
    /// Those that were known at the start and whose indexes do not hold everything yet. `None` until the directory is known.
    behind: Mutex<Option<HashSet<DeploymentRef>>>,
    /// One for each search that computes.
    searches: Arc<Semaphore>,
    /// One for each file that is written.
    pub builds: Arc<Semaphore>,
    /// Bytes of the open parts of all indexes.
    pub open_bytes: AtomicUsize,
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
            deployments: watch::Sender::default(),
            served: deployments.clone(),
            behind: Mutex::default(),
            open_bytes: AtomicUsize::new(0),
            metrics: Metrics::default(),
            shutdown,
        });
        let tasks = TaskTracker::new();
        let keeping = shared.clone();
        tasks.spawn(async move {
            let first = keeping.shutdown.run_until_cancelled(directory_of(deployments.clone())).await;
            let Some(Some(first)) = first else { return };
            let cleaning = (keeping.clone(), first.clone());
            tokio::task::spawn_blocking(move || cleaning.0.remove_folders_of_others(&cleaning.1))
                .await
                .expect("a panic ends the process");
            *keeping.behind.lock() = Some(first.iter().map(|entry| entry.reference()).collect());
            let shutdown = keeping.shutdown.clone();
            let keep = move |deployment: Arc<contract::Deployment>, token| {
                let deployment = deployment.reference;
                let span = tracing::error_span!("search", %deployment);
                Deployment::new(keeping.clone(), deployment, token).run().instrument(span)
            };
            for_each_deployment(deployments, shutdown, keep).await;
        });
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

/// The deployments, once they have been read: there is always one. `None` if nobody will say.
async fn directory_of(mut deployments: watch::Receiver<Arc<Deployments>>) -> Option<Arc<Deployments>> {
    let known = deployments.wait_for(|known| !known.is_empty()).await.ok()?;
    Some(Arc::clone(&known))
}

impl Shared {
    /// Where a deployment's indexes lie.
    pub fn folder_of(&self, deployment: DeploymentRef) -> PathBuf {
        self.folder.join(format!("{}-{}", deployment.group.0, deployment.deployment.0))
    }

    /// Removes what is left of deployments that went while nobody kept their indexes.
    fn remove_folders_of_others(&self, served: &Deployments) {
        let kept: HashSet<PathBuf> = served.iter().map(|entry| self.folder_of(entry.reference())).collect();
        // Before the first start there is no folder.
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !kept.contains(path)) {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(%error, path = %path.display(), "the files of a deployment that is gone can't be removed now");
            }
        }
    }

    /// The indexes of a deployment hold everything that there was when the service began.
    pub fn caught_up(&self, deployment: DeploymentRef) {
        if let Some(behind) = &mut *self.behind.lock() {
            behind.remove(&deployment);
        }
    }

    /// The index whose open part is to be written before it is full, because all together take too much: the one with the largest. Who
    /// keeps it writes it.
    pub fn to_write(&self) -> Option<Arc<KeptIndex>> {
        if self.open_bytes.load(Ordering::Relaxed) <= self.limits.memory_bytes_max {
            return None;
        }
        let mut largest: Option<(usize, Arc<KeptIndex>)> = None;
        for known in self.deployments.borrow().values() {
            for index in known.indexes.read().values().filter(|index| !index.is_broken()) {
                let bytes = index.open_bytes();
                if bytes > largest.as_ref().map_or(0, |(most, _)| *most) {
                    largest = Some((bytes, index.clone()));
                }
            }
        }
        largest.map(|(_, index)| index)
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
        for known in self.0.deployments.borrow().values() {
            for index in known.indexes.read().values() {
                snapshot.indexes += 1;
                snapshot.incomplete += u64::from(!index.is_complete());
                snapshot.documents += index.documents();
                snapshot.memory_bytes += index.memory_bytes() as u64;
                snapshot.file_memory_bytes += index.file_memory_bytes() as u64;
            }
        }
        snapshot
    }

    /// Why searches would find nothing here yet that there was when the service began; `None` from when that is no longer so.
    pub fn why_not_ready(&self) -> Option<String> {
        let behind = self.0.behind.lock();
        let Some(behind) = &*behind else { return Some("the directory is not known yet".to_owned()) };
        let served = self.0.served.borrow();
        let behind = behind.iter().filter(|deployment| served.get(**deployment).is_ok()).count();
        (behind > 0).then(|| format!("the indexes of {behind} deployments do not hold everything yet"))
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> [limits::Use; 2] {
        let limits = &self.0.limits;
        let searches = limits.searches_max - self.0.searches.available_permits().min(limits.searches_max);
        let open_bytes = self.0.open_bytes.load(Ordering::Relaxed);
        [
            limits::Use::of("search.searches_max", searches, limits.searches_max),
            // At its end the largest of what is open is written to a file.
            limits::Use::of_cache("search.memory_bytes_max", open_bytes, limits.memory_bytes_max),
        ]
    }

    fn unavailable(&self, what: &str) -> Error {
        self.0.metrics.unavailable.increment();
        unavailable(what)
    }

    /// The index, once it is complete and has heard of the moment; and all of its deployment.
    async fn index_at(
        &self,
        deployment: DeploymentRef,
        index: IndexId,
        at: Timestamp,
    ) -> Result<(Arc<Known>, Arc<KeptIndex>)> {
        let deadline = Instant::now() + Duration::from_millis(self.0.limits.wait_ms_max);
        let known = self.known(deployment, deadline).await;
        let known =
            known.ok_or_else(|| self.unavailable("the deployment's search indexes are not kept here yet"))?;
        let mut heard = known.heard.subscribe();
        loop {
            let has_heard = heard.borrow_and_update().is_some_and(|heard| heard >= at);
            let what = if has_heard {
                let kept = known.indexes.read().get(&index).cloned();
                match kept {
                    Some(kept) if kept.is_complete() => return Ok((known, kept)),
                    Some(_) => "the search index is being built",
                    None if at >= *known.since.lock() => return Err(not_found()),
                    // At that moment there may have been one.
                    None => return Err(self.unavailable("the search index is not kept any more")),
                }
            } else {
                "the search indexes have not heard of the latest commits yet"
            };
            match timeout_at(deadline, heard.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(self.unavailable(what)),
            }
        }
    }

    /// A deployment's indexes, once they are kept here.
    async fn known(&self, deployment: DeploymentRef, deadline: Instant) -> Option<Arc<Known>> {
        let mut kept = self.0.deployments.subscribe();
        let kept = timeout_at(deadline, kept.wait_for(|kept| kept.contains_key(&deployment))).await;
        kept.ok()?.ok()?.get(&deployment).cloned()
    }

    /// The index has nothing of the moment: because nobody keeps it any more, or because the index was made after it. A process that has
    /// just started does not know which of them, and says what may be tried again.
    fn too_old(&self, known: &Known, at: Timestamp) -> Error {
        if at >= *known.kept_from.lock() {
            return self.unavailable("the search index was made after the moment of the search");
        }
        let what = "the moment of the search is older than what is kept";
        Error::new(ErrorKind::OutOfRetention, "OutOfRetention", what)
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
        let (known, index) = self.index_at(search.deployment, search.index, search.at).await?;
        let (at, searched) = (search.at, index.clone());
        let answer = self.compute(move || match &searched.contents {
            Contents::Text(text) => Some(text.search(&search)),
            Contents::Vectors(_) => None,
        });
        let answer = answer.await;
        self.0.metrics.text_searches.record(stopwatch.took());
        answer.ok_or_else(not_found)?.map_err(|unanswered| match unanswered {
            Unanswered::OutOfRetention => self.too_old(&known, at),
            Unanswered::Failed(error) => failed(&index, &error),
        })
    }

    async fn search_vectors(&self, search: VectorSearch) -> Result<Vec<VectorMatch>> {
        let stopwatch = Stopwatch::start();
        let (_, index) = self.index_at(search.deployment, search.index, search.not_before).await?;
        let answer = self.compute(move || {
            let Contents::Vectors(vectors) = &index.contents else { return Err(not_found()) };
            vectors.search(&search).map_err(|error| failed(&index, &error))
        });
        let answer = answer.await;
        self.0.metrics.vector_searches.record(stopwatch.took());
        answer
    }

    async fn search_index(&self, deployment: DeploymentRef, index: IndexId) -> Result<SearchIndexState> {
        let known = self.0.deployments.borrow().get(&deployment).cloned();
        let kept = known.and_then(|known| known.indexes.read().get(&index).cloned());
        // One that is not kept yet has nothing yet.
        Ok(kept.map_or_else(SearchIndexState::default, |kept| SearchIndexState {
            is_complete: kept.is_complete(),
            documents: kept.documents(),
        }))
    }
}
