//! The service: how it starts and stops, and its contract.

use std::{ops::Range, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Deployments, Error, ErrorKind, FileName, FileUpload, NewFile, ObjectBytes, ObjectPart, ObjectParts,
    ObjectStore, Result, StoredFile,
};
use deployment_tasks::for_each_deployment;
use futures::{Stream, StreamExt as _};
use system_transaction::SystemTransactions;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transaction::{File, object_name};
use value::ComponentId;

use crate::{FileLimits, MetricsSnapshot, metrics::Metrics, sweep, upload};

#[derive(Clone, Debug)]
pub struct Options {
    pub limits: FileLimits,
    /// The deployments in which this process looks for bytes that no file has. Several processes may do so for one
    /// deployment; once is enough.
    pub swept: watch::Receiver<Arc<Deployments>>,
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    pub transactions: SystemTransactions,
    pub objects: Arc<dyn ObjectStore>,
}

pub struct Service {
    handle: Handle,
    shutdown: CancellationToken,
}

/// Stores and finds files; [`contract::Files`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub limits: FileLimits,
    pub transactions: SystemTransactions,
    pub objects: Arc<dyn ObjectStore>,
    pub metrics: Metrics,
    /// Sweeps, and what uploads leave to be cleared away.
    pub tasks: TaskTracker,
    pub runtime: tokio::runtime::Handle,
}

impl Service {
    /// Runs on the current runtime. Sweeps end with `shutdown`.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Dependencies { transactions, objects } = dependencies;
        let shared = Arc::new(Shared {
            limits: options.limits,
            transactions,
            objects,
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        let sweeping = shared.clone();
        let sweeps = for_each_deployment(options.swept, shutdown.clone(), move |deployment, token| {
            sweep::run(sweeping.clone(), deployment.reference, token)
        });
        shared.tasks.spawn(sweeps);
        Service { handle: Handle { shared }, shutdown }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about: what uploads have left is cleared away.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        self.handle.shared.tasks.close();
        self.handle.shared.tasks.wait().await;
    }
}

impl Handle {
    /// What has become of files.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }
}

#[async_trait]
impl contract::Files for Handle {
    async fn begin(&self, upload: NewFile) -> Result<Box<dyn FileUpload>> {
        upload::begin(self.shared.clone(), upload).await
    }

    async fn find(&self, name: FileName) -> Result<Option<StoredFile>> {
        let FileName { deployment, component, uuid } = name;
        let Ok(component) = component.parse::<ComponentId>() else { return Ok(None) };
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let file = transaction.file_by_uuid(component, &uuid).await;
        let found = file.map_err(transaction::Error::of_the_system)?;
        Ok(found.map(|File { file, object, .. }| StoredFile {
            object: object_name(deployment, component, object),
            size_bytes: file.row.size_bytes,
            sha256: file.row.sha256,
            content_type: file.row.content_type,
        }))
    }

    async fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<ObjectBytes> {
        let read = self.shared.objects.read(file.object, range).await;
        let Some(bytes) = read.map_err(|error| unreadable(file, error))? else {
            return Err(Error::new(ErrorKind::NotFound, "FileNotFound", "The file has been deleted."));
        };
        Ok(self.counted(bytes, Bytes::len))
    }

    async fn read_in_place(&self, file: &StoredFile, range: Range<u64>) -> Result<Option<ObjectParts>> {
        let read = self.shared.objects.read_in_place(file.object, range).await;
        let parts = read.map_err(|error| unreadable(file, error))?;
        Ok(parts.map(|parts| self.counted(parts, ObjectPart::size_bytes)))
    }
}

impl Handle {
    /// Counts a read that has begun, and its bytes as they come.
    fn counted<P: 'static>(
        &self,
        pieces: Pin<Box<dyn Stream<Item = Result<P>> + Send>>,
        size_bytes: fn(&P) -> usize,
    ) -> Pin<Box<dyn Stream<Item = Result<P>> + Send>> {
        let shared = self.shared.clone();
        shared.metrics.reads.add(1);
        Box::pin(pieces.inspect(move |piece| {
            if let Ok(piece) = piece {
                shared.metrics.bytes_read.add(size_bytes(piece) as u64);
            }
        }))
    }
}

/// That an object does not have the bytes of its file is nothing that the caller has asked for.
fn unreadable(file: &StoredFile, error: Error) -> Error {
    match error.kind {
        ErrorKind::BadRequest => Error::internal(format!("the object {:?} is damaged: {error}", file.object)),
        _ => error,
    }
}
