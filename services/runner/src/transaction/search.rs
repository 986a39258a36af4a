//! Searches of functions, from the threads on which they run.

use std::sync::Arc;

use async_trait::async_trait;
use contract::{
    DeploymentRef, Error, IndexId, Result, Search, SearchIndexState, TextMatches, TextSearch, VectorMatch,
    VectorSearch,
};

use super::snapshot::Snapshot;

/// The search service for a transaction whose function runs on a thread for JavaScript, which has no timers of its own.
pub(crate) struct Searches {
    pub search: Arc<dyn Search>,
    /// Works for the thread.
    pub runtime: tokio::runtime::Handle,
    /// What the transaction reads, if that can move forward: from its first search on it can't, since nobody could tell whether that
    /// still finds the same.
    pub snapshot: Option<Arc<Snapshot>>,
}

impl Searches {
    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let stopping = |_| Error::overloaded("SearchIndexesUnavailable", "the process is stopping");
        self.runtime.spawn(work).await.map_err(stopping)?
    }
}

#[async_trait]
impl Search for Searches {
    async fn search_text(&self, search: TextSearch) -> Result<TextMatches> {
        if let Some(snapshot) = &self.snapshot {
            snapshot.stays();
        }
        let service = self.search.clone();
        self.elsewhere(async move { service.search_text(search).await }).await
    }

    async fn search_vectors(&self, search: VectorSearch) -> Result<Vec<VectorMatch>> {
        let service = self.search.clone();
        self.elsewhere(async move { service.search_vectors(search).await }).await
    }

    async fn search_index(&self, deployment: DeploymentRef, index: IndexId) -> Result<SearchIndexState> {
        let service = self.search.clone();
        self.elsewhere(async move { service.search_index(deployment, index).await }).await
    }
}
