//! The service: what it stands on, how it starts and stops, and its contract.

use std::sync::Arc;

use async_trait::async_trait;
use contract::{Error, GroupId, Position, Result, Sequencer, TransactionLog};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::batched::Batched;

/// What it answers for.
#[derive(Clone)]
pub struct Dependencies {
    pub log: Arc<dyn TransactionLog>,
}

/// The sequencer of one process.
pub struct Service {
    handle: Handle,
}

impl Service {
    /// From `shutdown` on no call begins. (There is nothing to configure.)
    pub fn start(dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let shared = Shared { batched: Batched::new(dependencies.log), calls: TaskTracker::new(), shutdown };
        Service { handle: Handle { shared: Arc::new(shared) } }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about: until the calls under way are answered.
    pub async fn stopped(self) {
        let shared = &self.handle.shared;
        shared.shutdown.cancelled().await;
        shared.calls.close();
        shared.calls.wait().await;
    }
}

/// Asks for the newest published timestamp in this process. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    batched: Batched,
    /// Calls under way; they run in their callers' tasks.
    calls: TaskTracker,
    shutdown: CancellationToken,
}

#[async_trait]
impl Sequencer for Handle {
    async fn latest(&self, group: GroupId) -> Result<Position> {
        let shared = &self.shared;
        if shared.shutdown.is_cancelled() {
            return Err(Error::overloaded("ShuttingDown", "The sequencer is shutting down."));
        }
        shared.calls.track_future(shared.batched.latest(group)).await
    }
}
