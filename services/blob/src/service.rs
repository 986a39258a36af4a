//! The service: how it starts and stops, and its contract.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{BlobDigest, BlobStore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::store::{Error, Store};

#[derive(Clone, Debug)]
pub struct Options {
    /// Where the blobs lie. It is made if it is not there; one process at a time may write in it.
    pub folder: PathBuf,
}

/// The blobs of one folder.
pub struct Service {
    handle: Handle,
}

impl Service {
    /// Opens the folder. From `shutdown` on nothing more is stored or read.
    pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Service, Error> {
        let opening = tokio::task::spawn_blocking(move || Store::open(options.folder));
        let store = opening.await.expect("a panic ends the process")?;
        let shared = Shared { store: Arc::new(store), work: TaskTracker::new(), shutdown };
        Ok(Service { handle: Handle { shared: Arc::new(shared) } })
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about: what was begun is done.
    pub async fn stopped(self) {
        let shared = &self.handle.shared;
        shared.shutdown.cancelled().await;
        shared.work.close();
        shared.work.wait().await;
    }
}

/// Stores and reads blobs in this process. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<Store>,
    /// What waits for the disk, on threads that may.
    work: TaskTracker,
    shutdown: CancellationToken,
}

impl Handle {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> contract::Result<T> {
        let shared = &self.shared;
        if shared.shutdown.is_cancelled() {
            return Err(contract::Error::overloaded("ShuttingDown", "The blob store is shutting down."));
        }
        let store = shared.store.clone();
        let done = shared.work.spawn_blocking(move || work(&store)).await;
        Ok(done.expect("a panic ends the process")?)
    }
}

#[async_trait]
impl BlobStore for Handle {
    async fn put(&self, bytes: Bytes) -> contract::Result<BlobDigest> {
        self.run(move |store| store.put(&bytes)).await
    }

    async fn get(&self, digest: BlobDigest) -> contract::Result<Option<Bytes>> {
        self.run(move |store| store.get(digest)).await
    }

    async fn has(&self, digest: BlobDigest) -> contract::Result<bool> {
        self.run(move |store| store.has(digest)).await
    }
}
