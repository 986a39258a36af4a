//! Searches of functions, from the threads on which they run.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use contract::{
    DeploymentRef, Error, IndexId, Result, Search, SearchIndexState, TextMatches, TextSearch, VectorMatch,
    VectorSearch,
};
use parking_lot::Mutex;

use super::snapshot::Snapshot;

const UNAVAILABLE: &str = "SearchIndexesUnavailable";

/// Indexes whose last search was not answered. Of such an index one search at a time asks again, and the others fail at once: each
/// holds the thread of its function while it waits, and those that don't search need threads, too.
#[derive(Default)]
pub(crate) struct Unanswered {
    /// Whether one is asking.
    asking: Mutex<HashMap<(DeploymentRef, IndexId), bool>>,
}

impl Unanswered {
    async fn ask<T>(
        &self,
        index: (DeploymentRef, IndexId),
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if self.asking.lock().get_mut(&index).is_some_and(|asking| std::mem::replace(asking, true)) {
            return Err(Error::overloaded(UNAVAILABLE, "the search index is not answered for. Try again."));
        }
        let result = work.await;
        let mut asking = self.asking.lock();
        match &result {
            Err(error) if error.code == UNAVAILABLE => asking.insert(index, false),
            _ => asking.remove(&index),
        };
        result
    }
}

/// The search service for a transaction whose function runs on a thread for JavaScript, which has no timers of its own.
pub(crate) struct Searches {
    pub search: Arc<dyn Search>,
    pub unanswered: Arc<Unanswered>,
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
        let stopping = |_| Error::overloaded(UNAVAILABLE, "the process is stopping");
        self.runtime.spawn(work).await.map_err(stopping)?
    }
}

#[async_trait]
impl Search for Searches {
    async fn search_text(&self, search: TextSearch) -> Result<TextMatches> {
        if let Some(snapshot) = &self.snapshot {
            snapshot.stays();
        }
        let (service, unanswered) = (self.search.clone(), self.unanswered.clone());
        let index = (search.deployment, search.index);
        self.elsewhere(async move { unanswered.ask(index, service.search_text(search)).await }).await
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

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn of_an_index_that_is_not_answered_for_one_search_asks_again() {
        let unanswered = Arc::new(Unanswered::default());
        let of =
            |index| (DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) }, IndexId([index; 16]));
        let away = || Error::overloaded(UNAVAILABLE, "away");
        let never = async || -> Result<()> { panic!("it is not asked") };
        // Nothing is known of it: all ask.
        assert_eq!(unanswered.ask(of(1), async { Err::<(), _>(away()) }).await.unwrap_err().message, "away");
        let (answer, answered) = oneshot::channel();
        let first = tokio::spawn({
            let unanswered = unanswered.clone();
            async move { unanswered.ask(of(1), async { Ok(answered.await.expect("it is said")) }).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(unanswered.ask(of(1), never()).await.unwrap_err().code, UNAVAILABLE);
        unanswered.ask(of(2), async { Ok(()) }).await.expect("another index is asked");
        answer.send(7).expect("it waits");
        assert_eq!(first.await.expect("it ends").expect("it was answered"), 7);
        // What else it fails by is an answer.
        let error = Error::bad_request("IndexNotFoundError", "there is none");
        unanswered.ask(of(1), async { Err::<(), _>(error) }).await.unwrap_err();
        unanswered.ask(of(1), async { Ok(()) }).await.expect("all ask again");
    }
}
