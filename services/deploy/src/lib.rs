//! Pushes: from the bundles that the command line tool sends to the one commit that serves them.
//!
//! ```text
//!   start_push        bundles → evaluated, stored as blobs; a pending schema, new indexes begin to fill
//!   wait_for_schema   existing documents are checked, indexes filled, while the old code serves and writes go on
//!   finish_push       one commit: modules, schema, indexes, configuration. Before it runs old code, after it new
//! ```
//!
//! A push that is abandoned or fails changes nothing that is served. A newer push takes the place of an older one that
//! has not finished.
//!
//! This crate knows nothing of HTTP: the gateway decodes requests and writes answers.

mod evaluate;
mod finish;
mod hashes;
mod imports;
mod prepared;
mod refusal;
mod request;
mod schema_change;
mod start;
mod system_transaction;
mod wait;
mod worker;

use std::{collections::BTreeMap, sync::Arc};

use contract::{BlobStore, DeploymentRef, Runner, Sequencer, TransactionLog};
use limits::Limits;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transaction::{CatalogCache, CursorKey};

pub use request::{FinishPushRequest, PushRequest, WaitForSchemaRequest};

/// What pushes are made with.
pub struct Services {
    pub log: Arc<dyn TransactionLog>,
    pub sequencer: Arc<dyn Sequencer>,
    pub runner: Arc<dyn Runner>,
    pub blobs: Arc<dyn BlobStore>,
    pub catalogs: Arc<CatalogCache>,
    pub limits: Arc<Limits>,
    /// Transactions of the system make no cursors for clients, but a transaction needs a key for them.
    pub cursor_key: CursorKey,
}

/// Takes pushes for the deployments it is asked about. Cheap to clone.
#[derive(Clone)]
pub struct Deploy {
    inner: Arc<Inner>,
}

struct Inner {
    services: Services,
    /// The schema that is being prepared for each deployment, and what stops the work on it.
    preparing: Mutex<BTreeMap<DeploymentRef, worker::Preparing>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Deploy {
    /// Work that goes on between requests (checking documents, filling indexes) ends when `shutdown` is cancelled.
    pub fn new(services: Services, shutdown: CancellationToken) -> Deploy {
        let inner =
            Inner { services, preparing: Mutex::new(BTreeMap::new()), tasks: TaskTracker::new(), shutdown };
        Deploy { inner: Arc::new(inner) }
    }

    /// Waits for the work between requests to end; cancel the token first.
    pub async fn join(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn services(&self) -> &Services {
        &self.inner.services
    }
}
