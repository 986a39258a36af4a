//! The service: how it starts and stops, and its contracts.

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{BlobDigest, BlobStore, ObjectBytes, ObjectName, ObjectParts, ObjectStore, ObjectWriter};
use counters::OperationsSnapshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BucketOptions, Error,
    bucket::{Bucket, BucketWriter},
    folder::Folder,
    metrics::{Metrics, Operation},
    transfer::{self, FolderWriter},
};

#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything lies. It is made if it is not there.
    pub folder: PathBuf,
    /// Whether other processes write in it at the same time.
    pub is_shared: bool,
}

/// The blobs and objects of one folder, or of one bucket.
pub struct Service {
    handle: Handle,
}

impl Service {
    /// Opens a folder. From `shutdown` on nothing more is stored or read.
    pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Service, Error> {
        let opening = tokio::task::spawn_blocking(move || Folder::open(options.folder, options.is_shared));
        let folder = opening.await.expect("a panic ends the process")?;
        Ok(Service::of(Place::Folder(Arc::new(folder)), shutdown))
    }

    /// Uses a bucket, which several processes may do at once. Fails if it can't be reached.
    pub async fn start_in_bucket(
        options: BucketOptions,
        shutdown: CancellationToken,
    ) -> Result<Service, Error> {
        let bucket = Bucket::open(options).await?;
        Ok(Service::of(Place::Bucket(Arc::new(bucket)), shutdown))
    }

    fn of(place: Place, shutdown: CancellationToken) -> Service {
        let work = Work { tasks: TaskTracker::new(), runtime: tokio::runtime::Handle::current(), shutdown };
        Service { handle: Handle { shared: Arc::new(Shared { place, work, metrics: Metrics::new() }) } }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about: what was begun is done.
    pub async fn stopped(self) {
        let Work { tasks, shutdown, .. } = &self.handle.shared.work;
        shutdown.cancelled().await;
        tasks.close();
        tasks.wait().await;
    }
}

/// Stores and reads in this process. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// The counters by now.
    pub fn metrics(&self) -> OperationsSnapshot {
        self.shared.metrics.snapshot()
    }
}

struct Shared {
    place: Place,
    work: Work,
    metrics: Metrics,
}

enum Place {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket>),
}

/// What waits for the disk or the network, and is waited for when the service stops.
#[derive(Clone)]
pub(crate) struct Work {
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    shutdown: CancellationToken,
}

impl Work {
    /// Runs on a thread that may wait, to its end even if nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.check()?;
        self.tasks.spawn_blocking_on(work, &self.runtime).await.expect("a panic ends the process")
    }

    /// The same as a task of its own, whose owner awaits it.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<T, Error>> {
        self.tasks.spawn_blocking_on(work, &self.runtime)
    }

    /// Runs to its end even if nobody waits for it any more.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.check()?;
        self.tasks.spawn_on(work, &self.runtime).await.expect("a panic ends the process")
    }

    /// What is left to do when nobody is there to wait for it.
    pub(crate) fn leave(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.shutdown.is_cancelled() { Err(Error::ShuttingDown) } else { Ok(()) }
    }
}

#[async_trait]
impl BlobStore for Handle {
    async fn put(&self, bytes: Bytes) -> contract::Result<BlobDigest> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            contract::Result::Ok(match place {
                Place::Folder(folder) => {
                    let folder = folder.clone();
                    work.run(move || folder.put(&bytes)).await?
                }
                Place::Bucket(bucket) => {
                    let bucket = bucket.clone();
                    work.finish(async move { bucket.put(bytes).await }).await?
                }
            })
        };
        metrics.count(Operation::Put, done).await
    }

    async fn get(&self, digest: BlobDigest) -> contract::Result<Option<Bytes>> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            contract::Result::Ok(match place {
                Place::Folder(folder) => {
                    let folder = folder.clone();
                    work.run(move || folder.get(digest)).await?
                }
                Place::Bucket(bucket) => {
                    work.check()?;
                    bucket.get(digest).await?
                }
            })
        };
        metrics.count(Operation::Get, done).await
    }

    async fn has(&self, digest: BlobDigest) -> contract::Result<bool> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            contract::Result::Ok(match place {
                Place::Folder(folder) => {
                    let folder = folder.clone();
                    work.run(move || folder.has(digest)).await?
                }
                Place::Bucket(bucket) => {
                    work.check()?;
                    bucket.has(digest).await?
                }
            })
        };
        metrics.count(Operation::Get, done).await
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn create(&self, name: ObjectName) -> contract::Result<Box<dyn ObjectWriter>> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            work.check()?;
            contract::Result::<Box<dyn ObjectWriter>>::Ok(match place {
                Place::Folder(folder) => {
                    Box::new(FolderWriter::new(name, folder.clone(), work.clone()).await?)
                }
                Place::Bucket(bucket) => Box::new(BucketWriter::new(name, bucket.clone(), work.clone())),
            })
        };
        metrics.count(Operation::Create, done).await
    }

    async fn size(&self, name: ObjectName) -> contract::Result<Option<u64>> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            contract::Result::Ok(match place {
                Place::Folder(folder) => {
                    let folder = folder.clone();
                    work.run(move || folder.size(name)).await?
                }
                Place::Bucket(bucket) => {
                    work.check()?;
                    bucket.size(name).await?
                }
            })
        };
        metrics.count(Operation::Read, done).await
    }

    async fn read(&self, name: ObjectName, range: Range<u64>) -> contract::Result<Option<ObjectBytes>> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            contract::Result::Ok(match place {
                Place::Folder(folder) => {
                    let opened = transfer::open(folder, name, work).await?;
                    opened.map(|opened| transfer::read(opened, range, work.clone())).transpose()?
                }
                Place::Bucket(bucket) => {
                    work.check()?;
                    bucket.read(name, range).await?
                }
            })
        };
        metrics.count(Operation::Read, done).await
    }

    async fn read_in_place(
        &self,
        name: ObjectName,
        range: Range<u64>,
    ) -> contract::Result<Option<ObjectParts>> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            let Place::Folder(folder) = place else { return Ok(None) };
            let opened = transfer::open(folder, name, work).await?;
            contract::Result::Ok(
                opened.map(|opened| transfer::read_in_place(opened, range, work.clone())).transpose()?,
            )
        };
        metrics.count(Operation::Read, done).await
    }

    async fn delete(&self, name: ObjectName) -> contract::Result<()> {
        let Shared { place, work, metrics } = &*self.shared;
        let done = async {
            match place {
                Place::Folder(folder) => {
                    let folder = folder.clone();
                    work.run(move || folder.delete(name)).await?;
                }
                Place::Bucket(bucket) => {
                    let bucket = bucket.clone();
                    work.finish(async move { bucket.delete(name).await }).await?;
                }
            }
            contract::Result::Ok(())
        };
        metrics.count(Operation::Delete, done).await
    }
}
